// Where a workgroup stands in its dispatch. Shared source: no bindings, no entry point. Included first by every file
// with an entry point, and put behind the kernels that users bring (src/graph/custom.rs).

// Workgroups beyond one dimension's limit go to y; this is the flat index of the one that runs.
fn flat_workgroup(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}
