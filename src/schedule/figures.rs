//! What is counted and timed about jobs and lanes, and the snapshot that everything reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::dispatch::Dispatch;
use super::{Ended, Job, LaneId, Outcome};
use crate::qos::{PerQos, Qos};

/// The engine at one moment.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Time since the scheduler started.
    pub uptime: Duration,
    /// Each level.
    pub qos: PerQos<QosSnapshot>,
    /// Each lane, the most urgent level first.
    pub lanes: Vec<LaneSnapshot>,
}

/// One level at one moment. Counts are since the start: `admitted` is the sum of `waiting`, of what lanes work on, and of
/// all the answers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct QosSnapshot {
    /// Jobs in the queue, those included of which a part is done.
    pub waiting: usize,
    /// Submissions on the device.
    pub in_flight: usize,
    /// Jobs that came in.
    pub admitted: u64,
    /// How often a job went behind the others because its data were not coherent: when it came, or after a piece of it.
    pub put_behind: u64,
    /// Jobs that were turned away because the queue was full; these never came in.
    pub refused: u64,
    /// Jobs answered with a result.
    pub done: u64,
    /// Jobs answered with an error of their own.
    pub failed: u64,
    /// Jobs that somebody cancelled.
    pub cancelled: u64,
    /// Jobs whose time was over.
    pub expired: u64,
    /// Jobs that were given up when the engine shut down.
    pub shut_down: u64,
    /// Results per second, over the last [`Snapshot::WINDOW`].
    pub rate_hz: f64,
    /// Time from submission to the first lane.
    pub queue: Latency,
    /// Time with lanes.
    pub compute: Latency,
    /// Time from submission to the answer.
    pub total: Latency,
}

/// Times over the last [`Snapshot::WINDOW`], each to a hundredth of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Half of them are no longer.
    pub p50: Duration,
    /// 95 of 100 are no longer.
    pub p95: Duration,
    /// 99 of 100 are no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// One lane at one moment.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Whose jobs it takes.
    pub qos: Qos,
    /// Which of its level's lanes it is, from 0.
    pub index: usize,
    /// The part of the last second in which it was busy, 0 to 1.
    pub occupancy: f64,
    /// What it did last, oldest first; what it does now ends with the snapshot.
    pub spans: Vec<Span>,
}

/// A stretch of time in which a lane was busy with one job, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Span {
    /// The job's name.
    #[serde(serialize_with = "as_text")]
    pub job: Arc<str>,
    /// When it began, since the start of the scheduler.
    pub begin: Duration,
    /// When it ended.
    pub end: Duration,
}

fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl Snapshot {
    /// How far back latencies and rates look, give or take a quarter.
    pub const WINDOW: Duration = Duration::from_secs(10);

    /// Jobs that came in and have no answer yet.
    pub fn unanswered(&self) -> u64 {
        self.qos.iter().map(|(_, qos)| qos.admitted - qos.answered()).sum()
    }
}

impl QosSnapshot {
    /// Jobs that have their answer.
    pub fn answered(&self) -> u64 {
        self.done + self.failed + self.cancelled + self.expired + self.shut_down
    }
}

/// Spans that a lane remembers.
const SPANS: usize = 256;
/// How far back occupancy looks.
const OCCUPANCY_WINDOW: Duration = Duration::from_secs(1);

pub(super) struct Figures {
    qos: PerQos<QosFigures>,
    lanes: PerQos<Vec<LaneFigures>>,
}

#[derive(Clone, Default)]
struct LaneFigures {
    spans: VecDeque<Span>,
    /// What it works on, and since when.
    now: Option<(Arc<str>, Duration)>,
}

#[derive(Default)]
struct QosFigures {
    counts: QosSnapshot,
    queue: Rolling,
    compute: Rolling,
    total: Rolling,
    /// Seconds from one answer to the next while there are jobs, smoothed.
    between_answers: Option<f64>,
    answered_at: Duration,
}

impl Figures {
    pub(super) fn new(lanes: &PerQos<usize>) -> Self {
        Self { qos: PerQos::default(), lanes: PerQos::from_fn(|qos| vec![LaneFigures::default(); lanes[qos]]) }
    }

    pub(super) fn admitted(&mut self, qos: Qos) {
        self.qos[qos].counts.admitted += 1;
    }

    pub(super) fn put_behind(&mut self, qos: Qos) {
        self.qos[qos].counts.put_behind += 1;
    }

    pub(super) fn refused(&mut self, qos: Qos) {
        self.qos[qos].counts.refused += 1;
    }

    pub(super) fn waited(&mut self, qos: Qos, now: Duration, waited: Duration) {
        self.qos[qos].queue.record(now, waited);
    }

    pub(super) fn begins(&mut self, lane: LaneId, ended: &Ended) {
        if let Some(figures) = self.lanes[lane.qos].get_mut(lane.index) {
            figures.now = Some((Arc::clone(&ended.name), ended.began));
        }
    }

