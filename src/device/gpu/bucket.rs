//! A bucket of a plan: the buffers for batches of up to some size. They leave the device where room is wanted and nothing
//! is in flight in them, and come back with the next batch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Shared;
use super::buffers::BufferSets;
use super::gate::GatePipelines;
use super::memory::{Held, Resident};
use super::pipeline::Pipeline;
use crate::error::Result;
use crate::recording::Recording;

/// What buffers are bound to.
#[derive(Debug)]
pub(super) struct Kernels {
    pub(super) shared: Arc<Shared>,
    pub(super) recording: Arc<Recording>,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) gate_pipelines: Option<GatePipelines>,
}

/// Buffers for batches of at most so many live frames, and so many frames of input.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) units: usize,
    /// Frames of input that fit: live ones and neighbours that are not.
    pub(super) slots: usize,
    /// What it takes while it is there.
    pub(super) bytes: u64,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    kernels: Arc<Kernels>,
    units: usize,
    slots: usize,
    /// Whoever uses them holds them, too.
    sets: Mutex<Option<Arc<BufferSets>>>,
    last_used: AtomicU64,
    sleeps: AtomicBool,
}

impl Bucket {
    pub(super) fn new(kernels: &Arc<Kernels>, units: usize, slots: usize) -> Result<Self> {
        let room = Arc::new(Room {
            kernels: Arc::clone(kernels),
            units,
            slots,
            sets: Mutex::default(),
            last_used: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
        });
        let bytes = room.sets()?.bytes();
        let resident: Weak<Room> = Arc::downgrade(&room);
        kernels.shared.memory.add(resident);
        Ok(Self { units, slots, bytes, room })
    }

    /// Its buffers. They stay while this is held. Where they have to be made, it may
    /// wait for those in use elsewhere: so the caller holds none.
    pub(super) fn sets(&self) -> Result<Arc<BufferSets>> {
        self.room.sets()
    }

    /// Gives up the buffers, which are in disorder; the next use makes new ones.
    pub(super) fn forget(&self) {
        self.room.sets.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Its buffers, if they are there.
    pub(super) fn sets_if_here(&self) -> Option<Arc<BufferSets>> {
        let sets = self.room.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sets.inspect(|_| self.room.is_used())
    }
}

impl Room {
    fn sets(&self) -> Result<Arc<BufferSets>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_used();
        if let Some(sets) = &*sets {
            return Ok(Arc::clone(sets));
        }
        let made = Arc::new(BufferSets::new(&self.kernels, self.units, self.slots)?);
        self.sleeps.store(false, Ordering::Relaxed);
        *sets = Some(Arc::clone(&made));
        Ok(made)
    }

    fn is_used(&self) {
        self.last_used.store(self.kernels.shared.memory.turn(), Ordering::Relaxed);
    }

    /// Takes the buffers out, where they are there and nobody uses them.
    fn take(&self) -> Option<Arc<BufferSets>> {
        self.sets.try_lock().ok()?.take_if(|sets| Arc::strong_count(sets) == 1)
    }
}

impl Resident for Room {
    fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    fn held(&self) -> Held {
        let Ok(sets) = self.sets.try_lock() else { return Held::UNKNOWN };
        let Some(sets) = &*sets else { return Held::default() };
        let bytes = sets.bytes();
        if Arc::strong_count(sets) == 1 { Held { idle: bytes, in_use: 0 } } else { Held { idle: 0, in_use: bytes } }
    }

    fn evict(&self) {
        drop(self.take());
    }

    fn sleep(&self) -> Result<()> {
        if self.take().is_some() {
            self.sleeps.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn wake(&self) -> Result<()> {
        if self.sleeps.load(Ordering::Relaxed) { self.sets().map(drop) } else { Ok(()) }
    }
}
