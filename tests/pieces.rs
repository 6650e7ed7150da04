//! Signals pushed through a session, piece by piece.

use auricle::{FrameState, Layout, Plan, RunOutput};

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
    let mut session = plan.session(channels).expect("a session");
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
