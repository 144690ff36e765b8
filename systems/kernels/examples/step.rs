//! One full Strang step (half potential, kinetic, half potential), timed: `step 27x27x27 THREADS [f64] [scalar|avx2]`.
//! Prints the median in the manner of the C + FFTW reference, and the drift of the norm per step.

use std::time::Instant;

use nikola_kernels::half_potential::{LocalFlow, Time};
use nikola_kernels::kinetic::{AxisTerm, Kinetic, Probe};
use nikola_kernels::simd::Level;
use nikola_kernels::{PageMut, PageRef, Real, Shape, Threads, Values, reduce};

/// Nodes a page holds at most.
const PAGE_NODES: usize = 20_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(shape) = args.first() else {
        eprintln!("usage: step 27x27x27 THREADS [f64] [scalar|avx2]");
        std::process::exit(2);
    };
    let mut extents: Vec<usize> = shape.split('x').filter_map(|n| n.parse().ok()).collect();
    extents.sort_unstable_by(|a, b| b.cmp(a));
    let n_threads = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let has = |word: &str| args.iter().any(|a| a == word);
    let level = Level::available()
        .into_iter()
        .rev()
        .find(|l| if has("scalar") || has("avx2") { has(l.name()) } else { true })
        .unwrap_or(Level::Scalar);
    if has("f64") { run::<f64>(&extents, n_threads, level) } else { run::<f32>(&extents, n_threads, level) }
}

/// Trailing axes, and a divisor of the next, up to `PAGE_NODES`.
fn page_nodes(extents: &[usize]) -> usize {
    let mut nodes = 1;
    for &n in extents.iter().rev() {
        if nodes * n > PAGE_NODES {
            return nodes * (1..=n).rev().find(|d| n % d == 0 && nodes * d <= PAGE_NODES).unwrap_or(1);
        }
        nodes *= n;
    }
    nodes
}

fn run<T: Real>(extents: &[usize], n_threads: usize, level: Level) {
    let shape = Shape { extents: extents.to_vec(), page_nodes: page_nodes(extents) };
    let terms: Vec<AxisTerm> = extents
        .iter()
        .map(|&extent| AxisTerm {
            extent,
            wavenumber_unit: std::f64::consts::TAU / extent as f64,
            diffusion: 1.0,
        })
        .collect();
    let n = shape.n_nodes();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    // Columns as the engine keeps them: each page's plane on a cache line of its own.
    let mut column = |shift: f64| -> Vec<Column<T>> {
        let page = |_| (0..shape.page_nodes).map(|_| T::from_f64(random() - shift)).collect();
        (0..shape.n_pages()).map(page).map(Column::new).collect()
    };
    let (mut re, mut im, v) = (column(0.5), column(0.5), column(0.0));
    let potential: Vec<&[T]> = v.iter().map(Column::values).collect();
    let flow = LocalFlow {
        duration: 0.5e-3,
        potential: Values::PerNode(&potential),
        damping: Values::Uniform(T::default()),
        beta: 1.0,
        time: Time::Real,
        gain: 0.0,
    };
    let plan = Kinetic::<T>::new(level, &shape, &terms, 1e-3, Time::Real);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("a thread pool");
    let threads = if n_threads > 1 { Threads::Pool(&pool) } else { Threads::Serial };
    let norm = |re: &[Column<T>], im: &[Column<T>]| {
        let pages: Vec<PageRef<'_, T>> =
            re.iter().zip(im).map(|(re, im)| PageRef { re: re.values(), im: im.values() }).collect();
        reduce::norm2(level, threads, &pages)
    };
    let before = norm(&re, &im);
    let cpu;
    let (mut times, mut inner, mut outer, mut steps) = (Vec::new(), Vec::new(), Vec::new(), 0u32);
    {
        let mut pages: Vec<PageMut<'_, T>> = re
            .iter_mut()
            .zip(&mut im)
            .map(|(re, im)| PageMut { re: re.values_mut(), im: im.values_mut() })
            .collect();
        cpu = cpu_nanos();
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < 1.5 || times.len() < 3 {
            let t0 = Instant::now();
            plan.sweep_inner(threads, &mut pages, Some(&flow), &Probe::default());
            let t1 = Instant::now();
            plan.sweep_outer(threads, &mut pages, Some(&flow), &Probe::default());
            times.push(t0.elapsed().as_secs_f64() * 1e3);
            inner.push((t1 - t0).as_secs_f64() * 1e3);
            outer.push(t1.elapsed().as_secs_f64() * 1e3);
            steps += 1;
        }
    }
    let cpu_ms = (cpu_nanos() - cpu) * 1e-6 / f64::from(steps);
    let after = norm(&re, &im);
    let t = Instant::now();
    for _ in 0..10 {
        std::hint::black_box(norm(&re, &im));
    }
    let norm_ms = t.elapsed().as_secs_f64() * 100.0;
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    println!(
        "{:?} {} {level} {n_threads}T {:?}: {:.5} ms (least {:.5}, cpu {cpu_ms:.5}; inner {:.5}, outer {:.5}, norm2 {norm_ms:.5}), \
         {:.3} ns/node, norm drift/step {:.2e}",
        extents,
        T::NAME,
        plan.describe().first(),
        median(&mut times),
        times[0],
        median(&mut inner),
        median(&mut outer),
        times[times.len() / 2] * 1e6 / n as f64,
        (after / before - 1.0) / f64::from(steps),
    );
}

/// Processor time of this thread, which a busy machine does not blur (Linux; elsewhere 0).
fn cpu_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// Scalars from a 64-byte boundary on.
struct Column<T> {
    store: Vec<T>,
    start: usize,
}

impl<T: Real> Column<T> {
    fn new(values: Vec<T>) -> Self {
        let mut store = vec![T::default(); values.len() + 64 / T::BYTES];
        let start = store.as_ptr().align_offset(64);
        store[start..start + values.len()].copy_from_slice(&values);
        Column { store, start }
    }
    fn values(&self) -> &[T] {
        &self.store[self.start..self.store.len() + self.start - 64 / T::BYTES]
    }
    fn values_mut(&mut self) -> &mut [T] {
        let end = self.store.len() + self.start - 64 / T::BYTES;
        &mut self.store[self.start..end]
    }
}
