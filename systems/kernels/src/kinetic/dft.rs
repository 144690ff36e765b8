//! Short discrete Fourier transforms on registers: radices 2, 3, 4, 5, 7, 8 and 9.
//! Invariant: y_k = Σ_j x_j e^{−2πi jk/R} for every lane; the inverse (without 1/R) is the same with outputs k and
//! −k exchanged. Source: Winograd-style symmetric sums for odd R, Cooley–Tukey for 4, 8 and 9.

use crate::simd::Lanes;

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
    #[inline(always)]
    pub fn sub(self, o: Self) -> Self {
        Complex { re: self.re.sub(o.re), im: self.im.sub(o.im) }
    }
    /// self·(re + i·im).
    #[inline(always)]
    pub fn mul(self, re: V, im: V) -> Self {
        Complex { re: self.im.neg_mul_add(im, self.re.mul(re)), im: self.im.mul_add(re, self.re.mul(im)) }
    }
    /// self·(re − i·im).
    #[inline(always)]
    pub fn mul_conj(self, re: V, im: V) -> Self {
        Complex { re: self.im.mul_add(im, self.re.mul(re)), im: self.re.neg_mul_add(im, self.im.mul(re)) }
    }
    /// self·(base + re + i·im), for a factor near a real base: what is near 0 keeps its digits.
    #[inline(always)]
    pub fn mul_near(self, base: V, re: V, im: V) -> Self {
        Complex {
            re: self.im.neg_mul_add(im, self.re.mul_add(re, self.re.mul(base))),
            im: self.im.mul_add(re, self.re.mul_add(im, self.im.mul(base))),
        }
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
    dft::<V, R>(x);
    for k in 1..R.div_ceil(2) {
        x.swap(k, R - k);
    }
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
fn dft4<V: Lanes>(x: [Complex<V>; 4]) -> [Complex<V>; 4] {
    let (a, b) = (x[0].add(x[2]), x[0].sub(x[2]));
    let (c, d) = (x[1].add(x[3]), x[1].sub(x[3]));
    [a.add(c), b.sub_i(d), a.sub(c), b.add_i(d)]
}

#[inline(always)]
fn dft8<V: Lanes>(x: &mut [Complex<V>]) {
    let even = dft4([x[0], x[2], x[4], x[6]]);
    let odd = dft4([x[1], x[3], x[5], x[7]]);
    let h = V::constant(core::f64::consts::FRAC_1_SQRT_2);
    // w8 = (1 − i)/√2 and w8³ = −(1 + i)/√2, the factor 1/√2 left to the final fused sums.
    let one = Complex { re: odd[1].re.add(odd[1].im), im: odd[1].im.sub(odd[1].re) };
    let three = Complex { re: odd[3].im.sub(odd[3].re), im: odd[3].re.add(odd[3].im) };
    let minus_h = V::constant(-core::f64::consts::FRAC_1_SQRT_2);
    x[0] = even[0].add(odd[0]);
    x[4] = even[0].sub(odd[0]);
    x[1] = even[1].add_scaled(h, one);
    x[5] = even[1].add_scaled(minus_h, one);
    x[2] = even[2].sub_i(odd[2]);
    x[6] = even[2].add_i(odd[2]);
    x[3] = Complex { re: three.re.mul_add(h, even[3].re), im: three.im.mul_add(minus_h, even[3].im) };
    x[7] = Complex { re: three.re.mul_add(minus_h, even[3].re), im: three.im.mul_add(h, even[3].im) };
}

#[inline(always)]
fn dft9<V: Lanes>(x: &mut [Complex<V>]) {
    let a = dft3([x[0], x[3], x[6]]);
    let mut b = dft3([x[1], x[4], x[7]]);
    let mut c = dft3([x[2], x[5], x[8]]);
    for (k, (re, im)) in [(1, W9[0]), (2, W9[1])] {
        b[k] = b[k].mul(V::constant(re), V::constant(im));
    }
    for (k, (re, im)) in [(1, W9[1]), (2, W9[3])] {
        c[k] = c[k].mul(V::constant(re), V::constant(im));
    }
    for k in 0..3 {
        [x[k], x[k + 3], x[k + 6]] = dft3([a[k], b[k], c[k]]);
    }
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
        let mut even = first;
        let mut odd = differences[0].scale(V::constant(sin[k]));
        for j in 0..H {
            let angle = (j + 1) * k % r;
            even = even.add_scaled(V::constant(cos[angle]), sums[j]);
            if j > 0 {
                odd = odd.add_scaled(V::constant(sin[angle]), differences[j]);
            }
        }
        x[k] = even.sub_i(odd);
        x[r - k] = even.add_i(odd);
    }
}

const SIN3: f64 = 0.8660254037844386;
/// e^{−2πi k/9} for k = 1..=4.
const W9: [(f64, f64); 4] = [
    (0.766044443118978, -0.6427876096865394),
    (0.17364817766693036, -0.984807753012208),
    (-0.5, -0.8660254037844386),
    (-0.9396926207859084, -0.3420201433256687),
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
