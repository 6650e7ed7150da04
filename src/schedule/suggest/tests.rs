//! Clients that follow the suggestions, and a device that takes a known time: all in virtual time, through the same two calls
//! that the engine makes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{BatchAction, BoundBy, JobTimes, MemoryState, SIZES, Suggestions};
use crate::qos::Qos;

const TARGET: Duration = Duration::from_millis(50);
/// Windows until it has to have settled.
const SETTLED: usize = 20;

/// A device: how long a job of so many frames takes at a time; none when it has no room for it.
type Takes<'a> = &'a dyn Fn(usize, Duration, &mut Random) -> Option<Duration>;

/// A device with its clients, as control theory says.
#[derive(Clone, Copy)]
struct Plant<'a> {
    takes: Takes<'a>,
    clients: usize,
    /// What a client does between two jobs, and for each frame of the next one.
    thinks: Duration,
    thinks_per_frame: Duration,
    /// Other jobs of the level, which follow nothing: each second so many, of so many frames.
    others: Option<(f64, usize)>,
}

const ALONE: Plant<'static> = Plant {
    takes: &|_, _, _| None,
    clients: 1,
    thinks: Duration::from_millis(1),
    thinks_per_frame: Duration::ZERO,
    others: None,
};

struct Random(u64);

impl Random {
    /// 0 to 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About 1, give or take a part of it.
    fn about(&mut self, part: f64) -> f64 {
        1.0 + part * (2.0 * self.uniform() - 1.0)
    }
}

/// What came of a second.
#[derive(Clone, Debug, Default)]
struct Second {
    times: Vec<Duration>,
    frames: f64,
    /// The largest batch of the second, as a power of two.
    size: usize,
}

