//! Noise of many kinds, all of it synthetic. Each kind gives a whole clip at about the same loudness; how loud it is heard
//! is the mixture's business.

use std::f32::consts::TAU;

use rustfft::num_complex::Complex32;

use super::signal::{Colour, Transform, rms, wander, warped, whole};
use super::speech::{Speech, Use};
use super::{CLIP_LEN, SAMPLE_RATE_HZ};
use crate::random::Random;

/// What makes noise: nothing here is remembered from clip to clip.
#[derive(Debug)]
pub(crate) struct Maker {
    clip: Transform,
    window: Transform,
    table: Transform,
}

/// Samples in the window of a texture, and of a table of one period.
const WINDOW: usize = 512;
const TABLE: usize = 2048;
const RATE: f32 = SAMPLE_RATE_HZ as f32;

impl Maker {
    pub(crate) fn new() -> Self {
        Self { clip: Transform::new(CLIP_LEN), window: Transform::new(WINDOW), table: Transform::new(TABLE) }
    }

    /// One kind or a few together.
    pub(crate) fn noise(&self, speech: &Speech, of: Use, random: &mut Random) -> Vec<f32> {
        let kinds = *random.choose(&[1, 1, 1, 2, 2, 3]);
        let mut sum = vec![0.0; CLIP_LEN];
        for _ in 0..kinds {
            let kind = self.kind(speech, of, random);
            let gain = random.between_log(0.15, 1.0) / rms(&kind);
            sum.iter_mut().zip(kind).for_each(|(sum, value)| *sum += gain * value);
        }
        sum
    }

    fn kind(&self, speech: &Speech, of: Use, random: &mut Random) -> Vec<f32> {
        match random.below(24) {
            0..=9 => self.coloured(random),
            10..=16 => self.texture(random),
            17..=19 => babble(speech, of, random),
            20 => self.hum(random),
            21 => self.engine(random),
            22 if random.chance(0.5) => self.music(random),
            22 => self.sweeps(random),
            // Few of these: plosives and lips of real speakers are not far from them.
            _ if random.chance(0.5) => impacts(random),
            _ => crackle(random),
        }
    }

    /// Steady noise with a random spectrum: fans, rain, air, hiss, rumble. Half of it is slowly modulated.
    pub(crate) fn coloured(&self, random: &mut Random) -> Vec<f32> {
        let (bumps, slope) = (random.between(1.0, 10.0), random.between(-0.2, 2.2));
        let colour = Colour::new(bumps, slope, random);
        let half = CLIP_LEN / 2;
        let mut bins = vec![Complex32::default(); CLIP_LEN];
        for (bin, value) in bins.iter_mut().enumerate().take(half).skip(20) {
            *value = Complex32::new(random.normal(), random.normal()) * colour.at(bin as f32 / half as f32);
        }
        self.clip.inverse(&mut bins);
        let mut samples: Vec<f32> = bins.iter().map(|value| value.re).collect();
        if random.chance(0.5) {
            let spacing = random.between_log(0.03, 2.0) * RATE;
            let depth = random.between(0.1, 1.2);
            let slow = wander(CLIP_LEN, whole(spacing), random);
            samples.iter_mut().zip(slow).for_each(|(sample, slow)| *sample *= (depth * slow).exp());
        }
        samples
    }

    /// Noise whose spectrum moves: several layers, each with a colour of its own that comes and goes at its own pace, as
    /// in a street, a café, a kitchen, the wind.
    fn texture(&self, random: &mut Random) -> Vec<f32> {
        let windows = CLIP_LEN / (WINDOW / 2) + 1;
        let slope = random.between(0.0, 2.0);
        let layers: Vec<(Vec<f32>, Vec<f32>)> = (0..2 + random.below(5))
            .map(|_| {
                let colour = Colour::new(random.between(4.0, 24.0), slope, random);
                let spacing = whole(random.between_log(3.0, 80.0));
                let (depth, base) = (random.between(0.1, 1.2), random.between(-2.0, 0.0));
                let times = wander(windows, spacing, random).iter().map(|slow| (base + depth * slow).exp()).collect();
                ((0..WINDOW / 2).map(|bin| colour.at(bin as f32 / (WINDOW / 2) as f32)).collect(), times)
            })
            .collect();
        let mut samples = vec![0.0; CLIP_LEN + WINDOW];
        for window in 0..windows {
            let mut bins = vec![Complex32::default(); WINDOW];
            for bin in 1..WINDOW / 2 {
                let level: f32 = layers.iter().map(|(colour, times)| colour[bin] * times[window]).sum();
                bins[bin] = Complex32::new(random.normal(), random.normal()) * level;
            }
            self.window.inverse(&mut bins);
            let start = window * WINDOW / 2;
            for (index, (sample, value)) in samples[start..start + WINDOW].iter_mut().zip(&bins).enumerate() {
                *sample += value.re * (TAU * 0.5 * (index as f32 + 0.5) / WINDOW as f32).sin();
            }
        }
        samples.truncate(CLIP_LEN);
        samples
    }

