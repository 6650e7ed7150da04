//! How live streams end, and what they leave to others: callbacks, engines that go, turns for all, and no work where there is
//! nothing to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use auricle::{Error, FilterMode, Gate, Qos, ShutDown, StreamOptions};

use crate::adapter::{engines, open};
use crate::compare::assert_same_bits;
use crate::signals::noise;
use crate::streams::{LONG, copying, engine_stream, expected, filtered, numbered, options, spawn};

#[test]
fn a_callback_gets_everything_and_its_panic_ends_its_own_stream_only() {
    let engine = &engines()[0];
    let plan = engine.compile(&filtered(Gate::default(), FilterMode::Seamless)).expect("it compiles");
    let mut samples = noise(10_001 * 2, 11);
    samples[4_000..12_000].fill(0.0);
    let got = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&got);
    let two = StreamOptions { channels: 2, ..options(Qos::High) };
    let call = move |samples: &[f32]| sink.lock().unwrap().extend_from_slice(samples);
    let mut input = engine.open_stream_with(&plan, two.clone(), call).expect("it opens");
    let mut bad = engine.open_stream_with(&plan, two, |_| panic!("no good")).expect("it opens");
    for piece in samples.chunks(900) {
        input.push(piece).expect("it goes on");
        // Until the panic is noticed, pushes may succeed.
        bad.push(piece).ok();
    }
    assert!(input.finish_and_wait(LONG).expect("it should end well"), "all came out");
    assert_same_bits(&got.lock().unwrap(), &expected(&plan, &samples, 2), "all that was pushed");
    match bad.finish_and_wait(LONG) {
        Err(Error::Stream { reason, .. }) => assert!(reason.contains("panicked"), "{reason}"),
        other => panic!("expected its own end, got {other:?}"),
    }
}

