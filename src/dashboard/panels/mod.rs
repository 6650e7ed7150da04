//! The parts of the window, and what they are drawn with.

pub(super) mod controls;

pub(super) mod graph;

pub(super) mod header;

pub(super) mod help;

pub(super) mod lanes;

pub(super) mod plots;

pub(super) mod signal;

pub(super) mod tiles;

use egui::{Color32, CornerRadius, Rect, Response, RichText, Sense, Stroke, StrokeKind, Ui, UiBuilder, pos2, vec2};

use super::theme::{SMALL, Tokens, title};
use crate::qos::Qos;

/// A box with a title, what it shows in words, and something on the right of those.
pub(super) fn card<R>(
    ui: &mut Ui,
    tokens: &Tokens,
    place: Rect,
    (name, what): (&str, &str),
    right: impl FnOnce(&mut Ui),
    content: impl FnOnce(&mut Ui) -> R,
) -> R {
    ui.painter().rect(place, 6.0, tokens.card, Stroke::new(1.0, tokens.stroke), StrokeKind::Inside);
    let inner = place.shrink2(vec2(11.0, 8.0));
    let mut inside = ui.new_child(UiBuilder::new().max_rect(inner).id_salt(("card", name)));
    inside.set_clip_rect(inner.expand(3.0).intersect(ui.clip_rect()));
    inside.horizontal(|ui| {
        ui.spacing_mut().interact_size.y = 18.0;
        ui.label(RichText::new(name).text_style(title()).color(tokens.strong));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            right(ui);
            // What is left of the line, if that is enough to be read.
            if ui.available_width() < 60.0 {
                return;
            }
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(egui::Label::new(RichText::new(what).size(SMALL).color(tokens.subdued)).truncate());
            });
        });
    });
    content(&mut inside)
}

/// What stands where there is nothing to show yet: what is missing, and what to do.
pub(super) fn empty(ui: &mut Ui, tokens: &Tokens, head: &str, next: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.3).clamp(2.0, 200.0));
        ui.label(RichText::new(head).text_style(title()).color(tokens.text));
        ui.label(RichText::new(next).size(SMALL).color(tokens.subdued));
    });
}

/// A few choices side by side, of which one is taken.
pub(super) fn choice<T: Copy + PartialEq>(ui: &mut Ui, chosen: &mut T, choices: &[(T, &str)]) {
    for (value, name) in choices {
        if ui.selectable_label(*chosen == *value, RichText::new(*name).size(SMALL)).clicked() {
            *chosen = *value;
        }
    }
}

/// A small coloured square.
pub(super) fn swatch(ui: &mut Ui, colour: Color32) {
    let (place, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
    ui.painter().rect_filled(place, CornerRadius::same(2), colour);
}

/// Each level with its colour.
pub(super) fn legend(ui: &mut Ui, tokens: &Tokens) {
    // From right to left.
    for qos in Qos::ALL.into_iter().rev() {
        ui.label(RichText::new(qos.name()).size(SMALL).color(tokens.text));
        swatch(ui, tokens.qos(qos));
    }
}

/// Text in a rounded box; with a dot where it tells a state.
pub(super) fn badge(ui: &mut Ui, text: &str, colour: Color32, has_dot: bool) -> Response {
    let galley = ui.painter().layout_no_wrap(text.to_owned(), egui::FontId::proportional(11.0), colour);
    let dot = if has_dot { 12.0 } else { 0.0 };
    let (place, response) = ui.allocate_exact_size(vec2(galley.size().x + dot + 14.0, 20.0), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, text));
    let painter = ui.painter();
    if has_dot {
        painter.rect_filled(place, 10.0, colour.gamma_multiply(0.16));
        painter.circle_filled(place.left_center() + vec2(10.0, 0.0), 3.0, colour);
    } else {
        painter.rect_stroke(place, 4.0, Stroke::new(1.0, colour.gamma_multiply(0.6)), StrokeKind::Inside);
    }
    painter.galley(pos2(place.left() + 7.0 + dot, place.center().y - galley.size().y / 2.0), galley, colour);
    response
}

/// Says to whoever cannot see it what a painted part shows.
pub(super) fn described(response: &Response, text: impl Into<String>) {
    let text = text.into();
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &text));
}

/// Splits a row into parts of these shares, with gaps between them.
pub(super) fn columns<const N: usize>(row: Rect, shares: [f32; N], gap: f32) -> [Rect; N] {
    let room = row.width() - gap * (N as f32 - 1.0);
    let all: f32 = shares.iter().sum();
    let mut left = row.left();
    shares.map(|share| {
        let place = Rect::from_min_size(pos2(left, row.top()), vec2(room * share / all, row.height()));
        left = place.right() + gap;
        place
    })
}
