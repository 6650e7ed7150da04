//! Mixtures: speech in a room, with noise, at a level; and what the network is to make of them.

use rustfft::num_complex::Complex32;

use super::noise::Maker;
use super::room;
use super::signal::{Colour, Transform, active_rms, filter_pair, rms, split, wander, warped, whole};
use super::speech::{Speech, Use};
use super::{BINS, CLIP_LEN, HOP, SAMPLE_RATE_HZ, WINDOW_LEN, WINDOWS};
use crate::random::Random;

/// Nobody's voice goes lower, as a fraction of half the sample rate: what is below is noise.
const LOWEST: f32 = 55.0 / 8000.0;

/// A mixture and the speech in it, [`CLIP_LEN`] samples each, full scale 1.
#[derive(Debug)]
pub(crate) struct Mixture {
    pub(crate) noisy: Vec<f32>,
    pub(crate) clean: Vec<f32>,
    /// RMS of the speech where there is any.
    pub(crate) level: f32,
}

/// Makes mixtures, and from them what a step of training needs.
#[derive(Debug)]
pub(crate) struct Mixer {
    maker: Maker,
    clip: Transform,
    window: Transform,
    shape: Vec<f32>,
}

impl Mixer {
    pub(crate) fn new() -> Self {
        // The model's window, with a cosine in f32. `packing::window_weights` rounds half of the weights otherwise: with
        // it, no seed would give the data that it has given so far.
        let angle = |index: usize| std::f32::consts::TAU * index as f32 / WINDOW_LEN as f32;
        Self {
            maker: Maker::new(),
            clip: Transform::new(CLIP_LEN),
            window: Transform::new(WINDOW_LEN),
            shape: (0..WINDOW_LEN).map(|index| (0.5 - 0.5 * angle(index).cos()).max(0.0).sqrt()).collect(),
        }
    }

    /// One mixture: the same for the same state of `random`.
    pub(crate) fn mixture(&self, speech: &Speech, of: Use, random: &mut Random) -> Mixture {
        // Much of what people record is nearly clean, and should pass as it is.
        let snr_db = if random.chance(0.35) { random.between(15.0, 45.0) } else { random.between(-6.0, 20.0) };
        let level_db = random.between(-38.0, -14.0);
        self.mixture_at(speech, of, snr_db, level_db, random)
    }

    pub(crate) fn mixture_at(
        &self,
        speech: &Speech,
        of: Use,
        snr_db: f32,
        level_db: f32,
        random: &mut Random,
    ) -> Mixture {
        let mut clean = voice(speech, of, random);
        let mut noise = self.maker.noise(speech, of, random);
        self.place(&mut clean, &mut noise, random);
        if rms(&clean) > 1e-4 {
            self.air(&mut clean, random);
        }
        let level = 10.0_f32.powf(level_db / 20.0);
        // Where nobody speaks, the noise keeps its level.
        let spoken = active_rms(&clean);
        let gain = if rms(&clean) > 1e-4 { level / spoken } else { 0.0 };
        let noise_gain = level * 10.0_f32.powf(-snr_db / 20.0) / rms(&noise);
        clean.iter_mut().for_each(|sample| *sample *= gain);
        let noisy = clean.iter().zip(&noise).map(|(clean, noise)| clean + noise_gain * noise).collect();
        Mixture { noisy, clean, level }
    }

    /// What a clean recording of a person has beside the voice: the faint noise of the room, and breaths. A network that
    /// takes them away makes speech less like itself, and sometimes takes quiet consonants with them.
    fn air(&self, clean: &mut [f32], random: &mut Random) {
        let spoken = active_rms(clean);
        if random.chance(0.6) {
            let faint = self.maker.coloured(random);
            let gain = spoken * 10.0_f32.powf(random.between(-60.0, -36.0) / 20.0) / rms(&faint);
            clean.iter_mut().zip(faint).for_each(|(sample, faint)| *sample += gain * faint);
        }
        if random.chance(0.5) {
            let colour = self.maker.coloured(random);
            for _ in 0..1 + random.below(3) {
                let (start, length) = (random.below(CLIP_LEN), 1600 + random.below(6400));
                let gain = spoken * 10.0_f32.powf(random.between(-42.0, -22.0) / 20.0) / rms(&colour);
                for (index, sample) in clean.iter_mut().skip(start).take(length).enumerate() {
                    let rise = (std::f32::consts::PI * index as f32 / length as f32).sin();
                    *sample += gain * rise * colour[start + index];
                }
            }
        }
    }

    /// Puts voice and noise into a room, before a microphone, on a line.
    fn place(&self, clean: &mut [f32], noise: &mut [f32], random: &mut Random) {
        let half = CLIP_LEN / 2;
        let (bumps, noise_bumps) = (random.between(0.0, 9.0), random.between(0.0, 7.0));
        // espeak-ng is brighter than people are, and its lowest harmonic weaker.
        let tilt = random.between(-0.2, 0.7);
        let (chest, chest_end) = (random.between(-0.3, 1.6), random.between(150.0, 450.0) / 8000.0);
        let (colour, noise_colour) = (Colour::new(bumps, tilt, random), Colour::new(noise_bumps, 0.0, random));
        let rooms = random.chance(0.5).then(|| {
            let (voice, noise) = (room::any(random), room::any(random));
            let mut both: Vec<_> = voice.iter().zip(noise).map(|(&a, b)| Complex32::new(a, b)).collect();
            self.clip.forward(&mut both);
            both
        });
        let noise_in_room = random.chance(0.6);
        // Few lines carry the lowest octave; some stop at 3.4 kHz.
        let low = random.between(10.0, 90.0) / 8000.0;
        let high = if random.chance(0.15) { random.between(3000.0, 7500.0) / 8000.0 } else { 2.0 };
        filter_pair(&self.clip, clean, noise, |bin| {
            let frequency = bin as f32 / half as f32;
            let line = 1.0 / (1.0 + (low / frequency.max(1e-6)).powi(4)) / (1.0 + (frequency / high).powi(24));
            let (voice, noise) = rooms.as_ref().map_or((Complex32::new(1.0, 0.0), Complex32::new(1.0, 0.0)), |rooms| {
                split(rooms[bin], rooms[(CLIP_LEN - bin) % CLIP_LEN])
            });
            let noise = if noise_in_room { noise } else { Complex32::new(1.0, 0.0) };
            let body = (chest / (1.0 + (frequency / chest_end).powi(4))).exp()
                / (1.0 + (LOWEST / frequency.max(1e-6)).powi(8));
            (voice * (line * body * colour.at(frequency)), noise * (line * noise_colour.at(frequency)))
        });
    }

