//! The threads of a scheduler: lanes, each of which takes jobs of one level and drives one command queue, in order, and the
//! timer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use crossbeam::sync::Parker;

use super::bell::Bell;
use super::dispatch::{Bounds, Load};
use super::lane::{Lane, LaneGuard, LaneSeat};
use super::options::{JobOptions, ShutDown};
use super::plan_job::PlanJob;
use super::samples::Samples;
use super::ticket::{AnswerCell, Ticket};
use super::work::{Microbatches, OnLane, Work};
use super::{Arrival, Clock, LaneId, Progress, Schedule, Snapshot, Task, outside, timer};
use crate::device::Processor;
use crate::error::{Error, Result};
use crate::isolation::{Isolation, lane_name};
use crate::plan::Plan;
use crate::qos::Qos;
use crate::recording::results::RunOutput;

/// All threads of a scheduler.
#[derive(Debug)]
pub(crate) struct Lanes {
    schedule: Arc<Schedule>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// What each thread holds until it ends, for those that are still to start.
    alive: Mutex<Option<Sender<()>>>,
    ended: Receiver<()>,
    isolation: Arc<Isolation>,
}

impl Lanes {
    /// Starts the threads of a processor.
    ///
    /// # Errors
    /// When the driver has no command queues left, or the system no threads.
    pub(crate) fn start(
        processor: &Arc<Processor>,
        bounds: Bounds,
        longest_piece: Duration,
        isolation: &Arc<Isolation>,
    ) -> Result<Self> {
        let (lanes, alive) = Self::new(bounds, isolation);
        for qos in Qos::ALL {
            // Opened now: no task has to wait for it, or fails for want of it.
            drop(processor.device(qos)?);
            for index in 0..bounds.lanes[qos] {
                let schedule = Arc::clone(&lanes.schedule);
                let (processor, submissions) = (Arc::clone(processor), Arc::clone(schedule.submissions()));
                let seat = LaneSeat { id: LaneId { qos, index }, processor, submissions };
                let budget = (qos != Qos::High).then_some(longest_piece);
                lanes.spawn(lane_name(qos, index), &alive, move || drive(&schedule, &seat, budget))?;
            }
        }
        let parker = Parker::new();
        lanes.schedule.set_timer(parker.unparker().clone());
        let schedule = Arc::clone(&lanes.schedule);
        lanes.spawn("auricle.timer".to_owned(), &alive, move || timer::run(&schedule, &parker))?;
        *lanes.alive.lock().unwrap_or_else(PoisonError::into_inner) = Some(alive);
        Ok(lanes)
    }

    /// Lanes that nobody drives: they refuse whatever comes.
    pub(crate) fn refusing(bounds: Bounds) -> Self {
        Self::new(bounds, &Arc::default()).0
    }

    /// Lanes that nobody drives yet, and what each thread has to hold while it does.
    fn new(bounds: Bounds, isolation: &Arc<Isolation>) -> (Self, Sender<()>) {
        let schedule = Arc::new(Schedule::new(Clock::System(Instant::now()), bounds));
        let (alive, ended) = bounded(0);
        (
            Self {
                schedule,
                threads: Mutex::default(),
                alive: Mutex::default(),
                ended,
                isolation: Arc::clone(isolation),
            },
            alive,
        )
    }

    pub(crate) fn isolation(&self) -> &Arc<Isolation> {
        &self.isolation
    }

    pub(crate) fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// Starts a thread that ends when no job comes in any more, for which its bell is rung; it is waited for as the lanes
    /// are.
    pub(crate) fn spawn_beside(&self, name: &str, bell: Arc<Bell>, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(alive) = alive else { return Err(Error::ShutDown { job: name.to_owned() }) };
        self.schedule.add_beside(bell);
        self.spawn(name.to_owned(), &alive, run)
    }

