// Small transforms in registers, twin of systems/kernels/src/kinetic/dft.rs.
// Invariant: `dft_N` leaves the modes of x[0..N] in digit-reversed order, `idft_N` takes them in that order; neither
// scales. Source: decimation in frequency (Gentleman & Sande 1966) and its mirror image.

const HALF_ROOT_3: f32 = 0.8660254;
const ROOT_HALF: f32 = 0.70710677;

struct Three {
    a: vec2f,
    b: vec2f,
    c: vec2f,
}

// Modes 0, 1, 2 of three values; `sine` is −√3/2 forwards and √3/2 backwards.
fn dft3(a: vec2f, b: vec2f, c: vec2f, sine: f32) -> Three {
    let t = b + c;
    let d = sine * (b - c);
    let u = a - 0.5 * t;
    return Three(a + t, vec2f(u.x - d.y, u.y + d.x), vec2f(u.x + d.y, u.y - d.x));
}

fn dft_2() {
    let d = x[0] - x[1];
    x[0] += x[1];
    x[1] = d;
}

fn dft_3(sine: f32) {
    let y = dft3(x[0], x[1], x[2], sine);
    x[0] = y.a;
    x[1] = y.b;
    x[2] = y.c;
}

// v·w^j with w = e^{−iπ/4}.
fn eighth(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 0u: { return v; }
        case 1u: { return ROOT_HALF * vec2f(v.x + v.y, v.y - v.x); }
        case 2u: { return vec2f(v.y, -v.x); }
        default: { return ROOT_HALF * vec2f(v.y - v.x, -v.x - v.y); }
    }
}

// v·w^−j.
fn eighth_conj(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 0u: { return v; }
        case 1u: { return ROOT_HALF * vec2f(v.x - v.y, v.y + v.x); }
        case 2u: { return vec2f(-v.y, v.x); }
        default: { return ROOT_HALF * vec2f(-v.y - v.x, v.x - v.y); }
    }
}

