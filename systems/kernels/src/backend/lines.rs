//! Kinetic flows as passes over lines: how a device is told of a metric that varies in space, or of an active set of
//! pages.
//!
//! Invariant: a pass multiplies every line of one axis with a small matrix and touches each node once; passes follow
//! each other in the order of the list, which is the host's order. Plain data, rounded to single precision by the plan
//! of the host, so that both compute with the same numbers.

/// What a line is multiplied with, and what its table holds (complex numbers, single precision).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// Three nodes of a closed ring: weights of the edges (0,1), (1,2), (2,0) of U − 1.
    Ring,
    /// Three neighbours of a longer ring: p, q, b, d of `kinetic/sparse/triple.rs`.
    Triple,
    /// U − 1, column after column.
    Matrix,
    /// h of y_j = x_j + Σ_d h_d x_{j−d}.
    Circulant,
}

impl LineKind {
    /// Numbers of one table of lines of `rows` nodes.
    pub fn table_len(self, rows: usize) -> usize {
        match self {
            Self::Ring => 3,
            Self::Triple => 4,
            Self::Matrix => rows * rows,
            Self::Circulant => rows,
        }
    }
}

/// One pass. Node `k` of line `l` of column `c` is node
/// `slots[first_slot + c·rows/side + k/side] + l/stride·side·stride + l%stride + k%side·stride`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePass {
    /// What the lines are multiplied with.
    pub kind: LineKind,
    /// Nodes of a line.
    pub rows: usize,
    /// Nodes of a line that lie in one slot.
    pub side: usize,
    /// Distance between neighbours within a slot.
    pub stride: usize,
    /// Lines of one column.
    pub column_lines: usize,
    /// Columns.
    pub n_columns: usize,
    /// Where the columns' slots begin.
    pub first_slot: usize,
    /// Where the lines' entries begin.
    pub first_entry: usize,
    /// Consecutive lines that share an entry.
    pub entry_lines: usize,
}

impl LinePass {
    /// Lines of all columns.
    pub fn n_lines(&self) -> usize {
        self.n_columns * self.column_lines
    }
}

/// The passes of one kinetic flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineProgram {
    /// In order.
    pub passes: Vec<LinePass>,
    /// Passes before the off-diagonal remainder, where it acts.
    pub middle: usize,
}

/// Kinetic flows over lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineFlows {
    /// Two programs per duration. Static metric that varies: without and with the remainder. Metric that learns, and active set
    /// of a constant one: forward and backward.
    pub programs: Vec<[LineProgram; 2]>,
    /// Tables of all passes.
    pub tables: Vec<[f32; 2]>,
    /// Where the table of a line begins.
    pub entries: Vec<u32>,
    /// First node of each page of each column.
    pub slots: Vec<u32>,
    /// The metric's cells, where the metric varies.
    pub cells: Option<MetricWorld>,
    /// What the boundary of an active set measures, by storage axis.
    pub measures: Vec<Measures>,
    /// Whether Γ can change.
    pub is_steered: bool,
}

/// One storage axis of a torus whose metric varies, as lines of active nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricAxis {
    /// Nodes of the whole ring, and of a page along it. A dense torus is one page.
    pub extent: usize,
    /// See `extent`.
    pub side: usize,
    /// Distance between neighbours within a page.
    pub stride: usize,
    /// Nodes of a cell along it.
    pub cell: usize,
    /// Active pages that share their lines, each with its position on the ring of pages.
    pub columns: Vec<Vec<(usize, usize)>>,
    /// Of each page: its column.
    pub column_of: Vec<usize>,
}

/// The cells of a varying metric, its derivatives and its off-diagonal part. Nodes and cells are counted page after page,
/// row-major within a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricWorld {
    /// The storage axes.
    pub axes: Vec<MetricAxis>,
    /// Active pages.
    pub n_pages: usize,
    /// ∂_{j, j−offset} of each storage axis by offset.
    pub slopes: Vec<Vec<f32>>,
    /// Storage axes that the remainder couples, ascending; none without a remainder.
    pub coupled: Vec<usize>,
    /// D^{ij} of the pairs i < j of coupled axes, row by row, cell after cell; of a wave form the numbers that
    /// `wave_form::leapfrog::lines` describes.
    pub off_diagonal: Vec<f32>,
    /// Whether structure tensors will be asked for.
    pub is_plastic: bool,
}

impl MetricWorld {
    /// Pairs of coupled axes.
    pub fn n_pairs(&self) -> usize {
        self.coupled.len() * self.coupled.len().saturating_sub(1) / 2
    }

    /// Nodes of a page.
    pub fn page_nodes(&self) -> usize {
        self.axes.iter().map(|axis| axis.side).product()
    }

    /// Nodes of a cell.
    pub fn cell_nodes(&self) -> usize {
        self.axes.iter().map(|axis| axis.cell).product()
    }

    /// Cells of a page.
    pub fn page_cells(&self) -> usize {
        self.page_nodes() / self.cell_nodes()
    }

    /// Cells of all pages.
    pub fn n_cells(&self) -> usize {
        self.n_pages * self.page_cells()
    }

    /// Number of the cell, within its page, of a node of a page.
    pub fn cell_in_page(&self, node: usize) -> usize {
        self.axes
            .iter()
            .fold(0, |cell, axis| cell * (axis.side / axis.cell) + node / axis.stride % axis.side / axis.cell)
    }

    /// Distance in cells, within a page, between neighbours along storage axis `axis`.
    pub fn cell_stride(&self, axis: usize) -> usize {
        self.axes[axis + 1..].iter().map(|axis| axis.side / axis.cell).product()
    }
}

/// Sums over the lines of columns along one axis: Σ_lines |Σ_j coefficient_j Ψ_j|².
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measures {
    /// Nodes of a slot along the axis, and the distance between neighbours.
    pub side: usize,
    /// See `side`.
    pub stride: usize,
    /// Lines of one column.
    pub column_lines: usize,
    /// One sum each.
    pub items: Vec<Measure>,
    /// Coefficients of all items.
    pub coefficients: Vec<f32>,
}

/// One sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Where the column's slots begin, in the list of all slots.
    pub first_slot: usize,
    /// First row, and how many.
    pub first_row: usize,
    /// See `first_row`.
    pub n_rows: usize,
    /// Coefficient of the first row.
    pub first_coefficient: usize,
}

/// The off-diagonal remainder as a truncated series: `n_steps` times Σ_k (factor·R)^k / k!, k up to `degree`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expansion {
    /// Applications one after the other.
    pub n_steps: usize,
    /// Terms beyond the identity.
    pub degree: usize,
    /// −iτ/n_steps, or −τ/n_steps in imaginary time (re, im).
    pub factor: (f64, f64),
}

/// One kinetic flow over lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineStep {
    /// Duration, counted as in [`super::DeviceWorld::durations`].
    pub which: usize,
    /// Which of the two programs.
    pub program: usize,
    /// The remainder, where it acts.
    pub remainder: Option<Expansion>,
}

/// What of the tables changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Renewal {
    /// First place and new numbers of stretches of [`LineFlows::tables`].
    pub tables: Vec<(usize, Vec<[f32; 2]>)>,
    /// The same of [`MetricWorld::off_diagonal`].
    pub off_diagonal: Vec<(usize, Vec<f32>)>,
}

#[cfg(test)]
mod tests;
