//! Live streams through the door that embedders come in by: what comes out, and what is counted.

use std::time::{Duration, Instant};

use auricle::stage::denoise::model::Model;
use auricle::{
    BackPressure, Denoise, DeviceKind, Engine, Error, Faulty, FilterMode, FrameShape, Gate, Graph, Level, PhiResolvent,
    Plan, Qos, Quiet, Stream, StreamOptions, Threshold,
};

use crate::adapter::engines;
use crate::compare::assert_same_bits;
use crate::signals::{bursts, noise, random};

/// Nobody waits so long on a machine that works.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn filtered(gate: Gate, mode: FilterMode) -> Graph {
    Graph::new()
        .input("in", FrameShape::real(256))
        .gate("gate", "in", gate)
        .filter("filter", "gate", PhiResolvent { mode, ..PhiResolvent::default() })
        .output("clean", "filter")
}

pub(crate) fn denoised(sample_rate_hz: Option<u32>) -> Graph {
    let denoise = Denoise { sample_rate_hz, level: Level::Auto, ..Denoise::new(Model::builtin()) };
    Graph::new()
        .input("in", FrameShape::real(512))
        .gate("gate", "in", Gate { hold: 1, ..Gate::default() })
        .denoise("denoise", "gate", denoise)
        .filter("filter", "denoise", PhiResolvent { mode: FilterMode::Seamless, ..PhiResolvent::default() })
        .output("clean", "filter")
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread should start")
}

pub(crate) fn options(qos: Qos) -> StreamOptions {
    StreamOptions { qos, ..StreamOptions::default() }
}

/// What a run of the whole gives, of each channel by itself, interleaved again.
pub(crate) fn expected(plan: &Plan, samples: &[f32], channels: usize) -> Vec<f32> {
    let shape = plan.inputs()[0].1;
    let per_sample = shape.floats() / shape.len();
    let instants = samples.len() / channels / per_sample;
    let mut all = vec![0.0; samples.len()];
    for channel in 0..channels {
        let place = |instant: usize| (instant * channels + channel) * per_sample;
        let mut one: Vec<f32> =
            (0..instants).flat_map(|instant| &samples[place(instant)..][..per_sample]).copied().collect();
        one.resize(one.len().next_multiple_of(shape.floats()), 0.0);
        let run = plan.run(&[&one], 1).expect("the run should succeed");
        let out = run.dense("clean").expect("the output is there");
        for instant in 0..instants {
            all[place(instant)..][..per_sample].copy_from_slice(&out[instant * per_sample..][..per_sample]);
        }
    }
    all
}

/// Pushes in pieces of these lengths, over and over, pulling what is there in between, and then the rest.
fn through(stream: Stream, samples: &[f32], lengths: &[usize]) -> Vec<f32> {
    let (mut input, mut output) = stream.split();
    let mut all = Vec::new();
    let mut room = vec![f32::NAN; 5000];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut rest = samples;
            for length in lengths.iter().cycle() {
                let (now, later) = rest.split_at((*length).min(rest.len()));
                assert_eq!(input.push(now).expect("the push should succeed"), 0, "nothing is dropped");
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            input.finish();
        });
        loop {
            let count = output.pull_all(&mut room, LONG).expect("the pull should succeed");
            all.extend_from_slice(&room[..count]);
            if count < room.len() {
                break;
            }
        }
    });
    assert!(output.is_finished(), "the end was reached");
    let counters = output.control().counters();
    assert_eq!((counters.pushed, counters.popped), (samples.len() as u64, samples.len() as u64), "all was worked on");
    assert_eq!((counters.dropped, counters.queued), (0, 0), "nothing is left");
    all
}

#[test]
fn what_comes_out_is_what_a_run_gives_whatever_the_pushes_are() {
    let gate = Gate { threshold: Threshold::Linear(0.01), hold: 1, ..Gate::default() };
    for engine in engines() {
        for mode in [FilterMode::Block, FilterMode::Seamless] {
            let plan = engine.compile(&filtered(gate, mode)).expect("the graph should compile");
            let samples = bursts(256, 300, 5, |frame| frame % 50 < 7 || frame == 123);
            // The last sample is not that of a frame.
            let samples = &samples[..samples.len() - 77];
            let expected = expected(&plan, samples, 1);
            for lengths in [&[1, 2, 3, 1000, 255][..], &[1000], &[1024], &[65_537]] {
                let samples = if lengths[0] == 1 { &samples[..9_999] } else { samples };
                let stream = engine.open_stream(&plan, options(Qos::High)).expect("the stream should open");
                let actual = through(stream, samples, lengths);
                let what = format!("{}, {mode:?}, pushes of {lengths:?}", engine.device().name);
                if samples.len() == expected.len() {
                    assert_same_bits(&actual, &expected, &what);
                } else {
                    // What follows in the whole, the last frame of this does not hear.
                    assert_same_bits(&actual[..9_700], &expected[..9_700], &what);
                }
            }
        }
    }
}

