//! What stands between the window and an engine: figures to look at, and commands to give.
//!
//! ```text
//! window -> command -> thread `desk`  : opens, compiles, moves; whatever takes long
//!                      thread `feed`  : sound -> streams -> levels and spectra, in real time
//!                      thread `watch` : engine -> snapshot -> history, ten times a second
//!                      thread `jobs`  : background jobs, as large as the engine suggests
//! ```
//!
//! The window only ever takes short locks, so nothing that an engine or a driver does can freeze it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use super::ear::Ear;
use super::feed::{Feed, FeedFigures, feed};
use super::history::{History, Suggestion};
use super::jobs::{Load, work};
use super::operator::{Operator, Running};
use super::sound::Sound;
use crate::error::{Error, Result};
use crate::stage::filter::FilterMode;
use crate::{DeviceChoice, DeviceInfo, Engine, EngineOptions, PerQos, Qos};

/// Samples of a frame.
pub(super) const FRAME_LEN: usize = 1024;
/// Between two looks at the engine.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Of those, how many until it is asked for batches again.
const HINTS_EVERY: u32 = 5;

/// What runs on every stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The gate's threshold in dB below full scale; none when everything is live.
    pub gate_db: Option<f32>,
    /// The filter.
    pub filter: Option<FilterMode>,
    /// The denoiser.
    pub denoiser: Denoiser,
    /// How much of the denoiser's output is heard, 0 to 1.
    pub strength: f32,
}

/// Which denoiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denoiser {
    /// None.
    Off,
    /// The one that is built in.
    Builtin,
    /// A model file.
    File(PathBuf),
}

impl Default for Settings {
    fn default() -> Self {
        Self { gate_db: Some(-60.0), filter: None, denoiser: Denoiser::Builtin, strength: 1.0 }
    }
}

/// What is asked of a local engine.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Open {
        sound: Sound,
        qos: Qos,
    },
    Close(u64),
    Move(u64, Qos),
    /// With a number, by which the window knows what has been done.
    Set(Settings, u64),
    Restart(DeviceChoice),
}

/// How it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Running,
    /// The error as it came, and what to do.
    Failed {
        error: String,
        next: String,
    },
}

/// What the window shows.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) state: State,
    pub(super) device: Option<DeviceInfo>,
    /// Those that there are, once they have been found.
    pub(super) devices: Vec<DeviceInfo>,
    pub(super) history: History,
    pub(super) streams: Vec<FeedFigures>,
    /// What runs, and the number of the last wish that was granted or refused.
    pub(super) settings: Settings,
    pub(super) settled: u64,
    /// What takes a while just now.
    pub(super) doing: Option<String>,
    /// What did not work, and when.
    pub(super) problem: Option<(f64, String)>,
}

impl Figures {
    /// Takes over all but the history: what can be done to an engine depends on how it is now, also in a view that is held.
    pub(super) fn follow(&mut self, now: &Self) {
        let Self { state, device, devices, history: _, streams, settings, settled, doing, problem } = now;
        self.state.clone_from(state);
        self.device.clone_from(device);
        self.devices.clone_from(devices);
        self.streams.clone_from(streams);
        self.settings.clone_from(settings);
        self.settled = *settled;
        self.doing.clone_from(doing);
        self.problem.clone_from(problem);
    }
}

/// What the threads and the window share.
#[derive(Debug)]
pub(super) struct Shared {
    begin: Instant,
    figures: Mutex<Figures>,
    pub(super) feeds: Mutex<Vec<Feed>>,
    /// What is listened to.
    pub(super) ear: Mutex<Listening>,
    pub(super) load: Mutex<PerQos<Load>>,
    pub(super) targets: Mutex<PerQos<Duration>>,
    /// Whether streams are fed.
    pub(super) is_fed: AtomicBool,
    quits: AtomicBool,
}

