//! The denoiser through a plan: published networks against their reference runtime, alignment, pieces, channels, and
//! signals that are no speech.

use std::path::Path;
use std::sync::Arc;

use auricle::stage::denoise::model::{Basis, Feature, Model, Window};
use auricle::{
    CustomKernel, Denoise, DeviceKind, Engine, Error, Faulty, FrameShape, FrameState, Gate, Graph, Layout, Level,
    Precision, Quiet, RunOutput, Threshold,
};

use super::adapter::engines;
use super::custom::wgsl;
use super::denoise_models::{description, open_mask, signal, small_models, with_part, with_random_weights};
use super::files::{shared, wav_samples};

fn gate_off() -> Gate {
    Gate { threshold: Threshold::Off, ..Gate::default() }
}

/// The network as published: nothing around it.
fn bare(model: &Arc<Model>) -> Denoise {
    Denoise { level: Level::Off, ..Denoise::new(Arc::clone(model)) }
}

fn graph(frame_len: usize, gate: Gate, denoise: Denoise) -> Graph {
    Graph::new()
        .input("in", FrameShape::real(frame_len))
        .gate("gate", "in", gate)
        .denoise("denoise", "gate", denoise)
        .output("out", "denoise")
}

/// One channel, filled up to whole frames and cut again.
fn run(engine: &Engine, graph: &Graph, frame_len: usize, samples: &[f32]) -> Vec<f32> {
    let plan = engine.compile(graph).expect("the graph should compile");
    let mut whole = samples.to_vec();
    whole.resize(samples.len().next_multiple_of(frame_len), 0.0);
    let output = plan.run(&[&whole], 1).expect("it should run");
    let mut clean = output.dense("out").expect("there is this output").to_vec();
    clean.truncate(samples.len());
    clean
}

/// dB by which the expected signal is above its difference from the actual one.
fn snr_db(expected: &[f32], actual: &[f32]) -> f64 {
    assert_eq!(expected.len(), actual.len(), "lengths");
    let energy = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>();
    let signal = energy(&mut expected.iter().map(|x| f64::from(*x)));
    let noise = energy(&mut expected.iter().zip(actual).map(|(x, y)| f64::from(*x) - f64::from(*y)));
    10.0 * (signal / noise.max(1e-30)).log10()
}

