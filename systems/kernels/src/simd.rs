//! The SIMD layer: one virtual vector of fixed width (16 × f32, 8 × f64), provided by three instruction sets.
//!
//! Invariant: the level never changes a bit of a result. Every kernel is generic over [`Lanes`]; every operation of
//! `Lanes` is correctly rounded (IEEE add, mul, fma, div, sqrt) or exact (min, max, loads, permutations), and any
//! decision a kernel takes is taken per virtual vector, which is the same at every level.

#![allow(unsafe_code)] // Vector loads and stores through pointers, and calls into functions with target features.

pub(crate) mod accumulate;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod scalar;
pub(crate) mod symmetric;

use core::ops::Range;

use crate::energy::{FormChunk, LocalForm};
use crate::field::{PageRef, Real, Shape, Values};
use crate::half_potential::LocalRun;
use crate::kinetic::fibre::FibrePass;
use crate::kinetic::lattice::{ImageChange, ImagePower, RunForm};
use crate::kinetic::remainder::{PageCells, PageJoins, PagePowers};
use crate::kinetic::remainder::{RingCells, RingJoins, RingMoves, RingPowers, RingTakes};
use crate::kinetic::sparse::{ActivePass, GramUnit, OutsidePass, SheetPass, SlopePass, SparseUnit};
use crate::kinetic::{BundlePass, CellPass, CombinePass, FluxPass, OuterBatch, PageSweep};
use crate::mamba_scan::{CellSteps, CellWalk, Effect, LatticeWalk, Record, Records, UnitPass, walk};
use crate::metric_update::{RingForm, RunStructure, StructurePass};
use crate::reduce::{self, Piece, RingRun, RingSums, SpectralMoments, Sum, SumPiece, Totals};
use crate::wave_form::{ExchangeRun, LeapPass, PairBatch, PairPage};

/// Instruction set a kernel is asked to use. Results are bitwise equal at every level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, one lane at a time (with exact fused multiply-adds).
    Scalar,
    /// AVX2 + FMA.
    Avx2,
    /// AVX-512 F/VL/DQ/BW.
    Avx512,
}

impl Level {
    /// The best level of this processor.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    return Level::Avx512;
                }
                return Level::Avx2;
            }
        }
        Level::Scalar
    }

    /// Every level this processor can run, slowest first.
    pub fn available() -> Vec<Level> {
        let best = Level::detect();
        [Level::Scalar, Level::Avx2, Level::Avx512].into_iter().filter(|&l| l <= best).collect()
    }

    /// Lower-case name as reports print it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

