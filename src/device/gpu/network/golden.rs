//! Published networks against the output of their reference runtime, and what fewer bits cost them. Skipped aloud where
//! the published weights are not at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::{Bounds, GpuNetwork};
use crate::device::adapter::all_for_tests;
use crate::device::gpu::GpuDevice;
use crate::import::{dtln, nsnet2};
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Advance, HopStep, Network as _, NetworkOptions, Precision};

const RECORDINGS: [&str; 3] = ["p232_005", "p232_170", "p257_011"];

fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    #[expect(clippy::print_stderr, reason = "a skipped test should say so")]
    if !folder.join("golden").is_dir() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

fn samples(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match reader.spec().sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().map(|x| x.expect("it should be whole")).collect(),
        hound::SampleFormat::Int => {
            reader.samples::<i16>().map(|x| f32::from(x.expect("it should be whole")) / 32_768.0).collect()
        }
    }
}

/// The published models, with the mask floor that their goldens were made with.
fn published(shared: &Path) -> [(&'static str, Arc<Model>, f32); 2] {
    let models = shared.join("models");
    let dtln = dtln::from_onnx(&models.join("dtln/model_1.onnx"), &models.join("dtln/model_2.onnx"));
    let nsnet2 = nsnet2::from_arrays(&models.join("nsnet2"));
    [
        ("dtln", Arc::new(dtln.expect("the published weights should be readable")), 0.0),
        ("nsnet2", Arc::new(nsnet2.expect("the published weights should be readable")), 1e-4),
    ]
}

fn open(device: &GpuDevice, model: &Arc<Model>, channels: usize, options: NetworkOptions) -> GpuNetwork {
    let bounds = Bounds::of(&device.shared.device, device.info.kind);
    GpuNetwork::open(Arc::clone(&device.shared), model, channels, options, bounds).expect("the network should open")
}

/// All recordings through a new network, as channels side by side, each as long as it was.
fn denoise(device: &GpuDevice, model: &Arc<Model>, options: NetworkOptions, recordings: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let (hop, late) = (model.description().hop, model.description().window_len - model.description().hop);
    let longest = recordings.iter().map(Vec::len).max().unwrap_or(0);
    let hops = (longest + late).div_ceil(hop);
    let mut samples = Vec::new();
    for recording in recordings {
        samples.extend(recording);
        samples.resize(samples.len().next_multiple_of(hops * hop).max(hops * hop), 0.0);
    }
    let channels: Vec<u32> = (0..).take(recordings.len()).collect();
    let steps = vec![HopStep { gain: 1.0, flags: HopStep::RUN }; hops * recordings.len()];
    let mut output = vec![f32::NAN; samples.len()];
    let call = Advance { channels: &channels, hops, samples: &samples, steps: &steps };
    open(device, model, recordings.len(), options).advance(&call, &mut output).expect("the network should run");
    let outputs = output.chunks(hops * hop).zip(recordings);
    outputs.map(|(output, recording)| output[late..late + recording.len()].to_vec()).collect()
}

fn decibels(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

fn power(samples: impl Iterator<Item = f64>) -> f64 {
    samples.map(|x| x * x).sum()
}

fn snr(actual: &[f32], expected: &[f32]) -> f64 {
    let pairs = || actual.iter().zip(expected).map(|(a, e)| (f64::from(*a), f64::from(*e)));
    let snr = decibels(power(pairs().map(|(_, e)| e)), power(pairs().map(|(a, e)| a - e)));
    if snr.is_nan() { f64::NEG_INFINITY } else { snr }
}

/// The level of what is like the clean signal over that of the rest.
fn si_sdr(estimate: &[f32], clean: &[f32]) -> f64 {
    let pairs = || estimate.iter().zip(clean).map(|(a, e)| (f64::from(*a), f64::from(*e)));
    let scale = pairs().map(|(a, e)| a * e).sum::<f64>() / power(pairs().map(|(_, e)| e));
    decibels(power(pairs().map(|(_, e)| scale * e)), power(pairs().map(|(a, e)| a - scale * e)))
}

#[test]
#[expect(clippy::print_stderr, reason = "measured errors are worth reading")]
fn published_networks_agree_with_their_reference_runtime() {
    let Some(shared) = shared() else { return };
    let speech = |kind: &str, name: &str| samples(&shared.join(format!("data/speech/{kind}/{name}.wav")));
    let noisy = RECORDINGS.map(|name| speech("noisy", name));
    let clean = RECORDINGS.map(|name| speech("clean", name));
    for device in all_for_tests() {
        for (name, model, mask_floor) in published(&shared) {
            let golden = RECORDINGS.map(|recording| samples(&shared.join(format!("golden/{name}_{recording}.wav"))));
            for (precision, wanted) in [(Precision::F32, 60.0), (Precision::F16, 40.0), (Precision::Int8, 10.0)] {
                let start = Instant::now();
                let made = denoise(&device, &model, NetworkOptions { precision, mask_floor }, &noisy);
                let took = start.elapsed().as_secs_f64();
                let worst = made.iter().zip(&golden).map(|(made, golden)| snr(made, golden)).fold(f64::MAX, f64::min);
                let mean = |signals: &[Vec<f32>]| -> f64 {
                    signals.iter().zip(&clean).map(|(signal, clean)| si_sdr(signal, clean)).sum::<f64>() / 3.0
                };
                let what = format!("{}, {name}, {precision:?}", device.info.name);
                eprintln!(
                    "{what}: SNR {worst:.1} dB, SI-SDR {:.2} dB of {:.2}, {took:.1} s",
                    mean(&made),
                    mean(&golden)
                );
                assert!(worst >= wanted, "{what}: {worst:.1} dB of {wanted:.1} dB");
            }
        }
    }
}

#[test]
#[ignore = "measures; run it alone, with --release"]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
fn channels_in_real_time() {
    let Some(shared) = shared() else { return };
    for device in all_for_tests() {
        let software = device.info.kind != crate::DeviceKind::Gpu;
        for (name, model, mask_floor) in published(&shared) {
            let hop = model.description().hop;
            let hop_s = hop as f64 / f64::from(model.description().sample_rate_hz);
            let most = if software { 256 } else { 65_536 };
            let sizes = [(1, 1), (1, 256), (16, 1), (64, 1), (256, 1), (1024, 1), (8192, 1), (65_536, 1)];
            for (channels, hops) in sizes.into_iter().filter(|(channels, _)| *channels <= most) {
                for precision in [Precision::F32, Precision::F16, Precision::Int8] {
                    let mut network = open(&device, &model, channels, NetworkOptions { precision, mask_floor });
                    let samples: Vec<f32> = (0..channels * hops * hop).map(|n| (n as f32 * 0.1).sin() * 0.1).collect();
                    let steps = vec![HopStep { gain: 1.0, flags: HopStep::RUN }; channels * hops];
                    let all: Vec<u32> = (0..).take(channels).collect();
                    let call = Advance { channels: &all, hops, samples: &samples, steps: &steps };
                    let mut output = vec![0.0; samples.len()];
                    let mut times: Vec<f64> = Vec::new();
                    while times.len() < 4 || (times.len() < 100 && times.iter().sum::<f64>() < 2.0) {
                        let start = Instant::now();
                        network.advance(&call, &mut output).expect("the network should run");
                        times.push(start.elapsed().as_secs_f64());
                    }
                    // The first call may have made room.
                    let times = &mut times[1..];
                    times.sort_by(f64::total_cmp);
                    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
                    let real_time = (channels * hops) as f64 * hop_s / median;
                    eprintln!(
                        "{}, {name}, {precision:?}, {channels} channels x {hops} hops: {:.3} ms, longest {:.3}: \
                         {real_time:.1} channels in real time",
                        device.info.name,
                        1e3 * median,
                        1e3 * last
                    );
                }
            }
        }
    }
}
