//! What is counted and timed about jobs and lanes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Dispatch, Load};
use super::suggest::{BatchHint, JobTimes, MemoryState, Suggestions};
use super::{Job, LaneId, Outcome, Receipt};
use crate::qos::{PerQos, Qos};
use crate::telemetry::{CompiledSnapshot, Health, LaneSnapshot, QosSnapshot, Rolling, Snapshot, Span, WorkSnapshot};

/// How far back occupancy looks.
const OCCUPANCY_WINDOW: Duration = Duration::from_secs(1);

pub(super) struct Figures {
    qos: PerQos<QosFigures>,
    lanes: PerQos<Vec<LaneFigures>>,
    suggestions: PerQos<Suggestions>,
    device: Busy,
}

/// How long the device has been at work.
#[derive(Debug, Default)]
struct Busy {
    /// Submissions on it, and when the first of them began.
    in_flight: usize,
    since: Duration,
    before: Duration,
}

impl Busy {
    fn begins(&mut self, now: Duration) {
        if self.in_flight == 0 {
            self.since = now;
        }
        self.in_flight += 1;
    }

    fn ends(&mut self, now: Duration) {
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.before += now.saturating_sub(self.since);
        }
    }

    fn time(&self, now: Duration) -> Duration {
        let current = if self.in_flight > 0 { now.saturating_sub(self.since) } else { Duration::ZERO };
        self.before + current
    }
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
    /// Seconds from one answer to the next while there are jobs that may be refused, smoothed.
    between_answers: Option<f64>,
    answered_at: Duration,
}

impl Figures {
    pub(super) fn new(lanes: &PerQos<usize>) -> Self {
        Self {
            qos: PerQos::default(),
            lanes: PerQos::from_fn(|qos| vec![LaneFigures::default(); lanes[qos]]),
            suggestions: PerQos::default(),
            device: Busy::default(),
        }
    }

    pub(super) fn admitted(&mut self, qos: Qos) {
        self.qos[qos].counts.admitted += 1;
    }

    pub(super) fn put_behind(&mut self, qos: Qos) {
        self.qos[qos].counts.put_behind += 1;
    }

    pub(super) fn told(&mut self, qos: Qos, coherence: f32) {
        self.qos[qos].counts.coherence = Some(coherence);
    }

    pub(super) fn refused(&mut self, qos: Qos) {
        self.qos[qos].counts.refused += 1;
    }

    pub(super) fn waited(&mut self, qos: Qos, now: Duration, waited: Duration) {
        self.qos[qos].queue.record(now, waited);
    }

    pub(super) fn begins(&mut self, lane: LaneId, receipt: &Receipt) {
        if receipt.load == Load::Device {
            self.device.begins(receipt.began);
        }
        if let Some(figures) = self.lanes[lane.qos].get_mut(lane.index) {
            figures.now = Some((Arc::clone(&receipt.name), receipt.began));
        }
    }

    pub(super) fn worked(&mut self, lane: LaneId, receipt: &Receipt, now: Duration) {
        if receipt.load == Load::Device {
            self.device.ends(now);
        }
        let Some(figures) = self.lanes[lane.qos].get_mut(lane.index) else { return };
        figures.now = None;
        let spans = &mut figures.spans;
        if spans.len() == LaneSnapshot::MOST_SPANS {
            spans.pop_front();
        }
        spans.push_back(Span { job: Arc::clone(&receipt.name), begin: receipt.began, end: now });
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
            let total = now.saturating_sub(job.submitted);
            figures.total.record(now, total);
            if job.frames > 0 {
                let waited = job.started.unwrap_or(now).saturating_sub(job.submitted);
                let times = JobTimes { frames: job.frames, waited, worked: job.worked, total };
                self.suggestions[job.qos].done(now, self.device.time(now), times);
            }
        }
        // What is never refused takes no place in the queue that somebody else waits for.
        if job.is_bounded {
            let since = now.saturating_sub(figures.answered_at.max(job.submitted)).as_secs_f64();
            let smoothed = figures.between_answers.map_or(since, |between| between + (since - between) / 16.0);
            (figures.between_answers, figures.answered_at) = (Some(smoothed), now);
        }
    }

    pub(super) fn had_no_room(&mut self, qos: Qos, now: Duration, frames: usize) {
        self.suggestions[qos].had_no_room(now, self.device.time(now), frames);
    }

    pub(super) fn suggest_batch(
        &mut self,
        now: Duration,
        qos: Qos,
        latency: Duration,
        memory: MemoryState,
    ) -> BatchHint {
        let busy = self.device.time(now);
        self.suggestions[qos].suggest((now, busy), qos, latency, memory)
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
        Snapshot {
            uptime: now,
            qos: PerQos::from_fn(of),
            lanes: lanes.collect(),
            streams: Vec::new(),
            plans: Vec::new(),
            work: WorkSnapshot::default(),
            compiled: CompiledSnapshot::default(),
            devices: PerQos::default(),
            memory: None,
            health: Health::default(),
        }
    }
}

fn occupancy(spans: &[Span], now: Duration) -> f64 {
    let mut begin = now.saturating_sub(OCCUPANCY_WINDOW);
    if let Some(oldest) = spans.first().filter(|_| spans.len() >= LaneSnapshot::MOST_SPANS) {
        begin = begin.max(oldest.begin);
    }
    let busy: Duration = spans.iter().map(|span| span.end.saturating_sub(span.begin.max(begin))).sum();
    (busy.as_secs_f64() / now.saturating_sub(begin).as_secs_f64().max(1e-9)).min(1.0)
}
