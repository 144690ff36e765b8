//! The planned flow against a plain f64 Fourier transform, and its invariants.

use super::*;
use crate::Crew;
use crate::field::PageRef;
use std::f64::consts::TAU;

type Z = (f64, f64);

/// Deterministic noise in −1..1.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

/// Naive axis-by-axis propagation in f64.
fn reference(extents: &[usize], terms: &[AxisTerm], duration: f64, time: Time, field: &mut [Z]) {
    let mut stride = 1;
    for (n, term) in extents.iter().copied().zip(terms).rev() {
        // Circulant kernel of the axis: c_j = (1/n) Σ_m phase_m e^{2πi mj/n}.
        let kernel: Vec<Z> = (0..n)
            .map(|j| {
                let (mut re, mut im) = (0.0, 0.0);
                for m in 0..n {
                    let signed = if 2 * m > n { m as f64 - n as f64 } else { m as f64 };
                    let k = signed * term.wavenumber_unit;
                    let theta = 0.5 * duration * term.diffusion * k * k;
                    let angle = TAU * (m * j % n) as f64 / n as f64;
                    let (size, angle) = match time {
                        Time::Real => (1.0, angle - theta),
                        Time::Imaginary { .. } => ((-theta).exp(), angle),
                    };
                    re += size * angle.cos() / n as f64;
                    im += size * angle.sin() / n as f64;
                }
                (re, im)
            })
            .collect();
        for block in 0..field.len() / (n * stride) {
            for j in 0..stride {
                let at = |r: usize| block * n * stride + r * stride + j;
                let line: Vec<Z> = (0..n).map(|r| field[at(r)]).collect();
                for r in 0..n {
                    let mut sum = (0.0, 0.0);
                    for (s, z) in line.iter().enumerate() {
                        let c = kernel[(n + r - s) % n];
                        sum.0 += c.0 * z.0 - c.1 * z.1;
                        sum.1 += c.0 * z.1 + c.1 * z.0;
                    }
                    field[at(r)] = sum;
                }
            }
        }
        stride *= n;
    }
}

fn terms(extents: &[usize]) -> Vec<AxisTerm> {
    let term = |(d, &extent): (usize, &usize)| AxisTerm {
        extent,
        wavenumber_unit: TAU / (extent as f64 * (0.3 + 0.05 * d as f64)),
        diffusion: 1.0 + 0.1 * d as f64,
    };
    extents.iter().enumerate().map(term).collect()
}

struct Case {
    shape: Shape,
    duration: f64,
    time: Time,
}

/// Planes of the whole torus after `steps` of local flow, kinetic flow, local flow.
fn run<T: Real>(
    case: &Case,
    level: Level,
    threads: Threads<'_>,
    local: bool,
    steps: usize,
) -> (Vec<T>, Vec<T>) {
    let n = case.shape.n_nodes();
    let convert = |v: Vec<f64>| v.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (mut re, mut im, v) = (convert(noise(n, 1)), convert(noise(n, 2)), convert(noise(n, 3)));
    let slices: Vec<&[T]> = v.chunks(case.shape.page_nodes).collect();
    let flow = LocalFlow {
        duration: 0.5 * case.duration,
        potential: Values::PerNode(&slices),
        damping: Values::Uniform(T::default()),
        beta: 0.7,
        time: case.time,
        gain: 0.0,
    };
    let flow = local.then_some(&flow);
    let plan = Kinetic::<T>::new(level, &case.shape, &terms(&case.shape.extents), case.duration, case.time);
    let nodes = case.shape.page_nodes;
    let mut pages: Vec<_> =
        re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).map(|(re, im)| PageMut { re, im }).collect();
    for _ in 0..steps {
        plan.sweep_inner(threads, &mut pages, flow, &Probe::default());
        plan.sweep_outer(threads, &mut pages, flow, &Probe::default());
    }
    (re, im)
}

fn check<T: Real>(extents: &[usize], page_nodes: usize, time: Time, tolerance: f64) {
    let shape = Shape { extents: extents.to_vec(), page_nodes };
    let case = Case { shape, duration: 0.013, time };
    let n = case.shape.n_nodes();
    let mut expected: Vec<Z> = noise(n, 1).into_iter().zip(noise(n, 2)).collect();
    reference(extents, &terms(extents), case.duration, time, &mut expected);
    let (re, im) = run::<T>(&case, Level::detect(), Threads::Serial, false, 1);
    let mut worst = 0.0_f64;
    for (i, z) in expected.iter().enumerate() {
        worst = worst.max((re[i].to_f64() - z.0).abs()).max((im[i].to_f64() - z.1).abs());
    }
    assert!(worst < tolerance, "{extents:?} in pages of {page_nodes}, {}: off by {worst:e}", T::NAME);
}

fn check_both(extents: &[usize], page_nodes: usize) {
    for time in [Time::Real, Time::Imaginary { mu: 0.0 }] {
        check::<f64>(extents, page_nodes, time, 2e-14);
        check::<f32>(extents, page_nodes, time, 6e-6);
    }
}

const LENGTHS: [usize; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 22, 27, 30, 32, 64, 81, 97, 100, 128, 143];

