//! A device that works on one submission after the other, in the order in which they come, and jobs that arrive at random:
//! all in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::qos::{PerQos, Qos};
use crate::schedule::dispatch::{Bounds, Dispatch, Load};

/// What comes in at a level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrivals {
    Never,
    /// One job after the other, so that one always waits.
    Saturating,
    /// At random, so many per second on average.
    Random(f64),
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) bounds: Bounds,
    pub(super) arrivals: PerQos<Arrivals>,
    /// How long one submission of each level takes.
    pub(super) takes: PerQos<Duration>,
    pub(super) jobs: usize,
    pub(super) seed: u64,
}

/// One `High` job, from its arrival to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response {
    pub(super) time: Duration,
    /// `High` work that was there before it.
    pub(super) ahead: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) responses: Vec<Response>,
    /// What each level got of the device.
    pub(super) served: PerQos<Duration>,
}

impl Outcome {
    pub(super) fn percentile(&self, part: f64) -> Duration {
        let mut times: Vec<Duration> = self.responses.iter().map(|response| response.time).collect();
        times.sort_unstable();
        #[expect(clippy::cast_possible_truncation, reason = "it is at most the length")]
        let rank = (times.len() as f64 * part) as usize;
        times[rank.min(times.len() - 1)]
    }

    pub(super) fn share(&self, qos: Qos) -> f64 {
        let total: Duration = self.served.iter().map(|(_, time)| *time).sum();
        self.served[qos].as_secs_f64() / total.as_secs_f64()
    }
}

pub(super) fn bounds(in_flight: usize, low_floor: f64) -> Bounds {
    Bounds {
        capacity: PerQos::from_fn(|_| usize::MAX),
        lanes: PerQos { high: 2, default: 2, low: 1 },
        in_flight,
        low_floor,
        coherence_threshold: 0.3,
    }
}

pub(super) fn simulate(scenario: &Scenario) -> Outcome {
    Simulation::new(scenario).run()
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    dispatch: Dispatch,
    now: Duration,
    /// When the next job of a level comes.
    next: PerQos<Option<Duration>>,
    /// On the device: the level, and the job that it belongs to.
    device: VecDeque<(Qos, u64)>,
    /// When the first of these ends.
    ends: Option<Duration>,
    /// Arrival and work ahead of `High` jobs that are not done, by their number.
    open: std::collections::BTreeMap<u64, (Duration, Duration)>,
    ids: u64,
    random: u64,
    outcome: Outcome,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut simulation = Self {
            scenario,
            dispatch: Dispatch::new(scenario.bounds),
            now: Duration::ZERO,
            next: PerQos::default(),
            device: VecDeque::new(),
            ends: None,
            open: std::collections::BTreeMap::new(),
            ids: 0,
            random: scenario.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            outcome: Outcome::default(),
        };
        for qos in Qos::ALL {
            match scenario.arrivals[qos] {
                Arrivals::Never => {}
                // Two wait, so that one is there when the other goes.
                Arrivals::Saturating => (0..2).for_each(|_| simulation.admit(qos)),
                Arrivals::Random(rate) => simulation.next[qos] = Some(simulation.wait(rate)),
            }
        }
        simulation
    }

    fn run(mut self) -> Outcome {
        self.start();
        while self.outcome.responses.len() < self.scenario.jobs {
            let arrival = Qos::ALL.into_iter().filter_map(|qos| Some((self.next[qos]?, qos))).min();
            match (arrival, self.ends) {
                (Some((at, qos)), ends) if ends.is_none_or(|end| at < end) => {
                    self.now = at;
                    self.admit(qos);
                    if let Arrivals::Random(rate) = self.scenario.arrivals[qos] {
                        self.next[qos] = Some(at + self.wait(rate));
                    }
                }
                (_, Some(end)) => {
                    self.now = end;
                    self.end();
                }
                (_, None) => panic!("nothing will ever happen again"),
            }
            self.start();
        }
        self.outcome
    }

    fn admit(&mut self, qos: Qos) {
        self.ids += 1;
        self.dispatch.admit(self.ids, qos, Load::Device, None, false).expect("the queue should have no end");
        if qos == Qos::High {
            let each = self.scenario.takes.high;
            // What of the first one is done already is not ahead any more.
            let begun = match (self.device.front(), self.ends) {
                (Some((Qos::High, _)), Some(end)) => each - (end - self.now),
                _ => Duration::ZERO,
            };
            let ahead = each * u32::try_from(self.open.len()).expect("few should wait") - begun;
            self.open.insert(self.ids, (self.now, ahead));
        }
    }

    /// Free lanes take what they may.
    fn start(&mut self) {
        for qos in Qos::ALL {
            while let Some((id, _)) = self.dispatch.take(qos) {
                self.device.push_back((qos, id));
            }
        }
        if self.ends.is_none()
            && let Some((qos, _)) = self.device.front()
        {
            self.ends = Some(self.now + self.scenario.takes[*qos]);
        }
    }

    fn end(&mut self) {
        let (qos, id) = self.device.pop_front().expect("something should be on the device");
        self.ends = None;
        let took = self.scenario.takes[qos];
        self.dispatch.end(qos, Load::Device, took);
        self.outcome.served[qos] += took;
        if let Some((came, ahead)) = self.open.remove(&id) {
            self.outcome.responses.push(Response { time: self.now - came, ahead });
        }
        if matches!(self.scenario.arrivals[qos], Arrivals::Saturating) {
            self.admit(qos);
        }
    }

    /// Time to the next arrival: exponential, as where many come independently.
    fn wait(&mut self, rate: f64) -> Duration {
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let uniform = ((self.random >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() / rate)
    }
}