impl Second {
    fn p95(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get((times.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    fn holds(&self) -> bool {
        self.p95() <= TARGET
    }
}

#[derive(Debug)]
struct Run {
    seconds: Vec<Second>,
    by_client: Vec<f64>,
}

impl Run {
    fn settled(&self) -> &[Second] {
        &self.seconds[SETTLED..]
    }

    fn rate(&self) -> f64 {
        self.settled().iter().map(|second| second.frames).sum::<f64>() / self.settled().len() as f64
    }

    fn holds(&self) -> f64 {
        let holding = self.settled().iter().filter(|second| second.holds()).count();
        holding as f64 / self.settled().len() as f64
    }

    /// The smallest and the largest size after it settled.
    fn sizes(&self) -> (usize, usize) {
        let sizes = || self.settled().iter().map(|second| second.size);
        (sizes().min().unwrap(), sizes().max().unwrap())
    }
}

/// Runs clients for so many seconds; those of a fixed size where one is given.
fn run(plant: Plant<'_>, seconds: usize, fixed: Option<usize>) -> Run {
    let mut suggestions = Suggestions::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut result = Run { seconds: vec![Second::default(); seconds], by_client: vec![0.0; plant.clients] };
    // Who submits next, and when: clients, and behind them the others.
    let mut next: BTreeMap<(Duration, usize), ()> =
        (0..plant.clients).map(|client| ((Duration::from_millis(37 * client as u64), client), ())).collect();
    if plant.others.is_some() {
        next.insert((Duration::ZERO, plant.clients), ());
    }
    let (mut free_at, mut busy) = (Duration::ZERO, Duration::ZERO);
    while let Some(((now, client), ())) = next.pop_first()
        && let Some(second) = result.seconds.get_mut(usize::try_from(now.as_secs()).unwrap())
    {
        let frames = match plant.others.filter(|_| client == plant.clients) {
            Some((per_s, frames)) => {
                next.insert((now + Duration::from_secs_f64(random.about(0.5) / per_s), client), ());
                frames
            }
            None => fixed.unwrap_or_else(|| {
                suggestions.suggest((now, busy), Qos::Default, TARGET, MemoryState::default()).suggested_batch
            }),
        };
        let start = now.max(free_at);
        let Some(takes) = (plant.takes)(frames, start, &mut random) else {
            suggestions.had_no_room(now, busy, frames);
            next.insert((now + Duration::from_millis(10), client), ());
            continue;
        };
        free_at = start + takes;
        busy += takes;
        let times = JobTimes { frames, waited: start - now, worked: takes, total: free_at - now };
        // The schedule tells of a job when it is answered, and jobs are answered in order.
        suggestions.done(free_at, busy, times);
        if client < plant.clients {
            second.times.push(times.total);
            second.frames += frames as f64;
            second.size = second.size.max(super::size_for(frames));
            if now.as_secs() >= SETTLED as u64 {
                result.by_client[client] += frames as f64;
            }
            let thinks = plant.thinks.mul_f64(random.about(0.2)) + plant.thinks_per_frame.mul_f64(frames as f64);
            next.insert((free_at + thinks, client), ());
        }
    }
    result
}

/// The best that one size for ever can do: the rate of those that keep the target in 95 of 100 windows, and the smallest size
/// that has it, to 2 %.
fn best_static(plant: Plant<'_>, seconds: usize) -> (usize, f64) {
    let runs: Vec<(usize, f64)> = (0..SIZES)
        .map(|size| (size, run(plant, seconds, Some(1 << size))))
        .filter(|(_, run)| run.holds() >= 0.95 && run.rate() > 0.0)
        .map(|(size, run)| (size, run.rate()))
        .collect();
    let best = runs.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    *runs.iter().find(|(_, rate)| *rate >= 0.98 * best).expect("some size should keep the target")
}

/// Within one size of the best fixed one in 95 % of windows, 90 % of its rate, the target kept in 95 %.
fn settles(name: &str, plant: Plant<'_>) {
    let seconds = 220;
    let (best, best_rate) = best_static(plant, 60);
    let run = run(plant, seconds, None);
    let (least, most) = run.sizes();
    let (rate, holds) = (run.rate() / best_rate, run.holds());
    // What failed once is tried again now and then, for a window.
    let near = run.settled().iter().filter(|second| second.size.abs_diff(best) <= 1).count();
    let is_near = near * 100 >= 95 * run.settled().len();
    assert!(is_near, "{name}: 2^{least} to 2^{most}, not within one of 2^{best}");
    assert!(most - least <= 2, "{name}: swings from 2^{least} to 2^{most}");
    assert!(rate >= 0.9, "{name}: {rate:.3} of the best rate");
    assert!(holds >= 0.95, "{name}: keeps the target in {holds:.3} of the windows");
}

fn micros(micros: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64(1e-6 * micros))
}

#[test]
fn linear_plants() {
    settles("mostly per frame", Plant { takes: &|frames, _, _| micros(200.0 + 50.0 * frames as f64), ..ALONE });
    settles("mostly per job", Plant { takes: &|frames, _, _| micros(8000.0 + 10.0 * frames as f64), ..ALONE });
    settles("quick", Plant { takes: &|frames, _, _| micros(100.0 + 0.3 * frames as f64), ..ALONE });
    settles("one frame at a time", Plant { takes: &|frames, _, _| micros(30_000.0 * frames as f64), ..ALONE });
    // Its jobs take 25.7 or 51.3 ms with a power of two of frames: the upper one is just too long.
    settles("just over", Plant { takes: &|frames, _, _| micros(100.0 + 100.0 * frames as f64), ..ALONE });
    settles("just under", Plant { takes: &|frames, _, _| micros(100.0 + 95.0 * frames as f64), ..ALONE });
    let thinks_per_frame = Duration::from_micros(80);
    settles(
        "with pauses",
        Plant { takes: &|frames, _, _| micros(200.0 + 50.0 * frames as f64), thinks_per_frame, ..ALONE },
    );
}

#[test]
fn stepped_plants() {
    // As a GPU that works in waves: each begun wave takes as long as a full one.
    settles("waves of 100", Plant { takes: &|frames, _, _| micros(1500.0 * frames.div_ceil(100) as f64), ..ALONE });
    settles("waves of 640", Plant { takes: &|frames, _, _| micros(9000.0 * frames.div_ceil(640) as f64), ..ALONE });
    let cliff: Takes<'_> = &|frames, _, _| micros(if frames > 300 { 120_000.0 } else { 500.0 + 20.0 * frames as f64 });
    settles("a step over the target", Plant { takes: cliff, ..ALONE });
}

#[test]
fn noisy_plants() {
    let noisy: Takes<'_> = &|frames, _, random| micros((300.0 + 55.0 * frames as f64) * random.about(0.15));
    settles("give or take 15 %", Plant { takes: noisy, ..ALONE });
    let hiccups: Takes<'_> = &|frames, _, random| {
        let hiccup = if random.uniform() < 0.02 { 8000.0 } else { 0.0 };
        micros((300.0 + 20.0 * frames as f64) * random.about(0.1) + hiccup)
    };
    settles("hiccups", Plant { takes: hiccups, ..ALONE });
}

#[test]
fn a_plant_whose_memory_ends() {
    let full: Takes<'_> = &|frames, _, _| (frames <= 700).then(|| Duration::from_micros(100 + 2 * frames as u64));
    settles("no room", Plant { takes: full, ..ALONE });
    let swaps: Takes<'_> = &|frames, _, _| micros(if frames > 700 { 50.0 } else { 2.0 } * frames as f64);
    settles("swaps", Plant { takes: swaps, ..ALONE });
}

/// The cost of a frame doubles and halves within minutes.
#[test]
fn drifting_plants() {
    let drifts: Takes<'_> = &|frames, at, random| {
        let slow = 1.0 + 0.5 * (1.0 - (at.as_secs_f64() * std::f64::consts::TAU / 240.0).cos());
        micros((200.0 + 30.0 * frames as f64) * slow * random.about(0.03))
    };
    let plant = Plant { takes: drifts, ..ALONE };
    let result = run(plant, 980, None);
    let holds = result.holds();
    // The best size at each moment, by definition.
    let best = |at: f64| {
        let slow = 1.0 + 0.5 * (1.0 - (at * std::f64::consts::TAU / 240.0).cos());
        (0..SIZES).rev().find(|size| 1.03e-6 * (200.0 + 30.0 * (1_u64 << size) as f64) * slow <= 0.05).unwrap()
    };
    let rate = |frames: f64, slow_at: f64| {
        let slow = 1.0 + 0.5 * (1.0 - (slow_at * std::f64::consts::TAU / 240.0).cos());
        frames / (1e-6 * (200.0 + 30.0 * frames) * slow + 1e-3)
    };
    let mut wanted = 0.0;
    for (index, second) in result.seconds.iter().enumerate().skip(SETTLED) {
        let at = index as f64 + 0.5;
        wanted += rate((1_u64 << best(at)) as f64, at);
        assert!(second.size.abs_diff(best(at)) <= 1, "second {index}: 2^{} instead of 2^{}", second.size, best(at));
    }
    let got = result.rate() / (wanted / result.settled().len() as f64);
    assert!(got >= 0.9 && holds >= 0.95, "rate {got:.3}, holds {holds:.3}");
}