    /// Spectra of both signals: `[windows][bins]` of (noisy, clean).
    fn spectra(&self, mixture: &Mixture, mut each: impl FnMut(usize, usize, Complex32, Complex32)) {
        let mut bins = vec![Complex32::default(); WINDOW_LEN];
        for window in 0..WINDOWS {
            let samples = window * HOP..window * HOP + WINDOW_LEN;
            let pairs = mixture.noisy[samples.clone()].iter().zip(&mixture.clean[samples]).zip(&self.shape);
            for (bin, ((&noisy, &clean), &weight)) in bins.iter_mut().zip(pairs) {
                *bin = Complex32::new(noisy, clean) * weight;
            }
            self.window.forward(&mut bins);
            for bin in 0..BINS {
                let (noisy, clean) = split(bins[bin], bins[(WINDOW_LEN - bin) % WINDOW_LEN]);
                each(window, bin, noisy, clean);
            }
        }
    }

    /// The mixtures of one step: those of `stream` under `seed`.
    pub(crate) fn batch(&self, speech: &Speech, of: Use, sequences: usize, seed: u64, stream: u64) -> Batch {
        let mut batch = Batch::empty(sequences);
        for sequence in 0..sequences {
            let mut random = Random::new(seed, stream * 4096 + sequence as u64);
            let mixture = self.mixture(speech, of, &mut random);
            let scale = 0.125 / mixture.level;
            self.spectra(&mixture, |window, bin, noisy, clean| {
                let at = (window * sequences + sequence) * BINS + bin;
                batch.set(at, noisy, clean, scale);
            });
        }
        batch
    }
}

/// A voice as it is spoken: pitch that trembles, breath, loudness that wanders.
fn voice(speech: &Speech, of: Use, random: &mut Random) -> Vec<f32> {
    let piece = speech.piece(CLIP_LEN * 5 / 4 + 4, of, random);
    let (speed, drift) = (random.between_log(0.88, 1.14), random.between(0.0, 0.03));
    // Now and then a creaking voice.
    let tremble = if random.chance(0.25) { random.between(0.012, 0.06) } else { random.between(0.0, 0.012) };
    let slow = wander(CLIP_LEN, whole(random.between_log(0.05, 0.5) * SAMPLE_RATE_HZ as f32), random);
    let fast = wander(CLIP_LEN, 60 + random.below(160), random);
    let mut voice = warped(&piece, CLIP_LEN, |index| speed + drift * slow[index] + tremble * fast[index]);
    if random.chance(0.6) {
        breathe(&mut voice, random);
    }
    if random.chance(0.5) {
        let depth = random.between(0.1, 0.6);
        let slow = wander(CLIP_LEN, whole(random.between_log(0.15, 1.5) * SAMPLE_RATE_HZ as f32), random);
        voice.iter_mut().zip(slow).for_each(|(sample, slow)| *sample *= (depth * slow).exp());
    }
    voice
}

/// Adds air that follows the voice, brighter than it.
fn breathe(voice: &mut [f32], random: &mut Random) {
    let (amount, follow) = (random.between_log(0.03, 0.5), random.between_log(0.002, 0.02));
    let bright = random.between(0.2, 0.95);
    let (mut level, mut last) = (0.0_f32, 0.0_f32);
    for sample in voice {
        level += (sample.abs() - level) * follow;
        let air = random.normal();
        *sample += amount * level * (air - bright * last);
        last = air;
    }
}

/// What one step learns from; all of it `[windows, sequences, bins]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Clips side by side.
    pub(crate) sequences: usize,
    /// What the network sees.
    pub(crate) features: Vec<f32>,
    /// Magnitude of the mixture, with the speech at the same level in every clip.
    pub(crate) noisy: Vec<f32>,
    /// Magnitude of the speech, likewise.
    pub(crate) clean: Vec<f32>,
    /// Cosine of the angle between the two.
    pub(crate) cosine: Vec<f32>,
}

impl Batch {
    fn empty(sequences: usize) -> Self {
        let zeros = || vec![0.0; WINDOWS * sequences * BINS];
        Self { sequences, features: zeros(), noisy: zeros(), clean: zeros(), cosine: zeros() }
    }

    fn set(&mut self, at: usize, noisy: Complex32, clean: Complex32, scale: f32) {
        self.features[at] = super::feature(noisy.norm_sqr());
        let (loud, wanted) = (noisy.norm(), clean.norm());
        self.noisy[at] = loud * scale;
        self.clean[at] = wanted * scale;
        self.cosine[at] = (noisy * clean.conj()).re / (loud * wanted).max(1e-20);
    }
}
