//! Progress on a terminal, and the wish to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// A bar with rate and time left; nothing when standard error is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    sample_rate_hz: Option<f64>,
    start: Instant,
}

impl Progress {
    pub(super) fn new(total_samples: Option<u64>, sample_rate_hz: Option<f64>) -> Self {
        let (bar, template) = match total_samples {
            Some(total) => (ProgressBar::new(total), "{wide_bar} {percent} %  {msg}  {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
        };
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, sample_rate_hz, start: Instant::now() }
    }

    /// Shows how much of the signal is done, and how fast.
    pub(super) fn show(&self, samples: u64) {
        let elapsed_s = self.start.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(match self.sample_rate_hz {
            Some(rate) => {
                let signal_s = samples as f64 / rate;
                format!("{signal_s:.1} s of signal, {:.0} x real time", signal_s / elapsed_s)
            }
            None => format!("{:.1} M samples, {:.1} M/s", samples as f64 / 1e6, samples as f64 / 1e6 / elapsed_s),
        });
        self.bar.set_position(samples);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// True once somebody pressed Ctrl-C or asked the process to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    wanted: Arc<AtomicBool>,
}

impl Interrupt {
    pub(super) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let wanted = Arc::clone(&interrupt.wanted);
        ctrlc::set_handler(move || wanted.store(true, Ordering::Release)).context("listening for Ctrl-C")?;
        Ok(interrupt)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }
}
