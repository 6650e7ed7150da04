//! Kernels that users bring: the device and the closure compute the same, wherever the gate stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auricle::stage::denoise::model::Model;
use auricle::{
    CustomKernel, Denoise, Error, FilterMode, FrameShape, FrameState, Gate, Graph, JobOptions, Layout, PhiResolvent,
    Quiet, RunOutput, StreamOptions, Threshold,
};

use crate::adapter::{engines, plans};
use crate::compare::assert_same_bits;
use crate::signals::{bursts, noise};

/// Bindings and entry point around `body`, which computes `value` of float `i` of frame `frame`.
pub(crate) fn wgsl(fields: &str, sources: usize, body: &str) -> String {
    let source = |index| format!("@group(0) @binding({}) var<storage, read> source_{index}: array<f32>;\n", index + 1);
    let sources_text: String = (0..sources).map(source).collect();
    let result = sources + 1;
    format!(
        "struct Params {{ count: u32, frame_len: u32, {fields} }}
         @group(0) @binding(0) var<uniform> params: Params;
         {sources_text}
         @group(0) @binding({result}) var<storage, read_write> result: array<f32>;
         @compute @workgroup_size(64)
         fn compute(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {{
             let frame = flat_workgroup(id, count);
             if frame >= params.count {{ return; }}
             for (var i = lane; i < params.frame_len; i += 64u) {{
                 var value = 0.0;
                 {body}
                 result[frame * params.frame_len + i] = value;
             }}
         }}"
    )
}

/// Exact in f32, so that every device gives the same bits: a product with a power of two, and a sign.
fn gain() -> CustomKernel {
    let body = "value = params.gain * f32(params.sign) * source_0[frame * params.frame_len + i];";
    CustomKernel::new(&wgsl("gain: f32, sign: i32, unused: u32", 1, body), |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = -4.0 * x);
    })
    .param(4.0_f32)
    .param(-1_i32)
    .param(7_u32)
}

/// The largest of each of `parts` equal parts of a frame.
fn peaks(len: usize, parts: usize) -> CustomKernel {
    let part = len / parts;
    let body = format!(
        "for (var k = 0u; k < {part}u; k++) {{ value = max(value, abs(source_0[frame * {len}u + i * {part}u + k])); }}"
    );
    CustomKernel::new(&wgsl("", 1, &body), move |sources, result| {
        for (peak, part) in result.iter_mut().zip(sources[0].chunks(part)) {
            *peak = part.iter().fold(0.0, |peak, x| x.abs().max(peak));
        }
    })
    .result_shape(FrameShape::real(parts))
}

fn gate(quiet: Quiet) -> Gate {
    Gate { threshold: Threshold::Linear(0.001), quiet, hold: 1, ..Gate::default() }
}

/// Every fourth frame is loud, and the next one is held.
fn samples(frames: usize, floats: usize) -> Vec<f32> {
    bursts(floats, frames, 51, |index| index % 4 == 0)
}

#[test]
fn a_kernel_runs_on_every_frame_of_an_ungated_input() {
    let graph = Graph::new().input("in", FrameShape::complex(64)).kernel("gain", &["in"], gain()).output("out", "gain");
    let samples = noise(128 * 41, 52);
    let expected: Vec<f32> = samples.iter().map(|x| -4.0 * x).collect();
    for (name, plan) in plans(&graph, &[8, 16]) {
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        assert_same_bits(output.dense("out").expect("it is there"), &expected, &name);
    }
}

#[test]
fn results_of_any_length_come_back_for_live_frames() {
    for parts in [1, 7, 64] {
        let len = 448;
        // A kernel may read frames of any length; only the gate and the filter want powers of two.
        let graph = Graph::new()
            .input("in", FrameShape::real(len))
            .kernel("peaks", &["in"], peaks(len, parts))
            .output("out", "peaks");
        let samples = samples(53, len);
        let expected: Vec<f32> =
            samples.chunks(len / parts).map(|part| part.iter().fold(0.0, |peak: f32, x| peak.max(x.abs()))).collect();
        for (name, plan) in plans(&graph, &[16]) {
            let output = plan.run(&[&samples], 1).expect("the run should succeed");
            assert_same_bits(output.dense("out").expect("it is there"), &expected, &format!("{parts} on {name}"));
        }
    }
}