impl core::fmt::Display for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A virtual vector of [`Lanes::N`] scalars. Pointers need no alignment beyond the scalar's.
#[doc(hidden)]
#[allow(clippy::missing_safety_doc, missing_docs)] // Plumbing; the contract is in each name.
pub trait Lanes: Copy + 'static {
    type T: Real;
    /// The f64 vector of 8 lanes at the same level.
    type Wide: Lanes<T = f64>;
    /// The vector that fills one register, for element-wise kernels that hold many at a time: the same bits, fewer
    /// trips to the stack. Widens nothing and decides nothing.
    type Narrow: Lanes<T = Self::T>;
    const N: usize;
    /// Whether [`Self::constant`] rounds to single precision.
    const SINGLE: bool = Self::T::BYTES == 4;

    fn splat(x: Self::T) -> Self;
    /// A constant of a formula, rounded as the level's tables are.
    #[inline(always)]
    fn constant(x: f64) -> Self {
        Self::splat(Self::T::from_f64(x))
    }
    unsafe fn load(p: *const Self::T) -> Self;
    unsafe fn store(self, p: *mut Self::T);
    /// The first `n ≤ N` lanes from memory, zeros above.
    unsafe fn load_n(p: *const Self::T, n: usize) -> Self;
    /// The first `n ≤ N` lanes to memory.
    unsafe fn store_n(self, p: *mut Self::T, n: usize);
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    fn sqrt(self) -> Self;
    /// `self·b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + o`, the bits of [`Lanes::add`], as `self·one + o`: for kernels of many additions and few products, where a
    /// processor has units of their own for both.
    #[inline(always)]
    fn add_by(self, _one: Self, o: Self) -> Self {
        self.add(o)
    }
    /// `c − self·b`, rounded once.
    fn neg_mul_add(self, b: Self, c: Self) -> Self;
    /// `self < o ? self : o` (the second where either is NaN).
    fn min(self, o: Self) -> Self;
    /// `self > o ? self : o` (the second where either is NaN).
    fn max(self, o: Self) -> Self;
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    /// Nearest integer, ties to even.
    fn round(self) -> Self;
    /// Whether every lane is `< bound`; NaN is not.
    fn all_below(self, bound: Self) -> bool;
    /// Lanes `8·half .. 8·half + 8` as f64, exactly.
    fn widen(self, half: usize) -> Self::Wide;
    /// Reads `rows ≤ N` rows of `cols ≤ N` scalars, writes them as `cols` rows of `width` scalars
    /// (`rows ≤ width ≤ N`, zeros beyond `rows`).
    unsafe fn transpose(
        src: *const Self::T,
        src_stride: usize,
        rows: usize,
        cols: usize,
        dst: *mut Self::T,
        dst_stride: usize,
        width: usize,
    );
    /// The numbers of N records of four, each as a vector; record ℓ begins `begins[ℓ]` numbers behind `p`.
    #[inline(always)]
    unsafe fn load_records(p: *const Self::T, begins: *const u32) -> [Self; 4] {
        let mut columns = [[Self::T::default(); 16]; 4];
        for lane in 0..Self::N {
            // SAFETY: the caller promises N beginnings and their records.
            unsafe {
                let record = p.add(*begins.add(lane) as usize);
                for (k, column) in columns.iter_mut().enumerate() {
                    column[lane] = *record.add(k);
                }
            }
        }
        columns.each_ref().map(Self::from_array)
    }
    /// N records of the numbers of four vectors, one after the other.
    #[inline(always)]
    unsafe fn store_records(columns: [Self; 4], p: *mut Self::T) {
        for (k, column) in columns.into_iter().enumerate() {
            let mut numbers = [Self::T::default(); 16];
            column.store_array(&mut numbers);
            for (lane, number) in numbers.iter().enumerate().take(Self::N) {
                // SAFETY: the caller promises 4·N writable scalars.
                unsafe { *p.add(4 * lane + k) = *number };
            }
        }
    }
    /// Column `j` of a symmetric matrix, packed as [`symmetric`] says, from row `part` on; behind the last row there are zeros.
    #[inline(always)]
    unsafe fn column(packed: *const Self::T, part: usize, j: usize) -> Self {
        let mut numbers = [Self::T::default(); 16];
        for i in part..symmetric::ROWS.min(part + Self::N) {
            // SAFETY: the caller promises a packed matrix.
            numbers[i - part] = unsafe { *packed.add(symmetric::place(i, j)) };
        }
        Self::from_array(&numbers)
    }
    fn prefetch(p: *const Self::T);
    /// The first N elements.
    #[inline(always)]
    fn from_array(array: &[Self::T; 16]) -> Self {
        // SAFETY: N ≤ 16.
        unsafe { Self::load(array.as_ptr()) }
    }
    /// Fills the first N elements.
    #[inline(always)]
    fn store_array(self, array: &mut [Self::T; 16]) {
        // SAFETY: N ≤ 16.
        unsafe { self.store(array.as_mut_ptr()) }
    }
    /// Runs `kernel` in a function of its own, compiled for this level.
    fn call<K: Kernel<Self::T>>(kernel: K) -> K::Out;
}

/// Generic code over [`Lanes`]; `run` must be `#[inline(always)]` so that it takes its caller's target features.
#[doc(hidden)]
#[allow(missing_docs)]
pub trait Kernel<T> {
    type Out;
    fn run<V: Lanes<T = T>>(self) -> Self::Out;
}

