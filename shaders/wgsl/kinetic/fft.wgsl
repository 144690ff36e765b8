// The stages of longer axes, twin of systems/kernels/src/kinetic/fft.rs: butterflies, twiddles and phases of one work
// item in registers. Invariant: as in the twin, `MIDDLE` is the last forward stage, the phases and the first inverse
// stage; a whole axis that fits the registers is a `MIDDLE` stage by itself.
// The entry before a table of phases is near all of them, the entries are what is left: of what a mode is multiplied
// with, the small part keeps its digits.
// Source: Cooley & Tukey 1965; tables are rounded once on the host.

// v·(near + w), the small products first.
fn times_near(v: vec2f, near: f32, w: vec2f) -> vec2f {
    return fma(v, vec2f(near), vec2f(fma(v.x, w.x, -v.y * w.y), fma(v.x, w.y, v.y * w.x)));
}

fn work_1(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        x[0] = tile[slot(item, 0u)];
    } else if item.is_inside {
        x[0] = psi[node_of(item, 0u)];
    }
    if has_flows {
        v[0] = potential_at(node_of(item, 0u));
    }
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            x[0] = flow_of(flow, x[0], v[0], node_of(item, 0u));
        }
    }
    if !item.to_memory {
        tile[slot(item, 0u)] = x[0];
    } else if item.is_inside {
        psi[node_of(item, 0u)] = x[0];
    }
}

fn apply_2(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_2();
            for (var k = 0u; k < 2u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            dft_2();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_2();
            for (var k = 1u; k < 2u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 2u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            dft_2();
        }
        default: {}
    }
}

fn work_2(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 2u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 2u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 2u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_2(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 2u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_2(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 2u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 2u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_3(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case RINGS: {
            rings_3(base + table);
        }
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_3();
            for (var k = 0u; k < 3u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_3();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_3();
            for (var k = 1u; k < 3u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 3u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            idft_3();
        }
        default: {}
    }
}

fn work_3(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 3u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 3u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 3u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_3(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 3u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_3(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 3u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 3u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_4(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_4();
            for (var k = 0u; k < 4u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_4();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_4();
            for (var k = 1u; k < 4u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 4u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            idft_4();
        }
        default: {}
    }
}

fn work_4(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 4u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 4u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 4u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_4(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 4u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_4(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 4u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 4u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_5(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_5(-1.0);
            for (var k = 0u; k < 5u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            dft_5(1.0);
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_5(-1.0);
            for (var k = 1u; k < 5u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 5u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            dft_5(1.0);
        }
        default: {}
    }
}

fn work_5(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 5u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 5u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 5u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_5(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 5u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_5(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 5u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 5u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_8(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_8();
            for (var k = 0u; k < 8u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_8();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_8();
            for (var k = 1u; k < 8u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 8u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            idft_8();
        }
        default: {}
    }
}

fn work_8(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 8u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 8u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 8u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_8(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 8u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_8(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 8u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 8u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_9(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case RINGS: {
            rings_9(base + table);
        }
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_9();
            for (var k = 0u; k < 9u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_9();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_9();
            for (var k = 1u; k < 9u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 9u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            idft_9();
        }
        default: {}
    }
}

fn work_9(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 9u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 9u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 9u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_9(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 9u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_9(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 9u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 9u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_16(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_16();
            for (var k = 0u; k < 16u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_16();
        }
        case FORWARD: {
            let twiddles = table_of(stage, item, op, base, table);
            dft_16();
            for (var k = 1u; k < 16u; k++) { // unroll
                x[k] = rotate_back(x[k], tables[twiddles + k]);
            }
        }
        case INVERSE: {
            let twiddles = table_of(stage, item, op, base, table);
            for (var k = 1u; k < 16u; k++) { // unroll
                x[k] = rotate(x[k], tables[twiddles + k]);
            }
            idft_16();
        }
        default: {}
    }
}

fn work_16(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 16u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 16u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 16u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_16(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 16u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_16(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 16u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 16u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}

fn apply_27(stage: Stage, item: Item, op: u32, base: u32, table: u32) {
    switch op {
        case RINGS: {
            rings_27(base + table);
        }
        case MIDDLE: {
            let phases = table_of(stage, item, op, base, table);
            let near = tables[base + table - 1u].x;
            dft_27();
            for (var k = 0u; k < 27u; k++) { // unroll
                x[k] = times_near(x[k], near, tables[phases + k]);
            }
            idft_27();
        }
        default: {}
    }
}

fn work_27(stage: Stage, item: Item) {
    let has_flows = HAS_FLOWS && (stage.flags & FLOWS) != 0u && item.is_inside;
    if !item.from_memory {
        for (var k = 0u; k < 27u; k++) { // unroll
            x[k] = tile[slot(item, k)];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 27u; k++) { // unroll
            x[k] = psi[node_of(item, k)];
        }
    }
    if has_flows {
        for (var k = 0u; k < 27u; k++) { // unroll
            v[k] = potential_at(node_of(item, k));
        }
    }
    apply_27(stage, item, stage.before, sweep.base_before, stage.table_before);
    if has_flows {
        for (var f = 0u; f < sweep.n_flows; f++) {
            let flow = sweep.flows[f];
            for (var k = 0u; k < 27u; k++) { // unroll
                x[k] = flow_of(flow, x[k], v[k], node_of(item, k));
            }
        }
    }
    apply_27(stage, item, stage.after, sweep.base_after, stage.table_after);
    if !item.to_memory {
        for (var k = 0u; k < 27u; k++) { // unroll
            tile[slot(item, k)] = x[k];
        }
    } else if item.is_inside {
        for (var k = 0u; k < 27u; k++) { // unroll
            psi[node_of(item, k)] = x[k];
        }
    }
}
