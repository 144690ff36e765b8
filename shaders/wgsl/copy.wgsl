// Copies one buffer to another: what the device's memory, or its cache, can do at best.
// Invariant: each element is read once and written once by one thread; four reads are in flight before the first
// write. It measures the device and is the twin of no kernel.

struct Copied {
    // Elements of 16 bytes.
    count: u32,
}

@group(0) @binding(0) var<storage, read> from_here: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> to_there: array<vec4f>;
var<immediate> copied: Copied;

@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let threads = 256u * n_groups.x * n_groups.y;
    var i = 256u * (group.x + group.y * n_groups.x) + thread;
    while i + 3u * threads < copied.count {
        let a = from_here[i];
        let b = from_here[i + threads];
        let c = from_here[i + 2u * threads];
        let d = from_here[i + 3u * threads];
        to_there[i] = a;
        to_there[i + threads] = b;
        to_there[i + 2u * threads] = c;
        to_there[i + 3u * threads] = d;
        i += 4u * threads;
    }
    while i < copied.count {
        to_there[i] = from_here[i];
        i += threads;
    }
}
