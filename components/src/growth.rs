//! Growth of a sparse torus: the rule that a scene gives, its account, and what happened.
//!
//! Invariant: plain data; stage `boundary` alone changes the set of pages, at tick borders. A dense world has no
//! [`Growth`] resource.

use crate::geometry::morton::MortonKey;
use bevy_ecs::prelude::Resource;

/// When pages of a sparse torus are born and pruned.
#[derive(Debug, Clone, PartialEq)]
pub struct GrowthRule {
    /// ε, relative to ‖Ψ‖: a page is born when the norm of the layer of nodes before its face, or what would have
    /// entered it since the last look, exceeds ε‖Ψ‖.
    pub threshold: f64,
    /// A page is quiet while its own norm is below this part of ‖Ψ‖ and no layer before its faces would call for it.
    pub vacuum: f64,
    /// Most pages born, and most pruned, per tick.
    pub births_max: usize,
    /// Most pages that exist: the memory cap.
    pub pages_max: usize,
    /// Ticks a page must have been quiet before it is pruned.
    pub quiet_ticks: u64,
    /// Ticks between looks. A look takes one axis, in turn.
    pub every: u64,
    /// Nodes (r…z) from which the search for the support of fields starts, beside those a field names itself.
    pub seeds: Vec<[usize; 9]>,
}

impl GrowthRule {
    /// Part of its norm that the initial field must have on a page for the page to be there at the start: a quarter of the
    /// threshold, so that little is called for in the first ticks.
    pub fn initial_fraction(&self) -> f64 {
        0.25 * self.threshold
    }
}

impl Default for GrowthRule {
    fn default() -> Self {
        Self {
            threshold: 1e-4,
            vacuum: 1e-4,
            births_max: 4,
            pages_max: 1024,
            quiet_ticks: 64,
            every: 1,
            seeds: Vec::new(),
        }
    }
}

/// What happened to a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// It exists from this tick on, with Ψ = 0.
    Born {
        /// What called for it, relative to ‖Ψ‖.
        strength: f64,
    },
    /// It ceased to exist.
    Pruned {
        /// ∫|Ψ|² that went with it.
        norm: f64,
        /// Energy that went with it.
        energy: f64,
    },
    /// It was called for, but the memory cap was reached.
    Capped,
    /// It was called for, but growth was throttled.
    Throttled,
    /// It was called for, but its potential or damping is no finite number.
    NotFinite,
}

/// A change, with the page it happened to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GrowthEvent {
    /// Tick that ended.
    pub tick: u64,
    /// 128-bit Morton key of the page's first node.
    pub key: MortonKey,
    /// What happened.
    pub change: Change,
}

/// The account of a sparse world.
#[derive(Debug, Clone, PartialEq, Resource)]
pub struct Growth {
    /// The rule.
    pub rule: GrowthRule,
    /// While set, no page is born; whoever keeps time sets it.
    pub is_throttled: bool,
    /// Ticks for which each page has been quiet, in storage order.
    pub quiet: Vec<u64>,
    /// Pages born, the initial ones not counted.
    pub n_births: u64,
    /// Pages pruned.
    pub n_prunings: u64,
    /// Births that were called for and refused.
    pub n_refusals: u64,
    /// ∫|Ψ|² that went with pruned pages.
    pub pruned_norm: f64,
    /// Energy that went with pruned pages.
    pub pruned_energy: f64,
    /// ∫ ‖(1−P)TPΨ‖ dt over the faces, axis by axis: by Duhamel's formula the distance to the dense solution grows no
    /// faster, but for what crosses a whole page at once.
    pub leaked: f64,
    /// Counts changes of the set.
    pub revision: u64,
}

impl Growth {
    /// The account of a world that begins.
    pub fn new(rule: GrowthRule, n_pages: usize) -> Self {
        Self {
            rule,
            is_throttled: false,
            quiet: vec![0; n_pages],
            n_births: 0,
            n_prunings: 0,
            n_refusals: 0,
            pruned_norm: 0.0,
            pruned_energy: 0.0,
            leaked: 0.0,
            revision: 0,
        }
    }
}
