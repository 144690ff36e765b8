// Where the lines of a pass are, twin of systems/kernels/src/kinetic/bundle.rs.
// Invariant: every node of the pass belongs to one line. A line's nodes lie in slots: one slot, the whole torus, where
// the metric varies; the pages of a column on an active set.

struct Lines {
    kind: u32,
    // Nodes of a line, and how many of them lie in one slot.
    rows: u32,
    side: u32,
    // Nodes from neighbour to neighbour within a slot.
    stride: u32,
    column_lines: u32,
    n_lines: u32,
    first_slot: u32,
    first_entry: u32,
    // Consecutive lines that share an entry.
    entry_lines: u32,
    // Lines of a work group, and whether neighbouring threads take neighbouring lines.
    lanes: u32,
    lanes_first: u32,
}

// Kinds.
const RING: u32 = 0u;
const TRIPLE: u32 = 1u;
const MATRIX: u32 = 2u;

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> tables: array<vec2f>;
@group(0) @binding(2) var<storage, read> entries: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
var<immediate> lines: Lines;

// A line: where its column's slots begin, and its first node within a slot.
struct Line {
    slot: u32,
    node: u32,
}

fn line_at(index: u32) -> Line {
    let column = index / lines.column_lines;
    let line = index - column * lines.column_lines;
    let outer = line / lines.stride;
    return Line(
        lines.first_slot + column * (lines.rows / lines.side),
        outer * lines.side * lines.stride + line - outer * lines.stride,
    );
}

fn node_at(line: Line, k: u32) -> u32 {
    let slot = k / lines.side;
    return slots[line.slot + slot] + line.node + (k - slot * lines.side) * lines.stride;
}

fn table_at(index: u32) -> u32 {
    return entries[lines.first_entry + index / lines.entry_lines];
}

fn times(x: vec2f, w: vec2f) -> vec2f {
    return vec2f(x.x * w.x - x.y * w.y, x.x * w.y + x.y * w.x);
}
