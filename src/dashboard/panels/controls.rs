//! What can be done to the engine: streams, stages, targets, background jobs, the device.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use egui::{ComboBox, DragValue, RichText, ScrollArea, Slider, SliderClamping, TextEdit, Ui};

use super::swatch;
use crate::dashboard::app::Dashboard;
use crate::dashboard::desk::{Command, Denoiser, Figures, Settings, lock};
use crate::dashboard::feed::FeedFigures;
use crate::dashboard::sound::Sound;
use crate::dashboard::text;
use crate::dashboard::theme::{SMALL, Tokens};
use crate::qos::Qos;
use crate::stage::filter::FilterMode;
use crate::{DeviceChoice, DeviceInfo, DeviceKind};

/// What the controls say, before it is done.
#[derive(Clone, Debug)]
pub(in crate::dashboard) struct Draft {
    pub(in crate::dashboard) sound: SoundChoice,
    pub(in crate::dashboard) file: String,
    pub(in crate::dashboard) qos: Qos,
    settings: Option<Settings>,
    model: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dashboard) enum SoundChoice {
    Speech,
    Tones,
    Noise,
    File,
}

impl SoundChoice {
    const ALL: [(Self, &str); 4] = [
        (Self::Speech, "noisy speech"),
        (Self::Tones, "tones in noise"),
        (Self::Noise, "white noise"),
        (Self::File, "a recording"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(choice, _)| *choice == self).map_or("", |(_, name)| name)
    }
}

impl Default for Draft {
    fn default() -> Self {
        let (sound, qos) = (SoundChoice::Speech, Qos::Default);
        Self { sound, file: String::new(), qos, settings: None, model: String::new() }
    }
}

impl Draft {
    pub(in crate::dashboard) fn sound(&self) -> Option<Sound> {
        match self.sound {
            SoundChoice::Speech => Some(Sound::Speech),
            SoundChoice::Tones => Some(Sound::Tones),
            SoundChoice::Noise => Some(Sound::Noise),
            SoundChoice::File => path(&self.file).map(Sound::File),
        }
    }
}

