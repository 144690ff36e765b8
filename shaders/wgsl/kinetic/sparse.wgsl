// What the boundary of an active set measures, twin of systems/kernels/src/kinetic/sparse.rs: sums over the lines of a
// column of |Σ_j coefficient_j Ψ_j|². One coefficient of one: the norm of a layer. A row of PTP that ends on an absent
// page: what would leave into it.
// Invariant: one work group per sum, lines in fixed order, so the bits repeat.

struct Measuring {
    side: u32,
    stride: u32,
    column_lines: u32,
    first_item: u32,
    n_items: u32,
}

@group(0) @binding(0) var<storage, read> psi: array<vec2f>;
// First slot, first row, rows, first coefficient.
@group(0) @binding(1) var<storage, read> items: array<vec4u>;
@group(0) @binding(2) var<storage, read> coefficients: array<f32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read_write> measured: array<f32>;
var<immediate> measuring: Measuring;

var<workgroup> sums: array<f32, 128>;

@compute @workgroup_size(128)
fn measure(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * n_groups.x;
    let item = items[measuring.first_item + min(index, measuring.n_items - 1u)];
    var total = 0.0;
    for (var line = thread; line < measuring.column_lines; line += 128u) {
        let outer = line / measuring.stride;
        let base = outer * measuring.side * measuring.stride + line - outer * measuring.stride;
        var sum = vec2f();
        for (var j = 0u; j < item.z; j++) {
            let row = item.y + j;
            let slot = row / measuring.side;
            let node = slots[item.x + slot] + base + (row - slot * measuring.side) * measuring.stride;
            sum += coefficients[item.w + j] * psi[node];
        }
        total += dot(sum, sum);
    }
    sums[thread] = total;
    workgroupBarrier();
    for (var half = 64u; half > 0u; half /= 2u) {
        if thread < half {
            sums[thread] += sums[thread + half];
        }
        workgroupBarrier();
    }
    if thread == 0u && index < measuring.n_items {
        measured[index] = sums[0];
    }
}
