// Small transforms in registers, twin of systems/kernels/src/kinetic/dft.rs.
// Invariant: `dft_N` leaves the modes of x[0..N] in digit-reversed order, each digit centred; `idft_N` takes them in that
// order; neither scales. An inverse undoes its forward transform up to the factor N with the constants as they are rounded:
// turns are lifting steps, and where a reciprocal is needed it has two parts.
// Source: decimation in frequency (Gentleman & Sande 1966) and its mirror image; Daubechies & Sweldens 1998 for lifting.

const HALF_ROOT_3: f32 = 0.8660254;
// 3/4 over it, and what is left of that.
const INVERSE_HIGH: f32 = 0.866025448;
const INVERSE_LOW: f32 = -2.85173964e-8;

struct Three {
    a: vec2f,
    b: vec2f,
    c: vec2f,
}

// v·e^{iθ}, by (tan θ/2, sin θ).
fn lift(v: vec2f, t: vec2f) -> vec2f {
    let a = fma(-t.x, v.y, v.x);
    let b = fma(t.y, a, v.y);
    return vec2f(fma(-t.x, b, a), b);
}

// v·e^{−iθ}: undoes `lift`.
fn lift_back(v: vec2f, t: vec2f) -> vec2f {
    let a = fma(t.x, v.y, v.x);
    let b = fma(-t.y, a, v.y);
    return vec2f(fma(t.x, b, a), b);
}

// The same by an entry of a table, in which the last bit of the sine says whether half a turn is added.
fn halved(v: vec2f, t: vec2f) -> vec2f {
    return select(v, -v, (bitcast<u32>(t.y) & 1u) == 1u);
}

fn rotate(v: vec2f, t: vec2f) -> vec2f {
    return lift(halved(v, t), t);
}

fn rotate_back(v: vec2f, t: vec2f) -> vec2f {
    return lift_back(halved(v, t), t);
}

// Modes 0, 1, 2 of three values.
fn dft3(a: vec2f, b: vec2f, c: vec2f) -> Three {
    let t = b + c;
    let d = HALF_ROOT_3 * (c - b);
    let u = a - 0.5 * t;
    return Three(a + t, vec2f(u.x - d.y, u.y + d.x), vec2f(u.x + d.y, u.y - d.x));
}

fn idft3(a: vec2f, b: vec2f, c: vec2f) -> Three {
    let t = b + c;
    let e = b - c;
    let d = fma(vec2f(INVERSE_HIGH), e, INVERSE_LOW * e);
    let u = a - 0.5 * t;
    return Three(a + t, vec2f(u.x - d.y, u.y + d.x), vec2f(u.x + d.y, u.y - d.x));
}

fn dft_2() {
    let d = x[0] - x[1];
    x[0] += x[1];
    x[1] = d;
}

fn dft_3() {
    let y = dft3(x[0], x[1], x[2]);
    x[0] = y.a;
    x[1] = y.b;
    x[2] = y.c;
}

fn idft_3() {
    let y = idft3(x[0], x[1], x[2]);
    x[0] = y.a;
    x[1] = y.b;
    x[2] = y.c;
}

// (tan, sin) of π/4.
const EIGHTH = vec2f(0.414213568, 0.707106769);

// v·w^j with w = e^{−iπ/4}.
fn eighth(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 0u: { return v; }
        case 1u: { return lift_back(v, EIGHTH); }
        case 2u: { return vec2f(v.y, -v.x); }
        default: { return lift(-v, EIGHTH); }
    }
}

// v·w^−j.
fn eighth_back(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 0u: { return v; }
        case 1u: { return lift(v, EIGHTH); }
        case 2u: { return vec2f(-v.y, v.x); }
        default: { return lift_back(-v, EIGHTH); }
    }
}

// (tan, sin) of π/8 and of 3π/8.
const SIXTEENTH = vec2f(0.19891237, 0.38268343);
const THREE_SIXTEENTHS = vec2f(0.66817864, 0.9238795);

// v·w^j with w = e^{−iπ/8}.
fn sixteenth(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 1u: { return lift_back(v, SIXTEENTH); }
        case 3u: { return lift_back(v, THREE_SIXTEENTHS); }
        case 5u: { return lift(-v, THREE_SIXTEENTHS); }
        case 7u: { return lift(-v, SIXTEENTH); }
        default: { return eighth(v, j / 2u); }
    }
}

// v·w^−j.
fn sixteenth_back(v: vec2f, j: u32) -> vec2f {
    switch j {
        case 1u: { return lift(v, SIXTEENTH); }
        case 3u: { return lift(v, THREE_SIXTEENTHS); }
        case 5u: { return lift_back(-v, THREE_SIXTEENTHS); }
        case 7u: { return lift_back(-v, SIXTEENTH); }
        default: { return eighth_back(v, j / 2u); }
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
        let b = eighth_back(x[j + 2u], 2u * j);
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
            let b = eighth_back(x[4u * o + j + 2u], 2u * j);
            x[4u * o + j + 2u] = x[4u * o + j] - b;
            x[4u * o + j] += b;
        }
    }
    for (var j = 0u; j < 4u; j++) { // unroll
        let b = eighth_back(x[j + 4u], j);
        x[j + 4u] = x[j] - b;
        x[j] += b;
    }
}

