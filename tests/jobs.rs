//! Jobs through the door that embedders come in by: what they give, and in which order.

use std::future::Future as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::bounded;

use auricle::{
    CustomKernel, Denoise, DeviceChoice, DeviceKind, Engine, EngineOptions, Error, Faulty, FilterMode, FrameShape,
    Gate, Graph, JobOptions, Measure, PerQos, PhiResolvent, PipelineCacheDir, Plan, Qos, RunOutput, ScheduleOptions,
    Ticket,
};

use crate::adapter::{adapter_names, engines, open};
use crate::compare::assert_same_bits;
use crate::custom::wgsl;
use crate::denoise_models::{open_mask, signal};
use crate::signals::{bursts, noise};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Nobody waits so long on a machine that works.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn job(qos: Qos, name: &'static str) -> JobOptions {
    JobOptions { qos, name: name.into(), ..JobOptions::default() }
}

fn filtered(gate: Gate) -> Graph {
    let filter = PhiResolvent { mode: FilterMode::Seamless, measure: Measure::Coherence, ..PhiResolvent::default() };
    Graph::new()
        .input("in", FrameShape::real(256))
        .gate("gate", "in", gate)
        .filter("filter", "gate", filter)
        .output("clean", "filter")
        .output("powers", "filter.powers")
        .output("gated", "gate")
}

pub(crate) fn cpu(schedule: ScheduleOptions) -> Engine {
    let options = EngineOptions {
        device: DeviceChoice::Cpu,
        threads: 2,
        pipeline_cache: PipelineCacheDir::Off,
        schedule,
        ..EngineOptions::default()
    };
    Engine::open(&options).expect("the CPU should open")
}

/// A plan whose twin runs `during` for each of its frames.
pub(crate) fn slow(engine: &Engine, during: impl Fn() + Send + Sync + 'static) -> Plan {
    let text = wgsl("", 1, "value = source_0[frame * params.frame_len + i];");
    let copy = CustomKernel::new(&text, move |sources, result| {
        during();
        result.copy_from_slice(sources[0]);
    });
    let graph = Graph::new().input("in", FrameShape::real(64)).kernel("copy", &["in"], copy).output("out", "copy");
    engine.compile(&graph).expect("the graph should compile")
}

pub(crate) fn frames(count: usize) -> Vec<Vec<f32>> {
    vec![vec![0.5; 64 * count]]
}

fn assert_same_output(actual: &RunOutput, expected: &RunOutput, outputs: &[&str], what: &str) {
    assert_eq!(actual.channels(), expected.channels(), "{what}");
    assert_eq!(actual.frames(), expected.frames(), "{what}");
    assert!(actual.states() == expected.states(), "{what}: the gate's decisions differ");
    for output in outputs {
        let (actual, expected) = (actual.dense(output), expected.dense(output));
        assert_same_bits(actual.expect("it is there"), expected.expect("it is there"), &format!("{what}: {output}"));
    }
}

#[test]
fn engines_tickets_and_guards_go_anywhere() {
    fn anywhere<T: Send + Sync>() {}
    anywhere::<Engine>();
    anywhere::<Plan>();
    anywhere::<Ticket<RunOutput>>();
    anywhere::<auricle::Lane>();
    anywhere::<auricle::LaneGuard>();
    anywhere::<auricle::Snapshot>();
}

/// Long jobs and wide ones, at every level, on every device: in whatever pieces they are done, they give what a run gives.
#[test]
fn jobs_give_what_runs_give_to_the_bit() {
    let graph = filtered(Gate { hold: 3, ..Gate::default() });
    for engine in engines() {
        for (channels, length) in [(1, 300), (3, 100), (100, 3), (257, 1), (5, 0)] {
            let plan = engine.compile(&graph).expect("the graph should compile");
            let samples = bursts(256, channels * length, 17, |index| index % 7 < 3);
            let expected = plan.run(&[&samples], channels).expect("it should run");
            for qos in Qos::ALL {
                let what = format!("{channels} x {length}, {qos}, {}", engine.device().name);
                let options = JobOptions { channels, ..job(qos, "same") };
                let ticket = engine.submit(&plan, vec![samples.clone()], options).expect("there should be room");
                let output = ticket.wait().expect("it should be done");
                assert_same_output(&output, &expected, &["clean", "powers", "gated"], &what);
            }
        }
    }
}

