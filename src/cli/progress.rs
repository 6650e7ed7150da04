//! Progress on a terminal, and the wish to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// A bar with rate and time left; nothing when standard error is no terminal.
pub(super) fn bar(total_samples: Option<u64>, sample_rate_hz: Option<f64>) -> ProgressBar {
    let signal = match sample_rate_hz {
        Some(_) => "{msg} of signal",
        None => "{human_pos} samples",
    };
    let (bar, template) = match total_samples {
        Some(total) => (ProgressBar::new(total), format!("{{wide_bar}} {{percent}} %  {signal}  {{eta}} left")),
        None => (ProgressBar::new_spinner(), format!("{{spinner}} {signal}  {{elapsed}}")),
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
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