    fn spawn(&self, name: String, alive: &Sender<()>, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let alive = alive.clone();
        let (isolation, own_name) = (Arc::clone(&self.isolation), name.clone());
        let body = move || {
            isolation.enter(&own_name);
            run();
            drop(alive);
        };
        let thread = std::thread::Builder::new().name(name).spawn(body).map_err(|error| Error::Device {
            device: "cpu".to_owned(),
            action: "starting a lane",
            reason: error.to_string(),
        })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Takes a job in.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        arrival: impl FnOnce(Arc<AnswerCell<T>>) -> Result<Arrival>,
    ) -> Result<Ticket<T>> {
        let cell = AnswerCell::new();
        let id = self.schedule.admit(arrival(Arc::clone(&cell))?)?;
        Ok(Ticket::new(id, cell, Arc::downgrade(&self.schedule)))
    }

    /// Takes in a run of a plan.
    pub(crate) fn submit_plan(
        &self,
        plan: &Plan,
        inputs: Vec<Samples>,
        output: RunOutput,
        options: JobOptions,
    ) -> Result<Ticket<RunOutput>> {
        let JobOptions { qos, name, deadline, channels, coherence, coherence_from } = options;
        self.submit(|cell| {
            let answer = Arc::clone(&cell) as _;
            let job = PlanJob::new((plan, qos), inputs, channels, output, coherence_from, cell)?;
            let (frames, work): (usize, Box<dyn Work>) = (job.frames(), Box::new(job));
            let (name, load, is_bounded) = (Arc::from(name), Load::Device, true);
            Ok(Arrival { name, qos, load, frames, deadline, coherence, is_bounded, answer, work })
        })
    }

    /// Runs an app's own code on a lane.
    pub(crate) fn run_on_lane<T: Send + 'static>(
        &self,
        qos: Qos,
        name: Arc<str>,
        run: impl FnOnce(&Lane) -> Result<T> + Send + 'static,
    ) -> Result<Ticket<T>> {
        self.submit(|cell| {
            let answer = Arc::clone(&cell) as _;
            let work: Box<dyn Work> = Box::new(OnLane { run, cell });
            let (load, frames, is_bounded) = (Load::App, 0, true);
            Ok(Arrival { name, qos, load, frames, deadline: None, coherence: None, is_bounded, answer, work })
        })
    }

    /// Runs an app's own code over many items, some at a time.
    pub(crate) fn microbatch<I: Send + 'static, T: Send + 'static>(
        &self,
        qos: Qos,
        name: Arc<str>,
        items: Vec<I>,
        size: usize,
        run: impl FnMut(&Lane, Vec<I>) -> T + Send + 'static,
    ) -> Result<Ticket<Vec<T>>> {
        if size == 0 {
            return Err(Error::setting("the size of a micro-batch", size, "it must be 1 at least"));
        }
        self.submit(|cell| {
            let answer = Arc::clone(&cell) as _;
            let items = items.into_iter();
            let work: Box<dyn Work> = Box::new(Microbatches { items, size, run, results: Vec::new(), cell });
            let (load, frames, is_bounded) = (Load::App, 0, true);
            Ok(Arrival { name, qos, load, frames, deadline: None, coherence: None, is_bounded, answer, work })
        })
    }

    /// Waits for a free lane and keeps it for the caller.
    pub(crate) fn possess(&self, qos: Qos) -> Result<LaneGuard> {
        let (give, given) = bounded::<Lane>(1);
        let (release, released) = bounded::<()>(0);
        let hold = move |lane: &Lane| {
            // Who waited may be gone; and the lane is free again when the guard, which holds the other end, is dropped.
            if give.send(lane.clone()).is_ok() {
                released.recv().ok();
            }
            Ok(())
        };
        let ticket = self.run_on_lane(qos, Arc::from("possession"), hold)?;
        match given.recv() {
            Ok(lane) => Ok(LaneGuard { lane, _release: release }),
            // The sender was dropped without being used: the job was given up.
            Err(_) => match ticket.wait() {
                Err(error) => Err(error),
                Ok(()) => Err(Error::ShutDown { job: "possession".to_owned() }),
            },
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.schedule.snapshot()
    }

    /// Ends all threads, within `grace`; returns how many jobs were given up.
    pub(crate) fn shut_down(&self, how: ShutDown, grace: Duration) -> usize {
        let start = Instant::now();
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.schedule.close();
        // A thread that waited for all threads to end would wait for itself.
        let inside = self.is_one_of_them();
        let mut dropped = 0;
        if how == ShutDown::Abort || inside || !self.has_ended(grace) {
            dropped = self.schedule.abort();
        }
        if inside {
            return dropped;
        }
        if self.has_ended(grace.saturating_sub(start.elapsed()).max(LAST_MOMENT)) {
            let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            threads.into_iter().for_each(|thread| drop(thread.join()));
        } else {
            tracing::warn!("a lane is still busy with a job that was given up; its thread ends when that does");
        }
        dropped
    }

    fn is_one_of_them(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().any(|thread| thread.thread().id() == std::thread::current().id())
    }

    /// Waits until all threads have ended.
    fn has_ended(&self, within: Duration) -> bool {
        // Nobody ever sends: the channel closes when the last thread has dropped its end.
        matches!(self.ended.recv_timeout(within), Err(RecvTimeoutError::Disconnected))
    }
}

