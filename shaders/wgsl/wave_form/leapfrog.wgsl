// Kick, drift, kick of the wave form where D varies in space, twin of systems/kernels/src/wave_form/leapfrog.rs: what is done
// to each node by itself.
//
// Invariant: a node's result depends on that node alone; increments, so that single precision has no bias. The image of Ψ under
// ∂D∂ is that of the last call of `weigh` (leapfrog/operator.wgsl).
// Source: as in the kernel; damping by half_potential.wgsl.

struct Leap {
    // Length of the kick, and that times β.
    kick: f32,
    strength: f32,
    // Length of the drift; none after the last kick.
    drift: f32,
    is_drifting: u32,
    // Relative change of Ψ in the drift, or of Ψ̇ in the last kick.
    gain: f32,
    // Of a damping: its length, and 1 − e^{−Γh} where Γ is uniform.
    h: f32,
    loss: f32,
    n_nodes: u32,
}

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> velocity: array<vec2f>;
@group(0) @binding(2) var<storage, read> image: array<vec2f>;
var<immediate> leap: Leap;

@compute @workgroup_size(64)
fn advance(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= leap.n_nodes {
        return;
    }
    let here = psi[node];
    let density = fma(here.y, here.y, here.x * here.x);
    let change = fma(vec2f(leap.kick), image[node], density * leap.strength * here);
    var v = velocity[node];
    if leap.is_drifting != 0u {
        v += change;
        psi[node] = here + fma(vec2f(leap.gain), here, leap.drift * v);
    } else {
        v += fma(vec2f(leap.gain), v, change);
    }
    velocity[node] = v;
}

@compute @workgroup_size(64)
fn damp(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= leap.n_nodes {
        return;
    }
    var loss = leap.loss;
    if HAS_DAMPING {
        loss = loss_and_weight(damping[node] * leap.h).x;
    }
    let v = velocity[node];
    velocity[node] = fma(vec2f(-loss), v, v);
}
