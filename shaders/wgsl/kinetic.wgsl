// One sweep over Ψ, twin of systems/kernels/src/kinetic.rs: a tile of rows × lanes passes through a list of stages.
//
// Invariant: each node is read once from memory and written once. A stage's work item holds `radix` rows in
// registers, transforms them and leaves them in place; the first stage reads from memory, the last writes to memory,
// those between exchange rows through workgroup memory. Local flows run inside one stage, between the axes of the
// tick that ends and those of the tick that begins, so that neighbouring ticks share a sweep.
// The same program runs with any of its parts absent, so the bits of a tick do not depend on what was fused.
//
// Loops marked `unroll` are expanded by the host: arrays in registers take constant indices only.
// Source: rings as in systems/kernels/src/kinetic/ring.rs; transforms decimate in frequency forwards and in time
// backwards, so that the spectrum is only seen in digit-reversed order, in which the phases are stored.

struct Stage {
    // Rows of a work item.
    radix: u32,
    // Rows from one row of an item to the next.
    step: u32,
    // What is done before the flows, and after them: one of the codes below.
    before: u32,
    after: u32,
    // Where the tables of either are, from the base of the duration.
    table_before: u32,
    table_after: u32,
    // Entries by which a table advances from block to block.
    table_step: u32,
    // Sum of FLOWS, FROM_MEMORY, TO_MEMORY.
    flags: u32,
}

const NOTHING: u32 = 0u;
const RINGS: u32 = 1u;
const MIDDLE: u32 = 2u;
const FORWARD: u32 = 3u;
const INVERSE: u32 = 4u;

const FLOWS: u32 = 1u;
const FROM_MEMORY: u32 = 2u;
const TO_MEMORY: u32 = 4u;

// Whether sweeps of the group can have local flows: without them the program needs fewer registers, and more of it runs at
// once.
override HAS_FLOWS: bool = true;

struct Sweep {
    flows: array<Flow, 2>,
    n_flows: u32,
    first_stage: u32,
    n_stages: u32,
    // Where the tables of the ending and of the beginning flow start.
    base_before: u32,
    base_after: u32,
}

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
@group(0) @binding(1) var<storage, read> tables: array<vec2f>;
@group(0) @binding(2) var<storage, read> stages: array<Stage>;
var<immediate> sweep: Sweep;

var<workgroup> tile: array<vec2f, TILE_LEN>;
// The rows of the work item, and V on them.
var<private> x: array<vec2f, 27>;
var<private> v: array<f32, 27>;

// Where a work item's rows are.
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
    // Which block of the stage, and which item of its block.
    block: u32,
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
            switch stage.radix {
                case 1u: { work_1(stage, item); }
                case 2u: { if HAS_2 { work_2(stage, item); } }
                case 3u: { if HAS_3 { work_3(stage, item); } }
                case 4u: { if HAS_4 { work_4(stage, item); } }
                case 5u: { if HAS_5 { work_5(stage, item); } }
                case 8u: { if HAS_8 { work_8(stage, item); } }
                case 9u: { if HAS_9 { work_9(stage, item); } }
                case 16u: { if HAS_16 { work_16(stage, item); } }
                default: { if HAS_27 { work_27(stage, item); } }
            }
        }
    }
}

fn item_of(stage: Stage, work: u32, per_lane: u32, origin: u32, n_lanes: u32) -> Item {
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
        block,
        position,
    );
}

fn slot(item: Item, k: u32) -> u32 {
    let row = item.row + k * item.row_step;
    return (row + (row >> PAD_SHIFT)) * ROW_PITCH + item.lane * LANE_PITCH;
}

fn node_of(item: Item, k: u32) -> u32 {
    return item.node + k * item.node_step;
}

// Start of a stage's table for an item: phases belong to blocks, twiddles to the position in the block.
fn table_of(stage: Stage, item: Item, op: u32, base: u32, table: u32) -> u32 {
    let start = base + table;
    if op == MIDDLE {
        return start + item.block * stage.table_step;
    }
    return start + item.position * stage.radix;
}
