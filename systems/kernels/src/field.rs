//! The wave in memory, as kernels see it.
//!
//! Invariant: a torus is stored as an ordered list of *pages* of equal length; page `p` holds the nodes
//! `p·page_nodes .. (p+1)·page_nodes` of the row-major order over [`Shape::extents`] (slowest axis first).
//! Ψ is split into a real and an imaginary plane per page, so that SIMD needs no shuffles for complex products.

/// Scalar type of the state: `f32` or `f64`. Sealed: the SIMD layer knows exactly these two.
pub trait Real:
    Copy + Send + Sync + 'static + Default + PartialOrd + core::fmt::Debug + crate::simd::SimdReal
{
    /// `"f32"` or `"f64"`, as scenes spell it in lower case.
    const NAME: &'static str;
    /// Size of one scalar in bytes.
    const BYTES: usize;
    /// Distance from 1 to the next number.
    const EPSILON: f64;
    /// Rounds an `f64` to this type (nearest even).
    fn from_f64(value: f64) -> Self;
    /// Widens exactly.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    const NAME: &'static str = "f32";
    const BYTES: usize = 4;
    const EPSILON: f64 = f32::EPSILON as f64;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";
    const BYTES: usize = 8;
    const EPSILON: f64 = f64::EPSILON;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// One page of Ψ, writable: two planes of equal length.
#[derive(Debug)]
pub struct PageMut<'a, T> {
    /// Real parts.
    pub re: &'a mut [T],
    /// Imaginary parts.
    pub im: &'a mut [T],
}

impl<T> PageMut<'_, T> {
    /// The same page, read-only.
    pub fn as_ref(&self) -> PageRef<'_, T> {
        PageRef { re: self.re, im: self.im }
    }
}

/// One page of Ψ, read-only.
#[derive(Debug, Clone, Copy)]
pub struct PageRef<'a, T> {
    /// Real parts.
    pub re: &'a [T],
    /// Imaginary parts.
    pub im: &'a [T],
}

/// A real quantity per node: one value for all, or one slice per page (in page order).
#[derive(Debug, Clone, Copy)]
pub enum Values<'a, T> {
    /// The same value on every node.
    Uniform(T),
    /// `slices[p][i]` belongs to node `i` of page `p`.
    PerNode(&'a [&'a [T]]),
}

/// The storage shape: active axes (extent > 1) slowest first, cut into equal pages of contiguous nodes.
///
/// `page_nodes` is the product of some trailing extents, times a divisor of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Extents of the storage axes, slowest first; `[1]` for a single node.
    pub extents: Vec<usize>,
    /// Nodes per page.
    pub page_nodes: usize,
}

impl Shape {
    /// Nodes of the whole torus.
    pub fn n_nodes(&self) -> usize {
        self.extents.iter().product()
    }

    /// Pages of the whole torus.
    pub fn n_pages(&self) -> usize {
        self.n_nodes() / self.page_nodes
    }

    /// Distance in nodes between neighbours along storage axis `axis`.
    pub fn stride(&self, axis: usize) -> usize {
        self.extents[axis + 1..].iter().product()
    }
}

/// Where a kernel may run: on the calling thread, or on a lent crew. Never changes a result.
#[derive(Debug, Clone, Copy)]
pub enum Threads<'a> {
    /// The calling thread only.
    Serial,
    /// A crew lent by the caller.
    Crew(&'a crate::crew::Crew),
    /// At most so many threads of a lent crew, the caller among them.
    Part(&'a crate::crew::Crew, usize),
}

impl<'a> Threads<'a> {
    /// The crew and how many of it, where they are more than the caller.
    pub(crate) fn crew(self) -> Option<(&'a crate::crew::Crew, usize)> {
        let (crew, n) = match self {
            Self::Serial => return None,
            Self::Crew(crew) => (crew, crew.n_threads()),
            Self::Part(crew, n) => (crew, n.min(crew.n_threads())),
        };
        (n > 1).then_some((crew, n))
    }
}
