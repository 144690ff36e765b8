//! The scan against a plain f64 recurrence, its bound, and its bits. Invariant: orders here are seeded shuffles, so
//! that nothing rests on a special traversal.

use super::{Order, Recurrence, STATE, Scan, State};
use crate::Crew;
use crate::field::{PageRef, Real, Threads, Values};

/// A fixed sequence in [0, 1).
fn noise(stream: u64, i: u64) -> f64 {
    let mixed =
        (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (stream + 7).wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

fn shuffled(n: usize, stream: u64) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> =
        (0..n as u32).map(|i| (noise(stream, u64::from(i)).to_bits(), i)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, i)| i).collect()
}

/// A torus of `n_slices` slices of `n_positions` positions each, in pages of equal length.
struct Case {
    n_positions: usize,
    n_slices: usize,
    n_pages: usize,
    amplitude: f64,
    recurrence: Recurrence,
}

const RECURRENCE: Recurrence =
    Recurrence { step: 0.01, density_weight: 10.0, input_weight: 0.7, metric: [1.0; STATE] };

impl Case {
    fn n_nodes(&self) -> usize {
        self.n_positions * self.n_slices
    }

    fn orders(&self) -> Vec<Order> {
        let order = |stream, is_time_fastest| Order {
            positions: shuffled(self.n_positions, stream),
            is_time_fastest,
        };
        vec![order(0, false), order(1, true), order(2, false)]
    }

    fn slices(&self) -> Vec<u32> {
        (0..self.n_slices).map(|j| (j * self.n_positions) as u32).collect()
    }

    fn column<T: Real>(&self, stream: u64, offset: f64, scale: f64) -> Vec<T> {
        (0..self.n_nodes() as u64).map(|i| T::from_f64(scale * (noise(stream, i) - offset))).collect()
    }

    fn scan<T: Real>(&self, threads: Threads<'_>, present: usize) -> Vec<State> {
        let re: Vec<T> = self.column(10, 0.5, self.amplitude);
        let im: Vec<T> = self.column(11, 0.5, self.amplitude);
        let openness: Vec<T> = self.column(12, 0.0, 1.0);
        let page_nodes = self.n_nodes() / self.n_pages;
        let pages: Vec<_> =
            re.chunks(page_nodes).zip(im.chunks(page_nodes)).map(|(re, im)| PageRef { re, im }).collect();
        let openness: Vec<&[T]> = openness.chunks(page_nodes).collect();
        let mut scan = Scan::<T>::new(self.recurrence, self.n_nodes(), self.slices(), self.orders());
        let mut states = vec![State::default(); 3];
        // Twice: nothing may be left over from the scan before.
        scan.run(threads, &pages, Values::PerNode(&openness), 0, &mut states);
        scan.run(threads, &pages, Values::PerNode(&openness), present, &mut states);
        states
    }

    /// h_k = A_k h_{k−1} + B Ψ_k, node after node, in f64, from the same inputs as `T` holds them.
    fn reference<T: Real>(&self, present: usize) -> Vec<State> {
        let read = |column: Vec<T>| column.into_iter().map(Real::to_f64).collect::<Vec<f64>>();
        let re = read(self.column(10, 0.5, self.amplitude));
        let im = read(self.column(11, 0.5, self.amplitude));
        let openness = read(self.column(12, 0.0, 1.0));
        let mut slices = self.slices();
        slices.rotate_left(present + 1);
        let walk = |order: Order| {
            let pairs: Vec<(u32, u32)> = if order.is_time_fastest {
                order.positions.iter().flat_map(|&p| slices.iter().map(move |&s| (p, s))).collect()
            } else {
                slices.iter().flat_map(|&s| order.positions.iter().map(move |&p| (p, s))).collect()
            };
            let mut state = State::default();
            for (position, slice) in pairs {
                let k = (position + slice) as usize;
                let density = re[k] * re[k] + im[k] * im[k];
                for d in 0..STATE {
                    let a = self.recurrence.factor(self.recurrence.metric[d], density, openness[k]);
                    state.re[d] = a * state.re[d] + self.recurrence.input_weight * re[k];
                    state.im[d] = a * state.im[d] + self.recurrence.input_weight * im[k];
                }
            }
            state
        };
        self.orders().into_iter().map(walk).collect()
    }

    fn check<T: Real>(&self, present: usize, tolerance: f64) {
        let (found, expected) = (self.scan::<T>(Threads::Serial, present), self.reference::<T>(present));
        // Rounding of a sum is judged by the size of its terms' random sum, not by what happens to cancel.
        let scale = self.amplitude * self.recurrence.input_weight * (self.n_nodes() as f64).sqrt().min(20.0);
        for (found, expected) in found.iter().zip(&expected) {
            for d in 0..STATE {
                let error = (found.re[d] - expected.re[d]).hypot(found.im[d] - expected.im[d]) / scale;
                assert!(error < tolerance, "{} nodes, component {d}: {error:.2e}", self.n_nodes());
            }
        }
    }
}

