//! All keys, in one sheet.

use egui::{Context, RichText};

use crate::dashboard::app::Dashboard;
use crate::dashboard::theme::Tokens;

pub(in crate::dashboard) const KEYS: [(&str, &str); 12] = [
    ("Space", "hold the view, or let it go on: nothing is lost meanwhile"),
    ("S", "stop or start feeding the streams"),
    ("A", "add a stream of what the left side says"),
    ("W, G", "waterfall, graph"),
    ("+, -", "less time, more time in the plots"),
    ("Left, Right", "back and forth in time"),
    ("0", "all views as they were"),
    ("E", "export what is shown, as CSV and JSON"),
    ("P", "save a picture of the window"),
    ("T", "dark or light"),
    ("F1", "this sheet"),
    ("Esc", "closes it"),
];

impl Dashboard {
    pub(in crate::dashboard) fn help(&mut self, context: &Context, tokens: &Tokens) {
        if !self.shows_help {
            return;
        }
        let mut is_open = true;
        // On a window without a fill, text of what lies behind would shine through.
        let fill = Tokens::of(tokens.is_dark, false).card;
        let frame = egui::Frame::window(&context.global_style()).fill(fill);
        let window = egui::Window::new("Keys").open(&mut is_open).collapsible(false).resizable(false).frame(frame);
        window.anchor(egui::Align2::CENTER_CENTER, [0.0, 0.0]).show(context, |ui| {
            egui::Grid::new("keys").num_columns(2).spacing([18.0, 5.0]).show(ui, |ui| {
                for (key, what) in KEYS {
                    ui.label(RichText::new(key).monospace().color(tokens.strong));
                    ui.label(what);
                    ui.end_row();
                }
            });
            ui.add_space(4.0);
            ui.label(
                RichText::new("In plots and lanes: the wheel zooms, a drag moves, a double click goes back.").small(),
            );
        });
        self.shows_help &= is_open;
    }
}
