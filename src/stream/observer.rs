//! The observer: one thread that sees to it that every group gets a lane when it is due. Asleep while nothing is pushed.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crossbeam::sync::Parker;

use super::group::{Group, GroupTurn};
use super::input::StreamInput;
use super::options::StreamOptions;
use super::output::StreamOutput;
use super::ring::ring;
use super::signal::Signal;
use super::sink::{Callback, OnOutput, Sink};
use super::{Failure, Shared, Stream, Waiting};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::plan::Compiled;
use crate::qos::Qos;
use crate::schedule::{Arrival, Bell, Lanes, Load, Schedule};
use crate::telemetry::StreamsSnapshot;

/// All groups of an engine.
#[derive(Debug)]
pub(crate) struct Observer {
    bell: Arc<Bell>,
    schedule: Arc<Schedule>,
    groups: Mutex<Vec<Weak<Group>>>,
}

impl Observer {
    /// Starts its thread, which ends with the lanes.
    pub(crate) fn start(lanes: &Lanes) -> Result<Arc<Self>> {
        let parker = Parker::new();
        let bell = Arc::new(Bell::new(parker.unparker().clone()));
        let schedule = Arc::clone(lanes.schedule());
        let observer = Arc::new(Self { bell: Arc::clone(&bell), schedule, groups: Mutex::default() });
        let body = Arc::clone(&observer);
        lanes.spawn_beside("auricle.streams", bell, move || body.run(&parker))?;
        Ok(observer)
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Weak<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Group>> {
        let mut groups = self.groups();
        groups.retain(|group| group.strong_count() > 0);
        groups.iter().filter_map(Weak::upgrade).collect()
    }

    fn run(&self, parker: &Parker) {
        while !self.schedule.is_closed() {
            let wait = self.all().iter().filter_map(|group| self.look_after(group)).min();
            self.bell.wait(parker, wait);
        }
        for group in self.all() {
            group.end(&Failure::ShutDown);
        }
    }

    /// Asks for a lane if the group is due; else says when to look again, if that is known.
    fn look_after(&self, group: &Arc<Group>) -> Option<Duration> {
        match group.is_due() {
            Err(when) => when,
            Ok(()) => {
                group.takes_off();
                let arrival = Arrival {
                    name: Arc::from("streams"),
                    qos: group.qos,
                    load: Load::Device,
                    deadline: None,
                    coherence: None,
                    is_bounded: false,
                    answer: Arc::clone(group) as _,
                    work: Box::new(GroupTurn(Arc::clone(group))),
                };
                if self.schedule.admit(arrival).is_err() {
                    group.end(&Failure::ShutDown);
                }
                None
            }
        }
    }

    /// The group of a plan's output, made when there is none.
    fn group(&self, plan: &Arc<Compiled>, output: &str, qos: Qos) -> Result<Arc<Group>> {
        if self.schedule.is_closed() {
            return Err(Error::ShutDown { job: "stream".to_owned() });
        }
        let is_it = |group: &Arc<Group>| {
            Arc::ptr_eq(&group.plan, plan) && group.output == output && group.qos == qos && !group.is_over()
        };
        let mut groups = self.groups();
        if let Some(group) = groups.iter().filter_map(Weak::upgrade).find(is_it) {
            return Ok(group);
        }
        let group = Arc::new(Group::new(plan, output, qos, &self.bell)?);
        groups.push(Arc::downgrade(&group));
        Ok(group)
    }

    pub(crate) fn snapshot(&self) -> Vec<StreamsSnapshot> {
        self.all().iter().map(|group| group.snapshot()).collect()
    }
}

/// Where a plan's streams of one level live.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) observer: Arc<Observer>,
    pub(crate) plan: Arc<Compiled>,
    pub(crate) qos: Qos,
}

impl Home {
    /// The group here of streams that live in `other` now.
    ///
    /// # Errors
    /// When their plans are not alike.
    pub(super) fn like(&self, other: &Group) -> Result<Arc<Group>> {
        if !self.plan.is_like(&other.plan) {
            let expected = "a stream can move to plans of the graph that it was opened with";
            return Err(Error::setting("the plan", "of another graph", expected));
        }
        self.observer.group(&self.plan, &other.output, self.qos)
    }

    /// Opens a stream whose output is pulled.
    pub(crate) fn open(&self, options: &StreamOptions) -> Result<Stream> {
        let (shared, input) = self.prepare(options)?;
        let frames = options.ring + self.plan.latency_frames() + 1;
        let (writer, reader) = ring(options.channels, shared.frame_floats(), frames);
        shared.home().1.join(&shared, Sink::Ring(writer), options)?;
        Ok(Stream::new(input, StreamOutput::new(&shared, reader)))
    }

    /// Opens a stream whose output goes to a callback.
    pub(crate) fn open_with(&self, options: &StreamOptions, call: OnOutput) -> Result<StreamInput> {
        let (shared, input) = self.prepare(options)?;
        let per_sample = shared.shape.domain().floats_per_sample();
        let callback = Callback::new(call, options.channels, per_sample, shared.block_floats());
        shared.home().1.join(&shared, Sink::Callback(callback), options)?;
        Ok(input)
    }

    /// What a stream's ends have in common, and the one that is pushed into.
    fn prepare(&self, options: &StreamOptions) -> Result<(Arc<Shared>, StreamInput)> {
        options.check()?;
        let [(_, shape)] = self.plan.inputs() else {
            let expected = "a stream's plan has one";
            return Err(Error::setting("the plan's inputs", self.plan.inputs().len(), expected));
        };
        let output = self.output(options.output.as_deref(), *shape)?;
        let group = self.observer.group(&self.plan, &output, self.qos)?;
        // One frame more than is pushed, for the end.
        let (writer, reader) = ring(options.channels, shape.floats(), options.ring + 1);
        let shared = Arc::new(Shared {
            name: Arc::from(&*options.name),
            channels: options.channels,
            shape: *shape,
            waiting: Mutex::new(Waiting { reader, popped: 0, dropped: 0 }),
            pushed: AtomicU64::new(0),
            is_finished: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            failure: OnceLock::new(),
            is_stuck: AtomicBool::new(false),
            room: Signal::default(),
            output: Signal::default(),
            home: Mutex::new(group),
            home_version: AtomicU64::new(0),
        });
        let input = StreamInput::new(&shared, writer, options.back_pressure, self.plan.gate().cloned());
        Ok((shared, input))
    }

    /// The output that was asked for, or the only one that can be.
    fn output(&self, asked: Option<&str>, shape: FrameShape) -> Result<String> {
        let fitting: Vec<String> =
            self.plan.outputs().into_iter().filter(|(_, of)| *of == shape).map(|(name, _)| name).collect();
        let known = || format!("of the input's shape, {shape}, there are: {}", fitting.join(", "));
        match asked {
            Some(name) if fitting.iter().any(|fits| fits == name) => Ok(name.to_owned()),
            Some(name) => Err(Error::setting("the stream's output", format!("`{name}`"), known())),
            None => match &fitting[..] {
                [only] => Ok(only.clone()),
                _ => Err(Error::setting("the stream's output", "not set", format!("name one: {}", known()))),
            },
        }
    }
}
