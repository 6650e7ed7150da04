//! loom's primitives under the names that the crate uses.

pub(crate) use loom::sync::Mutex;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::sync::PoisonError;
use std::time::Duration;

use loom::sync::{Arc, Condvar};

/// Nobody looks twice: that would only be more of the same orders.
pub(crate) const AWAKE: Duration = Duration::ZERO;

/// As crossbeam's: a token, and a wait for it. (loom's own parking loses tokens where a thread waits for something else.)
#[derive(Debug)]
pub(crate) struct Parker(Unparker);

/// Gives the token.
#[derive(Clone, Debug)]
pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
    }

    pub(crate) fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub(crate) fn park(&self) {
        let (token, given) = &*self.0.0;
        let mut token = token.lock().unwrap_or_else(PoisonError::into_inner);
        while !*token {
            token = given.wait(token).unwrap_or_else(PoisonError::into_inner);
        }
        *token = false;
    }

    /// Models know no time: whoever may wait for so long may wait for ever.
    pub(crate) fn park_timeout(&self, _timeout: Duration) {
        self.park();
    }
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        let (token, given) = &*self.0;
        *token.lock().unwrap_or_else(PoisonError::into_inner) = true;
        given.notify_one();
    }
}
