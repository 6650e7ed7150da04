//! The machine's own cores: the pool of workers that the CPU device runs on, and that gates for the others.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::simd::SimdLevel;

/// More workers than nearly any machine has cores for.
const MOST_THREADS: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct HostPool {
    /// All workers but the first, which is whoever brings the work; none when that one is alone.
    helpers: Option<Arc<rayon::ThreadPool>>,
    pub(crate) level: SimdLevel,
    pub(crate) threads: usize,
}

impl HostPool {
    /// A pool of `threads` workers; as many as there are cores when 0.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { available.min(MOST_THREADS) } else { threads };
        if threads > MOST_THREADS {
            let expected = format!("at most {MOST_THREADS} are allowed; 0 takes one for each core");
            return Err(Error::setting("the number of threads", threads, expected));
        }
        let helpers = || {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads - 1)
                .thread_name(|index| format!("auricle.host.{}", index + 1))
                .build()
                .map_err(|error| Error::Device {
                    device: "cpu".to_owned(),
                    action: "starting its threads",
                    reason: error.to_string(),
                })
        };
        let helpers = if threads > 1 { Some(Arc::new(helpers()?)) } else { None };
        Ok(Self { helpers, level: SimdLevel::detect(), threads })
    }

    /// Runs `work` for every job, on all workers. Where jobs fail, the error of the first of them comes back, and later
    /// ones may not be run. `work` gets the worker's number.
    ///
    /// The calling thread is a worker too: it begins at once, while the others wake up.
    pub(crate) fn for_each<T: Send>(
        &self,
        jobs: Vec<T>,
        work: impl Fn(usize, T) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        // Waiting inside somebody else's rayon pool would run that pool's jobs on this thread, which may hold a lock
        // that they want. Whoever calls from there has its cores busy anyway.
        let alone = rayon::current_thread_index().is_some();
        let helpers = if alone { 0 } else { (self.threads - 1).min(jobs.len().saturating_sub(1)) };
        let jobs = Jobs::new(jobs, helpers + 1);
        match &self.helpers {
            Some(pool) if helpers > 0 => pool.in_place_scope(|scope| {
                for helper in 1..=helpers {
                    let (jobs, work) = (&jobs, &work);
                    scope.spawn(move |_| {
                        jobs.drain(helper, work);
                        jobs.done.fetch_add(1, Ordering::Release);
                    });
                }
                jobs.drain(0, &work);
                jobs.wait_for(helpers);
            }),
            _ => jobs.drain(0, &work),
        }
        jobs.outcome()
    }
}

/// Turns of a wait before a thread goes to sleep: first spinning, for about a job's length, then giving way to others
/// for about as long as waking up would take.
const SPINS: usize = 300;
const YIELDS: usize = 60;

/// Jobs that several workers share. Each has a run of its own, from the front, so that in the next batch the same
/// core finds the same memory in its cache; who has none left takes the last one of whoever has most.
struct Jobs<T> {
    left: Mutex<JobsLeft<T>>,
    failed: Mutex<Option<(usize, Error)>>,
    /// Helpers that found no job left.
    done: AtomicUsize,
}

struct JobsLeft<T> {
    jobs: Vec<Option<T>>,
    /// For each worker.
    runs: Vec<Range<usize>>,
}

impl<T> Jobs<T> {
    fn new(jobs: Vec<T>, workers: usize) -> Self {
        let share = |worker: usize| worker * jobs.len() / workers;
        let runs = (0..workers).map(|worker| share(worker)..share(worker + 1)).collect();
        let left = JobsLeft { jobs: jobs.into_iter().map(Some).collect(), runs };
        Self { left: Mutex::new(left), failed: Mutex::new(None), done: AtomicUsize::new(0) }
    }

    fn next(&self, worker: usize) -> Option<(usize, T)> {
        let left = &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match left.runs[worker].next() {
            Some(index) => index,
            None => left.runs.iter_mut().max_by_key(|run| run.len())?.next_back()?,
        };
        left.jobs[index].take().map(|job| (index, job))
    }

    fn drain(&self, worker: usize, work: &impl Fn(usize, T) -> Result<()>) {
        while let Some((index, job)) = self.next(worker) {
            if let Err(error) = work(worker, job) {
                self.fail(index, error);
            }
        }
    }

    /// What comes after this job is dropped; what comes before may still fail, and then counts instead.
    fn fail(&self, index: usize, error: Error) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.runs.iter_mut().for_each(|run| run.end = run.end.min(index).max(run.start));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.as_ref().is_none_or(|(first, _)| index < *first) {
            *failed = Some((index, error));
        }
    }

    /// Waits a while for the helpers, awake: they are at their last job.
    fn wait_for(&self, helpers: usize) {
        for turn in 0..SPINS + YIELDS {
            if self.done.load(Ordering::Acquire) == helpers {
                return;
            }
            if turn < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn outcome(self) -> Result<()> {
        match self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}
