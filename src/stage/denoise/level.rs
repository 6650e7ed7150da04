//! The level of a channel, followed slowly: a network does best at the level that it was trained at.
//!
//! What is followed is the gate's measure, `max|x|`, of every hop: up within tenths of a second, down over seconds, so
//! that a pause between words does not raise the noise.

/// Peaks, as this follows them, over the RMS level of speech: 12 dB.
const CREST: f32 = 4.0;
/// Time constants, in seconds.
const UP_S: f32 = 0.1;
const DOWN_S: f32 = 3.0;
/// A recording begins with noise more often than with speech, so speech is expected 18 dB above its first hop. Raised to
/// the level of speech, the noise at the start of a recording costs 0.7 dB SI-SDR and 0.004 STOI on real pairs.
const HEADROOM: f32 = 8.0;
/// Signals below this peak, -100 dBFS, are not raised further, and louder peaks count as `HIGHEST_PEAK`.
const LOWEST_PEAK: f32 = 1e-5;
const HIGHEST_PEAK: f32 = 1e6;
/// A hop counts for no more than this many times what was followed: a click is not the level of a channel.
const HIGHEST_LEAP: f32 = 4.0;

/// Follows one channel.
#[derive(Clone, Debug)]
pub(super) struct LevelFollower {
    target_peak: f32,
    up: f32,
    down: f32,
    /// None before the first hop.
    peak: Option<f32>,
}

impl LevelFollower {
    /// Towards speech at `target_dbfs` (RMS), in hops of `hop_s` seconds.
    pub(super) fn new(target_dbfs: f32, hop_s: f32) -> Self {
        let share = |time_s: f32| 1.0 - (-hop_s / time_s).exp();
        let target_peak = CREST * 10.0_f32.powf(target_dbfs / 20.0);
        Self { target_peak, up: share(UP_S), down: share(DOWN_S), peak: None }
    }

    /// Takes the peak of the next hop, and says what to multiply by.
    pub(super) fn gain(&mut self, hop_peak: f32) -> f32 {
        let hop_peak = if hop_peak.is_nan() { LOWEST_PEAK } else { hop_peak.clamp(LOWEST_PEAK, HIGHEST_PEAK) };
        let peak = self.peak.unwrap_or(HEADROOM * hop_peak);
        let share = if hop_peak > peak { self.up } else { self.down };
        let peak = peak + share * (hop_peak.min(HIGHEST_LEAP * peak) - peak);
        self.peak = Some(peak);
        self.target_peak / peak
    }

    /// What was said last.
    pub(super) fn held(&self) -> f32 {
        self.peak.map_or(1.0, |peak| self.target_peak / peak)
    }

    /// Forgets what was followed.
    pub(super) fn reset(&mut self) {
        self.peak = None;
    }
}