pub(crate) fn published(shared: &Path) -> [(&'static str, Arc<Model>); 2] {
    use auricle::import::{dtln, nsnet2};
    let models = shared.join("models");
    let stages = ["model_1.onnx", "model_2.onnx"].map(|name| models.join("dtln").join(name));
    let dtln = dtln::from_onnx(&stages[0], &stages[1]).expect("DTLN should be importable");
    let nsnet2 = nsnet2::from_arrays(&models.join("nsnet2")).expect("NSNet2 should be importable");
    [("dtln", Arc::new(dtln)), ("nsnet2", Arc::new(nsnet2))]
}

/// The reference runtime's outputs, on every device.
#[test]
fn published_networks_give_what_their_reference_runtime_gives() {
    let Some(shared) = shared() else { return };
    for (name, model) in published(&shared) {
        for recording in ["p232_005", "p232_170", "p257_011"] {
            let noisy = wav_samples(&shared.join(format!("data/speech/noisy/{recording}.wav")));
            let golden = wav_samples(&shared.join(format!("golden/{name}_{recording}.wav")));
            for engine in engines() {
                for (precision, least_db) in [(Precision::F32, 60.0), (Precision::F16, 40.0)] {
                    if engine.device().kind != DeviceKind::Cpu && recording != "p232_170" {
                        continue;
                    }
                    let denoise = Denoise { precision, ..bare(&model) };
                    let clean = run(engine, &graph(1024, gate_off(), denoise), 1024, &noisy);
                    let snr = snr_db(&golden, &clean);
                    eprintln!("{name} {recording} {precision:?} on {}: {snr:.1} dB", engine.device().name);
                    assert!(
                        snr >= least_db,
                        "{name} {recording} {precision:?} on {}: {snr:.1} dB",
                        engine.device().name
                    );
                }
            }
        }
    }
}

#[test]
fn what_comes_out_stands_where_it_came_in_for_every_frame_length() {
    // The square of this window adds up to 1 at half its length.
    let model = Arc::new(open_mask(64, 32, Window::SqrtHannPeriodic));
    for engine in engines() {
        for frame_len in [64, 256, 1024, 4096] {
            for len in [1, 5, 63, 5000] {
                let samples = signal(len, 3);
                let clean = run(engine, &graph(frame_len, gate_off(), bare(&model)), frame_len, &samples);
                let snr = snr_db(&samples, &clean);
                assert!(snr > 100.0, "{len} samples in frames of {frame_len}: {snr:.1} dB");
            }
        }
    }
}

#[test]
fn other_rates_are_resampled_and_stay_aligned() {
    let model = Arc::new(open_mask(512, 256, Window::SqrtHannPeriodic));
    let engine = &engines()[0];
    for rate_hz in [8_000, 11_025, 22_050, 44_100, 48_000] {
        // A chirp up to 2 kHz, which every rate holds.
        let samples: Vec<f32> = (0..2 * rate_hz)
            .map(|n| {
                let time_s = f64::from(n) / f64::from(rate_hz);
                #[expect(clippy::cast_possible_truncation, reason = "test signal")]
                let sample = (0.3 * (std::f64::consts::TAU * (100.0 + 475.0 * time_s) * time_s).sin()) as f32;
                sample
            })
            .collect();
        let denoise = Denoise { sample_rate_hz: Some(u32::try_from(rate_hz).unwrap()), ..bare(&model) };
        let clean = run(engine, &graph(1024, gate_off(), denoise), 1024, &samples);
        let inner = 2000..samples.len() - 2000;
        let snr = snr_db(&samples[inner.clone()], &clean[inner]);
        assert!(snr > 50.0, "{rate_hz} Hz: {snr:.1} dB");
    }
}

#[test]
fn pieces_come_out_as_the_whole_does() {
    for model in small_models().into_iter().map(Arc::new).take(4) {
        for (frame_len, gate) in [(64, gate_off()), (256, Gate { hold: 1, ..Gate::default() })] {
            let graph = graph(frame_len, gate, bare(&model));
            let samples: Vec<f32> = pausing(20, frame_len);
            for engine in engines() {
                let plan = engine.compile(&graph).unwrap();
                let whole = plan.run(&[&samples], 1).unwrap();
                let mut session = plan.session(1).unwrap();
                let (mut pieces, mut states, mut part) = (Vec::new(), Vec::new(), RunOutput::new(Layout::Dense));
                let mut pushed = 0;
                for frames in [1, 3, 1, 7, 8] {
                    session.push(&[&samples[pushed * frame_len..(pushed + frames) * frame_len]], &mut part).unwrap();
                    pushed += frames;
                    pieces.extend_from_slice(part.dense("out").unwrap());
                    states.extend_from_slice(part.states());
                    assert_eq!(states.len(), pushed.saturating_sub(plan.latency_frames()), "frames that are back");
                }
                session.finish(&mut part).unwrap();
                pieces.extend_from_slice(part.dense("out").unwrap());
                states.extend_from_slice(part.states());
                assert_eq!(states, whole.states(), "{}", engine.device().name);
                let snr = snr_db(whole.dense("out").unwrap(), &pieces);
                assert!(snr > 110.0, "{} on {}: {snr:.1} dB", model.description().name, engine.device().name);
            }
        }
    }
}

#[test]
fn sessions_at_other_rates_are_late_by_what_is_said_and_no_more() {
    let model = Arc::new(open_mask(512, 128, Window::Rectangular));
    for rate_hz in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000] {
        for frame_len in [64, 1024] {
            let denoise = Denoise { sample_rate_hz: Some(rate_hz), ..bare(&model) };
            let plan = engines()[0].compile(&graph(frame_len, gate_off(), denoise)).unwrap();
            let frames = plan.latency_frames() + 40_960 / frame_len;
            let samples = signal(frames * frame_len, 3);
            let whole = plan.run(&[&samples], 1).unwrap();
            let (mut session, mut part) = (plan.session(1).unwrap(), RunOutput::new(Layout::Dense));
            let mut pieces = Vec::new();
            for (index, frame) in samples.chunks(frame_len).enumerate() {
                session.push(&[frame], &mut part).unwrap();
                pieces.extend_from_slice(part.dense("out").unwrap());
                let due = (index + 1).saturating_sub(plan.latency_frames());
                assert_eq!(pieces.len(), due * frame_len, "{rate_hz} Hz in frames of {frame_len}");
            }
            session.finish(&mut part).unwrap();
            pieces.extend_from_slice(part.dense("out").unwrap());
            assert!(snr_db(whole.dense("out").unwrap(), &pieces) > 110.0, "{rate_hz} Hz in frames of {frame_len}");
        }
    }
}

