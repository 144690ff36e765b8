// The off-diagonal part of a metric, R = −½ Σ_{i≠j} ∂_i D^{ij} ∂_j, twin of systems/kernels/src/kinetic/remainder.rs:
// one term of exp(−iτR)Ψ = Σ_k (−iτR)^k Ψ / k!.
// Invariant: `flux` reads one field and writes the fluxes, `advance` reads the fluxes and writes the next term and its
// share of Ψ; a node's sums go by axis and place. Source: kinetic/remainder/expansion.rs for where the series ends.

// Coupled axes, and pairs of them.
override AXES: u32 = 9u;
override PAIRS: u32 = 36u;

struct Term {
    // (re, im) of the factor of R.
    factor: vec2f,
    // Whether the last term is differentiated, rather than Ψ.
    is_later: u32,
    n_nodes: u32,
}

@group(0) @binding(3) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> fluxes: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> last: array<vec2f>;
@group(0) @binding(6) var<storage, read> off_diagonal: array<f32>;
// The cell of each node of a page.
@group(0) @binding(7) var<storage, read> cells: array<u32>;
var<immediate> series: Term;

var<private> gradient: array<vec2f, 9>;
// What is differentiated: Ψ, the last term, or the flux along an axis.
const OF_PSI = 0u;
const OF_LAST = 1u;
const OF_FLUX = 2u;
var<private> source: u32;
// Where the flux along that axis begins.
var<private> flux_start: u32;

fn field(node: u32) -> vec2f {
    switch source {
        case OF_PSI: { return psi[node]; }
        case OF_LAST: { return last[node]; }
        default: { return fluxes[flux_start + node]; }
    }
}

@compute @workgroup_size(64)
fn flux(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= series.n_nodes {
        return;
    }
    source = select(OF_PSI, OF_LAST, series.is_later != 0u);
    for (var i = 0u; i < AXES; i++) {
        gradient[i] = slope(axes[i], node);
    }
    let page = node / PAGE_NODES;
    let cell = page * PAGE_CELLS + cells[node - page * PAGE_NODES];
    for (var i = 0u; i < AXES; i++) {
        var sum = vec2f();
        for (var j = 0u; j < AXES; j++) {
            if i != j {
                let a = min(i, j);
                let pair = a * AXES - a * (a + 1u) / 2u + max(i, j) - a - 1u;
                sum += off_diagonal[cell * PAIRS + pair] * gradient[j];
            }
        }
        fluxes[i * series.n_nodes + node] = sum;
    }
}

@compute @workgroup_size(64)
fn advance(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= series.n_nodes {
        return;
    }
    source = OF_FLUX;
    var sum = vec2f();
    for (var i = 0u; i < AXES; i++) {
        flux_start = i * series.n_nodes;
        sum += slope(axes[i], node);
    }
    let image = -0.5 * sum;
    let f = series.factor;
    let next = vec2f(image.x * f.x - image.y * f.y, image.x * f.y + image.y * f.x);
    last[node] = next;
    psi[node] += next;
}
