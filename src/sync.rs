//! What waiting and waking are made of. `tests/models` puts loom's in the place of these, and goes through every order in
//! which threads can meet.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::time::Duration;

pub(crate) use crossbeam::sync::{Parker, Unparker};

/// How long a thread looks again and again before it sleeps: about as long as waking up takes.
pub(crate) const AWAKE: Duration = Duration::from_micros(30);
