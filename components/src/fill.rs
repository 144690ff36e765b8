//! Functions of position that fill a page: how a scene's profiles reach the columns without a second full copy.
//! Invariant: a fill is a pure function of (torus, page); values are in f64, in the page's storage order.

use std::fmt;
use std::sync::Arc;

/// A real function of position.
pub trait RealFill: Send + Sync {
    /// Writes the value at every node of `page` (`out.len()` is the page's node count).
    fn fill(&self, page: usize, out: &mut [f64]);
}

/// A complex function of position.
pub trait ComplexFill: Send + Sync {
    /// Writes the value at every node of `page` into the two planes.
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]);

    /// Nodes r…z near which the field is large, as far as it knows: where a search for its support may start.
    fn seeds(&self) -> Vec<[usize; 9]> {
        Vec::new()
    }
}

/// The time-dependent part of a potential.
pub trait TimePotential: Send + Sync {
    /// Adds V(x, t) − V(x) at time `t` (model units) to `v`, the page's static potential.
    fn add(&self, t: f64, page: usize, v: &mut [f64]);
}

/// A real quantity per node, kept as one number where it does not vary.
#[derive(Clone)]
pub enum Profile {
    /// The same on every node.
    Uniform(f64),
    /// Given per page.
    PerNode(Arc<dyn RealFill>),
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(value) => write!(f, "Uniform({value})"),
            Self::PerNode(_) => f.write_str("PerNode"),
        }
    }
}

impl<F: Fn(usize, &mut [f64]) + Send + Sync> RealFill for F {
    fn fill(&self, page: usize, out: &mut [f64]) {
        self(page, out);
    }
}

impl<F: Fn(usize, &mut [f64], &mut [f64]) + Send + Sync> ComplexFill for F {
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        self(page, re, im);
    }
}