/// Results of other sizes, layouts and plans before it do not show in a result whose memory is used again.
#[test]
fn memory_can_be_used_again_and_samples_shared() {
    let shared: Arc<[f32]> = bursts(256, 300, 23, |index| index % 5 < 2).into();
    for engine in engines() {
        let plan = engine.compile(&filtered(Gate::default())).expect("the graph should compile");
        let other = slow(engine, || {});
        let expected = plan.run(&[&shared], 1).expect("it should run");
        let mut output = RunOutput::new(auricle::Layout::Packed);
        for qos in [Qos::Low, Qos::High, Qos::Low, Qos::Default] {
            let ticket = engine.submit_into(&plan, [Arc::clone(&shared)], output, job(qos, "again"));
            output = ticket.expect("there should be room").wait().expect("it should be done");
            assert_same_output(&output, &expected, &["clean", "powers", "gated"], &format!("{qos}"));
            let ticket = engine.submit_into(&other, frames(7), output, job(qos, "other"));
            output = ticket.expect("there should be room").wait().expect("it should be done");
            assert_eq!(output.dense("out"), Some(&vec![0.5; 7 * 64][..]));
            assert!(output.dense("clean").is_none(), "that was of the job before");
        }
    }
}

#[test]
fn background_jobs_are_done_in_pieces_and_urgent_ones_at_once() {
    let engine = cpu(ScheduleOptions { longest_piece: MS, ..ScheduleOptions::default() });
    let plan = slow(&engine, || std::thread::sleep(MS / 10));
    let pieces = |qos: Qos, name: &'static str| {
        let ticket = engine.submit(&plan, frames(200), job(qos, name)).expect("there should be room");
        assert_eq!(ticket.wait().expect("it should be done").frames(), 200);
        let snapshot = engine.snapshot().expect("there should be one");
        snapshot.lanes.iter().flat_map(|lane| &lane.spans).filter(|span| &*span.job == name).count()
    };
    assert!(pieces(Qos::Low, "background") > 4, "20 ms of work, 1 ms at a time");
    assert!(pieces(Qos::Default, "usual") > 4, "so is the usual level");
    assert_eq!(pieces(Qos::High, "urgent"), 1);
}

#[test]
fn denoising_jobs_give_what_runs_give() {
    let graph = Graph::new()
        .input("in", FrameShape::real(64))
        .gate("gate", "in", Gate { hold: 2, ..Gate::default() })
        .denoise(
            "denoise",
            "gate",
            Denoise::new(Arc::new(open_mask(64, 32, auricle::stage::denoise::model::Window::SqrtHannPeriodic))),
        )
        .output("clean", "denoise");
    let samples = signal(3 * 64 * 150, 5);
    for engine in engines() {
        let plan = engine.compile(&graph).expect("the graph should compile");
        let expected = plan.run(&[&samples], 3).expect("it should run");
        for qos in [Qos::High, Qos::Low] {
            let options = JobOptions { channels: 3, ..job(qos, "denoise") };
            let ticket = engine.submit(&plan, vec![samples.clone()], options).expect("there should be room");
            let output = ticket.wait().expect("it should be done");
            let (actual, expected) = (output.dense("clean").unwrap(), expected.dense("clean").unwrap());
            let largest = actual.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{qos} on {}: {largest}", engine.device().name);
        }
    }
}

#[test]
fn an_urgent_job_overtakes_a_long_one_and_leaves_it_whole() {
    for engine in engines() {
        // A quarter of a second and more.
        let (plan, length) = match engine.device().kind {
            DeviceKind::Cpu => (slow(engine, || std::thread::sleep(MS / 10)), 4000),
            _ => (engine.compile(&filtered(Gate::default())).expect("the graph should compile"), 20_000),
        };
        Qos::ALL.into_iter().for_each(|qos| plan.prepare(qos).expect("it should be prepared"));
        let frame_len = plan.inputs()[0].1.floats();
        let samples = noise(frame_len * length, 3);
        let mut long = engine.submit(&plan, [samples.clone()], job(Qos::Low, "long")).expect("there should be room");
        for _ in 0..5 {
            let short = engine.submit(&plan, [noise(frame_len, 4)], job(Qos::High, "short"));
            let short = short.expect("there should be room").wait().expect("it should be done");
            assert_eq!(short.frames(), 1);
        }
        assert!(long.try_result().is_none(), "five short jobs were done before a long one on {}", engine.device().name);
        let output = long.wait().expect("it should be done");
        let expected = plan.run(&[&samples], 1).expect("it should run");
        let outputs: &[&str] = if engine.device().kind == DeviceKind::Cpu { &["out"] } else { &["clean"] };
        assert_same_output(&output, &expected, outputs, &engine.device().name);
    }
}

