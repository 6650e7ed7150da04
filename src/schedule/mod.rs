//! CONTROL: many jobs on one device, each on time.
//!
//! ```text
//! submit -> queue of its level -> lane -> device
//!              |                   |
//!            timer: expired      pieces: back to the queue, until the job is done
//! ```
//!
//! [`Schedule`] is the meeting place. It holds every job that has no answer yet; whoever takes a job out of it answers the
//! job, so each is answered exactly once. Decisions are `dispatch.rs`'s; threads are `threads.rs`'s and `timer.rs`'s,
//! and tests do without them.

mod options;

mod samples;

mod ticket;

mod work;

mod plan_job;

mod dispatch;

mod bell;

mod submissions;

mod lane;

mod threads;

mod timer;

mod figures;

mod suggest;

mod entropy;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam::sync::Unparker;

pub(crate) use self::bell::Bell;
pub(crate) use self::dispatch::Bounds;
pub(crate) use self::dispatch::Load;
use self::dispatch::{Dispatch, JobId, Place, Waiting};
pub use self::entropy::{entropy_of_powers, qos_from_entropy, spectral_entropy};
use self::figures::Figures;
pub use self::lane::{Lane, LaneGuard};
pub use self::options::{JobOptions, ScheduleOptions, ShutDown};
pub(crate) use self::plan_job::Watch;
pub use self::samples::Samples;
use self::submissions::Submissions;
pub(crate) use self::suggest::MemoryState;
pub use self::suggest::{BatchAction, BatchHint, BoundBy};
pub(crate) use self::threads::{Lanes, panic_message};
pub use self::ticket::Ticket;
pub(crate) use self::ticket::{Answer, Answered};
pub(crate) use self::work::Work;
use crate::error::{Error, Result};
use crate::qos::{PerQos, Qos};
use crate::telemetry::Snapshot;

/// A job that has no answer yet.
struct Job {
    name: Arc<str>,
    qos: Qos,
    load: Load,
    /// Whether it would have been refused where too many wait.
    is_bounded: bool,
    /// Of all its channels; 0 where nobody knows.
    frames: usize,
    place: Place,
    /// Told when there will be no result.
    answer: Arc<dyn Answer>,
    /// With a lane while that works on it.
    work: Option<Box<dyn Work>>,
    submitted: Duration,
    /// When a lane first took it.
    started: Option<Duration>,
    /// Time with lanes.
    worked: Duration,
}

impl Job {
    /// As its queue has it.
    fn waiting(&self, id: JobId) -> Waiting {
        Waiting { id, load: self.load, is_bounded: self.is_bounded }
    }
}

/// One lane of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LaneId {
    qos: Qos,
    index: usize,
}

/// What is asked of a lane: a job, or a piece of it.
struct Task {
    work: Box<dyn Work>,
    receipt: Receipt,
}

/// What comes back with a task.
#[derive(Clone, Debug)]
struct Receipt {
    id: JobId,
    load: Load,
    began: Duration,
    name: Arc<str>,
}

/// A job on its way in.
pub(crate) struct Arrival {
    pub(crate) name: Arc<str>,
    pub(crate) qos: Qos,
    pub(crate) load: Load,
    /// Of all its channels; 0 where nobody knows.
    pub(crate) frames: usize,
    /// From now.
    pub(crate) deadline: Option<Duration>,
    /// How far its data are a signal, as far as anybody knows.
    pub(crate) coherence: Option<f32>,
    /// Whether it is refused where too many wait.
    pub(crate) is_bounded: bool,
    pub(crate) answer: Arc<dyn Answer>,
    pub(crate) work: Box<dyn Work>,
}

/// How a lane got on with a task.
pub(crate) enum Progress {
    /// There is more to do; and how far the data were a signal, if that was measured.
    More(Box<dyn Work>, Option<f32>),
    /// There is more to do, after what else of the level waits.
    Again(Box<dyn Work>),
    /// All is done; this hands over the answer.
    Done(Box<dyn FnOnce() -> Answered + Send>),
    /// It failed, and there will be no answer but this.
    Failed(Error),
}

/// The time since the engine opened.
#[derive(Debug)]
enum Clock {
    System(Instant),
    /// Nanoseconds, as a test says.
    #[cfg(test)]
    Manual(AtomicU64),
}

