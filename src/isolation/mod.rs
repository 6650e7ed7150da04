//! Isolation on a real machine: threads on cores of their own, and memory that is there when it is touched.
//!
//! Nothing here needs a privilege, and nothing fails for the lack of one: each step goes as far as the system lets it, and
//! the report says how far that was.

mod placement;

mod topology;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::placement::{Placement, place};
use self::topology::node_of_memory;
pub use self::topology::{Cpu, Topology};
use crate::error::Result;
use crate::memory::MemoryTier;
use crate::qos::{PerQos, Qos};

/// What an engine asks of the system for its threads and its memory. Nothing unless set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IsolationOptions {
    /// Each lane, and the thread that looks after streams, stays on a physical core of its own, away from the others and
    /// from their hyper-threads; where there are too few, all but those of `High` share. On machines that do other work
    /// too, this does harm: a thread cannot go where there is room.
    pub pin_threads: bool,
    /// The processors to choose from, by the system's numbers. When empty, all that the process may use, and first of all
    /// those that the system keeps free (`isolcpus`).
    pub cpus: Vec<usize>,
    /// The rings of streams are kept in physical memory, so that no page fault comes in between. The system locks whole
    /// pages and does not count how often: where two rings share one, it is unlocked when the first of them goes.
    pub lock_memory: bool,
}

/// What came of [`IsolationOptions`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct IsolationReport {
    /// Threads that were to stay somewhere, as they started.
    pub threads: Vec<IsolatedThread>,
    /// Memory that was to be locked.
    pub memory: LockedMemory,
    /// What could not be done, and what to beware of.
    pub notes: Vec<String>,
}

/// A thread of the engine's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct IsolatedThread {
    /// Its name.
    pub name: String,
    /// The processor that it was to stay on.
    pub cpu: usize,
    /// The NUMA node of that.
    pub node: usize,
    /// Whether the system agreed.
    pub is_pinned: bool,
}

/// Memory that was to be locked.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct LockedMemory {
    /// What all of it reached; [`MemoryTier::Plain`] where there was none so far.
    pub tier: MemoryTier,
    /// Bytes that are or were locked.
    pub locked_bytes: u64,
    /// Bytes that the system did not lock, and that were touched instead.
    pub prefaulted_bytes: u64,
    /// The NUMA nodes that it lies on, as far as the system tells.
    pub nodes: Vec<usize>,
}

/// Keeps memory locked until it is dropped, which must be before the memory is given back.
#[derive(Default)]
pub(crate) struct Lock {
    guards: Vec<region::LockGuard>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lock").field("parts", &self.guards.len()).finish()
    }
}

/// What an engine's threads ask when they start, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    topology: Topology,
    placement: Placement,
    locks_memory: bool,
    report: Mutex<IsolationReport>,
    started: Condvar,
}

/// How long a report waits for threads that are just starting.
const STARTING: Duration = Duration::from_secs(1);

/// The name of a lane's thread.
pub(crate) fn lane_name(qos: Qos, index: usize) -> String {
    format!("auricle.lane.{qos}.{index}")
}

/// The name of the thread that looks after streams.
pub(crate) const OBSERVER_NAME: &str = "auricle.streams";

impl Isolation {
    /// For an engine with so many lanes.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] when a processor is not there.
    pub(crate) fn new(options: &IsolationOptions, lanes: &PerQos<usize>) -> Result<Arc<Self>> {
        if !options.pin_threads {
            return Ok(Arc::new(Self { locks_memory: options.lock_memory, ..Self::default() }));
        }
        let topology = Topology::of_this_machine();
        let of = |qos: Qos| (0..lanes[qos]).map(move |index| lane_name(qos, index));
        let mut threads: Vec<String> = of(Qos::High).collect();
        threads.push(OBSERVER_NAME.to_owned());
        threads.extend(of(Qos::Default).chain(of(Qos::Low)));
        let placement = place(&topology, &options.cpus, &threads, lanes.high)?;
        let report = IsolationReport { notes: placement.notes.clone(), ..IsolationReport::default() };
        let (report, started) = (Mutex::new(report), Condvar::new());
        Ok(Arc::new(Self { topology, placement, locks_memory: options.lock_memory, report, started }))
    }

    /// Puts the calling thread where a thread of that name belongs.
    pub(crate) fn enter(&self, name: &str) {
        let Some(cpu) = self.placement.cpus.get(name).copied() else { return };
        let is_pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
        let node = self.topology.cpu(cpu).map_or(0, |cpu| cpu.node);
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_pinned {
            report.notes.push(format!("the system does not let `{name}` stay on processor {cpu}"));
        }
        report.threads.push(IsolatedThread { name: name.to_owned(), cpu, node, is_pinned });
        self.started.notify_all();
    }

    /// Whether memory is to be there when it is touched.
    pub(crate) fn locks_memory(&self) -> bool {
        self.locks_memory
    }

    /// Locks memory that is allocated as long as the result is held, else touches it.
    pub(crate) fn lock<'a, T: Default + 'a>(
        &self,
        memory: impl IntoIterator<Item = &'a mut [std::mem::MaybeUninit<T>]>,
    ) -> Lock {
        let mut lock = Lock::default();
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        for part in memory.into_iter().filter(|part| !part.is_empty()) {
            let bytes = size_of_val(part) as u64;
            let tier = match region::lock(part.as_ptr(), size_of_val(part)) {
                Ok(guard) => {
                    lock.guards.push(guard);
                    report.memory.locked_bytes += bytes;
                    MemoryTier::Locked
                }
                Err(error) => {
                    part.iter_mut().for_each(|value| {
                        value.write(T::default());
                    });
                    if report.memory.prefaulted_bytes == 0 {
                        report
                            .notes
                            .push(format!("memory is touched, not locked: {error}; `ulimit -l` is what may be"));
                    }
                    report.memory.prefaulted_bytes += bytes;
                    MemoryTier::Prefaulted
                }
            };
            let so_far = report.memory.tier;
            report.memory.tier = if so_far == MemoryTier::Plain { tier } else { so_far.max(tier) };
            if let Some(node) = node_of_memory(part.as_ptr().addr()) {
                self.note_node(&mut report, node);
            }
        }
        lock
    }

    fn note_node(&self, report: &mut IsolationReport, node: usize) {
        if report.memory.nodes.contains(&node) {
            return;
        }
        report.memory.nodes.push(node);
        let of_threads = || self.placement.cpus.values().filter_map(|cpu| self.topology.cpu(*cpu)).map(|cpu| cpu.node);
        if of_threads().next().is_some() && of_threads().all(|of_thread| of_thread != node) {
            report.notes.push(format!(
                "memory lies on NUMA node {node}, and no thread does: open streams on a thread of theirs, or choose other \
                 processors"
            ));
        }
    }

    /// What came of it, once so many threads have started.
    pub(crate) fn report(&self, threads: usize) -> IsolationReport {
        let start = Instant::now();
        let expected = threads.min(self.placement.cpus.len());
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        while report.threads.len() < expected && start.elapsed() < STARTING {
            let waited = self.started.wait_timeout(report, STARTING);
            report = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        report.clone()
    }
}
