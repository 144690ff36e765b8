// The image of Ψ under ∂_i D^{ij} ∂_j, twin of systems/kernels/src/wave_form/leapfrog/operator.rs: gradient and flux of every
// node, then their divergence.
//
// Invariant: `flux` reads Ψ and writes the fluxes, `weigh` reads the fluxes and Ψ and writes the image; a node's sums go by axis
// and place. The Nyquist mode of an even axis, which has no slope, has the line's mean D.
// Source: as in the kernel.

// Axes of more than one node, and pairs i ≤ j of them.
override AXES: u32 = 9u;
override PAIRS: u32 = 45u;

struct Weigh {
    n_nodes: u32,
    // Where in `numbers` the Nyquist modes' weights begin.
    first_weight: u32,
}

@group(0) @binding(3) var<storage, read> psi: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> fluxes: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> image: array<vec2f>;
// D^{ij} of each cell, pair by pair; then −K²·mean D/N of each line of the even axes.
@group(0) @binding(6) var<storage, read> numbers: array<f32>;
// The cell of each node of a page.
@group(0) @binding(7) var<storage, read> cells: array<u32>;
var<immediate> weighing: Weigh;

var<private> gradient: array<vec2f, 9>;
const OF_PSI = 0u;
const OF_FLUX = 1u;
var<private> source: u32;
// Where the flux along that axis begins.
var<private> flux_start: u32;

fn field(node: u32) -> vec2f {
    if source == OF_PSI {
        return psi[node];
    }
    return fluxes[flux_start + node];
}

@compute @workgroup_size(64)
fn flux(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= weighing.n_nodes {
        return;
    }
    source = OF_PSI;
    for (var i = 0u; i < AXES; i++) {
        gradient[i] = slope(axes[i], node);
    }
    let page = node / PAGE_NODES;
    let cell = page * PAGE_CELLS + cells[node - page * PAGE_NODES];
    for (var i = 0u; i < AXES; i++) {
        var sum = vec2f();
        for (var j = 0u; j < AXES; j++) {
            let a = min(i, j);
            let pair = a * AXES - a * (a + 1u) / 2u + max(i, j);
            sum = fma(vec2f(numbers[cell * PAIRS + pair]), gradient[j], sum);
        }
        fluxes[i * weighing.n_nodes + node] = sum;
    }
}

@compute @workgroup_size(64)
fn weigh(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= weighing.n_nodes {
        return;
    }
    source = OF_FLUX;
    var sum = vec2f();
    for (var i = 0u; i < AXES; i++) {
        flux_start = i * weighing.n_nodes;
        sum += slope(axes[i], node);
    }
    var first = weighing.first_weight;
    for (var i = 0u; i < AXES; i++) {
        let extent = axes[i].nodes.x;
        if extent % 2u != 0u {
            continue;
        }
        let stride = axes[i].nodes.y;
        let block = node / (extent * stride);
        let position = (node / stride) % extent;
        let line = block * stride + node % stride;
        sum = fma(vec2f(numbers[first + line]), nyquist(node - position * stride, stride, extent, position), sum);
        first += weighing.n_nodes / extent;
    }
    image[node] = sum;
}

// Σ (−1)^{k + position} Ψ_k along a line.
fn nyquist(first: u32, stride: u32, extent: u32, position: u32) -> vec2f {
    var sum = vec2f();
    for (var k = 0u; k < extent; k += 2u) {
        sum += psi[first + k * stride] - psi[first + (k + 1u) * stride];
    }
    return select(sum, -sum, position % 2u == 1u);
}
