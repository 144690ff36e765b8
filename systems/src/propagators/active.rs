//! What T is planned from where it can change: a metric that varies in space, an active set of pages, or both.
//!
//! Invariant: after [`Propagators::activate`] and [`Propagators::rescale`] the propagators, D and the operator stand for the
//! same T. On inactive pages D is the constant diagonal of the scene (its greatest value where the metric varies, g₀ where it
//! is plastic): what a truncated wave feels there is its own slope, of the order of the threshold.

use super::{Plan, Propagators, grid, of_profile};
use crate::world::fill_profile;
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;
use nikola_components::metric::{CellRule, MetricProfile};
use nikola_components::setup::Setup;
use nikola_components::torus::Torus;
use nikola_kernels::half_potential::Time;
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::kinetic::lattice::Lattice;
use nikola_kernels::kinetic::remainder::RemainderRule;
use nikola_kernels::kinetic::sparse::{Blocks, SparseKinetic};
use nikola_kernels::kinetic::varying::{Diffusion, OffDiagonal, Varying};
use nikola_kernels::simd::Level;
use nikola_kernels::{Real, Shape, Threads};

/// A torus whose T can change.
#[derive(Debug)]
pub(super) struct ActiveMetric {
    torus: Torus,
    /// The pages of a sparse torus; none on a dense one.
    pages: Option<Vec<usize>>,
    blocks: Blocks,
    /// D^{ij}(x) where the scene gives it.
    profile: Option<MetricProfile>,
    is_plastic: bool,
    rule: RemainderRule,
    time: Time,
    /// D relative to the scene's.
    scale: f64,
    /// D where it is a constant diagonal.
    constant: Diffusion,
}

/// The blocks of a torus.
pub(super) fn blocks(torus: &Torus) -> Blocks {
    let sides = torus.storage().iter().map(|axis| torus.page_shape()[axis.index()]).collect();
    Blocks { extents: torus.storage_extents(), sides }
}

impl ActiveMetric {
    /// None for a constant metric on a dense torus.
    pub fn new(
        setup: &Setup,
        shape: &Shape,
        terms: &[AxisTerm],
        diffusion: Option<&Diffusion>,
        rule: RemainderRule,
        time: Time,
    ) -> Option<Self> {
        if setup.growth.is_none() && diffusion.is_none() {
            return None;
        }
        let constant = Diffusion {
            grid: grid(&setup.torus, shape, CellRule::Node),
            diagonal: terms.iter().map(|term| vec![term.diffusion]).collect(),
            off_diagonal: Vec::new(),
        };
        Some(Self {
            torus: setup.torus.clone(),
            pages: setup.growth.as_ref().map(|_| Vec::new()),
            blocks: blocks(&setup.torus),
            profile: setup.metric.clone(),
            is_plastic: setup.plasticity.is_some(),
            rule,
            time,
            scale: 1.0,
            constant,
        })
    }

    /// D of a varying metric on a sparse torus without active pages.
    pub fn empty_diffusion(setup: &Setup, shape: &Shape) -> Option<Diffusion> {
        let rule = match (&setup.metric, setup.plasticity) {
            (None, None) => return None,
            (_, Some(plasticity)) => plasticity.cell,
            (Some(_), None) => CellRule::Node,
        };
        let storage = setup.torus.storage();
        let position = |axis: Axis| storage.iter().position(|other| *other == axis);
        let pairs: Vec<(usize, usize)> = match &setup.metric {
            None => (0..storage.len()).flat_map(|i| (i + 1..storage.len()).map(move |j| (i, j))).collect(),
            Some(metric) => metric
                .off_diagonal
                .iter()
                .filter_map(|(a, b, _)| Some((position(*a)?, position(*b)?)))
                .map(|(a, b)| (a.min(b), a.max(b)))
                .collect(),
        };
        let diagonal = storage.iter().map(|axis| match &setup.metric {
            Some(metric) => match metric.diagonal[axis.index()] {
                Profile::Uniform(value) => vec![value],
                Profile::PerNode(_) => Vec::new(),
            },
            None => Vec::new(),
        });
        Some(Diffusion {
            diagonal: diagonal.collect(),
            off_diagonal: pairs.into_iter().map(|axes| OffDiagonal { axes, values: Vec::new() }).collect(),
            grid: grid(&setup.torus, shape, rule),
        })
    }

