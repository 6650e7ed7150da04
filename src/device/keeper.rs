//! Who counts on buffers: where a live signal does, they do not leave the device for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many live signals count on something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeper(Arc<AtomicUsize>);

/// One that does, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Keeper);

impl Keeper {
    pub(crate) fn hold(&self) -> Hold {
        self.0.fetch_add(1, Ordering::Relaxed);
        Hold(self.clone())
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
