//! What the figures were: one point for each snapshot, and what each lane did.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::qos::{PerQos, Qos};
use crate::telemetry::{LaneSnapshot, Latency, PlanSnapshot, Snapshot};

/// Seconds that are kept.
pub(super) const KEPT_S: f64 = 600.0;
/// Points that are kept, at ten a second.
const POINTS: usize = 6000;
/// Spans of a lane that are kept.
const SPANS: usize = 8192;

/// The figures at one moment. What is not known is none: a plot has a gap there.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Point {
    /// Seconds since the dashboard began to watch.
    pub(super) at_s: f64,
    /// Frames of channels that plans worked on, per second, since the point before.
    pub(super) frames_per_s: Option<f64>,
    /// The part of them that the gate found quiet, 0 to 1.
    pub(super) sparsity: Option<f64>,
    /// The part of the last second in which lanes were busy, on average, 0 to 1.
    pub(super) occupancy: f64,
    /// Bytes of device memory; none on the CPU.
    pub(super) memory_bytes: Option<u64>,
    pub(super) qos: PerQos<LevelPoint>,
}

/// One level at one moment.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct LevelPoint {
    pub(super) total: Option<Times>,
    pub(super) queue: Option<Times>,
    pub(super) compute: Option<Times>,
    /// Frames that the next job should have.
    pub(super) batch: Option<u32>,
    pub(super) coherence: Option<f32>,
    pub(super) waiting: usize,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Times {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

impl Times {
    fn of(latency: Latency) -> Option<Self> {
        let ms = |time: std::time::Duration| 1e3 * time.as_secs_f64();
        let Latency { count, p50, p95, p99, .. } = latency;
        (count > 0).then(|| Self { p50_ms: ms(p50), p95_ms: ms(p95), p99_ms: ms(p99) })
    }
}

/// How many frames the next job of a level should have, and why; 0 where nobody said.
#[derive(Clone, Debug, Default)]
pub(super) struct Suggestion {
    pub(super) frames: usize,
    pub(super) reason: String,
}

/// A change of that.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct BatchChange {
    pub(super) at_s: f64,
    pub(super) qos: Qos,
    pub(super) frames: usize,
    pub(super) reason: String,
}

/// What a lane did.
#[derive(Clone, Debug)]
pub(super) struct LaneTrack {
    pub(super) qos: Qos,
    pub(super) index: usize,
    pub(super) occupancy: f64,
    pub(super) spans: VecDeque<SpanMark>,
    /// Stretches of which nothing is known, because more was done than a snapshot tells.
    pub(super) unknown: VecDeque<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(super) struct SpanMark {
    pub(super) job: Arc<str>,
    pub(super) begin_s: f64,
    pub(super) end_s: f64,
}

/// All that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) points: VecDeque<Point>,
    pub(super) changes: VecDeque<BatchChange>,
    pub(super) lanes: Vec<LaneTrack>,
    /// The last snapshot, when it came, and what plans have done since the one a second before it.
    pub(super) last: Option<Snapshot>,
    pub(super) last_s: f64,
    pub(super) plans: Vec<PlanRates>,
    before: VecDeque<(f64, Vec<PlanSnapshot>)>,
    /// What comes next may be of another engine, with a clock of its own.
    pub(super) may_be_another: bool,
    /// From the time of the engine's scheduler to ours.
    offset_s: f64,
}

/// What a plan does per second.
#[derive(Clone, Debug)]
pub(super) struct PlanRates {
    pub(super) now: PlanSnapshot,
    /// For each node: frames, and bytes read and written, per second.
    pub(super) nodes: Vec<(f64, f64)>,
    /// For each stage: seconds per second.
    pub(super) stages: Vec<f64>,
}