    /// Mains hum: harmonics of 50 or 60 Hz, some hiss.
    fn hum(&self, random: &mut Random) -> Vec<f32> {
        let base = *random.choose(&[50.0, 60.0, 100.0, 120.0]) * random.between(0.99, 1.01);
        let table = self.period(2 + random.below(40), random.between(0.3, 2.0), random);
        let hiss = random.between_log(0.001, 0.3);
        let mut phase = 0.0;
        (0..CLIP_LEN).map(|_| look_up(&table, &mut phase, base) + hiss * random.normal()).collect()
    }

    /// Engines, drills, vacuum cleaners: harmonics of a tone that wanders, and noise that beats with it.
    fn engine(&self, random: &mut Random) -> Vec<f32> {
        let base = random.between_log(20.0, 600.0);
        let most = whole(0.45 * RATE / base).clamp(2, 60);
        let table = self.period(2 + random.below(most - 1), random.between(0.2, 1.5), random);
        let drift = wander(CLIP_LEN, whole(random.between_log(0.05, 2.0) * RATE), random);
        let (depth, breath) = (random.between(0.0, 0.12), random.between_log(0.05, 2.0));
        let noise = self.coloured(random);
        let scale = breath / rms(&noise);
        let mut phase = 0.0;
        let values = drift.iter().zip(&noise).map(|(drift, noise)| {
            let tone = look_up(&table, &mut phase, base * (depth * drift).exp());
            tone + noise * scale * (1.0 + 0.7 * tone.clamp(-1.0, 1.0))
        });
        values.collect()
    }

    /// Notes, chords and a beat: music that is played next door.
    fn music(&self, random: &mut Random) -> Vec<f32> {
        let mut samples = vec![0.0; CLIP_LEN];
        let root = random.between_log(55.0, 220.0);
        let beat = random.between_log(0.12, 0.7) * RATE;
        let tables: Vec<Vec<f32>> =
            (0..2).map(|_| self.period(1 + random.below(20), random.between(0.5, 2.5), random)).collect();
        let mut start = 0.0;
        while start < CLIP_LEN as f32 {
            let length = beat * random.between(0.5, 4.0);
            let decay = random.between(0.5, 6.0) / length;
            for _ in 0..1 + random.below(4) {
                let step = *random.choose(&[0, 2, 3, 4, 5, 7, 9, 10, 12, 14, 16, 19, 24]);
                let tone = root * (step as f32 / 12.0).exp2();
                let (table, gain) = (random.choose(&tables), random.between(0.2, 1.0));
                let mut phase = 0.0;
                for (index, sample) in samples.iter_mut().skip(whole(start)).take(whole(length)).enumerate() {
                    let attack = (index as f32 / 160.0).min(1.0);
                    *sample += gain * attack * (-decay * index as f32).exp() * look_up(table, &mut phase, tone);
                }
            }
            if random.chance(0.4) {
                burst(&mut samples[whole(start)..], random.between(300.0, 3000.0), 1.5, random);
            }
            start += beat * *random.choose(&[1.0, 1.0, 2.0, 3.0]);
        }
        samples
    }

    /// Sirens, beeps, birds, squeaks: tones whose pitch moves, on and off.
    fn sweeps(&self, random: &mut Random) -> Vec<f32> {
        let base = random.between_log(200.0, 3500.0);
        let most = whole(0.45 * RATE / (2.0 * base)).clamp(1, 12);
        let table = self.period(1 + random.below(most), random.between(0.5, 2.0), random);
        let (pace, depth) = (random.between_log(0.2, 12.0), random.between(0.0, 0.5));
        let duty = random.between(-0.6, 1.2);
        let gate = wander(CLIP_LEN, whole(random.between_log(0.05, 0.6) * RATE), random);
        let hiss = random.between_log(0.001, 0.2);
        let (mut phase, mut level) = (0.0, 0.0_f32);
        let values = gate.iter().enumerate().map(|(index, gate)| {
            let tone = base * (depth * (TAU * pace * index as f32 / RATE).sin()).exp();
            level += (f32::from(u8::from(*gate < duty)) - level) * 0.005;
            level * look_up(&table, &mut phase, tone) + hiss * random.normal()
        });
        values.collect()
    }

