//! Short discrete Fourier transforms on registers: radices 2, 3, 4, 5, 7, 8 and 9.
//!
//! Invariant: y_k = Σ_j x_j e^{−2πi jk/R} for every lane, and [`idft`] undoes [`dft`] up to the factor R with the constants
//! as they are rounded, not only with exact ones: were it not so, a million passes in single precision would grow some
//! patterns and shrink others by percents. So turns are three lifting steps, which their mirror image undoes whatever the
//! constants; inverses take the steps of the forward transform backwards; and where a constant's reciprocal is needed, it has
//! two parts.
//! Source: Winograd-style symmetric sums for odd R, Cooley–Tukey for 4, 8 and 9; Daubechies & Sweldens 1998 and Oraintara,
//! Chen & Nguyen 2002 for lifting.

use core::f64::consts::FRAC_1_SQRT_2;

use super::order::lifting;
use crate::field::Real;
use crate::simd::Lanes;

/// e^{iθ} as a half turn or none and lifting steps by an angle α, |α| ≤ 2π/3: [[1, −tan α/2], [0, 1]], [[1, 0], [sin α, 1]]
/// and the first again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<T> {
    tan: T,
    sin: T,
    is_half: bool,
}

impl<T: Real> Turn<T> {
    /// The turn by `angle`, from −π to π, each step rounded once.
    pub fn new(angle: f64) -> Self {
        let (tan, sin, is_half) = lifting(angle);
        Turn { tan: T::from_f64(tan), sin: T::from_f64(sin), is_half }
    }

    /// The same steps in f64.
    #[cfg(test)]
    pub fn widen(self) -> Turn<f64> {
        Turn { tan: self.tan.to_f64(), sin: self.sin.to_f64(), is_half: self.is_half }
    }
}

/// A vector of complex numbers.
#[derive(Clone, Copy)]
pub(crate) struct Complex<V> {
    pub re: V,
    pub im: V,
}

