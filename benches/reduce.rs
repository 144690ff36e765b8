//! The norm and the totals: Ψ read once (and V for the totals).

use nikola_benches::{Columns, SHAPES, median_secs, row, shape};
use nikola_engine::systems::kernels::simd::Level;
use nikola_engine::systems::kernels::{PageMut, Threads, Values, reduce};

fn main() {
    for extents in SHAPES {
        let shape = shape(extents);
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let potential = Columns::noise(shape.n_pages(), shape.page_nodes, 1);
        let potential = potential.slices();
        let pages = psi.pages();
        let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
        let level = Level::detect();
        let secs = median_secs(|| {
            std::hint::black_box(reduce::norm2(level, Threads::Serial, &views));
        });
        row("reduce::norm2", extents, secs, 8.0 * shape.n_nodes() as f64);
        let secs = median_secs(|| {
            let totals = reduce::totals(
                level,
                Threads::Serial,
                &views,
                Values::PerNode(&potential),
                Values::Uniform(0.0),
            );
            std::hint::black_box(totals);
        });
        row("reduce::totals", extents, secs, 12.0 * shape.n_nodes() as f64);
    }
}
