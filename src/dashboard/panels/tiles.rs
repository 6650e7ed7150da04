//! The figures that one looks at first.

use egui::{Align2, FontId, Rect, Sense, Stroke, StrokeKind, Ui, pos2, vec2};

use super::{columns, described};
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::Figures;
use crate::dashboard::history::{KEPT_S, Point};
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens, figure, title};
use crate::qos::Qos;

/// Seconds that the small curves show.
const CURVE_S: f64 = 30.0;
const CURVE_POINTS: usize = 40;

impl Dashboard {
    pub(in crate::dashboard) fn tiles(&self, ui: &mut Ui, row: Rect, figures: &Figures, tokens: &Tokens) {
        let [throughput, latency, occupancy, sparsity, memory, drops] =
            columns(row, [1.15, 2.9, 0.95, 0.95, 1.1, 0.8], 8.0);
        let last = figures.history.points.back();
        let percent = |part: Option<f64>| part.map(|part| (format!("{:.1}", 100.0 * part), "%"));
        let frames = mean(figures, |point| point.frames_per_s).map(|value| (text::short(value), "frames/s"));
        tile(ui, tokens, throughput, "Throughput", frames, Some((figures, |point: &Point| point.frames_per_s)));
        self.latency_tile(ui, tokens, latency, last);
        let value = percent(last.map(|point| point.occupancy));
        tile(ui, tokens, occupancy, "Occupancy", value, Some((figures, |point: &Point| Some(point.occupancy))));
        let value = percent(mean(figures, |point| point.sparsity));
        tile(ui, tokens, sparsity, "Sparsity", value, Some((figures, |point: &Point| point.sparsity)));
        self.memory_tile(ui, tokens, memory, figures);
        drops_tile(ui, tokens, drops, figures);
    }

    fn latency_tile(&self, ui: &mut Ui, tokens: &Tokens, place: Rect, last: Option<&Point>) {
        let targets = self.targets();
        frame(ui, tokens, place, "p95 latency, of the target");
        let parts = columns(place.shrink2(vec2(11.0, 0.0)), [1.0, 1.0, 1.0], 6.0);
        let mut told = Vec::new();
        for (qos, part) in Qos::ALL.into_iter().zip(parts) {
            let p95_ms = last.and_then(|point| point.qos[qos].total).map(|times| times.p95_ms);
            let target_ms = 1e3 * targets[qos].as_secs_f64();
            let is_over = p95_ms.is_some_and(|p95_ms| p95_ms > target_ms);
            let painter = ui.painter_at(place);
            let at = pos2(part.left(), place.bottom() - 27.0);
            painter.rect_filled(Rect::from_min_size(at + vec2(0.0, -6.0), vec2(3.0, 24.0)), 1.0, tokens.qos(qos));
            let value = p95_ms.map_or_else(|| "no jobs".to_owned(), text::millis);
            let colour = if is_over { tokens.error } else { tokens.strong };
            let font = FontId::new(if p95_ms.is_some() { 14.0 } else { SMALL }, egui::FontFamily::Monospace);
            painter.text(at + vec2(8.0, 0.0), Align2::LEFT_CENTER, &value, font, colour);
            let over = if is_over { " missed" } else { "" };
            let target = format!("{qos}: {target_ms:.0} ms{over}");
            painter.text(at + vec2(8.0, 14.0), Align2::LEFT_CENTER, &target, FontId::proportional(9.0), tokens.subdued);
            told.push(format!("{qos} {value} of {}{over}", text::millis(target_ms)));
        }
        let response = ui.allocate_rect(place, Sense::hover());
        described(&response, format!("p95 latency: {}", told.join(", ")));
    }

    fn memory_tile(&self, ui: &mut Ui, tokens: &Tokens, place: Rect, figures: &Figures) {
        let memory = figures.history.last.as_ref().map(|snapshot| snapshot.memory);
        let value = memory.map(|memory| match memory {
            Some(memory) => text::bytes_and_unit(memory.used_bytes as f64),
            None => ("host".to_owned(), ""),
        });
        let curve = (figures, |point: &Point| point.memory_bytes.map(|bytes| bytes as f64));
        tile(ui, tokens, place, "Device memory", value, Some(curve));
        let part = memory.flatten().and_then(|memory| memory.pressure);
        if let Some(part) = part {
            let bar = Rect::from_min_max(
                pos2(place.left() + 11.0, place.bottom() - 7.0),
                place.right_bottom() - vec2(11.0, 4.0),
            );
            #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
            let filled = Rect::from_min_size(bar.min, vec2(bar.width() * part.clamp(0.0, 1.0) as f32, bar.height()));
            let colour = if part > 0.9 { tokens.error } else { tokens.accent };
            ui.painter().rect_filled(bar, 1.0, tokens.stroke);
            ui.painter().rect_filled(filled, 1.0, colour);
        }
    }
}