#[test]
fn an_empty_session_has_nothing_to_give() {
    let model = Arc::new(small_models().swap_remove(1));
    let plan = engines()[0].compile(&graph(256, Gate::default(), Denoise::new(model))).unwrap();
    for channels in [0, 1, 3] {
        let (mut session, mut part) = (plan.session(channels).unwrap(), RunOutput::new(Layout::Dense));
        for _ in 0..2 {
            session.push(&[&[]], &mut part).unwrap();
            assert_eq!((part.frames(), part.states().len()), (0, 0), "{channels} channels");
            session.finish(&mut part).unwrap();
            assert_eq!((part.frames(), part.states().len()), (0, 0), "{channels} channels");
        }
    }
}

/// Sound, with a few quiet frames twice.
fn pausing(frames: usize, frame_len: usize) -> Vec<f32> {
    let mut samples = signal(frames * frame_len, 9);
    for pause in [4..7, 11..16] {
        samples[pause.start * frame_len..pause.end * frame_len].fill(0.0);
    }
    samples
}

#[test]
fn a_channel_does_not_depend_on_its_neighbours() {
    for model in small_models().into_iter().map(Arc::new) {
        let graph = graph(64, Gate { hold: 0, ..Gate::default() }, Denoise::new(Arc::clone(&model)));
        let frames = 24;
        let mut channels: Vec<Vec<f32>> = (0..9).map(|seed| signal(frames * 64, seed)).collect();
        // One falls silent for good, one pauses, one has never said anything.
        channels[2][64 * 5..].fill(0.0);
        channels[4] = pausing(frames, 64);
        channels[6].fill(0.0);
        for engine in engines() {
            let plan = engine.compile(&graph).unwrap();
            let together = plan.run(&[&channels.concat()], 9).unwrap();
            for (index, channel) in channels.iter().enumerate() {
                let alone = plan.run(&[channel], 1).unwrap();
                let part = &together.dense("out").unwrap()[index * channel.len()..][..channel.len()];
                let name = &model.description().name;
                assert!(part == alone.dense("out").unwrap(), "{name}, channel {index} on {}", engine.device().name);
            }
            let silent = &together.dense("out").unwrap()[6 * frames * 64..7 * frames * 64];
            assert!(silent.iter().all(|sample| *sample == 0.0), "silence stays silence");
        }
    }
}

#[test]
fn signals_that_are_no_speech_come_through_finite() {
    type Signal = Box<dyn Fn(usize) -> f32>;
    let square = |n: usize| if (n / 37).is_multiple_of(2) { 1.0 } else { -1.0 };
    let kinds: [(&str, Signal); 7] = [
        ("silence", Box::new(|_| 0.0)),
        ("a square wave of full scale", Box::new(square)),
        ("DC", Box::new(|_| 1.0)),
        ("far above full scale", Box::new(move |n| 1e6 * square(n))),
        ("as large as numbers get", Box::new(move |n| 3e38 * square(n))),
        ("one sample of that size", Box::new(move |n| if n == 10 { 1e38 } else { 0.1 * square(n) })),
        ("hardly anything", Box::new(move |n| 1e-30 * square(n))),
    ];
    for model in small_models().into_iter().map(Arc::new) {
        for engine in engines() {
            for gate in [gate_off(), Gate::default()] {
                let plan = engine.compile(&graph(256, gate, Denoise::new(Arc::clone(&model)))).unwrap();
                for (name, sample) in &kinds {
                    let samples: Vec<f32> = (0..8 * 256).map(sample).collect();
                    let output = plan.run(&[&samples], 1).unwrap();
                    let clean = output.dense("out").unwrap();
                    assert_eq!(clean.len(), samples.len(), "{name}");
                    assert!(clean.iter().all(|sample| sample.is_finite()), "{name}: {:?}", model.description().name);
                }
                assert_eq!(plan.run(&[&[]], 1).unwrap().frames(), 0, "nothing in, nothing out");
            }
        }
    }
}

