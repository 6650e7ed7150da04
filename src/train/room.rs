//! Rooms: what a microphone hears of a sound beside the sound itself.

use super::CLIP_LEN;
use super::signal::whole;
use crate::random::Random;

/// An impulse response of [`CLIP_LEN`] samples: the direct sound at 0, some early reflections, then noise that dies away.
pub(crate) fn impulse_response(reverberation_s: f32, direct_to_rest_db: f32, random: &mut Random) -> Vec<f32> {
    let rate = super::SAMPLE_RATE_HZ as f32;
    let mut response = vec![0.0; CLIP_LEN];
    let length = whole(reverberation_s * 1.2 * rate).clamp(400, CLIP_LEN / 2);
    let per_sample = -6.9 / (reverberation_s * rate);
    let onset = random.between(0.003, 0.02) * rate;
    // The walls swallow the treble sooner: a one-pole low-pass that closes with time.
    let (damping, mut smooth) = (random.between(0.0, 0.75), 0.0);
    for (index, value) in response.iter_mut().enumerate().take(length).skip(1) {
        let time = index as f32;
        let dense = (time / onset).min(1.0).powi(2);
        let closed = damping * (time / length as f32).sqrt();
        smooth = closed * smooth + (1.0 - closed) * random.normal();
        *value = smooth * dense * (per_sample * time).exp();
    }
    for _ in 0..2 + random.below(10) {
        let at = 8 + random.below(whole(0.03 * rate));
        response[at] += random.between(-1.0, 1.0) * 3.0 * (per_sample * at as f32).exp();
    }
    let energy: f32 = response.iter().map(|value| value * value).sum();
    let scale = 10.0_f32.powf(-direct_to_rest_db / 20.0) / energy.max(1e-12).sqrt();
    response.iter_mut().for_each(|value| *value *= scale);
    response[0] = 1.0;
    response
}

/// A random room, from a studio to a stairwell.
pub(crate) fn any(random: &mut Random) -> Vec<f32> {
    let reverberation = random.between_log(0.12, 1.1);
    let direct = random.between(-4.0, 18.0);
    impulse_response(reverberation, direct, random)
}