#[test]
fn after_the_gate_only_live_frames_are_worked_on() {
    for (parts, quiet) in [(1, Quiet::Zero), (8, Quiet::Pass), (256, Quiet::Zero), (256, Quiet::Pass)] {
        let graph = Graph::new()
            .input("in", FrameShape::real(256))
            .gate("gate", "in", gate(quiet))
            .kernel("peaks", &["gate"], peaks(256, parts))
            .output("out", "peaks");
        let samples = samples(3 * 31, 256);
        for (name, plan) in plans(&graph, &[16, 64]) {
            let what = format!("{parts} values, {quiet:?} on {name}");
            let output = plan.run(&[&samples], 3).expect("the run should succeed");
            let frames = samples.chunks(256).zip(output.states());
            let expected = |(frame, state): (&[f32], &FrameState)| -> Vec<f32> {
                let peak = |part: &[f32]| part.iter().fold(0.0, |peak: f32, x| peak.max(x.abs()));
                match state {
                    FrameState::Live => frame.chunks(256 / parts).map(peak).collect(),
                    // What passes has the input's shape; there is nothing to pass into another one.
                    FrameState::Quiet if quiet == Quiet::Pass && parts == 256 => frame.to_vec(),
                    _ => vec![0.0; parts],
                }
            };
            let expected: Vec<f32> = frames.flat_map(expected).collect();
            assert_same_bits(output.dense("out").expect("it is there"), &expected, &what);
            let mut packed = RunOutput::new(Layout::Packed);
            plan.run_into(&[&samples], 3, &mut packed).expect("the run should succeed");
            let live: Vec<f32> = packed.live("out").flat_map(|live| live.samples.to_vec()).collect();
            let also: Vec<f32> = output.live("out").flat_map(|live| live.samples.to_vec()).collect();
            assert_same_bits(&live, &also, &format!("packed, {what}"));
            assert!(output.counts().quiet > 0 && output.counts().live > 0, "both kinds are there");
        }
    }
}

#[test]
fn two_sources_of_different_lengths_meet_frame_by_frame() {
    // The gate stands on one input; the frames of the other go with it.
    let body = "value = source_0[frame * params.frame_len + i] - source_1[frame * 2u + (i & 1u)];";
    let subtract = CustomKernel::new(&wgsl("", 2, body), |sources, result| {
        for (i, (y, x)) in result.iter_mut().zip(sources[0]).enumerate() {
            *y = x - sources[1][i & 1];
        }
    });
    let graph = Graph::new()
        .input("offset", FrameShape::real(2))
        .input("in", FrameShape::real(64))
        .gate("gate", "in", gate(Quiet::Zero))
        .kernel("subtract", &["gate", "offset"], subtract)
        .output("out", "subtract");
    let (samples, offsets) = (samples(2 * 35, 64), noise(2 * 2 * 35, 53));
    for (name, plan) in plans(&graph, &[8, 32]) {
        let names: Vec<&str> = plan.inputs().iter().map(|(name, _)| name.as_str()).collect();
        let of = |wanted: &str| if wanted == "in" { samples.as_slice() } else { offsets.as_slice() };
        let inputs: Vec<&[f32]> = names.iter().map(|name| of(name)).collect();
        let output = plan.run(&inputs, 2).expect("the run should succeed");
        let cleaned = output.dense("out").expect("it is there").chunks(64);
        for ((index, frame), result) in samples.chunks(64).enumerate().zip(cleaned) {
            let is_live = output.states()[index] == FrameState::Live;
            let value = |i: usize| if is_live { frame[i] - offsets[2 * index + (i & 1)] } else { 0.0 };
            let expected: Vec<f32> = (0..64).map(value).collect();
            assert_same_bits(result, &expected, &format!("frame {index} on {name}"));
        }
        assert_eq!(output.counts().live, 36, "one in four, and the one after it");
        let short = plan.run(&[&offsets[..2], &samples], 1).expect_err("inputs of different lengths").to_string();
        assert!(short.contains("frames"), "{short}");
    }
}

