//! `auricle run` with a denoiser: what comes out, and what is said.

use std::path::{Path, PathBuf};

use crate::cli::{Folder, assert_done, assert_refused, auricle, float_bytes, run, text, wav};
use crate::files::wav_samples;

fn speech() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/noisy-speech.wav")
}

fn report(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("the report should be JSON")
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64
}

#[test]
fn speech_is_denoised_without_being_asked() {
    let folder = Folder::new();
    let clean = folder.path("clean.wav");
    let output = auricle(["run"])
        .arg(speech())
        .arg("-o")
        .arg(&clean)
        .args(["--device", "cpu", "--report", "json"])
        .output()
        .unwrap();
    assert_done(&output);
    let report = report(&output.stdout);
    let denoiser = &report["settings"]["denoise"];
    assert_eq!(denoiser["model"], "auricle-small", "{report}");
    assert_eq!(report["settings"]["filter"], "off", "it hears no better for the filter");
    assert!(report["realtime_factor"].as_f64().unwrap() > 1.0, "{report}");
    assert!(denoiser["latency_ms"].as_f64().unwrap() >= 10.0, "{report}");
    let stages: Vec<&str> =
        report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(stages.iter().filter(|name| **name == "denoise").count(), 1, "{stages:?}");
    let (noisy, clean) = (wav_samples(&speech()), wav_samples(&clean));
    assert_eq!(noisy.len(), clean.len(), "to the sample");
    // The recording begins with noise alone, and has noise between its sentences.
    let quietest = |samples: &[f32]| samples.chunks(1600).map(power).fold(f64::INFINITY, f64::min);
    assert!(power(&clean) > 0.3 * power(&noisy), "the speech stays");
    assert!(quietest(&clean) < 0.05 * quietest(&noisy), "{:e} of {:e}", quietest(&clean), quietest(&noisy));
}

#[test]
fn every_precision_every_rate_and_every_channel() {
    let folder = Folder::new();
    let speech = wav_samples(&speech());
    let speech = &speech[..32_000];
    let mono = folder.file("mono.wav", &wav(3, 32, 1, 16_000, &float_bytes(speech)));
    let cleaned = |input: &Path, more: &[&str]| {
        let output = folder.path("out.wav");
        assert_done(&run(input, &output, &[&["--denoise", "builtin", "--force"], more].concat()));
        wav_samples(&output)
    };
    let full = cleaned(&mono, &[]);
    for precision in ["f16", "int8"] {
        let other = cleaned(&mono, &["--precision", precision]);
        let difference: Vec<f32> = full.iter().zip(&other).map(|(x, y)| x - y).collect();
        let share = power(&difference) / power(&full);
        // The weights of this model are halves in its file already.
        assert!(share < 1e-2 && (share > 0.0 || precision == "f16"), "{precision}: {share:e}");
    }
    assert!(cleaned(&mono, &["--strength", "0", "--gate", "off"]) == *speech, "as it came");
    let loud = cleaned(&mono, &["--mask-floor", "-3"]);
    assert!(power(&loud) > 1.03 * power(&full), "a floor of -3 dB leaves most of the noise");
    // Two channels, each as alone.
    let stereo: Vec<f32> = speech.iter().zip(speech.iter().rev()).flat_map(|(x, y)| [*x, *y]).collect();
    let stereo = folder.file("stereo.wav", &wav(3, 32, 2, 16_000, &float_bytes(&stereo)));
    let left: Vec<f32> = cleaned(&stereo, &[]).chunks(2).map(|pair| pair[0]).collect();
    assert!(left == full, "what stands in the other channel does not matter");
    // The same samples, called 8 and 44.1 kHz: only lengths and finite samples are asserted here.
    for rate in [8_000, 44_100, 48_000] {
        let input = folder.file("rate.wav", &wav(3, 32, 1, rate, &float_bytes(speech)));
        let clean = cleaned(&input, &[]);
        assert_eq!(clean.len(), speech.len(), "{rate} Hz");
        assert!(clean.iter().all(|x| x.is_finite()) && power(&clean) > 0.0, "{rate} Hz");
    }
}

