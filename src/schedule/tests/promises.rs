//! What each level is promised, checked over many arrivals.

use std::time::Duration;

use super::simulation::{Arrivals, Outcome, Scenario, bounds, simulate};
use crate::qos::{PerQos, Qos};
use crate::schedule::dispatch::{Dispatch, Load, Waiting};

const MS: Duration = Duration::from_millis(1);
/// What a `High` job takes.
const C: Duration = MS;
/// What a piece of the others takes, at most.
const S: Duration = Duration::from_micros(250);

/// `High` jobs at random that take `load` of the device, and as much of the others as the device holds.
fn busy(load: f64, in_flight: usize, jobs: usize, seed: u64) -> Scenario {
    let high = Arrivals::Random(load / C.as_secs_f64());
    Scenario {
        bounds: bounds(in_flight, 0.1),
        arrivals: PerQos { high, default: Arrivals::Saturating, low: Arrivals::Saturating },
        takes: PerQos { high: C, default: S, low: S },
        jobs,
        seed,
    }
}

fn alone(scenario: Scenario) -> Scenario {
    let arrivals = PerQos { default: Arrivals::Never, low: Arrivals::Never, ..scenario.arrivals };
    Scenario { arrivals, ..scenario }
}

/// Responses that are longer than `submissions * S + H + C`.
fn violations(outcome: &Outcome, submissions: u32) -> usize {
    outcome.responses.iter().filter(|response| response.time > submissions * S + response.ahead + C).count()
}

/// Without the floor, the bound holds as it stands, whatever the load. A million arrivals.
#[test]
fn urgent_jobs_wait_for_what_is_in_flight_and_no_longer() {
    for (in_flight, load) in [(1_u32, 0.5), (1, 0.9), (2, 0.3), (2, 0.9)] {
        let mut scenario = busy(load, in_flight as usize, 250_000, 7 + u64::from(in_flight));
        scenario.bounds.low_floor = 0.0;
        let outcome = simulate(&scenario);
        assert_eq!(violations(&outcome, in_flight), 0, "{in_flight} in flight, load {load}");
        let one_less = violations(&outcome, in_flight - 1);
        assert!(one_less > 0, "a bound with one submission less should not hold, or the test says nothing");
    }
}

/// With it, one piece of `Low` may come between for each `S / floor` of service.
#[test]
fn the_floor_costs_urgent_jobs_no_more_than_its_share() {
    for load in [0.5, 0.95, 1.5] {
        let outcome = simulate(&busy(load, 2, 20_000, 3));
        for response in &outcome.responses {
            let bound = 2 * S + response.ahead + C;
            let pieces = 1.0 + (bound.as_secs_f64() / 0.9 * 0.1 / S.as_secs_f64()).ceil();
            assert!(response.time <= bound + S.mul_f64(pieces), "{response:?} at load {load}");
        }
    }
}

#[test]
fn low_gets_its_floor_under_overload() {
    let outcome = simulate(&busy(1.5, 2, 50_000, 11));
    let low = outcome.share(Qos::Low);
    // One piece more or less at the end.
    assert!((0.0999..0.102).contains(&low), "{low}");
    assert!(outcome.share(Qos::Default) < 0.001, "what is not promised is not given");
}

#[test]
fn idle_time_counts_towards_the_floor() {
    let mut scenario = busy(0.5, 2, 50_000, 5);
    scenario.arrivals.default = Arrivals::Never;
    let outcome = simulate(&scenario);
    assert!(outcome.share(Qos::Low) > 0.45, "idle time is for whoever has work: {}", outcome.share(Qos::Low));
    let without = simulate(&Scenario { bounds: bounds(2, 0.0), ..scenario });
    assert_eq!(outcome.percentile(0.99), without.percentile(0.99), "who has enough anyway should cost nothing more");
}

#[test]
fn the_slowest_urgent_jobs_are_hardly_slower_than_alone() {
    for (load, seed) in [(0.5, 1), (0.7, 2), (0.8, 3)] {
        let scenario = busy(load, 2, 200_000, seed);
        let (beside, control) = (simulate(&scenario).percentile(0.99), simulate(&alone(scenario)).percentile(0.99));
        let ratio = beside.as_secs_f64() / control.as_secs_f64();
        assert!(ratio <= 1.25, "at load {load}: {beside:?} beside others, {control:?} alone: {ratio}");
    }
}

