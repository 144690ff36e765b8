//! The local flow of V and β|Ψ|² alone: Ψ read and written, V read.

use nikola_benches::{Columns, SHAPES, median_secs, row, shape};
use nikola_engine::systems::kernels::half_potential::{LocalFlow, Time, apply};
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::kernels::{Threads, Values};

fn main() {
    for extents in SHAPES {
        let shape = shape(extents);
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let potential = Columns::noise(shape.n_pages(), shape.page_nodes, 1);
        let potential = potential.slices();
        let flow = LocalFlow {
            duration: 5e-4,
            potential: Values::PerNode(&potential),
            damping: Values::Uniform(0.0),
            beta: 1.0,
            time: Time::Real,
            gain: 0.0,
        };
        let mut pages = psi.pages();
        let secs = median_secs(|| apply(Level::detect(), Threads::Serial, &mut pages, &flow));
        row("half_potential", extents, secs, 20.0 * shape.n_nodes() as f64);
    }
}
