//! What a scan of the torus is set up from, and what it gives.
//! Invariant: plain data; outputs never feed back into Ψ.

use crate::fill::Profile;
use crate::geometry::traversal::Traversal;
use crate::metric::MetricProfile;
use bevy_ecs::prelude::Resource;

/// Components of the recurrence's state: one per axis of the metric.
pub const STATE: usize = 9;

/// Parameters of the scan and its readout.
#[derive(Debug, Clone)]
pub struct ScanSetup {
    /// Δ₀, the step of the recurrence where the field vanishes.
    pub step: f64,
    /// a in Δ = Δ₀/(1 + a·ρ·Tr G): how strongly amplitude lengthens the memory.
    pub density_weight: f64,
    /// B, the weight with which Ψ enters every component.
    pub input_weight: f64,
    /// 1 − r̂ at every node.
    pub openness: Profile,
    /// Diagonal of the metric G along r…z; where it varies, that of axes of one node.
    pub metric: [f64; STATE],
    /// g^{ij}, the inverse of G, on every node, where it is no constant diagonal and does not learn.
    pub inverse_metric: Option<MetricProfile>,
    /// Ways through the torus, each with a state of its own.
    pub traversals: Vec<Traversal>,
    /// Ticks between scans.
    pub every: u64,
    /// The trainable readout.
    pub readout: Option<ReadoutSetup>,
}

/// One kind of feature a readout takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Re Ψ at every chosen node.
    Re,
    /// Im Ψ at every chosen node.
    Im,
    /// |Ψ|² at every chosen node.
    Density,
    /// Re and Im of the output y and of the nine states of every traversal.
    Scan,
}

/// Parameters of the readout.
#[derive(Debug, Clone)]
pub struct ReadoutSetup {
    /// How many nodes are read; they are drawn once, without replacement, by the scene's seed.
    pub n_nodes: usize,
    /// What is read.
    pub features: Vec<Feature>,
    /// Values the readout gives.
    pub n_targets: usize,
    /// How much less an example counts per later example when learning one at a time, in (0, 1].
    pub forgetting: f64,
    /// Penalty on the weights when learning one at a time, above 0.
    pub ridge: f64,
}

impl ReadoutSetup {
    /// Features of a readout beside `n_traversals` scans.
    pub fn n_features(&self, n_traversals: usize) -> usize {
        let count = |feature: &Feature| match feature {
            Feature::Scan => n_traversals * 2 * (STATE + 1),
            Feature::Re | Feature::Im | Feature::Density => self.n_nodes,
        };
        self.features.iter().map(count).sum()
    }
}

/// What one traversal ended with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scanned {
    /// Which one.
    pub traversal: Traversal,
    /// Real parts of h along r…z.
    pub re: [f64; STATE],
    /// Imaginary parts.
    pub im: [f64; STATE],
    /// y = C·h at the last node, C the amplitudes next to it along the axes: (re, im).
    pub output: (f64, f64),
}

impl Scanned {
    /// Before the first scan.
    pub fn nothing(traversal: Traversal) -> Self {
        Self { traversal, re: [0.0; STATE], im: [0.0; STATE], output: (0.0, 0.0) }
    }

    /// |h| = √Σ|h_d|².
    pub fn norm(&self) -> f64 {
        self.re.iter().chain(&self.im).map(|x| x * x).sum::<f64>().sqrt()
    }
}

/// What the last scan gave.
#[derive(Debug, Clone, PartialEq, Resource)]
pub struct ScanOutput {
    /// Tick after which it was taken; 0 before the first.
    pub tick: u64,
    /// One entry per traversal, in the order of the setup.
    pub traversals: Vec<Scanned>,
    /// What the readout took; empty without a readout.
    pub features: Vec<f64>,
    /// What the readout gave: `bias + Σ w·feature` per target.
    pub values: Vec<f64>,
}

impl ScanOutput {
    /// As before the first scan.
    pub fn forget(&mut self) {
        self.tick = 0;
        self.traversals.iter_mut().for_each(|scanned| *scanned = Scanned::nothing(scanned.traversal));
        self.features.iter_mut().chain(&mut self.values).for_each(|number| *number = 0.0);
    }
}
