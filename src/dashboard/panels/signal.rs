//! One channel before and after, as a waterfall, with the levels of its stream.

use egui::{
    Align2, Color32, ColorImage, ComboBox, FontId, Rect, Sense, Stroke, StrokeKind, TextureHandle, TextureOptions, Ui,
    pos2, vec2,
};

use super::{card, described, empty};
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::{Figures, lock};
use crate::dashboard::ear::{BINS, Ear, FLOOR_DB, ROWS, ROWS_PER_S, Row, TOP_DB};
use crate::dashboard::feed::FeedFigures;
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens};
use crate::frame::Domain;
use crate::picture::viridis;

const OPTIONS: TextureOptions =
    TextureOptions { magnification: egui::TextureFilter::Linear, ..TextureOptions::NEAREST_REPEAT };

/// The rows of one side, as a texture that goes round: only what is new is sent to the GPU.
struct Ring {
    texture: TextureHandle,
}

/// Both sides, as far as they have been drawn.
pub(in crate::dashboard) struct Waterfall {
    before: Ring,
    after: Ring,
    colours: Vec<Color32>,
    version: u64,
    /// Rows that the textures have.
    rows: u64,
    rate_hz: f64,
    domain: Domain,
}

impl std::fmt::Debug for Waterfall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waterfall").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Ring {
    fn new(context: &egui::Context, name: &str, colour: Color32) -> Self {
        Self { texture: context.load_texture(name, ColorImage::filled([BINS, ROWS], colour), OPTIONS) }
    }

    /// Puts rows where they belong, the first of them being number `first`.
    fn put(&mut self, first: u64, pixels: &[Color32]) {
        let mut at = usize::try_from(first % ROWS as u64).unwrap_or(0);
        let mut rest = pixels;
        while !rest.is_empty() {
            let rows = (rest.len() / BINS).min(ROWS - at);
            let (now, later) = rest.split_at(rows * BINS);
            self.texture.set_partial([0, at], ColorImage::new([BINS, rows], now.to_vec()), OPTIONS);
            (at, rest) = (0, later);
        }
    }
}

impl Waterfall {
    pub(in crate::dashboard) fn new(context: &egui::Context) -> Self {
        let colour = |level: u8| {
            let [red, green, blue] = viridis(f32::from(level) / 255.0);
            Color32::from_rgb(red, green, blue)
        };
        let colours: Vec<Color32> = (0..=255).map(colour).collect();
        let ring = |name| Ring::new(context, name, colours[0]);
        let (before, after) = (ring("before"), ring("after"));
        Self { before, after, colours, version: 0, rows: 0, rate_hz: 16e3, domain: Domain::Real }
    }

    /// Draws the rows that have come since.
    fn follow(&mut self, context: &egui::Context, ear: &Ear, version: u64) {
        if self.version != version {
            let colours = std::mem::take(&mut self.colours);
            let ring = |name| Ring::new(context, name, colours[0]);
            *self = Self {
                before: ring("before"),
                after: ring("after"),
                colours,
                version,
                rows: 0,
                rate_hz: ear.rate_hz,
                domain: ear.domain,
            };
        }
        let rows = ear.rows();
        let first = self.rows.max(rows.saturating_sub(ROWS as u64));
        let new: Vec<(&Row, &Row)> = (first..rows).map_while(|index| ear.row(index)).collect();
        let pixels = |pick: fn(&(&Row, &Row)) -> Row| -> Vec<Color32> {
            new.iter().flat_map(pick).map(|level| self.colours[usize::from(level)]).collect()
        };
        let (before, after) = (pixels(|(before, _)| **before), pixels(|(_, after)| **after));
        self.before.put(first, &before);
        self.after.put(first, &after);
        self.rows = first + new.len() as u64;
    }

    /// The part of the texture to show: the newest row at the bottom.
    fn uv(&self) -> Rect {
        let top = (self.rows % ROWS as u64) as f32 / ROWS as f32;
        Rect::from_min_max(pos2(0.0, top), pos2(1.0, top + 1.0))
    }

    fn hertz(&self, part: f64) -> f64 {
        match self.domain {
            Domain::Real => part * self.rate_hz / 2.0,
            Domain::Complex => (part - 0.5) * self.rate_hz,
        }
    }
}

