// Extent 3: the kinetic flow as a ring coupling, twin of systems/kernels/src/kinetic/ring.rs.
// Invariant: each axis is the circulant 1 + b·S, S the sum over the ring; one, two or three axes in registers.
// Source: F⁻¹ diag(1, q, q) F = q(1 + b·S), b = (1/q − 1)/3; the factor q is left to the local flow.

fn rings_3(table: u32) {
    let t = times(x[0] + x[1] + x[2], tables[table]);
    for (var k = 0u; k < 3u; k++) { // unroll
        x[k] += t;
    }
}

fn rings_9(table: u32) {
    let minor = tables[table];
    for (var i = 0u; i < 3u; i++) { // unroll
        let t = times(x[3u * i] + x[3u * i + 1u] + x[3u * i + 2u], minor);
        x[3u * i] += t;
        x[3u * i + 1u] += t;
        x[3u * i + 2u] += t;
    }
    let major = tables[table + 1u];
    for (var i = 0u; i < 3u; i++) { // unroll
        let t = times(x[i] + x[i + 3u] + x[i + 6u], major);
        x[i] += t;
        x[i + 3u] += t;
        x[i + 6u] += t;
    }
}

fn rings_27(table: u32) {
    let minor = tables[table];
    for (var i = 0u; i < 9u; i++) { // unroll
        let t = times(x[3u * i] + x[3u * i + 1u] + x[3u * i + 2u], minor);
        x[3u * i] += t;
        x[3u * i + 1u] += t;
        x[3u * i + 2u] += t;
    }
    let middle = tables[table + 1u];
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var i = 0u; i < 3u; i++) { // unroll
            let t = times(x[9u * o + i] + x[9u * o + i + 3u] + x[9u * o + i + 6u], middle);
            x[9u * o + i] += t;
            x[9u * o + i + 3u] += t;
            x[9u * o + i + 6u] += t;
        }
    }
    let major = tables[table + 2u];
    for (var i = 0u; i < 9u; i++) { // unroll
        let t = times(x[i] + x[i + 9u] + x[i + 18u], major);
        x[i] += t;
        x[i + 9u] += t;
        x[i + 18u] += t;
    }
}
