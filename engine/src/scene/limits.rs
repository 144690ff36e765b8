//! The bounds of everything a scene may ask for.
//! Invariant: each list, text and recursion that a reader walks has a named bound here, so that no file, however
//! broken, takes unbounded time or memory.

/// Largest scene file in bytes. The largest scene of the house has 6 kB.
pub const SCENE_BYTES_MAX: u64 = 1 << 20;

/// Deepest nesting of brackets in a scene. `initial: Sum([Product([Gaussian(width: {…})])])` needs six.
pub const NESTING_MAX: usize = 48;

/// Longest expression in characters.
pub const EXPRESSION_CHARS_MAX: usize = 4096;

/// Deepest nesting of an expression (parentheses, powers, signs).
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Most named constants.
pub const CONSTANTS_MAX: usize = 256;

/// Most parts of a `Sum` or `Product`, and most emitters, injections, observables, marginals, snapshot ticks.
pub const LIST_MAX: usize = 1024;

/// Most terms of a `RandomModes` field: each costs one complex product per node and axis.
pub const RANDOM_MODES_MAX: usize = 4096;

/// Most nodes of a scene: 2³⁰, 17 GB of Ψ alone in double precision.
pub const NODES_MAX: usize = 1 << 30;

/// Most pages of a sparse torus that exist at a time: 2²⁰ pages of 3⁹ nodes are 165 GB in single precision.
pub const PAGES_MAX: i64 = 1 << 20;

/// Longest run. 10¹² ticks at a microsecond each are eleven days.
pub const TICKS_MAX: u64 = 1_000_000_000_000;

/// Largest magnitude of a number in a scene: its square and its cube stay finite in single precision sums.
pub const MAGNITUDE_MAX: f64 = 1e12;

/// Overrides on one command line.
pub const OVERRIDES_MAX: usize = 256;