impl<V: Lanes> Complex<V> {
    #[inline(always)]
    pub fn zero() -> Self {
        let zero = V::splat(V::T::default());
        Complex { re: zero, im: zero }
    }
    #[inline(always)]
    pub fn add(self, o: Self) -> Self {
        Complex { re: self.re.add(o.re), im: self.im.add(o.im) }
    }
    /// The same bits, by the units for products.
    #[inline(always)]
    pub fn add_by(self, one: V, o: Self) -> Self {
        Complex { re: self.re.add_by(one, o.re), im: self.im.add_by(one, o.im) }
    }
    /// The same bits, the real part by the units for products.
    #[inline(always)]
    pub fn add_half_by(self, one: V, o: Self) -> Self {
        Complex { re: self.re.add_by(one, o.re), im: self.im.add(o.im) }
    }
    #[inline(always)]
    pub fn sub(self, o: Self) -> Self {
        Complex { re: self.re.sub(o.re), im: self.im.sub(o.im) }
    }
    /// self·(re + i·im).
    #[inline(always)]
    pub fn mul(self, re: V, im: V) -> Self {
        Complex { re: self.im.neg_mul_add(im, self.re.mul(re)), im: self.im.mul_add(re, self.re.mul(im)) }
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Complex { re: self.re.neg(), im: self.im.neg() }
    }
    /// self·e^{iθ}.
    #[inline(always)]
    pub fn turn(self, turn: Turn<V::T>) -> Self {
        let Complex { re, im } = if turn.is_half { self.neg() } else { self };
        Complex { re, im }.lift(V::splat(turn.tan), V::splat(turn.sin))
    }
    /// self·e^{−iθ}: undoes [`Self::turn`] whatever its steps were rounded to.
    #[inline(always)]
    pub fn turn_back(self, turn: Turn<V::T>) -> Self {
        let Complex { re, im } = if turn.is_half { self.neg() } else { self };
        Complex { re, im }.lift_back(V::splat(turn.tan), V::splat(turn.sin))
    }
    #[inline(always)]
    fn lift(self, tan: V, sin: V) -> Self {
        let re = self.im.neg_mul_add(tan, self.re);
        let im = re.mul_add(sin, self.im);
        Complex { re: im.neg_mul_add(tan, re), im }
    }
    #[inline(always)]
    fn lift_back(self, tan: V, sin: V) -> Self {
        let re = self.im.mul_add(tan, self.re);
        let im = re.neg_mul_add(sin, self.im);
        Complex { re: im.mul_add(tan, re), im }
    }
    /// c·self, with a constant in two parts where one is not enough.
    #[inline(always)]
    fn scale_exactly(self, c: f64) -> Self {
        if !V::SINGLE {
            return self.scale(V::constant(c));
        }
        let (high, low) = parts(c);
        let (high, low) = (V::constant(high), V::constant(low));
        Complex { re: self.re.mul_add(high, self.re.mul(low)), im: self.im.mul_add(high, self.im.mul(low)) }
    }
    /// self + c·o, real c.
    #[inline(always)]
    pub fn add_scaled(self, c: V, o: Self) -> Self {
        Complex { re: o.re.mul_add(c, self.re), im: o.im.mul_add(c, self.im) }
    }
    #[inline(always)]
    fn scale(self, c: V) -> Self {
        Complex { re: self.re.mul(c), im: self.im.mul(c) }
    }
    /// self − i·o.
    #[inline(always)]
    fn sub_i(self, o: Self) -> Self {
        Complex { re: self.re.add(o.im), im: self.im.sub(o.re) }
    }
    /// self + i·o.
    #[inline(always)]
    fn add_i(self, o: Self) -> Self {
        Complex { re: self.re.sub(o.im), im: self.im.add(o.re) }
    }
    /// self − i·c·o, real c.
    #[inline(always)]
    fn sub_i_scaled(self, c: V, o: Self) -> Self {
        Complex { re: o.im.mul_add(c, self.re), im: o.re.neg_mul_add(c, self.im) }
    }
    /// self + i·c·o, real c.
    #[inline(always)]
    fn add_i_scaled(self, c: V, o: Self) -> Self {
        Complex { re: o.im.neg_mul_add(c, self.re), im: o.re.mul_add(c, self.im) }
    }
}

/// Radices [`dft`] knows, largest useful first for a planner.
pub(crate) const RADICES: [usize; 7] = [7, 5, 9, 3, 8, 4, 2];

/// Forward transform in place.
#[inline(always)]
pub(crate) fn dft<V: Lanes, const R: usize>(x: &mut [Complex<V>; R]) {
    match R {
        2 => (x[0], x[1]) = (x[0].add(x[1]), x[0].sub(x[1])),
        3 => [x[0], x[1], x[2]] = dft3([x[0], x[1], x[2]]),
        4 => [x[0], x[1], x[2], x[3]] = dft4([x[0], x[1], x[2], x[3]]),
        5 => dft_odd::<V, 2>(x, &COS5, &SIN5),
        7 => dft_odd::<V, 3>(x, &COS7, &SIN7),
        8 => dft8(x),
        9 => dft9(x),
        _ => unreachable!("not a radix"),
    }
}

/// Inverse transform in place, without the factor 1/R.
#[inline(always)]
pub(crate) fn idft<V: Lanes, const R: usize>(x: &mut [Complex<V>; R]) {
    match R {
        3 => [x[0], x[1], x[2]] = idft3([x[0], x[1], x[2]]),
        8 => idft8(x),
        9 => idft9(x),
        _ => {
            dft::<V, R>(x);
            for k in 1..R.div_ceil(2) {
                x.swap(k, R - k);
            }
        }
    }
}

/// A constant as one of single precision and what is left of it.
const fn parts(c: f64) -> (f64, f64) {
    let high = (c as f32) as f64;
    (high, c - high)
}

