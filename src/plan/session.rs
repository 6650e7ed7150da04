//! A session: channels that go on together from one push to the next.

use std::sync::Arc;

use super::denoising::Denoising;
use super::frames::FramesSession;
use super::{Compiled, Plan};
use crate::device::Hold;
use crate::error::{Error, Result};
use crate::qos::Qos;
use crate::recording::batch::together;
use crate::recording::results::RunOutput;

/// Channels that go on from one push to the next: the gate's hold, the filter's neighbours and the denoiser's state carry
/// over, so that the pieces come out as the whole would have.
///
/// A push gives back the frames up to the last but [`Plan::latency_frames`](crate::Plan::latency_frames), and `finish`
/// gives the rest. A push that is refused because of its samples changes nothing: other samples can be pushed in their
/// place. After an error of the device the session has to be opened anew, and is then on another one;
/// [`Snapshot::health`](crate::Snapshot::health) says so. (A [`Stream`](crate::Stream) goes on by itself.)
#[derive(Debug)]
pub struct Session {
    plan: Arc<Compiled>,
    /// Whose it is, and on which command queue, where nobody else looks after the device.
    owner: Option<(Plan, Qos)>,
    /// All channels.
    which: Vec<u32>,
    first: FramesSession,
    denoising: Option<Denoising>,
    /// An earlier call took its input and failed on the way through.
    is_broken: bool,
    _holds: Vec<Hold>,
}

impl Session {
    pub(crate) fn new(plan: &Arc<Compiled>, channels: usize) -> Result<Self> {
        Compiled::check_channels(channels)?;
        let first = plan.first.session(channels);
        let denoising = plan.denoise().map(|step| Denoising::new(plan, step, channels)).transpose()?;
        Ok(Self {
            plan: Arc::clone(plan),
            owner: None,
            which: (0..).take(channels).collect(),
            first,
            denoising,
            is_broken: false,
            _holds: plan.hold(),
        })
    }

    /// One that sees to another device when its own fails.
    pub(crate) fn open(plan: &Plan, qos: Qos, channels: usize) -> Result<Self> {
        let mut session = plan.run_on(qos, |compiled| Self::new(compiled, channels))?;
        session.owner = Some((plan.clone(), qos));
        Ok(session)
    }

    /// The next session will be on another device, if this one failed.
    fn see_to(&self, error: &Error) {
        if let Some((plan, qos)) = &self.owner {
            plan.goes_on_after(error, *qos, &self.plan, false);
        }
    }

    /// Takes the next frames of every channel, the same number for each, and gives back those that are ready.
    ///
    /// # Errors
    /// As [`Plan::run`](crate::Plan::run); frames are then counted from the start of the session.
    pub fn push(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        let taken = self.take(inputs, output);
        taken.inspect_err(|error| {
            output.clear();
            self.see_to(error);
        })
    }

    /// Gives back the frames that were held back, and starts over: what is pushed next is a new signal.
    pub fn finish(&mut self, output: &mut RunOutput) -> Result<()> {
        let ended = self.end(output).inspect_err(|_| output.clear());
        let cleared =
            ended.and_then(|()| self.denoising.as_mut().map_or(Ok(()), |denoising| denoising.clear(&self.which)));
        cleared.inspect_err(|error| self.see_to(error))
    }

    /// Replaces, for one channel, the factors that the outputs of a scaled layer of the denoiser are multiplied by: so one
    /// model serves channels of many kinds. Layers are counted from 0 through all parts of the model.
    ///
    /// They hold until the session is finished; then those of the model do again.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no denoiser, no such channel, or no such layer, when the layer is not scaled, when
    /// it has another number of outputs, or when a factor is not finite. What the device reports.
    pub fn set_scale(&mut self, channel: usize, layer: usize, scale: &[f32]) -> Result<()> {
        let refused = |expected: String| {
            let actual = format!("{} factors for channel {channel}, layer {layer}", scale.len());
            Err(Error::setting("the scale", actual, expected))
        };
        let Some(denoising) = &mut self.denoising else { return refused("the graph has no denoiser".to_owned()) };
        if channel >= self.which.len() {
            return refused(format!("the session has {} channels", self.which.len()));
        }
        let parts = &denoising.step().denoise.model.description().parts;
        let Some(layer_is) = parts.iter().flat_map(|part| &part.layers).nth(layer) else {
            return refused("the model has no such layer".to_owned());
        };
        if !layer_is.scaled {
            return refused(format!("layer `{}` is not scaled", layer_is.name));
        }
        if scale.len() != layer_is.outputs || scale.iter().any(|factor| !factor.is_finite()) {
            return refused(format!("layer `{}` takes {} finite factors", layer_is.name, layer_is.outputs));
        }
        denoising.set_scale(channel, layer, scale)
    }

    fn check_whole(&self) -> Result<()> {
        if !self.is_broken {
            return Ok(());
        }
        Err(Error::BrokenSession)
    }

    /// Everything at once.
    pub(super) fn run_whole(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        self.advance(inputs)?;
        self.end(output)
    }

    fn take(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        if self.denoising.is_none() {
            return self.first.push(&self.plan.first, &self.which, &together(inputs), output);
        }
        self.advance(inputs)?;
        if let Some(denoising) = &mut self.denoising {
            let ready = self.which.first().map_or(0, |channel| denoising.ready(*channel, self.plan.latency_frames()));
            denoising.give(&self.which, ready, output);
        }
        Ok(())
    }

    /// Through everything that is there; what comes out waits.
    fn advance(&mut self, inputs: &[&[f32]]) -> Result<()> {
        self.check_whole()?;
        let Some(denoising) = &mut self.denoising else { return Ok(()) };
        // Also by a panic of a kernel's closure.
        self.is_broken = true;
        let advanced = denoising.advance(&self.plan, &mut self.first, &self.which, &together(inputs));
        self.is_broken = advanced.is_err() && denoising.has_taken();
        advanced
    }

    /// Gives back the frames that were held back. It has to be the last thing that is asked of the session.
    pub(crate) fn end(&mut self, output: &mut RunOutput) -> Result<()> {
        self.check_whole()?;
        let Some(denoising) = &mut self.denoising else {
            return self.first.finish(&self.plan.first, &self.which, output);
        };
        // Also by a panic of a kernel's closure.
        self.is_broken = true;
        let finished = denoising.finish(&self.plan, &mut self.first, &self.which);
        self.is_broken = finished.is_err() && denoising.has_taken();
        finished?;
        let left = self.which.first().map_or(0, |channel| denoising.ready(*channel, 0));
        denoising.give(&self.which, left, output);
        Ok(())
    }
}
