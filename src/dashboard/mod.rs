//! The desktop dashboard: what an engine does, as it does it, and ways to steer it.
//!
//! ```text
//! header     which device, how it is, for how long
//! controls | tiles                          throughput, p95 of each level, occupancy, sparsity, memory, drops
//!          | throughput      latency        over time; all time axes move together
//!          | lanes           batch          each lane's spans; the suggested batch, and why
//!          | signal or graph                a channel before and after; the nodes of a plan
//! status     what is being done, what went wrong
//! ```
//!
//! Every number is the engine's own: a [`Snapshot`](crate::Snapshot), ten times a second, or four times of a service.
//! The window has a device of its own, so that long dispatches of the engine's never freeze it.
//!
//! `auricle dashboard` opens it; an app calls [`run`], draws the [`Dashboard`] in a window of its own, or makes a [`picture`]
//! without any display.
//!
//! ```no_run
//! use auricle::dashboard::{self, DashboardOptions, WindowOptions};
//!
//! dashboard::run(DashboardOptions::demo(), WindowOptions::default())?;
//! # Ok::<(), auricle::Error>(())
//! ```

mod app;

mod desk;

mod ear;

mod export;

mod feed;

mod history;

mod jobs;

mod keys;

mod operator;

mod panels;

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "what it counts is small; what is skipped is said"
)]
mod pictures;

mod remote;

mod sound;

mod surface;

mod text;

mod theme;

mod view;

mod watch;

mod window;

use std::path::PathBuf;
use std::time::Duration;

pub use self::app::Dashboard;
pub use self::desk::{Denoiser, Settings};
pub use self::export::png as write_png;
pub use self::sound::Sound;
pub use self::surface::picture;
pub use self::window::run;
use crate::{EngineOptions, PerQos, Qos};

/// What a dashboard shows, and how it begins.
#[derive(Clone, Debug)]
pub struct DashboardOptions {
    /// How its engine is opened.
    pub engine: EngineOptions,
    /// What runs on its streams.
    pub settings: Settings,
    /// Streams that are opened at once.
    pub streams: Vec<(Sound, Qos)>,
    /// For each level, the part of its time in which a client with background jobs is at work, 0 to 1.
    pub background: PerQos<f32>,
    /// The address of an `auricle serve` to look at; then there is no engine here.
    pub connect: Option<String>,
    /// What that service wants to be shown.
    pub token: Option<String>,
    /// Dark or light.
    pub theme: Theme,
    /// Where exports and pictures go: the current folder unless set.
    pub folder: PathBuf,
}

impl Default for DashboardOptions {
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            settings: Settings::default(),
            streams: Vec::new(),
            background: PerQos::default(),
            connect: None,
            token: None,
            theme: Theme::Dark,
            folder: PathBuf::from("."),
        }
    }
}

impl DashboardOptions {
    /// Streams at all three levels, and background jobs at the lowest: a real engine, with signals that it makes itself.
    pub fn demo() -> Self {
        let mut streams = vec![(Sound::Speech, Qos::High), (Sound::Tones, Qos::High)];
        streams.extend([(Sound::Speech, Qos::Default), (Sound::Tones, Qos::Default), (Sound::Noise, Qos::Default)]);
        streams.extend([(Sound::Speech, Qos::Low), (Sound::Speech, Qos::Low), (Sound::Noise, Qos::Low)]);
        Self { streams, background: PerQos { low: 0.25, ..PerQos::default() }, ..Self::default() }
    }
}

/// Colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Light text on dark ground.
    #[default]
    Dark,
    /// Dark text on light ground.
    Light,
}

/// A window, or a picture.
#[derive(Clone, Debug)]
pub struct WindowOptions {
    /// Width and height in points: 1280 x 800 unless set.
    pub size: [f32; 2],
    /// Pixels in a point, for a picture; a window asks its display. 1 unless set.
    pub scale: f32,
    /// How long a picture waits for figures to show; and after which a window closes by itself, if it is to.
    pub after: Option<Duration>,
    /// Where a window writes what it showed, as JSON, when it closes.
    pub report: Option<PathBuf>,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self { size: [1280.0, 800.0], scale: 1.0, after: None, report: None }
    }
}
