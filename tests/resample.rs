//! Other sample rates, there and back: length, alignment, level, aliases, and pieces of any size.

use auricle::resample::Resampler;

use crate::signals::{noise, random};

const RATES_HZ: [u32; 6] = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000];
const NETWORK_HZ: u32 = 16_000;

fn resampled(from_hz: u32, to_hz: u32, samples: &[f32]) -> Vec<f32> {
    let mut resampler = Resampler::new(from_hz, to_hz).expect("the rates should be possible");
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out
}

fn tone(len: usize, rate_hz: u32, frequency_hz: f64) -> Vec<f32> {
    let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
    (0..len).map(|n| (step * n as f64).sin() as f32).collect()
}

/// The level of what lies away from both ends, against a sine of full scale, in dB.
fn level_db(samples: &[f32]) -> f64 {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let power = middle.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / middle.len() as f64;
    10.0 * (2.0 * power).max(1e-20).log10()
}

/// A signal within the band that both rates have: noise that went through the lower one.
fn band_limited(len: usize, rate_hz: u32) -> Vec<f32> {
    let narrow = rate_hz.min(NETWORK_HZ) / 25 * 16;
    let slow = noise(len * narrow as usize / rate_hz as usize + 400, 5);
    let mut samples = resampled(narrow, rate_hz, &slow);
    samples.truncate(len);
    samples
}

#[test]
fn there_and_back_keeps_every_length() {
    for rate_hz in RATES_HZ {
        for len in [0, 1, 5, 7_919] {
            let samples = noise(len, 3);
            let down = resampled(rate_hz, NETWORK_HZ, &samples);
            let due = (len * NETWORK_HZ as usize).div_ceil(rate_hz as usize);
            assert_eq!(down.len(), due, "{len} samples from {rate_hz} Hz");
            let back = resampled(NETWORK_HZ, rate_hz, &down);
            assert!(back.len() >= len, "{} of {len} samples came back at {rate_hz} Hz", back.len());
            let excess = rate_hz.div_ceil(NETWORK_HZ) as usize;
            assert!(back.len() - len <= excess, "{} for {len} samples at {rate_hz} Hz", back.len());
        }
    }
}

#[test]
fn there_and_back_is_aligned() {
    for rate_hz in RATES_HZ {
        let samples = band_limited(30_011, rate_hz);
        let back = resampled(NETWORK_HZ, rate_hz, &resampled(rate_hz, NETWORK_HZ, &samples));
        let inner = 4_000..26_000;
        let error: f64 = inner.clone().map(|n| f64::from(back[n] - samples[n]).powi(2)).sum();
        let power: f64 = inner.map(|n| f64::from(samples[n]).powi(2)).sum();
        let snr_db = 10.0 * (power / error).log10();
        // A hundredth of a sample of misalignment would leave about 35 dB.
        assert!(snr_db > 70.0, "{rate_hz} Hz comes back with {snr_db:.1} dB");
    }
}

