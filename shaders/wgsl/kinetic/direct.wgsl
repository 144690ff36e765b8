// Axes of any other length, twin of systems/kernels/src/kinetic/direct.rs: one circulant sum per node.
// Invariant: y_j = x_j + Σ_d h_d x_{j−d} with h the inverse transform of phase − 1, so that a small step has small
// coefficients and single precision keeps its norm; a line's length times the nodes is the cost.

struct Direct {
    n_nodes: u32,
    // Nodes along the axis, and from neighbour to neighbour.
    extent: u32,
    stride: u32,
    // Where h is.
    table: u32,
}

@group(0) @binding(0) var<storage, read> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> tables: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> next: array<vec2f>;
var<immediate> direct: Direct;

@compute @workgroup_size(64)
fn convolve(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= direct.n_nodes {
        return;
    }
    let j = (node / direct.stride) % direct.extent;
    let line = node - j * direct.stride;
    var sum = vec2f();
    for (var i = 0u; i < direct.extent; i++) {
        var d = j + direct.extent - i;
        if d >= direct.extent {
            d -= direct.extent;
        }
        let h = tables[direct.table + d];
        let v = psi[line + i * direct.stride];
        sum += vec2f(v.x * h.x - v.y * h.y, v.x * h.y + v.y * h.x);
    }
    next[node] = psi[node] + sum;
}

// For the wave form, which works on modes: the axis to modes or back, unscaled.
struct Transform {
    n_nodes: u32,
    extent: u32,
    stride: u32,
    // Where the roots e^{−2πi k/N} are.
    table: u32,
    // 1 to modes, −1 back.
    sign: f32,
}

var<immediate> axis: Transform;

@compute @workgroup_size(64)
fn transform(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= axis.n_nodes {
        return;
    }
    let mode = (node / axis.stride) % axis.extent;
    let line = node - mode * axis.stride;
    var sum = vec2f();
    var turn = 0u;
    for (var i = 0u; i < axis.extent; i++) {
        let root = tables[axis.table + turn];
        let w = vec2f(root.x, axis.sign * root.y);
        let v = psi[line + i * axis.stride];
        sum += vec2f(fma(-v.y, w.y, v.x * w.x), fma(v.y, w.x, v.x * w.y));
        turn += mode;
        if turn >= axis.extent {
            turn -= axis.extent;
        }
    }
    next[node] = sum;
}