#[test]
fn frames_with_nan_are_the_gates_business() {
    let model = Arc::new(small_models().swap_remove(0));
    let mut samples = signal(12 * 256, 1);
    samples[5 * 256 + 17] = f32::NAN;
    for engine in engines() {
        let reject = engine.compile(&graph(256, gate_off(), bare(&model))).unwrap();
        let error = reject.run(&[&samples], 1).expect_err("a NaN is rejected unless asked otherwise");
        assert!(
            matches!(error, Error::FaultyFrame { channel: 0, frame: 5, sample } if sample == 5 * 256 + 17),
            "{error}"
        );
        let silence = Gate { faulty: Faulty::Silence, ..gate_off() };
        let plan = engine.compile(&graph(256, silence, bare(&model))).unwrap();
        let output = plan.run(&[&samples], 1).unwrap();
        assert_eq!(output.states()[5], FrameState::Faulty, "it is counted");
        assert!(output.dense("out").unwrap().iter().all(|sample| sample.is_finite()), "nothing of it gets through");
    }
    // A session in which it was rejected goes on with other samples.
    let plan = engines()[0].compile(&graph(256, gate_off(), bare(&model))).unwrap();
    let (mut session, mut output) = (plan.session(1).unwrap(), RunOutput::new(Layout::Dense));
    let good = signal(12 * 256, 1);
    let mut pieces = Vec::new();
    session.push(&[&good[..4 * 256]], &mut output).unwrap();
    pieces.extend_from_slice(output.dense("out").unwrap());
    session.push(&[&samples[4 * 256..]], &mut output).expect_err("the NaN");
    session.push(&[&good[4 * 256..]], &mut output).unwrap();
    pieces.extend_from_slice(output.dense("out").unwrap());
    session.finish(&mut output).unwrap();
    pieces.extend_from_slice(output.dense("out").unwrap());
    assert!(pieces == plan.run(&[&good], 1).unwrap().dense("out").unwrap(), "as if it had not been pushed");
}

#[test]
fn what_is_no_number_stays_out_of_the_network_without_a_gate_too() {
    let model = Arc::new(small_models().swap_remove(1));
    let graph = Graph::new()
        .input("in", FrameShape::real(256))
        .denoise("denoise", "in", Denoise::new(model))
        .output("out", "denoise");
    let mut samples = signal(16 * 256, 4);
    samples[700] = f32::INFINITY;
    samples[1700] = f32::NAN;
    for engine in engines() {
        let output = engine.compile(&graph).unwrap().run(&[&samples], 1).unwrap();
        assert!(output.dense("out").unwrap().iter().all(|sample| sample.is_finite()), "{}", engine.device().name);
        assert!(!output.hop_times().is_empty(), "the network's calls are timed");
    }
}

#[test]
fn plans_on_one_device_can_run_side_by_side() {
    let model = Arc::new(small_models().swap_remove(0));
    for engine in engines() {
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let model = &model;
                let run_some = move || {
                    let samples = signal(40 * 256, seed);
                    let clean = run(engine, &graph(256, gate_off(), bare(model)), 256, &samples);
                    assert!(clean.iter().all(|sample| sample.is_finite()), "{}", engine.device().name);
                };
                std::thread::Builder::new().spawn_scoped(scope, run_some).unwrap();
            }
        });
    }
}