#[test]
fn kernels_and_filters_chain() {
    let block = PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() };
    let chained = Graph::new()
        .input("in", FrameShape::real(128))
        .gate("gate", "in", gate(Quiet::Zero))
        .kernel("first", &["gate"], gain())
        .filter("filter", "first", block)
        .kernel("second", &["filter"], gain())
        .kernel("peaks", &["filter"], peaks(128, 1))
        .output("out", "second")
        .output("level", "peaks");
    let alone = Graph::new()
        .input("in", FrameShape::real(128))
        .gate("gate", "in", gate(Quiet::Zero))
        .filter("filter", "gate", block)
        .output("out", "filter");
    let samples = samples(45, 128);
    for ((name, chained), (_, alone)) in plans(&chained, &[8]).iter().zip(plans(&alone, &[8])) {
        let (output, filtered) = (chained.run(&[&samples], 1), alone.run(&[&samples], 1));
        let (output, filtered) = (output.expect("the run should succeed"), filtered.expect("the run should succeed"));
        // Gains of -4 are exact, so they come through the filter as they are.
        let filtered = filtered.dense("out").expect("it is there");
        let expected: Vec<f32> = filtered.iter().map(|x| 16.0 * x).collect();
        let actual: Vec<f32> = output.dense("out").expect("it is there").iter().map(|x| x + 0.0).collect();
        let expected: Vec<f32> = expected.iter().map(|x| x + 0.0).collect();
        assert_same_bits(&actual, &expected, name);
        let peak = |frame: &[f32]| frame.iter().fold(0.0, |peak: f32, x| peak.max(4.0 * x.abs()));
        let levels: Vec<f32> = filtered.chunks(128).map(peak).collect();
        assert_same_bits(output.dense("level").expect("it is there"), &levels, name);
    }
}

/// Turns until the source's float, which may be for ever; in a loop within a loop of a function, and in one of the entry point.
fn turning() -> CustomKernel {
    let function = "fn turns(most: f32) -> f32 {
        var done = 0.0;
        loop {
            if done >= most { break; }
            for (var k = 0u; k < 4u && done < most; k++) { done += 1.0; }
        }
        return done;
    }";
    let body = "value = turns(source_0[frame * params.frame_len + i]);
        while value < 0.0 { value = value * 1.0; }";
    CustomKernel::new(&format!("{function}\n{}", wgsl("", 1, body)), |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = x.max(0.0).ceil());
    })
}

#[test]
fn a_loop_that_does_not_end_is_ended_and_named() {
    let graph = Graph::new()
        .input("in", FrameShape::real(64))
        .gate("gate", "in", gate(Quiet::Zero))
        .kernel("turning", &["gate"], turning())
        .output("out", "turning");
    let short: Vec<f32> = (0..64 * 9).map(|n| (n % 40) as f32).collect();
    // With the inner ones 45,000 turns, and 75,000.
    let with = |most: f32| [&short[..100], &[most], &short[101..]].concat();
    for (what, plan) in plans(&graph, &[4, 64]) {
        for samples in [&short, &with(30_000.0)] {
            let output = plan.run(&[samples], 1).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(output.dense("out"), Some(&samples[..]), "{what}");
        }
        if what.starts_with("cpu,") {
            continue;
        }
        for endless in [with(50_000.0), with(f32::MAX)] {
            let error = plan.run(&[&endless], 1).expect_err("it does not end");
            assert!(matches!(&error, Error::CustomKernel { node, .. } if node == "turning"), "{what}: {error:?}");
            assert!(error.to_string().contains("60000 times"), "{what}: {error}");
            let engine = engines().iter().find(|engine| engine.device() == plan.device()).expect("it is there");
            let job = engine.submit(&plan, [endless.clone()], JobOptions::default()).expect("there is room");
            let failed = job.wait().expect_err("it does not end");
            assert!(matches!(failed, Error::CustomKernel { .. }), "{what}: {failed}");
            assert_eq!(engine.health().losses, 0, "{what}: the device is well");
            let output = plan.run(&[&short], 1).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(output.dense("out"), Some(&short[..]), "{what}: it goes on as if nothing had been");
        }
    }
}