#[test]
fn a_callback_gets_no_more_than_was_pushed_and_may_end_the_engine() {
    let engine = open(auricle::DeviceChoice::Cpu);
    // Without latency, and with half a frame at the end.
    let plan = copying(&engine, Gate::default());
    for level in [0.0, 0.5] {
        let got = Arc::new(Mutex::new(0));
        let sum = Arc::clone(&got);
        let call = move |samples: &[f32]| *sum.lock().unwrap() += samples.len();
        let mut input = engine.open_stream_with(&plan, options(Qos::High), call).expect("it opens");
        input.push(&[level; 100]).expect("taken");
        assert!(input.finish_and_wait(LONG).expect("a good end"), "all came out");
        assert_eq!(*got.lock().unwrap(), 100, "as much as was pushed, at level {level}");
    }
    // What would wait for itself is refused, and what ends everything does not wait.
    let (send, told) = crossbeam::channel::bounded(1);
    let (mine, of_mine) = (engine.clone(), plan.clone());
    let call = move |_: &[f32]| {
        let refused = mine.open_stream(&of_mine, StreamOptions::default()).map(|_| ());
        mine.shutdown(ShutDown::Abort, LONG);
        send.try_send(refused).ok();
    };
    let mut input = engine.open_stream_with(&plan, options(Qos::Default), call).expect("it opens");
    input.push(&[0.5; 64]).expect("taken");
    match told.recv_timeout(LONG).expect("the callback should come to its end") {
        Err(Error::Setting { actual, .. }) => assert!(actual.contains("callback"), "{actual}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
    // All that was pushed had come out by then: which of both ends it learns of depends on who is first.
    let end = input.finish_and_wait(LONG);
    assert!(matches!(end, Ok(true) | Err(Error::ShutDown { .. })), "{end:?}");
}

#[test]
fn ends_are_told_and_nobody_hangs() {
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = copying(&engine, Gate::default());
    // Who finished pushes no more.
    let mut stream = engine_stream(&engine, &plan, Qos::High);
    stream.finish();
    assert!(matches!(stream.push(&[1.0]), Err(Error::StreamFinished { .. })));
    assert_eq!(stream.pull_all(&mut [0.0; 10], LONG).expect("an end"), 0, "nothing came in");
    // Nobody pulls any more.
    let (mut input, output) = engine_stream(&engine, &plan, Qos::High).split();
    drop(output);
    assert!(matches!(input.push(&[1.0]), Err(Error::StreamFinished { .. })));
    // The engine goes.
    let (mut input, mut output) = engine_stream(&engine, &plan, Qos::High).split();
    input.push(&numbered(0..2)).expect("taken");
    let mut two = [0.0; 128];
    assert_eq!(output.pull_all(&mut two, LONG).expect("it comes out"), 128);
    let waiting = spawn("waiting", move || output.pull_all(&mut [0.0; 10], LONG));
    assert_eq!(engine.shutdown(ShutDown::Drain, LONG), 0, "no job is left");
    assert!(matches!(waiting.join().expect("it ends"), Err(Error::ShutDown { .. })), "who waits learns of it");
    assert!(matches!(input.push(&[1.0]), Err(Error::ShutDown { .. })));
    assert!(matches!(engine.open_stream(&plan, options(Qos::High)), Err(Error::ShutDown { .. })));
    drop(engine);
    // An engine that is dropped while streams are open and busy.
    for round in 0..20 {
        let engine = open(auricle::DeviceChoice::Cpu);
        let plan = copying(&engine, Gate::default());
        let (mut input, output) = engine_stream(&engine, &plan, Qos::Default).split();
        let pushing = spawn("pushing", move || while input.push(&numbered(0..5)).is_ok() {});
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        drop((engine, plan));
        pushing.join().expect("it ends");
        drop(output);
    }
}

/// A new stream beside two that always have something, and jobs: all get their turn.
#[test]
fn nobody_waits_for_ever_and_jobs_of_the_level_come_in_between() {
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = engine.compile(&filtered(Gate::default(), FilterMode::Seamless)).expect("it compiles");
    let over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..2)
        .map(|index| {
            let options = StreamOptions { max_batch: 8, ..options(Qos::Default) };
            let (mut input, mut output) = engine.open_stream(&plan, options).expect("it opens").split();
            let over = Arc::clone(&over);
            let pulling =
                spawn("pulling", move || while output.pull_all(&mut [0.0; 4096], LONG).is_ok_and(|count| count > 0) {});
            let pushing = spawn("pushing", move || {
                let samples = noise(256 * 16, index);
                while !over.load(Ordering::Relaxed) && input.push(&samples).is_ok() {}
            });
            (pushing, pulling)
        })
        .collect();
    for _ in 0..20 {
        let mut late = engine_stream(&engine, &plan, Qos::Default);
        late.push(&noise(256 * 3, 9)).expect("taken");
        late.finish();
        let mut all = vec![0.0; 256 * 3];
        assert_eq!(late.pull_all(&mut all, LONG).expect("it gets its turn"), 256 * 3);
        let job = auricle::JobOptions { qos: Qos::Default, ..auricle::JobOptions::default() };
        let mut ticket = engine.submit(&plan, [noise(256, 3)], job).expect("taken");
        assert!(ticket.wait_timeout(LONG).is_some_and(|answer| answer.is_ok()), "a job gets its turn, too");
    }
    over.store(true, Ordering::Relaxed);
    for (pushing, pulling) in busy {
        pushing.join().expect("it ends");
        pulling.join().expect("it ends");
    }
}

/// An engine whose streams have nothing to do sleeps.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_engine_uses_hardly_any_processor_time() {
    use auricle::Stream;
    use std::time::Duration;

    // Of this process alone: nextest gives each test its own, and elsewhere others would count too.
    if std::env::var_os("NEXTEST").is_none() {
        return crate::adapter::skipped(
            "processor time, which only tests in processes of their own (cargo nextest) can tell",
        );
    }
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = engine.compile(&crate::streams::denoised(None)).expect("it compiles");
    let mut streams: Vec<Stream> = (0..16).map(|_| engine_stream(&engine, &plan, Qos::High)).collect();
    for stream in &mut streams {
        stream.push(&[0.5; 512]).expect("taken");
    }
    // All that was pushed is done.
    let batches = || engine.snapshot().expect("a snapshot").work.batches;
    let mut before = batches();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = batches();
        if now == before {
            break;
        }
        before = now;
    }
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
        let after_name = stat.rsplit(')').next().expect("a name in brackets");
        after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    // A tick is 10 ms: 2 are 1 % of the time.
    assert!(ticks() - before <= 2, "{} ticks in 2 s", ticks() - before);
}

