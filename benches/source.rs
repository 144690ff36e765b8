//! A kick by a source that touches every node of a page: Ψ read and written, indices and weights read.

use nikola_benches::{Columns, median_secs, row};
use nikola_engine::systems::kernels::{PageMut, source};

fn main() {
    let n = 19_683;
    let mut psi = Columns::noise(2, n, 0);
    let weights = Columns::noise(2, n, 1);
    let nodes: Vec<u32> = (0..n as u32).collect();
    let [re, im] = &mut psi.0[..] else { return };
    let secs = median_secs(|| {
        let page = PageMut { re: &mut re[..], im: &mut im[..] };
        source::kick(page, &nodes, &weights.0[0], &weights.0[1], 1e-6, -1e-6);
    });
    row("source::kick", &[n], secs, 28.0 * n as f64);
}
