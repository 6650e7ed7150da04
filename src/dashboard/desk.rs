//! What stands between the window and an engine: figures to look at, and commands to give.
//!
//! ```text
//! window -> command -> thread `operator` : opens, compiles, moves; whatever takes long
//!                      thread `feed`     : sound -> streams -> levels and spectra, in real time
//!                      thread `watch`    : engine -> snapshot -> history, ten times a second
//!                      threads `jobs`    : background jobs of each level, as large as the engine suggests
//! ```
//!
//! The window only ever takes short locks, so nothing that an engine or a driver does can freeze it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, TrySendError};

use super::ear::Ear;
use super::feed::{Feed, FeedFigures, feed};
use super::history::History;
use super::jobs::work;
use super::operator::{Operator, Running, engine_of};
use super::sound::Sound;
use super::watch::watch;
use crate::error::{Error, Result};
use crate::stage::filter::FilterMode;
use crate::{DeviceChoice, DeviceInfo, Engine, EngineOptions, PerQos, Qos};

/// Samples of a frame.
pub(super) const FRAME_LEN: usize = 1024;
/// Commands that may wait, beside the streams of the beginning: more than anybody gives by hand while an engine opens.
const MOST_COMMANDS: usize = 4096;

/// What runs on every stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The gate's threshold in dBFS, so at most 0: -60 unless set; none when everything is live.
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
    /// Below which coherence a job goes behind the others; none where nobody says.
    pub(super) coherence_threshold: Option<f32>,
    /// What takes a while just now.
    pub(super) doing: Option<String>,
    /// What did not work, and when.
    pub(super) problem: Option<(f64, String)>,
}

impl Figures {
    /// Takes over all but the history: what can be done to an engine depends on how it is now, also in a view that is held.
    pub(super) fn follow(&mut self, now: &Self) {
        let Self {
            state,
            device,
            devices,
            history: _,
            streams,
            settings,
            settled,
            coherence_threshold,
            doing,
            problem,
        } = now;
        self.state.clone_from(state);
        self.device.clone_from(device);
        self.devices.clone_from(devices);
        self.streams.clone_from(streams);
        self.settings.clone_from(settings);
        (self.settled, self.coherence_threshold) = (*settled, *coherence_threshold);
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
    /// For each level, the part of its time in which a client with background jobs is at work, 0 to 1.
    pub(super) load: Mutex<PerQos<f32>>,
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
                coherence_threshold: None,
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
        let (commands, orders) = crossbeam::channel::bounded(sounds.len() + MOST_COMMANDS);
        // Nobody takes any yet, but all of these have room.
        sounds.into_iter().for_each(|(sound, qos)| drop(commands.try_send(Command::Open { sound, qos })));
        let engine = Arc::new(Mutex::new(None));
        {
            let mut figures = shared.figures();
            figures.settings = settings.clone();
            figures.coherence_threshold = Some(options.schedule.coherence_threshold);
        }
        let operator = Operator::new(&shared, &engine, options, settings);
        let mut desk = Self {
            shared: Arc::clone(&shared),
            commands: Some(commands),
            engine: Arc::clone(&engine),
            threads: Vec::new(),
        };
        desk.start("dashboard.operator", move || operator.run(&orders))?;
        let of = Arc::clone(&shared);
        desk.start("dashboard.feed", move || feed(&of))?;
        let (of, watched) = (Arc::clone(&shared), Arc::clone(&engine));
        desk.start("dashboard.watch", move || watch(&of, &watched))?;
        for qos in Qos::ALL {
            let (of, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            desk.start(&format!("dashboard.{qos}.jobs"), move || work(&of, &engine, qos))?;
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
        let (commands, _) = crossbeam::channel::bounded(1);
        Self { shared: Arc::clone(shared), commands: Some(commands), engine: Arc::default(), threads: Vec::new() }
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::Window {
            reason: format!("the thread `{name}` does not start: {error}"),
            next: "close other programs",
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Whether it has an engine of its own.
    pub(super) fn is_local(&self) -> bool {
        self.commands.is_some()
    }

    /// Its own engine, while there is one.
    pub(super) fn engine(&self) -> Option<Engine> {
        engine_of(&self.engine)
    }

    /// Asks for it, without waiting; where that cannot be, says why.
    pub(super) fn send(&self, command: Command) -> std::result::Result<(), &'static str> {
        let Some(commands) = &self.commands else { return Ok(()) };
        commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => "so much waits already; try again in a moment",
            TrySendError::Disconnected(_) => "the thread that does it has ended; open the dashboard again",
        })
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
