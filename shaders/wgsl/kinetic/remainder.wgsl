// The off-diagonal part of a metric, R = −½ Σ_{i≠j} ∂_i D^{ij} ∂_j, twin of systems/kernels/src/kinetic/remainder.rs:
// one term of exp(−iτR)Ψ = Σ_k (−iτR)^k Ψ / k!.
// Invariant: `flux` reads one field and writes the fluxes, `term` reads the fluxes and writes the next term and its
// share of Ψ; a node's sums go by axis and distance. Source: kinetic/remainder/expansion.rs for where the series ends.

// Coupled axes, and pairs of them; nodes of the torus.
override AXES: u32 = 9u;
override PAIRS: u32 = 36u;
override N_NODES: u32 = 1u;
// Whether every node is a cell of its own.
override IS_PER_NODE: bool = false;

struct Term {
    // (re, im) of the factor of R.
    factor: vec2f,
    // Whether the last term is differentiated, rather than Ψ.
    is_later: u32,
    zero: u32,
}

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> fluxes: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> last: array<vec2f>;
// Of each coupled axis: extent, distance of neighbours, where its slopes are.
@group(0) @binding(3) var<storage, read> axes: array<vec4u>;
@group(0) @binding(4) var<storage, read> slopes: array<f32>;
@group(0) @binding(5) var<storage, read> off_diagonal: array<f32>;
@group(0) @binding(6) var<storage, read> cells: array<u32>;
var<immediate> series: Term;

var<private> gradient: array<vec2f, 9>;

@compute @workgroup_size(64)
fn flux(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= N_NODES {
        return;
    }
    for (var i = 0u; i < AXES; i++) {
        let axis = axes[i];
        let j = (node / axis.y) % axis.x;
        let line = node - j * axis.y;
        var sum = vec2f();
        var from_there = j;
        for (var offset = 1u; offset < axis.x; offset++) {
            from_there = select(from_there, axis.x, from_there == 0u) - 1u;
            let at = line + from_there * axis.y;
            var x: vec2f;
            if series.is_later != 0u {
                x = last[at];
            } else {
                x = psi[at];
            }
            sum += slopes[axis.z + offset] * x;
        }
        gradient[i] = sum;
    }
    var cell = node;
    if !IS_PER_NODE {
        cell = cells[node];
    }
    for (var i = 0u; i < AXES; i++) {
        var sum = vec2f();
        for (var j = 0u; j < AXES; j++) {
            if i != j {
                let a = min(i, j);
                let pair = a * AXES - a * (a + 1u) / 2u + max(i, j) - a - 1u;
                sum += off_diagonal[cell * PAIRS + pair] * gradient[j];
            }
        }
        fluxes[i * N_NODES + node] = sum;
    }
}

@compute @workgroup_size(64)
fn advance(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= N_NODES {
        return;
    }
    var sum = vec2f();
    for (var i = 0u; i < AXES; i++) {
        let axis = axes[i];
        let j = (node / axis.y) % axis.x;
        let line = i * N_NODES + node - j * axis.y;
        var from_there = j;
        for (var offset = 1u; offset < axis.x; offset++) {
            from_there = select(from_there, axis.x, from_there == 0u) - 1u;
            sum += slopes[axis.z + offset] * fluxes[line + from_there * axis.y];
        }
    }
    let image = -0.5 * sum;
    let f = series.factor;
    let next = vec2f(image.x * f.x - image.y * f.y, image.x * f.y + image.y * f.x);
    last[node] = next;
    psi[node] += next;
}
