//! Brings a lattice plane to the pixels of a picture by area averaging.
//! Invariant: every pixel is the mean of what it covers, weighted by area; nodes without a value weigh nothing.
//! Fewer nodes than pixels: each node becomes a block with anti-aliased edges. Cost: O(nodes + pixels).

/// Samples of `K` channels on a `width` × `height` lattice, brought to `out_width` × `out_height` pixels.
///
/// `node(i, j)` returns the channels of a node, or `None` for a node without a value. The answer is row-major with
/// row 0 first; a pixel is `None` where all the nodes below it are.
pub(super) fn area_average<const K: usize>(
    (width, height): (usize, usize),
    (out_width, out_height): (usize, usize),
    node: impl Fn(usize, usize) -> Option<[f64; K]>,
) -> Vec<Option<[f64; K]>> {
    let mut out = Vec::with_capacity(out_width * out_height);
    if width == 0 || height == 0 {
        out.resize(out_width * out_height, None);
        return out;
    }
    let mut row = Row { sums: vec![([0.0; K], 0.0); out_width], index: usize::MAX };
    for j in 0..out_height {
        let mut sums = vec![([0.0; K], 0.0); out_width];
        for (source, weight) in overlaps(j, height, out_height) {
            row.load(source, width, &node);
            for (total, part) in sums.iter_mut().zip(&row.sums) {
                add(total, part, weight);
            }
        }
        out.extend(sums.into_iter().map(|(sum, weight)| (weight > 0.0).then(|| sum.map(|s| s / weight))));
    }
    out
}

/// Channel sums and the weight behind them.
type Sum<const K: usize> = ([f64; K], f64);

/// One lattice row brought to the pixels' width, kept while the next pixel row still needs it.
struct Row<const K: usize> {
    sums: Vec<Sum<K>>,
    index: usize,
}

impl<const K: usize> Row<K> {
    fn load(&mut self, index: usize, width: usize, node: &impl Fn(usize, usize) -> Option<[f64; K]>) {
        if self.index == index {
            return;
        }
        self.index = index;
        let out_width = self.sums.len();
        for (i, sum) in self.sums.iter_mut().enumerate() {
            *sum = ([0.0; K], 0.0);
            for (source, weight) in overlaps(i, width, out_width) {
                if let Some(channels) = node(source, index) {
                    add(sum, &(channels, 1.0), weight);
                }
            }
        }
    }
}

fn add<const K: usize>(total: &mut Sum<K>, part: &Sum<K>, weight: f64) {
    for (t, p) in total.0.iter_mut().zip(part.0) {
        *t += weight * p;
    }
    total.1 += weight * part.1;
}

/// Cells of an `n`-cell line below pixel `pixel` of `n_pixels`, with the covered share of the pixel.
fn overlaps(pixel: usize, n: usize, n_pixels: usize) -> impl Iterator<Item = (usize, f64)> {
    let ratio = n as f64 / n_pixels.max(1) as f64;
    let (from, to) = (pixel as f64 * ratio, (pixel + 1) as f64 * ratio);
    let last = ((to - 1e-9).max(from) as usize).min(n - 1);
    (from as usize..=last).filter_map(move |cell| {
        let covered = to.min((cell + 1) as f64) - from.max(cell as f64);
        (covered > 1e-9).then_some((cell, covered / ratio))
    })
}
