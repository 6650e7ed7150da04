//! The measures of quality, against published implementations; the baselines, by what they do to a voice in noise.

use std::path::{Path, PathBuf};

use auricle::quality::baseline::{log_mmse, spectral_subtraction};
use auricle::quality::{QualityError, log_spectral_distance_db, segmental_snr_db, si_sdr_db, stoi};

use crate::adapter::skipped;
use crate::files::{drain, open, shared_data};
use crate::signals;

/// As `voice` in `data/make-quality.py`: a gliding tone with harmonics, spoken in syllables, with a pause.
fn voice(rate_hz: u32, len: usize) -> Vec<f32> {
    let harmonics = || (1..=40).filter(|h| h * 311 < rate_hz / 2).map(f64::from);
    let sample = |n: usize| {
        let t = n as f64 / f64::from(rate_hz);
        let phase = std::f64::consts::TAU * 120.0 * t + 43.0 * (4.4 * t).sin();
        let tone: f64 = harmonics().map(|h| (h * phase).sin() * (0.9 * h * t).cos().powi(2) / h).sum();
        let syllable = (std::f64::consts::TAU * 2.3 * t).sin().max(0.0).powi(2);
        if t > 1.0 && t < 1.4 { 0.0 } else { (0.2 * tone * syllable) as f32 }
    };
    (0..len).map(sample).collect()
}

