//! The bar at the top: which device, how it is, for how long.

use egui::{Align, Layout, RichText, Ui};

use super::badge;
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::{Figures, State};
use crate::dashboard::keys::Action;
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens};
use crate::{DeviceInfo, DeviceKind, HealthState, Qos};

impl Dashboard {
    pub(in crate::dashboard) fn header(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        ui.horizontal_centered(|ui| {
            ui.label(RichText::new("auricle").text_style(egui::TextStyle::Heading).color(tokens.strong));
            self.state_badge(ui, figures, tokens);
            // Buttons first: where room is scarce, it is text that is cut.
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                for (name, hint, action) in [
                    ("Help", "all keys (F1)", Action::Help),
                    ("Save PNG", "a picture of the window (P)", Action::Picture),
                    ("Export", "what is shown, as CSV and JSON (E)", Action::Export),
                ] {
                    if ui.button(name).on_hover_text(hint).clicked() {
                        self.act(ui.ctx(), action, figures);
                    }
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| device(ui, figures, tokens));
            });
        });
    }

    fn state_badge(&self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        let health = figures.history.last.as_ref().map(|snapshot| &snapshot.health);
        let degraded = health.filter(|health| health.state != HealthState::Good);
        let (text, colour) = match (&figures.state, degraded) {
            (State::Starting, _) => ("Starting", tokens.subdued),
            (State::Failed { .. }, _) => ("Failed", tokens.error),
            (State::Running, Some(health)) if health.state == HealthState::Failed => ("No device left", tokens.error),
            (State::Running, Some(_)) => ("Degraded", tokens.warning),
            (State::Running, None) => ("Running", tokens.good),
        };
        let response = badge(ui, text, colour, true);
        if let Some(reason) = degraded.and_then(|health| health.reason.as_ref()) {
            response.on_hover_text(reason);
        }
        if self.is_paused() {
            badge(ui, "View paused", tokens.warning, false);
        }
    }
}

/// The device that does the work now, which after a loss is not the one that was opened; and which levels are on another one.
fn serving(figures: &Figures) -> Option<(&DeviceInfo, String)> {
    let now = figures.history.last.as_ref().map(|snapshot| &snapshot.devices);
    let device = now.and_then(|devices| devices.default.as_ref()).or(figures.device.as_ref())?;
    let others = Qos::ALL.into_iter().filter_map(|qos| Some((qos, now?[qos].as_ref()?)));
    let elsewhere = others.filter(|(_, other)| *other != device).map(|(qos, other)| format!(", {qos}: {}", other.name));
    Some((device, elsewhere.collect()))
}

fn device(ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
    let Some((device, elsewhere)) = serving(figures) else { return };
    let (kind, colour) = match device.kind {
        DeviceKind::Gpu => ("hardware", tokens.good),
        DeviceKind::SoftwareGpu => ("software", tokens.warning),
        DeviceKind::Cpu => ("native", tokens.accent),
    };
    badge(ui, kind, colour, false);
    let uptime = figures.history.last.as_ref().map_or(0.0, |snapshot| snapshot.uptime.as_secs_f64());
    ui.spacing_mut().item_spacing.x = 5.0;
    for (what, value) in [
        ("Adapter", format!("{}{elsewhere}", device.name)),
        ("Up", text::duration(uptime)),
        ("Backend", device.backend.clone()),
        ("Driver", device.driver.clone()),
    ] {
        ui.label(RichText::new(what).size(SMALL).color(tokens.subdued));
        ui.add(egui::Label::new(RichText::new(&value).color(tokens.text)).truncate()).on_hover_text(value);
        ui.add_space(6.0);
    }
}