/// What somebody has typed, as a path; none when it is nothing.
fn path(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn heading(ui: &mut Ui, tokens: &Tokens, text: &str) {
    ui.add_space(5.0);
    ui.label(RichText::new(text).size(SMALL).strong().color(tokens.subdued));
}

impl Dashboard {
    pub(in crate::dashboard) fn controls(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 4.0;
            self.run_buttons(ui, tokens);
            if self.is_local() {
                self.add_stream(ui, figures, tokens);
                self.list_streams(ui, &figures.streams, tokens);
                self.stages(ui, figures, tokens);
            }
            self.target_sliders(ui, tokens);
            if self.is_local() {
                self.background_jobs(ui, tokens);
                self.device_choice(ui, figures, tokens);
            }
        });
    }

    fn run_buttons(&mut self, ui: &mut Ui, tokens: &Tokens) {
        heading(ui, tokens, "RUN");
        ui.horizontal(|ui| {
            let paused = if self.is_paused() { "Resume view" } else { "Pause view" };
            if ui.button(paused).on_hover_text("Space; nothing is lost meanwhile").clicked() {
                self.toggle_pause();
            }
            if self.is_local() {
                let is_fed = self.shared().is_fed.load(Ordering::Relaxed);
                let name = if is_fed { "Stop input" } else { "Start input" };
                if ui.button(name).on_hover_text("S; what is on its way still comes out").clicked() {
                    self.toggle_input();
                }
            }
        });
    }

    fn add_stream(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        heading(ui, tokens, &format!("STREAMS ({})", figures.streams.len()));
        ui.horizontal(|ui| {
            let chosen = ComboBox::from_id_salt("sound").selected_text(self.draft.sound.name()).width(112.0);
            let response = chosen.show_ui(ui, |ui| {
                for (choice, name) in SoundChoice::ALL {
                    ui.selectable_value(&mut self.draft.sound, choice, name);
                }
            });
            response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Sound"));
            level(ui, "Level of the new stream", &mut self.draft.qos);
        });
        if self.draft.sound == SoundChoice::File {
            let edit = TextEdit::singleline(&mut self.draft.file)
                .hint_text("path of a WAV or SigMF file")
                .desired_width(f32::INFINITY);
            let response = ui.add(edit);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Path of the recording"));
        }
        let sound = self.draft.sound();
        let button = ui.add_enabled(sound.is_some(), egui::Button::new("Add stream"));
        if button.on_hover_text("A; or drop files into the window").clicked() {
            self.add();
        }
    }

    pub(in crate::dashboard) fn add(&self) {
        if let Some(sound) = self.draft.sound() {
            self.send(Command::Open { sound, qos: self.draft.qos });
        }
    }

    fn list_streams(&mut self, ui: &mut Ui, streams: &[FeedFigures], tokens: &Tokens) {
        let most = 132.0;
        ScrollArea::vertical().id_salt("streams").max_height(most).auto_shrink([false, true]).show(ui, |ui| {
            for stream in streams {
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing.x = 5.0;
                    swatch(ui, tokens.qos(stream.qos));
                    let name = RichText::new(&stream.name).color(if stream.error.is_some() {
                        tokens.error
                    } else {
                        tokens.text
                    });
                    let label = left(ui, 88.0, egui::Label::new(name).truncate());
                    let mut about = format!(
                        "{}, {} channel(s)\n{} floats in, {} dropped",
                        text::hertz(stream.rate_hz),
                        stream.channels,
                        stream.counters.pushed,
                        stream.dropped
                    );
                    if let Some(error) = &stream.error {
                        about = format!("{error}\n{about}");
                    }
                    label.on_hover_text(about);
                    let mut qos = stream.qos;
                    level(ui, &format!("Level of {}", stream.name), &mut qos);
                    if qos != stream.qos {
                        self.send(Command::Move(stream.id, qos));
                    }
                    let close = ui.small_button("x").on_hover_text("close this stream");
                    close.widget_info(|| {
                        egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Close {}", stream.name))
                    });
                    if close.clicked() {
                        self.send(Command::Close(stream.id));
                    }
                });
            }
        });
    }

    fn stages(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        heading(ui, tokens, "STAGES, OF ALL STREAMS");
        // What is being moved, else what was asked for and is not done yet, else what runs.
        let asked = || (self.asked.1 > figures.settled).then(|| self.asked.0.clone());
        let before = self.draft.settings.clone().or_else(asked).unwrap_or_else(|| figures.settings.clone());
        let mut settings = before.clone();
        let mut is_moving = gate(ui, &mut settings);
        filter(ui, &mut settings);
        self.denoiser(ui, &mut settings);
        is_moving |= strength(ui, &mut settings);
        if is_moving {
            // It is compiled once a slider is let go, not at each place that it passes.
            self.draft.settings = Some(settings);
        } else if self.draft.settings.take().is_some() || settings != before {
            let number = self.asked.1 + 1;
            if self.send(Command::Set(settings.clone(), number)) {
                self.asked = (settings, number);
            }
        }
    }

    fn denoiser(&mut self, ui: &mut Ui, settings: &mut Settings) {
        ui.horizontal(|ui| {
            ui.label("Denoiser");
            let choices = [(Denoiser::Off, "off"), (Denoiser::Builtin, "built in")];
            for (denoiser, name) in choices {
                let is_it = settings.denoiser == denoiser;
                let response = ui.selectable_label(is_it, name);
                let label = format!("Denoiser {name}");
                response.widget_info(|| egui::WidgetInfo::selected(egui::Role::RadioButton, true, is_it, &label));
                if response.clicked() {
                    settings.denoiser = denoiser;
                }
            }
        });
        let edit = TextEdit::singleline(&mut self.draft.model)
            .hint_text("or a model file, then Enter")
            .desired_width(f32::INFINITY);
        let response = ui.add(edit);
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Path of a model file"));
        if response.lost_focus()
            && ui.input(|input| input.key_pressed(egui::Key::Enter))
            && let Some(path) = path(&self.draft.model)
        {
            settings.denoiser = Denoiser::File(path);
        }
    }

    fn target_sliders(&mut self, ui: &mut Ui, tokens: &Tokens) {
        heading(ui, tokens, "TARGET, p95 LATENCY");
        let mut targets = self.targets();
        for qos in Qos::ALL {
            ui.horizontal(|ui| {
                swatch(ui, tokens.qos(qos));
                left(ui, 50.0, egui::Label::new(qos.name()));
                let mut ms = 1e3 * targets[qos].as_secs_f64();
                let value = DragValue::new(&mut ms).range(1.0..=10_000.0).speed(1.0).suffix(" ms").max_decimals(0);
                let response = ui.add(value);
                response.widget_info(|| egui::WidgetInfo::slider(true, ms, format!("Target of {qos}")));
                if response.changed() {
                    targets[qos] = Duration::from_secs_f64((ms / 1e3).max(1e-3));
                }
            });
        }
        *lock(&self.shared().targets) = targets;
    }

    fn background_jobs(&mut self, ui: &mut Ui, tokens: &Tokens) {
        heading(ui, tokens, "BACKGROUND JOBS");
        let mut load = *lock(&self.shared().load);
        let before = load;
        for qos in Qos::ALL {
            ui.horizontal(|ui| {
                swatch(ui, tokens.qos(qos));
                left(ui, 50.0, egui::Label::new(qos.name()));
                let mut percent = 100.0 * load[qos];
                let value = DragValue::new(&mut percent).range(0.0..=100.0).speed(1.0).suffix(" %").max_decimals(0);
                let response = ui.add(value).on_hover_text(
                    "the part of its time in which a client is at work, in batches as large as the engine suggests",
                );
                response.widget_info(|| {
                    egui::WidgetInfo::slider(true, f64::from(percent), format!("Background jobs of {qos}"))
                });
                load[qos] = percent / 100.0;
            });
        }
        if load != before {
            *lock(&self.shared().load) = load;
        }
    }

    fn device_choice(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        heading(ui, tokens, "DEVICE");
        let now = figures.device.as_ref().map_or("none", |device| &device.name);
        let chosen = ComboBox::from_id_salt("device").selected_text(now).width(150.0).truncate();
        let mut wanted = None;
        let response = chosen.show_ui(ui, |ui| {
            for device in &figures.devices {
                let about = format!("{} ({})", device.name, device.backend);
                if ui.selectable_label(Some(device) == figures.device.as_ref(), about).clicked() {
                    wanted = Some(choice_of(device));
                }
            }
        });
        response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Device"));
        if ui.button("Restart engine").on_hover_text("opens the device anew; streams go on").clicked() {
            wanted = Some(figures.device.as_ref().map_or(DeviceChoice::Auto, choice_of));
        }
        if let Some(device) = wanted {
            self.send(Command::Restart(device));
        }
    }
}

