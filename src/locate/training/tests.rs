//! What training rests on: the gradient is that of the score, rewards rise, and a run that was stopped goes on as if it
//! never had been.

use super::gradient::Draws;
use super::*;
use crate::{DeviceChoice, EngineOptions};

fn engine() -> Engine {
    Engine::open(&EngineOptions { device: DeviceChoice::Cpu, threads: 2, ..EngineOptions::default() })
        .expect("the CPU should open")
}

fn small() -> PolicyOptions {
    PolicyOptions { steps: 30, pairs: 8, bands: 64, hidden: 8, ..PolicyOptions::default() }
}

/// Spectra of noise with more power in some bins.
fn spectrum(random: &mut Random) -> Vec<f32> {
    let loud = |k: usize| if k % 64 < 20 { 5.0 } else { 1.0 };
    (0..2048).map(|n| (random.unit() - 0.5) * loud(n / 2)).collect()
}

#[test]
fn the_gradient_is_that_of_the_score() {
    let description = description(&small());
    let mut random = Random::new(3, 4);
    let mut weights = first_weights(&description, &mut random);
    weights.iter_mut().for_each(|weight| *weight += 0.1 * (random.unit() - 0.5));
    let features = Features::new(&description, &spectrum(&mut random), &spectrum(&mut random));
    let policy = Policy::new(description.clone(), weights.clone());
    let mut draws = Draws::new(&policy, &features, 4, &mut random);
    draws.rewards = vec![1.0, -0.5, 3.0, 0.25];
    let gradient = draws.gradient(&policy, &features, None);
    let score = |weights: Vec<f32>| draws.score(&Policy::new(description.clone(), weights), &features);
    let (mut away, mut length) = (0.0, 0.0);
    for index in 0..weights.len() {
        // Sums of f32 are in the score, so a step must not be too small; and a unit may be at its kink.
        let step = 1e-3_f32;
        let moved = |by: f32| {
            let mut weights = weights.clone();
            weights[index] += by;
            score(weights)
        };
        let difference = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        away += (difference - f64::from(gradient[index])).powi(2);
        length += difference.powi(2);
    }
    let relative = (away / length).sqrt();
    assert!(length > 1.0, "the gradient is none: {length}");
    assert!(relative < 1e-3, "the gradient is off by {relative:.1e}");
}

#[test]
fn thirty_steps_raise_the_reward() {
    let options = PolicyOptions {
        steps: 60,
        pairs: 32,
        draws: 16,
        learning_rate: 3e-2,
        snr_db: (10.0, 15.0),
        jammers: 0.0,
        ..small()
    };
    let mut trainer = PolicyTrainer::new(&engine(), &options).expect("the trainer should begin");
    let steps: Vec<PolicyStep> = (0..30).map(|_| trainer.step().expect("a step should be done")).collect();
    let mean = |part: &[PolicyStep]| part.iter().map(|step| step.reward).sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(&steps[..5]), mean(&steps[25..]));
    assert!(after > before + 0.7, "the reward goes from {before:.2} to {after:.2}");
    assert!(steps.iter().all(|step| step.residual.is_finite() && step.residual > 0.0), "errors are measured");
}

#[test]
fn a_run_that_was_stopped_goes_on_as_if_it_never_had_been() {
    let engine = engine();
    let options = PolicyOptions { resolvent: 0.1, correlation_entropy: 0.5, distortion: 0.5, ..small() };
    let mut whole = PolicyTrainer::new(&engine, &options).expect("the trainer should begin");
    let mut first = PolicyTrainer::new(&engine, &options).expect("the trainer should begin");
    let folder = tempfile::tempdir().expect("a folder should be made");
    let path = folder.path().join("policy.checkpoint");
    for _ in 0..4 {
        whole.step().expect("a step should be done");
    }
    for _ in 0..2 {
        first.step().expect("a step should be done");
    }
    first.save(&path).expect("the checkpoint should be written");
    let mut second = PolicyTrainer::resume(&engine, &path, None).expect("the checkpoint should be read");
    for _ in 0..2 {
        second.step().expect("a step should be done");
    }
    assert_eq!(whole.history(), second.history(), "the same course");
    assert_eq!(whole.policy(), second.policy(), "the same policy");
}

#[test]
fn a_checkpoint_that_is_none_is_refused() {
    let engine = engine();
    let folder = tempfile::tempdir().expect("a folder should be made");
    let path = folder.path().join("policy.checkpoint");
    let refused = |text: &str| {
        std::fs::write(&path, text).expect("the file should be written");
        PolicyTrainer::resume(&engine, &path, None).expect_err("it should be refused").to_string()
    };
    for text in ["", "{}", "[1, 2]"] {
        assert!(refused(text).contains("policy.checkpoint"), "{text} is named");
    }
    let mut trainer = PolicyTrainer::new(&engine, &small()).expect("the trainer should begin");
    trainer.weights.pop();
    trainer.save(&path).expect("the checkpoint should be written");
    let text = std::fs::read_to_string(&path).expect("it should be there");
    assert!(refused(&text).contains("where its network has"), "{}", refused(&text));
    let good = PolicyTrainer::new(&engine, &small()).expect("the trainer should begin");
    for (name, from, to) in [("bands", 64, 0), ("draws", 8, 1), ("pairs", 8, 0)] {
        good.save(&path).expect("the checkpoint should be written");
        let text = std::fs::read_to_string(&path).expect("it should be there");
        let changed = text.replace(&format!("\"{name}\":{from},"), &format!("\"{name}\":{to},"));
        assert_ne!(changed, text, "{name} should be there");
        assert!(refused(&changed).contains(name), "{name} {to}: {}", refused(&changed));
    }
    std::fs::remove_file(&path).expect("it should be there");
    let missing = PolicyTrainer::resume(&engine, &path, None).expect_err("it should be refused").to_string();
    assert!(missing.contains("policy.checkpoint"), "{missing}");
}

#[test]
fn the_policy_that_is_built_in_is_that_of_the_defaults() {
    let expected = description(&PolicyOptions::default());
    assert_eq!(*Policy::builtin().description(), expected, "train it again, or take the options back");
}

#[test]
fn the_resolvent_takes_what_is_rough_out_of_gradients() {
    let description = description(&small());
    let resolvent = Resolvent::new(1.0, description.ranges(), description.bands);
    let count = description.weights();
    let rough = |n: usize| if n.is_multiple_of(2) { 1.0 } else { -1.0 };
    let mut gradient: Vec<f32> = (0..count).map(|n| 2.0 + rough(n)).collect();
    resolvent.smooth_gradient(&mut gradient);
    // Of the first tensor, of an even length: the mean stays, half the rate is divided by 1 + phi.
    let first = &gradient[..description.inputs() * description.hidden];
    let expected = |n: usize| 2.0 + rough(n) / 2.618_034;
    let most = first.iter().enumerate().map(|(n, value)| (value - expected(n)).abs()).fold(0.0, f32::max);
    assert!(most < 1e-5, "off by {most}");
}
