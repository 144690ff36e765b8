// Σ|Ψ|² over the torus, twin of systems/kernels/src/reduce.rs.
//
// Invariant: fixed chunks in fixed order, so the bits repeat; sums are pairs (high, low), so that the ledger of the
// norm sees changes far below single precision. `kept` hides a value from algebra: a compiler that simplifies
// (a + b) − a would remove the compensation.
// Source: Knuth, two-sum; the partial sums of the chunks are added in f64 on the host.

const CHUNK_THREADS: u32 = 256u;
const NODES_PER_THREAD: u32 = 16u;

struct Reduce {
    n_nodes: u32,
    // Always zero; the compiler cannot know.
    zero: u32,
}

@group(0) @binding(0) var<storage, read> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2f>;
var<immediate> reduce: Reduce;

var<workgroup> sums: array<vec2f, CHUNK_THREADS>;

// What hides a value: `zero` of the immediates.
var<private> zero: u32;

fn kept(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ zero);
}

// The pair a + b for pairs a and b.
fn add(a: vec2f, b: vec2f) -> vec2f {
    let s = kept(a.x + b.x);
    let t = kept(s - a.x);
    let error = kept(a.x - kept(s - t)) + kept(b.x - t);
    let low = error + (a.y + b.y);
    let high = kept(s + low);
    return vec2f(high, low - kept(high - s));
}

@compute @workgroup_size(CHUNK_THREADS)
fn norm2(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    zero = reduce.zero;
    let chunk = group.x + group.y * n_groups.x;
    var sum = vec2f();
    for (var i = 0u; i < NODES_PER_THREAD; i++) {
        let node = (chunk * NODES_PER_THREAD + i) * CHUNK_THREADS + thread;
        if node < reduce.n_nodes {
            let value = psi[node];
            sum = add(sum, vec2f(fma(value.y, value.y, value.x * value.x), 0.0));
        }
    }
    sums[thread] = sum;
    workgroupBarrier();
    for (var half = CHUNK_THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            sums[thread] = add(sums[thread], sums[thread + half]);
        }
        workgroupBarrier();
    }
    if thread == 0u && chunk * NODES_PER_THREAD * CHUNK_THREADS < reduce.n_nodes {
        partials[chunk] = sums[0];
    }
}
