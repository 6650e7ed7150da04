//! Where streams are opened: a plan on a level of an engine.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use super::group::Group;
use super::input::StreamInput;
use super::observer::Observer;
use super::options::StreamOptions;
use super::output::StreamOutput;
use super::ring::ring;
use super::signal::Signal;
use super::sink::{Callback, OnOutput, Sink};
use super::{Place, Shared, Stream, Waiting};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::plan::{Compiled, Plan};
use crate::qos::Qos;

/// Where a plan's streams of one level live.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) observer: Arc<Observer>,
    pub(crate) plan: Plan,
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
        self.observer.group(&self.plan, &other.front.output, self.qos)
    }

    /// Opens a stream whose output is pulled.
    pub(crate) fn open(&self, options: &StreamOptions) -> Result<Stream> {
        let (group, shared, input) = self.prepare(options)?;
        let frames = options.ring + self.plan.latency_frames() + 1;
        let (mut writer, reader) = ring(options.channels, shared.frame_floats(), frames);
        writer.keep(self.observer.isolation());
        group.join(&shared, Sink::Ring(writer), options)?;
        Ok(Stream::new(input, StreamOutput::new(&shared, reader)))
    }

    /// Opens a stream whose output goes to a callback.
    pub(crate) fn open_with(&self, options: &StreamOptions, call: OnOutput) -> Result<StreamInput> {
        let (group, shared, input) = self.prepare(options)?;
        let per_sample = shared.shape.domain().floats_per_sample();
        let callback = Callback::new(call, options.channels, per_sample, shared.block_floats());
        group.join(&shared, Sink::Callback(callback), options)?;
        Ok(input)
    }

    /// The group that is to work on a stream, what the stream's ends have in common, and the one that is pushed into.
    fn prepare(&self, options: &StreamOptions) -> Result<(Arc<Group>, Arc<Shared>, StreamInput)> {
        options.check()?;
        let compiled = self.plan.on(self.qos)?;
        let [(_, shape)] = self.plan.inputs() else {
            let expected = "a stream's plan has one";
            return Err(Error::setting("the plan's inputs", self.plan.inputs().len(), expected));
        };
        options.check_memory(shape.floats(), self.plan.latency_frames())?;
        let output = output_of(&compiled, options.output.as_deref(), *shape)?;
        let group = self.observer.group(&self.plan, &output, self.qos)?;
        // One frame more than is pushed, for the end.
        let (mut writer, reader) = ring(options.channels, shape.floats(), options.ring + 1);
        writer.keep(self.observer.isolation());
        let shared = Arc::new(Shared {
            name: Arc::from(&*options.name),
            channels: options.channels,
            shape: *shape,
            waiting: Mutex::new(Waiting { reader, popped: 0, dropped: 0 }),
            pushed: AtomicU64::new(0),
            sounded: AtomicU64::new(0),
            end: AtomicU64::new(u64::MAX),
            is_finished: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            failure: OnceLock::new(),
            is_stuck: AtomicBool::new(false),
            room: Signal::default(),
            output: Signal::default(),
            home: Mutex::new(Place { front: Arc::clone(&group.front), group: None }),
            home_version: AtomicU64::new(0),
            moving: Mutex::default(),
        });
        let input = StreamInput::new(&shared, writer, options.back_pressure, compiled.gate().cloned());
        Ok((group, shared, input))
    }
}

/// The output that was asked for, or the only one that can be.
fn output_of(compiled: &Compiled, asked: Option<&str>, shape: FrameShape) -> Result<String> {
    let fitting: Vec<String> =
        compiled.outputs().into_iter().filter(|(_, of)| *of == shape).map(|(name, _)| name).collect();
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
