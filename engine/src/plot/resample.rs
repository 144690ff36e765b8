//! Brings a lattice plane to the pixels of a picture.
//! Invariant: every pixel is a weighted mean of nodes, with weights that sum to 1; missing nodes weigh nothing.
//! More nodes than pixels: averaged by area. Fewer: interpolated linearly between the nodes' centres on a side of
//! [`SMOOTH_MIN`] nodes or more, else blocks with anti-aliased edges. Cost: O(nodes + pixels).

/// Fewest nodes on a side for which neighbours are interpolated: below it, the nodes themselves are what matters.
const SMOOTH_MIN: usize = 48;

/// Samples of `K` channels on a `width` × `height` lattice, brought to `out_width` × `out_height` pixels.
///
/// `node(i, j)` returns the channels of a node, or `None` for a node without a value. The answer is row-major with
/// row 0 first. A pixel is `None` where all nodes below it are, or when enlarging, where more than half of it is.
pub(super) fn resample<const K: usize>(
    (width, height): (usize, usize),
    (out_width, out_height): (usize, usize),
    node: impl Fn(usize, usize) -> Option<[f64; K]>,
) -> Vec<Option<[f64; K]>> {
    let mut out = Vec::with_capacity(out_width * out_height);
    if width == 0 || height == 0 {
        out.resize(out_width * out_height, None);
        return out;
    }
    let enlarging = out_width >= width && out_height >= height;
    let weight_min = if enlarging { 0.5 } else { 1e-12 };
    let mut row = Row { sums: vec![([0.0; K], 0.0); out_width], index: usize::MAX };
    for j in 0..out_height {
        let mut sums = vec![([0.0; K], 0.0); out_width];
        for (source, weight) in shares(j, height, out_height) {
            row.load(source, width, &node);
            for (total, part) in sums.iter_mut().zip(&row.sums) {
                add(total, part, weight);
            }
        }
        out.extend(
            sums.into_iter().map(|(sum, weight)| (weight >= weight_min).then(|| sum.map(|s| s / weight))),
        );
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
            for (source, weight) in shares(i, width, out_width) {
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

/// Cells of an `n`-cell line that make up pixel `pixel` of `n_pixels`, with their shares.
fn shares(pixel: usize, n: usize, n_pixels: usize) -> impl Iterator<Item = (usize, f64)> {
    let ratio = n as f64 / n_pixels.max(1) as f64;
    let smooth = n >= SMOOTH_MIN && n < n_pixels;
    let centre = ((pixel as f64 + 0.5) * ratio - 0.5).clamp(0.0, (n - 1) as f64);
    let (from, to) = (pixel as f64 * ratio, (pixel + 1) as f64 * ratio);
    let (first, last) = if smooth {
        (centre as usize, (centre as usize + 1).min(n - 1))
    } else {
        ((from as usize).min(n - 1), ((to - 1e-9).max(from) as usize).min(n - 1))
    };
    (first..=last).filter_map(move |cell| {
        let share = if smooth {
            1.0 - (centre - cell as f64).abs()
        } else {
            (to.min((cell + 1) as f64) - from.max(cell as f64)) / ratio
        };
        (share > 1e-9).then_some((cell, share))
    })
}
