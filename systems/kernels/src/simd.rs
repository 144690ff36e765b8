//! SIMD levels: which instruction set a kernel runs with. Invariant: the level never changes a bit of a result.

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

/// Plumbing behind [`crate::Real`]; implemented for `f32` and `f64` only.
pub trait SimdReal: sealed::Sealed + Copy {
    /// The same type as `rustfft` sees it. (A supertrait would make `from_f64` ambiguous everywhere.)
    type Num: rustfft::FftNum;
    /// To `Num` (the identity).
    fn to_num(self) -> Self::Num;
    /// From `Num` (the identity).
    fn from_num(num: Self::Num) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl SimdReal for f32 {
    type Num = f32;
    #[inline(always)]
    fn to_num(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_num(num: f32) -> f32 {
        num
    }
}

impl SimdReal for f64 {
    type Num = f64;
    #[inline(always)]
    fn to_num(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_num(num: f64) -> f64 {
        num
    }
}
