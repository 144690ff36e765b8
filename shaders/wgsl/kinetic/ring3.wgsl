// Lines of three nodes in registers, twin of systems/kernels/src/kinetic/ring3.rs and of sparse/triple.rs.
// Invariant: increments are summed among themselves and added once; on a closed ring what leaves one node enters the
// other. Source: the twins.

@compute @workgroup_size(64)
fn three(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let index = id.x + id.y * n_groups.x * 64u;
    if index >= lines.n_lines {
        return;
    }
    let line = line_at(index);
    let a = node_at(line, 0u);
    let b = node_at(line, 1u);
    let c = node_at(line, 2u);
    let x = psi[a];
    let y = psi[b];
    let z = psi[c];
    let table = table_at(index);
    if lines.kind == RING {
        let xy = times(y - x, tables[table]);
        let yz = times(z - y, tables[table + 1u]);
        let zx = times(x - z, tables[table + 2u]);
        psi[a] = x + (xy - zx);
        psi[b] = y + (yz - xy);
        psi[c] = z + (zx - yz);
    } else {
        let sum = x + z;
        let edge = tables[table + 2u];
        let even = times(sum, tables[table]) + times(y, edge);
        let odd = times(x - z, tables[table + 1u]);
        let middle = times(sum, edge) + times(y, tables[table + 3u]);
        psi[a] = x + (even + odd);
        psi[b] = y + middle;
        psi[c] = z + (even - odd);
    }
}
