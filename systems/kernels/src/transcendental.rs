//! Transcendental functions whose bits do not depend on the platform's libm. Invariant: pure integer and IEEE
//! arithmetic, the same everywhere. Source: `libm` (musl, FreeBSD msun).

pub use libm::{cos, cosh, exp, expm1, fabs, log as ln, log1p, pow, sin, sincos, sinh, sqrt, tan, tanh};
