//! Emitters to learn from and to measure with: a signal of known kind, heard by two receivers, one of them later.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::Fft;

use super::delay::LONGEST_DELAY;
use crate::random::Random;

/// Samples to either side of a frame, so that a delayed one has no edge.
const MARGIN: usize = 256;
/// How far a jammer is above the noise.
const JAMMER_DB: f64 = 20.0;
/// Samples of a symbol of BPSK and QPSK, how far its pulse reaches in symbols, and how much wider than half the symbol
/// rate its band is.
const SYMBOL: usize = 8;
const PULSE_SYMBOLS: usize = 8;
const ROLL_OFF: f64 = 0.35;

/// How many of varied signals are in another band than usual.
const VARIED: f32 = 0.5;

/// What an emitter sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two phases, eight samples a symbol, root-raised-cosine pulses.
    Bpsk,
    /// Four phases, the same pulses.
    Qpsk,
    /// 64 carriers, of which two fifths are used, each with four phases.
    Ofdm,
    /// A carrier whose frequency follows smoothed noise.
    Fm,
    /// A sweep over three tenths of the rate, again and again every 256 samples.
    Chirp,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Bpsk, Self::Qpsk, Self::Ofdm, Self::Fm, Self::Chirp];

    fn name(self) -> &'static str {
        match self {
            Self::Bpsk => "BPSK",
            Self::Qpsk => "QPSK",
            Self::Ofdm => "OFDM",
            Self::Fm => "FM",
            Self::Chirp => "chirp",
        }
    }
}

/// Where a signal comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// It is made, always in the same band.
    Made(Kind),
    /// It is made, each time in another part of the band and sometimes in bursts: what a policy learns from, so that it is
    /// not lost on signals of other widths.
    Varied(Kind),
    /// It is cut out of a recording, of which these are pieces with a mean power of 1.
    Recorded { name: String, pieces: Arc<[Vec<Complex64>]> },
}

impl Origin {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Made(kind) | Self::Varied(kind) => kind.name(),
            Self::Recorded { name, .. } => name,
        }
    }
}

/// What is heard, and under which conditions.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) origin: Origin,
    /// Power of the signal against that of the noise in the whole band, in dB.
    pub(crate) snr_db: f64,
    /// Whether each receiver has a narrowband jammer of its own, 20 dB above the noise.
    pub(crate) has_jammer: bool,
}

/// A frame of each receiver.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) first: Vec<Complex32>,
    pub(crate) second: Vec<Complex32>,
    /// The jammers alone; nothing where there are none.
    pub(crate) jammers: [Vec<Complex32>; 2],
    /// How much later the second one hears it, in samples.
    pub(crate) delay: f64,
}

/// Makes scenes of one frame length.
pub(crate) struct Emitters {
    frame_len: usize,
    pulse: Vec<f64>,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl std::fmt::Debug for Emitters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Emitters of frames of {}", self.frame_len)
    }
}

impl Emitters {
    pub(crate) fn new(frame_len: usize) -> Self {
        let mut planner = rustfft::FftPlannerScalar::new();
        let len = frame_len + 2 * MARGIN;
        Self {
            frame_len,
            pulse: root_raised_cosine(),
            forward: planner.plan_fft_forward(len),
            inverse: planner.plan_fft_inverse(len),
        }
    }

    pub(crate) fn hear(&self, scene: &Scene, random: &mut Random) -> Heard {
        let source = self.source(&scene.origin, random);
        let delay = LONGEST_DELAY as f64 * (2.0 * uniform(random) - 1.0);
        let mut hear = |delay| self.receive(&source, delay, scene, random);
        let ((first, first_jammer), (second, second_jammer)) = (hear(0.0), hear(delay));
        Heard { first, second, jammers: [first_jammer, second_jammer], delay }
    }

