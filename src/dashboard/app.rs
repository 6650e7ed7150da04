//! The state of the window, and how its parts lie in it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use egui::{Context, Panel, Rect, RichText, ScrollArea, Ui, UiBuilder, pos2, vec2};

use super::desk::{Command, Desk, Figures, Settings, Shared, State, lock};
use super::panels::columns;
use super::panels::controls::Draft;
use super::panels::plots::{Lower, Part};
use super::panels::signal::Waterfall;
use super::remote::Remote;
use super::theme::{self, SMALL, Tokens};
use super::view::TimeView;
use super::{DashboardOptions, Theme, export, text};
use crate::error::Result;
use crate::{Engine, PerQos};

/// How often the window is drawn anew by itself.
const EVERY: Duration = Duration::from_millis(16);
/// The same where no GPU draws it: then each time costs some sixty milliseconds of the cores that the engine has, too.
const EVERY_IN_SOFTWARE: Duration = Duration::from_secs(1);
/// Below that height the middle is scrolled.
const LEAST_HEIGHT: f32 = 540.0;
/// How long a message stays.
const MESSAGE_S: f64 = 12.0;
const GAP: f32 = 8.0;

/// What the lower part shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Signal,
    Graph,
}

/// The dashboard as a widget: an app that draws with egui shows it wherever it likes; [`run`](super::run) gives it a window.
///
/// Dropping it ends its engine and all its streams, which takes as long as what is on the device.
#[derive(Debug)]
pub struct Dashboard {
    desk: Desk,
    pub(super) theme: Theme,
    is_flat: bool,
    every: Duration,
    pub(super) folder: PathBuf,
    /// Whether the view is to be held, and what it shows while it is.
    wants_pause: bool,
    frozen: Option<Box<Figures>>,
    pub(super) view: TimeView,
    pub(super) lanes_view: TimeView,
    pub(super) tab: Tab,
    pub(super) part: Part,
    pub(super) lower: Lower,
    /// The plan that the graph is of; that which takes most time, unless chosen.
    pub(super) plan: Option<u64>,
    pub(super) draft: Draft,
    /// The settings that were asked for last, and the number of that wish.
    pub(super) asked: (Settings, u64),
    pub(super) waterfall: Option<Waterfall>,
    pub(super) shows_help: bool,
    /// What was done last, and when; pictures are written elsewhere.
    pub(super) message: Arc<Mutex<Option<(f64, String)>>>,
}

impl Dashboard {
    /// Opens an engine, or looks at that of a service, and gives the context its fonts and colours. `is_software` says that no
    /// GPU draws the window: then it is drawn once a second, and without filled areas.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when the address of the service is none;
    /// [`Error::Window`](crate::Error::Window) when the system has no threads left. What goes wrong later is shown.
    pub fn new(context: &Context, options: DashboardOptions, is_software: bool) -> Result<Self> {
        let desk = match &options.connect {
            Some(address) => {
                let remote = Remote::new(address, options.token.clone())?;
                Desk::watching(move |shared| remote.watch(shared))?
            }
            None => {
                let desk = Desk::with_engine(options.engine, options.settings, options.streams)?;
                *lock(&desk.shared.load) = options.background;
                desk
            }
        };
        Ok(Self::at(desk, context, options.theme, options.folder, is_software))
    }

    pub(super) fn at(desk: Desk, context: &Context, theme: Theme, folder: PathBuf, is_software: bool) -> Self {
        theme::install(context);
        let dashboard = Self {
            desk,
            theme,
            is_flat: is_software,
            every: if is_software { EVERY_IN_SOFTWARE } else { EVERY },
            folder,
            wants_pause: false,
            frozen: None,
            view: TimeView::of_plots(),
            lanes_view: TimeView::of_lanes(),
            tab: Tab::Signal,
            part: Part::Total,
            lower: Lower::Batch,
            plan: None,
            draft: Draft::default(),
            asked: (Settings::default(), 0),
            waterfall: None,
            shows_help: false,
            message: Arc::default(),
        };
        dashboard.wear_theme(context);
        dashboard
    }

    /// The engine that it opened; none while that is being opened, and where it looks at a service.
    pub fn engine(&self) -> Option<Engine> {
        self.desk.engine()
    }