#[test]
fn files_of_hardly_any_samples_come_out_as_long() {
    let folder = Folder::new();
    for len in [0, 1, 5] {
        for rate in [16_000, 48_000] {
            let input = folder.file("short.wav", &wav(3, 32, 1, rate, &float_bytes(&vec![0.5; len])));
            let output = folder.path("out.wav");
            assert_done(&run(&input, &output, &["--denoise", "builtin", "--force"]));
            assert_eq!(wav_samples(&output).len(), len, "{len} samples at {rate} Hz");
        }
    }
}

#[test]
fn what_cannot_be_denoised_is_said() {
    let folder = Folder::new();
    let raw = folder.file("in.f32", &float_bytes(&[0.1; 5000]));
    let output = folder.path("out.f32");
    let refused = |more: &[&str]| run(&raw, &output, &[&["--force"], more].concat());
    assert_refused(&refused(&["--denoise", "builtin"]), 1, &["sample rate", "--sample-rate"]);
    let missing = folder.path("no.safetensors");
    let missing = missing.to_str().unwrap();
    assert_refused(&refused(&["--denoise", missing]), 2, &["there is no such file", "builtin"]);
    assert_refused(&refused(&["--denoise", "builtin", "--strength", "2"]), 2, &["the strength of the denoiser is 2"]);
    let no_model = folder.file("text.safetensors", b"no model at all");
    assert_refused(&refused(&["--denoise", no_model.to_str().unwrap()]), 2, &["text.safetensors"]);
    let iq = ["--denoise", "builtin", "--format", "cf32", "--sample-rate", "2e6"];
    let complex_output = folder.path("out.cf32");
    assert_refused(&run(&raw, &complex_output, &iq), 1, &["complex (IQ)", "--denoise off"]);
    assert!(!complex_output.exists() && !output.exists(), "nothing was written");
    // Nobody asked: a signal of unknown rate is not denoised, and that is said.
    let asked = auricle(["run"]).arg(&raw).arg("-o").arg(&output).args(["--device", "cpu"]).output().unwrap();
    let said = assert_done(&asked);
    assert!(said.contains("not denoised") && said.contains("--sample-rate"), "{said}");
}

#[test]
fn help_names_the_denoisers_settings() {
    let help = text(&auricle(["help", "run"]).output().unwrap().stdout);
    for needle in ["--denoise <builtin|off|FILE>", "--precision", "--strength", "--level", "--mask-floor"] {
        assert!(help.contains(needle), "{needle} in {help}");
    }
}

#[test]
#[cfg(feature = "train")]
fn training_a_denoiser_checks_its_options_before_it_begins() {
    let refused = |options: &[&str], code, part: &str| {
        let output =
            auricle(["train", "denoiser", "--directory", "nowhere"]).args(options).output().expect("it starts");
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {message}");
        assert!(message.contains(part), "{options:?}: {message}");
    };
    refused(&["--mask-floor", "3"], 2, "expected -200 to 0");
    refused(&["--mask-floor", "nan"], 2, "expected -200 to 0");
    refused(&["--learning-rate", "0"], 2, "expected 0.000000001 to 1");
    refused(&["-o", "no/such/x.safetensors"], 1, "does not exist");
    // A folder that is made for the checkpoints may hold the output, too: what is missing is something else.
    let folder = Folder::new();
    let (directory, output) = (folder.path("try"), folder.path("try/x.safetensors"));
    let options = ["--directory", directory.to_str().unwrap(), "-o", output.to_str().unwrap(), "--resume"];
    let output = auricle(["train", "denoiser"]).args(options).output().expect("it starts");
    let message = text(&output.stderr);
    assert!(!output.status.success() && message.contains("checkpoint"), "{message}");
}
