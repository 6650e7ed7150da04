//! The memory of a wgpu device: what its buffers take, and what they may. A driver that runs out of memory fails in many
//! ways, and some never say so; a budget refuses before that.
//!
//! Buffers that hold nothing of worth between two runs are residents: where room is wanted, those leave that were used
//! least recently, and they are made anew when they are used again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Shared;
use crate::error::{Error, Result};
use crate::telemetry::MemorySnapshot;

/// What all devices of one adapter take together, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    budget: Option<u64>,
    used: AtomicU64,
    most: AtomicU64,
    /// Held while buffers are made, so that what others take for a moment, and give back when it is not enough, is in
    /// nobody's way.
    allocating: Mutex<()>,
    residents: Mutex<Vec<Weak<dyn Resident>>>,
    /// Counts uses, so that the least recent one can be told.
    turns: AtomicU64,
    evicted: AtomicU64,
}

/// Buffers that can leave the device while they are not in use. No call may wait for a run.
pub(super) trait Resident: Send + Sync + std::fmt::Debug {
    /// The turn in which it was used last.
    fn last_used(&self) -> u64;

    /// What it takes that could be made anew.
    fn held(&self) -> Held;

    /// Gives that up, unless it is in use; whether it did.
    fn evict(&self) -> bool {
        false
    }

    /// Gives up everything, unless it is in use: what could not be made anew is copied to the host first.
    fn sleep(&self) -> Result<()>;

    /// Brings back what went to sleep.
    fn wake(&self) -> Result<()>;

    /// Gives up everything if its device is lost: nobody can use it any more.
    fn leave_lost(&self);
}

/// Bytes that a resident could give up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// Now.
    pub(super) idle: u64,
    /// When the run that uses them is over.
    pub(super) in_use: u64,
}

/// What became of a wish for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MadeRoom {
    Yes,
    /// When runs are over, there may be.
    Later,
    Never,
}

impl Memory {
    pub(crate) fn new(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { budget, ..Self::default() })
    }

    /// The mark of a use that happens now.
    pub(super) fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, resident: Weak<dyn Resident>) {
        let mut residents = self.residents.lock().unwrap_or_else(PoisonError::into_inner);
        residents.retain(|resident| resident.strong_count() > 0);
        residents.push(resident);
    }

    /// Those that are there, without what lost devices held.
    fn residents(&self) -> Vec<Arc<dyn Resident>> {
        let residents = self.residents.lock().unwrap_or_else(PoisonError::into_inner);
        let residents: Vec<_> = residents.iter().filter_map(Weak::upgrade).collect();
        residents.iter().for_each(|resident| resident.leave_lost());
        residents
    }

    /// Lets go of what lost devices held.
    pub(super) fn leave_lost(&self) {
        drop(self.residents());
    }

    /// Sends away what was used least recently, until there is room for so many bytes. Nothing leaves when that could not
    /// be enough; where it is the driver that has none, that is when there is nothing to send away.
    fn make_room(&self, bytes: u64, is_drivers: bool) -> MadeRoom {
        let mut residents: Vec<_> =
            self.residents().into_iter().map(|one| (one.last_used(), one.held(), one)).collect();
        residents.sort_by_key(|(last_used, ..)| *last_used);
        let sum =
            |of: fn(&Held) -> u64| residents.iter().fold(0, |sum: u64, (_, held, _)| sum.saturating_add(of(held)));
        let (idle, in_use) = (sum(|held| held.idle), sum(|held| held.in_use));
        let used = self.used.load(Ordering::Relaxed);
        let target = match self.budget {
            Some(budget) if !is_drivers => budget.checked_sub(bytes),
            _ => (idle > 0).then(|| used.saturating_sub(bytes)),
        };
        let Some(target) = target.filter(|target| used.saturating_sub(in_use.saturating_add(idle)) <= *target) else {
            return MadeRoom::Never;
        };
        for (_, _, resident) in residents.into_iter().filter(|(_, held, _)| held.idle > 0) {
            let before = self.used.load(Ordering::Relaxed);
            if before <= target {
                break;
            }
            self.evicted.fetch_add(u64::from(resident.evict()), Ordering::Relaxed);
        }
        if self.used.load(Ordering::Relaxed) <= target { MadeRoom::Yes } else { MadeRoom::Later }
    }

    /// Sends away everything that is not in use; returns how many bytes that was.
    pub(super) fn sleep(&self) -> Result<u64> {
        let before = self.used.load(Ordering::Relaxed);
        let mut residents = self.residents();
        // What can be made anew goes first: then there is room to read back the rest.
        residents.sort_by_cached_key(|resident| resident.held().idle == 0);
        // All of them, even when one fails.
        let slept: Vec<Result<()>> = residents.iter().map(|resident| resident.sleep()).collect();
        slept.into_iter().collect::<Result<()>>()?;
        Ok(before.saturating_sub(self.used.load(Ordering::Relaxed)))
    }

    pub(super) fn wake(&self) -> Result<()> {
        let woken: Vec<Result<()>> = self.residents().iter().map(|resident| resident.wake()).collect();
        woken.into_iter().collect()
    }

    /// False where that would be more than the budget.
    fn take(&self, bytes: u64) -> bool {
        let within = |used: u64| used.checked_add(bytes).filter(|sum| self.budget.is_none_or(|budget| *sum <= budget));
        match self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(used) => {
                self.most.fetch_max(used + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn snapshot(&self) -> MemorySnapshot {
        let used_bytes = self.used.load(Ordering::Relaxed);
        let pressure = self.budget.map(|budget| used_bytes as f64 / budget.max(1) as f64);
        let most_bytes = self.most.load(Ordering::Relaxed);
        let evicted = self.evicted.load(Ordering::Relaxed);
        MemorySnapshot { used_bytes, most_bytes, budget_bytes: self.budget, pressure, evicted }
    }
}

/// Memory that is given back when this is dropped: to be kept beside the buffers that it stands for.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    memory: Option<Arc<Memory>>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Makes buffers within the budget.
pub(super) struct Allocator<'a> {
    pub(super) device: &'a wgpu::Device,
    memory: &'a Arc<Memory>,
    taken: Cell<u64>,
    /// What did not fit.
    refused: Cell<Option<u64>>,
}

impl Allocator<'_> {
    /// A buffer; mapped, if it is to be written. When the budget does not allow it, a small one, and nothing of what is
    /// being made will be used.
    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.make(label, bytes, usage, usage.contains(wgpu::BufferUsages::MAP_WRITE))
    }

    /// A buffer that holds `data`.
    pub(super) fn filled(&self, label: &str, data: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let buffer = self.make(label, data.len() as u64, usage, true);
        // A failed allocation shows in the error scope around this.
        if self.refused.get().is_none()
            && let Ok(mut view) = buffer.get_mapped_range_mut(..)
        {
            view.slice(..data.len()).copy_from_slice(data);
        }
        buffer.unmap();
        buffer
    }

    fn make(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages, mapped_at_creation: bool) -> wgpu::Buffer {
        // An empty binding is not allowed, and a struct of a uniform is a multiple of 16 bytes.
        let wanted = bytes.max(16).next_multiple_of(16);
        let fits = self.refused.get().is_none() && self.memory.take(wanted);
        if fits {
            self.taken.set(self.taken.get() + wanted);
        } else {
            self.refused.set(Some(self.refused.get().unwrap_or(0) + wanted));
        }
        let size = if fits { wanted } else { 16 };
        self.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation })
    }
}

