//! A step of the wave form: three sweeps over Ψ and Ψ̇.

use nikola_benches::{Columns, SHAPES, median_secs, row, shape};
use nikola_engine::systems::kernels::Threads;
use nikola_engine::systems::kernels::kinetic::AxisTerm;
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::kernels::wave_form::{Kick, WaveForm};

fn main() {
    for extents in SHAPES {
        let shape = shape(extents);
        let term = |&extent: &usize| AxisTerm {
            extent,
            wavenumber_unit: core::f64::consts::TAU / extent as f64,
            diffusion: 1.0,
        };
        let axes: Vec<_> = shape.extents.iter().map(term).collect();
        let plan = WaveForm::<f32>::new(Level::detect(), &shape, &axes, 1e-3, 0.1);
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let mut velocity = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 1);
        let (mut psi, mut velocity) = (psi.pages(), velocity.pages());
        let kick = Kick { duration: 5e-4, beta: -1.0, damping: None };
        let secs = median_secs(|| {
            plan.forward(Threads::Serial, &mut psi, &mut velocity, &kick);
            plan.turn(Threads::Serial, &mut psi, &mut velocity, 0.0);
            plan.backward(Threads::Serial, &mut psi, &mut velocity, &kick);
        });
        row("wave_form", extents, secs, 3.0 * 32.0 * shape.n_nodes() as f64);
    }
}