impl History {
    /// Takes a snapshot that came `at_s`.
    pub(super) fn add(&mut self, at_s: f64, snapshot: Snapshot, hints: Option<&PerQos<Suggestion>>) {
        let uptime_s = snapshot.uptime.as_secs_f64();
        let is_new = self.may_be_another || self.last.as_ref().is_none_or(|last| snapshot.uptime < last.uptime);
        if is_new {
            self.begin_anew();
            self.offset_s = at_s - uptime_s;
        }
        let point = self.point(at_s, &snapshot, hints);
        if let Some(hints) = hints {
            self.note_changes(at_s, hints);
        }
        self.points.push_back(point);
        while self.points.len() > POINTS || self.points.front().is_some_and(|first| first.at_s < at_s - KEPT_S) {
            self.points.pop_front();
        }
        while self.changes.front().is_some_and(|first| first.at_s < at_s - KEPT_S) || self.changes.len() > POINTS {
            self.changes.pop_front();
        }
        self.add_lanes(&snapshot.lanes);
        self.add_plans(at_s, &snapshot.plans);
        (self.last, self.last_s) = (Some(snapshot), at_s);
    }

    /// Another engine comes: its counters and its clock begin anew.
    pub(super) fn begin_anew(&mut self) {
        self.last = None;
        self.before.clear();
        self.may_be_another = false;
    }

    fn point(&self, at_s: f64, now: &Snapshot, hints: Option<&PerQos<Suggestion>>) -> Point {
        // By the engine's clock: when its answer came depends on who else was busy.
        let since = self.last.as_ref().map(|last| (last, (now.uptime - last.uptime).as_secs_f64()));
        let frames = |last: &Snapshot| (now.work.frames - last.work.frames.min(now.work.frames)) as f64;
        let live = |last: &Snapshot| (now.work.live - last.work.live.min(now.work.live)) as f64;
        let level = |qos: Qos| {
            let of = &now.qos[qos];
            LevelPoint {
                total: Times::of(of.total),
                queue: Times::of(of.queue),
                compute: Times::of(of.compute),
                batch: hints.and_then(|hints| u32::try_from(hints[qos].frames).ok()).filter(|frames| *frames > 0),
                coherence: of.coherence,
                waiting: of.waiting,
            }
        };
        let lanes = now.lanes.len().max(1) as f64;
        Point {
            at_s,
            frames_per_s: since.filter(|(_, seconds)| *seconds > 1e-3).map(|(last, seconds)| frames(last) / seconds),
            sparsity: since.filter(|(last, _)| frames(last) > 0.0).map(|(last, _)| 1.0 - live(last) / frames(last)),
            occupancy: now.lanes.iter().map(|lane| lane.occupancy).sum::<f64>() / lanes,
            memory_bytes: now.memory.map(|memory| memory.used_bytes),
            qos: PerQos::from_fn(level),
        }
    }

    fn note_changes(&mut self, at_s: f64, hints: &PerQos<Suggestion>) {
        for (qos, hint) in hints.iter().filter(|(_, hint)| hint.frames > 0) {
            let last = self.changes.iter().rev().find(|change| change.qos == qos);
            if last.is_none_or(|last| last.frames != hint.frames) {
                let (frames, reason) = (hint.frames, hint.reason.clone());
                self.changes.push_back(BatchChange { at_s, qos, frames, reason });
            }
        }
    }

    fn add_lanes(&mut self, lanes: &[LaneSnapshot]) {
        let is_like = |track: &LaneTrack, lane: &LaneSnapshot| track.qos == lane.qos && track.index == lane.index;
        if self.lanes.len() != lanes.len() || !self.lanes.iter().zip(lanes).all(|(track, lane)| is_like(track, lane)) {
            let track = |lane: &LaneSnapshot| {
                let (qos, index, occupancy) = (lane.qos, lane.index, lane.occupancy);
                LaneTrack { qos, index, occupancy, spans: VecDeque::new(), unknown: VecDeque::new() }
            };
            self.lanes = lanes.iter().map(track).collect();
        }
        for (track, lane) in self.lanes.iter_mut().zip(lanes) {
            track.add(lane, self.offset_s);
        }
    }

