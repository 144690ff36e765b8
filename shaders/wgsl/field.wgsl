// Local flows on every node, twin of the pages of systems/kernels/src/field.rs: the number of nodes is known when it
// runs, because pages come and go.
// Invariant: each node is read and written once, by one thread; flows follow each other in registers, so the bits do
// not depend on how many of them share the pass.

struct Local {
    flows: array<Flow, 2>,
    n_flows: u32,
    n_nodes: u32,
}

@group(0) @binding(0) var<storage, read_write> psi: array<vec2f>;
var<immediate> local_flows: Local;

@compute @workgroup_size(64)
fn advance(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n_groups: vec3u) {
    let node = id.x + id.y * n_groups.x * 64u;
    if node >= local_flows.n_nodes {
        return;
    }
    let v = potential_at(node);
    var x = psi[node];
    for (var k = 0u; k < local_flows.n_flows; k++) {
        x = flow_of(local_flows.flows[k], x, v, node);
    }
    psi[node] = x;
}
