//! What `auricle run` says it did: one object, as JSON or as a few lines of text.

use std::time::Duration;

use super::config::Settings;
use crate::cli::times::percentile;
use crate::{DeviceInfo, FrameCounts};

/// The report. Times are in seconds; `stages` share the time that the graph ran, so that they add up to it.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) device: DeviceInfo,
    pub(super) sample_rate_hz: Option<f64>,
    pub(super) channels: usize,
    pub(super) frame_len: usize,
    /// Of each channel.
    pub(super) samples: u64,
    /// Of all channels.
    pub(super) frames: FrameCounts,
    /// Of the live frames; none without the filter, or without any power.
    pub(super) coherence: Option<f64>,
    pub(super) stages: Vec<StageReport>,
    /// None without a denoiser.
    pub(super) hop: Option<HopReport>,
    pub(super) wall_s: f64,
    pub(super) frames_per_s: f64,
    /// Seconds of signal (of all channels side by side) per second of work; none when the rate is unknown.
    pub(super) realtime_factor: Option<f64>,
    pub(super) settings: Settings,
}

#[derive(Debug, serde::Serialize)]
pub(super) struct StageReport {
    pub(super) name: String,
    pub(super) seconds: f64,
}

/// How long the denoiser's network took for a hop of all channels: in half of its calls at most `p50_us`, in 99 of 100 at
/// most `p99_us`.
#[derive(Debug, serde::Serialize)]
pub(super) struct HopReport {
    calls: usize,
    p50_us: f64,
    p99_us: f64,
}

impl HopReport {
    pub(super) fn new(times: &mut [Duration]) -> Option<Self> {
        let calls = times.len();
        let mut at_us = |of_hundred| percentile(times, of_hundred).map(|time| 1e6 * time.as_secs_f64());
        Some(Self { calls, p50_us: at_us(50)?, p99_us: at_us(99)? })
    }
}

impl std::fmt::Display for HopReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.0} us (p50), {:.0} us (p99)", self.p50_us, self.p99_us)
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        let rate = self.sample_rate_hz.map_or_else(|| "unknown rate".to_owned(), |rate| format!("{rate} Hz"));
        let live_percent = 100.0 * self.frames.live as f64 / self.frames.total.max(1) as f64;
        let FrameCounts { total, live, quiet, faulty } = self.frames;
        let stages: Vec<_> = self.stages.iter().map(|stage| format!("{} {:.3} s", stage.name, stage.seconds)).collect();
        let realtime = self.realtime_factor.map_or_else(String::new, |factor| format!(", {factor:.0} x real time"));
        let coherence = self
            .coherence
            .map(|coherence| format!("  coherence  {coherence:.3} (white noise 0.332, a slow signal near 1)"));
        let channels = if self.channels == 1 { "mono".to_owned() } else { format!("{} channels", self.channels) };
        let mut lines = vec![
            format!("{} -> {}", self.input, self.output),
            format!("  signal     {} samples, {channels}, {rate}", self.samples),
            format!("  device     {} ({}: {})", self.device.name, self.device.backend, self.device.driver),
            format!(
                "  frames     {total} of {} samples: {live} live ({live_percent:.1} %), {quiet} quiet, {faulty} faulty",
                self.frame_len
            ),
        ];
        lines.extend(coherence);
        if let Some(denoise) = &self.settings.denoise {
            lines.push(denoise.text(self.hop.as_ref()));
        }
        lines.push(format!("  stages     {}", stages.join(", ")));
        lines.push(format!("  took       {:.3} s, {:.0} frames/s{realtime}", self.wall_s, self.frames_per_s));
        lines.join("\n")
    }
}
