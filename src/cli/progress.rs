//! Progress on a terminal, and the wish to stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// What happens when somebody presses Ctrl-C or asks the process to end: the run stops between two blocks. One that
/// cannot, because it waits for a file or a pipe, is ended after a moment, and its temporary files with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    wanted: Arc<AtomicBool>,
    ignored: Arc<AtomicBool>,
    temporary: Arc<Mutex<Vec<PathBuf>>>,
}

/// How long a run may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(1);

impl Interrupt {
    pub(super) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        ctrlc::set_handler(move || heard.stop()).context("listening for Ctrl-C")?;
        Ok(interrupt)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Files to remove when the process has to be ended.
    pub(super) fn clean_up(&self, temporary: Vec<PathBuf>) {
        *self.temporary.lock().unwrap_or_else(PoisonError::into_inner) = temporary;
    }

    /// From here on the outputs get their names: that is quick, and is not cut in two.
    pub(super) fn ignore(&self) {
        self.ignored.store(true, Ordering::Release);
    }

    #[expect(clippy::print_stderr, reason = "the main thread waits for something that may never come")]
    fn stop(&self) {
        self.wanted.store(true, Ordering::Release);
        std::thread::sleep(PATIENCE);
        if self.ignored.load(Ordering::Acquire) {
            return;
        }
        for file in self.temporary.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // It may be gone already, or the folder with it.
            drop(std::fs::remove_file(file));
        }
        eprintln!("auricle: interrupted while waiting for a file or a pipe; no file was written");
        std::process::exit(1);
    }
}
