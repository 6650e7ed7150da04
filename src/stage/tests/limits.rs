//! Every kernel for every shape stays within what every adapter has, and within lavapipe's loop budget.

use super::{Entry, Layer, filters, first_of_each_text, layer_entries, layers, others, transforms};
use crate::graph::limits::Needs;
use crate::graph::loops::{MOST_BARRIER_TURNS, MOST_TURNS};
use crate::stage::denoise::kernel;
use crate::stage::denoise::program::Work;

/// lavapipe of Mesa 22.3 silently ends a loop after about 65,535 iterations, summed over an invocation's loops.
const MOST_ITERATIONS: u64 = 60_000;
/// Frames that `compact_live` is given at most.
const MOST_GATED_FRAMES: u64 = 65_536;
/// Steps of the longest graph that is thought of here.
const MOST_STEPS: u64 = 256;

#[test]
fn every_kernel_runs_on_every_adapter() {
    let layers = layers().into_iter().map(|layer| layer.entry);
    for entry in filters().into_iter().chain(transforms()).chain(others()).chain(layers) {
        let (module, info, index) = entry.resolve();
        let needs = Needs::of(&module, &info, index);
        needs.check().unwrap_or_else(|problem| panic!("{}: {problem}", entry.name));
        assert!(needs.invocations >= 4 && needs.storage_buffers >= 2, "{} is measured: {needs:?}", entry.name);
    }
}

#[test]
fn the_largest_layers_fill_the_workgroup_memory() {
    for entry in ["spectrum", "mask_spectrum", "keep_ends", "lstm", "gru"] {
        let same = layers().into_iter().map(|layer| layer.entry).filter(|layer| layer.entry == entry);
        let largest = same.map(|layer| {
            let (module, info, index) = layer.resolve();
            Needs::of(&module, &info, index).workgroup_bytes
        });
        // 4032 samples are the most that whole hops leave of 4096.
        let expected = if entry == "keep_ends" { 4032 * 4 } else { 16 * 1024 };
        assert_eq!(largest.max(), Some(expected), "{entry}");
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
        ("open_windows", 1),
        ("forward_pass_8", 1),
        ("inverse_pass_8", 1),
        ("innermost_pass_4", 1),
        ("innermost_pass_2", 1),
        ("forward_axis", 1),
        ("inverse_axis", 1),
        ("multiply_spectrum", 1),
        ("take_leaf", 1),
        ("give_leaf", 1),
        ("filter_leaf_pair", 2),
        ("filter_leaf", 1),
        ("filter_in_leaves", 4),
        ("store_powers", 1),
        ("phi_resolvent", 3),
    ]);
    let fourier = named(&[
        ("forward_pass_8", 1),
        ("inverse_pass_8", 1),
        ("innermost_pass_4", 1),
        ("innermost_pass_2", 1),
        ("forward_axis", 1),
        ("inverse_axis", 1),
        ("fourier", 1),
    ]);
    for (entries, counted, texts) in [(filters(), filter, 4), (transforms(), fourier, 2)] {
        let entries = first_of_each_text(entries);
        assert_eq!(
            entries.len(),
            texts,
            "of one window and of two, the filter of the latter with leaves of three lengths"
        );
        for entry in entries {
            assert_eq!(loops(&entry.wgsl), counted, "{}", entry.name);
        }
    }
    let [gate, _, gather, delay] = &others()[..] else { panic!("there are four others") };
    assert_eq!(loops(&gate.wgsl), named(&[("max_abs_gate", 2), ("compact_live", 6)]));
    assert_eq!(loops(&gather.wgsl), named(&[("gather_frames", 1)]));
    assert_eq!(loops(&delay.wgsl), named(&[("power_at", 1), ("estimate_delay", 8)]));
}

