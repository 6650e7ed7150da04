//! One answer for each job, whatever happens, and counters that agree.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::sync::Parker;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::error::Error;
use crate::qos::{PerQos, Qos};
use crate::schedule::dispatch::{Bounds, Load};
use crate::schedule::lane::Lane;
use crate::schedule::ticket::Answer;
use crate::schedule::work::Work;
use crate::schedule::{Answered, Bell};
use crate::schedule::{Arrival, Clock, LaneId, Progress, Schedule, Task};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Submit {
        qos: Qos,
        is_app: bool,
        deadline: Option<u64>,
        behind: bool,
    },
    /// A lane without work looks for some.
    Look(usize),
    /// A lane with work gets on with it.
    Work(usize, Step),
    Cancel(usize),
    /// Time goes on, and the timer looks.
    Wait(u64),
    Close,
    Abort,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    More,
    Done,
    Failed,
}

const LANES: PerQos<usize> = PerQos { high: 2, default: 2, low: 1 };

fn lane(index: usize) -> LaneId {
    match index % 5 {
        index @ 0..2 => LaneId { qos: Qos::High, index },
        index @ 2..4 => LaneId { qos: Qos::Default, index: index - 2 },
        _ => LaneId { qos: Qos::Low, index: 0 },
    }
}

fn event() -> impl Strategy<Value = Event> {
    let qos = prop_oneof![Just(Qos::High), Just(Qos::Default), Just(Qos::Low)];
    let step = prop_oneof![3 => Just(Step::More), 4 => Just(Step::Done), 1 => Just(Step::Failed)];
    prop_oneof![
        8 => (qos, any::<bool>(), proptest::option::of(0_u64..50), any::<bool>())
            .prop_map(|(qos, is_app, deadline, behind)| Event::Submit { qos, is_app, deadline, behind }),
        8 => (0_usize..5).prop_map(Event::Look),
        8 => (0_usize..5, step).prop_map(|(lane, step)| Event::Work(lane, step)),
        3 => (0_usize..40).prop_map(Event::Cancel),
        3 => (0_u64..40).prop_map(Event::Wait),
        1 => Just(Event::Close),
        1 => Just(Event::Abort),
    ]
}

/// Counts the answers of one job.
#[derive(Default)]
struct Answers {
    results: AtomicUsize,
    errors: Mutex<Vec<Error>>,
}

impl Answer for Answers {
    fn fail(&self, error: Error) {
        self.errors.lock().unwrap().push(error);
    }
}

/// The test does it, not a lane.
struct NoWork;

impl Work for NoWork {
    fn advance(self: Box<Self>, _lane: &Lane, _budget: Option<Duration>) -> Progress {
        panic!("no lane runs in this test");
    }
}

struct House {
    schedule: Schedule,
    bell: Arc<Bell>,
    lanes: Vec<Option<Task>>,
    jobs: Vec<(u64, Qos, Arc<Answers>)>,
    refused: u64,
    is_closed: bool,
    now: u64,
}

impl House {
    fn new() -> Self {
        let bounds = Bounds {
            capacity: PerQos { high: 3, default: 4, low: 2 },
            lanes: LANES,
            in_flight: 2,
            low_floor: 0.1,
            coherence_threshold: 0.3,
        };
        Self {
            schedule: Schedule::new(Clock::Manual(AtomicU64::new(0)), bounds),
            bell: Arc::new(Bell::new(Parker::new().unparker().clone())),
            lanes: (0..5).map(|_| None).collect(),
            jobs: Vec::new(),
            refused: 0,
            is_closed: false,
            now: 0,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Submit { qos, is_app, deadline, behind } => self.submit(qos, is_app, deadline, behind),
            Event::Look(index) => {
                if self.lanes[index].is_none() {
                    self.lanes[index] = self.schedule.next(lane(index), &self.bell);
                }
            }
            Event::Work(index, step) => self.work(index, step),
            Event::Cancel(index) => {
                if let Some((id, _, answers)) = self.jobs.get(index) {
                    let before = count(answers);
                    assert_eq!(self.schedule.cancel(*id), before == 0, "cancelling tells whether it was in time");
                }
            }
            Event::Wait(millis) => {
                self.now += millis * 1_000_000;
                let Clock::Manual(clock) = &self.schedule.clock else { panic!("the clock should be the test's") };
                clock.store(self.now, Ordering::Relaxed);
                self.schedule.expire();
            }
            Event::Close => {
                self.schedule.close();
                self.is_closed = true;
            }
            Event::Abort => {
                let open = self.jobs.iter().filter(|(_, _, answers)| count(answers) == 0).count();
                assert_eq!(self.schedule.abort(), open, "all that have no answer are given up");
                self.is_closed = true;
            }
        }
    }

    fn submit(&mut self, qos: Qos, is_app: bool, deadline: Option<u64>, behind: bool) {
        let answers = Arc::new(Answers::default());
        let arrival = Arrival {
            is_bounded: true,
            name: Arc::from("job"),
            qos,
            load: if is_app { Load::App } else { Load::Device },
            frames: 0,
            deadline: deadline.map(Duration::from_millis),
            coherence: behind.then_some(0.1),
            answer: Arc::clone(&answers) as _,
            work: Box::new(NoWork),
        };
        match self.schedule.admit(arrival) {
            Ok(id) => {
                assert!(!self.is_closed, "a closed house takes nobody in");
                self.jobs.push((id, qos, answers));
            }
            Err(Error::QueueFull { .. }) => self.refused += 1,
            Err(error) => assert!(self.is_closed && matches!(error, Error::ShutDown { .. }), "{error}"),
        }
    }

