//! A bucket of a plan: the buffers for batches of up to some size. They leave the device where room is wanted and nothing
//! is in flight in them, and come back with the next batch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::Shared;
use super::buffers::BufferSets;
use super::gate::GatePipelines;
use super::memory::{Held, Resident};
use super::pipeline::Pipeline;
use crate::device::Keeper;
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

/// One size of batches: at most so many live frames, and so many frames of input.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) units: usize,
    /// Frames of input that fit: live ones and neighbours that are not.
    pub(super) slots: usize,
    buffers: Arc<BucketBuffers>,
}

/// Its buffers, or the place where they come back.
#[derive(Debug)]
struct BucketBuffers {
    kernels: Arc<Kernels>,
    units: usize,
    slots: usize,
    /// Whoever uses them holds them, too.
    sets: Mutex<Option<Arc<BufferSets>>>,
    /// What the sets take, also while others have them locked.
    bytes: AtomicU64,
    keeper: OnceLock<Keeper>,
    last_used: AtomicU64,
    sleeps: AtomicBool,
}

impl Bucket {
    pub(super) fn new(kernels: &Arc<Kernels>, units: usize, slots: usize) -> Result<Self> {
        let buffers = Arc::new(BucketBuffers {
            kernels: Arc::clone(kernels),
            units,
            slots,
            sets: Mutex::default(),
            bytes: AtomicU64::new(0),
            keeper: OnceLock::new(),
            last_used: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
        });
        buffers.sets()?;
        let resident: Weak<BucketBuffers> = Arc::downgrade(&buffers);
        kernels.shared.memory.add(resident);
        Ok(Self { units, slots, buffers })
    }

    /// Bytes that it takes now.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.bytes.load(Ordering::Relaxed)
    }

    /// Its buffers. They stay while this is held. Where they have to be made, it may wait for those in use elsewhere: so the
    /// caller holds none.
    pub(super) fn sets(&self) -> Result<Arc<BufferSets>> {
        self.buffers.sets()
    }

    /// Gives up the buffers, which are in disorder; the next use makes new ones.
    pub(super) fn forget(&self) {
        let mut sets = self.buffers.sets.lock().unwrap_or_else(PoisonError::into_inner);
        *sets = None;
        self.buffers.bytes.store(0, Ordering::Relaxed);
    }

    /// While that is held, the buffers do not leave for others.
    pub(super) fn keep_for(&self, keeper: &Keeper) {
        // Once, when the plan is made.
        self.buffers.keeper.get_or_init(|| keeper.clone());
    }

    /// Brings back what went to sleep.
    pub(super) fn wake(&self) -> Result<()> {
        Resident::wake(&*self.buffers)
    }

    /// Its buffers, if they are there.
    pub(super) fn sets_if_here(&self) -> Option<Arc<BufferSets>> {
        let sets = self.buffers.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sets.inspect(|_| self.buffers.is_used())
    }
}

impl BucketBuffers {
    fn sets(&self) -> Result<Arc<BufferSets>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_used();
        if let Some(sets) = &*sets {
            return Ok(Arc::clone(sets));
        }
        let made = Arc::new(BufferSets::new(&self.kernels, self.units, self.slots, &self.bytes)?);
        self.sleeps.store(false, Ordering::Relaxed);
        *sets = Some(Arc::clone(&made));
        Ok(made)
    }

    fn is_used(&self) {
        self.last_used.store(self.kernels.shared.memory.turn(), Ordering::Relaxed);
    }

    /// Lets the buffers go, where they are there and nobody uses them; false where not.
    fn leave(&self) -> bool {
        let Ok(mut sets) = self.sets.try_lock() else { return false };
        // They go before they count as gone, so that room is never missing from both sides.
        let left = sets.take_if(|sets| Arc::strong_count(sets) == 1).map(drop).is_some();
        if left {
            self.bytes.store(0, Ordering::Relaxed);
        }
        left
    }

    fn is_kept(&self) -> bool {
        self.keeper.get().is_some_and(Keeper::is_held)
    }
}

impl Resident for BucketBuffers {
    fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    fn held(&self) -> Held {
        if self.is_kept() {
            return Held::default();
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        let is_one = |sets: &Option<Arc<BufferSets>>| sets.as_ref().is_some_and(|sets| Arc::strong_count(sets) == 1);
        let is_idle = self.sets.try_lock().is_ok_and(|sets| is_one(&sets));
        if is_idle { Held { idle: bytes, in_use: 0 } } else { Held { idle: 0, in_use: bytes } }
    }

    fn evict(&self) -> bool {
        !self.is_kept() && self.leave()
    }

    fn sleep(&self) -> Result<()> {
        if self.leave() {
            self.sleeps.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn wake(&self) -> Result<()> {
        let wakes = self.sleeps.load(Ordering::Relaxed) && !self.kernels.shared.is_lost();
        if wakes { self.sets().map(drop) } else { Ok(()) }
    }

    fn leave_lost(&self) {
        if self.kernels.shared.is_lost() {
            self.leave();
        }
    }
}