/// Jain's index: 1 when all get the same, 1/n when one gets all.
fn fairness(shares: &[f64]) -> f64 {
    let (sum, squares): (f64, f64) = (shares.iter().sum(), shares.iter().map(|share| share * share).sum());
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn several_clients_share_in_equal_parts() {
    for clients in [2, 4, 9] {
        let takes: Takes<'_> = &|frames, _, random| micros((200.0 + 30.0 * frames as f64) * random.about(0.05));
        let plant = Plant { takes, clients, ..ALONE };
        settles(&format!("{clients} clients"), plant);
        let fairness = fairness(&run(plant, 120, None).by_client);
        assert!(fairness >= 0.95, "{clients} clients: {fairness:.3}");
    }
}

#[test]
fn others_on_the_level_are_reckoned_with() {
    let takes: Takes<'_> = &|frames, _, _| micros(200.0 + 30.0 * frames as f64);
    settles("others", Plant { takes, others: Some((40.0, 200)), ..ALONE });
}

/// Where nothing keeps the target because the level is overrun, smaller batches would only make it worse.
#[test]
fn a_level_that_is_overrun_is_left() {
    let takes: Takes<'_> = &|frames, _, _| micros(2000.0 + 30.0 * frames as f64);
    let mut suggestions = Suggestions::default();
    let mut actions = Vec::new();
    let (mut now, mut busy) = (Duration::ZERO, Duration::ZERO);
    let mut random = Random(1);
    for _ in 0..4000 {
        let hint = suggestions.suggest((now, busy), Qos::Default, TARGET, MemoryState::default());
        let takes = takes(hint.suggested_batch, now, &mut random).unwrap();
        (now, busy) = (now + takes, busy + takes);
        let waited = Duration::from_millis(300);
        suggestions.done(
            now,
            busy,
            JobTimes { frames: hint.suggested_batch, waited, worked: takes, total: waited + takes },
        );
        actions.push(hint);
    }
    let last = actions.last().unwrap();
    assert_eq!((last.action, last.shift_to, last.bound_by), (BatchAction::ShiftQos, Some(Qos::High), BoundBy::Queue));
    assert!(last.reason.contains("wait"), "{}", last.reason);
}

#[test]
fn clients_whose_jobs_are_small_are_not_told_to_send_more_and_more() {
    let mut suggestions = Suggestions::default();
    let (mut now, mut busy) = (Duration::ZERO, Duration::ZERO);
    let mut last = None;
    for _ in 0..3000 {
        last = Some(suggestions.suggest((now, busy), Qos::Low, TARGET, MemoryState::default()));
        let takes = Duration::from_micros(500);
        (now, busy) = (now + Duration::from_millis(10), busy + takes);
        suggestions.done(now, busy, JobTimes { frames: 8, waited: Duration::ZERO, worked: takes, total: takes });
    }
    let last = last.unwrap();
    assert_eq!((last.suggested_batch, last.action, last.bound_by), (16, BatchAction::Hold, BoundBy::Demand));
    assert_eq!(last.avg_latency, Some(Duration::from_micros(500)));
    assert!((last.jobs_per_s - 100.0).abs() < 2.0 && (last.occupancy - 0.05).abs() < 0.01, "{last:?}");
}

#[test]
fn silence_is_told_as_such_and_nothing_is_forgotten() {
    let takes = Duration::from_micros(500);
    let mut suggestions = Suggestions::default();
    let first = suggestions.suggest(Default::default(), Qos::High, TARGET, MemoryState::default());
    assert_eq!((first.suggested_batch, first.bound_by, first.p95_latency), (1, BoundBy::NoJobs, None));
    let mut now = Duration::ZERO;
    let mut frames = 1;
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        suggestions.done(now, now / 20, JobTimes { frames, waited: Duration::ZERO, worked: takes, total: takes });
        frames = suggestions.suggest((now, now / 20), Qos::High, TARGET, MemoryState::default()).suggested_batch;
    }
    assert!(frames >= 256, "{frames}");
    let later = now + Duration::from_secs(60);
    let hint = suggestions.suggest((later, now / 20), Qos::High, TARGET, MemoryState::default());
    assert_eq!((hint.suggested_batch, hint.bound_by), (frames, BoundBy::NoJobs));
    // Another target begins with what was learned for this one.
    let other = suggestions.suggest((later, now / 20), Qos::High, TARGET * 2, MemoryState::default());
    assert!(other.suggested_batch >= frames / 2, "{other:?}");
}