/// Scored by its own filter, a noisy job goes behind one that came later; without a score it does not.
#[test]
fn a_job_without_a_signal_goes_behind_the_others() {
    for (coherence_from, goes_behind) in [(Some("powers"), true), (None, false)] {
        let engine = cpu(ScheduleOptions::default());
        let plan = engine.compile(&filtered(Gate::default())).expect("the graph should compile");
        let kept = engine.possession(Qos::Low).expect("there should be a lane");
        let options =
            |name: &'static str| JobOptions { coherence_from: coherence_from.map(Into::into), ..job(Qos::Low, name) };
        // Hiss: white noise alone scores 0.332, which is above the threshold.
        let hiss: Vec<f32> = noise(256 * 4000 + 1, 1).windows(2).map(|pair| pair[1] - pair[0]).collect();
        let slow: Vec<f32> = (0..256 * 4000).map(|n| (n as f32 * 0.01).sin()).collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        let hiss = engine.submit(&plan, [hiss], options("hiss")).expect("there should be room");
        let slow = engine.submit(&plan, [slow], options("signal")).expect("there should be room");
        drop(kept);
        std::thread::scope(|scope| {
            for (name, ticket) in [("hiss", hiss), ("signal", slow)] {
                let order = Arc::clone(&order);
                scope.spawn(move || {
                    ticket.wait().expect("it should be done");
                    order.lock().unwrap().push(name);
                });
            }
        });
        let expected = if goes_behind { ["signal", "hiss"] } else { ["hiss", "signal"] };
        assert_eq!(*order.lock().unwrap(), expected, "{coherence_from:?}");
        let put_behind = engine.snapshot().expect("there should be one").qos.low.put_behind;
        assert_eq!(put_behind > 0, goes_behind);
    }
}

#[test]
fn what_is_known_of_a_jobs_coherence_counts_from_the_start() {
    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || {});
    for (qos, coherence, behind) in [
        (Qos::Low, Some(0.29), 1),
        (Qos::Low, Some(0.31), 1),
        (Qos::Low, None, 1),
        (Qos::Default, Some(0.0), 2),
        (Qos::High, Some(0.0), 2),
    ] {
        let options = JobOptions { coherence, ..job(qos, "scored") };
        engine.submit(&plan, frames(1), options).expect("there should be room").wait().expect("it should be done");
        let snapshot = engine.snapshot().expect("there should be one");
        assert_eq!(snapshot.qos.iter().map(|(_, qos)| qos.put_behind).sum::<u64>(), behind, "{qos} {coherence:?}");
    }
    let options = JobOptions { coherence_from: Some("powers".into()), ..JobOptions::default() };
    let error = engine.submit(&plan, frames(1), options).unwrap_err().to_string();
    assert!(error.starts_with("the source of coherence is `powers`, but it must be an output"), "{error}");
}

#[test]
fn tickets_can_be_asked_waited_for_and_awaited() {
    let engine = cpu(ScheduleOptions::default());
    let (go, gone) = bounded::<()>(1);
    let mut ticket = engine
        .run_on_lane(Qos::Default, "waits", move |lane| {
            gone.recv().ok();
            (lane.qos(), lane.device().kind)
        })
        .expect("there should be room");
    assert!(ticket.try_result().is_none());
    assert!(ticket.wait_timeout(10 * MS).is_none(), "the ticket stays good");
    go.send(()).expect("the job should wait");
    let answer = ticket.wait_timeout(LONG).expect("it should be done").expect("it should be done well");
    assert_eq!(answer, (Qos::Default, DeviceKind::Cpu));
    assert!(matches!(ticket.try_result(), Some(Err(Error::AnswerTaken))), "there is one answer");
    let awaited = engine.run_on_lane(Qos::High, "awaited", |_| 7).expect("there should be room");
    assert_eq!(pollster::block_on(awaited).expect("it should be done"), 7);
}

