//! The time difference of arrival: delays of known signals, weightings, the policy and its file, the commands.

use std::f64::consts::TAU;

use auricle::locate::{DelayEstimator, DelayOptions, Policy, weighting};
use auricle::stage::denoise::model::ModelError;
use auricle::{Error, Taper};

use crate::adapter::engines;
use crate::cli::{Folder, assert_done, assert_refused, auricle, text};
use crate::oracle::{complex, dft, frequency};
use crate::signals::noise;

/// A frame of noise and copies of it that are each so much later, going round its end.
fn delayed(len: usize, delays: &[f64]) -> (Vec<f32>, Vec<f32>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (index, delay) in delays.iter().enumerate() {
        let frame = noise(2 * len, 100 + index as u64);
        let mut bins = dft(&complex(&frame, true), -1.0);
        for (k, bin) in bins.iter_mut().enumerate() {
            let (sin, cos) = (-TAU * frequency(k, len) * delay).sin_cos();
            // The second receiver has a phase of its own, and hears it ten times as loud.
            let (sin, cos) = (10.0 * (sin * 0.6 + cos * 0.8), 10.0 * (cos * 0.6 - sin * 0.8));
            *bin = (bin.0 * cos - bin.1 * sin, bin.0 * sin + bin.1 * cos);
        }
        let later = dft(&bins, 1.0);
        second.extend(later.iter().flat_map(|z| [(z.0 / len as f64) as f32, (z.1 / len as f64) as f32]));
        first.extend(frame);
    }
    (first, second)
}

#[test]
fn delays_without_noise_are_exact() {
    let delays = [0.0, 0.25, -0.25, 3.0, -7.37, 11.999, -12.0, 5.5, 0.001];
    for len in [64, 256, 1024] {
        let longest = 12.min(len / 4);
        let options = DelayOptions { frame_len: len, longest, taper: Taper::Rectangular };
        let (first, second) = delayed(len, &delays);
        for engine in engines() {
            let name = &engine.device().name;
            let estimator = DelayEstimator::new(engine, &options).expect("the graphs should compile");
            let spectra = [&first, &second].map(|samples| estimator.spectra(samples).expect("spectra should be made"));
            let weights = vec![1.0; first.len() / 2];
            let found = estimator.delays(&spectra[0], &spectra[1], &weights).expect("delays should be found");
            assert_eq!(found.len(), delays.len(), "{name}: one for each pair");
            for (found, delay) in found.iter().zip(delays) {
                let off = (f64::from(found.samples) - delay).abs();
                assert!(off < 1e-4, "{name}, {len}: {delay} came out as {found:?}");
                assert!((found.height - 1.0).abs() < 1e-3, "{name}: all of the correlation agrees, {found:?}");
                assert!((0.0..0.9).contains(&found.entropy), "{name}: one point stands out, {found:?}");
            }
        }
    }
}

#[test]
fn all_devices_find_the_same() {
    let options = DelayOptions::default();
    // Noise that has nothing to do with itself: every grid point is as likely.
    let (first, second) = (noise(2 * 1024 * 40, 1), noise(2 * 1024 * 40, 2));
    let weights: Vec<f32> = noise(1024 * 40, 3).into_iter().map(f32::abs).collect();
    let mut expected: Option<Vec<_>> = None;
    for engine in engines() {
        let estimator = DelayEstimator::new(engine, &options).expect("the graphs should compile");
        let spectra = [&first, &second].map(|samples| estimator.spectra(samples).expect("spectra should be made"));
        let found = estimator.delays(&spectra[0], &spectra[1], &weights).expect("delays should be found");
        let expected = expected.get_or_insert_with(|| found.clone());
        for (found, expected) in found.iter().zip(&*expected) {
            let off = (found.samples - expected.samples).abs();
            assert!(off < 1e-4, "{}: {found:?}, not {expected:?}", engine.device().name);
            assert!((found.entropy - expected.entropy).abs() < 1e-4, "{found:?}, not {expected:?}");
        }
    }
}

