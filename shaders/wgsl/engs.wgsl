// The reservoir of nodes that the entropy is estimated on, twin of systems/kernels/src/engs.rs: Ψ of some of them.
// Invariant: entry i of the reservoir goes to place i, whenever it is collected.

struct Collect {
    // Part of the reservoir.
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> reservoir: array<u32>;
@group(0) @binding(2) var<storage, read_write> collected: array<vec2f>;
var<immediate> part: Collect;

@compute @workgroup_size(64)
fn collect(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let i = id.x + id.y * n_groups.x * 64u;
    if i < part.count {
        collected[part.first + i] = psi[reservoir[part.first + i]];
    }
}