#[test]
fn equals_the_plain_recurrence_in_f64() {
    let mixed = [1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 2.0, 0.25, 1.0];
    let sizes = [(6561, 3, 1), (1, 1, 1), (7, 2, 1), (8, 1, 2), (9, 5, 3), (16_400, 2, 4), (33_000, 1, 3)];
    for (n_positions, n_slices, n_pages) in sizes {
        for metric in [[1.0; STATE], mixed] {
            let recurrence = Recurrence { metric, ..RECURRENCE };
            let case = Case { n_positions, n_slices, n_pages, amplitude: 1.0, recurrence };
            for present in 0..n_slices {
                case.check::<f64>(present, 1e-13);
                case.check::<f32>(present, 2e-5);
            }
        }
    }
}

#[test]
fn equal_entries_of_the_metric_give_equal_components() {
    let metric = [2.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0];
    let recurrence = Recurrence { metric, ..RECURRENCE };
    let case = Case { n_positions: 729, n_slices: 3, n_pages: 1, amplitude: 1.0, recurrence };
    for state in case.scan::<f32>(Threads::Serial, 1) {
        for d in 0..STATE {
            let twin = if metric[d] == 2.0 { 0 } else { 1 };
            assert_eq!((state.re[d], state.im[d]), (state.re[twin], state.im[twin]));
        }
        assert_ne!(state.re[0], state.re[1]);
    }
}

#[test]
fn never_grows_whatever_the_field_and_the_parameters() {
    for i in 0..20_000 {
        let pick = |stream, low: f64, high: f64| low * (high / low).powf(noise(stream, i));
        let metric = core::array::from_fn(|d| pick(20 + d as u64, 1e-3, 1e3));
        let recurrence = Recurrence {
            step: pick(30, 1e-6, 1e6),
            density_weight: pick(31, 1e-6, 1e6),
            input_weight: 1.0,
            metric,
        };
        for g in metric {
            for openness in [0.0, noise(32, i), 1.0] {
                let a = recurrence.factor(g, pick(33, 1e-9, 1e9), openness);
                assert!((-0.6 - 1e-12..=1.0).contains(&a), "factor {a}: {recurrence:?}");
            }
        }
    }
    // Driven by steps far beyond the limit, the state stays below the sum of its inputs.
    for amplitude in [1e-3, 1.0, 1e3] {
        let recurrence = Recurrence { step: 1e4, density_weight: 0.0, ..RECURRENCE };
        let case = Case { n_positions: 500, n_slices: 3, n_pages: 1, amplitude, recurrence };
        let bound = amplitude * recurrence.input_weight * case.n_nodes() as f64;
        for state in case.scan::<f32>(Threads::Serial, 2) {
            assert!(state.re.iter().chain(&state.im).all(|h| h.abs() <= bound), "{amplitude}");
        }
    }
}

#[test]
fn an_undamped_scan_sums_and_a_damped_one_forgets() {
    // r̂ = 1: A = 1 everywhere and h is B·ΣΨ. r̂ = 0 with Δ = 0.5: h is the geometric sum of the last few nodes.
    let n = 1000;
    let (re, im) = (vec![1.0; n], vec![-2.0; n]);
    let order = Order { positions: shuffled(n, 3), is_time_fastest: false };
    let recurrence = Recurrence { step: 0.5, density_weight: 0.0, input_weight: 1.0, metric: [1.0; STATE] };
    let mut scan = Scan::<f64>::new(recurrence, n, vec![0], vec![order]);
    let mut states = [State::default()];
    for (openness, expected) in [(0.0, n as f64), (1.0, 2.0)] {
        scan.run(Threads::Serial, &[PageRef { re: &re, im: &im }], Values::Uniform(openness), 0, &mut states);
        assert!((states[0].re[0] - expected).abs() < 1e-9 && (states[0].im[8] + 2.0 * expected).abs() < 1e-9);
    }
    let coupling = core::array::from_fn(|d| d as f64);
    let (re, im) = states[0].output(&coupling);
    assert!((re - 72.0).abs() < 1e-9 && (im + 144.0).abs() < 1e-9, "Σd·2 = 72");
}

#[test]
fn threads_do_not_change_a_bit() {
    let metric = [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let recurrence = Recurrence { metric, ..RECURRENCE };
    let case = Case { n_positions: 20_000, n_slices: 3, n_pages: 6, amplitude: 1.0, recurrence };
    let serial = case.scan::<f32>(Threads::Serial, 1);
    for threads in [1, 2, 4] {
        let crew = Crew::new(threads).expect("threads");
        assert_eq!(case.scan::<f32>(Threads::Crew(&crew), 1), serial, "{threads} threads");
    }
}