impl Clock {
    fn now(&self) -> Duration {
        match self {
            Self::System(start) => start.elapsed(),
            #[cfg(test)]
            Self::Manual(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        }
    }
}

/// All jobs that have no answer yet.
pub(crate) struct Schedule {
    clock: Clock,
    submissions: Arc<Submissions>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Schedule").finish_non_exhaustive()
    }
}

struct State {
    dispatch: Dispatch,
    jobs: HashMap<JobId, Job>,
    /// Jobs with a deadline, the first one first.
    deadlines: BTreeSet<(Duration, JobId)>,
    next_id: JobId,
    /// Lanes that sleep, or are about to.
    idle: PerQos<Vec<(usize, Arc<Bell>)>>,
    timer: Option<Unparker>,
    /// Bells of threads that have to know when it is closed.
    beside: Vec<Arc<Bell>>,
    /// No job comes in any more.
    is_closed: bool,
    figures: Figures,
}

/// Lets the others in, and wakes one lane of each level that would get something. Every change of the state that could
/// make a job startable ends here.
fn unlock_and_wake(mut state: MutexGuard<'_, State>) {
    if state.is_closed && state.jobs.is_empty() {
        return unlock_and_wake_all(state);
    }
    let woken = Qos::ALL.map(|qos| state.wakes(qos));
    drop(state);
    woken.iter().flatten().for_each(|bell| bell.ring());
}

fn unlock_and_wake_all(mut state: MutexGuard<'_, State>) {
    let woken = Qos::ALL.map(|qos| std::mem::take(&mut state.idle[qos]));
    let (timer, beside) = (state.timer.clone(), state.beside.clone());
    drop(state);
    beside.iter().for_each(|bell| bell.ring());
    woken.iter().flatten().for_each(|(_, bell)| bell.ring());
    timer.iter().for_each(Unparker::unpark);
}

/// Jobs that are answered, and let go, when the state is no longer locked: what they wake may come straight back, and what
/// they hold may be large.
type Failures = Vec<(Job, Error)>;

fn tell(failures: Failures) {
    for (job, error) in failures {
        outside(|| {
            job.answer.fail(error);
            drop(job);
        });
    }
}

/// Runs what ends in an app's own code, a waker or the end of a value: a panic there must not take a lane or the timer
/// with it.
pub(crate) fn outside(run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!("what belongs to a job, or waits for it, panicked");
    }
}

/// What is left to do for a task that was taken back, when the state is no longer locked.
#[derive(Default)]
struct TakenBack {
    /// Nobody waits for it any more.
    left_over: Option<Progress>,
    done: Option<Job>,
    answered: Option<Answered>,
    failures: Failures,
}

impl TakenBack {
    /// Whether there is something to wake, or to let go: that is an app's own code, which may do anything.
    fn runs_apps_code(&self) -> bool {
        let has_end = |answered: &Answered| answered.waker.is_some() || !answered.is_kept;
        self.left_over.is_some() || self.answered.as_ref().is_some_and(has_end) || !self.failures.is_empty()
    }

    fn let_go(self) {
        let Self { left_over, done, answered, failures } = self;
        outside(|| drop((left_over, done)));
        outside(|| answered.and_then(|answered| answered.waker).into_iter().for_each(Waker::wake));
        tell(failures);
    }
}

impl Schedule {
    fn new(clock: Clock, bounds: Bounds) -> Self {
        let state = State {
            dispatch: Dispatch::new(bounds),
            jobs: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_id: 0,
            idle: PerQos::default(),
            timer: None,
            beside: Vec::new(),
            is_closed: false,
            figures: Figures::new(&bounds.lanes),
        };
        Self { clock, submissions: Arc::default(), state: Mutex::new(state) }
    }