/// Iterations of an invocation of the filter, all loops together.
fn filter_iterations(entry: &Entry) -> u64 {
    let [workgroup, tile, len, rows, split, measure] =
        ["WORKGROUP_SIZE", "TILE_LEN", "LEN_LOG2", "ROWS_LOG2", "SPLIT", "MEASURE"].map(|name| entry.constant(name));
    let shared = |items: u64| items.div_ceil(workgroup);
    let (is_complex, in_leaves) = (entry.constant("COMPLEX_SAMPLES") == 1, entry.constant("LEAVES_TOGETHER") == 1);
    // The first or the last pass opens its butterflies as well: two windows each.
    let pass = |radix: u64| shared(tile / radix) * (1 + 2);
    let axis = |axis_log2: u64| {
        let innermost = [0, pass(2), pass(4)][(axis_log2 % 3) as usize];
        axis_log2 / 3 * (1 + pass(8)) + innermost
    };
    if in_leaves {
        let leaf_log2: u64 = [3, 1, 2][(len % 3) as usize];
        let row = 1 << leaf_log2;
        let passes = 2 * ((len - leaf_log2) / 3) * (1 + pass(8));
        // A row is taken, multiplied and given; of two that mirror each other, the halves are multiplied together.
        let rows = if is_complex { shared(tile / row) * (1 + 3 * row) } else { shared(tile / row / 2) * (1 + 5 * row) };
        return passes + rows + measure * workgroup;
    }
    let one_way = axis(rows) + axis(len - rows);
    let half = 1 + 2 * one_way + shared(tile) + split * 8;
    (1 + split) * half + split * 8 + measure * workgroup
}

/// The same of the transform: one way, then each invocation puts its values in order.
fn fourier_iterations(entry: &Entry) -> u64 {
    let [workgroup, tile, len] = ["WORKGROUP_SIZE", "TILE_LEN", "LEN_LOG2"].map(|name| entry.constant(name));
    let shared = |items: u64| items.div_ceil(workgroup);
    let innermost = [0, shared(tile / 2), shared(tile / 4)][(len % 3) as usize];
    len / 3 * (1 + shared(tile / 8)) + innermost + shared(tile)
}

#[test]
fn loops_stay_within_the_budget() {
    let filters = filters().into_iter().map(|entry| (filter_iterations(&entry), entry));
    let transforms = transforms().into_iter().map(|entry| (fourier_iterations(&entry), entry));
    for (iterations, entry) in filters.chain(transforms) {
        assert!((10..MOST_ITERATIONS).contains(&iterations), "{}: {iterations} iterations", entry.name);
    }
    // Quads of the longest frame over 64 invocations, then a tree.
    let max_abs = (8192_u64 / 4).div_ceil(64) + 6;
    // Three walks over a run of frames, two scans over 256 invocations, one walk over the dispatches.
    let compact = 3 * MOST_GATED_FRAMES.div_ceil(256) + 2 * 8 + MOST_STEPS.div_ceil(256);
    let gather = 8192_u64.div_ceil(64);
    // Bins and sums over 64 invocations, a walk over the bins for each point of the widest grid, then Newton's method.
    let others = [max_abs, compact, gather];
    for (name, iterations) in ["max_abs_gate", "compact_live", "gather_frames"].into_iter().zip(others) {
        assert!(iterations < MOST_ITERATIONS, "{name}: {iterations} iterations");
    }
    let delay = 2 * 1024 / 64 + 2 * 64 + (2 * (2 * 256 + 2_u64)).div_ceil(64) * (1 + 1024) + 6 * (1 + 1024 / 64 + 64);
    // A custom kernel, some of whose loops have barriers.
    let most = u64::from(MOST_TURNS - MOST_BARRIER_TURNS);
    assert!(delay < most, "estimate_delay: {delay} iterations of {most}");
}

#[test]
fn the_loops_of_the_layers_are_those_that_are_counted_here() {
    let expected: [(&str, &[(&str, usize)]); 12] = [
        ("dense", &[("make_tile", 3)]),
        ("dense_int8", &[("make_tile", 3)]),
        ("frame_windows", &[]),
        ("gru", RECURRENT_LOOPS),
        ("keep_ends", &[("with_windows", 1), ("keep_ends", 4)]),
        ("layer_norm", &[("sum_of_all", 1), ("layer_norm", 3)]),
        ("lstm", RECURRENT_LOOPS),
        ("mask_features", &[]),
        (
            "mask_spectrum",
            &[("next_factor", 1), ("pass_4", 1), ("pass_any", 2), ("transform", 1), ("mask_spectrum", 2)],
        ),
        ("overlap_add", &[("with_windows", 1), ("keep_ends", 4)]),
        ("quantise", &[("quantise", 3)]),
        ("spectrum", &[("next_factor", 1), ("pass_4", 1), ("pass_any", 2), ("transform", 1), ("spectrum", 2)]),
    ];
    for (layer, (entry, counted)) in layer_entries().iter().zip(expected) {
        let counted: Vec<(String, usize)> = counted.iter().map(|(name, loops)| ((*name).to_owned(), *loops)).collect();
        assert_eq!((layer.entry.entry.as_str(), loops(&layer.entry.wgsl)), (entry, counted));
    }
}

