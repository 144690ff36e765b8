//! Profiles of small tori keep their values: the survey has computed them when the world asks for them again, and one
//! profile often serves several emitters.
//! Invariant: what is given is what the profile gives, bit for bit; a torus of more nodes than [`NODES_KEPT`], or one of
//! which only a part exists, keeps nothing.

use super::evaluate::Grid;
use nikola_components::fill::{ComplexFill, RealFill};
use std::sync::{Arc, OnceLock};

/// Largest torus whose profiles are kept: half a megabyte for each real one.
const NODES_KEPT: usize = 1 << 16;

struct Remembered<F: ?Sized> {
    fill: Arc<F>,
    pages: Vec<OnceLock<Vec<f64>>>,
}

impl<F: ?Sized> Remembered<F> {
    fn new(grid: &Grid, fill: Arc<F>) -> Result<Self, Arc<F>> {
        if grid.growth.is_some() || grid.torus.n_nodes() > NODES_KEPT {
            return Err(fill);
        }
        Ok(Self { fill, pages: vec![OnceLock::new(); grid.torus.n_pages()] })
    }
}

/// Keeps what a real profile gives.
pub fn real(grid: &Grid, fill: Arc<dyn RealFill>) -> Arc<dyn RealFill> {
    Remembered::new(grid, fill).map_or_else(|fill| fill, |kept| Arc::new(kept))
}

/// Keeps what a complex profile gives.
pub fn complex(grid: &Grid, fill: Arc<dyn ComplexFill>) -> Arc<dyn ComplexFill> {
    Remembered::new(grid, fill).map_or_else(|fill| fill, |kept| Arc::new(kept))
}

impl RealFill for Remembered<dyn RealFill> {
    fn fill(&self, page: usize, out: &mut [f64]) {
        let values = self.pages[page].get_or_init(|| {
            let mut values = vec![0.0; out.len()];
            self.fill.fill(page, &mut values);
            values
        });
        out.copy_from_slice(values);
    }
}

impl ComplexFill for Remembered<dyn ComplexFill> {
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        let n_nodes = re.len();
        let values = self.pages[page].get_or_init(|| {
            let mut values = vec![0.0; 2 * n_nodes];
            let (re, im) = values.split_at_mut(n_nodes);
            self.fill.fill(page, re, im);
            values
        });
        re.copy_from_slice(&values[..n_nodes]);
        im.copy_from_slice(&values[n_nodes..]);
    }

    fn seeds(&self) -> Vec<[usize; 9]> {
        self.fill.seeds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_components::torus::{PageRule, Torus};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_profile_is_evaluated_once_on_a_small_torus() {
        for (extent, calls) in [(64, 1), (65, 3)] {
            let mut extents = [1; 9];
            (extents[0], extents[1]) = (1024, extent);
            let torus = Torus::new(extents, extents.map(|n| n as f64), PageRule::Auto).expect("a torus");
            let grid = Grid::new(torus, None);
            let n_calls = Arc::new(AtomicUsize::new(0));
            let counter = n_calls.clone();
            let fill = move |page: usize, re: &mut [f64], im: &mut [f64]| {
                if page == 0 {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                re.iter_mut().enumerate().for_each(|(i, value)| *value = (page + i) as f64);
                im.fill(-1.0);
            };
            let kept = complex(&grid, Arc::new(fill));
            let n = grid.torus.page_nodes();
            for _ in 0..3 {
                let (mut re, mut im) = (vec![9.0; n], vec![9.0; n]);
                kept.fill(0, &mut re, &mut im);
                assert!(re.iter().enumerate().all(|(i, value)| *value == i as f64));
                assert!(im.iter().all(|value| *value == -1.0));
            }
            assert_eq!(n_calls.load(Ordering::Relaxed), calls, "1024 x {extent} nodes");
        }
    }
}