#[test]
fn each_way_is_aligned_on_its_own() {
    for rate_hz in RATES_HZ {
        for (from_hz, to_hz) in [(rate_hz, NETWORK_HZ), (NETWORK_HZ, rate_hz)] {
            let frequency_hz = 0.35 * f64::from(from_hz.min(to_hz));
            let out = resampled(from_hz, to_hz, &tone(from_hz as usize, from_hz, frequency_hz));
            let due = tone(out.len(), to_hz, frequency_hz);
            let inner = out.len() / 4..out.len() * 3 / 4;
            let worst = inner.map(|n| (out[n] - due[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{from_hz} to {to_hz} Hz is off by {worst}");
        }
    }
}

#[test]
fn the_pass_band_is_flat() {
    for rate_hz in RATES_HZ {
        for (from_hz, to_hz) in [(rate_hz, NETWORK_HZ), (NETWORK_HZ, rate_hz)] {
            for part in [0.01, 0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9] {
                let frequency_hz = part * f64::from(from_hz.min(to_hz)) / 2.0;
                let out = resampled(from_hz, to_hz, &tone(from_hz as usize, from_hz, frequency_hz));
                let level = level_db(&out);
                assert!(level.abs() < 0.1, "{frequency_hz} Hz, {from_hz} to {to_hz} Hz: {level:.3} dB");
            }
        }
    }
}

#[test]
fn what_would_alias_is_gone() {
    for rate_hz in RATES_HZ.into_iter().filter(|rate_hz| *rate_hz > NETWORK_HZ) {
        for part in [1.0, 1.02, 1.1, 1.2, 1.3] {
            let frequency_hz = part * f64::from(NETWORK_HZ) / 2.0;
            let out = resampled(rate_hz, NETWORK_HZ, &tone(rate_hz as usize, rate_hz, frequency_hz));
            let level = level_db(&out);
            assert!(level < -80.0, "{frequency_hz} Hz of {rate_hz} Hz is still at {level:.1} dB");
        }
    }
}

#[test]
fn images_are_gone() {
    for (from_hz, to_hz) in [(16_000, 48_000), (16_000, 44_100), (8_000, 16_000)] {
        for part in [0.1, 0.5, 0.9, 0.99] {
            let frequency_hz = part * f64::from(from_hz) / 2.0;
            let out = resampled(from_hz, to_hz, &tone(from_hz as usize, from_hz, frequency_hz));
            // What is left when a sine of that frequency is taken out by least squares.
            let inner: Vec<_> = (out.len() / 4..out.len() * 3 / 4).collect();
            let angle = |n: usize| std::f64::consts::TAU * frequency_hz * n as f64 / f64::from(to_hz);
            let half = inner.len() as f64 / 2.0;
            let sine: f64 = inner.iter().map(|&n| f64::from(out[n]) * angle(n).sin()).sum::<f64>() / half;
            let cosine: f64 = inner.iter().map(|&n| f64::from(out[n]) * angle(n).cos()).sum::<f64>() / half;
            let rest = |n: usize| f64::from(out[n]) - sine * angle(n).sin() - cosine * angle(n).cos();
            let power = inner.iter().map(|&n| rest(n).powi(2)).sum::<f64>() / half;
            let level = 10.0 * power.max(1e-20).log10();
            assert!(level < -80.0, "{frequency_hz} Hz, {from_hz} to {to_hz} Hz: images at {level:.1} dB");
        }
    }
}

#[test]
fn pieces_of_any_size_give_the_same_bits() {
    let mut next = random(11);
    for (from_hz, to_hz) in [(44_100, 16_000), (16_000, 44_100), (48_000, 16_000), (8_000, 16_000), (16_000, 16_000)] {
        let samples = noise(20_011, 7);
        let whole = resampled(from_hz, to_hz, &samples);
        let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
        // Twice with the same one: finishing makes it as new.
        for _ in 0..2 {
            let (mut out, mut begin) = (Vec::new(), 0);
            while begin < samples.len() {
                let end = (begin + (next() % 1500) as usize).min(samples.len());
                resampler.push(&samples[begin..end], &mut out);
                begin = end;
            }
            resampler.finish(&mut out);
            let bits = |samples: &[f32]| samples.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert!(bits(&out) == bits(&whole), "{from_hz} to {to_hz} Hz: the pieces differ from the whole");
        }
    }
}

#[test]
fn a_sample_waits_no_longer_than_promised() {
    for (from_hz, to_hz, most_ms) in
        [(48_000, 16_000, 15), (8_000, 16_000, 30), (44_100, 16_000, 30), (11_025, 16_000, 120), (16_000, 16_000, 0)]
    {
        let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
        let latency_s = resampler.latency().as_secs_f64();
        assert!(latency_s * 1e3 <= f64::from(most_ms) + 1e-6, "{from_hz} to {to_hz} Hz: {latency_s} s");
        let mut out = Vec::new();
        for pushed in 1..3_000_u32 {
            resampler.push(&[0.5], &mut out);
            let behind_s = f64::from(pushed) / f64::from(from_hz) - out.len() as f64 / f64::from(to_hz);
            assert!(behind_s <= latency_s + 1e-4, "{from_hz} to {to_hz} Hz is {behind_s} s behind");
        }
    }
}

#[test]
fn one_can_move_to_another_thread() {
    let mut resampler = Resampler::new(48_000, 16_000).unwrap();
    let worker = std::thread::Builder::new().name("test.resampler".to_owned());
    let moved = worker.spawn(move || resampler.push(&[0.0; 480], &mut Vec::new())).unwrap();
    moved.join().expect("the thread should end");
}

#[test]
fn impossible_rates_are_refused() {
    for (from_hz, to_hz) in [(0, 16_000), (16_000, 0), (1_000_003, 999_983)] {
        let message = Resampler::new(from_hz, to_hz).expect_err("no such resampler").to_string();
        assert!(message.starts_with("sample rate is "), "{message}");
    }
}
