// The energy balance on the device, twin of systems/kernels/src/energy.rs: sums over the torus, the work of the sources,
// and the entries that keep both until the host asks.
//
// Invariant: fixed chunks in fixed order, pairs as in reduce.wgsl, so that the bits repeat and the balance closes far
// below single precision. An entry is written once, by `fold`.
// Source: ⟨Ψ, TΨ⟩ = Σ_d h_d |Ψ_j − Ψ_{j+d}|² along each axis, h_d = −t_d with t the circulant of T (Σ t = 0);
// differences come before products, so that no large terms cancel. The work is that of systems/kernels/src/source.rs.

// Which sums an entry holds; those that were not asked for are zero.
const LOCAL: u32 = 1u;
const KINETIC: u32 = 2u;
const WEIGHTED: u32 = 4u;
const DRIVE: u32 = 8u;
const HAS_POTENTIAL: u32 = 16u;
const HAS_DAMPING: u32 = 32u;

// Pairs of an entry: ρ, ρ², Vρ, Γρ, ΓVρ, Γρ², ∂tVρ, ⟨Ψ,TΨ⟩, ⟨ΓΨ,TΨ⟩, nodes that are not finite, largest ρ.
const WIDTH: u32 = 11u;
const LARGEST: u32 = 10u;

struct Look {
    // Nodes, or nodes of a list.
    count: u32,
    // Always zero; the compiler cannot know.
    zero: u32,
    n_chunks: u32,
    // Where a list starts, and the entry.
    first: u32,
    slot: u32,
    wanted: u32,
    n_axes: u32,
    // V where it is uniform, the factor of T, β.
    potential: f32,
    kinetic: f32,
    beta: f32,
}

@group(0) @binding(2) var<storage, read> axes: array<u32>;
@group(0) @binding(3) var<storage, read> potential: array<f32>;
@group(0) @binding(4) var<storage, read> damping: array<f32>;
@group(0) @binding(5) var<storage, read> rate: array<f32>;

@group(0) @binding(2) var<storage, read> list: array<u32>;
// E and TE on the nodes of the list.
@group(0) @binding(4) var<storage, read> profile: array<vec4f>;

@group(0) @binding(2) var<storage, read_write> entries: array<vec2f>;

var<immediate> look: Look;

var<workgroup> largest: array<u32, CHUNK_THREADS>;

// Re Σ_d h_d conj(u_j − u_{j+d})(Ψ_j − Ψ_{j+d}) over all axes, for u = Ψ and for u = ΓΨ.
fn bonds(node: u32, here: vec2f, gamma: f32) -> vec2f {
    var sum = vec2f();
    for (var a = 0u; a < look.n_axes; a++) {
        let extent = axes[3u * a];
        let stride = axes[3u * a + 1u];
        let table = axes[3u * a + 2u];
        let j = (node / stride) % extent;
        let line = node - j * stride;
        var along = vec2f();
        for (var d = 1u; 2u * d <= extent; d++) {
            var i = j + d;
            if i >= extent {
                i -= extent;
            }
            let other = line + i * stride;
            let there = psi[other];
            let h = bitcast<f32>(axes[table + d]);
            let apart = here - there;
            along.x = fma(h, fma(apart.y, apart.y, apart.x * apart.x), along.x);
            if (look.wanted & WEIGHTED) != 0u {
                let weighted = gamma * here - damping[other] * there;
                along.y = fma(h, fma(apart.y, weighted.y, apart.x * weighted.x), along.y);
            }
        }
        sum += along;
    }
    return sum;
}

// Adds the pairs of all threads and leaves them in the partial sums, quantity after quantity.
fn leave(thread: u32, chunk: u32, quantity: u32, pair: vec2f) {
    workgroupBarrier();
    sums[thread] = pair;
    workgroupBarrier();
    for (var half = CHUNK_THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            sums[thread] = add(sums[thread], sums[thread + half]);
        }
        workgroupBarrier();
    }
    if thread == 0u && chunk < look.n_chunks {
        partials[quantity * look.n_chunks + chunk] = sums[0];
    }
}

