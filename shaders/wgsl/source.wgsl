// Adds weight · phasor on a list of nodes, twin of systems/kernels/src/source.rs.
// Invariant: each listed node is touched by one thread; nobody else is touched.

struct Kick {
    phasor: vec2f,
    // Where the list starts, and its length.
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> nodes: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec2f>;
var<immediate> kick: Kick;

@compute @workgroup_size(64)
fn apply(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let i = id.x + id.y * n_groups.x * 64u;
    if i >= kick.count {
        return;
    }
    let w = weights[kick.first + i];
    let p = kick.phasor;
    psi[nodes[kick.first + i]] += vec2f(w.x * p.x - w.y * p.y, w.x * p.y + w.y * p.x);
}
