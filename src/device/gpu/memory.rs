//! The memory of a wgpu device: what its buffers take, and what they may. A driver that runs out of memory fails in many
//! ways, and some never say so; a budget refuses before that.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;
use crate::error::{Error, Result};
use crate::telemetry::MemorySnapshot;

/// What all devices of one adapter take together, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    budget: Option<u64>,
    used: AtomicU64,
    most: AtomicU64,
}

impl Memory {
    pub(crate) fn new(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { budget, ..Self::default() })
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
        MemorySnapshot { used_bytes, most_bytes, budget_bytes: self.budget, pressure }
    }
}

/// Memory that is given back when this is dropped: to be kept beside the buffers that it stands for.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    memory: Option<Arc<Memory>>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
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

impl Shared {
    /// Runs `make`, which creates buffers, within the budget, and catches what goes wrong there.
    pub(super) fn allocate<T>(
        &self,
        action: &'static str,
        make: impl FnOnce(&Allocator<'_>) -> T,
    ) -> Result<(T, Reservation)> {
        let (taken, refused) = (Cell::new(0), Cell::new(None));
        let allocator = Allocator { device: &self.device, memory: &self.memory, taken, refused };
        let made = self.create(action, || make(&allocator));
        let reservation = Reservation { memory: Some(Arc::clone(&self.memory)), bytes: allocator.taken.get() };
        match allocator.refused.get() {
            None => Ok((made?, reservation)),
            Some(refused) => {
                drop(made);
                let used = self.memory.used.load(Ordering::Relaxed) - reservation.bytes;
                let budget = self.memory.budget.unwrap_or(u64::MAX);
                let wanted = refused + reservation.bytes;
                let reason = format!("{wanted} bytes are wanted, {used} are in use, and the budget is {budget}");
                Err(Error::OutOfMemory { device: self.name.clone(), action, reason })
            }
        }
    }
}