#[test]
fn a_panic_costs_its_job_and_nothing_else() {
    let engine = cpu(ScheduleOptions::default());
    let error = engine.run_on_lane(Qos::Low, "bad", |_| panic!("on purpose")).expect("room").wait().unwrap_err();
    assert_eq!(error.to_string(), "a job panicked on its lane: on purpose");
    let plan = slow(&engine, || panic!("in a kernel"));
    let error = engine.submit(&plan, frames(3), job(Qos::Low, "bad kernel")).expect("room").wait().unwrap_err();
    assert!(matches!(error, Error::JobPanicked { .. }), "{error}");
    let plan = slow(&engine, || {});
    for qos in Qos::ALL {
        let ticket = engine.submit(&plan, frames(3), job(qos, "good")).expect("there should be room");
        ticket.wait().expect("lanes and plans go on");
    }
    assert_eq!(engine.snapshot().expect("there should be one").qos.low.failed, 2);
}

/// What a waker does is the app's business; the lane that wakes it goes on.
#[test]
fn a_waker_that_panics_costs_no_lane() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let engine = cpu(ScheduleOptions::default());
    let (go, gone) = bounded::<()>(1);
    let waits = engine.run_on_lane(Qos::Low, "wakes", move |_| gone.recv().ok());
    let mut waits = waits.expect("there should be room");
    let waker = std::task::Waker::from(Arc::new(Panics));
    let pinned = std::pin::Pin::new(&mut waits);
    assert!(pinned.poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    go.send(()).expect("the job should wait");
    let next = engine.run_on_lane(Qos::Low, "next", |_| 5).expect("there should be room");
    assert_eq!(next.wait().expect("`Low` has one lane, and it goes on"), 5);
    assert!(waits.wait().is_ok(), "the answer is there all the same");
}

#[test]
fn a_lane_can_be_possessed_and_comes_back_also_by_a_panic() {
    for engine in engines() {
        let guard = engine.possession(Qos::Low).expect("there should be a lane");
        assert_eq!((guard.qos(), guard.index()), (Qos::Low, 0));
        assert_eq!(guard.device(), engine.device());
        match guard.wgpu() {
            Some((device, queue)) => {
                let encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                queue.submit([encoder.finish()]);
            }
            None => assert_eq!(engine.device().kind, DeviceKind::Cpu),
        }
        let mut blocked = engine.run_on_lane(Qos::Low, "blocked", |_| ()).expect("there should be room");
        assert!(blocked.wait_timeout(20 * MS).is_none(), "`Low` has one lane, and it is taken");
        let free = engine.run_on_lane(Qos::High, "free", |_| ()).expect("there should be room");
        free.wait().expect("other levels go on");
        let panicked = std::thread::Builder::new().name("holder".to_owned()).spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert!(panicked.expect("a thread should start").join().is_err());
        blocked.wait_timeout(LONG).expect("the lane should be free again").expect("it should be done");
    }
}

#[test]
fn full_queues_refuse_and_say_when_to_come_back() {
    let options = ScheduleOptions { capacity: PerQos { high: 9, default: 9, low: 1 }, ..ScheduleOptions::default() };
    let engine = cpu(options);
    let guard = engine.possession(Qos::Low).expect("there should be a lane");
    let waiting = engine.run_on_lane(Qos::Low, "waits", |_| ()).expect("there should be room for one");
    let error = engine.run_on_lane(Qos::Low, "refused", |_| ()).unwrap_err();
    let Error::QueueFull { qos: Qos::Low, waiting: 1, .. } = error else { panic!("{error}") };
    assert!(error.to_string().starts_with("the queue of `low` jobs is full (1 wait); try again in "), "{error}");
    drop(guard);
    waiting.wait().expect("it should be done");
    engine.run_on_lane(Qos::Low, "comes back", |_| ()).expect("there should be room").wait().expect("done");
    assert_eq!(engine.snapshot().expect("there should be one").qos.low.refused, 1);
}