#[test]
fn many_channels_at_once_give_what_each_gives_alone() {
    let gate = Gate { threshold: Threshold::Linear(0.01), ..Gate::default() };
    for engine in engines() {
        let count = if engine.device().kind == DeviceKind::Cpu { 24 } else { 6 };
        for graph in [filtered(gate, FilterMode::Seamless), denoised(None)] {
            let plan = engine.compile(&graph).expect("the graph should compile");
            std::thread::scope(|scope| {
                for index in 0..count {
                    let plan = &plan;
                    scope.spawn(move || {
                        let channels = 1 + index % 3;
                        let len = 8_000 + 777 * index;
                        let seed = index as u64;
                        let mut samples: Vec<f32> = noise(len * channels, seed).iter().map(|x| x * 0.1).collect();
                        samples[2000..5000].fill(0.0);
                        let options = StreamOptions {
                            name: format!("stream {index}").into(),
                            channels,
                            qos: Qos::Default,
                            ring: 2 + index % 5,
                            max_delay: Duration::from_micros(300),
                            ..StreamOptions::default()
                        };
                        let stream = engine.open_stream(plan, options).expect("the stream should open");
                        let actual = through(stream, &samples, &[100 + 13 * index, 700]);
                        let what = format!("{}, stream {index} of {channels} channels", engine.device().name);
                        assert_same_bits(&actual, &expected(plan, &samples, channels), &what);
                    });
                }
            });
            // The last one is let go a moment after its last samples are out.
            let start = Instant::now();
            let left =
                || engine.snapshot().expect("a snapshot").streams.iter().map(|group| group.streams).sum::<usize>();
            while left() > 0 && start.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            assert_eq!(left(), 0, "all have ended");
        }
    }
}

#[test]
fn other_rates_and_radio_samples_stream_as_well() {
    let engine = &engines()[0];
    let plan = engine.compile(&denoised(Some(48_000))).expect("the graph should compile");
    let samples: Vec<f32> = noise(30_000, 3).iter().map(|x| x * 0.1).collect();
    let stream = engine.open_stream(&plan, options(Qos::Low)).expect("the stream should open");
    assert_same_bits(&through(stream, &samples, &[480]), &expected(&plan, &samples, 1), "48 kHz");

    let graph = Graph::new()
        .input("in", FrameShape::complex(128))
        .filter("filter", "in", PhiResolvent { mode: FilterMode::Seamless, ..PhiResolvent::default() })
        .output("clean", "filter");
    let plan = engine.compile(&graph).expect("the graph should compile");
    let samples = noise(2 * 2 * 3333, 4);
    let stream = StreamOptions { channels: 2, ..options(Qos::Default) };
    let stream = engine.open_stream(&plan, stream).expect("the stream should open");
    assert_same_bits(&through(stream, &samples, &[999]), &expected(&plan, &samples, 2), "two channels of IQ");
}

/// Frames of a constant that says which frame it is.
pub(crate) fn numbered(frames: std::ops::Range<usize>) -> Vec<f32> {
    frames.flat_map(|frame| [1.0 + frame as f32; 64]).collect()
}

/// A plan that changes nothing.
pub(crate) fn copying(engine: &Engine, gate: Gate) -> Plan {
    let graph = Graph::new().input("in", FrameShape::real(64)).gate("gate", "in", gate).output("clean", "gate");
    engine.compile(&graph).expect("the graph should compile")
}