/// What a lane is given to notice that its job was given up.
const LAST_MOMENT: Duration = Duration::from_millis(200);

impl Drop for Lanes {
    fn drop(&mut self) {
        self.shut_down(ShutDown::Abort, LAST_MOMENT);
    }
}

/// A lane's life.
fn drive(schedule: &Schedule, seat: &LaneSeat, budget: Option<Duration>) {
    let parker = Parker::new();
    let bell = Arc::new(Bell::new(parker.unparker().clone()));
    let mut task = None;
    loop {
        match task.take().or_else(|| schedule.next(seat.id, &bell)) {
            Some(Task { work, receipt }) => {
                let advance = std::panic::AssertUnwindSafe(|| match seat.lane() {
                    Ok(lane) => work.advance(&lane, budget),
                    Err(error) => Progress::Failed(error),
                });
                let progress = std::panic::catch_unwind(advance)
                    .unwrap_or_else(|panic| Progress::Failed(Error::JobPanicked { message: panic_message(panic) }));
                task = schedule.end(seat.id, &receipt, progress);
            }
            None if schedule.is_over() => return,
            None => bell.wait(&parker, None),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    outside(|| drop(panic));
    text.unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, DeviceChoice, Fault, FaultPlan, PipelineCacheDir};
    use crate::schedule::ScheduleOptions;
    use crate::telemetry::DeviceKind;

    #[test]
    fn a_lane_that_has_nothing_to_do_keeps_no_device() {
        let cpu = device::open(&DeviceChoice::Cpu, 1, &PipelineCacheDir::Off, None, false).expect("it opens");
        let never = FaultPlan::new().at(u64::MAX, Fault::Lost);
        let processor = Arc::new(Processor::new(never.around(cpu), 9));
        let bounds = ScheduleOptions::default().checked(DeviceKind::Cpu).expect("they are good");
        let lanes = Lanes::start(&processor, bounds, Duration::from_millis(1), &Arc::default()).expect("they start");
        for qos in Qos::ALL {
            let ticket = lanes.run_on_lane(qos, Arc::from("once"), |lane| Ok(lane.qos())).expect("there is room");
            assert_eq!(ticket.wait().expect("it is done"), qos);
            let failed = processor.device(qos).expect("it is open");
            let error = Error::DeviceLost { device: "cpu".to_owned(), reason: "on purpose".to_owned() };
            assert!(processor.replace(qos, &failed, &error, false), "another one takes its place");
            let held = Arc::downgrade(&failed);
            drop(failed);
            assert_eq!(held.strong_count(), 0, "nobody holds the one that failed at {qos}");
        }
    }
}
