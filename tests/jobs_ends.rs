//! How jobs end other than well: late, cancelled, given up by an engine that shuts down or goes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auricle::{Error, JobOptions, PerQos, Qos, ScheduleOptions, ShutDown};
use crossbeam::channel::bounded;

use crate::jobs::{LONG, MS, cpu, frames, job, slow};

#[test]
fn a_job_expires_on_time_though_the_device_is_busy() {
    let engine = cpu(ScheduleOptions::default());
    let (free, held) = bounded::<()>(0);
    let plan = slow(&engine, move || _ = held.recv());
    let mut busy = engine.submit(&plan, frames(1), job(Qos::High, "busy")).expect("there should be room");
    let late = JobOptions { deadline: Some(30 * MS), ..job(Qos::Default, "late") };
    let start = Instant::now();
    let error = engine.submit(&plan, frames(1), late).expect("there should be room").wait().unwrap_err();
    assert!(start.elapsed() >= 30 * MS, "not before its time: {:?}", start.elapsed());
    assert!(busy.try_result().is_none(), "nor when the device is free again: {:?}", start.elapsed());
    assert!(matches!(&error, Error::Expired { job, after } if job == "late" && *after == 30 * MS), "{error}");
    drop(free);
    busy.wait().expect("it should be done");
    let snapshot = engine.snapshot().expect("there should be one");
    assert_eq!((snapshot.qos.default.expired, snapshot.qos.high.done), (1, 1));
}

#[test]
fn a_job_expires_while_a_lane_works_on_it() {
    let engine = cpu(ScheduleOptions::default());
    let (free, held) = bounded::<()>(0);
    let plan = slow(&engine, move || _ = held.recv());
    let options = JobOptions { deadline: Some(20 * MS), ..job(Qos::High, "slow") };
    let error = engine.submit(&plan, frames(1), options).expect("there should be room").wait().unwrap_err();
    assert!(matches!(error, Error::Expired { .. }), "{error}");
    // The lane comes back.
    drop(free);
    let next = engine.submit(&plan, frames(1), job(Qos::High, "next")).expect("there should be room");
    next.wait().expect("it should be done");
}

#[test]
fn cancelled_jobs_are_answered_at_once_and_the_rest_of_them_is_not_done() {
    let engine = cpu(ScheduleOptions { longest_piece: MS, ..ScheduleOptions::default() });
    let done = Arc::new(Mutex::new(0));
    let count = Arc::clone(&done);
    let plan = slow(&engine, move || {
        *count.lock().unwrap() += 1;
        std::thread::sleep(MS);
    });
    let running = engine.submit(&plan, frames(1000), job(Qos::Low, "running")).expect("there should be room");
    let waiting = engine.submit(&plan, frames(1000), job(Qos::Low, "waiting")).expect("there should be room");
    while *done.lock().unwrap() == 0 {
        std::thread::sleep(MS);
    }
    assert!(waiting.cancel() && running.cancel());
    assert!(!running.cancel(), "only once");
    for ticket in [waiting, running] {
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    }
    let next = engine.submit(&plan, frames(1), job(Qos::Low, "next")).expect("there should be room");
    next.wait().expect("the lane is free");
    assert!(*done.lock().unwrap() < 1000, "of 2000 frames");
    assert_eq!(engine.snapshot().expect("there should be one").qos.low.cancelled, 2);
}

#[test]
fn an_engine_can_be_shut_down_before_its_first_job_and_by_one() {
    let engine = cpu(ScheduleOptions::default());
    assert_eq!(engine.shutdown(ShutDown::Drain, LONG), 0);
    assert!(matches!(engine.run_on_lane(Qos::High, "late", |_| ()), Err(Error::ShutDown { .. })));

    let engine = cpu(ScheduleOptions::default());
    let inside = engine.clone();
    let job = engine.run_on_lane(Qos::High, "ends all", move |_| inside.shutdown(ShutDown::Drain, LONG));
    let start = Instant::now();
    assert!(matches!(job.expect("there should be room").wait(), Err(Error::ShutDown { .. })));
    assert!(start.elapsed() < LONG / 2, "it should not wait for itself");
}

