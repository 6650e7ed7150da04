//! Every kernel for every shape stays within what every adapter has, and within lavapipe's loop budget.

use super::{Entry, filters, others};
use crate::graph::limits::Needs;

/// lavapipe of Mesa 22.3 silently ends a loop after about 65,535 iterations, summed over an invocation's loops.
const MOST_ITERATIONS: u64 = 60_000;
/// Frames that `compact_live` is given at most.
const MOST_GATED_FRAMES: u64 = 65_536;
/// Steps of the longest graph that is thought of here.
const MOST_STEPS: u64 = 256;

#[test]
fn every_kernel_runs_on_every_adapter() {
    for entry in filters().into_iter().chain(others()) {
        let (module, info, index) = entry.resolve();
        let needs = Needs::of(&module, &info, index);
        needs.check().unwrap_or_else(|problem| panic!("{}: {problem}", entry.name));
        assert!(needs.invocations >= 32 && needs.storage_buffers >= 2, "{} is measured: {needs:?}", entry.name);
    }
}

#[test]
fn the_largest_filter_fills_the_workgroup_memory() {
    let largest = filters().into_iter().map(|entry| {
        let (module, info, index) = entry.resolve();
        Needs::of(&module, &info, index).workgroup_bytes
    });
    assert_eq!(largest.max(), Some(16 * 1024), "2048 complex values: what is measured is the tile");
}

fn loops_in(block: &naga::Block) -> usize {
    let nested = |statement: &naga::Statement| match statement {
        naga::Statement::Loop { body, continuing, .. } => 1 + loops_in(body) + loops_in(continuing),
        naga::Statement::If { accept, reject, .. } => loops_in(accept) + loops_in(reject),
        naga::Statement::Block(block) => loops_in(block),
        naga::Statement::Switch { cases, .. } => cases.iter().map(|case| loops_in(&case.body)).sum(),
        _ => 0,
    };
    block.iter().map(nested).sum()
}

/// (function or entry point, loops in it), those that have any.
fn loops(wgsl: &str) -> Vec<(String, usize)> {
    let module = naga::front::wgsl::parse_str(wgsl).expect("our kernels should parse");
    let functions = module
        .functions
        .iter()
        .map(|(_, function)| (function.name.clone().unwrap_or_default(), loops_in(&function.body)));
    let entries = module.entry_points.iter().map(|entry| (entry.name.clone(), loops_in(&entry.function.body)));
    functions.chain(entries).filter(|(_, loops)| *loops > 0).collect()
}

// The bounds below are sums over the loops that the shaders have today, each with its trip count from the constants.
// This test fails when a loop comes or goes: count it below then.
#[test]
fn the_loops_are_those_that_are_counted_here() {
    let named = |pairs: &[(&str, usize)]| -> Vec<(String, usize)> {
        pairs.iter().map(|(name, loops)| ((*name).to_owned(), *loops)).collect()
    };
    let filter = named(&[
        ("forward_pass_8", 1),
        ("inverse_pass_8", 1),
        ("innermost_pass_4", 1),
        ("innermost_pass_2", 1),
        ("forward_axis", 1),
        ("inverse_axis", 1),
        // One or the other of them runs.
        ("load_tile", 2),
        ("multiply_spectrum", 1),
        ("store_powers", 1),
        ("phi_resolvent", 4),
    ]);
    assert_eq!(loops(&filters()[0].wgsl), filter);
    let [gate, _, gather] = &others()[..] else { panic!("there are three others") };
    assert_eq!(loops(&gate.wgsl), named(&[("max_abs_gate", 2), ("compact_live", 6)]));
    assert_eq!(loops(&gather.wgsl), named(&[("gather_frames", 1)]));
}

/// Iterations of an invocation of the filter, all loops together.
fn filter_iterations(entry: &Entry) -> u64 {
    let [workgroup, tile, len, rows, split, measure] =
        ["WORKGROUP_SIZE", "TILE_LEN", "LEN_LOG2", "ROWS_LOG2", "SPLIT", "MEASURE"].map(|name| entry.constant(name));
    let shared = |items: u64| items.div_ceil(workgroup);
    let axis = |axis_log2: u64| {
        let innermost = [0, shared(tile / 2), shared(tile / 4)][(axis_log2 % 3) as usize];
        axis_log2 / 3 * (1 + shared(tile / 8)) + innermost
    };
    let one_way = axis(rows) + axis(len - rows);
    let half = 1 + shared(tile) + 2 * one_way + shared(tile) + split * 8;
    let store = if split == 1 { 8 } else { shared(tile) };
    (1 + split) * half + store + measure * workgroup
}

#[test]
fn loops_stay_within_the_budget() {
    for entry in filters() {
        let iterations = filter_iterations(&entry);
        assert!((10..MOST_ITERATIONS).contains(&iterations), "{}: {iterations} iterations", entry.name);
    }
    // Quads of the longest frame over 64 invocations, then a tree.
    let max_abs = (8192_u64 / 4).div_ceil(64) + 6;
    // Three walks over a run of frames, two scans over 256 invocations, one walk over the dispatches.
    let compact = 3 * MOST_GATED_FRAMES.div_ceil(256) + 2 * 8 + MOST_STEPS.div_ceil(256);
    let gather = 8192_u64.div_ceil(64);
    for (name, iterations) in [("max_abs_gate", max_abs), ("compact_live", compact), ("gather_frames", gather)] {
        assert!(iterations < MOST_ITERATIONS, "{name}: {iterations} iterations");
    }
}
