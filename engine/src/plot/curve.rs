//! Curves: from samples to polylines that show every peak but carry no more points than pixels can.
//! Invariant: a value that can't be drawn breaks the line; a lone value is a dot; nothing is interpolated across gaps.

use super::axes::Frame;
use super::canvas::{Canvas, Line, SCALE};

/// Up to this many samples are marked with dots, since then the samples themselves matter.
const DOTS_MAX: usize = 33;

/// Draws y over x into the frame.
pub(super) fn draw_curve(canvas: &mut Canvas, frame: &Frame, xs: &[f64], ys: &[f64], line: Line) {
    let points = xs.iter().zip(ys).map(|(x, y)| {
        let drawable = super::drawable(*x) && super::drawable(*y);
        if drawable { frame.point(*x, *y) } else { None }
    });
    let points: Vec<Option<(f32, f32)>> = points.collect();
    let dotted = points.len() <= DOTS_MAX;
    for run in points.split(Option::is_none) {
        let run: Vec<(f32, f32)> = run.iter().copied().flatten().collect();
        canvas.line(&thinned(&run), line);
        if dotted || run.len() == 1 {
            for (x, y) in &run {
                canvas.disc(*x, *y, 1.6 + 0.6 * line.width, line.colour);
            }
        }
    }
}

/// Keeps the first, lowest, highest and last of consecutive points in the same pixel column.
fn thinned(run: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let mut kept = Vec::with_capacity(run.len().min(8192));
    for column in run.chunk_by(|a, b| (a.0 * SCALE) as i32 == (b.0 * SCALE) as i32) {
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let extreme = |sign: f32| {
            (0..column.len()).max_by(|a, b| (sign * column[*a].1).total_cmp(&(sign * column[*b].1)))
        };
        let mut places = [Some(0), extreme(1.0), extreme(-1.0), Some(column.len() - 1)];
        places.sort_unstable();
        kept.extend(places.into_iter().flatten().map(|k| column[k]));
    }
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_extremes_and_bounds_the_count() {
        let n = 200_000;
        let run: Vec<(f32, f32)> =
            (0..n).map(|k| (100.0 * k as f32 / n as f32, (k as f32 * 0.37).sin())).collect();
        let mut run = run;
        run[77_777].1 = 9.0;
        let kept = thinned(&run);
        assert!(kept.len() <= 4 * 201, "{} points", kept.len());
        assert!(kept.iter().any(|(_, y)| *y == 9.0), "the peak is lost");
        assert_eq!((kept.first(), kept.last()), (run.first(), run.last()));
    }
}