/// Loops with barriers turn as often as the frame's first float says, others as often as its second.
fn both_kinds() -> CustomKernel {
    let text = "struct Params { count: u32, frame_len: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> source: array<f32>;
        @group(0) @binding(2) var<storage, read_write> result: array<f32>;
        var<workgroup> shared_turns: u32;
        @compute @workgroup_size(64)
        fn both(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
            let frame = flat_workgroup(id, count);
            if frame >= params.count { return; }
            let most = u32(source[frame * 64u]);
            for (var k = 0u; k < most; k++) {
                if lane == 0u { shared_turns = k + 1u; }
                workgroupBarrier();
            }
            var turns = 0u;
            while f32(turns) < source[frame * 64u + 1u] { turns += 1u; }
            result[frame * 64u + lane] = f32(shared_turns) + 0.5 * f32(turns);
        }";
    CustomKernel::new(text, |sources, result| result.fill(sources[0][0] + 0.5 * sources[0][1]))
}

#[test]
fn loops_with_barriers_and_others_share_the_turns() {
    let graph =
        Graph::new().input("in", FrameShape::real(64)).kernel("both", &["in"], both_kinds()).output("out", "both");
    let frames = |with_barriers: f32, others: f32| {
        let mut frames = vec![1.0; 64 * 3];
        frames[64..66].copy_from_slice(&[with_barriers, others]);
        frames
    };
    for (what, plan) in plans(&graph, &[4]) {
        let samples = frames(19_990.0, 39_990.0);
        let output = plan.run(&[&samples], 1).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected: Vec<f32> = samples.chunks(64).flat_map(|frame| [frame[0] + 0.5 * frame[1]; 64]).collect();
        assert_same_bits(output.dense("out").expect("it is there"), &expected, &what);
        if what.starts_with("cpu,") {
            continue;
        }
        for endless in [frames(20_010.0, 1.0), frames(1.0, 40_010.0)] {
            let error = plan.run(&[&endless], 1).expect_err("there are not so many");
            assert!(matches!(&error, Error::CustomKernel { node, .. } if node == "both"), "{what}: {error:?}");
            assert!(error.to_string().contains("20000 times or the others more than 40000"), "{what}: {error}");
        }
    }
}

const COPY: &str = "value = source_0[frame * params.frame_len + i];";

fn with_one_source(kernel: CustomKernel) -> Graph {
    Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], kernel).output("out", "mine")
}

fn assert_refused(kernel: CustomKernel, parts: &[&str]) {
    for engine in engines() {
        let error = engine.compile(&with_one_source(kernel.clone())).expect_err("it should be refused");
        assert!(matches!(&error, Error::CustomKernel { node, .. } if node == "mine"), "names the node: {error:?}");
        let missing = parts.iter().find(|part| !error.to_string().contains(**part));
        assert_eq!(missing, None, "{error}");
    }
}