@compute @workgroup_size(CHUNK_THREADS)
fn totals(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    zero = look.zero;
    let chunk = group.x + group.y * n_groups.x;
    var pairs: array<vec2f, WIDTH>;
    var most = 0u;
    for (var i = 0u; i < NODES_PER_THREAD; i++) {
        let node = (chunk * NODES_PER_THREAD + i) * CHUNK_THREADS + thread;
        if node < look.count {
            let here = psi[node];
            let density = fma(here.y, here.y, here.x * here.x);
            var v = 0.0;
            if (look.wanted & HAS_POTENTIAL) != 0u {
                v = potential[node];
            }
            var gamma = 0.0;
            if (look.wanted & HAS_DAMPING) != 0u {
                gamma = damping[node];
            }
            pairs[0] = add(pairs[0], vec2f(density, 0.0));
            pairs[1] = add(pairs[1], vec2f(density * density, 0.0));
            pairs[2] = add(pairs[2], vec2f(v * density, 0.0));
            pairs[3] = add(pairs[3], vec2f(gamma * density, 0.0));
            pairs[4] = add(pairs[4], vec2f(gamma * v * density, 0.0));
            pairs[5] = add(pairs[5], vec2f(gamma * density * density, 0.0));
            if (look.wanted & DRIVE) != 0u {
                pairs[6] = add(pairs[6], vec2f(rate[node] * density, 0.0));
            }
            if (look.wanted & KINETIC) != 0u {
                let both = bonds(node, here, gamma);
                pairs[7] = add(pairs[7], vec2f(both.x, 0.0));
                pairs[8] = add(pairs[8], vec2f(both.y, 0.0));
            }
            // Bits, because a compiler may assume that numbers are finite.
            let bits = bitcast<u32>(density) & 0x7fffffffu;
            if bits >= 0x7f800000u {
                pairs[9].x += 1.0;
            } else {
                most = max(most, bits);
            }
        }
    }
    for (var q = 0u; q < 10u; q++) { // unroll
        leave(thread, chunk, q, pairs[q]);
    }
    largest[thread] = most;
    workgroupBarrier();
    for (var half = CHUNK_THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            largest[thread] = max(largest[thread], largest[thread + half]);
        }
        workgroupBarrier();
    }
    if thread == 0u && chunk < look.n_chunks {
        partials[LARGEST * look.n_chunks + chunk] = vec2f(bitcast<f32>(largest[0]), 0.0);
    }
}

// ⟨E, hΨ⟩ and ⟨E, Ψ⟩ on a list of nodes: four pairs.
@compute @workgroup_size(CHUNK_THREADS)
fn work(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    zero = look.zero;
    let chunk = group.x + group.y * n_groups.x;
    var pairs: array<vec2f, 4>;
    for (var i = 0u; i < NODES_PER_THREAD; i++) {
        let k = (chunk * NODES_PER_THREAD + i) * CHUNK_THREADS + thread;
        if k < look.count {
            let node = list[look.first + k];
            let both = profile[look.first + k];
            let here = psi[node];
            var v = look.potential;
            if (look.wanted & HAS_POTENTIAL) != 0u {
                v = potential[node];
            }
            let local = fma(look.beta, fma(here.y, here.y, here.x * here.x), v);
            let h = fma(vec2f(local), both.xy, look.kinetic * both.zw);
            pairs[0] = add(pairs[0], vec2f(fma(h.y, here.y, h.x * here.x), 0.0));
            pairs[1] = add(pairs[1], vec2f(fma(-h.y, here.x, h.x * here.y), 0.0));
            pairs[2] = add(pairs[2], vec2f(fma(both.y, here.y, both.x * here.x), 0.0));
            pairs[3] = add(pairs[3], vec2f(fma(-both.y, here.x, both.x * here.y), 0.0));
        }
    }
    for (var q = 0u; q < 4u; q++) { // unroll
        leave(thread, chunk, q, pairs[q]);
    }
}

// Folds the chunks' sums of one quantity per work group into an entry.
@compute @workgroup_size(CHUNK_THREADS)
fn fold(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    zero = look.zero;
    let quantity = group.x;
    var sum = vec2f();
    for (var chunk = thread; chunk < look.n_chunks; chunk += CHUNK_THREADS) {
        let pair = partials[quantity * look.n_chunks + chunk];
        if quantity == LARGEST {
            sum.x = max(sum.x, pair.x);
        } else {
            sum = add(sum, pair);
        }
    }
    sums[thread] = sum;
    workgroupBarrier();
    for (var half = CHUNK_THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            if quantity == LARGEST {
                sums[thread].x = max(sums[thread].x, sums[thread + half].x);
            } else {
                sums[thread] = add(sums[thread], sums[thread + half]);
            }
        }
        workgroupBarrier();
    }
    if thread == 0u {
        entries[look.slot * WIDTH + quantity] = sums[0];
    }
}
