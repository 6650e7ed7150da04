//! What each lane did when: a span for each job, or piece of one.

use egui::{Align2, Color32, FontId, Rect, Sense, Stroke, Ui, pos2, vec2};

use super::plots::seconds_ago;
use super::{card, described, empty, legend};
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::Figures;
use crate::dashboard::history::{LaneTrack, SpanMark};
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens};

/// Spans of a lane that are drawn by themselves; more are drawn together.
const MOST_DRAWN: usize = 400;

impl Dashboard {
    pub(in crate::dashboard) fn lanes(&mut self, ui: &mut Ui, place: Rect, figures: &Figures, tokens: &Tokens) {
        let what = format!("the last {}; wheel zooms, drag moves", text::millis(1e3 * self.lanes_view.span_s));
        let right_of_title = |ui: &mut Ui| legend(ui, tokens);
        card(ui, tokens, place, ("Lanes", &what), right_of_title, |ui| {
            if figures.history.lanes.iter().all(|lane| lane.spans.is_empty()) {
                let next = if self.is_local() {
                    "Add a stream, or background jobs."
                } else {
                    "Nobody has sent the service anything."
                };
                empty(ui, tokens, "No jobs yet", next);
                return;
            }
            self.draw_lanes(ui, figures, tokens);
        });
    }

    fn draw_lanes(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        let (place, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        let lanes = &figures.history.lanes;
        let told = lanes.iter().map(|lane| format!("{} {}: {:.0} %", lane.qos, lane.index, 100.0 * lane.occupancy));
        described(&response, format!("Lanes: {}", told.collect::<Vec<_>>().join(", ")));
        let time = Rect::from_min_max(
            pos2(place.left() + 58.0, place.top()),
            pos2(place.right() - 40.0, place.bottom() - 14.0),
        );
        self.lanes_view.follow_pointer(ui, &response, time.x_range());
        let painter = ui.painter_at(place);
        let view = self.lanes_view;
        let end_s = figures.history.last_s - view.back_s;
        let axis =
            Axis { begin_s: end_s - view.span_s, per_s: f64::from(time.width()) / view.span_s, left: time.left() };
        let small = FontId::proportional(SMALL);
        for mark in 0..=4 {
            let part = f64::from(mark) / 4.0;
            let x = axis.x(axis.begin_s + part * view.span_s);
            painter.vline(x, time.y_range(), Stroke::new(1.0, tokens.stroke));
            let at_s = -view.back_s - (1.0 - part) * view.span_s;
            let label = if view.span_s < 0.5 { format!("{:.1} ms", 1e3 * at_s) } else { seconds_ago(at_s) };
            painter.text(pos2(x, place.bottom()), Align2::CENTER_BOTTOM, label, small.clone(), tokens.subdued);
        }
        let height = time.height() / lanes.len().max(1) as f32;
        let mut hovered = None;
        for (row, lane) in lanes.iter().enumerate() {
            let top = time.top() + height * row as f32 + 2.0;
            let band = Rect::from_min_max(pos2(time.left(), top), pos2(time.right(), top + height - 4.0));
            painter.rect_filled(band, 2.0, tokens.well);
            let name = format!("{} {}", lane.qos, lane.index);
            painter.text(pos2(place.left(), band.center().y), Align2::LEFT_CENTER, name, small.clone(), tokens.subdued);
            let busy = format!("{:.0} %", 100.0 * lane.occupancy);
            let mono = FontId::monospace(SMALL);
            painter.text(pos2(place.right(), band.center().y), Align2::RIGHT_CENTER, busy, mono, tokens.text);
            let painter = painter.with_clip_rect(band);
            unknown(&painter, lane, &axis, band, tokens);
            spans(&painter, lane, &axis, band, tokens.qos(lane.qos));
            if let Some(pointer) = response.hover_pos().filter(|pointer| band.contains(*pointer)) {
                hovered = span_at(lane, axis.second(pointer.x)).map(|span| (lane.qos, span.clone()));
            }
        }
        if let Some((qos, span)) = hovered {
            let now_s = figures.history.last_s;
            response.on_hover_ui_at_pointer(|ui| {
                ui.label(format!("{} ({qos})", span.job));
                ui.label(format!(
                    "{}, began {} ago",
                    text::millis(1e3 * (span.end_s - span.begin_s)),
                    text::millis(1e3 * (now_s - span.begin_s))
                ));
            });
        }
    }
}

/// From seconds to pixels.
struct Axis {
    begin_s: f64,
    per_s: f64,
    left: f32,
}

impl Axis {
    #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
    fn x(&self, at_s: f64) -> f32 {
        // What lies far outside must not lose the digits of what does not.
        self.left + ((at_s - self.begin_s) * self.per_s).clamp(-1e4, 1e5) as f32
    }

    fn second(&self, x: f32) -> f64 {
        self.begin_s + f64::from(x - self.left) / self.per_s
    }
}

/// Spans that are too short to be told apart become one box, as high as they are dense.
fn spans(painter: &egui::Painter, lane: &LaneTrack, axis: &Axis, band: Rect, colour: Color32) {
    let end_s = axis.second(band.right());
    let shown = lane.spans.iter().filter(|span| span.end_s >= axis.begin_s && span.begin_s <= end_s);
    if shown.clone().count() <= MOST_DRAWN {
        for span in shown {
            let (left, right) = (axis.x(span.begin_s), axis.x(span.end_s));
            let place = Rect::from_min_max(pos2(left, band.top()), pos2(right.max(left + 1.0), band.bottom()));
            painter.rect_filled(place, 1.0, colour.gamma_multiply(0.9));
        }
        return;
    }
    let columns = 200.0_f32.min(band.width());
    let step = band.width() / columns;
    let mut spans = shown.peekable();
    let mut left = band.left();
    while left < band.right() {
        let (from_s, to_s) = (axis.second(left), axis.second(left + step));
        let mut busy_s = 0.0;
        while let Some(span) = spans.peek() {
            if span.begin_s >= to_s {
                break;
            }
            busy_s += (span.end_s.min(to_s) - span.begin_s.max(from_s)).max(0.0);
            if span.end_s > to_s {
                break;
            }
            spans.next();
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
        let part = (busy_s / (to_s - from_s)).clamp(0.0, 1.0) as f32;
        if part > 0.0 {
            let place =
                Rect::from_min_size(pos2(left, band.bottom() - part * band.height()), vec2(step, part * band.height()));
            painter.rect_filled(place, 0.0, colour.gamma_multiply(0.9));
        }
        left += step;
    }
}

/// Hatches what nobody told us of.
fn unknown(painter: &egui::Painter, lane: &LaneTrack, axis: &Axis, band: Rect, tokens: &Tokens) {
    for (begin, end) in &lane.unknown {
        let (left, right) = (axis.x(*begin).max(band.left()), axis.x(*end).min(band.right()));
        let mut x = left;
        while x < right {
            let line = [pos2(x, band.bottom()), pos2((x + 6.0).min(right), band.top())];
            painter.line_segment(line, Stroke::new(1.0, tokens.stroke));
            x += 6.0;
        }
    }
}

fn span_at(lane: &LaneTrack, at_s: f64) -> Option<&SpanMark> {
    lane.spans.iter().rev().find(|span| (span.begin_s..=span.end_s).contains(&at_s))
}