/// The stream and the channel that are looked at.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) stream: u64,
    pub(super) channel: usize,
    pub(super) ear: Option<Ear>,
    /// Changes when the rows begin anew.
    pub(super) version: u64,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        let targets = PerQos { high: 20, default: 100, low: 400 };
        Arc::new(Self {
            begin: Instant::now(),
            figures: Mutex::new(Figures {
                state: State::Starting,
                device: None,
                devices: Vec::new(),
                history: History::default(),
                streams: Vec::new(),
                settings: Settings::default(),
                settled: 0,
                doing: None,
                problem: None,
            }),
            feeds: Mutex::default(),
            ear: Mutex::default(),
            load: Mutex::default(),
            targets: Mutex::new(PerQos::from_fn(|qos| Duration::from_millis(targets[qos]))),
            is_fed: AtomicBool::new(true),
            quits: AtomicBool::new(false),
        })
    }

    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }

    /// Seconds since the dashboard began.
    pub(super) fn now_s(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    pub(super) fn quits(&self) -> bool {
        self.quits.load(Ordering::Acquire)
    }

    pub(super) fn quit(&self) {
        self.quits.store(true, Ordering::Release);
    }

    /// Waits, unless it ends meanwhile.
    pub(super) fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.quits() && Instant::now() < end {
            std::thread::sleep((end - Instant::now()).min(Duration::from_millis(20)));
        }
    }

    pub(super) fn complain(&self, what: &str, error: &Error) {
        let now_s = self.now_s();
        tracing::warn!("{what}: {error}");
        self.figures().problem = Some((now_s, format!("{what}: {error}")));
    }

    /// Looks at another channel.
    pub(super) fn listen_to(&self, stream: u64, channel: usize) {
        let of = lock(&self.feeds).iter().find(|feed| feed.id == stream).map(|feed| (feed.rate_hz(), feed.domain()));
        let mut listening = lock(&self.ear);
        (listening.stream, listening.channel) = (stream, channel);
        listening.ear = of.map(|(rate_hz, domain)| Ear::new(rate_hz, domain));
        listening.version += 1;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The window's end. Dropping it ends the threads and what they opened.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    /// None where it only watches.
    commands: Option<Sender<Command>>,
    engine: Arc<Mutex<Option<Running>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Desk {
    /// With an engine of its own, which is opened meanwhile.
    pub(super) fn with_engine(options: EngineOptions, settings: Settings, sounds: Vec<(Sound, Qos)>) -> Result<Self> {
        let shared = Shared::new();
        let (commands, orders) = crossbeam::channel::unbounded();
        // Nobody has given any yet.
        sounds.into_iter().for_each(|(sound, qos)| drop(commands.send(Command::Open { sound, qos })));
        let engine = Arc::new(Mutex::new(None));
        shared.figures().settings = settings.clone();
        let operator = Operator::new(&shared, &engine, options, settings);
        let mut desk = Self {
            shared: Arc::clone(&shared),
            commands: Some(commands),
            engine: Arc::clone(&engine),
            threads: Vec::new(),
        };
        desk.start("dashboard.desk", move || operator.run(&orders))?;
        let of = Arc::clone(&shared);
        desk.start("dashboard.feed", move || feed(&of))?;
        let (of, watched) = (Arc::clone(&shared), Arc::clone(&engine));
        desk.start("dashboard.watch", move || watch(&of, &watched))?;
        for qos in Qos::ALL {
            let (of, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            desk.start("dashboard.jobs", move || work(&of, &engine, qos))?;
        }
        Ok(desk)
    }

    /// That looks on while somebody else's engine works.
    pub(super) fn watching(look: impl FnOnce(&Shared) + Send + 'static) -> Result<Self> {
        let shared = Shared::new();
        let mut desk =
            Self { shared: Arc::clone(&shared), commands: None, engine: Arc::default(), threads: Vec::new() };
        desk.start("dashboard.remote", move || look(&shared))?;
        // It may be waiting for an answer, for which nobody should have to wait who closes the window.
        desk.threads.clear();
        Ok(desk)
    }

    /// Without threads: what it shows, a test puts there.
    #[cfg(test)]
    pub(super) fn still(shared: &Arc<Shared>) -> Self {
        let (commands, _) = crossbeam::channel::unbounded();
        Self { shared: Arc::clone(shared), commands: Some(commands), engine: Arc::default(), threads: Vec::new() }
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::setting("a thread of the dashboard", name, error.to_string()))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Whether it has an engine of its own.
    pub(super) fn is_local(&self) -> bool {
        self.commands.is_some()
    }

    /// Its own engine, while there is one.
    pub(super) fn engine(&self) -> Option<Engine> {
        lock(&self.engine).as_ref().map(|running| running.engine.clone())
    }

    pub(super) fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // It ends before its window does only when that closes.
            commands.send(command).ok();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.quit();
        self.commands = None;
        for thread in self.threads.drain(..) {
            // A panic has been told where it happened.
            thread.join().ok();
        }
    }
}

/// Looks at the engine, whatever it is at the moment.
fn watch(shared: &Shared, engine: &Mutex<Option<Running>>) {
    let mut hints: Option<PerQos<Suggestion>> = None;
    let mut turn = 0;
    while !shared.quits() {
        let running = lock(engine).as_ref().map(|running| running.engine.clone());
        if let Some(engine) = running {
            if turn % HINTS_EVERY == 0 {
                let targets = *lock(&shared.targets);
                let suggest = |qos: Qos| engine.suggest_batch(qos, targets[qos]).ok();
                let hint = |qos| {
                    suggest(qos).map_or_else(Suggestion::default, |hint| Suggestion {
                        frames: hint.suggested_batch,
                        reason: hint.reason,
                    })
                };
                hints = Some(PerQos::from_fn(hint));
            }
            match engine.snapshot() {
                Ok(snapshot) => {
                    // Before anything is waited for.
                    let now_s = shared.now_s();
                    let streams: Vec<FeedFigures> = lock(&shared.feeds).iter_mut().map(Feed::figures).collect();
                    let mut figures = shared.figures();
                    figures.history.add(now_s, snapshot, hints.as_ref());
                    figures.streams = streams;
                }
                Err(error) => shared.complain("looking at the engine", &error),
            }
        }
        turn += 1;
        shared.rest(WATCH_EVERY);
    }
}
