//! LIVE: streams, long-lived signals that push and pull samples, of which the engine does many at once.
//!
//! ```text
//! push -> gate -> ring of sounding frames -> | group: streams of one plan and level  | -> ring -> pull, or a callback
//!         (on the pushing core)              | observer -> lane: one batch of what   |
//!                                            | is there of all of them               |
//! ```
//!
//! Whoever pushes never waits unless it asked to, and takes no lock but to drop frames, and once after a move: it
//! decides what is silent, writes what is not into its ring, and rings a bell when a group has something to do. The
//! observer, one thread for all groups, decides when a group has waited long enough; a lane of the group's level then
//! takes what is there of all its streams.

mod options;

mod home;

mod input;

mod ring;

mod due;

mod front;

mod observer;

mod group;

mod inside;

mod members;

mod sink;

mod output;

mod signal;

mod control;

mod counters;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use self::control::StreamControl;
pub use self::counters::StreamCounters;
use self::front::Front;
use self::group::Group;
pub(crate) use self::home::Home;
pub use self::input::StreamInput;
pub(crate) use self::observer::Observer;
pub use self::options::{BackPressure, StreamOptions};
pub use self::output::StreamOutput;
use self::ring::RingReader;
use self::signal::Signal;
use crate::error::{Error, Result};
use crate::frame::FrameShape;

/// A live signal on its way through a plan: what is pushed comes out again, as long and in the same order, late by
/// [`latency_frames`](crate::Plan::latency_frames) frames and by what its batch took.
///
/// Samples of several channels are interleaved, as audio devices give and take them; one of IQ is two floats. Any number
/// of floats can be pushed and pulled. A stream works on whole frames; when the input is [finished](Self::finish), the last
/// one is filled up with silence, and the output ends where the input did.
///
/// ```
/// use auricle::{Engine, EngineOptions, FrameShape, Gate, Graph, PhiResolvent, Qos, StreamOptions};
/// use std::time::Duration;
///
/// let graph = Graph::new()
///     .input("samples", FrameShape::real(256))
///     .gate("gate", "samples", Gate::default())
///     .filter("filter", "gate", PhiResolvent::default())
///     .output("clean", "filter");
/// let engine = Engine::open(&EngineOptions::default())?;
/// let plan = engine.compile(&graph)?;
///
/// let mut stream = engine.open_stream(&plan, StreamOptions { qos: Qos::High, ..StreamOptions::default() })?;
/// stream.push(&[0.5; 1000])?;
/// stream.finish();
/// let mut clean = vec![0.0; 2000];
/// let count = stream.pull_all(&mut clean, Duration::from_secs(10))?;
/// assert_eq!(count, 1000);
/// # Ok::<(), auricle::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    input: StreamInput,
    output: StreamOutput,
}

impl Stream {
    pub(crate) fn new(input: StreamInput, output: StreamOutput) -> Self {
        Self { input, output }
    }

    /// Its two ends, for two threads.
    pub fn split(self) -> (StreamInput, StreamOutput) {
        (self.input, self.output)
    }

    /// What can be asked of it from anywhere: counters, pausing, moving it.
    pub fn control(&self) -> StreamControl {
        self.input.control()
    }

    /// See [`StreamInput::push`].
    ///
    /// # Errors
    /// As there.
    pub fn push(&mut self, samples: &[f32]) -> Result<u64> {
        self.input.push(samples)
    }

    /// See [`StreamInput::finish`].
    pub fn finish(&mut self) {
        self.input.finish();
    }

    /// See [`StreamOutput::pull`].
    ///
    /// # Errors
    /// As there.
    pub fn pull(&mut self, samples: &mut [f32]) -> Result<usize> {
        self.output.pull(samples)
    }

    /// See [`StreamOutput::pull_all`].
    ///
    /// # Errors
    /// As there.
    pub fn pull_all(&mut self, samples: &mut [f32], timeout: Duration) -> Result<usize> {
        self.output.pull_all(samples, timeout)
    }
}

