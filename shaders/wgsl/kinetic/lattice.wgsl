// The active nodes of a line and the slope along it, twin of systems/kernels/src/kinetic/lattice.rs: a dense torus is one
// page. The program that this is part of says what `field` is.
// Invariant: the slope from one node to another depends on their distance on the ring alone; a node's sum goes page after
// page of its column. Nodes and cells are counted page after page.

// Nodes and cells of a page.
override PAGE_NODES: u32 = 1u;
override PAGE_CELLS: u32 = 1u;

// Of an axis: extent, distance of neighbours in a page, where its slopes are, nodes of a cell; nodes of a page along it,
// cells of a page along it, distance of cells, and where in `columns` its pages are.
struct LatticeAxis {
    nodes: vec4u,
    page: vec4u,
}

// Per axis and page: where the page's column is, and the place of its first node on the ring. A column: how many pages,
// then the first node of each and its place.
@group(0) @binding(0) var<storage, read> columns: array<u32>;
@group(0) @binding(1) var<storage, read> axes: array<LatticeAxis>;
// Of all axes, by distance.
@group(0) @binding(2) var<storage, read> slopes: array<f32>;

// ∂ along an axis at a node.
fn slope(axis: LatticeAxis, node: u32) -> vec2f {
    let page = node / PAGE_NODES;
    let inside = node - page * PAGE_NODES;
    let j = (inside / axis.nodes.y) % axis.page.x;
    let line = inside - j * axis.nodes.y;
    let column = columns[axis.page.w + 2u * page];
    let place = columns[axis.page.w + 2u * page + 1u] + j + axis.nodes.x;
    let n_pages = columns[column];
    var sum = vec2f();
    for (var k = 0u; k < n_pages; k++) {
        var from_there = columns[column + 1u + 2u * k] + line;
        var distance = (place - columns[column + 2u + 2u * k]) % axis.nodes.x;
        for (var i = 0u; i < axis.page.x; i++) {
            sum += slopes[axis.nodes.z + distance] * field(from_there);
            from_there += axis.nodes.y;
            distance = select(distance, axis.nodes.x, distance == 0u) - 1u;
        }
    }
    return sum;
}