impl Dashboard {
    pub(in crate::dashboard) fn signal(&mut self, ui: &mut Ui, place: Rect, figures: &Figures, tokens: &Tokens) {
        let streams = figures.streams.clone();
        let shared = std::sync::Arc::clone(self.shared());
        let tabs = self.tab_choice();
        let mut tab = self.tab;
        let right = |ui: &mut Ui| {
            super::choice(ui, &mut tab, &tabs);
            if streams.is_empty() {
                return;
            }
            ui.separator();
            let (now, channel) = {
                let listening = lock(&shared.ear);
                (listening.stream, listening.channel)
            };
            let channels = streams.iter().find(|stream| stream.id == now).map_or(1, |stream| stream.channels);
            let picked = streams.iter().find(|stream| stream.id == now).map_or("none", |stream| &stream.name);
            let mut wanted = (now, channel);
            if channels > 1 {
                let box_ =
                    ComboBox::from_id_salt("channel").selected_text(format!("channel {}", channel + 1)).width(80.0);
                let response = box_.show_ui(ui, |ui| {
                    for index in 0..channels.min(64) {
                        ui.selectable_value(&mut wanted.1, index, format!("channel {}", index + 1));
                    }
                });
                response
                    .response
                    .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Channel to look at"));
            }
            let box_ = ComboBox::from_id_salt("listen").selected_text(picked).width(110.0);
            let response = box_.show_ui(ui, |ui| {
                for stream in &streams {
                    if ui.selectable_label(stream.id == now, &stream.name).clicked() {
                        wanted = (stream.id, 0);
                    }
                }
            });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Stream to look at"));
            if wanted != (now, channel) {
                shared.listen_to(wanted.0, wanted.1);
            }
        };
        card(ui, tokens, place, ("Signal", "before and after; newest at the bottom"), right, |ui| {
            if !self.is_local() {
                empty(
                    ui,
                    tokens,
                    "A service keeps its signals to itself",
                    "Here is what its engine does with them, not what they sound like.",
                );
            } else if streams.is_empty() {
                empty(ui, tokens, "No stream", "Add one on the left, or drop a recording into the window.");
            } else {
                self.draw_signal(ui, &streams, tokens);
            }
        });
        self.tab = tab;
    }

    fn draw_signal(&mut self, ui: &mut Ui, streams: &[FeedFigures], tokens: &Tokens) {
        let context = ui.ctx().clone();
        let paused = self.is_paused();
        let shared = std::sync::Arc::clone(self.shared());
        let waterfall = self.waterfall.get_or_insert_with(|| Waterfall::new(&context));
        let (stream, channel) = {
            let listening = lock(&shared.ear);
            if let Some(ear) = listening.ear.as_ref().filter(|_| !paused) {
                waterfall.follow(&context, ear, listening.version);
            }
            (listening.stream, listening.channel)
        };
        let (place, response) = ui.allocate_exact_size(ui.available_size(), Sense::hover());
        let gap = 10.0;
        let meters = 118.0;
        let scale = 46.0;
        let left = place.left() + 34.0;
        let width = (place.width() - 34.0 - 2.0 * gap - meters - scale) / 2.0;
        let height = place.height() - 14.0;
        for (index, name) in ["before", "after"].into_iter().enumerate() {
            let ring = if index == 0 { &waterfall.before } else { &waterfall.after };
            let corner = pos2(left + index as f32 * (width + gap), place.top());
            let room = Rect::from_min_size(corner, vec2(width, height));
            side(ui, tokens, waterfall, ring, room, name);
        }
        seconds(ui, tokens, Rect::from_min_size(place.min, vec2(34.0, height)));
        let bar = Rect::from_min_size(pos2(left + 2.0 * (width + gap), place.top()), vec2(10.0, height));
        colour_bar(ui, tokens, &waterfall.colours, bar);
        let mut told = "Waterfall before and after".to_owned();
        if let Some(stream) = streams.iter().find(|known| known.id == stream) {
            told = describe(stream, channel);
            let room =
                Rect::from_min_max(pos2(place.right() - meters, place.top()), pos2(place.right(), place.bottom()));
            levels(ui, tokens, stream, room);
        }
        described(&response, told);
    }
}

/// For whoever does not see it.
fn describe(stream: &FeedFigures, channel: usize) -> String {
    let gate = if stream.is_open { "open" } else { "closed" };
    let of = format!("channel {} of {}", channel + 1, stream.name);
    format!("Waterfall before and after, {of}; in {}, out {}, gate {gate}", dbfs(stream.before), dbfs(stream.after))
}

/// A level's root mean square.
fn dbfs(level: Option<(f32, f32)>) -> String {
    let sounding = level.filter(|(_, rms)| *rms > -110.0);
    sounding.map_or_else(|| "silent".to_owned(), |(_, rms)| format!("{rms:.0} dBFS"))
}