    /// One period of a tone with so many harmonics, each weaker by its number to the power of `slope`, more or less.
    fn period(&self, harmonics: usize, slope: f32, random: &mut Random) -> Vec<f32> {
        let mut bins = vec![Complex32::default(); TABLE];
        for (number, bin) in bins.iter_mut().enumerate().skip(1).take(harmonics) {
            let level = random.unit() * (number as f32).powf(-slope) * TABLE as f32;
            *bin = Complex32::from_polar(level, random.between(0.0, TAU));
        }
        self.table.inverse(&mut bins);
        let values: Vec<f32> = bins.iter().map(|bin| bin.re).collect();
        let scale = 1.0 / rms(&values);
        values.iter().map(|value| value * scale).collect()
    }
}

/// The next value of a periodic tone.
fn look_up(table: &[f32], phase: &mut f32, frequency_hz: f32) -> f32 {
    *phase += frequency_hz / RATE;
    *phase -= phase.floor();
    let place = *phase * TABLE as f32;
    let (index, part) = (whole(place) % TABLE, place.fract());
    table[index] + part * (table[(index + 1) % TABLE] - table[index])
}

/// Several people at once, none of them to be understood.
fn babble(speech: &Speech, of: Use, random: &mut Random) -> Vec<f32> {
    let mut samples = vec![0.0; CLIP_LEN];
    for _ in 0..3 + random.below(9) {
        let voice = speech.piece(CLIP_LEN * 5 / 4 + 4, of, random);
        let (speed, gain) = (random.between(0.85, 1.2), random.between_log(0.25, 1.0));
        let voice = warped(&voice, CLIP_LEN, |_| speed);
        samples.iter_mut().zip(voice).for_each(|(sample, value)| *sample += gain * value);
    }
    samples
}

/// Things that ring when they are hit: dishes, keys, hammers, doors; over a little hiss, since silence is no noise.
fn impacts(random: &mut Random) -> Vec<f32> {
    let hiss = random.between_log(0.0005, 0.02);
    let mut samples: Vec<f32> = (0..CLIP_LEN).map(|_| hiss * random.normal()).collect();
    let (body, spread) = (random.between_log(150.0, 3000.0), random.between(1.5, 6.0));
    for _ in 0..1 + random.below(24) {
        let start = random.below(CLIP_LEN);
        let loudness = random.between_log(0.1, 1.0);
        for _ in 0..2 + random.below(9) {
            let tone = (body * random.between_log(1.0 / spread, spread)).min(7500.0);
            ring(&mut samples[start..], tone, random.between_log(0.004, 0.25), loudness * random.unit());
        }
        burst(&mut samples[start..], random.between_log(200.0, 4000.0), loudness, random);
    }
    samples
}

/// Adds a tone that dies away: a resonator with two poles.
fn ring(samples: &mut [f32], tone_hz: f32, seconds: f32, gain: f32) {
    let radius = (-1.0 / (seconds * RATE)).exp();
    let angle = TAU * tone_hz / RATE;
    let (turn, decay) = (2.0 * radius * angle.cos(), radius * radius);
    let (mut before, mut last) = (0.0, gain * angle.sin());
    for sample in samples.iter_mut().take(whole(7.0 * seconds * RATE)) {
        *sample += last;
        (before, last) = (last, turn * last - decay * before);
    }
}

/// Adds a short burst of noise, duller when `pace_hz` is low.
fn burst(samples: &mut [f32], pace_hz: f32, gain: f32, random: &mut Random) {
    let follow = (pace_hz / RATE * 3.0).min(1.0);
    let decay = random.between_log(0.0008, 0.01);
    let (mut level, mut smooth) = (gain, 0.0);
    for sample in samples.iter_mut().take(8000) {
        smooth += (random.normal() - smooth) * follow;
        *sample += level * smooth;
        level *= 1.0 - decay;
    }
}

/// Vinyl, rain on a window, bad contacts: many short clicks of very different loudness.
fn crackle(random: &mut Random) -> Vec<f32> {
    let hiss = random.between_log(0.001, 0.1);
    let mut samples: Vec<f32> = (0..CLIP_LEN).map(|_| hiss * random.normal()).collect();
    let tone = random.between_log(400.0, 6000.0);
    for _ in 0..whole(random.between_log(8.0, 2500.0)) {
        let start = random.below(CLIP_LEN);
        let gain = random.between_log(0.03, 1.0);
        ring(&mut samples[start..], tone * random.between(0.6, 1.3), random.between_log(0.0002, 0.003), gain);
    }
    samples
}
