//! What can be asked of a stream from anywhere while it runs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::inside::refuse_inside;
use super::{Home, Shared, StreamCounters};
use crate::error::Result;
use crate::qos::Qos;

/// A handle to a stream, for any thread and as many as there need be.
///
/// It does not keep the stream open. Of one that is over, it keeps what is told here and nothing else: not its rings,
/// its plan or its device.
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

    /// The level that serves it now, or did at last.
    pub fn qos(&self) -> Qos {
        self.shared.front().1.qos
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
        self.shared.poke();
    }

    /// Goes on in another home.
    pub(crate) fn move_to(&self, home: &Home) -> Result<()> {
        refuse_inside("a stream is moved")?;
        let _alone = self.shared.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.shared.group().filter(|_| !self.shared.is_over());
        let from = from.ok_or_else(|| self.shared.end_error())?;
        let to = home.like(&from)?;
        if Arc::ptr_eq(&from, &to) {
            return Ok(());
        }
        from.move_to(&self.shared, &to)
    }
}
