//! What can be asked of a stream from anywhere while it runs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::group::refuse_inside;
use super::{Shared, StreamCounters};
use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Plan;
use crate::qos::Qos;

/// A handle to a stream, for any thread and as many as there need be. It does not keep the stream open.
#[derive(Clone, Debug)]
pub struct StreamControl {
    shared: Arc<Shared>,
}

impl StreamControl {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What became of what was pushed.
    pub fn counters(&self) -> StreamCounters {
        self.shared.counters()
    }

    /// The level that serves it now.
    pub fn qos(&self) -> Qos {
        self.shared.home().1.qos
    }

    /// Whether all has come out, or never will.
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// What is pushed waits, and when the ring is full the back-pressure decides. Nothing is lost by this alone. The pause
    /// ends when the input is dropped.
    pub fn pause(&self) {
        self.shared.is_paused.store(true, Ordering::Release);
    }

    /// Goes on after a [pause](Self::pause).
    pub fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::Release);
        self.shared.home().1.poke();
    }

    /// Moves the stream to another level, or to another device, with its state: what comes out goes on without a gap. The
    /// plan must be of the same graph as the one that the stream was opened with, and compiled by `engine`, which may be
    /// any engine. What was pushed and waits moves along.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when the plan is another one, and in a stream's callback, [`Error::StreamFinished`](crate::Error::StreamFinished) when there is
    /// nothing left to move, and what the new device reports while it makes room: the stream then stays where it was. When
    /// a device fails with the state on its way, the stream fails.
    pub fn move_to(&self, engine: &Engine, plan: &Plan, qos: Qos) -> Result<()> {
        refuse_inside("a stream is moved")?;
        let _alone = self.shared.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, from) = self.shared.home();
        let to = engine.stream_home(plan, qos)?.like(&from)?;
        if Arc::ptr_eq(&from, &to) {
            return Ok(());
        }
        from.move_to(&self.shared, &to)
    }
}
