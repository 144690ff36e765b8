//! The kinetic propagator alone: two sweeps over Ψ where axes cross pages, one where they do not.

use nikola_benches::{Columns, SHAPES, median_secs, row, shape};
use nikola_engine::systems::kernels::Threads;
use nikola_engine::systems::kernels::half_potential::Time;
use nikola_engine::systems::kernels::kinetic::{AxisTerm, Kinetic, Probe};
use nikola_engine::systems::kernels::simd::Level;

fn main() {
    for extents in SHAPES {
        let shape = shape(extents);
        let axes: Vec<_> = shape
            .extents
            .iter()
            .map(|&extent| AxisTerm {
                extent,
                wavenumber_unit: core::f64::consts::TAU / extent as f64,
                diffusion: 1.0,
            })
            .collect();
        let kinetic = Kinetic::<f32>::new(Level::detect(), &shape, &axes, 1e-3, Time::Real);
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let mut pages = psi.pages();
        let probe = Probe::default();
        let secs = median_secs(|| {
            kinetic.sweep_inner(Threads::Serial, &mut pages, None, &probe);
            kinetic.sweep_outer(Threads::Serial, &mut pages, None, &probe);
        });
        let sweeps = if shape.n_pages() > 1 { 2.0 } else { 1.0 };
        row("kinetic", extents, secs, sweeps * 16.0 * shape.n_nodes() as f64);
    }
}
