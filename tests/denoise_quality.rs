//! How good denoised speech is: on real pairs that no model here was trained on, and at any level.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use auricle::quality::{si_sdr_db, stoi};
use auricle::stage::denoise::model::Model;
use auricle::{Denoise, Engine, FrameShape, Graph, Level, Precision};

use super::adapter::engines;
use super::denoise::published;
use super::files::{shared, wav_samples};

/// Noisy and clean recordings of the same words.
fn pairs(shared: &Path) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(shared.join("data/speech/noisy")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let clean = |noisy: &PathBuf| shared.join("data/speech/clean").join(noisy.file_name().unwrap());
    names.iter().map(|noisy| (wav_samples(noisy), wav_samples(&clean(noisy)))).collect()
}

/// Mean SI-SDR in dB and STOI of what a denoiser makes of `pairs`, with everything multiplied by `gain` around it.
fn scores(engine: &Engine, denoise: &Denoise, pairs: &[(Vec<f32>, Vec<f32>)], gain: f32) -> (f64, f64) {
    let graph = Graph::new()
        .input("in", FrameShape::real(1024))
        .denoise("denoise", "in", denoise.clone())
        .output("out", "denoise");
    let plan = engine.compile(&graph).unwrap();
    let (mut si_sdr, mut intelligibility) = (0.0, 0.0);
    for (noisy, clean) in pairs {
        let mut frames: Vec<f32> = noisy.iter().map(|x| gain * x).collect();
        frames.resize(noisy.len().next_multiple_of(1024), 0.0);
        let output = plan.run(&[&frames], 1).unwrap();
        let cleaned: Vec<f32> = output.dense("out").unwrap()[..noisy.len()].iter().map(|x| x / gain).collect();
        si_sdr += si_sdr_db(clean, &cleaned).unwrap() / pairs.len() as f64;
        intelligibility += stoi(clean, &cleaned, 16_000).unwrap() / pairs.len() as f64;
    }
    (si_sdr, intelligibility)
}

/// DTLN scores SI-SDR 16.9 dB and STOI 0.940 with its reference runtime, NSNet2 15.1 dB and 0.927.
#[test]
fn published_networks_score_as_published() {
    let Some(shared) = shared() else { return };
    let pairs = pairs(&shared);
    for ((name, model), (si_sdr, intelligibility)) in published(&shared).into_iter().zip([(16.9, 0.940), (15.1, 0.927)])
    {
        let denoise = Denoise { level: Level::Off, ..Denoise::new(Arc::clone(&model)) };
        let found = scores(&engines()[0], &denoise, &pairs, 1.0);
        eprintln!("{name}: {found:?}");
        assert!((found.0 - si_sdr).abs() < 0.06 && (found.1 - intelligibility).abs() < 6e-4, "{name}: {found:?}");
        let int8 = scores(&engines()[0], &Denoise { precision: Precision::Int8, ..denoise }, &pairs, 1.0);
        eprintln!("{name} in int8: {int8:?}");
        assert!(int8.0 > found.0 - 0.3 && int8.1 > found.1 - 2e-3, "{name} in int8: {int8:?}");
    }
}

#[test]
fn our_own_network_is_better_than_noise_and_than_textbooks() {
    let Some(shared) = shared() else { return };
    let found = scores(&engines()[0], &Denoise::new(Model::builtin()), &pairs(&shared), 1.0);
    eprintln!("builtin: {found:?}");
    // Noisy: 8.2 dB and 0.932; log-MMSE: 13.9 dB and 0.915.
    assert!(found.0 >= 16.5 && found.1 >= 0.9325, "{found:?}");
}

#[test]
fn the_level_of_a_recording_does_not_matter() {
    let Some(shared) = shared() else { return };
    let pairs: Vec<_> = pairs(&shared).into_iter().step_by(6).collect();
    // These recordings have about -27 dBFS.
    let gain_of = |dbfs: f32| 10.0_f32.powf((dbfs + 27.0) / 20.0);
    let models = published(&shared).map(|(_, model)| model).into_iter().chain([Model::builtin()]);
    for model in models {
        let denoise = Denoise::new(model);
        let at = |dbfs: f32| scores(&engines()[0], &denoise, &pairs, gain_of(dbfs)).0;
        let sweep: Vec<(f32, f64)> = [-60.0, -45.0, -35.0, -25.0, -15.0, 0.0].map(|dbfs| (dbfs, at(dbfs))).to_vec();
        let best = sweep.iter().map(|(_, si_sdr)| *si_sdr).fold(f64::NEG_INFINITY, f64::max);
        for (dbfs, si_sdr) in sweep {
            assert!(dbfs < -45.0 || si_sdr > best - 0.5, "{dbfs} dBFS: {si_sdr:.2} dB, best {best:.2} dB");
        }
    }
}
