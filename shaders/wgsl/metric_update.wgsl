// Structure tensors of metric cells, twin of systems/kernels/src/metric_update.rs: Σ Re(∂_iΨ ∂_jΨ*) over the nodes of a
// cell, all components. The tensors g themselves are kept by the host in double precision: an update of λ·dt ≈ 1e-5
// would stall in single precision long before its equilibrium.
// Invariant: one work group per cell, sums in the order of the nodes, so the bits repeat.

// Storage axes, their pairs with the diagonal, nodes of a cell, and axes times nodes.
override AXES: u32 = 9u;
override COMPONENTS: u32 = 45u;
override CELL_NODES: u32 = 27u;
override GRADIENTS: u32 = 243u;

struct Turn {
    first_cell: u32,
    n_cells: u32,
}

// Of each axis: extent, distance of neighbours, where its slopes are, nodes of a cell; and cells, and their distance.
struct CellAxis {
    nodes: vec4u,
    cells: vec4u,
}

@group(0) @binding(0) var<storage, read> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> tensors: array<f32>;
@group(0) @binding(2) var<storage, read> axes: array<CellAxis>;
@group(0) @binding(3) var<storage, read> slopes: array<f32>;
// Nodes of a cell, from its first one.
@group(0) @binding(4) var<storage, read> inside: array<u32>;
var<immediate> turn: Turn;

var<workgroup> gradients: array<vec2f, GRADIENTS>;

@compute @workgroup_size(64)
fn structure(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * n_groups.x;
    let cell = turn.first_cell + min(index, turn.n_cells - 1u);
    var origin = 0u;
    for (var d = 0u; d < AXES; d++) {
        let axis = axes[d];
        origin += (cell / axis.cells.y) % axis.cells.x * axis.nodes.w * axis.nodes.y;
    }
    for (var item = thread; item < GRADIENTS; item += 64u) {
        let d = item / CELL_NODES;
        let axis = axes[d].nodes;
        let node = origin + inside[item - d * CELL_NODES];
        let j = (node / axis.y) % axis.x;
        let line = node - j * axis.y;
        var sum = vec2f();
        var from_there = j;
        for (var offset = 1u; offset < axis.x; offset++) {
            from_there = select(from_there, axis.x, from_there == 0u) - 1u;
            sum += slopes[axis.z + offset] * psi[line + from_there * axis.y];
        }
        gradients[item] = sum;
    }
    workgroupBarrier();
    for (var c = thread; c < COMPONENTS; c += 64u) {
        var i = 0u;
        var rest = c;
        while rest >= AXES - i {
            rest -= AXES - i;
            i++;
        }
        let j = i + rest;
        var sum = 0.0;
        for (var k = 0u; k < CELL_NODES; k++) {
            sum += dot(gradients[i * CELL_NODES + k], gradients[j * CELL_NODES + k]);
        }
        if index < turn.n_cells {
            tensors[c * turn.n_cells + index] = sum;
        }
    }
}