#[test]
fn default_goes_before_low_and_the_device_is_never_left_idle() {
    let mut scenario = busy(0.3, 2, 20_000, 9);
    scenario.arrivals.low = Arrivals::Saturating;
    let outcome = simulate(&scenario);
    assert!((0.099..0.11).contains(&outcome.share(Qos::Low)), "low has its floor: {}", outcome.share(Qos::Low));
    assert!(outcome.share(Qos::Default) > 0.58, "default has the rest: {}", outcome.share(Qos::Default));
}

/// The jobs of a level in the order in which one lane takes them.
fn order(jobs: &[(u64, Option<Duration>, bool)]) -> Vec<u64> {
    let mut dispatch = Dispatch::new(bounds(1, 0.0));
    for &(id, deadline, behind) in jobs {
        dispatch.admit(id, Qos::Default, Load::Device, deadline, behind).expect("there should be room");
    }
    let mut order = Vec::new();
    while let Some((id, load)) = dispatch.take(Qos::Default) {
        assert!(dispatch.take(Qos::Default).is_none(), "one is in flight");
        dispatch.end(Qos::Default, load, MS);
        order.push(id);
    }
    order
}

#[test]
fn inside_a_level_coherent_jobs_go_first_then_urgent_ones_then_earlier_ones() {
    let jobs = [
        (1, None, false),
        (2, Some(9 * MS), false),
        (3, Some(MS), true),
        (4, None, false),
        (5, Some(2 * MS), false),
        (6, None, true),
    ];
    assert_eq!(order(&jobs), [5, 2, 1, 4, 3, 6]);
}

#[test]
fn a_full_queue_refuses_and_has_room_again_later() {
    let mut bounds = bounds(1, 0.0);
    bounds.capacity = PerQos { high: 1, default: 2, low: 3 };
    let mut dispatch = Dispatch::new(bounds);
    for (qos, room) in bounds.capacity.iter() {
        for id in 0..*room as u64 {
            assert!(dispatch.admit(id, qos, Load::Device, None, false).is_some(), "{qos} has room for {room}");
        }
        assert!(dispatch.admit(99, qos, Load::Device, None, false).is_none(), "{qos} is full");
    }
    dispatch.take(Qos::High).expect("a lane is free");
    assert!(dispatch.admit(99, Qos::High, Load::Device, None, false).is_some(), "a place came free");
}

#[test]
fn turns_of_streams_take_nobodys_place_in_a_queue() {
    let mut bounds = bounds(1, 0.0);
    bounds.capacity = PerQos { high: 1, default: 1, low: 1 };
    let mut dispatch = Dispatch::new(bounds);
    let turn = dispatch.admit_always(1, Qos::Low, Load::Device, None, false);
    dispatch.admit_always(2, Qos::Low, Load::Device, None, false);
    let job = dispatch.admit(3, Qos::Low, Load::Device, None, false).expect("there should be room");
    assert!(dispatch.admit(4, Qos::Low, Load::Device, None, false).is_none(), "that was the only place");
    dispatch.remove(Qos::Low, turn);
    assert!(dispatch.admit(4, Qos::Low, Load::Device, None, false).is_none(), "a turn had none of it");
    dispatch.remove(Qos::Low, job);
    dispatch.remove(Qos::Low, job);
    assert_eq!((dispatch.waiting(Qos::Low), dispatch.waiting_bounded(Qos::Low)), (1, 0));
    let waiting = Waiting { id: 3, load: Load::Device, is_bounded: true };
    let job = dispatch.put_last(Qos::Low, waiting, job);
    assert!(dispatch.admit(4, Qos::Low, Load::Device, None, false).is_none(), "what was put back counts again");
    assert_eq!(dispatch.take(Qos::Low).map(|(id, _)| id), Some(2));
    dispatch.remove(Qos::Low, job);
    assert!(dispatch.admit(4, Qos::Low, Load::Device, None, false).is_some(), "its place came free");
}

#[test]
fn an_apps_own_code_holds_a_lane_but_not_the_device() {
    let mut dispatch = Dispatch::new(bounds(1, 0.0));
    dispatch.admit(1, Qos::Low, Load::App, None, false).expect("there should be room");
    assert_eq!(dispatch.take(Qos::Low), Some((1, Load::App)));
    dispatch.admit(2, Qos::Low, Load::Device, None, false).expect("there should be room");
    dispatch.admit(3, Qos::Default, Load::Device, None, false).expect("there should be room");
    assert_eq!(dispatch.take(Qos::Low), None, "its only lane is busy");
    assert_eq!(dispatch.take(Qos::Default), Some((3, Load::Device)), "the device is not");
    dispatch.end(Qos::Default, Load::Device, MS);
    dispatch.end(Qos::Low, Load::App, MS);
    assert_eq!(dispatch.take(Qos::Low), Some((2, Load::Device)));
}
