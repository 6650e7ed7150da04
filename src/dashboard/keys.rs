//! What keys, buttons and dropped files do.

use std::path::PathBuf;
use std::sync::Arc;

use egui::{Context, Key};

use super::app::{Dashboard, Tab};
use super::desk::{Command, Figures, lock};
use super::{Sound, Theme, export};

/// What keys and buttons do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Help,
    Picture,
    Export,
}

impl Dashboard {
    pub(super) fn keys(&mut self, context: &Context, figures: &Figures) {
        // Whoever types a path means letters.
        if context.text_edit_focused() {
            return;
        }
        // Once, however long it is held.
        let is_press = |event: &egui::Event, wanted: Key| match event {
            egui::Event::Key { key, pressed: true, repeat: false, modifiers, .. } => {
                *key == wanted && !modifiers.command
            }
            _ => false,
        };
        let pressed = |key: Key| context.input(|input| input.events.iter().any(|event| is_press(event, key)));
        // What has the focus may want these for itself.
        let is_free = context.memory(|memory| memory.focused().is_none());
        if is_free && pressed(Key::Space) {
            self.toggle_pause();
        }
        if pressed(Key::S) && self.is_local() {
            self.toggle_input();
        }
        if pressed(Key::A) && self.is_local() {
            self.add();
        }
        for (key, tab) in [(Key::W, Tab::Signal), (Key::G, Tab::Graph)] {
            if pressed(key) {
                self.tab = tab;
            }
        }
        self.time_keys(pressed, is_free);
        if pressed(Key::T) {
            self.theme = if self.theme == Theme::Dark { Theme::Light } else { Theme::Dark };
            self.wear_theme(context);
        }
        if pressed(Key::Escape) {
            self.shows_help = false;
        }
        for (key, action) in [(Key::F1, Action::Help), (Key::E, Action::Export), (Key::P, Action::Picture)] {
            if pressed(key) {
                self.act(context, action, figures);
            }
        }
    }

    /// Those that say which time is shown.
    fn time_keys(&mut self, pressed: impl Fn(Key) -> bool, is_free: bool) {
        for (key, factor) in [(Key::Plus, 0.5), (Key::Equals, 0.5), (Key::Minus, 2.0)] {
            if pressed(key) {
                self.view.zoom(factor, 1.0);
            }
        }
        if is_free {
            for (key, step) in [(Key::ArrowLeft, 0.25), (Key::ArrowRight, -0.25)] {
                if pressed(key) {
                    self.view.pan(step * self.view.span_s);
                }
            }
        }
        if pressed(Key::Num0) {
            self.view.reset();
            self.lanes_view.reset();
        }
    }

    pub(super) fn act(&mut self, context: &Context, action: Action, figures: &Figures) {
        match action {
            Action::Help => self.shows_help = !self.shows_help,
            Action::Export => {
                let text = match export::write(figures, &self.folder) {
                    Ok((table, document)) => format!("saved {} and {}", table.display(), document.display()),
                    Err(error) => format!("not exported into {}: {error}", self.folder.display()),
                };
                self.say(text);
            }
            Action::Picture => {
                let path = export::name(&self.folder, "png");
                let (message, now_s) = (Arc::clone(&self.message), self.shared().now_s());
                context.request_screenshot(move |image| {
                    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
                    let size = image.size.map(side);
                    let text = match export::png(&path, size, image.as_raw()) {
                        Ok(()) => format!("saved {}", path.display()),
                        Err(error) => format!("{} was not saved: {error}", path.display()),
                    };
                    *lock(&message) = Some((now_s, text));
                });
            }
        }
    }

    pub(super) fn take_dropped_files(&self, context: &Context) {
        let files: Vec<PathBuf> =
            context.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect());
        for file in files {
            self.send(Command::Open { sound: Sound::File(file), qos: self.draft.qos });
        }
    }
}