#[test]
fn silence_has_no_delay_and_bad_lengths_are_refused() {
    for engine in engines() {
        let estimator = DelayEstimator::new(engine, &DelayOptions::default()).expect("the graphs should compile");
        let silence = vec![0.0; 2048];
        let found = estimator.delays(&silence, &silence, &vec![1.0; 1024]).expect("silence is no error");
        let none = auricle::locate::Delay { samples: 0.0, height: 0.0, entropy: 1.0 };
        assert_eq!(found, [none], "silence");
        // One sample that is no number makes all bins of its frame such; others are not harmed.
        let mut samples = noise(4 * 1024, 5);
        samples[17] = f32::NAN;
        let spectra = estimator.spectra(&samples).expect("spectra should be made");
        let found = estimator.delays(&spectra, &spectra, &vec![1.0; 2048]).expect("no number is no error");
        assert_eq!(found[0], none, "{}: no number", engine.device().name);
        assert!(found[1].samples.abs() < 1e-4 && found[1].height > 0.99, "{found:?}");
        // Weights as large as powers of 32-bit samples.
        let huge = estimator.delays(&spectra, &spectra, &vec![1e34; 2048]).expect("weights may be large");
        assert!(huge[1].samples.abs() < 1e-4 && huge[1].height > 0.99, "{huge:?}");
        let nothing = estimator.delays(&[], &[], &[]).expect("no pairs are no error");
        assert!(nothing.is_empty(), "no pairs have no delays");
        for (lengths, setting) in
            [([100, 100, 50], "first"), ([2048, 4096, 1024], "second"), ([2048, 2048, 2048], "weights")]
        {
            let [first, second, weights] = lengths.map(|len| vec![1.0; len]);
            let error = estimator.delays(&first, &second, &weights).expect_err("it should be refused");
            assert!(matches!(&error, Error::Setting { setting: named, .. } if *named == setting), "{error}");
        }
        assert!(estimator.spectra(&[0.0; 7]).is_err(), "no whole frame");
        for (frame_len, longest) in [(1000, 12), (2048, 12), (32, 4), (1024, 0), (1024, 257)] {
            let options = DelayOptions { frame_len, longest, taper: Taper::Hann };
            let error = DelayEstimator::new(engine, &options).expect_err("it should be refused");
            assert!(matches!(error, Error::Setting { .. }), "{error}");
        }
    }
}

#[test]
fn weightings_are_their_formulas() {
    let (first, second) = (vec![3.0, 4.0, 0.0, 1.0], vec![0.0, 2.0, 5.0, 12.0]);
    assert_eq!(weighting::cross_correlation(&first, &second), [10.0, 13.0]);
    // S / (N1 N2 + S (N1 + N2)) times those.
    let ht = weighting::hannan_thomson(&first, &second, &[1.0, 4.0], &[1.0, 1.0], &[1.0, 3.0]);
    assert_eq!(ht, [10.0 / 3.0, 13.0 * 4.0 / 19.0]);
    let silent = weighting::hannan_thomson(&first, &second, &[0.0, f32::MAX], &[0.0, 0.0], &[0.0, 0.0]);
    assert!(silent.iter().all(|weight| weight.is_finite()), "{silent:?}");
    let constant: Vec<f32> = (0..2048).map(|n| if n == 0 { 1e9 } else { 0.0 }).collect();
    let weights = weighting::estimated_hannan_thomson(&constant, &constant);
    assert!(weights.iter().all(|weight| weight.is_finite()), "a spectrum without noise has weights too");
    // A band of signal in white noise: what is in the band counts, what is not hardly does.
    let noisy = |seed| -> Vec<f32> {
        let is_loud = |n: usize| (200..400).contains(&(n / 2));
        noise(2048, seed).into_iter().enumerate().map(|(n, x)| if is_loud(n) { 10.0 * x } else { x }).collect()
    };
    let weights = weighting::estimated_hannan_thomson(&noisy(1), &noisy(2));
    let mean = |range: std::ops::Range<usize>| weights[range.clone()].iter().sum::<f32>() / range.len() as f32;
    assert!(mean(220..380) > 50.0 * mean(600..900), "{} and {}", mean(220..380), mean(600..900));
}