/// Whoever keeps the ends of a stream that is over, or its control, keeps no plan and no device by that.
#[test]
fn what_is_left_of_a_stream_that_is_over_keeps_no_plan() {
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = copying(&engine, Gate::default());
    let (mut input, mut output) = engine_stream(&engine, &plan, Qos::High).split();
    let control = input.control();
    input.push(&numbered(0..3)).expect("taken");
    input.finish();
    assert_eq!(output.pull_all(&mut [0.0; 200], LONG).expect("all comes out"), 192);
    drop(plan);
    let start = Instant::now();
    while !engine.snapshot().expect("a snapshot").plans.is_empty() {
        assert!(start.elapsed() < LONG, "somebody keeps the plan");
        std::thread::yield_now();
    }
    assert_eq!((control.counters().popped, control.qos()), (192, Qos::High), "what became of it is known");
    assert_eq!(engine.snapshot().expect("a snapshot").streams.len(), 1, "and so are its figures");
    drop((input, output));
}

/// However many streams came and went, and whoever keeps a control of them: streams of one plan and level are one entry.
#[test]
fn streams_that_follow_each_other_are_counted_together() {
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = copying(&engine, Gate::default());
    let mut controls = Vec::new();
    for round in 1..=20 {
        let (mut input, mut output) = engine_stream(&engine, &plan, Qos::High).split();
        input.push(&numbered(0..3)).expect("taken");
        controls.push(input.control());
        input.finish();
        assert_eq!(output.pull_all(&mut [0.0; 200], LONG).expect("all comes out"), 192);
        drop((input, output));
        let start = Instant::now();
        // All have left, before the next one comes.
        while engine.snapshot().expect("a snapshot").streams.iter().any(|group| group.streams > 0) {
            assert!(start.elapsed() < LONG, "the stream should leave");
            std::thread::yield_now();
        }
        let snapshot = engine.snapshot().expect("a snapshot");
        assert_eq!(snapshot.streams.iter().map(|group| group.frames).collect::<Vec<_>>(), [3 * round], "in one entry");
    }
}

/// Nobody has to push to a stream whose callback panicked for its plan to go.
#[test]
fn a_stream_whose_callback_panicked_is_let_go_though_its_input_is_kept() {
    let engine = open(auricle::DeviceChoice::Cpu);
    let plan = copying(&engine, Gate::default());
    let mut input = engine.open_stream_with(&plan, options(Qos::High), |_| panic!("no good")).expect("it opens");
    input.push(&numbered(0..1)).expect("taken");
    drop(plan);
    let start = Instant::now();
    while !engine.snapshot().expect("a snapshot").plans.is_empty() {
        assert!(start.elapsed() < LONG, "the stream keeps its plan");
        std::thread::yield_now();
    }
    assert!(input.push(&numbered(1..2)).is_err(), "it is over");
}

/// What a callback holds may panic as it goes: that ends no other stream of the plan and the level.
#[test]
fn a_callback_whose_end_panics_ends_its_own_stream_only() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let engine = &engines()[0];
    let plan = copying(engine, Gate::default());
    let mut good = engine_stream(engine, &plan, Qos::High);
    let panics = Panics;
    let call = move |_: &[f32]| _ = std::hint::black_box(&panics);
    let mut bad = engine.open_stream_with(&plan, options(Qos::High), call).expect("it opens");
    bad.push(&numbered(0..2)).expect("taken");
    assert!(bad.finish_and_wait(LONG).expect("a good end"), "all came out");
    drop(bad);
    for frame in 0..20 {
        good.push(&numbered(frame..frame + 1)).expect("it goes on");
        assert_eq!(good.pull_all(&mut [0.0; 64], LONG).expect("it goes on"), 64);
    }
}