/// Floats that streams dropped, and jobs that were not done.
fn drops_tile(ui: &mut Ui, tokens: &Tokens, place: Rect, figures: &Figures) {
    let known = figures.history.last.as_ref().map(|snapshot| {
        let jobs: u64 = snapshot.qos.iter().map(|(_, qos)| qos.refused + qos.failed + qos.expired).sum();
        let dropped = snapshot.qos.iter().map(|(_, qos)| qos.dropped).sum::<u64>();
        match (dropped, jobs) {
            (0, 0) => ("0".to_owned(), ""),
            (0, jobs) => (text::short(jobs as f64), "jobs"),
            (dropped, 0) => (text::short(dropped as f64), "floats"),
            (dropped, jobs) => (format!("{}+{}", text::short(dropped as f64), text::short(jobs as f64)), "floats+jobs"),
        }
    });
    tile(ui, tokens, place, "Drops", known, None::<(&Figures, fn(&Point) -> Option<f64>)>);
}

/// The mean over the last second.
fn mean(figures: &Figures, of: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
    let now_s = figures.history.last_s;
    let recent = figures.history.points.iter().rev().take_while(|point| point.at_s > now_s - 1.05);
    let (sum, count) = recent.filter_map(of).fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn frame(ui: &Ui, tokens: &Tokens, place: Rect, name: &str) {
    ui.painter().rect(place, 6.0, tokens.card, Stroke::new(1.0, tokens.stroke), StrokeKind::Inside);
    let font = title().resolve(ui.style());
    ui.painter_at(place).text(place.min + vec2(11.0, 8.0), Align2::LEFT_TOP, name, font, tokens.subdued);
}

fn tile(
    ui: &mut Ui,
    tokens: &Tokens,
    place: Rect,
    name: &str,
    value: Option<(String, &str)>,
    curve: Option<(&Figures, impl Fn(&Point) -> Option<f64>)>,
) {
    frame(ui, tokens, place, name);
    let painter = ui.painter_at(place);
    let (value, unit) = value.unwrap_or_else(|| ("-".to_owned(), ""));
    let mut font = figure().resolve(ui.style());
    if place.width() < 120.0 {
        font.size = 15.0;
    }
    let at = pos2(place.left() + 11.0, place.bottom() - 18.0);
    let written = painter.text(at, Align2::LEFT_CENTER, &value, font, tokens.strong);
    let unit_at = pos2(written.right() + 4.0, written.bottom() - 2.0);
    let unit_place = painter.text(unit_at, Align2::LEFT_BOTTOM, unit, FontId::proportional(SMALL), tokens.subdued);
    if let Some((figures, of)) = curve {
        let room = Rect::from_min_max(
            pos2(unit_place.right().max(place.right() - 72.0) + 6.0, place.top() + 22.0),
            place.right_bottom() - vec2(10.0, 10.0),
        );
        if room.width() > 24.0 {
            small_curve(ui, room, figures, of, tokens);
        }
    }
    let response = ui.allocate_rect(place, Sense::hover());
    described(&response, format!("{name}: {value} {unit}").trim_end().to_owned());
}

/// The last half minute, in some forty points. Gaps are left out.
fn small_curve(ui: &Ui, room: Rect, figures: &Figures, of: impl Fn(&Point) -> Option<f64>, tokens: &Tokens) {
    let begin_s = figures.history.last_s - CURVE_S.min(KEPT_S);
    let values: Vec<(f64, f64)> = figures
        .history
        .points
        .iter()
        .filter(|point| point.at_s >= begin_s)
        .filter_map(|point| Some(((point.at_s - begin_s) / CURVE_S, of(point)?)))
        .collect();
    let group = values.len().div_ceil(CURVE_POINTS).max(1);
    let means: Vec<(f64, f64)> = values
        .chunks(group)
        .map(|part| {
            let (x, y) = part.iter().fold((0.0, 0.0), |(x, y), (at, value)| (x + at, y + value));
            (x / part.len() as f64, y / part.len() as f64)
        })
        .collect();
    let (least, most) = means.iter().fold((f64::MAX, f64::MIN), |(least, most), (_, y)| (least.min(*y), most.max(*y)));
    // What hardly changes should not look as if it did.
    let spread = (most - least).max(0.1 * most.abs()).max(1e-9);
    let least = f64::midpoint(least, most) - spread / 2.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
    let place = |(x, y): &(f64, f64)| {
        pos2(room.left() + room.width() * *x as f32, room.bottom() - room.height() * ((y - least) / spread) as f32)
    };
    if means.len() > 1 {
        let line = means.iter().map(place).collect();
        ui.painter().add(egui::Shape::line(line, Stroke::new(1.25, tokens.accent)));
    }
}
