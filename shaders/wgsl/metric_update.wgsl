// Structure tensors of metric cells, twin of systems/kernels/src/metric_update.rs: Σ Re(∂_iΨ ∂_jΨ*) over the nodes of a
// cell, all components. The tensors g themselves are kept by the host in double precision: an update of λ·dt ≈ 1e-5
// would stall in single precision long before its equilibrium.
// Invariant: one work group per cell, sums in the order of the nodes, so the bits repeat.

// Storage axes, their pairs with the diagonal, nodes of a cell, and axes times nodes.
override AXES: u32 = 9u;
override COMPONENTS: u32 = 45u;
override CELL_NODES: u32 = 27u;
override GRADIENTS: u32 = 243u;

// The cells: ranges of `length` cells, `distance` from one to the next.
struct Turn {
    first_cell: u32,
    length: u32,
    distance: u32,
    n_cells: u32,
}

@group(0) @binding(3) var<storage, read> psi: array<vec2f>;
// Range after range, component after component.
@group(0) @binding(4) var<storage, read_write> tensors: array<f32>;
// Nodes of a cell, from its first one.
@group(0) @binding(5) var<storage, read> inside: array<u32>;
var<immediate> turn: Turn;

var<workgroup> gradients: array<vec2f, GRADIENTS>;

fn field(node: u32) -> vec2f {
    return psi[node];
}

@compute @workgroup_size(64)
fn structure(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * n_groups.x;
    let place = min(index, turn.n_cells - 1u);
    let range = place / turn.length;
    let cell = turn.first_cell + range * turn.distance + place - range * turn.length;
    let page = cell / PAGE_CELLS;
    var origin = page * PAGE_NODES;
    for (var d = 0u; d < AXES; d++) {
        let axis = axes[d];
        origin += ((cell - page * PAGE_CELLS) / axis.page.z) % axis.page.y * axis.nodes.w * axis.nodes.y;
    }
    for (var item = thread; item < GRADIENTS; item += 64u) {
        let d = item / CELL_NODES;
        gradients[item] = slope(axes[d], origin + inside[item - d * CELL_NODES]);
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
            tensors[(range * COMPONENTS + c) * turn.length + place - range * turn.length] = sum;
        }
    }
}
