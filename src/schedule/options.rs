//! What may be asked of the scheduler, and its bounds.

use std::borrow::Cow;
use std::time::Duration;

use super::dispatch::Bounds;
use crate::error::{Error, Result};
use crate::qos::{PerQos, Qos};
use crate::telemetry::DeviceKind;

/// How the scheduler shares the device.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleOptions {
    /// Lanes of each level, 1 to 64: how many of its jobs may be worked on at once.
    pub lanes: PerQos<usize>,
    /// Jobs of each level that may wait; more are refused.
    pub capacity: PerQos<usize>,
    /// What pieces of jobs that are not `High` may take on the device: so long may a `High` job have to wait for each
    /// submission that is in flight. Shorter pieces cost more overhead.
    pub longest_piece: Duration,
    /// Submissions on the device at once: of `High` jobs, and of all the others, which start only up to this total. 0 takes
    /// 2 on a GPU, which keeps it busy while results are read, and 1 on the CPU, where one job has all cores.
    pub in_flight: usize,
    /// The part of the device's time that `Low` gets while it has work, 0 to 0.5; what it got from idle time of about the
    /// last second counts.
    pub low_floor: f64,
    /// Jobs with less [coherence](JobOptions::coherence) go behind the others of their level. `High` jobs never do.
    pub coherence_threshold: f32,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            lanes: PerQos { high: 2, default: 2, low: 1 },
            capacity: PerQos { high: 1024, default: 1024, low: 1024 },
            longest_piece: Duration::from_millis(2),
            in_flight: 0,
            low_floor: 0.1,
            coherence_threshold: 0.3,
        }
    }
}

impl ScheduleOptions {
    pub(crate) fn checked(&self, kind: DeviceKind) -> Result<Bounds> {
        for (qos, &lanes) in self.lanes.iter() {
            if !(1..=64).contains(&lanes) {
                return Err(Error::setting(
                    "the number of lanes",
                    format!("{lanes} for `{qos}`"),
                    "1 to 64 are allowed",
                ));
            }
            if self.capacity[qos] == 0 {
                return Err(Error::setting("the queue's capacity", format!("0 for `{qos}`"), "it must be 1 at least"));
            }
        }
        if self.longest_piece < Duration::from_micros(10) {
            let expected = "it must be 10 us at least, so that pieces do more than they cost";
            return Err(Error::setting("the longest piece", format!("{:?}", self.longest_piece), expected));
        }
        if !(0.0..=0.5).contains(&self.low_floor) {
            return Err(Error::setting("the floor of `low`", self.low_floor, "it must be 0 to 0.5"));
        }
        if self.coherence_threshold.is_nan() {
            return Err(Error::setting("the threshold of coherence", "no number", "it must be one"));
        }
        let in_flight = match (self.in_flight, kind) {
            (0, DeviceKind::Cpu) => 1,
            (0, _) => 2,
            (set, _) => set,
        };
        Ok(Bounds {
            capacity: self.capacity,
            lanes: self.lanes,
            in_flight,
            low_floor: self.low_floor,
            coherence_threshold: self.coherence_threshold,
        })
    }
}

/// What is asked for with one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOptions {
    /// What it is promised.
    pub qos: Qos,
    /// What it is called in errors, snapshots and timelines.
    pub name: Cow<'static, str>,
    /// When it must be answered, from now; a job whose time is over is answered with [`Error::Expired`] then, whatever the
    /// device is doing. Of two jobs of a level, the one with the earlier deadline goes first.
    pub deadline: Option<Duration>,
    /// Channels of the inputs, 1 unless set.
    pub channels: usize,
    /// How far its data are a signal rather than noise, 0 to 1, as [`crate::Measure::Coherence`] tells of an earlier part
    /// of them. Below the [threshold](ScheduleOptions::coherence_threshold), the job goes behind the others.
    pub coherence: Option<f32>,
    /// The output in which a filter of the plan puts the powers that it measures for [`crate::Measure::Coherence`]: then
    /// each piece of the job tells its coherence, and the next one takes its place accordingly.
    pub coherence_from: Option<Cow<'static, str>>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            qos: Qos::Default,
            name: Cow::Borrowed("job"),
            deadline: None,
            channels: 1,
            coherence: None,
            coherence_from: None,
        }
    }
}

/// How an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutDown {
    /// All jobs that were taken in are done first.
    Drain,
    /// Jobs that are not done are given up.
    Abort,
}