/// What both ends of a stream and the engine have in common.
#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    channels: usize,
    shape: FrameShape,
    /// What was pushed and waits. The lane holds it while it reads; the pushing side takes it only to drop frames.
    waiting: Mutex<Waiting>,
    /// Floats that were pushed, those of an incomplete frame included.
    pushed: AtomicU64,
    /// Frames of channels in which the gate heard something.
    sounded: AtomicU64,
    /// Floats until the end of the signal; `u64::MAX` as long as that is not known. Set before the last frame, which silence
    /// fills up, is there to be seen.
    end: AtomicU64,
    /// Nothing more will be pushed.
    is_finished: AtomicBool,
    is_paused: AtomicBool,
    /// Nobody is there to pull.
    is_abandoned: AtomicBool,
    /// All has come out, or never will.
    is_over: AtomicBool,
    failure: OnceLock<Failure>,
    /// The lane passed this stream by because its output was full.
    is_stuck: AtomicBool,
    /// Rung when there is room to push, and when there is something to pull.
    room: Signal,
    output: Signal,
    /// Where it lives; the version is changed last when that changes.
    home: Mutex<Place>,
    home_version: AtomicU64,
    /// Held by whoever moves it.
    moving: Mutex<()>,
}

/// The group that works on a stream, which is none before and after that, and what is known of it even then.
#[derive(Debug)]
struct Place {
    front: Arc<Front>,
    group: Option<Arc<Group>>,
}

#[derive(Debug)]
struct Waiting {
    reader: RingReader,
    /// Frames that the engine took and that had not been dropped; and those that were dropped.
    popped: u64,
    dropped: u64,
}

/// Why a stream has ended before its end.
#[derive(Clone, Debug)]
enum Failure {
    ShutDown,
    Failed(String),
}

impl Failure {
    fn error(&self, stream: &str) -> Error {
        match self {
            Self::ShutDown => Error::ShutDown { job: stream.to_owned() },
            Self::Failed(reason) => Error::Stream { stream: stream.to_owned(), reason: reason.clone() },
        }
    }
}

impl Shared {
    /// Floats of a frame of one channel.
    fn frame_floats(&self) -> usize {
        self.shape.floats()
    }

    /// Floats of a frame of all channels.
    fn block_floats(&self) -> usize {
        self.channels * self.frame_floats()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self) -> MutexGuard<'_, Place> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of its group, with the version of that.
    fn front(&self) -> (u64, Arc<Front>) {
        let home = self.home();
        (self.home_version.load(Ordering::Acquire), Arc::clone(&home.front))
    }

    fn group(&self) -> Option<Arc<Group>> {
        self.home().group.clone()
    }

    /// There is something to do for it besides frames that came.
    fn poke(&self) {
        self.front().1.due.poke();
    }

    /// From now on this group works on it, of which it is a member.
    fn moves_in(&self, group: &Arc<Group>) {
        let mut home = self.home();
        let is_elsewhere = !Arc::ptr_eq(&home.front, &group.front);
        *home = Place { front: Arc::clone(&group.front), group: Some(Arc::clone(group)) };
        if is_elsewhere {
            self.home_version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// It has ended, and is no member of a group any more: whoever still holds an end of it holds no device by that.
    fn moves_out(&self) {
        self.home().group = None;
        self.waiting().reader = RingReader::of_nothing();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Ends it; whoever waits learns of it.
    fn end(&self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.failure.set(failure).ok();
        }
        self.is_over.store(true, Ordering::Release);
        self.room.ring();
        self.output.ring();
    }

    fn failure(&self) -> Option<Error> {
        self.failure.get().map(|failure| failure.error(&self.name))
    }

    /// What whoever asks for more of it is told once it is over.
    fn end_error(&self) -> Error {
        self.failure().unwrap_or_else(|| Error::StreamFinished { stream: self.name.to_string() })
    }

    fn counters(&self) -> StreamCounters {
        let block = self.block_floats() as u64;
        let waiting = self.waiting();
        let (popped, dropped) = (waiting.popped * block, waiting.dropped * block);
        // What was popped or dropped had been counted as pushed before, and can't grow while this holds the lock. The last
        // frame is popped with the silence that fills it up.
        let pushed = self.pushed.load(Ordering::Acquire);
        let popped = popped.min(pushed - dropped);
        let sounded = self.sounded.load(Ordering::Relaxed);
        StreamCounters { pushed, popped, dropped, queued: pushed - popped - dropped, sounded }
    }
}