#[test]
fn what_has_no_room_is_dropped_as_asked_and_counted() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    for (back_pressure, lost) in [(BackPressure::DropOldest, 0..6), (BackPressure::DropNewest, 4..10)] {
        let options = StreamOptions { ring: 4, back_pressure, ..options(Qos::Default) };
        let mut stream = engine.open_stream(&plan, options).expect("the stream should open");
        let control = stream.control();
        control.pause();
        let dropped = stream.push(&numbered(0..10)).expect("nothing waits");
        assert_eq!(dropped, 6 * 64, "{back_pressure:?}");
        // Silence takes no room, and half a frame is no frame yet.
        assert_eq!(stream.push(&[0.0; 64 * 1000 + 32]).expect("nothing waits"), 0, "{back_pressure:?}");
        let counters = control.counters();
        assert_eq!(counters.pushed, 64 * 1010 + 32, "{back_pressure:?}");
        assert_eq!((counters.popped, counters.dropped), (0, 6 * 64), "{back_pressure:?}");
        assert_eq!(counters.queued, 64 * 1004 + 32, "{back_pressure:?}");

        control.resume();
        let mut result = vec![f32::NAN; 64 * 1010];
        let count = stream.pull_all(&mut result, LONG).expect("it should come out");
        assert_eq!(count, 64 * 1010, "time goes on: {back_pressure:?}");
        let mut whole = numbered(0..10);
        whole[64 * lost.start..64 * lost.end].fill(0.0);
        whole.resize(64 * 1010, 0.0);
        assert_same_bits(&result, &whole, "silence in place of what was dropped");
        let counters = control.counters();
        assert_eq!((counters.popped, counters.queued), (64 * 1004, 32), "{back_pressure:?}");
        stream.finish();
        assert_eq!(stream.pull_all(&mut result, LONG).expect("the rest"), 32, "half a frame");
        assert_eq!(control.counters().pushed, control.counters().popped + 6 * 64, "{back_pressure:?}");
    }
}

#[test]
fn whoever_may_block_waits_for_whoever_pulls() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    let stream = StreamOptions { ring: 2, ..options(Qos::Default) };
    let (mut input, mut output) = engine.open_stream(&plan, stream).expect("the stream should open").split();
    let pushing = spawn("pushing", move || {
        input.push(&numbered(0..100)).expect("it waits until there is room");
    });
    // Ring by ring: two frames wait on the way in and two on the way out, and nothing goes on by itself.
    let control = output.control();
    let start = Instant::now();
    while control.counters().popped < 64 * 2 {
        assert!(start.elapsed() < LONG, "frames should go on until the output is full");
        std::thread::yield_now();
    }
    assert!(control.counters().pushed <= 64 * 8, "most of it waits: {:?}", control.counters());
    let mut result = vec![f32::NAN; 64 * 100];
    assert_eq!(output.pull_all(&mut result, LONG).expect("it should come out"), 64 * 100);
    assert_same_bits(&result, &numbered(0..100), "all of it");
    pushing.join().expect("the push should succeed");
    assert_eq!(control.counters().dropped, 0);
}

#[test]
fn a_nan_is_refused_with_its_place_and_nothing_of_its_push_is_taken() {
    let engine = &engines()[0];
    for channels in [1, 3] {
        let plan = copying(engine, Gate::default());
        let stream = StreamOptions { channels, ..options(Qos::Default) };
        let mut stream = engine.open_stream(&plan, stream).expect("the stream should open");
        let good: Vec<f32> = (0..100 * channels).map(|n| 1.0 + n as f32).collect();
        stream.push(&good[..40 * channels]).expect("a good push");
        let mut bad = vec![0.25; 500 * channels];
        bad[(64 + 30) * channels + (channels - 1)] = f32::NAN;
        let before = stream.control().counters();
        match stream.push(&bad) {
            Err(Error::FaultyFrame { channel, frame, sample }) => {
                assert_eq!((channel, frame, sample), (channels - 1, 2, 40 + 64 + 30));
            }
            other => panic!("expected a faulty frame, got {other:?}"),
        }
        assert_eq!(stream.control().counters().pushed, before.pushed, "nothing was taken");
        stream.push(&good[40 * channels..]).expect("other samples in their place");
        stream.finish();
        let mut result = vec![f32::NAN; 200 * channels];
        assert_eq!(stream.pull_all(&mut result, LONG).expect("all comes out"), 100 * channels);
        assert_same_bits(&result[..100 * channels], &good, "as if the bad push had not been");
    }
    // Where the gate takes them for silence, they are.
    let plan = copying(engine, Gate { faulty: Faulty::Silence, ..Gate::default() });
    let mut stream = engine.open_stream(&plan, options(Qos::Default)).expect("the stream should open");
    let mut samples = numbered(0..3);
    samples[70] = f32::INFINITY;
    stream.push(&samples).expect("taken");
    stream.finish();
    let mut result = vec![f32::NAN; 192];
    assert_eq!(stream.pull_all(&mut result, LONG).expect("all comes out"), 192);
    samples[64..128].fill(0.0);
    assert_same_bits(&result, &samples, "silence in its place");
}