/// So many targets that no room is left for all: answers stay sane, memory bounded, and those that were there are kept.
#[test]
fn thousands_of_targets_take_no_more_room_than_sixteen() {
    let mut suggestions = Suggestions::default();
    let takes = Duration::from_micros(500);
    let (mut now, mut frames) = (Duration::ZERO, 1);
    for index in 0..1000_u64 {
        now += Duration::from_millis(10);
        suggestions.done(now, now / 20, JobTimes { frames, waited: Duration::ZERO, worked: takes, total: takes });
        frames = suggestions.suggest((now, now / 20), Qos::Low, TARGET, MemoryState::default()).suggested_batch;
        let other = Duration::from_micros(11 * (index + 1));
        suggestions.suggest((now, now / 20), Qos::Low, other, MemoryState::default());
    }
    assert!(suggestions.controllers.len() <= 16);
    assert!(frames >= 256, "who asks all the time is followed all the time: {frames}");
    let hint = suggestions.suggest((now, now / 20), Qos::Low, Duration::from_millis(47), MemoryState::default());
    assert_eq!(hint.target_latency, Duration::from_millis(47));
    assert_eq!(super::to_two_digits(Duration::from_micros(47_312)), Duration::from_millis(47));
    assert_eq!(super::to_two_digits(Duration::from_micros(7)), Duration::from_micros(7));
}