    /// A frame of the signal after a delay, with a phase of its own, noise and perhaps a jammer; and the jammer alone.
    fn receive(
        &self,
        source: &[Complex64],
        delay: f64,
        scene: &Scene,
        random: &mut Random,
    ) -> (Vec<Complex32>, Vec<Complex32>) {
        let len = source.len();
        let mut signal = source.to_vec();
        if delay != 0.0 {
            self.forward.process(&mut signal);
            for (k, bin) in signal.iter_mut().enumerate() {
                *bin *= Complex64::cis(-TAU * frequency(k, len) * delay) / len as f64;
            }
            self.inverse.process(&mut signal);
        }
        let phase = Complex64::cis(TAU * uniform(random));
        let noise = 10_f64.powf(-scene.snr_db / 20.0);
        let jammer = if scene.has_jammer { noise * 10_f64.powf(JAMMER_DB / 20.0) } else { 0.0 };
        let (frequency, start) = (uniform(random) - 0.5, uniform(random));
        #[expect(clippy::cast_possible_truncation, reason = "samples are in f32")]
        let rounded = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
        let tone = |n: usize| rounded(jammer * Complex64::cis(TAU * (frequency * n as f64 + start)));
        let jammed: Vec<Complex32> =
            if scene.has_jammer { (0..self.frame_len).map(tone).collect() } else { Vec::new() };
        let heard = |n: usize| {
            let white = Complex64::new(random.gaussian(), random.gaussian()) * (noise * 0.5_f64.sqrt());
            rounded(signal[MARGIN + n] * phase + white) + jammed.get(n).copied().unwrap_or_default()
        };
        ((0..self.frame_len).map(heard).collect(), jammed)
    }

    /// The loudest quarter of the pieces of a recording: where there are bursts, they are in there.
    pub(crate) fn pieces(&self, recording: &[Complex64]) -> Arc<[Vec<Complex64>]> {
        let len = self.frame_len + 2 * MARGIN;
        // Of the frame that is heard; the margins are only for the delayed one.
        let power = |piece: &[Complex64]| mean_power(&piece[MARGIN..MARGIN + self.frame_len]);
        let mut pieces: Vec<(f64, &[Complex64])> =
            recording.chunks_exact(len).map(|piece| (power(piece), piece)).filter(|(power, _)| *power > 0.0).collect();
        pieces.sort_by(|one, other| other.0.total_cmp(&one.0));
        pieces.truncate(pieces.len().div_ceil(4));
        let level = |(power, piece): (f64, &[Complex64])| piece.iter().map(|z| z / power.sqrt()).collect();
        pieces.into_iter().map(level).collect()
    }

    /// What a receiver hears of it without noise and delay: a frame.
    pub(crate) fn frame(&self, origin: &Origin, random: &mut Random) -> Vec<Complex64> {
        self.source(origin, random)[MARGIN..MARGIN + self.frame_len].to_vec()
    }

    /// What is sent, with a mean power of 1: a frame with its margins.
    fn source(&self, origin: &Origin, random: &mut Random) -> Vec<Complex64> {
        let len = self.frame_len + 2 * MARGIN;
        let (kind, is_varied) = match origin {
            Origin::Made(kind) => (*kind, false),
            Origin::Varied(kind) => (*kind, true),
            Origin::Recorded { pieces, .. } => return random.choose(pieces).clone(),
        };
        if is_varied && random.chance(VARIED) {
            return leveled(self.varied(kind, len, random));
        }
        leveled(self.made(kind, len, random))
    }

    fn made(&self, kind: Kind, len: usize, random: &mut Random) -> Vec<Complex64> {
        match kind {
            Kind::Bpsk | Kind::Qpsk => self.shifted(kind, len, random),
            Kind::Ofdm => ofdm(len, random),
            Kind::Fm => fm(len, random),
            Kind::Chirp => chirp(len, random),
        }
    }

    /// The signal played faster or slower, moved to another carrier, perhaps in bursts.
    fn varied(&self, kind: Kind, len: usize, random: &mut Random) -> Vec<Complex64> {
        // From half as wide as usual to eight times, which is all of the band.
        let speed = 0.5 * 16_f64.powf(uniform(random));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand samples")]
        let needed = (len as f64 * speed).ceil() as usize + 2;
        let slow = self.made(kind, needed, random);
        let carrier = uniform(random) - 0.5;
        let (burst, pause) = (8 + random.below(256), if random.chance(0.5) { random.below(256) } else { 0 });
        (0..len)
            .map(|n| {
                let at = n as f64 * speed;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the signal")]
                let before = at as usize;
                let part = at - before as f64;
                let sample = slow[before] * (1.0 - part) + slow[before + 1] * part;
                let is_on = n % (burst + pause) < burst;
                if is_on { sample * Complex64::cis(TAU * carrier * n as f64) } else { Complex64::default() }
            })
            .collect()
    }

