//! A lane, as the code that runs on it sees it, and the guard that keeps one.

use std::sync::Arc;

use crossbeam::channel::Sender;

use super::LaneId;
use super::submissions::Submissions;
use crate::device::{Device, Processor};
use crate::error::Result;
use crate::plan::{Plan, Session};
use crate::qos::Qos;
use crate::recording::results::{Layout, RunOutput};
use crate::telemetry::DeviceInfo;

/// What a lane's thread keeps from one task to the next: not the device, so that one that has failed goes, although the
/// lane has nothing to do.
#[derive(Debug)]
pub(super) struct LaneSeat {
    pub(super) id: LaneId,
    pub(super) processor: Arc<Processor>,
    pub(super) submissions: Arc<Submissions>,
}

impl LaneSeat {
    /// The lane for the next task, with what serves its level now.
    ///
    /// # Errors
    /// What the driver says when it has no command queue for it.
    pub(super) fn lane(&self) -> Result<Lane> {
        let device = self.processor.device(self.id.qos)?;
        Ok(Lane { id: self.id, device, submissions: Arc::clone(&self.submissions) })
    }
}

/// A lane, as the code that runs on it sees it.
#[derive(Clone, Debug)]
pub struct Lane {
    id: LaneId,
    device: Arc<dyn Device>,
    submissions: Arc<Submissions>,
}

impl Lane {
    /// The level that it belongs to.
    pub fn qos(&self) -> Qos {
        self.id.qos
    }

    /// Which of its level's lanes it is, from 0.
    pub fn index(&self) -> usize {
        self.id.index
    }

    /// The device that it drives.
    pub fn device(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// The wgpu device and queue that are the lane's level's own; none on the CPU. What is submitted there runs beside the
    /// engine's own work, which knows nothing of it: keep dispatches short.
    pub fn wgpu(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        self.device.handles()
    }

    /// See [`Submissions::undisturbed_by_more_urgent`].
    pub(super) fn undisturbed(&self) -> Option<u64> {
        self.submissions.undisturbed_by_more_urgent(self.id.qos)
    }

    /// Runs a plan here and now, in one piece: on the CPU, its cores are busy with it until it is done, also for a `High`
    /// job that needs more than one. [`submit`](crate::Engine::submit) large ones.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run(&self, plan: &Plan, inputs: &[&[f32]], channels: usize) -> Result<RunOutput> {
        let mut output = RunOutput::new(Layout::Dense);
        plan.run_on(self.id.qos, |compiled| compiled.run_into(inputs, channels, &mut output))?;
        Ok(output)
    }

    /// Opens a session of a plan on this lane's command queue.
    ///
    /// # Errors
    /// As [`Plan::session`].
    pub fn session(&self, plan: &Plan, channels: usize) -> Result<Session> {
        Session::open(plan, self.id.qos, channels)
    }
}

/// A lane that is kept for its holder until this is dropped, also by a panic. Meanwhile no job runs on it.
#[derive(Debug)]
pub struct LaneGuard {
    pub(super) lane: Lane,
    pub(super) _release: Sender<()>,
}

impl std::ops::Deref for LaneGuard {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.lane
    }
}