#[test]
fn quiet_frames_pass_where_the_gate_says_so_and_everything_without_a_gate() {
    let engine = &engines()[0];
    let quiet: Vec<f32> = noise(1000, 8).iter().map(|x| x * 1e-6).collect();
    let plan = copying(engine, Gate { quiet: Quiet::Pass, ..Gate::default() });
    let stream = engine.open_stream(&plan, options(Qos::Default)).expect("the stream should open");
    assert_same_bits(&through(stream, &quiet, &[100]), &quiet, "passed");
    let plan = copying(engine, Gate::default());
    let stream = engine.open_stream(&plan, options(Qos::Default)).expect("the stream should open");
    assert_same_bits(&through(stream, &quiet, &[100]), &[0.0; 1000], "silenced");
}

#[test]
fn streams_move_between_levels_and_devices_without_a_gap() {
    let engines = engines();
    let cpu = &engines[0];
    let samples: Vec<f32> = noise(512 * 60 + 100, 9).iter().map(|x| x * 0.1).collect();
    for other in engines {
        let graph = denoised(None);
        let (plan, there) = (cpu.compile(&graph).expect("it compiles"), other.compile(&graph).expect("it compiles"));
        let expected = expected(&plan, &samples, 1);
        let stream = engine_stream(cpu, &plan, Qos::Low);
        let control = stream.control();
        let mut turn = 0;
        let moving = move |control: &auricle::StreamControl| {
            turn += 1;
            match turn % 4 {
                0 => cpu.move_stream(control, &plan, Qos::Low).expect("it moves"),
                1 => cpu.move_stream(control, &plan, Qos::High).expect("it moves to another level"),
                2 => other.move_stream(control, &there, Qos::Default).expect("it moves to another device"),
                _ => control.pause(),
            }
            control.resume();
        };
        let actual = pushing_and(stream, &samples, 700, moving);
        assert_eq!(actual.len(), samples.len(), "no gap and no end too early");
        if other.device().kind == DeviceKind::Cpu {
            assert_same_bits(&actual, &expected, "moved between levels and engines");
        } else {
            let error: f64 = actual.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let signal: f64 = expected.iter().map(|x| f64::from(*x).powi(2)).sum();
            let snr_db = 10.0 * (signal / error.max(1e-30)).log10();
            assert!(snr_db > 80.0, "{}: {snr_db:.1} dB", other.device().name);
        }
        assert!(control.is_over(), "it has come to its end");
        assert!(
            matches!(cpu.move_stream(&control, &cpu_plan(cpu), Qos::High), Err(Error::StreamFinished { .. })),
            "there is nothing left to move"
        );
    }
}

fn cpu_plan(engine: &Engine) -> Plan {
    engine.compile(&denoised(Some(48_000))).expect("it compiles")
}

pub(crate) fn engine_stream(engine: &Engine, plan: &Plan, qos: Qos) -> Stream {
    engine.open_stream(plan, options(qos)).expect("the stream should open")
}

/// Pushes pieces of one length, does something after each, and pulls all.
fn pushing_and(
    stream: Stream,
    samples: &[f32],
    length: usize,
    mut between: impl FnMut(&auricle::StreamControl) + Send,
) -> Vec<f32> {
    let (mut input, mut output) = stream.split();
    let mut all = vec![f32::NAN; samples.len() + 1];
    let count = std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in samples.chunks(length) {
                input.push(piece).expect("the push should succeed");
                between(&input.control());
            }
        });
        output.pull_all(&mut all, LONG).expect("the pull should succeed")
    });
    all.truncate(count);
    all
}

#[test]
fn tasks_push_and_pull_without_blocking() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    let stream = StreamOptions { ring: 2, ..options(Qos::Default) };
    let (mut input, mut output) = engine.open_stream(&plan, stream).expect("the stream should open").split();
    let samples = numbered(0..200);
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let samples = &samples;
        scope.spawn(move || {
            for piece in samples.chunks(777) {
                pollster::block_on(input.push_async(piece)).expect("taken");
            }
        });
        let mut room = [0.0; 100];
        loop {
            let count = pollster::block_on(output.pull_async(&mut room)).expect("something or the end");
            if count == 0 {
                break;
            }
            all.extend_from_slice(&room[..count]);
        }
    });
    assert_same_bits(&all, &samples, "all of it");
}

#[test]
fn options_that_fit_nothing_are_refused() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    let refused = |change: &dyn Fn(&mut StreamOptions), name: &str| {
        let mut options = StreamOptions::default();
        change(&mut options);
        let error = engine.open_stream(&plan, options).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    };
    refused(&|options| options.channels = 0, "channels is 0");
    refused(&|options| options.ring = 0, "ring is 0");
    refused(&|options| options.max_batch = 0, "largest batch is 0");
    refused(&|options| options.max_delay = Duration::from_secs(3600), "longest delay");
    refused(&|options| options.output = Some("other".into()), "there are: clean");
    let two = Graph::new()
        .input("a", FrameShape::real(64))
        .input("b", FrameShape::real(64))
        .filter("f", "b", PhiResolvent::default())
        .output("also", "a")
        .output("clean", "f");
    let plan = engine.compile(&two).expect("it compiles");
    let error = engine.open_stream(&plan, StreamOptions::default()).expect_err("two inputs").to_string();
    assert!(error.contains("inputs is 2"), "{error}");
}

