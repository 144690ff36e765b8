//! Balanced nonary arithmetic: digits −4…4 in base nine.
//!
//! Invariant: a [`Digit`] is always in range; single-digit operations saturate, numbers carry with the centred
//! remainder (11 = 1·9 + 2, −11 = −1·9 − 2), so that negation negates every digit. A digit also stands for a wave:
//! amplitude |d| and phase 0 or π.

/// The base.
pub const BASE: i64 = 9;

/// The largest digit.
pub const DIGIT_MAX: i8 = 4;

/// Digits that hold any `i64`: 20 reach only 9^20 / 2 < 2^63, 21 reach 9^21 / 2 > 2^63.
pub const DIGITS_OF_I64: usize = 21;

/// A digit −4…4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digit(i8);

impl Digit {
    /// The digit of a small number, or none when it is out of range.
    pub fn new(value: i8) -> Option<Self> {
        (-DIGIT_MAX..=DIGIT_MAX).contains(&value).then_some(Self(value))
    }

    /// Rounds to the nearest digit (ties away from zero), saturating; `None` for NaN.
    pub fn quantise(value: f64) -> Option<Self> {
        let limit = f64::from(DIGIT_MAX);
        (!value.is_nan()).then(|| Self(value.round().clamp(-limit, limit) as i8))
    }

    /// The number −4…4.
    pub fn value(self) -> i8 {
        self.0
    }

    /// a + b, saturating at ±4.
    pub fn saturating_add(self, other: Self) -> Self {
        Self((self.0 + other.0).clamp(-DIGIT_MAX, DIGIT_MAX))
    }

    /// a · b, saturating at ±4.
    pub fn saturating_mul(self, other: Self) -> Self {
        Self((self.0 * other.0).clamp(-DIGIT_MAX, DIGIT_MAX))
    }

    /// Amplitude |d| and phase (0 or π) of the wave the digit stands for.
    pub fn to_wave(self) -> (f64, f64) {
        (f64::from(self.0.abs()), if self.0 < 0 { core::f64::consts::PI } else { 0.0 })
    }

    /// The digit nearest to a wave of the given amplitude and phase: the projection on the real axis, quantised.
    pub fn from_wave(amplitude: f64, phase: f64) -> Option<Self> {
        Self::quantise(amplitude * libm::cos(phase))
    }
}

impl std::ops::Neg for Digit {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// `value = 9·carry + digit` with the centred remainder.
pub fn carry(value: i64) -> (i64, Digit) {
    let remainder = value.rem_euclid(BASE);
    let centred = if remainder > i64::from(DIGIT_MAX) { remainder - BASE } else { remainder };
    // `value − centred` can only overflow next to the ends of the range; dividing first cannot.
    let carried = value.div_euclid(BASE) + i64::from(remainder > i64::from(DIGIT_MAX));
    (carried, Digit(centred as i8))
}

/// Digits of a number, least significant first, without leading zeros (none for zero).
pub fn digits(value: i64) -> Vec<Digit> {
    let mut digits = Vec::with_capacity(DIGITS_OF_I64);
    let mut rest = value;
    while rest != 0 {
        let (carried, digit) = carry(rest);
        digits.push(digit);
        rest = carried;
    }
    digits
}

/// The number of some digits, least significant first; `None` when it does not fit an `i64`.
pub fn number(digits: &[Digit]) -> Option<i64> {
    let wide = digits.iter().rev().try_fold(0i128, |value, digit| {
        value.checked_mul(i128::from(BASE))?.checked_add(i128::from(digit.0))
    })?;
    i64::try_from(wide).ok()
}

/// Sum of two numbers digit by digit, with carries.
pub fn add(a: &[Digit], b: &[Digit]) -> Vec<Digit> {
    let mut sum = Vec::with_capacity(a.len().max(b.len()) + 1);
    let mut carried = 0;
    for i in 0..a.len().max(b.len()) {
        let at = |digits: &[Digit]| digits.get(i).map_or(0, |digit| i64::from(digit.0));
        let (next, digit) = carry(at(a) + at(b) + carried);
        sum.push(digit);
        carried = next;
    }
    sum.extend(digits(carried));
    while sum.last().is_some_and(|digit| digit.0 == 0) {
        sum.pop();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Digit> {
        (-DIGIT_MAX..=DIGIT_MAX).filter_map(Digit::new)
    }

    #[test]
    fn quantising_is_idempotent_and_saturates() {
        for digit in all() {
            assert_eq!(Digit::quantise(f64::from(digit.value())), Some(digit));
        }
        assert_eq!(Digit::quantise(1e300).map(Digit::value), Some(4));
        assert_eq!(Digit::quantise(f64::NEG_INFINITY).map(Digit::value), Some(-4));
        assert_eq!(Digit::quantise(f64::NAN), None);
        assert_eq!((Digit::new(5), Digit::new(-5)), (None, None));
    }

    #[test]
    fn single_digits_saturate() {
        for a in all() {
            for b in all() {
                let clamp = |value: i8| value.clamp(-4, 4);
                assert_eq!(a.saturating_add(b).value(), clamp(a.value() + b.value()));
                assert_eq!(a.saturating_mul(b).value(), clamp(a.value() * b.value()));
            }
        }
    }

    #[test]
    fn carries_use_the_centred_remainder() {
        assert_eq!(carry(11), (1, Digit(2)));
        assert_eq!(carry(-11), (-1, Digit(-2)));
        for value in -10_000..10_000 {
            let (carried, digit) = carry(value);
            assert_eq!(carried * BASE + i64::from(digit.value()), value);
            assert_eq!(carry(-value), (-carried, -digit));
        }
    }

    #[test]
    fn numbers_survive_the_round_trip() {
        let ends = [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, 0, 364, -364];
        for value in (-3_000..3_000).chain(ends) {
            let digits = digits(value);
            assert!(digits.len() <= DIGITS_OF_I64);
            assert_eq!(number(&digits), Some(value));
        }
        assert_eq!(number(&[Digit(4); 30]), None);
        assert_eq!(number(&[Digit(4); 64]), None);
    }

    #[test]
    fn addition_with_carries_is_integer_addition() {
        for a in (-400..400).step_by(7).chain([1 << 40, -(1 << 40)]) {
            for b in (-400..400).step_by(11) {
                assert_eq!(number(&add(&digits(a), &digits(b))), Some(a + b));
                assert_eq!(add(&digits(a), &digits(b)), digits(a + b));
            }
        }
    }

    #[test]
    fn waves_carry_digits() {
        for digit in all() {
            let (amplitude, phase) = digit.to_wave();
            assert_eq!(Digit::from_wave(amplitude, phase), Some(digit));
        }
    }
}
