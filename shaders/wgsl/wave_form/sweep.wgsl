// The axes of the wave form, twin of systems/kernels/src/wave_form/sweep.rs: one stage of one axis, or up to three rings
// of three, in registers. Invariant: `FORWARD` leaves the modes in digit-reversed order, `INVERSE` takes them in that
// order; neither scales, the turn applies the weights.
// Source: as in kinetic/dft.wgsl; rings by (a, b, c) → (a + b + c, a − (b + c)/2, b − c), weights 1/3, 2/3, 1/2.

fn ring_modes(a: vec2f, b: vec2f, c: vec2f) -> Three {
    let s = b + c;
    return Three(a + s, fma(vec2f(-0.5), s, a), b - c);
}

fn ring_nodes(a: vec2f, b: vec2f, c: vec2f) -> Three {
    let s = fma(vec2f(-0.5), b, a);
    return Three(a + b, s + c, s - c);
}

fn rings_modes_3() {
    let y = ring_modes(x[0], x[1], x[2]);
    x[0] = y.a;
    x[1] = y.b;
    x[2] = y.c;
}

fn rings_modes_9() {
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = ring_modes(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = ring_modes(x[i], x[i + 3u], x[i + 6u]);
        x[i] = y.a;
        x[i + 3u] = y.b;
        x[i + 6u] = y.c;
    }
}

fn rings_modes_27() {
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = ring_modes(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var i = 0u; i < 3u; i++) { // unroll
            let y = ring_modes(x[9u * o + i], x[9u * o + i + 3u], x[9u * o + i + 6u]);
            x[9u * o + i] = y.a;
            x[9u * o + i + 3u] = y.b;
            x[9u * o + i + 6u] = y.c;
        }
    }
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = ring_modes(x[i], x[i + 9u], x[i + 18u]);
        x[i] = y.a;
        x[i + 9u] = y.b;
        x[i + 18u] = y.c;
    }
}

fn rings_nodes_3() {
    let y = ring_nodes(x[0], x[1], x[2]);
    x[0] = y.a;
    x[1] = y.b;
    x[2] = y.c;
}

fn rings_nodes_9() {
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = ring_nodes(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var i = 0u; i < 3u; i++) { // unroll
        let y = ring_nodes(x[i], x[i + 3u], x[i + 6u]);
        x[i] = y.a;
        x[i + 3u] = y.b;
        x[i + 6u] = y.c;
    }
}

fn rings_nodes_27() {
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = ring_nodes(x[3u * i], x[3u * i + 1u], x[3u * i + 2u]);
        x[3u * i] = y.a;
        x[3u * i + 1u] = y.b;
        x[3u * i + 2u] = y.c;
    }
    for (var o = 0u; o < 3u; o++) { // unroll
        for (var i = 0u; i < 3u; i++) { // unroll
            let y = ring_nodes(x[9u * o + i], x[9u * o + i + 3u], x[9u * o + i + 6u]);
            x[9u * o + i] = y.a;
            x[9u * o + i + 3u] = y.b;
            x[9u * o + i + 6u] = y.c;
        }
    }
    for (var i = 0u; i < 9u; i++) { // unroll
        let y = ring_nodes(x[i], x[i + 9u], x[i + 18u]);
        x[i] = y.a;
        x[i + 9u] = y.b;
        x[i + 18u] = y.c;
    }
}

fn transform_2(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 2u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case FORWARD: {
            dft_2();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 2u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 2u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            dft_2();
        }
    }
    for (var k = 0u; k < 2u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_3(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 3u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case RINGS_FORWARD: { rings_modes_3(); }
        case RINGS_INVERSE: { rings_nodes_3(); }
        case FORWARD: {
            dft_3();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 3u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 3u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            idft_3();
        }
    }
    for (var k = 0u; k < 3u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_4(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 4u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case FORWARD: {
            dft_4();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 4u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 4u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            idft_4();
        }
    }
    for (var k = 0u; k < 4u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_5(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 5u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case FORWARD: {
            dft_5(-1.0);
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 5u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 5u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            dft_5(1.0);
        }
    }
    for (var k = 0u; k < 5u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_8(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 8u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case FORWARD: {
            dft_8();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 8u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 8u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            idft_8();
        }
    }
    for (var k = 0u; k < 8u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_9(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 9u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case RINGS_FORWARD: { rings_modes_9(); }
        case RINGS_INVERSE: { rings_nodes_9(); }
        case FORWARD: {
            dft_9();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 9u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 9u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            idft_9();
        }
    }
    for (var k = 0u; k < 9u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}

fn transform_27(stage: WaveStage, item: Item, field: u32) {
    for (var k = 0u; k < 27u; k++) { // unroll
        x[k] = taken(item, field, k);
    }
    switch stage.code {
        case RINGS_FORWARD: { rings_modes_27(); }
        case RINGS_INVERSE: { rings_nodes_27(); }
        case FORWARD: {
            dft_27();
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 27u; k++) { // unroll
                    x[k] = rotate_back(x[k], twiddle(stage, item, k));
                }
            }
        }
        default: {
            if stage.table != NO_TABLE {
                for (var k = 1u; k < 27u; k++) { // unroll
                    x[k] = rotate(x[k], twiddle(stage, item, k));
                }
            }
            idft_27();
        }
    }
    for (var k = 0u; k < 27u; k++) { // unroll
        give(item, field, k, x[k]);
    }
}