const RECURRENT_LOOPS: &[(&str, usize)] =
    // `advance_unit` or the one in integers is run.
    &[("publish", 1), ("load_states", 1), ("advance_unit_whole", 1), ("advance_unit", 1), ("walk", 2)];

/// Iterations of an invocation of a transform of `window_len` real samples by 64 invocations.
fn transform_iterations(window_len: u64) -> u64 {
    let len = window_len / 2;
    let (mut rest, mut iterations) = (len, 0);
    while rest > 1 {
        let factor = if rest % 4 == 0 { 4 } else { (2..=rest).find(|factor| rest % factor == 0).unwrap_or(rest) };
        // The search for the factor, and the pass.
        iterations += 1 + rest.isqrt();
        iterations += if factor == 4 { (len / 4).div_ceil(64) } else { len.div_ceil(64) * (1 + factor) };
        rest /= factor;
    }
    iterations + 2 * (len + 1).div_ceil(64)
}

/// Iterations of an invocation of a layer, all loops together.
fn layer_iterations(layer: &Layer) -> u64 {
    let entry = &layer.entry;
    let word = |index: usize| u64::from(layer.params[3 + index]);
    match entry.entry.as_str() {
        "frame_windows" | "mask_features" => 0,
        "spectrum" | "mask_spectrum" => transform_iterations(entry.constant("WINDOW_LEN")),
        // 16 inputs at a time; each loads at most 5 quads for two tiles.
        "dense" => word(0).div_ceil(16) * (1 + load_iterations(entry)),
        "dense_int8" => word(1).div_ceil(4) * (1 + load_iterations(entry)),
        "quantise" => word(0).div_ceil(64) + 6 + word(2).div_ceil(64),
        "layer_norm" => 3 * word(0).div_ceil(64) + 2 * 6,
        "overlap_add" => word(0).div_ceil(word(1)),
        "keep_ends" => {
            let kept = (word(0) - word(1)).div_ceil(256);
            kept * (4 + word(0).div_ceil(word(1)))
        }
        "lstm" | "gru" => {
            let Work::Recurrent(tiles) = &layer.work else { panic!("{} walks", entry.name) };
            let channels = entry.constant("CHANNELS");
            let tile = tiles.iter().find(|tile| tile.channels as u64 == channels).expect("it is one of them");
            let (before, each) = tile.iterations();
            (before + each * layer.most_hops.min(tile.most_hops())) as u64
        }
        other => panic!("the loops of `{other}` should be counted"),
    }
}

fn load_iterations(entry: &Entry) -> u64 {
    let [workgroup, rows, outputs] = ["WORKGROUP_SIZE", "ROW_LANES", "OUTPUT_LANES"].map(|name| entry.constant(name));
    (16 * rows).div_ceil(workgroup) + (16 * outputs).div_ceil(workgroup)
}

#[test]
fn loops_of_the_layers_stay_within_the_budget() {
    assert_eq!(kernel::MOST_ITERATIONS as u64, MOST_ITERATIONS, "one budget");
    let mut longest = 0;
    for layer in layers() {
        let iterations = layer_iterations(&layer);
        assert!(iterations < MOST_ITERATIONS, "{}: {iterations} iterations", layer.entry.name);
        assert!(layer.most_hops > 0 && layer.hop > 0, "{} gets on", layer.entry.name);
        longest = longest.max(iterations);
    }
    assert!(longest > MOST_ITERATIONS / 2, "recurrent layers walk as far as they may: {longest}");
}

/// The largest window whose half is a prime: its one pass takes every value for every bin.
#[test]
fn the_slowest_transform_stays_within_the_budget() {
    let slowest = (16..=2048).step_by(2).map(transform_iterations).max();
    assert!(slowest.is_some_and(|iterations| (10_000..MOST_ITERATIONS).contains(&iterations)), "{slowest:?}");
}
