//! Where a cell of the metric is, from one to the next. Invariant: cells follow each other in row-major order over the torus.
//! Source: an odometer.

use super::AXES_MAX;

/// Where a cell is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CellPlace {
    pub extents: [usize; AXES_MAX],
    pub cell: [usize; AXES_MAX],
    pub strides: [usize; AXES_MAX],
    /// Of the cell's first node.
    pub coordinates: [usize; AXES_MAX],
}

impl CellPlace {
    /// First node of the cell.
    pub fn origin(&self) -> usize {
        self.coordinates
            .iter()
            .zip(&self.strides)
            .fold(0, |node, (coordinate, stride)| node + coordinate * stride)
    }

    /// Goes to the next of the cells over `axes` axes.
    pub fn advance(&mut self, axes: usize) {
        for d in (0..axes).rev() {
            self.coordinates[d] += self.cell[d];
            if self.coordinates[d] < self.extents[d] {
                return;
            }
            self.coordinates[d] = 0;
        }
    }
}