#[inline(always)]
fn dft3<V: Lanes>(x: [Complex<V>; 3]) -> [Complex<V>; 3] {
    let sum = x[1].add(x[2]);
    let difference = x[1].sub(x[2]);
    let middle = x[0].add_scaled(V::constant(-0.5), sum);
    let s = V::constant(SIN3);
    [x[0].add(sum), middle.sub_i_scaled(s, difference), middle.add_i_scaled(s, difference)]
}

#[inline(always)]
fn idft3<V: Lanes>(x: [Complex<V>; 3]) -> [Complex<V>; 3] {
    let sum = x[1].add(x[2]);
    // ±3/2 of the forward difference, whatever its sine was rounded to.
    let sin = if V::SINGLE { parts(SIN3).0 } else { SIN3 };
    let difference = x[1].sub(x[2]).scale_exactly(0.75 / sin);
    let middle = x[0].add_scaled(V::constant(-0.5), sum);
    [x[0].add(sum), middle.add_i(difference), middle.sub_i(difference)]
}

#[inline(always)]
fn dft4<V: Lanes>(x: [Complex<V>; 4]) -> [Complex<V>; 4] {
    let (a, b) = (x[0].add(x[2]), x[0].sub(x[2]));
    let (c, d) = (x[1].add(x[3]), x[1].sub(x[3]));
    [a.add(c), b.sub_i(d), a.sub(c), b.add_i(d)]
}

#[inline(always)]
fn idft4<V: Lanes>(x: [Complex<V>; 4]) -> [Complex<V>; 4] {
    let [a, b, c, d] = dft4(x);
    [a, d, c, b]
}

#[inline(always)]
fn dft8<V: Lanes>(x: &mut [Complex<V>]) {
    let even = dft4([x[0], x[2], x[4], x[6]]);
    let odd = dft4([x[1], x[3], x[5], x[7]]);
    let (tan, sin) = (V::constant(TAN_PI_8), V::constant(FRAC_1_SQRT_2));
    // e^{−iπ/4}, and e^{−3iπ/4} = −e^{iπ/4}.
    let (one, three) = (odd[1].lift_back(tan, sin), odd[3].lift(tan, sin));
    (x[0], x[4]) = (even[0].add(odd[0]), even[0].sub(odd[0]));
    (x[1], x[5]) = (even[1].add(one), even[1].sub(one));
    (x[2], x[6]) = (even[2].sub_i(odd[2]), even[2].add_i(odd[2]));
    (x[3], x[7]) = (even[3].sub(three), even[3].add(three));
}

#[inline(always)]
fn idft8<V: Lanes>(x: &mut [Complex<V>]) {
    let (tan, sin) = (V::constant(TAN_PI_8), V::constant(FRAC_1_SQRT_2));
    let even = [x[0].add(x[4]), x[1].add(x[5]), x[2].add(x[6]), x[3].add(x[7])];
    let (one, two, three) = (x[1].sub(x[5]), x[2].sub(x[6]), x[7].sub(x[3]));
    let two = Complex { re: two.im.neg(), im: two.re };
    let odd = [x[0].sub(x[4]), one.lift(tan, sin), two, three.lift_back(tan, sin)];
    [x[0], x[2], x[4], x[6]] = idft4(even);
    [x[1], x[3], x[5], x[7]] = idft4(odd);
}

#[inline(always)]
fn dft9<V: Lanes>(x: &mut [Complex<V>]) {
    let a = dft3([x[0], x[3], x[6]]);
    let [b0, b1, b2] = dft3([x[1], x[4], x[7]]);
    let [c0, c1, c2] = dft3([x[2], x[5], x[8]]);
    // e^{−2πi/9}, e^{−4πi/9} twice, and e^{−8πi/9} = −e^{iπ/9}.
    let [one, two, half] = NINTHS.map(|(tan, sin)| (V::constant(tan), V::constant(sin)));
    let b = [b0, b1.lift_back(one.0, one.1), b2.lift_back(two.0, two.1)];
    let c = [c0, c1.lift_back(two.0, two.1), c2.lift(half.0, half.1).neg()];
    for k in 0..3 {
        [x[k], x[k + 3], x[k + 6]] = dft3([a[k], b[k], c[k]]);
    }
}