    /// Admits a job, or refuses it at once.
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShutDown`].
    pub(crate) fn admit(&self, arrival: Arrival) -> Result<JobId> {
        let now = self.clock.now();
        // Before the lock is taken: what a refused job holds is let go after it.
        let Arrival { name, qos, load, frames, deadline, coherence, is_bounded, answer, work } = arrival;
        let mut state = self.lock();
        let behind = coherence.is_some_and(|coherence| state.dispatch.puts_behind(qos, coherence));
        if state.is_closed {
            return Err(Error::ShutDown { job: name.to_string() });
        }
        let id = state.next_id;
        let deadline = deadline.and_then(|deadline| now.checked_add(deadline));
        let place = match is_bounded {
            true => state.dispatch.admit(id, qos, load, deadline, behind),
            false => Some(state.dispatch.admit_always(id, qos, load, deadline, behind)),
        };
        let Some(place) = place else {
            let waiting = state.dispatch.waiting_bounded(qos);
            state.figures.refused(qos);
            return Err(Error::QueueFull { qos, waiting, retry_after: state.figures.between_answers(qos) });
        };
        state.next_id += 1;
        state.figures.admitted(qos);
        if behind {
            state.figures.put_behind(qos);
        }
        if let Some(coherence) = coherence {
            state.figures.told(qos, coherence);
        }
        let work = Some(work);
        let (submitted, started, worked) = (now, None, Duration::ZERO);
        let job = Job { name, qos, load, is_bounded, frames, place, answer, work, submitted, started, worked };
        state.jobs.insert(id, job);
        let wakes_timer = deadline.is_some_and(|deadline| state.adds_deadline(deadline, id));
        let timer = state.timer.clone().filter(|_| wakes_timer);
        unlock_and_wake(state);
        timer.iter().for_each(Unparker::unpark);
        Ok(id)
    }

    /// What a lane works on next; when there is nothing, its bell rings when that may have changed.
    fn next(&self, lane: LaneId, bell: &Arc<Bell>) -> Option<Task> {
        let now = self.clock.now();
        let mut state = self.lock();
        let idle = &mut state.idle[lane.qos];
        idle.retain(|(index, _)| *index != lane.index);
        let task = self.take(&mut state, lane, now);
        if task.is_none() {
            state.idle[lane.qos].push((lane.index, Arc::clone(bell)));
        }
        unlock_and_wake(state);
        task
    }

    /// Takes back a task from a lane, and gives it the next one at once; but not where an app's own code comes before
    /// that: no task waits for it.
    fn end(&self, lane: LaneId, receipt: &Receipt, progress: Progress) -> Option<Task> {
        let now = self.clock.now();
        let mut state = self.lock();
        if receipt.load == Load::Device {
            self.submissions.ends(lane.qos);
        }
        let taken_back = state.take_back(lane, receipt, progress, now);
        let next = if taken_back.runs_apps_code() { None } else { self.take(&mut state, lane, now) };
        unlock_and_wake(state);
        taken_back.let_go();
        next
    }

    /// Gives a job up; false when it has been answered already.
    fn cancel(&self, id: JobId) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        let job = state.close(id, now, Outcome::Cancelled);
        unlock_and_wake(state);
        let Some(job) = job else { return false };
        let error = Error::Cancelled { job: job.name.to_string() };
        tell(vec![(job, error)]);
        true
    }

    /// Answers the jobs whose time is over; returns when the next one's will be.
    fn expire(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut failures = Failures::new();
        let mut state = self.lock();
        while let Some(&(deadline, id)) = state.deadlines.first()
            && deadline <= now
        {
            if let Some(job) = state.close(id, now, Outcome::Expired) {
                let after = deadline.saturating_sub(job.submitted);
                let error = Error::Expired { job: job.name.to_string(), after };
                failures.push((job, error));
            }
        }
        let next = state.deadlines.first().map(|(deadline, _)| deadline.saturating_sub(now));
        unlock_and_wake(state);
        tell(failures);
        next
    }

    /// Takes in no job any more; what is there is still worked on.
    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        unlock_and_wake_all(state);
    }

    /// Answers every job that is there with [`Error::ShutDown`]; returns how many.
    fn abort(&self) -> usize {
        let now = self.clock.now();
        let mut state = self.lock();
        state.is_closed = true;
        let mut ids: Vec<JobId> = state.jobs.keys().copied().collect();
        ids.sort_unstable();
        let failures: Failures = ids
            .into_iter()
            .filter_map(|id| state.close(id, now, Outcome::ShutDown))
            .map(|job| {
                let error = Error::ShutDown { job: job.name.to_string() };
                (job, error)
            })
            .collect();
        unlock_and_wake_all(state);
        let count = failures.len();
        tell(failures);
        count
    }

    /// What to wake when there is an earlier deadline.
    fn set_timer(&self, timer: Unparker) {
        self.lock().timer = Some(timer);
    }

    /// What to ring when no job comes in any more.
    fn add_beside(&self, bell: Arc<Bell>) {
        self.lock().beside.push(bell);
    }

    /// True when no job comes in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// True when no job will ever come.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_closed && state.jobs.is_empty()
    }

    /// All figures, as they are now.
    fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let state = self.lock();
        state.figures.snapshot(now, &state.dispatch)
    }

    /// How large the next batch should be.
    pub(crate) fn suggest_batch(&self, qos: Qos, latency: Duration, memory: MemoryState) -> BatchHint {
        let now = self.clock.now();
        self.lock().figures.suggest_batch(now, qos, latency, memory)
    }

    fn take(&self, state: &mut State, lane: LaneId, now: Duration) -> Option<Task> {
        let task = state.take(lane, now)?;
        if task.receipt.load == Load::Device {
            self.submissions.begins(lane.qos);
        }
        Some(task)
    }

    fn submissions(&self) -> &Arc<Submissions> {
        &self.submissions
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a job has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Cancelled,
    Expired,
    ShutDown,
}

impl State {
    fn take(&mut self, lane: LaneId, now: Duration) -> Option<Task> {
        let qos = lane.qos;
        loop {
            let (id, load) = self.dispatch.take(qos)?;
            let task = self.jobs.get_mut(&id).and_then(|job| {
                let waited = now.saturating_sub(job.submitted);
                if job.started.replace(job.started.unwrap_or(now)).is_none() {
                    self.figures.waited(qos, now, waited);
                }
                let receipt = Receipt { id, load, began: now, name: Arc::clone(&job.name) };
                Some(Task { work: job.work.take()?, receipt })
            });
            match task {
                Some(task) => {
                    self.figures.begins(lane, &task.receipt);
                    return Some(task);
                }
                // A job without its work should not be in a queue; then its lane is free again.
                None => self.dispatch.end(qos, load, Duration::ZERO),
            }
        }
    }

    /// Its job waits for its next piece, or has its answer.
    fn take_back(&mut self, lane: LaneId, receipt: &Receipt, progress: Progress, now: Duration) -> TakenBack {
        let took = now.saturating_sub(receipt.began);
        self.dispatch.end(lane.qos, receipt.load, took);
        self.figures.worked(lane, receipt, now);
        let mut back = TakenBack::default();
        let id = receipt.id;
        // Not there any more: it was cancelled, or its time was over, while the lane worked on it.
        let Some(job) = self.jobs.get_mut(&id) else {
            back.left_over = Some(progress);
            return back;
        };
        job.worked += took;
        match progress {
            Progress::More(work, coherence) => {
                job.work = Some(work);
                if let Some(coherence) = coherence {
                    self.figures.told(lane.qos, coherence);
                    let behind = self.dispatch.puts_behind(lane.qos, coherence);
                    if behind && !job.place.behind {
                        self.figures.put_behind(lane.qos);
                    }
                    job.place.behind = behind;
                }
                self.dispatch.put_back(lane.qos, job.waiting(id), job.place);
            }
            Progress::Again(work) => {
                job.work = Some(work);
                job.place = self.dispatch.put_last(lane.qos, job.waiting(id), job.place);
            }
            Progress::Done(answer) => {
                back.done = self.close(id, now, Outcome::Done);
                back.answered = Some(answer());
            }
            Progress::Failed(error) => {
                if matches!(error, Error::OutOfMemory { .. }) {
                    self.figures.had_no_room(lane.qos, now, job.frames);
                }
                back.failures.extend(self.close(id, now, Outcome::Failed).map(|job| (job, error)));
            }
        }
        back
    }

    /// Takes a job out: whoever does that answers it.
    fn close(&mut self, id: JobId, now: Duration, outcome: Outcome) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.dispatch.remove(job.qos, job.place);
        self.deadlines.remove(&(job.place.deadline, id));
        self.figures.closed(&job, now, outcome);
        Some(job)
    }

    /// True when it is now the first one.
    fn adds_deadline(&mut self, deadline: Duration, id: JobId) -> bool {
        self.deadlines.insert((deadline, id));
        self.deadlines.first() == Some(&(deadline, id))
    }

    /// A lane to wake, if one sleeps that would get something.
    fn wakes(&mut self, qos: Qos) -> Option<Arc<Bell>> {
        if !self.dispatch.may_start(qos) {
            return None;
        }
        self.idle[qos].pop().map(|(_, bell)| bell)
    }
}