/// What a refused job holds may come straight back when it is dropped.
#[test]
fn a_refused_job_is_let_go_where_it_may_do_anything() {
    struct Asks(Engine);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.snapshot().expect("there should be one");
        }
    }
    let capacity = PerQos { high: 9, default: 9, low: 1 };
    let engine = cpu(ScheduleOptions { capacity, ..ScheduleOptions::default() });
    let kept = engine.possession(Qos::Low).expect("there should be a lane");
    let _waits = engine.run_on_lane(Qos::Low, "waits", |_| ()).expect("there should be room for one");
    let asks = Asks(engine.clone());
    let refused = engine.run_on_lane(Qos::Low, "refused", move |_| drop(asks));
    assert!(matches!(refused, Err(Error::QueueFull { .. })));
    drop(kept);
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || {});
    let error = engine.submit(&plan, vec![vec![0.0; 63]], JobOptions::default()).unwrap_err();
    assert!(matches!(error, Error::BatchShape { .. }), "{error}");
    let error = engine.submit(&plan, Vec::<Vec<f32>>::new(), JobOptions::default()).unwrap_err();
    assert!(matches!(error, Error::BatchShape { .. }), "{error}");
    let other = open(DeviceChoice::Cpu);
    let error = other.submit(&plan, frames(1), JobOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the plan is that of another engine, but an engine runs those that it compiled");
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let refused = |schedule: ScheduleOptions| {
        let options = EngineOptions { device: DeviceChoice::Cpu, schedule, ..EngineOptions::default() };
        Engine::open(&options).unwrap_err().to_string()
    };
    let usual = ScheduleOptions::default;
    let lanes = PerQos { high: 1, default: 0, low: 1 };
    assert_eq!(
        refused(ScheduleOptions { lanes, ..usual() }),
        "the number of lanes is 0 for `default`, but 1 to 64 are allowed"
    );
    let capacity = PerQos { high: 1, default: 1, low: 0 };
    assert_eq!(
        refused(ScheduleOptions { capacity, ..usual() }),
        "the queue's capacity is 0 for `low`, but it must be 1 at least"
    );
    assert_eq!(
        refused(ScheduleOptions { longest_piece: Duration::ZERO, ..usual() }),
        "the longest piece is 0ns, but it must be 10 us at least, so that pieces do more than they cost"
    );
    let message = refused(ScheduleOptions { low_floor: 0.6, ..usual() });
    assert_eq!(message, "the floor of `low` is 0.6, but it must be 0 to 0.5");
    let message = refused(ScheduleOptions { coherence_threshold: f32::NAN, ..usual() });
    assert_eq!(message, "the threshold of coherence is no number, but it must be one");
}

#[test]
fn a_faulty_frame_is_named_as_a_run_names_it() {
    let gate = Gate { faulty: Faulty::Reject, ..Gate::default() };
    for engine in engines() {
        // Nothing is known of how long its pieces take: so the first ones are short.
        let plan = engine.compile(&filtered(gate)).expect("the graph should compile");
        for (channels, length, channel, frame) in
            [(3, 120, 2, 77), (1, 90, 0, 0), (20, 2, 3, 0), (257, 1, 9, 0), (2, 50, 1, 49)]
        {
            let mut samples = noise(256 * length * channels, 6);
            samples[256 * (channel * length + frame) + 13] = f32::NAN;
            let expected = plan.run(&[&samples], channels).unwrap_err().to_string();
            assert!(expected.starts_with(&format!("channel {channel}, frame {frame}: ")), "{expected}");
            for qos in Qos::ALL {
                let options = JobOptions { channels, ..job(qos, "faulty") };
                let ticket = engine.submit(&plan, vec![samples.clone()], options).expect("there should be room");
                let what = format!("{channels} x {length}, {qos} on {}", engine.device().name);
                assert_eq!(ticket.wait().unwrap_err().to_string(), expected, "{what}");
            }
        }
    }
}

