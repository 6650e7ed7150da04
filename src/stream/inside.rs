//! Who works on the members of a group must not ask for them: it would wait for itself.

use std::cell::Cell;

use crate::error::{Error, Result};

thread_local! {
    /// Whether this thread works on the members of a group.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// This thread works on the members of a group as long as this is there.
pub(super) struct Inside;

impl Inside {
    pub(super) fn enter() -> Self {
        IS_INSIDE.set(true);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
    }
}

/// # Errors
/// When this thread works on the members of a group: it would wait for itself, or for another that waits for it.
pub(super) fn refuse_inside(what: &'static str) -> Result<()> {
    if IS_INSIDE.get() {
        let expected = "a callback of a stream hands its samples over; this is for other threads";
        return Err(Error::setting("the thread", format!("that of a stream's callback where {what}"), expected));
    }
    Ok(())
}