#[test]
fn draining_does_what_is_there_and_aborting_does_not() {
    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || std::thread::sleep(MS));
    let tickets: Vec<_> = (0..10).map(|_| engine.submit(&plan, frames(2), job(Qos::Default, "drained"))).collect();
    assert_eq!(engine.shutdown(ShutDown::Drain, LONG), 0);
    for ticket in tickets {
        ticket.expect("there should be room").wait().expect("it should be done");
    }
    let error = engine.submit(&plan, frames(1), job(Qos::Default, "too late")).unwrap_err();
    assert_eq!(error.to_string(), "job `too late` was given up: the engine shuts down");

    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || std::thread::sleep(MS));
    let tickets: Vec<_> = (0..10).map(|_| engine.submit(&plan, frames(10_000), job(Qos::Default, "aborted"))).collect();
    let start = Instant::now();
    let given_up = engine.shutdown(ShutDown::Abort, LONG);
    assert!(start.elapsed() < LONG / 10);
    let errors = tickets.into_iter().map(|ticket| ticket.expect("there should be room").wait());
    assert_eq!(errors.filter(|answer| matches!(answer, Err(Error::ShutDown { .. }))).count(), given_up);
    assert_eq!(given_up, 10, "none of ten seconds is done yet");
    assert_eq!(engine.shutdown(ShutDown::Abort, LONG), 0, "a second time does nothing");
}

#[test]
fn a_drain_that_takes_too_long_gives_up_the_rest() {
    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || std::thread::sleep(5 * MS));
    let ticket = engine.submit(&plan, frames(10_000), job(Qos::Low, "endless")).expect("there should be room");
    let start = Instant::now();
    assert_eq!(engine.shutdown(ShutDown::Drain, 50 * MS), 1);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(matches!(ticket.wait(), Err(Error::ShutDown { .. })));
}

#[test]
fn a_closure_that_does_not_return_holds_its_lane_only() {
    let engine = cpu(ScheduleOptions { lanes: PerQos { high: 1, default: 1, low: 1 }, ..ScheduleOptions::default() });
    let (free, held) = bounded::<()>(0);
    let stuck = engine.run_on_lane(Qos::Low, "stuck", move |_| _ = held.recv()).expect("there should be room");
    let behind = engine.run_on_lane(Qos::Low, "behind", |_| ()).expect("there should be room");
    let beside = engine.run_on_lane(Qos::High, "beside", |_| 7).expect("there should be room");
    assert_eq!(beside.wait().expect("other lanes go on"), 7);
    let start = Instant::now();
    assert_eq!(engine.shutdown(ShutDown::Drain, 50 * MS), 2, "it and what waits for its lane");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    for ticket in [stuck, behind] {
        assert!(matches!(ticket.wait(), Err(Error::ShutDown { .. })), "given up");
    }
    drop(free);
}

#[test]
fn dropping_an_engine_answers_what_is_open() {
    let engine = cpu(ScheduleOptions::default());
    let plan = slow(&engine, || std::thread::sleep(MS));
    let ticket = engine.submit(&plan, frames(10_000), job(Qos::Low, "open")).expect("there should be room");
    let clone = engine.clone();
    drop(engine);
    clone.run_on_lane(Qos::High, "goes on", |_| ()).expect("a clone keeps it open").wait().expect("done");
    drop(clone);
    assert!(matches!(ticket.wait(), Err(Error::ShutDown { .. })));

    // The last clone may go on a lane of its own.
    let engine = cpu(ScheduleOptions::default());
    let (sender, wait) = bounded(1);
    let inside = engine.clone();
    let last = engine.run_on_lane(Qos::Default, "last", move |_| {
        wait.recv().ok();
        drop(inside);
    });
    drop(engine);
    sender.send(()).expect("the job should wait");
    let answer = last.expect("there should be room").wait_timeout(LONG).expect("it should not hang");
    assert!(matches!(answer, Ok(()) | Err(Error::ShutDown { .. })));
}
