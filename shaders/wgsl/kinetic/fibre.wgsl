// Lines with a small matrix, twin of systems/kernels/src/kinetic/fibre.rs: U − 1 as a matrix, or as the coefficients of
// a circulant one where D is constant along the line.
// Invariant: a work group holds whole lines in its memory, so a pass works in place; increments are summed in the order
// of the nodes and added once.

override THREADS: u32 = 128u;
override TILE_LEN: u32 = 2048u;

var<workgroup> tile: array<vec2f, TILE_LEN>;

// Row and lane of a work item.
fn split(item: u32, lanes_first: bool) -> vec2u {
    if lanes_first {
        let row = item / lines.lanes;
        return vec2u(row, item - row * lines.lanes);
    }
    let lane = item / lines.rows;
    return vec2u(item - lane * lines.rows, lane);
}

@compute @workgroup_size(THREADS)
fn dense(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) n_groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = (group.x + group.y * n_groups.x) * lines.lanes;
    let n_items = lines.rows * lines.lanes;
    for (var item = thread; item < n_items; item += THREADS) {
        let at = split(item, lines.stride > 1u);
        if first + at.y < lines.n_lines {
            tile[at.x * lines.lanes + at.y] = psi[node_at(line_at(first + at.y), at.x)];
        }
    }
    workgroupBarrier();
    for (var item = thread; item < n_items; item += THREADS) {
        let at = split(item, lines.lanes_first != 0u);
        let index = first + at.y;
        if index < lines.n_lines {
            let table = table_at(index);
            var sum = vec2f();
            if lines.kind == MATRIX {
                for (var j = 0u; j < lines.rows; j++) {
                    sum += times(tile[j * lines.lanes + at.y], tables[table + j * lines.rows + at.x]);
                }
            } else {
                var d = at.x;
                for (var j = 0u; j < lines.rows; j++) {
                    sum += times(tile[j * lines.lanes + at.y], tables[table + d]);
                    d = select(d, lines.rows, d == 0u) - 1u;
                }
            }
            psi[node_at(line_at(index), at.x)] = tile[at.x * lines.lanes + at.y] + sum;
        }
    }
}
