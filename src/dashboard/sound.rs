//! What the dashboard feeds its streams with: recordings that begin again when they end, and signals that it makes itself.

use std::f32::consts::TAU;
use std::io::Cursor;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::format::{FileError, SignalSpec};
use crate::frame::Domain;
use crate::stage::source::{Source, SourceHints};

/// The sample recording, which is in the binary so that the demo runs anywhere.
const SPEECH: &[u8] = include_bytes!("../../assets/noisy-speech.wav");

/// Where a stream's samples come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Noisy speech: ten seconds at 16 kHz, over and over.
    Speech,
    /// A voice-like tone that comes and goes in white noise, at 16 kHz.
    Tones,
    /// White noise at -32 dBFS, 16 kHz: what is left of it is what the denoiser takes for a signal.
    Noise,
    /// A recording, over and over: WAV or SigMF, which say at which rate.
    File(PathBuf),
}

impl Sound {
    /// What a list calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Speech => "speech".to_owned(),
            Self::Tones => "tones".to_owned(),
            Self::Noise => "noise".to_owned(),
            Self::File(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        }
    }

    pub(super) fn open(&self) -> Result<Player> {
        let source = match self {
            Self::Speech | Self::File(_) => Some(self.source()?),
            Self::Tones | Self::Noise => None,
        };
        let spec = source.as_ref().map(|source| source.spec().clone());
        let rate_hz = match &spec {
            None => f64::from(MADE_RATE_HZ),
            Some(spec) => spec.sample_rate_hz.ok_or_else(|| {
                let expected = format!("`{}` has to say it: use WAV or SigMF", self.name());
                Error::setting("the sample rate of the recording", "unknown", expected)
            })?,
        };
        if !(1000.0..=1e8).contains(&rate_hz) {
            let actual = format!("{rate_hz} Hz in {}", self.name());
            return Err(Error::setting("the sample rate of the recording", actual, "1 kHz to 100 MHz can be played"));
        }
        Ok(Player { sound: self.clone(), source, spec, rate_hz, made: Made::new(), is_empty: true })
    }

    fn source(&self) -> Result<Source> {
        let hints = SourceHints::default();
        let opened = match self {
            Self::File(path) => Source::open(path.as_path(), &hints),
            _ => Source::from_reader("the sample recording", Cursor::new(SPEECH), &hints),
        };
        opened.map_err(Error::File)
    }
}

const MADE_RATE_HZ: f32 = 16_000.0;

/// A sound that is being played.
#[derive(Debug)]
pub(super) struct Player {
    sound: Sound,
    source: Option<Source>,
    /// Of a recording.
    spec: Option<SignalSpec>,
    rate_hz: f64,
    made: Made,
    /// Nothing has come since it began.
    is_empty: bool,
}

impl Player {
    pub(super) fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    pub(super) fn channels(&self) -> usize {
        self.spec.as_ref().map_or(1, |spec| spec.channels)
    }

    pub(super) fn domain(&self) -> Domain {
        self.spec.as_ref().map_or(Domain::Real, SignalSpec::domain)
    }

    /// How its signal is described to whoever chooses what runs on it.
    pub(super) fn spec(&self) -> SignalSpec {
        let made = || SignalSpec::raw(crate::format::SampleFormat::F32, Some(f64::from(MADE_RATE_HZ)), 1);
        self.spec.clone().unwrap_or_else(made)
    }

    /// Fills all of `samples`, which are whole sample times.
    pub(super) fn play(&mut self, samples: &mut [f32]) -> Result<()> {
        if matches!(self.sound, Sound::Tones | Sound::Noise) {
            self.made.make(self.sound == Sound::Tones, samples);
            return Ok(());
        }
        // After an error there is none: it may be there again.
        let mut source = match self.source.take() {
            Some(source) => source,
            None => self.sound.source()?,
        };
        let mut at = 0;
        while at < samples.len() {
            match source.read(&mut samples[at..]).map_err(Error::File)? {
                0 if std::mem::replace(&mut self.is_empty, true) => {
                    return Err(Error::File(FileError::InputEmpty { path: self.sound.name().into() }));
                }
                0 => source = self.sound.source()?,
                count => (at, self.is_empty) = (at + count, false),
            }
        }
        self.source = Some(source);
        Ok(())
    }
}

/// A signal that is computed.
#[derive(Debug)]
struct Made {
    at: u64,
    phase: f32,
    random: u64,
}

impl Made {
    fn new() -> Self {
        Self { at: 0, phase: 0.0, random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn make(&mut self, has_tones: bool, samples: &mut [f32]) {
        let rate_hz = MADE_RATE_HZ;
        for sample in samples {
            // xorshift64: uniform is white enough.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let white = (self.random >> 40) as f32 / (1 << 23) as f32 - 1.0;
            *sample = 0.0447 * white;
            if has_tones {
                let second = self.at as f32 / rate_hz;
                let is_on = second % 1.5 < 1.0;
                let pitch_hz = 180.0 + 40.0 * (TAU * 0.7 * second).sin();
                self.phase = (self.phase + pitch_hz / rate_hz) % 1.0;
                let voice: f32 = (1..=8_u8).map(|k| (TAU * f32::from(k) * self.phase).sin() / f32::from(k)).sum();
                *sample = 0.2 * *sample + if is_on { 0.12 * voice } else { 0.0 };
            }
            self.at = (self.at + 1) % (300 * 16_000);
        }
    }
}