#[test]
fn every_length_matches_the_plain_transform() {
    for n in LENGTHS {
        check_both(&[n], n);
        check_both(&[n, 5], 5 * n);
        check_both(&[5, n], 5 * n);
        check_both(&[4, n, 7], 28 * n);
        check_both(&[n, 4], 4);
    }
}

/// Shapes from one to nine axes, in one page and in many.
const SHAPES: [(&[usize], usize); 14] = [
    (&[3], 3),
    (&[3, 3], 9),
    (&[3, 3], 3),
    (&[3; 5], 243),
    (&[3; 7], 2187),
    (&[3; 7], 81),
    (&[3; 9], 19_683),
    (&[27, 27], 27),
    (&[9, 27, 3, 3], 243),
    (&[6, 3, 2, 5, 3], 90),
    (&[2; 9], 32),
    (&[32, 40], 160),
    (&[24, 2, 2], 12),
    (&[5, 4, 1, 3, 1, 3], 9),
];

#[test]
fn mixed_shapes_match_the_plain_transform() {
    for (extents, page_nodes) in SHAPES {
        check_both(extents, page_nodes);
    }
}

#[test]
fn a_step_is_the_same_in_one_page_and_in_many() {
    fn worst<T: Real>([one, many]: [&Case; 2]) -> f64 {
        let [a, b] = [one, many].map(|case| run::<T>(case, Level::detect(), Threads::Serial, true, 3));
        let pairs = a.0.iter().zip(&b.0).chain(a.1.iter().zip(&b.1));
        pairs.fold(0.0, |worst, (a, b)| worst.max((a.to_f64() - b.to_f64()).abs()))
    }
    for extents in [&[3; 7][..], &[3, 3, 3, 5, 2, 27], &[27, 27], &[3, 3, 3, 11]] {
        let n: usize = extents.iter().product();
        for (duration, time) in [(0.003, Time::Real), (0.6, Time::Real), (0.013, Time::Imaginary { mu: 0.4 })]
        {
            let cases = [n, n / 9].map(|page_nodes| Case {
                shape: Shape { extents: extents.to_vec(), page_nodes },
                duration,
                time,
            });
            let (double, single) =
                (worst::<f64>([&cases[0], &cases[1]]), worst::<f32>([&cases[0], &cases[1]]));
            assert!(double < 5e-14 && single < 2e-5, "{extents:?} {duration}: {double:e} {single:e}");
        }
    }
}

#[test]
fn levels_and_threads_change_no_bit() {
    let crews: Vec<_> = [1, 2, 4].map(|n| Crew::new(n).expect("threads")).into();
    let more: [(&[usize], usize); 3] = [(&[64, 48], 192), (&[11, 97], 97), (&[9, 16, 30], 480)];
    fn both<T: Real>(case: &Case, crews: &[Crew]) {
        let bits = |(re, im): (Vec<T>, Vec<T>)| {
            re.iter().chain(&im).map(|x| x.to_f64().to_bits()).collect::<Vec<u64>>()
        };
        let expected = bits(run::<T>(case, Level::Scalar, Threads::Serial, true, 2));
        for level in Level::available() {
            let found = bits(run::<T>(case, level, Threads::Serial, true, 2));
            assert!(found == expected, "{:?} {} at {level}", case.shape, T::NAME);
        }
        for crew in crews {
            let found = bits(run::<T>(case, Level::detect(), Threads::Crew(crew), true, 2));
            assert!(found == expected, "{:?} {} on {} threads", case.shape, T::NAME, crew.n_threads());
        }
    }
    for (extents, page_nodes) in SHAPES.into_iter().chain(more) {
        // The second duration leaves the range of the short polynomials on some blocks.
        for (duration, time) in [(0.013, Time::Real), (0.6, Time::Real), (0.013, Time::Imaginary { mu: 0.4 })]
        {
            let case = Case { shape: Shape { extents: extents.to_vec(), page_nodes }, duration, time };
            both::<f32>(&case, &crews);
            both::<f64>(&case, &crews);
        }
    }
}

#[test]
fn norm_is_kept() {
    let norm = |re: &[f64], im: &[f64]| {
        crate::reduce::norm2(Level::detect(), Threads::Serial, &[PageRef { re, im }])
    };
    for (extents, page_nodes) in SHAPES {
        let case =
            Case { shape: Shape { extents: extents.to_vec(), page_nodes }, duration: 0.02, time: Time::Real };
        let (re, im) = run::<f64>(&case, Level::detect(), Threads::Serial, true, 50);
        let n = case.shape.n_nodes();
        let (before, after) = (norm(&noise(n, 1), &noise(n, 2)), norm(&re, &im));
        assert!((after / before - 1.0).abs() < 1e-14 * 50.0, "{extents:?}: {}", after / before - 1.0);
    }
}

#[test]
fn schemes_are_described() {
    let extents = [512, 101, 27, 3, 1];
    let shape = Shape { extents: extents.to_vec(), page_nodes: 81 };
    let plan = Kinetic::<f32>::new(Level::detect(), &shape, &terms(&extents), 1e-3, Time::Real);
    assert_eq!(plan.describe(), ["fft 8·8·8", "rustfft 101", "fft 3·9", "ring3", "none"]);
    assert!(plan.bytes() > 512 * 8);
}