#[test]
fn strength_mixes_with_what_came_in() {
    let model = Arc::new(small_models().swap_remove(1));
    let samples = signal(16 * 256, 4);
    let engine = &engines()[0];
    let at = |strength: f32| {
        run(engine, &graph(256, gate_off(), Denoise { strength, ..Denoise::new(Arc::clone(&model)) }), 256, &samples)
    };
    let (full, half, none) = (at(1.0), at(0.5), at(0.0));
    assert!(snr_db(&samples, &none) > 120.0, "nothing of the network");
    let middle: Vec<f32> = full.iter().zip(&samples).map(|(clean, noisy)| 0.5 * clean + 0.5 * noisy).collect();
    assert!(snr_db(&middle, &half) > 110.0, "half of each");
}

#[test]
fn quiet_frames_pass_where_the_gate_says_so() {
    let model = Arc::new(open_mask(64, 32, Window::SqrtHannPeriodic));
    let mut samples = pausing(20, 256);
    samples.iter_mut().enumerate().for_each(|(n, sample)| *sample += if n % 2 == 0 { 1e-4 } else { -1e-4 });
    let gate = Gate { quiet: Quiet::Pass, hold: 0, ..Gate::default() };
    let clean = run(&engines()[0], &graph(256, gate, bare(&model)), 256, &samples);
    let quiet = 12 * 256..15 * 256;
    assert!(clean[quiet.clone()] == samples[quiet], "as they were");
    assert!(snr_db(&samples, &clean) > 60.0, "and the rest beside them");
}

#[test]
fn a_long_silence_makes_the_network_forget_and_a_short_one_does_not() {
    let with = with_part(
        description("remembers", 64, 32, Window::SqrtHann),
        Basis::Spectrum(Feature::Magnitude),
        &[(auricle::stage::denoise::model::LayerKind::Gru, 20), (super::denoise_models::SIGMOID, 33)],
    );
    let model = Arc::new(with_random_weights(with, 77));
    let sound = signal(40 * 64, 2);
    let gate = Gate { hold: 0, ..Gate::default() };
    let engine = &engines()[0];
    let plan = engine.compile(&graph(64, gate, bare(&model))).unwrap();
    let after = |silent_frames: usize| {
        let samples = [&sound[..], &vec![0.0; silent_frames * 64], &sound[..]].concat();
        let output = plan.run(&[&samples], 1).unwrap();
        output.dense("out").unwrap()[samples.len() - sound.len()..].to_vec()
    };
    // At 16 kHz, a second is 250 frames of 64.
    let fresh = plan.run(&[&sound], 1).unwrap().dense("out").unwrap().to_vec();
    assert!(after(260) == fresh, "after more than a second it is as at the start");
    assert!(after(100) != fresh, "before, it remembers");
    assert!(after(100) == after(200), "however long it was quiet");
}

#[test]
fn kernels_can_follow_a_denoiser_and_other_outputs_stay_in_step() {
    let text = wgsl("", 1, "value = 2.0 * source_0[frame * params.frame_len + i];");
    let double = CustomKernel::new(&text, |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(to, from)| *to = 2.0 * from);
    });
    let model = Arc::new(open_mask(64, 32, Window::SqrtHannPeriodic));
    let graph = graph(256, gate_off(), bare(&model))
        .kernel("double", &["denoise"], double)
        .output("twice", "double")
        .output("as it was", "gate");
    let samples = signal(9 * 256, 8);
    for engine in engines() {
        let plan = engine.compile(&graph).unwrap();
        let (mut session, mut part) = (plan.session(1).unwrap(), RunOutput::new(Layout::Dense));
        let mut seen = 0;
        for frame in samples.chunks(256).map(Some).chain([None]) {
            match frame {
                Some(frame) => session.push(&[frame], &mut part).unwrap(),
                None => session.finish(&mut part).unwrap(),
            }
            let count = part.states().len() * 256;
            let expected = &samples[seen..seen + count];
            assert!(part.dense("as it was").unwrap() == expected, "the input's own frames");
            for (twice, clean) in part.dense("twice").unwrap().iter().zip(part.dense("out").unwrap()) {
                assert_eq!(*twice, 2.0 * clean, "of the same frame");
            }
            assert!(count == 0 || snr_db(expected, part.dense("out").unwrap()) > 100.0, "of the same time");
            seen += count;
        }
        assert_eq!(seen, samples.len(), "all of it");
    }
}