#[test]
fn the_policy_that_is_built_in_weights_what_agrees() {
    let policy = Policy::builtin();
    assert!(policy.to_bytes().len() < 100_000, "it is small");
    let spectrum = |seed, level: f32| -> Vec<f32> { noise(2048, seed).into_iter().map(|x| level * x).collect() };
    // The same signal in some bins, and noise of their own in all.
    let (mut first, mut second) = (spectrum(1, 1.0), spectrum(2, 1.0));
    for (n, signal) in spectrum(3, 8.0).into_iter().enumerate().skip(2 * 100).take(2 * 200) {
        first[n] += signal;
        second[n] += signal;
    }
    let mask = policy.mask(&first, &second);
    let mean = |range: std::ops::Range<usize>| mask[range.clone()].iter().sum::<f32>() / range.len() as f32;
    assert!(mean(120..280) > 2.0 * mean(500..900), "{} and {}", mean(120..280), mean(500..900));
    // How loud it is says nothing.
    let louder = |spectrum: &[f32]| -> Vec<f32> { spectrum.iter().map(|x| 1024.0 * x).collect() };
    let weights = policy.weights(&first, &second);
    assert_eq!(policy.weights(&louder(&first), &louder(&second)), weights);
    assert!(weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0), "weights are weights");
    let silent = policy.weights(&vec![0.0; 2048], &vec![0.0; 2048]);
    assert!(silent.iter().all(|weight| weight.is_finite()), "silence has weights too");
}

#[test]
fn policy_files_that_are_none_are_refused() {
    let good = Policy::builtin().to_bytes();
    assert_eq!(Policy::from_bytes(&good).expect("it should be read").to_bytes(), good, "to the byte");
    let refused = |bytes: &[u8], parts: &[&str]| {
        let error = Policy::from_bytes(bytes).expect_err("it should be refused").to_string();
        let missing = parts.iter().find(|part| !error.contains(**part));
        assert_eq!(missing, None, "{error}");
    };
    for cut in [0, 7, 8, 100, good.len() - 1] {
        assert!(Policy::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    refused(&longer, &["1 more"]);
    // Texts of the same length in place of others, so that offsets stay right.
    let with = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "lengths should agree");
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).expect("it should be there");
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    refused(&with("hidden.bias", "hidden.bios"), &["tensor `hidden.bias`", "missing"]);
    refused(&with("\\\"bands\\\":128", "\\\"bands\\\":127"), &["`bands`", "power of two", "127"]);
    refused(&with("\\\"hidden\\\":32", "\\\"hidden\\\":31"), &["tensor `hidden.weight`", "expected shape"]);
    refused(&with("\\\"context\\\":2", "\\\"context\\\":3"), &["tensor `hidden.weight`"]);
    let mut not_finite = good.clone();
    let end = not_finite.len();
    not_finite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&not_finite, &["`output.log_deviation`", "from -65504 to 65504", "NaN"]);
    let mut huge = good.clone();
    huge[end - 4..].copy_from_slice(&1e30_f32.to_le_bytes());
    refused(&huge, &["`output.log_deviation`", "from -65504 to 65504"]);
    let denoiser =
        auricle::stage::denoise::model::Model::builtin().to_bytes(auricle::stage::denoise::model::StoredAs::F16);
    refused(&denoiser, &["unknown key `auricle`"]);
    let error = Policy::read("no/such.safetensors").expect_err("it is not there");
    assert!(matches!(error, ModelError::Read { .. }), "{error}");
}