    /// Whether every page is there.
    pub fn is_dense(&self) -> bool {
        self.pages.is_none()
    }

    /// Whether every page is there and its metric learns.
    pub fn learns_densely(&self) -> bool {
        self.is_dense() && self.is_plastic
    }

    /// D where it is a constant diagonal.
    pub fn constant(&self) -> &Diffusion {
        &self.constant
    }

    /// The operator, on a sparse torus without active pages.
    pub fn lattice(&self, diffusion: Option<&Diffusion>) -> Lattice {
        let diffusion = diffusion.unwrap_or(&self.constant);
        match self.pages {
            None => Lattice::dense(&diffusion.grid),
            Some(_) => {
                let background = self.constant.diagonal.iter().map(|values| values[0]).collect();
                Lattice::sparse(&self.blocks, &diffusion.grid.spacing, &diffusion.grid.cell, background)
            }
        }
    }

    /// D of the cells of one page: the profile's, or the background.
    fn of_page(&self, page: usize, diffusion: &Diffusion) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let n_cells = self.blocks.page_nodes() / diffusion.grid.cell_nodes();
        let values = |profile: &Profile| {
            let mut values = vec![0.0; n_cells];
            fill_profile(profile, page, &mut values);
            values.iter_mut().for_each(|d| *d *= self.scale);
            values
        };
        let storage = self.torus.storage();
        let Some(metric) = &self.profile else {
            let rest = self.constant.diagonal.iter().map(|rest| vec![rest[0]; n_cells]);
            return (rest.collect(), diffusion.off_diagonal.iter().map(|_| vec![0.0; n_cells]).collect());
        };
        let diagonal = storage.iter().map(|axis| values(&metric.diagonal[axis.index()])).collect();
        let component = |pair: &OffDiagonal| {
            let axes = [storage[pair.axes.0], storage[pair.axes.1]];
            let known = metric.off_diagonal.iter().find(|(a, b, _)| axes == [*a, *b] || axes == [*b, *a]);
            known.map_or_else(|| vec![0.0; n_cells], |(.., profile)| values(profile))
        };
        (diagonal, diffusion.off_diagonal.iter().map(component).collect())
    }
}

impl<T: Real> Propagators<T> {
    /// Replaces the active set of a sparse torus. A plastic metric is at rest on pages that are new.
    pub fn activate(&mut self, pages: &[usize]) {
        let Some(active) = self.active.as_mut().filter(|active| !active.is_dense()) else { return };
        let before = active.pages.replace(pages.to_vec()).unwrap_or_default();
        let active = &*active;
        if let Some(diffusion) = &mut self.diffusion {
            move_pages(active, diffusion, &before, pages);
        }
        for plan in &mut self.plans {
            match (plan, &self.diffusion) {
                (Plan::Sparse(plan), _) => plan.activate(pages),
                (Plan::Active(plan), Some(diffusion)) => plan.activate(pages, diffusion),
                _ => {}
            }
        }
        if let Some(lattice) = &mut self.lattice {
            lattice.activate(&active.blocks, pages);
        }
        self.revision += 1;
    }

    /// Whether D is a positive number on every cell of a page that may be born.
    pub fn is_metric_finite(&self, page: usize) -> bool {
        let (Some(active), Some(diffusion)) = (&self.active, &self.diffusion) else { return true };
        if active.profile.is_none() || active.is_dense() {
            return true;
        }
        let (diagonal, off_diagonal) = active.of_page(page, diffusion);
        diagonal.iter().flatten().all(|d| d.is_finite() && *d > 0.0)
            && off_diagonal.iter().flatten().all(|d| d.is_finite())
    }