fn dft_16() {
    for (var j = 0u; j < 8u; j++) { // unroll
        let d = x[j] - x[j + 8u];
        x[j] += x[j + 8u];
        x[j + 8u] = sixteenth(d, j);
    }
    for (var o = 0u; o < 2u; o++) { // unroll
        for (var j = 0u; j < 4u; j++) { // unroll
            let d = x[8u * o + j] - x[8u * o + j + 4u];
            x[8u * o + j] += x[8u * o + j + 4u];
            x[8u * o + j + 4u] = eighth(d, j);
        }
    }
    for (var o = 0u; o < 4u; o++) { // unroll
        for (var j = 0u; j < 2u; j++) { // unroll
            let d = x[4u * o + j] - x[4u * o + j + 2u];
            x[4u * o + j] += x[4u * o + j + 2u];
            x[4u * o + j + 2u] = eighth(d, 2u * j);
        }
    }
    for (var i = 0u; i < 8u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
}

fn idft_16() {
    for (var i = 0u; i < 8u; i++) { // unroll
        let d = x[2u * i] - x[2u * i + 1u];
        x[2u * i] += x[2u * i + 1u];
        x[2u * i + 1u] = d;
    }
    for (var o = 0u; o < 4u; o++) { // unroll
        for (var j = 0u; j < 2u; j++) { // unroll
            let b = eighth_back(x[4u * o + j + 2u], 2u * j);
            x[4u * o + j + 2u] = x[4u * o + j] - b;
            x[4u * o + j] += b;
        }
    }
    for (var o = 0u; o < 2u; o++) { // unroll
        for (var j = 0u; j < 4u; j++) { // unroll
            let b = eighth_back(x[8u * o + j + 4u], j);
            x[8u * o + j + 4u] = x[8u * o + j] - b;
            x[8u * o + j] += b;
        }
    }
    for (var j = 0u; j < 8u; j++) { // unroll
        let b = sixteenth_back(x[j + 8u], j);
        x[j + 8u] = x[j] - b;
        x[j] += b;
    }
}

// Modes 0…4 of five values in place; `sign` is −1 forwards and 1 backwards.
fn dft_5(sign: f32) {
    let a = x[1] + x[4];
    let b = x[2] + x[3];
    let c = sign * (x[1] - x[4]);
    let d = sign * (x[2] - x[3]);
    // What the constants were rounded by comes first, before there is anything it could be lost beside.
    let p = fma(vec2f(0.309017003), a, fma(vec2f(-0.809017003), b, 8.2076026e-9 * (b - a))) + x[0];
    let q = fma(vec2f(-0.809017003), a, fma(vec2f(0.309017003), b, 8.2076026e-9 * (a - b))) + x[0];
    let r = fma(vec2f(0.95105654), c, fma(vec2f(0.587785244), d, 8.30443625e-9 * d - 2.3717206e-8 * c));
    let s = fma(vec2f(0.587785244), c, fma(vec2f(-0.95105654), d, 8.30443625e-9 * c + 2.3717206e-8 * d));
    x[0] += a + b;
    x[1] = vec2f(p.x - r.y, p.y + r.x);
    x[4] = vec2f(p.x + r.y, p.y - r.x);
    x[2] = vec2f(q.x - s.y, q.y + s.x);
    x[3] = vec2f(q.x + s.y, q.y - s.x);
}

// (tan θ/2, sin θ) of θ = 2πj/27.
const T27 = array<vec2f, 9>(
    vec2f(0.0, 0.0),
    vec2f(0.116883233, 0.230615869),
    vec2f(0.237004355, 0.448799193),
    vec2f(0.36397022, 0.642787635),
    vec2f(0.502218902, 0.802123189),
    vec2f(0.657710373, 0.918216109),
    vec2f(0.839099646, 0.98480773),
    vec2f(1.05993807, 0.998308182),
    vec2f(1.34323311, 0.957989514),
);

fn dft_9() {
    for (var j = 0u; j < 3u; j++) { // unroll
        let y = dft3(x[j], x[j + 3u], x[j + 6u]);
        x[j] = y.a;
        x[j + 3u] = lift_back(y.b, T27[3u * j]);
        x[j + 6u] = lift(y.c, T27[3u * j]);
    }
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
}

fn idft_9() {
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = idft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var j = 0u; j < 3u; j++) { // unroll
        let y = idft3(x[j], lift(x[j + 3u], T27[3u * j]), lift_back(x[j + 6u], T27[3u * j]));
        x[j] = y.a;
        x[j + 3u] = y.b;
        x[j + 6u] = y.c;
    }
}

fn dft_27() {
    for (var j = 0u; j < 9u; j++) { // unroll
        let y = dft3(x[j], x[j + 9u], x[j + 18u]);
        x[j] = y.a;
        x[j + 9u] = lift_back(y.b, T27[j]);
        x[j + 18u] = lift(y.c, T27[j]);
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var j = 0u; j < 3u; j++) { // unroll
            let y = dft3(x[9u * o + j], x[9u * o + j + 3u], x[9u * o + j + 6u]);
            x[9u * o + j] = y.a;
            x[9u * o + j + 3u] = lift_back(y.b, T27[3u * j]);
            x[9u * o + j + 6u] = lift(y.c, T27[3u * j]);
        }
    }
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = dft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
}

fn idft_27() {
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = idft3(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var j = 0u; j < 3u; j++) { // unroll
            let y = idft3(
                x[9u * o + j],
                lift(x[9u * o + j + 3u], T27[3u * j]),
                lift_back(x[9u * o + j + 6u], T27[3u * j]),
            );
            x[9u * o + j] = y.a;
            x[9u * o + j + 3u] = y.b;
            x[9u * o + j + 6u] = y.c;
        }
    }
    for (var j = 0u; j < 9u; j++) { // unroll
        let y = idft3(x[j], lift(x[j + 9u], T27[j]), lift_back(x[j + 18u], T27[j]));
        x[j] = y.a;
        x[j + 9u] = y.b;
        x[j + 18u] = y.c;
    }
}
