//! What all transforms here agree on, on the processor and on devices: the order of modes after forward stages, and turns
//! as lifting steps. Invariant: digits are centred, so that twiddles turn by less than half a turn, most by far less.
//! Source: Gentleman & Sande 1966 for the order; Daubechies & Sweldens 1998 for lifting.

use core::f64::consts::{PI, TAU};

/// The number nearest to 0 with the same remainder by `radix`, −radix/2 left out.
pub fn centred(number: isize, radix: usize) -> isize {
    let digit = number.rem_euclid(radix as isize);
    if 2 * digit > radix as isize { digit - radix as isize } else { digit }
}

/// The mode, from 0 on, at `position` of the digit-reversed order of stages of `radices`: the position's digits, most
/// significant first, are the mode's digits, least significant first, each as `of_digit(digit, radix)` counts it.
pub fn mode_at(radices: &[usize], position: usize, of_digit: impl Fn(usize, usize) -> isize) -> usize {
    let n: usize = radices.iter().product();
    let (mut block, mut mode, mut weight) = (n, 0, 1);
    for &radix in radices {
        block /= radix;
        mode += weight * of_digit(position / block % radix, radix);
        weight *= radix as isize;
    }
    mode.rem_euclid(n as isize) as usize
}

/// A turn by `angle`, from −π to π: (tan α/2, sin α) of lifting steps by α, |α| ≤ 2π/3, and whether half a turn is added.
/// Steps grow without bound towards half a turn; half turns cost a branch where they come and go.
pub fn lifting(angle: f64) -> (f64, f64, bool) {
    let is_half = angle.abs() > TAU / 3.0 + 1e-9;
    let alpha = if is_half { angle - PI.copysign(angle) } else { angle };
    (libm::tan(0.5 * alpha), libm::sin(alpha), is_half)
}