    fn add_plans(&mut self, at_s: f64, plans: &[PlanSnapshot]) {
        while self.before.len() > 1 && self.before.get(1).is_some_and(|(then_s, _)| *then_s <= at_s - 1.0) {
            self.before.pop_front();
        }
        let (then_s, before) = self.before.front().map_or((at_s, &[][..]), |(then_s, plans)| (*then_s, plans));
        let seconds = (at_s - then_s).max(1e-3);
        let rates = |now: &PlanSnapshot| {
            let old = before.iter().find(|old| old.id == now.id);
            let node = |index: usize| {
                let node = &now.nodes[index];
                let old = old.and_then(|old| old.nodes.get(index));
                let bytes = node.read_bytes + node.written_bytes;
                let (frames, old_bytes) =
                    old.map_or((node.frames, bytes), |old| (old.frames, old.read_bytes + old.written_bytes));
                (
                    (node.frames - frames.min(node.frames)) as f64 / seconds,
                    bytes.saturating_sub(old_bytes) as f64 / seconds,
                )
            };
            let stage = |stage: &crate::telemetry::StageSnapshot| {
                let old = old.and_then(|old| old.stages.iter().find(|old| old.name == stage.name));
                old.map_or(0.0, |old| stage.time.saturating_sub(old.time).as_secs_f64() / seconds)
            };
            PlanRates {
                now: now.clone(),
                nodes: (0..now.nodes.len()).map(node).collect(),
                stages: now.stages.iter().map(stage).collect(),
            }
        };
        self.plans = plans.iter().map(rates).collect();
        self.before.push_back((at_s, plans.to_vec()));
    }
}

impl LaneTrack {
    fn add(&mut self, lane: &LaneSnapshot, offset_s: f64) {
        self.occupancy = lane.occupancy;
        let mark = |span: &crate::telemetry::Span| SpanMark {
            job: Arc::clone(&span.job),
            begin_s: span.begin.as_secs_f64() + offset_s,
            end_s: span.end.as_secs_f64() + offset_s,
        };
        let Some(first) = lane.spans.first().map(mark) else { return };
        let known_until = self.spans.back().map(|span| span.end_s);
        // What a lane does now is told again, longer, the next time.
        while self.spans.back().is_some_and(|span| span.begin_s >= first.begin_s - 1e-9) {
            self.spans.pop_back();
        }
        // Where a snapshot has so many, some before them may be missing.
        if lane.spans.len() >= LaneSnapshot::MOST_SPANS
            && let Some(until) = known_until.filter(|until| *until < first.begin_s)
        {
            self.unknown.push_back((until, first.begin_s));
        }
        self.spans.extend(lane.spans.iter().map(mark));
        while self.spans.len() > SPANS {
            self.spans.pop_front();
        }
        let oldest = self.spans.front().map_or(0.0, |span| span.begin_s);
        while self.unknown.front().is_some_and(|(_, end)| *end < oldest) {
            self.unknown.pop_front();
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "times are short")]
mod tests {
    use super::*;
    use crate::telemetry::Span;
    use std::time::Duration;

    fn lane(spans: &[(&str, u64, u64)]) -> LaneSnapshot {
        let span = |(job, begin, end): &(&str, u64, u64)| Span {
            job: Arc::from(*job),
            begin: Duration::from_millis(*begin),
            end: Duration::from_millis(*end),
        };
        LaneSnapshot { qos: Qos::Low, index: 0, occupancy: 0.5, spans: spans.iter().map(span).collect() }
    }

    #[test]
    fn spans_are_kept_once_and_what_is_missing_is_marked() {
        let mut history = History::default();
        history.add_lanes(&[lane(&[("a", 0, 10), ("b", 20, 25)])]);
        // `b` has gone on, and `a` is told again.
        history.add_lanes(&[lane(&[("a", 0, 10), ("b", 20, 40), ("c", 50, 60)])]);
        let told = |history: &History| -> Vec<(String, u64)> {
            let spans = history.lanes[0].spans.iter();
            spans.map(|span| (span.job.to_string(), (1e3 * span.end_s).round() as u64)).collect()
        };
        let expected = [("a", 10), ("b", 40), ("c", 60)].map(|(job, end)| (job.to_owned(), end));
        assert_eq!(told(&history), expected);
        assert!(history.lanes[0].unknown.is_empty());
        // So many that some before them were not told.
        let many: Vec<_> = (0..LaneSnapshot::MOST_SPANS as u64).map(|n| ("d", 1000 + 10 * n, 1005 + 10 * n)).collect();
        history.add_lanes(&[lane(&many)]);
        assert_eq!(told(&history).len(), 3 + LaneSnapshot::MOST_SPANS);
        let (begin, end) = history.lanes[0].unknown[0];
        assert!((begin - 0.06).abs() < 1e-6 && (end - 1.0).abs() < 1e-6, "{begin} {end}");
    }
}
