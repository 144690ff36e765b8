// The local flow of V, Γ and β at each node, twin of systems/kernels/src/half_potential.rs.
//
// Invariant: a node's result depends on that node alone; increments, not rotations: Ψ' = Ψ + Ψ(e^{ia} − 1), with
// sin a and cos a − 1 = −2 sin²(a/2) small, so that single precision has no systematic loss of norm.
// Source: closed forms of systems/kernels/src/nonlinear.rs.

// Constants of one flow, rounded once on the host (kernels::half_potential::FlowConstants).
struct Flow {
    // Angle of the prefactor, and of a uniform V.
    c0: f32,
    // −h, the factor of V.
    c1: f32,
    // −hβ; in imaginary time 2hβ·scale².
    c2: f32,
    // h, the factor of Γ (and of V in imaginary time).
    h: f32,
    mu_h: f32,
    // Relative change of Ψ.
    gain: f32,
    // Factor of Ψ in imaginary time.
    scale: f32,
    // V and Γ where they are uniform.
    potential: f32,
    damping: f32,
}

override HAS_POTENTIAL: bool = false;
override HAS_DAMPING: bool = false;
override IS_DAMPED: bool = false;
override IS_IMAGINARY: bool = false;

@group(0) @binding(3) var<storage, read> potential: array<f32>;
@group(0) @binding(4) var<storage, read> damping: array<f32>;

const SMALL_EXPONENT: f32 = 0.25;
const TURN_HIGH: f32 = 6.2831855;
// 2π − TURN_HIGH.
const TURN_LOW: f32 = -1.7484556e-7;

fn times(x: vec2f, w: vec2f) -> vec2f {
    return vec2f(x.x * w.x - x.y * w.y, x.x * w.y + x.y * w.x);
}

// (sin a, cos a − 1) without a branch, so that neighbouring nodes' work interleaves; NaN gives NaN.
fn sin_cosm1(a: f32) -> vec2f {
    let turns = round(a * 0.15915494);
    let r = fma(-turns, TURN_LOW, fma(-turns, TURN_HIGH, a));
    // Only an |a| beyond the reach of the reduction leaves [−π, π]; the limit keeps the flow unitary there. A
    // comparison that fails keeps NaN.
    var t = 0.5 * r;
    t = select(t, 1.5707964, t > 1.5707964);
    t = select(t, -1.5707964, t < -1.5707964);
    let u = t * t;
    var p = fma(1.6059044e-10, u, -2.5052108e-8);
    p = fma(p, u, 2.7557319e-6);
    p = fma(p, u, -1.9841270e-4);
    p = fma(p, u, 8.333333e-3);
    p = fma(p, u, -0.16666667);
    let s = fma(p, t * u, t);
    var q = fma(2.0876757e-9, u, -2.7557319e-7);
    q = fma(q, u, 2.4801587e-5);
    q = fma(q, u, -1.3888889e-3);
    q = fma(q, u, 4.1666668e-2);
    q = fma(q, u, -0.5);
    let c = fma(q, u, 1.0);
    return vec2f(2.0 * s * c, -2.0 * s * s);
}

// (1 − e^{−y}, (1 − e^{−2y})/(2y)) for any y.
fn loss_and_weight(y: f32) -> vec2f {
    var x = y;
    var n_halvings = 0;
    while abs(x) >= SMALL_EXPONENT && n_halvings < 12 {
        x *= 0.5;
        n_halvings++;
    }
    // φ(x) = (1 − e^{−x})/x by its series, then φ(2x) = φ(x)(1 − xφ(x)/2).
    var phi = fma(-x, 1.9841270e-4, 1.3888889e-3);
    phi = fma(-x, phi, 8.333333e-3);
    phi = fma(-x, phi, 4.1666668e-2);
    phi = fma(-x, phi, 0.16666667);
    phi = fma(-x, phi, 0.5);
    phi = fma(-x, phi, 1.0);
    while n_halvings > 0 {
        phi = fma(-0.5 * phi, x * phi, phi);
        x += x;
        n_halvings--;
    }
    let loss = y * phi;
    return vec2f(loss, fma(-0.5 * phi, loss, phi));
}

// V of a node where it has a column; loaded early, so that the reads of all rows are in flight together.
fn potential_at(node: u32) -> f32 {
    if HAS_POTENTIAL {
        return potential[node];
    }
    return 0.0;
}

// Ψ after one flow; `node` is its index in storage order, `v_here` what `potential_at` gave.
fn flow_of(flow: Flow, psi: vec2f, v_here: f32, node: u32) -> vec2f {
    let density = fma(psi.y, psi.y, psi.x * psi.x);
    let v = select(flow.potential, v_here, HAS_POTENTIAL);
    if IS_IMAGINARY {
        let both = loss_and_weight(fma(v, flow.h, -flow.mu_h));
        let growth = fma(flow.c2 * density, both.y, 1.0);
        return psi * (flow.scale * (1.0 - both.x) / sqrt(growth));
    }
    var turn: vec2f;
    if IS_DAMPED {
        var gamma = flow.damping;
        if HAS_DAMPING {
            gamma = damping[node];
        }
        let both = loss_and_weight(gamma * flow.h);
        let a = fma(flow.c2 * density, both.y, fma(flow.c1, v, flow.c0));
        let plain = sin_cosm1(a);
        turn = vec2f(fma(-both.x, plain.x, plain.x), fma(-both.x, plain.y, plain.y) - both.x);
    } else {
        var base = flow.c0;
        if HAS_POTENTIAL {
            base = fma(flow.c1, v, flow.c0);
        }
        turn = sin_cosm1(fma(flow.c2, density, base));
    }
    let s = fma(flow.gain, turn.x, turn.x);
    let c = fma(flow.gain, turn.y, turn.y) + flow.gain;
    return vec2f(
        psi.x + fma(-psi.y, s, psi.x * c),
        psi.y + fma(psi.y, c, psi.x * s),
    );
}