#[test]
fn a_channel_can_have_factors_of_its_own() {
    let scaled = small_models().into_iter().map(Arc::new).find(|model| model.description().parts[0].layers[0].scaled);
    let model = scaled.expect("one of them has factors");
    let samples = signal(16 * 256, 6);
    let both = [&samples[..], &samples[..]].concat();
    let outputs = model.description().parts[0].layers[0].outputs;
    for engine in engines() {
        let plan = engine.compile(&graph(256, gate_off(), bare(&model))).unwrap();
        let (mut session, mut part) = (plan.session(2).unwrap(), RunOutput::new(Layout::Dense));
        session.set_scale(1, 0, &vec![0.3; outputs]).unwrap();
        let mut channels = [Vec::new(), Vec::new()];
        let take = |part: &RunOutput, channels: &mut [Vec<f32>; 2]| {
            let clean = part.dense("out").unwrap();
            for (channel, clean) in channels.iter_mut().zip(clean.chunks(clean.len().max(2) / 2)) {
                channel.extend_from_slice(clean);
            }
        };
        session.push(&[&both], &mut part).unwrap();
        take(&part, &mut channels);
        session.finish(&mut part).unwrap();
        take(&part, &mut channels);
        let usual = plan.run(&[&samples], 1).unwrap();
        assert!(channels[0] == usual.dense("out").unwrap(), "the other channel keeps the model's");
        assert!(channels[1] != channels[0], "this one does not");
        // The same as a model that holds those factors.
        let mut tensors: std::collections::BTreeMap<_, _> =
            model.tensors().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        let name = format!("{}.scale", model.description().parts[0].layers[0].name);
        tensors.get_mut(&name).unwrap().values = vec![0.3; outputs].into();
        let other = Arc::new(Model::new(model.description().clone(), tensors).unwrap());
        let expected = run(engine, &graph(256, gate_off(), bare(&other)), 256, &samples);
        assert!(snr_db(&expected, &channels[1]) > 100.0, "on {}", engine.device().name);
        for (channel, layer, scale) in [(2, 0, vec![1.0; outputs]), (0, 99, vec![1.0]), (0, 0, vec![1.0; outputs + 1])]
        {
            let error = session.set_scale(channel, layer, &scale).expect_err("it should be refused").to_string();
            assert!(error.starts_with("the scale is "), "{error}");
        }
        let error = session.set_scale(0, 0, &vec![f32::NAN; outputs]).expect_err("no number").to_string();
        assert!(error.contains("finite factors"), "{error}");
    }
}

#[test]
fn graphs_that_no_denoiser_fits_into_are_refused_by_name() {
    let model = Arc::new(small_models().swap_remove(0));
    let engine = &engines()[0];
    let refused = |graph: &Graph| engine.compile(graph).expect_err("it should be refused").to_string();
    let plain = || Graph::new().input("in", FrameShape::real(1024));
    let twice = plain().denoise("a", "in", bare(&model)).denoise("b", "a", bare(&model)).output("out", "b");
    assert!(refused(&twice).contains("graph node `b`: the graph already has the denoiser `a`"), "{}", refused(&twice));
    let complex =
        Graph::new().input("in", FrameShape::complex(1024)).denoise("a", "in", bare(&model)).output("out", "a");
    assert!(refused(&complex).contains("graph node `a`: the frame shape is 1024 complex"), "{}", refused(&complex));
    let strength = Denoise { strength: 1.5, ..bare(&model) };
    let strong = plain().denoise("a", "in", strength).output("out", "a");
    assert!(refused(&strong).contains("the strength of the denoiser is 1.5"), "{}", refused(&strong));
    let late_gate = plain().denoise("a", "in", bare(&model)).gate("g", "a", Gate::default()).output("out", "g");
    assert!(refused(&late_gate).contains("graph node `g`: a gate must read an input"), "{}", refused(&late_gate));
    let floor = Denoise { mask_floor_db: Some(3.0), ..bare(&model) };
    let floor = plain().denoise("a", "in", floor).output("out", "a");
    assert!(refused(&floor).contains("the mask floor is 3 dB"), "{}", refused(&floor));
}
