// One sweep over Ψ and Ψ̇, twin of systems/kernels/src/wave_form.rs: a tile of rows × lanes of both fields passes
// through a list of stages: axes to modes or back, the kick of the velocity, the turn of every mode.
//
// Invariant: each node of either field is read once from memory and written once. A stage's work item holds `radix`
// rows of one field in registers; the first stage reads from memory, the last writes to memory, those between exchange
// rows through workgroup memory. Any part may be absent, so bits do not depend on what was fused.
//
// Source: shears as in systems/kernels/src/wave_form/modes.rs, kicks as in systems/kernels/src/wave_form/local.rs;
// rings of three by a real transform (sum, deviation, difference), so that they round without bias.

// One local half-flow of the velocity.
struct Push {
    // Its length h, and hβ.
    h: f32,
    strength: f32,
}

struct Pass {
    pushes: array<Push, 2>,
    n_pushes: u32,
    first_stage: u32,
    n_stages: u32,
    // α/2, and what joins every mode's increment: e^{−αh/2} − 1 and the gain.
    half_alpha: f32,
    increment: f32,
}

struct WaveStage {
    // Rows of a work item, and rows from one row of an item to the next.
    radix: u32,
    step: u32,
    code: u32,
    // Twiddles, or NO_TABLE.
    table: u32,
    // Sum of FROM_MEMORY, TO_MEMORY.
    flags: u32,
}

const FORWARD: u32 = 1u;
const INVERSE: u32 = 2u;
const RINGS_FORWARD: u32 = 3u;
const RINGS_INVERSE: u32 = 4u;
const PUSH: u32 = 5u;
const TURN: u32 = 6u;

const NO_TABLE: u32 = 0xffffffffu;
const FROM_MEMORY: u32 = 1u;
const TO_MEMORY: u32 = 2u;

// Length of the tile for both fields.
override BOTH_LEN: u32 = 128u;

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> tables: array<vec2f>;
@group(0) @binding(2) var<storage, read> stages: array<WaveStage>;
@group(0) @binding(5) var<storage, read_write> velocity: array<vec2f>;
// For each node as a mode, its class; for each class p, q, the signed weight and what rounding took from it.
@group(0) @binding(6) var<storage, read> classes: array<u32>;
@group(0) @binding(7) var<storage, read> turns: array<vec4f>;
var<immediate> sweep: Pass;

// Ψ of the tile, then Ψ̇.
var<workgroup> tile: array<vec2f, BOTH_LEN>;
var<private> x: array<vec2f, 27>;

struct Item {
    is_inside: bool,
    from_memory: bool,
    to_memory: bool,
    // Node of row 0 in memory, and from row to row.
    node: u32,
    node_step: u32,
    // Row 0 in the tile, and from row to row.
    row: u32,
    row_step: u32,
    lane: u32,
    // Which item of its block.
    position: u32,
}

@compute @workgroup_size(THREADS)
fn run(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * n_groups.x;
    if index >= N_TILES {
        return;
    }
    let chunk = index % CHUNKS;
    let origin = (index / CHUNKS) * OUTER_STRIDE + chunk * LANES * LANE_STRIDE;
    let n_lanes = min(LANES, LANE_COUNT - chunk * LANES);
    for (var s = 0u; s < sweep.n_stages; s++) {
        let stage = stages[sweep.first_stage + s];
        if s > 0u {
            workgroupBarrier();
        }
        let per_lane = ROWS / stage.radix;
        for (var work = thread; work < per_lane * LANES; work += THREADS) {
            let item = item_of(stage, work, per_lane, origin, n_lanes);
            switch stage.code {
                case PUSH: { push(item); }
                case TURN: { turn(item); }
                default: {
                    for (var field = 0u; field < 2u; field++) {
                        transform(stage, item, field);
                    }
                }
            }
        }
    }
}

