//! Signals to test with, the same on every run, and ways to cut them into pieces.

use auricle::{FrameState, Layout, Plan, RunOutput};

/// Numbers without a pattern (xorshift), the same for the same seed.
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // The first numbers still show the seed.
    for _ in 0..8 {
        next();
    }
    next
}

/// White noise, evenly from -1 to 1.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut next = random(seed);
    (0..len).map(|_| (next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// Frames of noise, of which those with `is_loud` keep their level and the others are a millionth as loud.
pub(crate) fn bursts(floats: usize, frames: usize, seed: u64, is_loud: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut samples = noise(floats * frames, seed);
    for (_, frame) in samples.chunks_mut(floats).enumerate().filter(|(index, _)| !is_loud(*index)) {
        frame.iter_mut().for_each(|x| *x *= 1e-6);
    }
    samples
}

/// What came back, channel by channel: states and floats.
pub(crate) struct Pieces {
    pub(crate) states: Vec<Vec<FrameState>>,
    pub(crate) floats: Vec<Vec<f32>>,
}

impl Pieces {
    fn take(&mut self, output: &RunOutput, name: &str) {
        let channels = self.states.len();
        let floats = output.dense(name).expect("the output should be there");
        let (frames, len) = (output.frames(), floats.len() / channels);
        for channel in 0..channels {
            self.states[channel].extend(&output.states()[channel * frames..(channel + 1) * frames]);
            self.floats[channel].extend(&floats[channel * len..(channel + 1) * len]);
        }
    }
}

/// Pushes a signal through a session, `lengths` frames at a time (over and over), and finishes it.
pub(crate) fn push_in_pieces(plan: &Plan, samples: &[f32], channels: usize, lengths: &[usize], name: &str) -> Pieces {
    let floats = plan.inputs()[0].1.floats();
    let frames = samples.len() / floats / channels;
    let mut pieces = Pieces { states: vec![Vec::new(); channels], floats: vec![Vec::new(); channels] };
    let mut session = plan.session(channels);
    let mut output = RunOutput::new(Layout::Dense);
    let mut begin = 0;
    for length in lengths.iter().cycle() {
        let end = (begin + length).min(frames);
        let piece = |channel: usize| &samples[(channel * frames + begin) * floats..(channel * frames + end) * floats];
        let batch: Vec<f32> = (0..channels).flat_map(piece).copied().collect();
        session.push(&[&batch], &mut output).expect("the push should succeed");
        pieces.take(&output, name);
        begin = end;
        if begin == frames {
            break;
        }
    }
    session.finish(&mut output).expect("the session should finish");
    pieces.take(&output, name);
    pieces
}