/// A device that stood still for a moment is what it was before, half a minute later.
#[test]
fn a_stall_is_forgotten() {
    for stall in [0.1, 0.3, 1.0, 3.0] {
        let takes = move |frames: usize, at: Duration, _: &mut Random| {
            let slow = if (60.0..60.0 + stall).contains(&at.as_secs_f64()) { 8.0 } else { 1.0 };
            micros((200.0 + 50.0 * frames as f64) * slow)
        };
        let run = run(Plant { takes: &takes, ..ALONE }, 160, None);
        assert_eq!(run.seconds[59].size, 9, "before the stall");
        let back = run.seconds[62..].iter().position(|second| second.size >= 9);
        assert!(back.is_some_and(|back| back <= 45), "a stall of {stall} s cost {back:?} s");
    }
}

/// Jobs that take so long that few come in a window are looked at all the same.
#[test]
fn jobs_of_seconds_are_made_smaller() {
    let takes: Takes<'_> = &|frames, at, _| {
        let slow = if at.as_secs_f64() > 60.0 { 100.0 } else { 1.0 };
        micros((200.0 + 50.0 * frames as f64) * slow)
    };
    let slower: Takes<'_> = &|frames, at, random| takes(frames, at, random).map(|time| time.mul_f64(1.6));
    for takes in [takes, slower] {
        let result = run(Plant { takes, ..ALONE }, 200, None);
        assert!(result.seconds[59].size >= 8, "before the device became slow");
        let after = &result.seconds[130..];
        assert!(after.iter().all(|second| second.size <= 3), "2^{:?}", after.iter().map(|second| second.size).max());
    }
    // And where few come because there are few, they still rise.
    let rare =
        Plant { takes: &|frames, _, _| micros(100.0 * frames as f64), thinks: Duration::from_millis(2500), ..ALONE };
    for thinks in [2.5, 3.0, 5.0, 9.0] {
        let plant = Plant { thinks: Duration::from_secs_f64(thinks), ..rare };
        let last = run(plant, 300, None).seconds.into_iter().rev().find(|second| second.size > 0);
        assert!(last.is_some_and(|second| second.size >= 6), "jobs every {thinks} s stay at one frame");
    }
}

/// One whose jobs are few, because they are long, is not lost among others whose jobs are many: when the device becomes slow,
/// it is told so; and before that it finds out how large its jobs can be.
#[test]
fn long_jobs_among_many_short_ones_are_followed() {
    for (target_ms, others_per_s, slower) in [
        (300, 12.0, 4.0),
        (300, 40.0, 4.0),
        (300, 100.0, 4.0),
        (500, 100.0, 4.0),
        (1000, 100.0, 4.0),
        (50, 100.0, 12.0),
    ] {
        let target = Duration::from_millis(target_ms);
        let takes = |frames: usize, at: Duration| {
            let slow = if at.as_secs() < 100 { 1.0 } else { slower };
            Duration::from_secs_f64(slow * (2e-3 + 50e-6 * frames as f64))
        };
        let mut suggestions = Suggestions::default();
        let (mut now, mut other, mut busy) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let (mut late, mut jobs, mut before) = (0, 0, 0);
        while now < Duration::from_secs(300) {
            let hint = suggestions.suggest((now, busy), Qos::Default, target, MemoryState::default());
            let time = takes(hint.suggested_batch, now);
            let end = now + time;
            // The others have a lane of their own.
            while other < end {
                let time = takes(8, other);
                busy += time / 2;
                let times = JobTimes { frames: 8, waited: Duration::ZERO, worked: time, total: time };
                suggestions.done(other, busy, times);
                other += Duration::from_secs_f64(1.0 / others_per_s);
            }
            busy += time / 2;
            let times = JobTimes { frames: hint.suggested_batch, waited: Duration::ZERO, worked: time, total: time };
            suggestions.done(end, busy, times);
            if now.as_secs() < 100 {
                before = hint.suggested_batch;
            }
            if now.as_secs() >= 130 {
                (late, jobs) = (late + usize::from(time > target), jobs + 1);
            }
            now = end + Duration::from_millis(1);
        }
        let what = format!("{target_ms} ms beside {others_per_s}/s");
        let largest = (0..SIZES).rev().find(|size| takes(1 << size, Duration::ZERO) <= target).unwrap();
        assert!(before >= 1 << (largest - 1), "{what}: {before} frames, and 2^{largest} would do");
        assert!(late * 20 <= jobs, "{what}: {late} of {jobs} jobs late");
    }
}