#[test]
fn sizes_that_32_bits_cannot_hold_are_refused() {
    let invocations = wgsl("", 1, COPY).replace("@workgroup_size(64)", "@workgroup_size(16384, 16384, 16)");
    assert_refused(CustomKernel::new(&invocations, |_, _| {}), &["invocations in a workgroup", "at most 256"]);
    // 4 GiB together, to the byte.
    let arrays = "var<workgroup> one: array<u32, 0x1FFFFFFF>;
        var<workgroup> other: array<u32, 0x1FFFFFFF>;
        var<workgroup> last: array<u32, 2>;";
    let body = "one[lane] = 1u; other[lane] = 2u; last[lane & 1u] = 3u;
        value = f32(one[lane] + other[lane] + last[lane & 1u]);";
    let memory = format!("{arrays}\n{}", wgsl("", 1, body));
    assert_refused(CustomKernel::new(&memory, |_, _| {}), &["bytes of workgroup memory", "at most 16384"]);
}

#[test]
fn a_parameter_that_was_not_given_is_missed() {
    let two = wgsl("gain: f32, sign: i32", 1, "value = params.gain * source_0[frame * params.frame_len + i];");
    let two = CustomKernel::new(&two, |_, _| {}).param(4.0_f32);
    assert_refused(two, &["`params` struct has 16 bytes", "count, frame_len and 1 parameters are 12"]);
    // It stands at 16 bytes, so two of the words before it are of no use, and ends at 28 of 32.
    let vector = wgsl("offset: vec3<f32>", 1, "value = source_0[frame * params.frame_len + i] + params.offset.y;");
    let vector = CustomKernel::new(&vector, |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = x + 0.5);
    });
    let vector = vector.param(0_u32).param(0_u32).param(0.25_f32).param(0.5_f32);
    assert_refused(vector.clone(), &["28 bytes", "4 parameters are 24"]);
    let samples = noise(64 * 5, 54);
    let expected: Vec<f32> = samples.iter().map(|x| x + 0.5).collect();
    for (what, plan) in plans(&with_one_source(vector.param(0.75_f32)), &[8]) {
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        assert_same_bits(output.dense("out").expect("it is there"), &expected, &what);
    }
    let bare = wgsl("", 1, COPY).replace("params: Params", "params: vec2<u32>");
    let bare = bare.replace("params.count", "params.x").replace("params.frame_len", "params.y");
    assert_refused(CustomKernel::new(&bare, |_, _| {}), &["@binding(0)", "must be a struct"]);
}

#[test]
fn long_frames_between_short_ones_take_little_memory() {
    const WIDE: usize = 65_536;
    let body = "value = source_0[frame * 64u + (i & 63u)] * select(1.0, 2.0, i >= 32768u);";
    let widen = CustomKernel::new(&wgsl("", 1, body), |sources, result| {
        for (i, y) in result.iter_mut().enumerate() {
            *y = sources[0][i % 64] * if i < WIDE / 2 { 1.0 } else { 2.0 };
        }
    });
    let graph = Graph::new()
        .input("in", FrameShape::real(64))
        .gate("gate", "in", gate(Quiet::Zero))
        .kernel("widen", &["gate"], widen.result_shape(FrameShape::real(WIDE)))
        .kernel("peaks", &["widen"], peaks(WIDE, 4))
        .output("out", "peaks");
    let bytes = engines()[0].compile(&graph).expect("the graph should compile").report().buffer_bytes;
    assert!(bytes < 8 << 20, "{bytes} bytes for two workers on the CPU");
    let samples = samples(37, 64);
    for (what, plan) in plans(&graph, &[8]) {
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        let peaks = |(frame, state): (&[f32], &FrameState)| {
            let peak = frame.iter().fold(0.0, |peak: f32, x| peak.max(x.abs()));
            let peak = if *state == FrameState::Live { peak } else { 0.0 };
            [peak, peak, 2.0 * peak, 2.0 * peak]
        };
        let expected: Vec<f32> = samples.chunks(64).zip(output.states()).flat_map(peaks).collect();
        assert_same_bits(output.dense("out").expect("it is there"), &expected, &what);
        assert!(output.counts().live > 0 && output.counts().quiet > 0, "{what}: both kinds are there");
    }
}