/// How often a driver may say that it has no memory, before it is believed.
const MOST_FAILURES: u32 = 3;
/// How long to wait for room that runs of others take, which are over within moments.
const LONGEST_WAIT_FOR_ROOM: Duration = Duration::from_secs(10);

impl Shared {
    /// Runs `make`, which creates buffers, within the budget, and catches what goes wrong there. Where there is no room,
    /// residents are sent away for it; where those are in use, it waits for them, so the caller may not use any itself.
    pub(super) fn allocate<T>(
        &self,
        action: &'static str,
        make: impl Fn(&Allocator<'_>) -> T,
    ) -> Result<(T, Reservation)> {
        self.allocate_noting(action, &AtomicU64::new(0), make)
    }

    /// The same; how much it was is in `noted` before anybody else looks for room.
    pub(super) fn allocate_noting<T>(
        &self,
        action: &'static str,
        noted: &AtomicU64,
        make: impl Fn(&Allocator<'_>) -> T,
    ) -> Result<(T, Reservation)> {
        let start = Instant::now();
        let mut failures = 0;
        loop {
            let alone = self.memory.allocating.lock().unwrap_or_else(PoisonError::into_inner);
            let (taken, refused) = (Cell::new(0), Cell::new(None));
            let allocator = Allocator { device: &self.device, memory: &self.memory, taken, refused };
            let made = self.create(action, || make(&allocator));
            let reservation = Reservation { memory: Some(Arc::clone(&self.memory)), bytes: allocator.taken.get() };
            let refused = allocator.refused.get();
            let error = match (made, refused) {
                (Ok(made), None) => {
                    noted.store(reservation.bytes, Ordering::Relaxed);
                    return Ok((made, reservation));
                }
                (Err(error @ Error::OutOfMemory { .. }), None) if failures < MOST_FAILURES => error,
                (Err(error), None) => return Err(error),
                (_, Some(refused)) => self.over_budget(action, &reservation, refused),
            };
            failures += u32::from(refused.is_none());
            let wanted = refused.unwrap_or(0) + reservation.bytes;
            drop(reservation);
            let room = self.memory.make_room(wanted, refused.is_none());
            drop(alone);
            match room {
                MadeRoom::Yes => {}
                MadeRoom::Later if start.elapsed() < LONGEST_WAIT_FOR_ROOM => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                MadeRoom::Later | MadeRoom::Never => return Err(error),
            }
        }
    }

    fn over_budget(&self, action: &'static str, reservation: &Reservation, refused: u64) -> Error {
        let used = self.memory.used.load(Ordering::Relaxed).saturating_sub(reservation.bytes);
        let budget = self.memory.budget.unwrap_or(u64::MAX);
        let wanted = refused + reservation.bytes;
        let reason = format!("{wanted} bytes are wanted, {used} are in use, and the budget is {budget}");
        Error::OutOfMemory { device: self.name.clone(), action, reason }
    }
}