/// Plumbing behind [`crate::Real`]; implemented for `f32` and `f64` only.
pub trait SimdReal: sealed::Sealed + Copy + Sized {
    /// The same type as `rustfft` sees it. (A supertrait would make `from_f64` ambiguous everywhere.)
    type Num: rustfft::FftNum;
    #[doc(hidden)]
    type Scalar: Lanes<T = Self>;
    #[doc(hidden)]
    type Avx2: Lanes<T = Self>;
    #[doc(hidden)]
    type Avx512: Lanes<T = Self>;
    /// To `Num` (the identity).
    fn to_num(self) -> Self::Num;
    /// From `Num` (the identity).
    fn from_num(num: Self::Num) -> Self;
    /// The largest |x|; what is no number is passed over.
    fn greatest(values: &[Self]) -> Self;
    // The entry points of the kernels, as functions of no type parameter: so they are compiled once, in this crate,
    // at its optimisation level, not again in every crate that calls them.
    #[doc(hidden)]
    fn local_run(level: Level, run: LocalRun<'_, Self>);
    #[doc(hidden)]
    fn page_sweep(level: Level, sweep: PageSweep<'_, Self>);
    #[doc(hidden)]
    fn outer_batch(level: Level, batch: OuterBatch<'_, Self>);
    #[doc(hidden)]
    fn fibre_pass(level: Level, pass: FibrePass<'_, Self>);
    #[doc(hidden)]
    fn sparse_unit(level: Level, unit: SparseUnit<'_, Self>);
    #[doc(hidden)]
    fn gram_unit(level: Level, unit: GramUnit<'_, Self>);
    #[doc(hidden)]
    fn active_pass(level: Level, pass: ActivePass<'_, Self>);
    #[doc(hidden)]
    fn outside_pass(level: Level, pass: OutsidePass<'_, Self>);
    #[doc(hidden)]
    fn sheet_pass(level: Level, pass: SheetPass<'_, Self>);
    #[doc(hidden)]
    fn slope_pass(level: Level, pass: SlopePass<'_, Self>);
    #[doc(hidden)]
    fn cell_steps(level: Level, steps: CellSteps<'_, Self>);
    #[doc(hidden)]
    fn scan_records(
        constants: &Records<Self::Num>,
        page: PageRef<'_, Self>,
        openness: Values<'_, Self>,
        records: &mut [Record<Self::Num>],
    );
    #[doc(hidden)]
    fn scan_walk(records: &[Record<Self::Num>], positions: &[u32], slices: &[u32]) -> Effect;
    #[doc(hidden)]
    fn cell_walk(level: Level, walk: CellWalk<'_, Self>);
    #[doc(hidden)]
    fn unit_pass(level: Level, pass: UnitPass<'_, Self>);
    #[doc(hidden)]
    fn lattice_walk(level: Level, walk: LatticeWalk<'_, Self>);
    #[doc(hidden)]
    fn pair_page(level: Level, page: PairPage<'_, Self>);
    #[doc(hidden)]
    fn pair_batch(level: Level, batch: PairBatch<'_, Self>);
    #[doc(hidden)]
    fn leap_pass(level: Level, pass: LeapPass<'_, Self>);
    #[doc(hidden)]
    fn exchange_run(level: Level, run: ExchangeRun<'_, Self>) -> [f64; 6];
    #[doc(hidden)]
    fn bundle_pass(level: Level, pass: BundlePass<'_, Self>);
    #[doc(hidden)]
    fn cell_pass(level: Level, pass: CellPass<'_, Self>);
    #[doc(hidden)]
    fn flux_pass(level: Level, pass: FluxPass<'_, Self>);
    #[doc(hidden)]
    fn ring_cells(level: Level, pass: RingCells<'_, Self>);
    #[doc(hidden)]
    fn ring_joins(level: Level, pass: RingJoins<'_, Self>) -> f64;
    #[doc(hidden)]
    fn ring_takes(level: Level, pass: RingTakes<Self>) -> f64;
    #[doc(hidden)]
    fn ring_powers(level: Level, pass: RingPowers<'_, Self>) -> f64;
    #[doc(hidden)]
    fn ring_moves(level: Level, pass: RingMoves<'_, Self>);
    #[doc(hidden)]
    fn page_cells(level: Level, pass: PageCells<'_, Self>);
    #[doc(hidden)]
    fn page_joins(level: Level, pass: PageJoins<'_, Self>) -> f64;
    #[doc(hidden)]
    fn page_powers(level: Level, pass: PagePowers<'_, Self>) -> f64;
    #[doc(hidden)]
    fn combine_pass(level: Level, pass: CombinePass<'_, Self>);
    #[doc(hidden)]
    fn structure_pass(level: Level, pass: StructurePass<'_, Self>) -> Vec<f64>;
    #[doc(hidden)]
    fn run_structure(level: Level, pass: RunStructure<'_, Self>) -> Vec<f64>;
    #[doc(hidden)]
    fn ring_form(level: Level, form: RingForm<'_, Self>) -> [f64; 2];
    #[doc(hidden)]
    fn run_form(level: Level, form: RunForm<'_, Self>) -> f64;
    #[doc(hidden)]
    fn image_change(level: Level, change: ImageChange<'_, Self>) -> [f64; 2];
    #[doc(hidden)]
    fn image_power(level: Level, power: ImagePower<'_, Self>) -> [f64; 4];
    #[doc(hidden)]
    fn sum_piece(level: Level, sum: Sum, piece: Piece<'_, Self>) -> Totals;
    #[doc(hidden)]
    fn sum_ring(level: Level, run: RingRun<'_, Self>) -> RingSums;
    #[doc(hidden)]
    fn moments(
        shape: &Shape,
        axis: usize,
        pages: &[PageRef<'_, Self>],
        lines: Range<usize>,
    ) -> SpectralMoments;
    #[doc(hidden)]
    fn form_chunk(level: Level, chunk: FormChunk<'_, Self>) -> f64;
    #[doc(hidden)]
    fn local_form(level: Level, page: LocalForm<'_, Self>) -> f64;
}

/// A number of which the compiler knows nothing: addresses that are computed from it are computed anew. It would else
/// carry one pointer for each of eighteen rows through the loops, more than there are registers.
#[inline(always)]
pub(crate) fn opaque(number: usize) -> usize {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut number = number;
        // SAFETY: no instruction at all.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags))
        };
        number
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    number
}

/// Runs `kernel` at `level`, or at the best level the processor has below it.
pub(crate) fn dispatch<T: Real, K: Kernel<T>>(level: Level, kernel: K) -> K::Out {
    match level.min(Level::detect()) {
        Level::Scalar => <T::Scalar as Lanes>::call(kernel),
        Level::Avx2 => <T::Avx2 as Lanes>::call(kernel),
        Level::Avx512 => <T::Avx512 as Lanes>::call(kernel),
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! simd_real {
    ($t:ident, $scalar:ty, $avx2:ty, $avx512:ty) => {
        impl SimdReal for $t {
            type Num = $t;
            type Scalar = $scalar;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = $avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = $avx512;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = $scalar;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = $scalar;
            #[inline(always)]
            fn to_num(self) -> $t {
                self
            }
            #[inline(always)]
            fn from_num(num: $t) -> $t {
                num
            }
            fn greatest(values: &[$t]) -> $t {
                // Compared so that it compiles to vector instructions.
                values.iter().fold(0.0, |most, x| if x.abs() > most { x.abs() } else { most })
            }
            fn local_run(level: Level, run: LocalRun<'_, $t>) {
                dispatch(level, run);
            }
            fn page_sweep(level: Level, sweep: PageSweep<'_, $t>) {
                dispatch(level, sweep);
            }
            fn outer_batch(level: Level, batch: OuterBatch<'_, $t>) {
                dispatch(level, batch);
            }
            fn fibre_pass(level: Level, pass: FibrePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn sparse_unit(level: Level, unit: SparseUnit<'_, $t>) {
                dispatch(level, unit);
            }
            fn gram_unit(level: Level, unit: GramUnit<'_, $t>) {
                dispatch(level, unit);
            }
            fn active_pass(level: Level, pass: ActivePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn outside_pass(level: Level, pass: OutsidePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn sheet_pass(level: Level, pass: SheetPass<'_, $t>) {
                dispatch(level, pass);
            }
            fn slope_pass(level: Level, pass: SlopePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn cell_steps(level: Level, steps: CellSteps<'_, $t>) {
                dispatch(level, steps);
            }
            fn scan_records(
                constants: &Records<$t>,
                page: PageRef<'_, $t>,
                openness: Values<'_, $t>,
                records: &mut [Record<$t>],
            ) {
                constants.fill_page(page, openness, records);
            }
            fn scan_walk(records: &[Record<$t>], positions: &[u32], slices: &[u32]) -> Effect {
                walk::<$t>(records, positions, slices)
            }
            fn cell_walk(level: Level, walk: CellWalk<'_, $t>) {
                dispatch(level, walk);
            }
            fn unit_pass(level: Level, pass: UnitPass<'_, $t>) {
                dispatch(level, pass);
            }
            fn lattice_walk(level: Level, walk: LatticeWalk<'_, $t>) {
                dispatch(level, walk);
            }
            fn pair_page(level: Level, page: PairPage<'_, $t>) {
                dispatch(level, page);
            }
            fn pair_batch(level: Level, batch: PairBatch<'_, $t>) {
                dispatch(level, batch);
            }
            fn leap_pass(level: Level, pass: LeapPass<'_, $t>) {
                dispatch(level, pass);
            }
            fn exchange_run(level: Level, run: ExchangeRun<'_, $t>) -> [f64; 6] {
                dispatch(level, run)
            }
            fn bundle_pass(level: Level, pass: BundlePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn cell_pass(level: Level, pass: CellPass<'_, $t>) {
                dispatch(level, pass);
            }
            fn flux_pass(level: Level, pass: FluxPass<'_, $t>) {
                dispatch(level, pass);
            }
            fn ring_cells(level: Level, pass: RingCells<'_, $t>) {
                dispatch(level, pass);
            }
            fn ring_joins(level: Level, pass: RingJoins<'_, $t>) -> f64 {
                dispatch(level, pass)
            }
            fn ring_takes(level: Level, pass: RingTakes<$t>) -> f64 {
                dispatch(level, pass)
            }
            fn ring_powers(level: Level, pass: RingPowers<'_, $t>) -> f64 {
                dispatch(level, pass)
            }
            fn ring_moves(level: Level, pass: RingMoves<'_, $t>) {
                dispatch(level, pass);
            }
            fn page_cells(level: Level, pass: PageCells<'_, $t>) {
                dispatch(level, pass);
            }
            fn page_joins(level: Level, pass: PageJoins<'_, $t>) -> f64 {
                dispatch(level, pass)
            }
            fn page_powers(level: Level, pass: PagePowers<'_, $t>) -> f64 {
                dispatch(level, pass)
            }
            fn combine_pass(level: Level, pass: CombinePass<'_, $t>) {
                dispatch(level, pass);
            }
            fn structure_pass(level: Level, pass: StructurePass<'_, $t>) -> Vec<f64> {
                dispatch(level, pass)
            }
            fn run_structure(level: Level, pass: RunStructure<'_, $t>) -> Vec<f64> {
                dispatch(level, pass)
            }
            fn ring_form(level: Level, form: RingForm<'_, $t>) -> [f64; 2] {
                dispatch(level, form)
            }
            fn run_form(level: Level, form: RunForm<'_, $t>) -> f64 {
                dispatch(level, form)
            }
            fn image_change(level: Level, change: ImageChange<'_, $t>) -> [f64; 2] {
                dispatch(level, change)
            }
            fn image_power(level: Level, power: ImagePower<'_, $t>) -> [f64; 4] {
                dispatch(level, power)
            }
            fn sum_piece(level: Level, sum: Sum, piece: Piece<'_, $t>) -> Totals {
                dispatch(level, SumPiece { sum, piece })
            }
            fn sum_ring(level: Level, run: RingRun<'_, $t>) -> RingSums {
                dispatch(level, run)
            }
            fn moments(
                shape: &Shape,
                axis: usize,
                pages: &[PageRef<'_, $t>],
                lines: Range<usize>,
            ) -> SpectralMoments {
                reduce::moments(shape, axis, pages, lines)
            }
            fn form_chunk(level: Level, chunk: FormChunk<'_, $t>) -> f64 {
                chunk.sum(level)
            }
            fn local_form(level: Level, page: LocalForm<'_, $t>) -> f64 {
                dispatch(level, page)
            }
        }
    };
}

simd_real!(f32, scalar::F32x16, avx2::F32x16, avx512::F32x16);
simd_real!(f64, scalar::F64x8, avx2::F64x8, avx512::F64x8);