    /// The part of [`Propagators::rescale`] for a T that can change.
    pub(super) fn rescale_active(&mut self, (level, threads): (Level, Threads<'_>), scale: f64) {
        let Some(active) = &mut self.active else { return };
        active.scale = scale;
        active.constant.diagonal = self.terms.iter().map(|term| vec![term.diffusion]).collect();
        let active = &*active;
        let pages = active.pages.clone().unwrap_or_default();
        if let (Some(diffusion), Some(profile)) = (&mut self.diffusion, &active.profile) {
            match active.is_dense() {
                // The profile was finite when the world was built.
                true => {
                    if let Ok(mut fresh) = of_profile(profile, &active.torus, diffusion.grid.clone()) {
                        let pairs = fresh.off_diagonal.iter_mut().map(|pair| &mut pair.values);
                        fresh.diagonal.iter_mut().chain(pairs).flatten().for_each(|d| *d *= scale);
                        *diffusion = fresh;
                    }
                }
                false => {
                    for axis in 0..diffusion.diagonal.len() {
                        if let Profile::Uniform(d) = profile.diagonal[active.torus.storage()[axis].index()] {
                            diffusion.diagonal[axis] = vec![d * scale];
                        }
                    }
                    move_pages(active, diffusion, &[], &pages);
                }
            }
        }
        for (plan, &duration) in self.plans.iter_mut().zip(&self.durations) {
            match (plan, &self.diffusion) {
                (Plan::Sparse(plan), _) => {
                    *plan = SparseKinetic::new(level, &active.blocks, &self.terms, duration);
                    plan.activate(&pages);
                }
                (Plan::Active(plan), Some(diffusion)) => {
                    plan.forget(&self.terms);
                    plan.activate(&pages, diffusion);
                }
                // As if every cell had learnt.
                (Plan::Varying(plan), Some(diffusion)) if active.is_plastic => {
                    plan.renew(threads, diffusion, &(0..diffusion.grid.n_cells()).collect::<Vec<_>>());
                }
                (Plan::Varying(plan), Some(diffusion)) => {
                    let (time, rule) = (active.time, active.rule);
                    // The lines were short enough when the world was built.
                    if let Ok(fresh) = Varying::new(level, diffusion, duration, time, active.is_plastic, rule)
                    {
                        **plan = fresh;
                    }
                }
                _ => {}
            }
        }
        if let Some(lattice) = self.lattice.as_mut().filter(|_| !active.is_dense()) {
            lattice.set_background(self.terms.iter().map(|term| term.diffusion).collect());
        }
    }
}

/// Brings D of the pages into the order of a new set: pages that stay keep theirs.
fn move_pages(active: &ActiveMetric, diffusion: &mut Diffusion, before: &[usize], pages: &[usize]) {
    let n_cells = active.blocks.page_nodes() / diffusion.grid.cell_nodes();
    let is_uniform = |values: &[f64]| values.len() == 1 && active.profile.is_some();
    let old_diagonal = diffusion.diagonal.clone();
    let old_pairs: Vec<Vec<f64>> = diffusion.off_diagonal.iter().map(|pair| pair.values.clone()).collect();
    let uniform: Vec<bool> = (0..old_diagonal.len())
        .map(|axis| {
            is_uniform(&old_diagonal[axis])
                && matches!(
                    active.profile.as_ref().map(|p| &p.diagonal[active.torus.storage()[axis].index()]),
                    Some(Profile::Uniform(_))
                )
        })
        .collect();
    for (axis, values) in diffusion.diagonal.iter_mut().enumerate() {
        if !uniform[axis] {
            values.clear();
        }
    }
    diffusion.off_diagonal.iter_mut().for_each(|pair| pair.values.clear());
    for page in pages {
        let old = before.binary_search(page).ok().map(|slot| slot * n_cells..(slot + 1) * n_cells);
        let fresh = old.is_none().then(|| active.of_page(*page, diffusion));
        for axis in (0..old_diagonal.len()).filter(|axis| !uniform[*axis]) {
            let values = match (&old, &fresh) {
                (Some(range), _) => &old_diagonal[axis][range.clone()],
                (None, Some((diagonal, _))) => &diagonal[axis],
                (None, None) => &[],
            };
            diffusion.diagonal[axis].extend_from_slice(values);
        }
        for (k, pair) in diffusion.off_diagonal.iter_mut().enumerate() {
            let values = match (&old, &fresh) {
                (Some(range), _) => &old_pairs[k][range.clone()],
                (None, Some((_, pairs))) => &pairs[k],
                (None, None) => &[],
            };
            pair.values.extend_from_slice(values);
        }
    }
}