fn item_of(stage: WaveStage, work: u32, per_lane: u32, origin: u32, n_lanes: u32) -> Item {
    var lane: u32;
    var j: u32;
    if LANES_FIRST {
        lane = work % LANES;
        j = work / LANES;
    } else {
        lane = work / per_lane;
        j = work - lane * per_lane;
    }
    let block = j / stage.step;
    let position = j - block * stage.step;
    let row = block * stage.step * stage.radix + position;
    return Item(
        lane < n_lanes,
        (stage.flags & FROM_MEMORY) != 0u,
        (stage.flags & TO_MEMORY) != 0u,
        origin + row * ROW_STRIDE + lane * LANE_STRIDE,
        stage.step * ROW_STRIDE,
        row,
        stage.step,
        lane,
        position,
    );
}

fn slot(item: Item, field: u32, k: u32) -> u32 {
    let row = item.row + k * item.row_step;
    return field * TILE_LEN + (row + (row >> PAD_SHIFT)) * ROW_PITCH + item.lane * LANE_PITCH;
}

fn taken(item: Item, field: u32, k: u32) -> vec2f {
    if !item.from_memory {
        return tile[slot(item, field, k)];
    }
    if !item.is_inside {
        return vec2f();
    }
    let node = item.node + k * item.node_step;
    if field == 0u {
        return psi[node];
    }
    return velocity[node];
}

fn give(item: Item, field: u32, k: u32, value: vec2f) {
    if !item.to_memory {
        tile[slot(item, field, k)] = value;
    } else if item.is_inside {
        let node = item.node + k * item.node_step;
        if field == 0u {
            psi[node] = value;
        } else {
            velocity[node] = value;
        }
    }
}

// The kick of one node: Ψ̇' = Ψ̇ + φ·(hβ|Ψ|²Ψ − ΓhΨ̇), φ = (1 − e^{−Γh})/(Γh).
fn push(item: Item) {
    let here = taken(item, 0u, 0u);
    var v = taken(item, 1u, 0u);
    let density = fma(here.y, here.y, here.x * here.x);
    for (var i = 0u; i < sweep.n_pushes; i++) {
        let one = sweep.pushes[i];
        let force = density * one.strength;
        if HAS_DAMPING {
            var gamma = 0.0;
            if item.is_inside {
                gamma = damping[item.node];
            }
            let exponent = gamma * one.h;
            // The weight of y/2 is (1 − e^{−y})/y.
            let weight = loss_and_weight(0.5 * exponent).y;
            v = fma(vec2f(weight), fma(vec2f(-exponent), v, force * here), v);
        } else {
            v = fma(vec2f(force), here, v);
        }
    }
    give(item, 0u, 0u, here);
    give(item, 1u, 0u, v);
}

// The turn of one mode: three shears, the last two with the increment, and the weight.
fn turn(item: Item) {
    var a = taken(item, 0u, 0u);
    let v = taken(item, 1u, 0u);
    // p, q, weight, rest.
    var mode = vec4f();
    if item.is_inside {
        mode = turns[classes[item.node]];
    }
    let increment = vec2f(mode.w + sweep.increment);
    let half_alpha = vec2f(sweep.half_alpha);
    var w = fma(half_alpha, a, v);
    a = fma(vec2f(mode.x), w, a);
    let pull = mode.y * a;
    let whole = w + pull;
    let shift = mode.x * whole;
    w = w + fma(increment, whole, pull);
    a = a + fma(increment, a + shift, shift);
    a *= mode.z;
    w *= mode.z;
    give(item, 0u, 0u, a);
    give(item, 1u, 0u, fma(-half_alpha, a, w));
}

fn transform(stage: WaveStage, item: Item, field: u32) {
    switch stage.radix {
        case 2u: { if HAS_2 { transform_2(stage, item, field); } }
        case 3u: { if HAS_3 { transform_3(stage, item, field); } }
        case 4u: { if HAS_4 { transform_4(stage, item, field); } }
        case 5u: { if HAS_5 { transform_5(stage, item, field); } }
        case 8u: { if HAS_8 { transform_8(stage, item, field); } }
        case 9u: { if HAS_9 { transform_9(stage, item, field); } }
        default: { if HAS_27 { transform_27(stage, item, field); } }
    }
}

fn twiddle(stage: WaveStage, item: Item, k: u32) -> vec2f {
    return tables[stage.table + item.position * stage.radix + k];
}