#[test]
fn counters_hold_at_any_moment_under_load() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    for back_pressure in [BackPressure::DropOldest, BackPressure::DropNewest, BackPressure::Block] {
        let stream = StreamOptions { ring: 2, channels: 2, back_pressure, ..options(Qos::Default) };
        let (mut input, mut output) = engine.open_stream(&plan, stream).expect("the stream should open").split();
        let control = input.control();
        let mut next = random(3);
        let pushing = spawn("pushing", move || {
            let mut dropped = 0;
            for _ in 0..3000 {
                let len = (next() % 400) as usize;
                let level = if next().is_multiple_of(3) { 0.0 } else { 0.5 };
                dropped += input.push(&vec![level; len]).expect("taken");
            }
            dropped
        });
        let mut pulled = 0;
        let mut room = [0.0; 999];
        while !output.is_finished() {
            let counters = control.counters();
            let sum = counters.popped + counters.dropped + counters.queued;
            assert_eq!(counters.pushed, sum, "{back_pressure:?}: {counters:?}");
            pulled += output.pull_all(&mut room, Duration::from_millis(1)).expect("it goes on") as u64;
        }
        let dropped = pushing.join().expect("it ends");
        let counters = control.counters();
        assert_eq!((counters.dropped, counters.queued), (dropped, 0), "{back_pressure:?}: {counters:?}");
        assert_eq!(pulled, counters.pushed, "time goes on over what was dropped");
    }
}

#[test]
fn long_silence_between_sounds_is_as_long_when_it_comes_out() {
    let engine = &engines()[0];
    for (mode, hold) in [(FilterMode::Block, 0), (FilterMode::Seamless, 0), (FilterMode::Seamless, 5)] {
        let gate = Gate { hold, ..Gate::default() };
        let plan = engine.compile(&filtered(gate, mode)).expect("it compiles");
        let mut next = random(77);
        for round in 0..60 {
            let mut samples = Vec::new();
            for _ in 0..6 {
                samples.extend(noise(256 * (next() % 4) as usize, next()));
                samples.resize(samples.len() + 256 * (next() % 40) as usize, 0.0);
            }
            let max_batch = 1 + (next() % 30) as usize;
            let options = StreamOptions { ring: 64, max_batch, ..options(Qos::High) };
            let mut stream = engine.open_stream(&plan, options).expect("the stream should open");
            if round % 2 == 0 {
                // All of it is there when it goes on.
                stream.control().pause();
            }
            for piece in samples.chunks(1 + (next() % 9000) as usize) {
                stream.push(piece).expect("taken");
            }
            stream.finish();
            stream.control().resume();
            let mut actual = vec![f32::NAN; samples.len() + 1];
            let count = stream.pull_all(&mut actual, LONG).expect("it comes out");
            let what = format!("{mode:?}, hold {hold}, round {round}, batches of {max_batch}");
            assert_eq!(count, samples.len(), "{what}");
            assert_same_bits(&actual[..count], &expected(&plan, &samples, 1), &what);
        }
    }
}

#[test]
fn streams_move_only_to_plans_of_their_graph() {
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    let mut stream = engine_stream(engine, &plan, Qos::Default);
    stream.push(&numbered(0..3)).expect("taken");
    let others = [
        copying(engine, Gate { threshold: Threshold::Linear(0.5), ..Gate::default() }),
        copying(engine, Gate { quiet: Quiet::Pass, ..Gate::default() }),
        engine.compile(&filtered(Gate::default(), FilterMode::Block)).expect("it compiles"),
    ];
    for other in &others {
        let error = engine.move_stream(&stream.control(), other, Qos::High).expect_err("another graph").to_string();
        assert!(error.contains("of another graph"), "{error}");
    }
    let like = copying(engine, Gate::default());
    engine.move_stream(&stream.control(), &like, Qos::High).expect("the same graph, compiled again");
    assert_eq!(stream.control().qos(), Qos::High);
    stream.finish();
    let mut all = [f32::NAN; 200];
    assert_eq!(stream.pull_all(&mut all, LONG).expect("all comes out"), 192);
    assert_same_bits(&all[..192], &numbered(0..3), "all of it");
}