    /// What runs on its streams now.
    pub fn settings(&self) -> Settings {
        self.shared().figures().settings.clone()
    }

    /// The levels' targets.
    pub fn targets(&self) -> PerQos<Duration> {
        *lock(&self.shared().targets)
    }

    /// Whether the view is held. What happens meanwhile is kept, as far as the last ten minutes go.
    pub fn is_paused(&self) -> bool {
        self.wants_pause
    }

    /// What is shown, as the key E writes it: CSV, ten lines a second, or four of a service; and JSON, with the device,
    /// the streams, the same points, each change of a batch and why, and the last snapshot.
    pub fn export(&self) -> (String, serde_json::Value) {
        self.with_figures(|figures| (export::csv(figures), export::json(figures)))
    }

    /// The colour that lies behind everything.
    pub fn background(&self) -> egui::Color32 {
        Tokens::clear(self.theme == Theme::Dark)
    }

    /// Draws it into all the room that there is, and asks to be drawn again in time.
    pub fn ui(&mut self, ui: &mut Ui) {
        let shared = Arc::clone(self.shared());
        match self.frozen.take() {
            Some(mut frozen) => {
                frozen.follow(&shared.figures());
                self.draw(ui, &frozen);
                if self.wants_pause {
                    self.frozen = Some(frozen);
                }
            }
            None => {
                let figures = shared.figures();
                self.draw(ui, &figures);
                if self.wants_pause {
                    self.frozen = Some(Box::new(figures.clone()));
                }
            }
        }
        // Nothing changes in a view that is held, but for what somebody does.
        if !self.is_paused() || shared.figures().doing.is_some() {
            ui.ctx().request_repaint_after(self.every);
        }
    }

    fn draw(&mut self, ui: &mut Ui, figures: &Figures) {
        let context = ui.ctx().clone();
        let tokens = Tokens::of(self.theme == Theme::Dark, self.is_flat);
        self.wear_theme(&context);
        self.keys(&context, figures);
        self.take_dropped_files(&context);
        let bar = egui::Frame::new().fill(tokens.bar).inner_margin(egui::Margin::symmetric(12, 0));
        let top = Panel::top("header").frame(bar).exact_size(40.0).resizable(false);
        top.show(ui, |ui| self.header(ui, figures, &tokens));
        let bottom = Panel::bottom("status").frame(bar).exact_size(24.0).resizable(false);
        bottom.show(ui, |ui| self.status(ui, figures, &tokens));
        let side = egui::Frame::new().fill(tokens.bar).inner_margin(egui::Margin::symmetric(12, 4));
        let left = Panel::left("controls").frame(side).exact_size(236.0).resizable(false);
        left.show(ui, |ui| self.controls(ui, figures, &tokens));
        let middle = egui::Frame::new().fill(tokens.background).inner_margin(8);
        egui::CentralPanel::default().frame(middle).show(ui, |ui| self.middle(ui, figures, &tokens));
        self.help(&context, &tokens);
    }

