//! What a page entity carries. One entity per page, one component per physical quantity.
//!
//! Invariant: every page of a world has the same set of components from spawn on (no archetype moves), and pages
//! are spawned in storage order, so a query visits them in that order.

use crate::column::{Column, Scalar};
use crate::geometry::morton::MortonKey;
use bevy_ecs::prelude::Component;

/// Identity of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Component)]
pub struct Page {
    /// Position in storage order.
    pub index: u32,
    /// 128-bit Morton key of the page's first node.
    pub key: MortonKey,
    /// Index of the page along the Peano curve over the page lattice.
    pub peano: u64,
}

/// Ψ on a page: two planes.
#[derive(Debug, Component)]
pub struct Psi<T: Scalar> {
    /// Real part.
    pub re: Column<T>,
    /// Imaginary part.
    pub im: Column<T>,
}

/// Ψ̇ on a page, where the equation is second order in time: two planes.
#[derive(Debug, Component)]
pub struct Velocity<T: Scalar> {
    /// Real part.
    pub re: Column<T>,
    /// Imaginary part.
    pub im: Column<T>,
}

/// V(x) of the current half step on a page; present where the potential varies in space or time.
#[derive(Debug, Component)]
pub struct Potential<T: Scalar>(pub Column<T>);

/// Γ(x) on a page; present where the damping varies in space.
#[derive(Debug, Component)]
pub struct Damping<T: Scalar>(pub Column<T>);
