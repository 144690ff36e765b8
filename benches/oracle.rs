//! The energy balance: its kernels, and what the oracle costs per tick on the default scene's torus with damping that
//! varies, emitters and β, against the same world without it. Budget: 20 µs at 3^9.

use nikola_benches::{Columns, SHAPES, median_secs, row, shape, watched};
use nikola_engine::systems::components::telemetry::Stage;
use nikola_engine::systems::kernels::energy::{KineticForm, local_form};
use nikola_engine::systems::kernels::kinetic::AxisTerm;
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::kernels::{PageMut, Threads, Values};

fn main() {
    for extents in SHAPES {
        let shape = shape(extents);
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let damping = Columns::noise(shape.n_pages(), shape.page_nodes, 1);
        let damping = damping.slices();
        let pages = psi.pages();
        let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
        let term = |&extent: &usize| AxisTerm { extent, wavenumber_unit: 1.0, diffusion: 1.0 };
        let terms: Vec<AxisTerm> = shape.extents.iter().map(term).collect();
        let form = KineticForm::new(&shape, &terms);
        let (level, one) = (Level::detect(), Values::Uniform(1.0));
        let axes = shape.extents.len() as f64;
        let secs = median_secs(|| {
            std::hint::black_box(form.value(level, Threads::Serial, &views, one));
        });
        row("energy: ⟨Ψ, TΨ⟩", extents, secs, 8.0 * axes * shape.n_nodes() as f64);
        let weight = Values::PerNode(&damping);
        let secs = median_secs(|| {
            std::hint::black_box(form.value(level, Threads::Serial, &views, weight));
        });
        row("energy: ⟨ΓΨ, TΨ⟩", extents, secs, 12.0 * axes * shape.n_nodes() as f64);
        let secs = median_secs(|| {
            std::hint::black_box(local_form(level, Threads::Serial, &views, one, 1.0, weight));
        });
        row("energy: local", extents, secs, 12.0 * shape.n_nodes() as f64);
    }
    watched("oracle", Stage::Oracle, "oracle: (),");
}