    fn work(&mut self, index: usize, step: Step) {
        let Some(Task { work, receipt }) = self.lanes[index].take() else { return };
        let answers = self.jobs.iter().find(|(id, _, _)| *id == receipt.id).map(|(_, _, answers)| Arc::clone(answers));
        let answers = answers.expect("a lane should work on what was admitted");
        let progress = match step {
            Step::More => Progress::More(work, Some(0.2)),
            Step::Done => Progress::Done(Box::new(move || {
                answers.results.fetch_add(1, Ordering::Relaxed);
                Answered { waker: None, is_kept: true }
            })),
            Step::Failed => Progress::Failed(Error::JobPanicked { message: "as the test wants".to_owned() }),
        };
        self.lanes[index] = self.schedule.end(lane(index), &receipt, progress);
    }

    fn check(&self) {
        let snapshot = self.schedule.snapshot();
        for (qos, figures) in snapshot.qos.iter() {
            let admitted = self.jobs.iter().filter(|(_, level, _)| *level == qos);
            let answered = admitted.clone().filter(|(_, _, answers)| count(answers) > 0).count() as u64;
            assert_eq!(figures.admitted, admitted.count() as u64);
            assert_eq!(figures.answered(), answered);
        }
        let refused: u64 = snapshot.qos.iter().map(|(_, figures)| figures.refused).sum();
        assert_eq!(refused, self.refused);
        assert_eq!(snapshot.unanswered(), self.jobs.iter().filter(|(_, _, a)| count(a) == 0).count() as u64);
        assert!(self.jobs.iter().all(|(_, _, answers)| count(answers) <= 1), "no job is answered twice");
    }

    /// All lanes do what is there until nothing is left.
    fn drain(&mut self) {
        while self.jobs.iter().any(|(_, _, answers)| count(answers) == 0) || self.lanes.iter().any(Option::is_some) {
            let busy = self.lanes.iter().filter(|lane| lane.is_some()).count();
            for index in 0..5 {
                self.happens(Event::Look(index));
            }
            let begun = self.lanes.iter().filter(|lane| lane.is_some()).count();
            assert!(begun > 0, "jobs wait, but no lane gets any ({busy} were busy)");
            for index in 0..5 {
                self.work(index, Step::Done);
            }
        }
    }
}

fn count(answers: &Answers) -> usize {
    answers.results.load(Ordering::Relaxed) + answers.errors.lock().unwrap().len()
}

/// `PROPTEST_CASES=100000` tries more.
fn config() -> ProptestConfig {
    let usual = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return usual;
    }
    ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(1), ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_job_is_answered_exactly_once(events in proptest::collection::vec(event(), 1..120), aborts in any::<bool>()) {
        let mut house = House::new();
        for event in events {
            house.happens(event);
            house.check();
        }
        if aborts {
            house.happens(Event::Abort);
        }
        house.drain();
        house.check();
        prop_assert!(house.jobs.iter().all(|(_, _, answers)| count(answers) == 1));
        prop_assert_eq!(house.schedule.snapshot().unanswered(), 0);
    }
}

#[test]
fn expired_jobs_say_how_long_they_had() {
    let mut house = House::new();
    house.submit(Qos::Default, false, Some(20), false);
    house.happens(Event::Wait(19));
    assert_eq!(count(&house.jobs[0].2), 0);
    house.happens(Event::Wait(1));
    let errors = house.jobs[0].2.errors.lock().unwrap();
    assert_eq!(
        errors[0].to_string(),
        "job `job` was not done within 20 ms: give it more time, a higher QoS, or less to do"
    );
}

/// Any number of them may wait: they come and go without a job having more room.
#[test]
fn turns_of_streams_do_not_say_when_a_full_queue_has_room() {
    let mut house = House::new();
    let here = LaneId { qos: Qos::Default, index: 0 };
    let arrival = |is_bounded: bool| Arrival {
        is_bounded,
        name: Arc::from("job"),
        qos: Qos::Default,
        load: Load::Device,
        frames: 0,
        deadline: None,
        coherence: None,
        answer: Arc::new(Answers::default()),
        work: Box::new(NoWork),
    };
    // Jobs of a second, and between them turns of a millisecond.
    for (is_bounded, times, millis) in [(true, 1, 1000), (false, 100, 1)].repeat(3) {
        for _ in 0..times {
            house.schedule.admit(arrival(is_bounded)).expect("there is room");
            let task = house.schedule.next(here, &house.bell).expect("the lane is free");
            house.happens(Event::Wait(millis));
            let done = Progress::Done(Box::new(|| Answered { waker: None, is_kept: true }));
            assert!(house.schedule.end(here, &task.receipt, done).is_none(), "nothing else waits");
        }
    }
    let refused = (0..9).find_map(|_| house.schedule.admit(arrival(true)).err()).expect("the queue has an end");
    let Error::QueueFull { retry_after, .. } = refused else { panic!("it should be full: {refused}") };
    assert!(retry_after > Duration::from_millis(500), "jobs take a second, not {retry_after:?}");
}