    fn shifted(&self, kind: Kind, len: usize, random: &mut Random) -> Vec<Complex64> {
        let reach = self.pulse.len() / 2;
        let first = random.below(SYMBOL);
        let mut padded = vec![Complex64::default(); len + 2 * reach];
        for start in (first..padded.len()).step_by(SYMBOL) {
            let symbol = match kind {
                Kind::Qpsk => quadrature(random),
                _ => Complex64::from(sign(random)),
            };
            for (n, weight) in self.pulse.iter().enumerate() {
                if let Some(sample) = (start + n).checked_sub(reach).and_then(|at| padded.get_mut(at)) {
                    *sample += symbol * weight;
                }
            }
        }
        padded[reach..reach + len].to_vec()
    }
}

/// Cycles per sample of a bin in natural order.
pub(super) fn frequency(k: usize, len: usize) -> f64 {
    if k < len / 2 { k as f64 / len as f64 } else { k as f64 / len as f64 - 1.0 }
}

fn mean_power(signal: &[Complex64]) -> f64 {
    signal.iter().map(Complex64::norm_sqr).sum::<f64>() / signal.len() as f64
}

/// The same with a mean power of 1.
fn leveled(mut signal: Vec<Complex64>) -> Vec<Complex64> {
    let power = mean_power(&signal);
    signal.iter_mut().for_each(|sample| *sample /= power.sqrt());
    signal
}

/// From 0 to 1, without 1.
fn uniform(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

fn sign(random: &mut Random) -> f64 {
    if random.chance(0.5) { 1.0 } else { -1.0 }
}

fn quadrature(random: &mut Random) -> Complex64 {
    Complex64::new(sign(random), sign(random))
}

fn root_raised_cosine() -> Vec<f64> {
    let reach = PULSE_SYMBOLS * SYMBOL;
    let b = ROLL_OFF;
    let value = |n: usize| {
        let t = (n as f64 - reach as f64) / SYMBOL as f64;
        if t == 0.0 {
            1.0 - b + 4.0 * b / PI
        } else if ((4.0 * b * t).abs() - 1.0).abs() < 1e-9 {
            let turn = PI / (4.0 * b);
            b / 2_f64.sqrt() * ((1.0 + 2.0 / PI) * turn.sin() + (1.0 - 2.0 / PI) * turn.cos())
        } else {
            let top = (PI * t * (1.0 - b)).sin() + 4.0 * b * t * (PI * t * (1.0 + b)).cos();
            top / (PI * t * (1.0 - (4.0 * b * t).powi(2)))
        }
    };
    (0..=2 * reach).map(value).collect()
}

fn ofdm(len: usize, random: &mut Random) -> Vec<Complex64> {
    const CARRIERS: usize = 64;
    let transform = rustfft::FftPlannerScalar::new().plan_fft_inverse(CARRIERS);
    let skipped = random.below(CARRIERS);
    let mut signal = Vec::with_capacity(len + 2 * CARRIERS);
    while signal.len() < len + skipped {
        let mut symbol: Vec<Complex64> = (0..CARRIERS)
            .map(|k| {
                let frequency = k.min(CARRIERS - k) as f64 / CARRIERS as f64;
                if frequency < 0.2 { quadrature(random) } else { Complex64::default() }
            })
            .collect();
        transform.process(&mut symbol);
        signal.extend(symbol);
    }
    signal[skipped..skipped + len].to_vec()
}

fn fm(len: usize, random: &mut Random) -> Vec<Complex64> {
    const SMOOTHED: usize = 24;
    let noise: Vec<f64> = (0..len + SMOOTHED).map(|_| random.gaussian()).collect();
    let mut phase = TAU * uniform(random);
    let mut step = |n: usize| {
        let message = noise[n..n + SMOOTHED].iter().sum::<f64>() / SMOOTHED as f64;
        phase += TAU * 0.25 * message;
        Complex64::cis(phase)
    };
    (0..len).map(&mut step).collect()
}

fn chirp(len: usize, random: &mut Random) -> Vec<Complex64> {
    const PERIOD: usize = 256;
    const WIDTH: f64 = 0.3;
    let start = random.below(PERIOD);
    let sample = |n: usize| {
        let t = ((n + start) % PERIOD) as f64;
        Complex64::cis(PI * WIDTH * (t * t / PERIOD as f64 - t))
    };
    (0..len).map(sample).collect()
}