/// Whether its threshold is being moved.
fn gate(ui: &mut Ui, settings: &mut Settings) -> bool {
    let mut gate_db = settings.gate_db.unwrap_or(-60.0);
    let mut has_gate = settings.gate_db.is_some();
    ui.checkbox(&mut has_gate, "Gate");
    let mut is_moving = false;
    if has_gate {
        // What came from elsewhere stays as it is until somebody moves it.
        let slider = Slider::new(&mut gate_db, -100.0..=0.0).clamping(SliderClamping::Edits).step_by(1.0);
        let response = ui.add(slider.suffix(" dBFS"));
        response.widget_info(|| egui::WidgetInfo::slider(true, f64::from(gate_db), "Gate threshold"));
        is_moving = response.dragged();
    }
    settings.gate_db = has_gate.then_some(gate_db);
    is_moving
}

fn filter(ui: &mut Ui, settings: &mut Settings) {
    ui.horizontal(|ui| {
        ui.label("Filter");
        let choices = [(None, "off"), (Some(FilterMode::Seamless), "seamless"), (Some(FilterMode::Block), "block")];
        for (mode, name) in choices {
            let is_it = settings.filter == mode;
            let response = ui.selectable_label(is_it, name);
            let label = format!("Filter {name}");
            response.widget_info(|| egui::WidgetInfo::selected(egui::Role::RadioButton, true, is_it, &label));
            if response.clicked() {
                settings.filter = mode;
            }
        }
    });
}

/// Whether the denoiser's strength is being moved.
fn strength(ui: &mut Ui, settings: &mut Settings) -> bool {
    ui.label("Strength");
    let slider = Slider::new(&mut settings.strength, 0.0..=1.0).clamping(SliderClamping::Edits).step_by(0.05);
    let response = ui.add_enabled(settings.denoiser != Denoiser::Off, slider.max_decimals(2));
    let strength = f64::from(settings.strength);
    response.widget_info(|| egui::WidgetInfo::slider(true, strength, "Denoiser strength"));
    response.dragged()
}

/// This one, also where another interface to the same adapter has the same name.
fn choice_of(device: &DeviceInfo) -> DeviceChoice {
    match device.kind {
        DeviceKind::Cpu => DeviceChoice::Cpu,
        _ => DeviceChoice::Named(format!("{} {} {}", device.name, device.driver, device.backend)),
    }
}

/// Text that begins at the left of its room.
fn left(ui: &mut Ui, width: f32, label: egui::Label) -> egui::Response {
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(egui::vec2(width, 18.0), layout, |ui| {
        ui.set_width(width);
        ui.add(label)
    })
    .inner
}

/// A choice of level.
fn level(ui: &mut Ui, name: &str, qos: &mut Qos) {
    let chosen = ComboBox::from_id_salt(name).selected_text(qos.name()).width(58.0);
    let response = chosen.show_ui(ui, |ui| {
        for level in Qos::ALL {
            ui.selectable_value(qos, level, level.name());
        }
    });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, name));
}