/// What failed although it should not have is tried again: after half a minute, then more and more rarely.
#[test]
fn what_failed_is_tried_again_more_and_more_rarely() {
    let cliff: Takes<'_> = &|frames, _, _| micros(if frames > 300 { 120_000.0 } else { 500.0 + 20.0 * frames as f64 });
    let run = run(Plant { takes: cliff, thinks: Duration::from_millis(20), ..ALONE }, 600, None);
    let tried: Vec<usize> = (1..600).filter(|at| run.seconds[*at].size == 9 && run.seconds[at - 1].size != 9).collect();
    let pauses: Vec<usize> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 3 && pauses[0] >= 30 && pauses[0] <= 40, "{tried:?}");
    assert!(pauses.windows(2).all(|pair| pair[1] >= pair[0] * 3 / 2), "{tried:?}");
}

#[test]
fn buffers_that_leave_for_others_all_the_time_make_batches_smaller() {
    let mut suggestions = Suggestions::default();
    let takes = Duration::from_micros(500);
    let (mut now, mut evicted, mut frames) = (Duration::ZERO, 0, 1);
    let mut largest = 0;
    for _ in 0..3000 {
        now += Duration::from_millis(10);
        suggestions.done(now, now / 20, JobTimes { frames, waited: Duration::ZERO, worked: takes, total: takes });
        evicted += u64::from(frames > 64);
        let memory = MemoryState { pressure: Some(0.97), evicted: Some(evicted) };
        frames = suggestions.suggest((now, now / 20), Qos::Low, TARGET, memory).suggested_batch;
        largest = largest.max(frames);
    }
    assert!((64..=128).contains(&frames) && largest <= 128, "{frames}, {largest}");
}

/// Devices, noise and clients at random. The few that fail take nearly the whole target for any size of batch.
#[test]
fn nearly_any_plant() {
    let mut random = Random(77);
    let (mut cases, mut good) = (0, 0);
    while cases < 40 {
        let (fixed, each) = (10.0 * 2000_f64.powf(random.uniform()), 0.1 * 2000_f64.powf(random.uniform()));
        let noise = (0.4 * random.uniform() - 0.2).max(0.0);
        let clients = [1, 1, 2, 3, 5, 8][usize::try_from(random.0 % 6).unwrap()];
        let thinks = Duration::from_secs_f64(5e-3 * random.uniform());
        let takes = |frames: usize, _: Duration, random: &mut Random| {
            micros((fixed + each * frames as f64) * random.about(noise))
        };
        let plant = Plant { takes: &takes, clients, thinks, ..ALONE };
        if !(0..SIZES).any(|size| run(plant, 30, Some(1 << size)).holds() >= 0.95) {
            continue;
        }
        let (best_rate, run) = (best_static(plant, 60).1, run(plant, 120, None));
        let (least, most) = run.sizes();
        let is_good = run.rate() >= 0.9 * best_rate && run.holds() >= 0.95 && most - least <= 2;
        (cases, good) = (cases + 1, good + usize::from(is_good));
    }
    assert!(good >= 39, "{good} of {cases}");
}