fn side(ui: &Ui, tokens: &Tokens, waterfall: &Waterfall, ring: &Ring, room: Rect, name: &str) {
    let painter = ui.painter();
    painter.image(ring.texture.id(), room, waterfall.uv(), Color32::WHITE);
    painter.rect_stroke(room, 0.0, Stroke::new(1.0, tokens.stroke), StrokeKind::Outside);
    let label = Rect::from_min_size(room.min + vec2(6.0, 6.0), vec2(44.0, 16.0));
    painter.rect_filled(label, 3.0, Color32::from_black_alpha(150));
    painter.text(label.center(), Align2::CENTER_CENTER, name, FontId::proportional(SMALL), Color32::WHITE);
    for (part, align) in [(0.0, Align2::LEFT_TOP), (0.5, Align2::CENTER_TOP), (1.0, Align2::RIGHT_TOP)] {
        #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
        let x = room.left() + room.width() * part as f32;
        let label = text::hertz(waterfall.hertz(part));
        painter.text(pos2(x, room.bottom() + 2.0), align, label, FontId::proportional(SMALL), tokens.subdued);
    }
}

fn seconds(ui: &Ui, tokens: &Tokens, room: Rect) {
    let all_s = ROWS as f64 / ROWS_PER_S;
    for second in [0.0, 2.0, 4.0, 6.0] {
        #[expect(clippy::cast_possible_truncation, reason = "it is drawn")]
        let y = room.bottom() - room.height() * (second / all_s) as f32;
        let label = if second == 0.0 { "now".to_owned() } else { format!("-{second:.0} s") };
        let align = if second == 0.0 { Align2::RIGHT_BOTTOM } else { Align2::RIGHT_CENTER };
        ui.painter().text(pos2(room.right() - 5.0, y), align, label, FontId::proportional(SMALL), tokens.subdued);
    }
}

fn colour_bar(ui: &Ui, tokens: &Tokens, colours: &[Color32], bar: Rect) {
    let steps = 32;
    for step in 0..steps {
        let level = 255 - step * 255 / (steps - 1);
        let top = bar.top() + bar.height() * step as f32 / steps as f32;
        let place = Rect::from_min_size(pos2(bar.left(), top), vec2(bar.width(), bar.height() / steps as f32 + 0.5));
        ui.painter().rect_filled(place, 0.0, colours[level]);
    }
    for (part, align) in [(0.0, Align2::LEFT_TOP), (0.5, Align2::LEFT_CENTER), (1.0, Align2::LEFT_BOTTOM)] {
        let db = TOP_DB + part * (FLOOR_DB - TOP_DB);
        let label = if part == 0.0 { format!("{db:.0} dB") } else { format!("{db:.0}") };
        let at = pos2(bar.right() + 4.0, bar.top() + part * bar.height());
        ui.painter().text(at, align, label, FontId::proportional(SMALL), tokens.subdued);
    }
}

/// Level in and out, with the gate between them.
fn levels(ui: &Ui, tokens: &Tokens, stream: &FeedFigures, room: Rect) {
    let painter = ui.painter();
    let small = FontId::proportional(SMALL);
    let (gate, colour) = if stream.is_open { ("gate open", tokens.good) } else { ("gate closed", tokens.subdued) };
    painter.circle_filled(pos2(room.left() + 14.0, room.top() + 7.0), 4.0, colour);
    painter.text(pos2(room.left() + 24.0, room.top() + 7.0), Align2::LEFT_CENTER, gate, small.clone(), tokens.text);
    for (index, (name, level)) in [("in", stream.before), ("out", stream.after)].into_iter().enumerate() {
        let column = pos2(room.left() + 14.0 + 54.0 * index as f32, room.top() + 22.0);
        let bar = Rect::from_min_max(column, pos2(column.x + 12.0, room.bottom() - 40.0));
        painter.rect_filled(bar, 2.0, tokens.well);
        painter.rect_stroke(bar, 2.0, Stroke::new(1.0, tokens.stroke), StrokeKind::Outside);
        let y = |db: f32| bar.bottom() - bar.height() * ((db + 80.0) / 80.0).clamp(0.0, 1.0);
        let (peak, rms) = level.unwrap_or((-120.0, -120.0));
        let colour = if peak >= -0.1 { tokens.error } else { tokens.accent };
        painter.rect_filled(Rect::from_min_max(pos2(bar.left(), y(rms)), bar.max), 2.0, colour);
        painter.hline(bar.x_range(), y(peak), Stroke::new(1.5, tokens.strong));
        let under = |line: f32| pos2(bar.left() - 6.0, bar.bottom() + 8.0 + 12.0 * line);
        painter.text(under(0.0), Align2::LEFT_CENTER, name, small.clone(), tokens.subdued);
        painter.text(under(1.0), Align2::LEFT_CENTER, dbfs(level), FontId::monospace(9.5), tokens.text);
    }
    let error = stream.error.as_deref().map_or("", |_| "stream failed");
    painter.text(pos2(room.left() + 8.0, room.bottom()), Align2::LEFT_BOTTOM, error, small, tokens.error);
}