    pub(super) fn worked(&mut self, lane: LaneId, ended: &Ended, now: Duration) {
        let Some(figures) = self.lanes[lane.qos].get_mut(lane.index) else { return };
        figures.now = None;
        let spans = &mut figures.spans;
        if spans.len() == SPANS {
            spans.pop_front();
        }
        spans.push_back(Span { job: Arc::clone(&ended.name), begin: ended.began, end: now });
    }

    pub(super) fn closed(&mut self, job: &Job, now: Duration, outcome: Outcome) {
        let figures = &mut self.qos[job.qos];
        let counts = &mut figures.counts;
        *match outcome {
            Outcome::Done => &mut counts.done,
            Outcome::Failed => &mut counts.failed,
            Outcome::Cancelled => &mut counts.cancelled,
            Outcome::Expired => &mut counts.expired,
            Outcome::ShutDown => &mut counts.shut_down,
        } += 1;
        if outcome == Outcome::Done {
            figures.compute.record(now, job.worked);
            figures.total.record(now, now.saturating_sub(job.submitted));
        }
        let since = now.saturating_sub(figures.answered_at.max(job.submitted)).as_secs_f64();
        let smoothed = figures.between_answers.map_or(since, |between| between + (since - between) / 16.0);
        (figures.between_answers, figures.answered_at) = (Some(smoothed), now);
    }

    /// When a place in the queue should come free.
    pub(super) fn between_answers(&self, qos: Qos) -> Duration {
        Duration::from_secs_f64(self.qos[qos].between_answers.unwrap_or(0.0).clamp(1e-3, 60.0))
    }

    pub(super) fn snapshot(&self, now: Duration, dispatch: &Dispatch) -> Snapshot {
        let of = |qos: Qos| {
            let figures = &self.qos[qos];
            let total = figures.total.latency(now);
            QosSnapshot {
                waiting: dispatch.waiting(qos),
                in_flight: dispatch.in_flight(qos),
                rate_hz: total.count as f64 / Rolling::covers(now).as_secs_f64().max(1e-3),
                queue: figures.queue.latency(now),
                compute: figures.compute.latency(now),
                total,
                ..figures.counts.clone()
            }
        };
        let lanes = self.lanes.iter().flat_map(|(qos, lanes)| {
            lanes.iter().enumerate().map(move |(index, figures)| {
                let mut spans: Vec<Span> = figures.spans.iter().cloned().collect();
                spans.extend(figures.now.iter().map(|(job, begin)| Span {
                    job: Arc::clone(job),
                    begin: *begin,
                    end: now,
                }));
                LaneSnapshot { qos, index, occupancy: occupancy(&spans, now), spans }
            })
        });
        Snapshot { uptime: now, qos: PerQos::from_fn(of), lanes: lanes.collect() }
    }
}

fn occupancy(spans: &[Span], now: Duration) -> f64 {
    let mut begin = now.saturating_sub(OCCUPANCY_WINDOW);
    if let Some(oldest) = spans.first().filter(|_| spans.len() >= SPANS) {
        begin = begin.max(oldest.begin);
    }
    let busy: Duration = spans.iter().map(|span| span.end.saturating_sub(span.begin.max(begin))).sum();
    (busy.as_secs_f64() / now.saturating_sub(begin).as_secs_f64().max(1e-9)).min(1.0)
}

impl Latency {
    fn of(times: &Histogram<u32>) -> Self {
        let at = |quantile: f64| Duration::from_micros(times.value_at_quantile(quantile));
        Self { count: times.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(times.max()) }
    }
}

/// Parts of the window, each of which is forgotten as a whole.
const PARTS: u32 = 4;

/// Times of the last while, in microseconds.
struct Rolling {
    parts: Vec<(u128, Histogram<u32>)>,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| (0, histogram())).collect() }
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("up to an hour, to a hundredth, should be possible")
}

impl Rolling {
    fn part_len() -> Duration {
        Snapshot::WINDOW / PARTS
    }

    fn record(&mut self, now: Duration, time: Duration) {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let index = usize::try_from(turn % u128::from(PARTS)).unwrap_or(0);
        let (of, times) = &mut self.parts[index];
        if *of != turn {
            *of = turn;
            times.reset();
        }
        let micros = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        times.saturating_record(micros.max(1));
    }

    /// All that is recent.
    fn latency(&self, now: Duration) -> Latency {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let is_recent = |of: u128| turn.saturating_sub(of) < u128::from(PARTS);
        let mut recent =
            self.parts.iter().filter(|(of, times)| is_recent(*of) && !times.is_empty()).map(|(_, times)| times);
        let Some(first) = recent.next() else { return Latency::default() };
        let mut sum = first.clone();
        for times in recent {
            // Same bounds, so it always fits.
            sum.add(times).ok();
        }
        Latency::of(&sum)
    }

    /// How far back that goes.
    fn covers(now: Duration) -> Duration {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let first = u32::try_from(turn.saturating_sub(u128::from(PARTS) - 1)).unwrap_or(u32::MAX);
        now.saturating_sub(Self::part_len() * first)
    }
}
