//! What `auricle run` says it did: one object, as JSON or as a few lines of text.

use crate::{DeviceInfo, FrameCounts};

use super::config::Settings;

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

impl Report {
    pub(super) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let rate = self.sample_rate_hz.map_or_else(|| "unknown rate".to_owned(), |rate| format!("{rate} Hz"));
        let of = |part: u64| 100.0 * part as f64 / (self.frames.total.max(1)) as f64;
        let lines = [
            format!("{} -> {}", self.input, self.output),
            format!("  signal   {} samples, {} channels, {rate}", self.samples, self.channels),
            format!("  device   {} ({}: {})", self.device.name, self.device.backend, self.device.driver),
            format!(
                "  frames   {} of {} samples: {} live ({:.1} %), {} quiet, {} faulty",
                self.frames.total,
                self.frame_len,
                self.frames.live,
                of(self.frames.live),
                self.frames.quiet,
                self.frames.faulty
            ),
        ];
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        if let Some(coherence) = self.coherence {
            let _ = writeln!(text, "  coherence {coherence:.3} (white noise 0.332, a slow signal near 1)");
        }
        let stages: Vec<_> = self.stages.iter().map(|stage| format!("{} {:.3} s", stage.name, stage.seconds)).collect();
        let _ = writeln!(text, "  stages   {}", stages.join(", "));
        let realtime = self.realtime_factor.map_or_else(String::new, |factor| format!(", {factor:.0} x real time"));
        let _ = write!(text, "  took     {:.3} s, {:.0} frames/s{realtime}", self.wall_s, self.frames_per_s);
        text
    }
}