#[test]
fn training_and_measuring_from_the_command_line() {
    let folder = Folder::new();
    let (policy, training) = (folder.path("policy.safetensors"), folder.path("training"));
    let train = |more: &[&str]| {
        let mut command = auricle(["train", "policy", "--batch-size", "4", "--device", "cpu", "--viz-interval", "2"]);
        command.arg("-o").arg(&policy).arg("--directory").arg(&training).args(more);
        command.output().expect("the program should start")
    };
    let output = train(&["--num-steps", "4", "--seed", "3"]);
    assert_done(&output);
    let lines = text(&output.stdout);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (index, line) in lines.iter().enumerate() {
        let parts: Vec<&str> = line.split(" | ").collect();
        assert_eq!(parts[0], format!("Step {}/4", index + 1), "{line}");
        for (part, name) in parts[1..].iter().zip(["Reward: ", "TDoA Residual: ", "Entropy: "]) {
            let number: f64 = part.strip_prefix(name).expect("it should be named").parse().expect("a number");
            assert!(number.is_finite(), "{line}");
        }
    }
    for name in ["curve.svg", "before-after.png", "policy.checkpoint"] {
        assert!(training.join(name).metadata().is_ok_and(|file| file.len() > 500), "{name} is written");
    }
    assert_refused(&train(&["--num-steps", "4"]), 1, &["policy.safetensors exists", "--force"]);
    std::fs::remove_file(&policy).expect("it should be there");
    assert_refused(&train(&["--num-steps", "4"]), 1, &["policy.checkpoint exists", "--resume"]);
    let resumed = {
        let mut command = auricle(["train", "policy", "--resume", "--num-steps", "6", "--device", "cpu"]);
        command.arg("-o").arg(&policy).arg("--directory").arg(&training).output().expect("the program should start")
    };
    assert_done(&resumed);
    assert!(text(&resumed.stdout).starts_with("Step 5/6"), "{}", text(&resumed.stdout));

    let eval = |policy: &std::path::Path, more: &[&str]| {
        let mut command = auricle(["eval", "policy"]);
        command.arg(policy).args(["--pairs", "20", "--snr", "10", "--device", "cpu"]).args(more);
        command.output().expect("the program should start")
    };
    let output = eval(&policy, &["--json"]);
    assert_done(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON should be printed");
    assert_eq!(report["scenes"].as_array().map(Vec::len), Some(10), "five kinds, with and without jammers");
    for scene in report["scenes"].as_array().expect("there are scenes") {
        let scores = scene["scores"].as_array().expect("there are scores");
        assert_eq!(scores.len(), 5, "{scene}");
        for score in scores {
            let of = |name: &str| score["rmse"][name].as_f64().expect("a number");
            assert!(of("low") <= of("value") && of("value") <= of("high"), "{score}");
        }
        // Nothing is better than the bound by much; of twenty pairs, some luck is left.
        let oracle = scores[4]["rmse"]["value"].as_f64().expect("a number");
        assert!(oracle > 0.5 * scene["bound"].as_f64().expect("a number"), "{scene}");
    }
    let table = assert_done_text(&eval(std::path::Path::new("builtin"), &[]));
    for part in ["QPSK", "chirp", "policy/oracle", "% less"] {
        assert!(table.contains(part), "{table}");
    }
    assert_refused(&eval(&training.join("curve.svg"), &[]), 1, &["curve.svg", "no safetensors file"]);
    std::fs::remove_file(&policy).expect("it should be there");
    let shorter = {
        let mut command = auricle(["train", "policy", "--resume", "--num-steps", "3", "--device", "cpu"]);
        command.arg("-o").arg(&policy).arg("--directory").arg(&training).output().expect("the program should start")
    };
    assert_refused(&shorter, 1, &["policy.checkpoint", "6 steps are done already"]);
    let nowhere = auricle(["train", "policy", "-o", "no/such/folder/p.safetensors", "--device", "cpu"])
        .output()
        .expect("the program should start");
    assert_refused(&nowhere, 1, &["no/such/folder", "does not exist"]);
    let onto_a_folder = auricle(["train", "policy", "--force", "--device", "cpu", "-o"]).arg(&training).output();
    assert_refused(&onto_a_folder.expect("the program should start"), 1, &["training", "is a folder"]);
    assert_refused(&train(&["--jammer", "2"]), 2, &["jammers", "0 to 1", "2"]);
    assert_refused(&train(&["--bands", "100"]), 2, &["bands", "power of two"]);
}

fn assert_done_text(output: &std::process::Output) -> String {
    assert_done(output);
    text(&output.stdout)
}