    fn middle(&mut self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        if let State::Failed { error, next } = &figures.state {
            self.failed(ui, (error, next), tokens);
            return;
        }
        if ui.available_height() >= LEAST_HEIGHT {
            self.parts(ui, ui.available_rect_before_wrap(), figures, tokens);
            return;
        }
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            let (place, _) = ui.allocate_exact_size(vec2(ui.available_width(), LEAST_HEIGHT), egui::Sense::hover());
            self.parts(ui, place, figures, tokens);
        });
    }

    fn parts(&mut self, ui: &mut Ui, place: Rect, figures: &Figures, tokens: &Tokens) {
        let tiles = 58.0;
        let room = place.height() - tiles - 3.0 * GAP;
        let mut top = place.top();
        let mut row = |height: f32| {
            let row = Rect::from_min_size(pos2(place.left(), top), vec2(place.width(), height));
            top += height + GAP;
            row
        };
        let rows = [row(tiles), row(room * 0.31), row(room * 0.29), row(room * 0.40)];
        let mut inside = ui.new_child(UiBuilder::new().max_rect(place));
        let ui = &mut inside;
        self.tiles(ui, rows[0], figures, tokens);
        self.upper_plots(ui, rows[1], figures, tokens);
        let [lanes, lower] = columns(rows[2], [1.7, 1.0], GAP);
        self.lanes(ui, lanes, figures, tokens);
        self.lower_plot(ui, lower, figures, tokens);
        match self.tab {
            Tab::Signal => self.signal(ui, rows[3], figures, tokens),
            Tab::Graph => self.graph(ui, rows[3], figures, tokens),
        }
    }

    fn failed(&self, ui: &mut Ui, (error, next): (&str, &str), tokens: &Tokens) {
        ui.vertical_centered(|ui| {
            ui.add_space(ui.available_height() * 0.3);
            let head = if self.is_local() { "No engine" } else { "No service" };
            ui.label(RichText::new(head).text_style(egui::TextStyle::Heading).color(tokens.error));
            ui.set_max_width(620.0);
            ui.label(RichText::new(error).color(tokens.text));
            ui.label(RichText::new(next).color(tokens.subdued));
            ui.add_space(8.0);
            if self.is_local() && ui.button("Use the CPU").clicked() {
                self.send(Command::Restart(crate::DeviceChoice::Cpu));
            }
        });
    }

    fn status(&self, ui: &mut Ui, figures: &Figures, tokens: &Tokens) {
        ui.horizontal_centered(|ui| {
            let small = |text: String, colour| RichText::new(text).size(SMALL).color(colour);
            let work = figures.history.last.as_ref().map(|snapshot| snapshot.work);
            let frames = work.map_or(0.0, |work| work.frames as f64);
            ui.label(small(format!("{} frames", text::short(frames)), tokens.subdued));
            ui.separator();
            let now_s = self.shared().now_s();
            let message = lock(&self.message).clone().filter(|(at_s, _)| now_s - at_s < MESSAGE_S);
            let problem = figures.problem.clone().filter(|(at_s, _)| now_s - at_s < MESSAGE_S);
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.label(small("Space pause   W waterfall   G graph   T theme   F1 help".to_owned(), tokens.subdued));
                ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                    let health = figures.history.last.as_ref().and_then(|snapshot| snapshot.health.reason.clone());
                    let (text, colour) = match (problem, &figures.doing, message) {
                        (Some((_, problem)), _, _) => (problem, tokens.error),
                        (None, Some(doing), _) => (format!("{doing} ..."), tokens.warning),
                        (None, None, Some((_, message))) => (message, tokens.text),
                        (None, None, None) => match health {
                            Some(reason) => (reason, tokens.warning),
                            None => ("ready".to_owned(), tokens.subdued),
                        },
                    };
                    ui.add(egui::Label::new(small(text.clone(), colour)).truncate()).on_hover_text(text);
                });
            });
        });
    }

    pub(super) fn say(&self, text: String) {
        *lock(&self.message) = Some((self.shared().now_s(), text));
    }

    pub(super) fn toggle_pause(&mut self) {
        self.wants_pause = !self.wants_pause;
    }

    /// Stops feeding the streams, or goes on with it.
    pub(super) fn toggle_input(&self) {
        self.shared().is_fed.fetch_xor(true, Ordering::Relaxed);
    }

    pub(super) fn wear_theme(&self, context: &Context) {
        let theme = if self.theme == Theme::Dark { egui::Theme::Dark } else { egui::Theme::Light };
        // An app may have another one around it.
        if context.theme() != theme {
            context.set_theme(theme);
            context.request_repaint();
        }
    }

    fn with_figures<R>(&self, look: impl FnOnce(&Figures) -> R) -> R {
        match &self.frozen {
            Some(frozen) => look(frozen),
            None => look(&self.shared().figures()),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.desk.shared
    }

    pub(super) fn is_local(&self) -> bool {
        self.desk.is_local()
    }

    /// Asks for it. Whether that was taken; where it was not, the status says why.
    pub(super) fn send(&self, command: Command) -> bool {
        let sent = self.desk.send(command);
        if let Err(reason) = sent {
            self.say(format!("this was not done: {reason}"));
        }
        sent.is_ok()
    }

    /// The choices of the lower part, from right to left.
    pub(super) fn tab_choice(&self) -> [(Tab, &'static str); 2] {
        [(Tab::Graph, "graph"), (Tab::Signal, "signal")]
    }
}
