//! Background jobs: clients that send one batch of noisy speech after the other, as large as the engine suggests.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::desk::{FRAME_LEN, Shared, lock};
use super::operator::Running;
use super::sound::Sound;
use crate::chain::POWERS;
use crate::error::{Error, Result};
use crate::qos::Qos;
use crate::recording::results::RunOutput;
use crate::schedule::JobOptions;

/// Frames of the longest batch: 65.5 s of speech.
const MOST_FRAMES: usize = 1024;

/// The client of one level. Its share is none of its time when 0, one job right after the other when 1.
pub(super) fn work(shared: &Shared, engine: &Mutex<Option<Running>>, qos: Qos) {
    let mut samples = Arc::new(Vec::new());
    let mut output = RunOutput::default();
    while !shared.quits() {
        let share = lock(&shared.load)[qos];
        let running = lock(engine).clone();
        let Some(running) = running.filter(|_| share > 0.0) else {
            shared.rest(Duration::from_millis(50));
            continue;
        };
        let begin = Instant::now();
        match job(shared, &running, qos, &mut samples, output) {
            Ok(back) => output = back,
            Err(error) => {
                output = RunOutput::default();
                if !matches!(error, Error::ShutDown { .. }) {
                    tracing::debug!("a background job: {error}");
                }
                shared.rest(Duration::from_millis(100));
            }
        }
        let idle = begin.elapsed().mul_f32((1.0 - share).max(0.0) / share.max(0.01));
        shared.rest(idle.min(Duration::from_secs(2)));
    }
}

fn job(
    shared: &Shared,
    running: &Running,
    qos: Qos,
    samples: &mut Arc<Vec<f32>>,
    output: RunOutput,
) -> Result<RunOutput> {
    let target = lock(&shared.targets)[qos];
    let frames = running.engine.suggest_batch(qos, target)?.suggested_batch.min(MOST_FRAMES);
    if samples.len() != frames * FRAME_LEN {
        let mut speech = vec![0.0; frames * FRAME_LEN];
        Sound::Speech.open()?.play(&mut speech)?;
        *samples = Arc::new(speech);
    }
    let coherence_from = running.has_filter.then(|| POWERS.into());
    let options = JobOptions { qos, name: "background".into(), coherence_from, ..JobOptions::default() };
    let mut ticket = running.engine.submit_into(&running.plan, [Arc::clone(samples)], output, options)?;
    loop {
        if let Some(answer) = ticket.wait_timeout(Duration::from_millis(200)) {
            return answer;
        }
        if shared.quits() {
            ticket.cancel();
        }
    }
}
