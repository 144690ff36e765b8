//! The sweeps of the wave form over one page and over one batch of columns, both fields together. Invariant: a chunk
//! touches only its own nodes. Source: cache blocking as drawn in [`super`].

#![allow(unsafe_code)] // Raw planes, and scratch without initialisation checks.

use core::ops::Range;

use super::local::{KickPlan, KickRun};
use super::modes::{Modes, TurnRun};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::kinetic::Kinetic;
use crate::kinetic::lines::{FORWARD, INVERSE};
use crate::kinetic::sweep::{Exchange, RowTable, page_transform, row_step, run_axes};
use crate::simd::{Kernel, Lanes, SimdReal};

/// One page of the first or the third sweep. Built only with planes, damping and scratch of the plan's sizes.
pub struct PairPage<'a, T: SimdReal> {
    pub(crate) transform: &'a Kinetic<T>,
    pub(crate) psi: Planes<T>,
    pub(crate) velocity: Planes<T>,
    pub(crate) kick: Option<&'a KickPlan<T>>,
    pub(crate) damping: *const T,
    pub(crate) scratch: *mut T,
    pub(crate) is_forward: bool,
}

impl<T: Real> Kernel<T> for PairPage<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let PairPage { transform, psi, velocity, kick, damping, scratch, is_forward } = self;
        let kick = || {
            if let Some(plan) = kick {
                V::call(KickRun { plan, psi, velocity, damping });
            }
        };
        // SAFETY: the chunk owns both pages and the scratch, see the struct.
        unsafe {
            if is_forward {
                kick();
                page_transform::<V, FORWARD>(transform, psi, scratch);
                page_transform::<V, FORWARD>(transform, velocity, scratch);
            } else {
                page_transform::<V, INVERSE>(transform, psi, scratch);
                page_transform::<V, INVERSE>(transform, velocity, scratch);
                kick();
            }
        }
    }
}

/// Neighbouring columns of the second sweep. Built only with sizes that agree with the plan.
pub struct PairBatch<'a, T: SimdReal> {
    pub(crate) transform: &'a Kinetic<T>,
    pub(crate) modes: &'a Modes<T>,
    pub(crate) psi: RowTable<'a, T>,
    pub(crate) velocity: RowTable<'a, T>,
    pub(crate) columns: Range<usize>,
    pub(crate) gain: f64,
    /// Room for two batches and the buffer of the hungriest axis.
    pub(crate) scratch: *mut T,
}

impl<T: Real> Kernel<T> for PairBatch<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let PairBatch { transform, modes, psi, velocity, columns, gain, scratch } = self;
        let rows = transform.outer_rows();
        if rows == 1 {
            let (psi, velocity) = (psi.at(0, columns.start), velocity.at(0, columns.start));
            let (first, len) = (columns.start, columns.len());
            V::call(TurnRun { modes, row: 0, first, len, psi, velocity, gain });
            return;
        }
        let width = transform.batch_lanes;
        let step = row_step(rows, width, V::N);
        let axes = &transform.axes[..transform.split.0];
        for first in columns.clone().step_by(width) {
            let lanes = width.min(columns.end - first);
            let padded = lanes.next_multiple_of(V::N);
            // SAFETY: rows lie inside pages, because a run divides the page; the scratch holds both batches and the
            // buffer; the columns of different chunks are disjoint.
            unsafe {
                let batch = |start| {
                    let re: *mut T = scratch.add(start);
                    Planes { re, im: re.add(width), len: rows * step }
                };
                let fields = [(psi, batch(0)), (velocity, batch(rows * step))];
                let buffer = scratch.add(2 * rows * step);
                for (table, batch) in fields {
                    V::call(Exchange::<T, true> { table, rows, first, lanes, batch, step });
                    run_axes::<V, FORWARD>(axes, batch, (rows, 1), step, padded, buffer);
                }
                for row in 0..rows {
                    let [psi, velocity] = fields.map(|(_, batch)| batch.offset(row * step));
                    V::call(TurnRun { modes, row, first, len: lanes, psi, velocity, gain });
                }
                for (table, batch) in fields {
                    run_axes::<V, INVERSE>(axes, batch, (rows, 1), step, padded, buffer);
                    V::call(Exchange::<T, false> { table, rows, first, lanes, batch, step });
                }
            }
        }
    }
}