/// Its closure panics at a frame that begins with 2.
fn touchy() -> Graph {
    let kernel =
        CustomKernel::new(&wgsl("", 1, "value = source_0[frame * params.frame_len + i];"), |sources, result| {
            assert!(sources[0][0] < 2.0, "on purpose");
            result.copy_from_slice(sources[0]);
        });
    Graph::new().input("in", FrameShape::real(64)).kernel("touchy", &["in"], kernel).output("out", "touchy")
}

#[test]
fn a_closure_that_panics_costs_its_run() {
    let plan = engines()[0].compile(&touchy()).expect("nothing is wrong with its WGSL");
    let good = noise(64 * 300, 1);
    let bad = [&good[..64 * 200], &[2.0; 64], &good[64 * 201..]].concat();
    for _ in 0..3 {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plan.run(&[&bad], 1)))
            .expect_err("the caller gets the panic");
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"), "as it was");
        let output = plan.run(&[&good], 1).expect("the plan goes on");
        assert_same_bits(output.dense("out").expect("its output"), &good, "after a panic");
    }
}

/// What the session had taken in is lost then, and it says so instead of giving half of it.
#[test]
fn a_closure_that_panics_as_a_session_ends_breaks_it() {
    let panics = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&panics);
    let wgsl = wgsl("", 1, "value = source_0[frame * params.frame_len + i];");
    let kernel = CustomKernel::new(&wgsl, move |sources, result| {
        assert!(!does.load(Ordering::Relaxed), "on purpose");
        result.copy_from_slice(sources[0]);
    });
    let graph = Graph::new()
        .input("in", FrameShape::real(256))
        .denoise("denoise", "in", Denoise::new(Model::builtin()))
        .kernel("touchy", &["denoise"], kernel)
        .output("out", "touchy");
    let plan = engines()[0].compile(&graph).expect("nothing is wrong with its WGSL");
    let (mut session, mut output) = (plan.session(1).expect("a session"), RunOutput::default());
    session.push(&[&noise(256 * 9, 1)], &mut output).expect("it runs");
    panics.store(true, Ordering::Relaxed);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.finish(&mut output)))
        .expect_err("the caller gets the panic");
    panics.store(false, Ordering::Relaxed);
    assert!(matches!(session.finish(&mut output), Err(Error::BrokenSession)), "half of its end is gone");
    assert!(matches!(session.push(&[&[0.5; 256]], &mut output), Err(Error::BrokenSession)), "so it does not go on");
    let mut next = plan.session(1).expect("the plan does");
    next.push(&[&noise(256 * 9, 1)], &mut output).expect("it runs");
    next.finish(&mut output).expect("to its end");
}

#[test]
fn a_closure_that_panics_ends_the_streams_of_its_plan_and_no_others() {
    let engine = &engines()[0];
    let [touchy, other] = [0, 1].map(|_| engine.compile(&touchy()).expect("nothing is wrong with its WGSL"));
    let open = |plan| {
        let mut stream = engine.open_stream(plan, StreamOptions::default()).expect("it opens").split();
        stream.0.push(&[0.5; 640]).expect("there is room");
        stream
    };
    let (mut input, mut output) = open(&touchy);
    let (mut well, mut out) = open(&other);
    input.push(&[2.0; 64]).expect("there is room");
    let mut all = vec![0.0; 2000];
    let error = output.pull_all(&mut all, Duration::from_secs(60)).expect_err("it has ended");
    assert!(matches!(&error, Error::Stream { reason, .. } if reason.contains("on purpose")), "{error}");
    well.finish();
    assert_eq!(out.pull_all(&mut all, Duration::from_secs(60)).expect("all of it"), 640);
    let (mut again, mut out) = open(&touchy);
    again.finish();
    assert_eq!(out.pull_all(&mut all, Duration::from_secs(60)).expect("the plan goes on"), 640);
}
