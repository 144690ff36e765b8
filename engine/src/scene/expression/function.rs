//! Functions and built-in constants of expressions.
//! Invariant: values depend on the arguments only: all transcendental functions are those of the `libm` crate.

use core::f64::consts;

/// How a function is computed.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// One argument.
    One(fn(f64) -> f64),
    /// Two arguments.
    Two(fn(f64, f64) -> f64),
    /// Three arguments.
    Three(fn(f64, f64, f64) -> f64),
}

/// A named function.
#[derive(Debug)]
pub struct Function {
    /// Name in expressions.
    pub name: &'static str,
    /// Its arguments, as error messages show them.
    pub signature: &'static str,
    /// Computation.
    pub body: Body,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    /// Number of arguments.
    pub fn arity(&self) -> usize {
        match self.body {
            Body::One(_) => 1,
            Body::Two(_) => 2,
            Body::Three(_) => 3,
        }
    }

    /// Value; NaN if the number of arguments is wrong, which the parser excludes.
    pub fn apply(&self, arguments: &[f64]) -> f64 {
        match (self.body, arguments) {
            (Body::One(f), [a]) => f(*a),
            (Body::Two(f), [a, b]) => f(*a, *b),
            (Body::Three(f), [a, b, c]) => f(*a, *b, *c),
            _ => f64::NAN,
        }
    }
}

/// Constants every expression knows.
pub const CONSTANTS: &[(&str, f64)] = &[
    ("pi", consts::PI),
    ("e", consts::E),
    ("phi", 1.618_033_988_749_894_8),
    ("π", consts::PI),
    ("φ", 1.618_033_988_749_894_8),
];

const fn one(name: &'static str, signature: &'static str, f: fn(f64) -> f64) -> Function {
    Function { name, signature, body: Body::One(f) }
}

const fn two(name: &'static str, signature: &'static str, f: fn(f64, f64) -> f64) -> Function {
    Function { name, signature, body: Body::Two(f) }
}

const fn three(name: &'static str, signature: &'static str, f: fn(f64, f64, f64) -> f64) -> Function {
    Function { name, signature, body: Body::Three(f) }
}

/// Every function of the language.
pub static FUNCTIONS: &[Function] = &[
    one("sin", "sin(x)", libm::sin),
    one("cos", "cos(x)", libm::cos),
    one("tan", "tan(x)", libm::tan),
    one("asin", "asin(x), -1 <= x <= 1", libm::asin),
    one("acos", "acos(x), -1 <= x <= 1", libm::acos),
    one("atan", "atan(x)", libm::atan),
    one("sinh", "sinh(x)", libm::sinh),
    one("cosh", "cosh(x)", libm::cosh),
    one("tanh", "tanh(x)", libm::tanh),
    one("sech", "sech(x) = 1/cosh(x)", sech),
    one("exp", "exp(x)", libm::exp),
    one("ln", "ln(x), natural logarithm", libm::log),
    one("log", "log(x), decimal logarithm", libm::log10),
    one("log2", "log2(x)", libm::log2),
    one("sqrt", "sqrt(x), x >= 0", libm::sqrt),
    one("cbrt", "cbrt(x)", libm::cbrt),
    one("abs", "abs(x)", libm::fabs),
    one("floor", "floor(x)", libm::floor),
    one("ceil", "ceil(x)", libm::ceil),
    one("round", "round(x)", libm::round),
    one("sign", "sign(x): -1, 0 or 1", sign),
    one("step", "step(x): 1 where x >= 0, else 0", step),
    one("not", "not(a): 1 where a is 0, else 0", not),
    two("atan2", "atan2(y, x)", libm::atan2),
    two("min", "min(a, b)", min),
    two("max", "max(a, b)", max),
    two("pow", "pow(a, b) = a^b", power),
    two("hypot", "hypot(a, b)", libm::hypot),
    two("mod", "mod(a, b) = a - b*floor(a/b)", modulo),
    two("gauss", "gauss(x, w) = exp(-x^2/(2*w^2))", gauss),
    two("wrap", "wrap(d, L): the image of d nearest to 0 on a ring of length L", wrap),
    three("if", "if(condition, a, b): a where condition is not 0, else b", choose),
    three("clamp", "clamp(x, low, high)", clamp),
];

fn sech(x: f64) -> f64 {
    1.0 / libm::cosh(x)
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x * 0.0
    }
}

fn step(x: f64) -> f64 {
    if x >= 0.0 {
        1.0
    } else if x < 0.0 {
        0.0
    } else {
        f64::NAN
    }
}

fn not(a: f64) -> f64 {
    if a.is_nan() {
        return a;
    }
    if a == 0.0 { 1.0 } else { 0.0 }
}

// NaN must reach the caller, which reports it; the IEEE minimum would swallow it.
fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn clamp(x: f64, low: f64, high: f64) -> f64 {
    min(max(x, low), high)
}

fn modulo(a: f64, b: f64) -> f64 {
    a - b * libm::floor(a / b)
}

fn gauss(x: f64, width: f64) -> f64 {
    let scaled = x / width;
    libm::exp(-0.5 * scaled * scaled)
}

/// The image of `d` nearest to zero on a ring of length `length`, in [−L/2, L/2].
pub fn wrap(d: f64, length: f64) -> f64 {
    d - length * libm::rint(d / length)
}

fn choose(condition: f64, a: f64, b: f64) -> f64 {
    if condition.is_nan() {
        return condition;
    }
    if condition == 0.0 { b } else { a }
}

/// a^b; small whole exponents by repeated products, so that x^2 is x·x exactly.
pub fn power(a: f64, b: f64) -> f64 {
    match b {
        2.0 => a * a,
        3.0 => a * a * a,
        4.0 => (a * a) * (a * a),
        _ => libm::pow(a, b),
    }
}