#[inline(always)]
fn idft9<V: Lanes>(x: &mut [Complex<V>]) {
    let [a0, b0, c0] = idft3([x[0], x[3], x[6]]);
    let [a1, b1, c1] = idft3([x[1], x[4], x[7]]);
    let [a2, b2, c2] = idft3([x[2], x[5], x[8]]);
    let [one, two, half] = NINTHS.map(|(tan, sin)| (V::constant(tan), V::constant(sin)));
    [x[0], x[3], x[6]] = idft3([a0, a1, a2]);
    [x[1], x[4], x[7]] = idft3([b0, b1.lift(one.0, one.1), b2.lift(two.0, two.1)]);
    [x[2], x[5], x[8]] = idft3([c0, c1.lift(two.0, two.1), c2.neg().lift_back(half.0, half.1)]);
}

/// Odd R = 2H + 1 through sums and differences of mirrored inputs; `cos[k]` = cos(2πk/R).
#[inline(always)]
fn dft_odd<V: Lanes, const H: usize>(x: &mut [Complex<V>], cos: &[f64], sin: &[f64]) {
    let r = 2 * H + 1;
    let mut sums = [Complex::zero(); H];
    let mut differences = [Complex::zero(); H];
    let mut total = x[0];
    for j in 0..H {
        sums[j] = x[j + 1].add(x[r - 1 - j]);
        differences[j] = x[j + 1].sub(x[r - 1 - j]);
        total = total.add(sums[j]);
    }
    let first = x[0];
    x[0] = total;
    for k in 1..=H {
        let (mut even, mut odd) = (first, Complex::zero());
        if V::SINGLE {
            // What constants were rounded by, before there is anything it could be lost beside.
            even = Complex::zero();
            for j in 0..H {
                let angle = (j + 1) * k % r;
                even = even.add_scaled(V::constant(parts(cos[angle]).1), sums[j]);
                odd = odd.add_scaled(V::constant(parts(sin[angle]).1), differences[j]);
            }
        }
        for j in 0..H {
            let angle = (j + 1) * k % r;
            even = even.add_scaled(V::constant(cos[angle]), sums[j]);
            odd = odd.add_scaled(V::constant(sin[angle]), differences[j]);
        }
        if V::SINGLE {
            even = even.add(first);
        }
        x[k] = even.sub_i(odd);
        x[r - k] = even.add_i(odd);
    }
}

const SIN3: f64 = 0.8660254037844386;
/// tan(π/8).
const TAN_PI_8: f64 = 0.41421356237309503;
/// (tan θ/2, sin θ) of θ = 2π/9, 4π/9 and π/9.
const NINTHS: [(f64, f64); 3] = [
    (0.3639702342662023, 0.6427876096865393),
    (0.8390996311772799, 0.984807753012208),
    (0.17632698070846498, 0.3420201433256687),
];
const COS5: [f64; 5] =
    [1.0, 0.30901699437494745, -0.8090169943749475, -0.8090169943749475, 0.30901699437494745];
const SIN5: [f64; 5] =
    [0.0, 0.9510565162951535, 0.5877852522924731, -0.5877852522924731, -0.9510565162951535];
const COS7: [f64; 7] = [
    1.0,
    0.6234898018587335,
    -0.2225209339563144,
    -0.9009688679024191,
    -0.9009688679024191,
    -0.2225209339563144,
    0.6234898018587335,
];
const SIN7: [f64; 7] = [
    0.0,
    0.7818314824680298,
    0.9749279121818236,
    0.4338837391175581,
    -0.4338837391175581,
    -0.9749279121818236,
    -0.7818314824680298,
];