/// Jobs of all levels from many threads at once, some cancelled, on every device: all are answered, and the counters agree.
#[test]
fn many_threads_at_once() {
    for name in std::iter::once(None).chain(adapter_names().iter().map(Some)) {
        let engine = open(name.map_or(DeviceChoice::Cpu, |name| DeviceChoice::Named(name.clone())));
        let plan = engine.compile(&filtered(Gate::default())).expect("the graph should compile");
        let samples = noise(256 * 40, 8);
        let expected = plan.run(&[&samples], 1).expect("it should run");
        let answers: Vec<(u64, u64)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|thread| {
                    let (engine, plan, samples, expected) = (&engine, &plan, &samples, &expected);
                    scope.spawn(move || {
                        let (mut done, mut cancelled) = (0, 0);
                        for round in 0..12 {
                            let qos = Qos::ALL[(thread + round) % 3];
                            let ticket = engine.submit(plan, vec![samples.clone()], job(qos, "one of many"));
                            let ticket = ticket.expect("there should be room");
                            if round % 4 == 3 {
                                ticket.cancel();
                            }
                            match ticket.wait() {
                                Ok(output) => {
                                    assert_same_output(&output, expected, &["clean", "gated"], "one of many");
                                    done += 1;
                                }
                                Err(Error::Cancelled { .. }) => cancelled += 1,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        (done, cancelled)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it should not panic")).collect()
        });
        let (done, cancelled) = answers.iter().fold((0, 0), |sum, (done, cancelled)| (sum.0 + done, sum.1 + cancelled));
        let snapshot = engine.snapshot().expect("there should be one");
        let sum = |of: fn(&auricle::QosSnapshot) -> u64| snapshot.qos.iter().map(|(_, qos)| of(qos)).sum::<u64>();
        assert_eq!((sum(|qos| qos.done), sum(|qos| qos.cancelled)), (done, cancelled));
        assert_eq!((done + cancelled, snapshot.unanswered()), (72, 0));
        assert!((1..=done).contains(&sum(|qos| qos.total.count)), "times are kept of what was done lately");
    }
}

/// Many threads of somebody else's pool may share one plan.
#[test]
fn a_plan_that_is_called_from_a_rayon_pool_answers() {
    use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};
    let (tell, told) = bounded(1);
    let work = move || {
        let graph = Graph::new().input("in", FrameShape::real(64)).gate("gate", "in", Gate::default());
        let plan = open(DeviceChoice::Cpu).compile(&graph.output("out", "gate")).unwrap();
        let samples = noise(64 * 200, 3);
        let live: u64 = (0..500).into_par_iter().map(|_| plan.run(&[&samples], 1).unwrap().counts().live).sum();
        tell.send(live).unwrap();
    };
    std::thread::Builder::new().name("pool".to_owned()).spawn(work).unwrap();
    assert_eq!(told.recv_timeout(LONG), Ok(500 * 200), "no call waits for another for ever");
}

#[test]
fn micro_batches_let_other_jobs_of_their_level_in() {
    let engine = cpu(ScheduleOptions { lanes: PerQos { high: 1, default: 1, low: 1 }, ..ScheduleOptions::default() });
    let order = Arc::new(Mutex::new(Vec::new()));
    let (begin, begun) = bounded::<()>(0);
    let hold = engine.run_on_lane(Qos::Low, "hold", move |_| begun.recv().ok()).expect("taken");
    let batches = Arc::clone(&order);
    let sums = engine.microbatch(Qos::Low, "sums", (0..7).collect(), 3, move |lane, batch: Vec<i32>| {
        assert_eq!(lane.qos(), Qos::Low, "on a lane of the level");
        batches.lock().unwrap().push(batch.len());
        batch.iter().sum::<i32>()
    });
    let other = Arc::clone(&order);
    let between = engine.run_on_lane(Qos::Low, "between", move |_| other.lock().unwrap().push(100)).expect("taken");
    begin.send(()).expect("the lane waits for it");
    hold.wait().expect("done");
    assert_eq!(sums.expect("taken").wait().expect("done"), [3, 12, 6]);
    between.wait().expect("done");
    assert_eq!(*order.lock().unwrap(), [3, 100, 3, 1], "the other job comes after the first batch");

    let none = engine.microbatch(Qos::High, "none", Vec::<u8>::new(), 5, |_, batch| batch.len()).expect("taken");
    assert!(none.wait().expect("done").is_empty(), "nothing to do");
    let refused = engine.microbatch(Qos::High, "none", vec![1], 0, |_, batch: Vec<i32>| batch.len());
    assert!(matches!(refused, Err(Error::Setting { .. })), "no size");
    let panics = engine.microbatch(Qos::High, "panics", vec![1, 2], 1, |_, _| panic!("no good")).expect("taken");
    assert!(matches!(panics.wait(), Err(Error::JobPanicked { .. })), "told");
}

/// Also with a denoiser, pieces teach how large the next may be.
#[test]
fn pieces_of_a_denoised_job_grow() {
    let engine = cpu(ScheduleOptions { longest_piece: Duration::from_secs(10), ..ScheduleOptions::default() });
    let denoise = Denoise::new(auricle::stage::denoise::model::Model::builtin());
    let graph =
        Graph::new().input("in", FrameShape::real(256)).denoise("denoise", "in", denoise).output("out", "denoise");
    let plan = engine.compile(&graph).expect("the graph should compile");
    let ticket = engine.submit(&plan, [noise(256 * 1600, 5)], job(Qos::Low, "long")).expect("there should be room");
    assert_eq!(ticket.wait().expect("it should be done").frames(), 1600);
    let batches = engine.snapshot().expect("there should be one").work.batches;
    assert!((2..50).contains(&batches), "{batches} pieces; of 16 frames each, 100");
}
