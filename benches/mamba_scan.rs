//! All four traversals of the scan: Ψ read once, a record of four scalars written and read four times, indices read.

use nikola_benches::{Columns, median_secs, row, shape};
use nikola_engine::systems::components::geometry::traversal::{Traversal, slices};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::kernels::mamba_scan::{Order, Recurrence, STATE, Scan, State};
use nikola_engine::systems::kernels::{PageMut, Threads, Values};

fn main() {
    for extents in [&[3; 9][..], &[27, 27, 27, 3, 3][..]] {
        let shape = shape(extents);
        let (mut all, count) = ([1; 9], extents.len());
        all[..count].copy_from_slice(extents);
        let torus = Torus::new(all, all.map(|n| n as f64), PageRule::Auto).expect("bench shapes are valid");
        let orders = Traversal::ALL.map(|traversal| Order {
            positions: traversal.positions(&torus),
            is_time_fastest: traversal.is_time_fastest(),
        });
        let mut psi = Columns::noise(2 * shape.n_pages(), shape.page_nodes, 0);
        let pages = psi.pages();
        let views: Vec<_> = pages.iter().map(PageMut::as_ref).collect();
        let mut states = [State::default(); 4];
        // One distinct entry of the metric serves all nine components; two take two passes.
        for n_distinct in [1, 2] {
            let metric = core::array::from_fn(|d| if d < n_distinct - 1 { 2.0 } else { 1.0 });
            let recurrence = Recurrence { step: 0.01, density_weight: 10.0, input_weight: 1.0, metric };
            assert_eq!(metric.len(), STATE);
            let mut scan = Scan::<f32>::new(recurrence, torus.n_nodes(), slices(&torus), orders.to_vec());
            let mut present = 0;
            let secs = median_secs(|| {
                present = (present + 1) % slices(&torus).len();
                scan.run(Threads::Serial, &views, Values::Uniform(0.5), present, &mut states);
            });
            std::hint::black_box(&states);
            // Ψ 8, records 16 written and 4 · 16 read, indices 4 · 4.
            let bytes = n_distinct as f64 * 104.0 * torus.n_nodes() as f64;
            row(&format!("mamba_scan ({n_distinct} of metric)"), extents, secs, bytes);
        }
    }
}