fn dft_4() {
    for (var j = 0u; j < 2u; j++) { // unroll
        let d = x[j] - x[j + 2u];
        x[j] += x[j + 2u];
        x[j + 2u] = eighth(d, 2u * j);
    }
    for (var i = 0u; i < 2u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
}

fn idft_4() {
    for (var i = 0u; i < 2u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
    for (var j = 0u; j < 2u; j++) { // unroll
        let b = eighth_conj(x[j + 2u], 2u * j);
        x[j + 2u] = x[j] - b;
        x[j] += b;
    }
}

fn dft_8() {
    for (var j = 0u; j < 4u; j++) { // unroll
        let d = x[j] - x[j + 4u];
        x[j] += x[j + 4u];
        x[j + 4u] = eighth(d, j);
    }
    for (var o = 0u; o < 2u; o++) { // unroll
        for (var j = 0u; j < 2u; j++) { // unroll
            let d = x[4u * o + j] - x[4u * o + j + 2u];
            x[4u * o + j] += x[4u * o + j + 2u];
            x[4u * o + j + 2u] = eighth(d, 2u * j);
        }
    }
    for (var i = 0u; i < 4u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
}

fn idft_8() {
    for (var i = 0u; i < 4u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
    for (var o = 0u; o < 2u; o++) { // unroll
        for (var j = 0u; j < 2u; j++) { // unroll
            let b = eighth_conj(x[4u * o + j + 2u], 2u * j);
            x[4u * o + j + 2u] = x[4u * o + j] - b;
            x[4u * o + j] += b;
        }
    }
    for (var j = 0u; j < 4u; j++) { // unroll
        let b = eighth_conj(x[j + 4u], j);
        x[j + 4u] = x[j] - b;
        x[j] += b;
    }
}

// Modes 0…4 of five values in place; `sign` is −1 forwards and 1 backwards.
fn dft_5(sign: f32) {
    let a = x[1] + x[4];
    let b = x[2] + x[3];
    let c = sign * (x[1] - x[4]);
    let d = sign * (x[2] - x[3]);
    let p = x[0] + 0.30901699 * a - 0.80901699 * b;
    let q = x[0] - 0.80901699 * a + 0.30901699 * b;
    let r = 0.95105652 * c + 0.58778525 * d;
    let s = 0.58778525 * c - 0.95105652 * d;
    x[0] += a + b;
    x[1] = vec2f(p.x - r.y, p.y + r.x);
    x[4] = vec2f(p.x + r.y, p.y - r.x);
    x[2] = vec2f(q.x - s.y, q.y + s.x);
    x[3] = vec2f(q.x + s.y, q.y - s.x);
}

// e^{−2πi k/27} for the products k = j·q that occur.
const W27 = array<vec2f, 17>(
    vec2f(1.0, 0.0),
    vec2f(0.973044872, -0.230615869),
    vec2f(0.89363265, -0.448799193),
    vec2f(0.766044438, -0.642787635),
    vec2f(0.597158611, -0.802123189),
    vec2f(0.396079779, -0.918216109),
    vec2f(0.173648179, -0.98480773),
    vec2f(-0.0581448302, -0.998308182),
    vec2f(-0.286803246, -0.957989514),
    vec2f(-0.5, -0.866025388),
    vec2f(-0.686241627, -0.72737366),
    vec2f(-0.835487783, -0.549508989),
    vec2f(-0.939692616, -0.342020154),
    vec2f(-0.99323833, -0.116092913),
    vec2f(-0.99323833, 0.116092913),
    vec2f(-0.939692616, 0.342020154),
    vec2f(-0.835487783, 0.549508989),
);

fn dft_9() {
    for (var j = 0u; j < 3u; j++) { // unroll
        let y = dft3(x[j], x[j + 3u], x[j + 6u], -HALF_ROOT_3);
        x[j] = y.a;
        x[j + 3u] = times(y.b, W27[3u * j]);
        x[j + 6u] = times(y.c, W27[6u * j]);
    }
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u], -HALF_ROOT_3);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
}

fn idft_9() {
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u], HALF_ROOT_3);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var j = 0u; j < 3u; j++) { // unroll
        let y = dft3(
            x[j],
            times_conj(x[j + 3u], W27[3u * j]),
            times_conj(x[j + 6u], W27[6u * j]),
            HALF_ROOT_3,
        );
        x[j] = y.a;
        x[j + 3u] = y.b;
        x[j + 6u] = y.c;
    }
}

fn dft_27() {
    for (var j = 0u; j < 9u; j++) { // unroll
        let y = dft3(x[j], x[j + 9u], x[j + 18u], -HALF_ROOT_3);
        x[j] = y.a;
        x[j + 9u] = times(y.b, W27[j]);
        x[j + 18u] = times(y.c, W27[2u * j]);
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var j = 0u; j < 3u; j++) { // unroll
            let y = dft3(x[9u * o + j], x[9u * o + j + 3u], x[9u * o + j + 6u], -HALF_ROOT_3);
            x[9u * o + j] = y.a;
            x[9u * o + j + 3u] = times(y.b, W27[3u * j]);
            x[9u * o + j + 6u] = times(y.c, W27[6u * j]);
        }
    }
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u], -HALF_ROOT_3);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
}

fn idft_27() {
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u], HALF_ROOT_3);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var j = 0u; j < 3u; j++) { // unroll
            let y = dft3(
                x[9u * o + j],
                times_conj(x[9u * o + j + 3u], W27[3u * j]),
                times_conj(x[9u * o + j + 6u], W27[6u * j]),
                HALF_ROOT_3,
            );
            x[9u * o + j] = y.a;
            x[9u * o + j + 3u] = y.b;
            x[9u * o + j + 6u] = y.c;
        }
    }
    for (var j = 0u; j < 9u; j++) { // unroll
        let y = dft3(x[j], times_conj(x[j + 9u], W27[j]), times_conj(x[j + 18u], W27[2u * j]), HALF_ROOT_3);
        x[j] = y.a;
        x[j + 9u] = y.b;
        x[j + 18u] = y.c;
    }
}