/// As `noise` in `data/make-quality.py`.
fn hiss(len: usize) -> Vec<f64> {
    let mut state = 20_261_121_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn with_hiss(clean: &[f32], level: f64) -> Vec<f32> {
    clean.iter().zip(hiss(clean.len())).map(|(x, noise)| (f64::from(*x) + level * noise) as f32).collect()
}

/// As `estimates` in `data/make-quality.py`.
fn changed(clean: &[f32], change: &str) -> Vec<f32> {
    if let Some(level) = change.strip_prefix("noise ") {
        return with_hiss(clean, level.parse().unwrap());
    }
    let len = clean.len();
    let before = |n: usize, by: usize| f64::from(clean[(n + len - by) % len]);
    (0..len).map(|n| (0.3 * (before(n, 0) + before(n, 1) + before(n, 2))) as f32).collect()
}

fn read(path: &Path) -> Vec<f32> {
    drain(&mut open(path).expect("the recording should be there"), 1 << 16).unwrap()
}

fn recording() -> Vec<f32> {
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/noisy-speech.wav")))
}

fn kept() -> serde_json::Value {
    serde_json::from_str(include_str!("data/quality.json")).unwrap()
}

fn assert_near(what: &str, actual: f64, kept: &serde_json::Value, tolerance: f64) {
    let kept = kept.as_f64().unwrap();
    assert!((actual - kept).abs() <= tolerance, "{what}: {actual}, not {kept}");
}

#[test]
fn every_measure_agrees_with_its_published_value() {
    let kept = kept();
    let cases = kept["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 32, "seven rates and a recording, four changes each");
    let mut clean = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let rate_hz = case["rate_hz"].as_u64().unwrap() as u32;
        let len = case["samples"].as_u64().unwrap() as usize;
        if index % 4 == 0 {
            clean = if case["signal"] == "voice" { voice(rate_hz, len) } else { recording() };
        }
        assert_eq!(clean.len(), len, "samples");
        let change = case["change"].as_str().unwrap();
        let estimate = changed(&clean, change);
        let what = format!("{} at {rate_hz} Hz, {change}", case["signal"]);
        let segmental = segmental_snr_db(&clean, &estimate, rate_hz).unwrap();
        let distance = log_spectral_distance_db(&clean, &estimate, rate_hz).unwrap();
        assert_near(&format!("SI-SDR, {what}"), si_sdr_db(&clean, &estimate).unwrap(), &case["si_sdr_db"], 1e-4);
        assert_near(&format!("segmental SNR, {what}"), segmental, &case["segmental_snr_db"], 1e-4);
        assert_near(&format!("LSD, {what}"), distance, &case["lsd_db"], 1e-4);
        assert_near(&format!("STOI, {what}"), stoi(&clean, &estimate, rate_hz).unwrap(), &case["stoi"], 1e-6);
    }
}

/// The real pairs, and what pystoi says of them.
fn real_pairs() -> Option<(PathBuf, serde_json::Value)> {
    let shared = shared_data()?;
    let scores = std::fs::read_to_string(shared.join("../golden/scores.json"));
    let Ok(scores) = scores else {
        skipped(&format!("no scores beside {}", shared.display()));
        return None;
    };
    Some((shared.join("speech"), serde_json::from_str(&scores).unwrap()))
}

#[test]
fn real_recordings_score_as_published_implementations_say() {
    let Some((folder, scores)) = real_pairs() else { return };
    let scores = scores.as_object().unwrap().iter();
    let pairs: Vec<_> = scores.filter(|(name, _)| name.starts_with('p')).collect();
    assert_eq!(pairs.len(), 25, "pairs");
    for (name, scores) in pairs {
        let (clean, noisy) = (read(&folder.join("clean").join(name)), read(&folder.join("noisy").join(name)));
        // Kept with four and six decimals.
        assert_near(name, si_sdr_db(&clean, &noisy).unwrap(), &scores["si_sdr_db"], 1e-4);
        assert_near(name, stoi(&clean, &noisy, 16_000).unwrap(), &scores["stoi"], 2e-6);
    }
}

#[test]
fn copies_and_silence_have_their_ends_of_the_scale() {
    let clean = voice(16_000, 24_000);
    let half: Vec<f32> = clean.iter().map(|x| x / 2.0).collect();
    let silence = vec![0.0; clean.len()];
    assert_eq!(si_sdr_db(&clean, &clean).unwrap(), 100.0);
    assert_eq!(si_sdr_db(&clean, &half).unwrap(), 100.0, "gain does not matter");
    assert_eq!(si_sdr_db(&clean, &silence).unwrap(), -100.0);
    let segmental = |estimate: &[f32]| segmental_snr_db(&clean[..6_000], &estimate[..6_000], 16_000).unwrap();
    assert!(segmental(&clean) > segmental(&half), "gain matters");
    assert!(log_spectral_distance_db(&clean, &clean, 16_000).unwrap() == 0.0);
    assert!(log_spectral_distance_db(&clean, &half, 16_000).unwrap() > 1.0, "gain matters");
    assert!(log_spectral_distance_db(&clean, &silence, 16_000).unwrap() <= 50.0);
    assert!((stoi(&clean, &clean, 16_000).unwrap() - 1.0).abs() < 1e-9);
    assert!((stoi(&clean, &half, 16_000).unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(stoi(&clean, &silence, 16_000).unwrap(), 0.0);
}

#[test]
fn a_copy_scores_all_that_there_is_but_for_digital_silence() {
    let loud = signals::noise(16_000, 6);
    let score = |signal: &[f32]| segmental_snr_db(signal, signal, 16_000).unwrap();
    assert_eq!(score(&loud), 35.0);
    // A second of each, in frames of 30 ms.
    let with_pause = [loud, vec![0.0; 16_000]].concat();
    let begins = (0..=with_pause.len() - 480).step_by(120);
    let (frames, silent) = (begins.clone().count(), begins.filter(|begin| *begin >= 16_000).count());
    let expected = (35.0 * (frames - silent) as f64 - 10.0 * silent as f64) / frames as f64;
    assert!((score(&with_pause) - expected).abs() < 1e-9, "{}, not {expected}", score(&with_pause));
}

type Measure = (&'static str, fn(&[f32], &[f32], u32) -> Result<f64, QualityError>);

const MEASURES: [Measure; 4] = [
    ("SI-SDR", |clean, estimate, _| si_sdr_db(clean, estimate)),
    ("segmental SNR", segmental_snr_db),
    ("log-spectral distance", log_spectral_distance_db),
    ("STOI", stoi),
];

#[test]
fn what_cannot_be_compared_is_refused() {
    let clean = signals::noise(16_000, 3);
    let mut faulty = clean.clone();
    faulty[77] = f32::NAN;
    for (measure, score) in MEASURES {
        let lengths = QualityError::LengthsDiffer { measure, clean: 16_000, estimate: 15_999 };
        assert_eq!(score(&clean, &clean[1..], 16_000), Err(lengths));
        assert_eq!(score(&[], &[], 16_000), Err(QualityError::Empty { measure }));
        let not_finite = |signal| Err(QualityError::NotFinite { measure, signal, sample: 77 });
        assert_eq!(score(&faulty, &clean, 16_000), not_finite("clean signal"));
        assert_eq!(score(&clean, &faulty, 16_000), not_finite("estimate"));
        assert_eq!(score(&[0.0; 9_000], &clean[..9_000], 16_000), Err(QualityError::CleanIsSilent { measure }));
    }
    for (measure, score) in &MEASURES[1..] {
        for rate_hz in [0, 999, 768_001, u32::MAX] {
            let refused = score(&clean, &clean, rate_hz);
            assert_eq!(refused, Err(QualityError::RateOutOfRange { measure, rate_hz }), "{rate_hz} Hz");
        }
        for len in [1, 5, 479] {
            let refused = score(&clean[..len], &clean[..len], 16_000).unwrap_err();
            assert!(matches!(refused, QualityError::TooShort { .. }), "{len} samples: {refused}");
        }
    }
}

#[test]
fn stoi_needs_enough_speech() {
    // 31 frames of 256 with hop 128, and the sample after them.
    let clean = signals::noise(10_000, 4);
    let needed = 30 * 128 + 256 + 1;
    assert!(stoi(&clean[..needed], &clean[..needed], 10_000).unwrap() > 0.999);
    let refused = stoi(&clean[..needed - 1], &clean[..needed - 1], 10_000).unwrap_err();
    assert_eq!(refused, QualityError::TooShort { measure: "STOI", needed: 4096, actual: 3968 });
    // Two seconds, of which only 0.2 s are not silent.
    let mut pauses = vec![0.0; 32_000];
    pauses[8_000..11_200].copy_from_slice(&signals::noise(3_200, 5));
    let refused = stoi(&pauses, &pauses, 16_000).unwrap_err();
    assert!(matches!(refused, QualityError::TooShort { needed: 6554, actual: 3000..4000, .. }), "{refused}");
}

/// A voice that begins after a quarter of a second of noise, and the same in noise.
pub(crate) fn spoken_in_noise(rate_hz: u32) -> (Vec<f32>, Vec<f32>) {
    let mut clean = vec![0.0; rate_hz as usize / 4];
    clean.extend(voice(rate_hz, rate_hz as usize * 2));
    let noisy = with_hiss(&clean, 0.05);
    (clean, noisy)
}

type Baseline = (&'static str, f64, fn(&[f32], u32) -> Result<Vec<f32>, QualityError>);

/// With what each must gain on a voice in white noise, in dB.
const BASELINES: [Baseline; 2] = [("spectral subtraction", 4.0, spectral_subtraction), ("log-MMSE", 5.0, log_mmse)];

#[test]
fn the_baselines_take_noise_away() {
    for rate_hz in [8_000, 16_000, 48_000] {
        let (clean, noisy) = spoken_in_noise(rate_hz);
        for (name, gain_db, baseline) in BASELINES {
            let cleaned = baseline(&noisy, rate_hz).unwrap();
            assert_eq!(cleaned.len(), noisy.len(), "{name} keeps the length");
            let (before, after) = (si_sdr_db(&clean, &noisy).unwrap(), si_sdr_db(&clean, &cleaned).unwrap());
            assert!(after > before + gain_db, "{name} at {rate_hz} Hz: {before:.1} dB becomes {after:.1} dB");
            let pause = |samples: &[f32]| samples[..rate_hz as usize / 4].iter().map(|x| f64::from(x * x)).sum::<f64>();
            let left_db = 10.0 * (pause(&cleaned) / pause(&noisy)).log10();
            assert!(left_db < -10.0, "{name} at {rate_hz} Hz leaves {left_db:.1} dB of the noise alone");
        }
    }
}

#[test]
fn the_baselines_do_not_depend_on_the_level() {
    let (_, noisy) = spoken_in_noise(16_000);
    let quiet: Vec<f32> = noisy.iter().map(|x| x / 1024.0).collect();
    for (name, _, baseline) in BASELINES {
        let (loud, quiet) = (baseline(&noisy, 16_000).unwrap(), baseline(&quiet, 16_000).unwrap());
        let worst = loud.iter().zip(&quiet).map(|(a, b)| (a - b * 1024.0).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{name} is off by {worst}");
    }
}

#[test]
fn the_baselines_take_any_signal() {
    for (name, _, baseline) in BASELINES {
        for len in [0, 1, 5, 159, 160, 161, 997, 4_001] {
            for samples in [vec![0.0; len], vec![0.5; len], vec![1e-30; len], signals::noise(len, 9)] {
                let cleaned = baseline(&samples, 16_000).unwrap();
                assert_eq!(cleaned.len(), len, "{name} keeps {len} samples");
                assert!(cleaned.iter().all(|x| x.is_finite()), "{name} stays finite on {len} samples");
            }
        }
        let mut digital_silence = vec![0.0; 8_000];
        digital_silence.extend(signals::noise(8_000, 10));
        let cleaned = baseline(&digital_silence, 16_000).unwrap();
        assert!(cleaned.iter().all(|x| x.is_finite()), "{name} stays finite after digital silence");
        let refused = baseline(&[0.0, f32::INFINITY], 16_000).unwrap_err();
        let why = QualityError::NotFinite { measure: name, signal: "noisy signal", sample: 1 };
        assert_eq!(refused, why);
        assert_eq!(baseline(&[], 10).unwrap_err(), QualityError::RateOutOfRange { measure: name, rate_hz: 10 });
    }
}
