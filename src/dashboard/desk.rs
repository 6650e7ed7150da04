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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::ear::Ear;
use super::feed::{Feed, FeedFigures, feed};
use super::history::{History, Suggestion};
use super::jobs::{Load, work};
use super::sound::Sound;
use crate::chain::{Chain, ChainSettings, DenoiseChoice, FilterChoice, OUTPUT};
use crate::error::{Error, Result};
use crate::format::SignalSpec;
use crate::frame::{Domain, Faulty};
use crate::stage::denoise::Denoise;
use crate::stage::denoise::model::Model;
use crate::stage::filter::{FilterMode, Measure, PhiResolvent};
use crate::stage::gate::{Gate, Threshold};
use crate::stream::{BackPressure, StreamOptions};
use crate::{DeviceChoice, DeviceInfo, Devices, Engine, EngineOptions, PerQos, Plan, Qos, ShutDown};

/// Samples of a frame.
pub(super) const FRAME_LEN: usize = 1024;
/// Between two looks at the engine.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Of those, how many until it is asked for batches again.
const HINTS_EVERY: u32 = 5;
/// Signal that a stream's ring holds.
const RING_S: f64 = 0.5;

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
    /// Floats that streams dropped, those that are closed included.
    pub(super) dropped: u64,
    /// What takes a while just now.
    pub(super) doing: Option<String>,
    /// What did not work, and when.
    pub(super) problem: Option<(f64, String)>,
}

impl Figures {
    /// Takes over all but the history: what can be done to an engine depends on how it is now, also in a view that is held.
    pub(super) fn follow(&mut self, now: &Self) {
        let Self { state, device, devices, history: _, streams, settings, settled, dropped, doing, problem } = now;
        self.state.clone_from(state);
        self.device.clone_from(device);
        self.devices.clone_from(devices);
        self.streams.clone_from(streams);
        self.settings.clone_from(settings);
        (self.settled, self.dropped) = (*settled, *dropped);
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
    /// Floats that streams dropped which are closed.
    dropped_before: AtomicU64,
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
                dropped: 0,
                doing: None,
                problem: None,
            }),
            feeds: Mutex::default(),
            ear: Mutex::default(),
            load: Mutex::default(),
            targets: Mutex::new(PerQos::from_fn(|qos| Duration::from_millis(targets[qos]))),
            is_fed: AtomicBool::new(true),
            dropped_before: AtomicU64::new(0),
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

    fn complain(&self, what: &str, error: &Error) {
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
        let operator = Operator {
            shared: Arc::clone(&shared),
            engine: Arc::clone(&engine),
            options,
            settings,
            models: Vec::new(),
            plans: Vec::new(),
            later: Vec::new(),
            next_id: 1,
        };
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
                    let dropped: u64 = streams.iter().map(|stream| stream.dropped).sum();
                    let mut figures = shared.figures();
                    figures.history.add(now_s, snapshot, hints.as_ref());
                    figures.dropped = dropped + shared.dropped_before.load(Ordering::Relaxed);
                    figures.streams = streams;
                }
                Err(error) => shared.complain("looking at the engine", &error),
            }
        }
        turn += 1;
        shared.rest(WATCH_EVERY);
    }
}

/// An engine, and the plan for background jobs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) plan: Plan,
    /// Whether its filter measures how coherent what it hears is.
    pub(super) has_filter: bool,
}

/// Does what the window asks for.
struct Operator {
    shared: Arc<Shared>,
    engine: Arc<Mutex<Option<Running>>>,
    options: EngineOptions,
    settings: Settings,
    /// Those that were read, by their files.
    models: Vec<(PathBuf, Arc<Model>)>,
    /// For each kind of signal: its rate as bits.
    plans: Vec<((u64, Domain), Plan)>,
    /// Streams that were asked for while there was no engine.
    later: Vec<(Sound, Qos)>,
    next_id: u64,
}

impl Operator {
    fn run(mut self, orders: &Receiver<Command>) {
        self.open_engine();
        match Devices::find(1) {
            Ok(devices) => self.shared.figures().devices = devices.list(),
            Err(error) => self.shared.complain("looking for devices", &error),
        }
        let mut waiting: Option<Command> = None;
        while !self.shared.quits() {
            let order = match waiting.take() {
                Some(order) => Ok(order),
                None => orders.recv_timeout(Duration::from_millis(100)),
            };
            match order {
                Ok(Command::Set(mut settings, mut number)) => {
                    // Of a slider that is being moved, only the last place counts.
                    for next in orders.try_iter() {
                        match next {
                            Command::Set(newer, later) => (settings, number) = (newer, later),
                            other => {
                                waiting = Some(other);
                                break;
                            }
                        }
                    }
                    self.set(settings, number);
                }
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        lock(&self.shared.feeds).clear();
        let running = lock(&self.engine).take();
        if let Some(running) = running {
            running.engine.shutdown(ShutDown::Abort, Duration::from_secs(2));
        }
    }

    fn obey(&mut self, order: Command) {
        match order {
            Command::Open { sound, qos } if lock(&self.engine).is_none() => self.later.push((sound, qos)),
            Command::Open { sound, qos } => {
                self.doing(format!("opening {}", sound.name()));
                if let Err(error) = self.open(&sound, qos) {
                    self.shared.complain(&format!("{} was not opened", sound.name()), &error);
                }
            }
            Command::Close(id) => {
                let mut feeds = lock(&self.shared.feeds);
                let dropped: u64 = feeds.iter().filter(|feed| feed.id == id).map(Feed::dropped).sum();
                self.shared.dropped_before.fetch_add(dropped, Ordering::Relaxed);
                feeds.retain(|feed| feed.id != id);
                let first = feeds.first().map(|feed| feed.id);
                drop(feeds);
                let was_heard = lock(&self.shared.ear).stream == id;
                if was_heard {
                    self.shared.listen_to(first.unwrap_or(0), 0);
                }
            }
            Command::Move(id, qos) => self.move_to(id, qos),
            Command::Restart(device) => self.restart(device),
            Command::Set(settings, number) => self.set(settings, number),
        }
        self.shared.figures().doing = None;
    }

    fn doing(&self, what: String) {
        self.shared.figures().doing = Some(what);
    }

    fn open_engine(&mut self) {
        {
            let mut figures = self.shared.figures();
            (figures.state, figures.device) = (State::Starting, None);
            figures.history.begin_anew();
        }
        self.plans.clear();
        match self.opened() {
            Ok(running) => {
                let device = running.engine.device().clone();
                *lock(&self.engine) = Some(running);
                let mut figures = self.shared.figures();
                (figures.state, figures.device) = (State::Running, Some(device));
            }
            Err(error) => {
                let next = "Choose another device on the left; `cpu` needs no driver.".to_owned();
                self.shared.figures().state = State::Failed { error: error.to_string(), next };
            }
        }
    }

    fn opened(&mut self) -> Result<Running> {
        let engine = Engine::open(&self.options)?;
        let speech = Sound::Speech.open()?;
        let plan = self.plan(&engine, &speech.spec())?;
        Ok(Running { engine, plan, has_filter: self.settings.filter.is_some() })
    }

    fn running(&self) -> Result<Engine> {
        let expected = "it has failed or is being opened; choose a device that works";
        let running = lock(&self.engine).as_ref().map(|running| running.engine.clone());
        running.ok_or_else(|| Error::setting("the engine", "not there", expected))
    }

    /// The plan for a kind of signal.
    fn plan(&mut self, engine: &Engine, spec: &SignalSpec) -> Result<Plan> {
        let key = (spec.sample_rate_hz.unwrap_or(0.0).to_bits(), spec.domain());
        if let Some((_, plan)) = self.plans.iter().find(|(known, _)| *known == key) {
            return Ok(plan.clone());
        }
        let plan = engine.compile(&self.chain(spec)?.graph())?;
        self.plans.push((key, plan.clone()));
        Ok(plan)
    }

    fn chain(&mut self, spec: &SignalSpec) -> Result<Chain> {
        let Settings { gate_db, filter, denoiser, strength } = self.settings.clone();
        let model = match denoiser {
            Denoiser::Off => None,
            Denoiser::Builtin => Some(Model::builtin()),
            Denoiser::File(path) => Some(self.model(path)?),
        };
        let settings = ChainSettings {
            gate: Gate {
                threshold: gate_db.map_or(Threshold::Off, Threshold::Decibels),
                hold: 2,
                faulty: Faulty::Silence,
                ..Gate::default()
            },
            filter: filter.map_or(FilterChoice::Off, FilterChoice::Mode),
            phi_resolvent: PhiResolvent { measure: Measure::Coherence, ..PhiResolvent::default() },
            denoise: DenoiseChoice::WhereItFits(model.map(|model| Denoise { strength, ..Denoise::new(model) })),
            frame_len: FRAME_LEN,
        };
        settings.check()?;
        let (chain, notice) = settings.for_signal(spec)?;
        if let Some(notice) = notice {
            let now_s = self.shared.now_s();
            self.shared.figures().problem = Some((now_s, notice));
        }
        Ok(chain)
    }

    fn model(&mut self, path: PathBuf) -> Result<Arc<Model>> {
        if let Some((_, model)) = self.models.iter().find(|(known, _)| *known == path) {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::read(&path).map_err(Error::Model)?);
        self.models.push((path, Arc::clone(&model)));
        Ok(model)
    }

    fn open(&mut self, sound: &Sound, qos: Qos) -> Result<()> {
        let player = sound.open()?;
        let engine = self.running()?;
        let plan = self.plan(&engine, &player.spec())?;
        let (name, id) = (format!("{} {}", sound.name(), self.next_id), self.next_id);
        let stream = engine.open_stream(&plan, stream_options(&name, player.rate_hz(), player.channels(), qos))?;
        let (input, output) = stream.split();
        self.next_id += 1;
        let mut feeds = lock(&self.shared.feeds);
        feeds.push(Feed::new(id, name, player, (input, output)));
        let is_first = feeds.len() == 1;
        drop(feeds);
        if is_first {
            self.shared.listen_to(id, 0);
        }
        Ok(())
    }

    fn move_to(&mut self, id: u64, qos: Qos) {
        let of = |feed: &Feed| (feed.control(), feed.spec(), feed.name.clone());
        let found = lock(&self.shared.feeds).iter().find(|feed| feed.id == id).map(of);
        let Some((control, spec, name)) = found else { return };
        let moved = self.running().and_then(|engine| {
            let plan = self.plan(&engine, &spec)?;
            engine.move_stream(&control, &plan, qos)
        });
        if let Err(error) = moved {
            self.shared.complain(&format!("{name} was not moved"), &error);
        }
    }

    /// Compiles for the new settings, and lets every stream go on with them; where that does not work, all stays as it was.
    fn set(&mut self, settings: Settings, number: u64) {
        if settings == self.settings {
            self.shared.figures().settled = number;
            return;
        }
        self.doing("compiling".to_owned());
        let old = (std::mem::replace(&mut self.settings, settings), std::mem::take(&mut self.plans));
        match self.reopen(false) {
            Ok(()) => self.shared.figures().settings = self.settings.clone(),
            Err(error) => {
                (self.settings, self.plans) = old;
                self.shared.complain("the settings were not changed", &error);
            }
        }
        let mut figures = self.shared.figures();
        (figures.doing, figures.settled) = (None, number);
    }

    /// Gives every feed a new stream, with what runs on it now. Where the old engine is gone, so is what was in its streams.
    fn reopen(&mut self, is_other_engine: bool) -> Result<()> {
        let engine = self.running()?;
        let speech = Sound::Speech.open()?.spec();
        let plan = self.plan(&engine, &speech)?;
        let of = |feed: &Feed| (feed.id, feed.name.clone(), feed.spec(), feed.qos());
        let feeds: Vec<_> = lock(&self.shared.feeds).iter().map(of).collect();
        let mut streams = Vec::new();
        for (id, name, spec, qos) in feeds {
            let plan = self.plan(&engine, &spec)?;
            let rate_hz = spec.sample_rate_hz.unwrap_or(0.0);
            streams.push((id, engine.open_stream(&plan, stream_options(&name, rate_hz, spec.channels, qos))?));
        }
        for (id, stream) in streams {
            if let Some(feed) = lock(&self.shared.feeds).iter_mut().find(|feed| feed.id == id) {
                feed.go_on_with(stream.split(), is_other_engine);
            }
        }
        *lock(&self.engine) = Some(Running { engine, plan, has_filter: self.settings.filter.is_some() });
        Ok(())
    }

    fn restart(&mut self, device: DeviceChoice) {
        self.doing("restarting the engine".to_owned());
        let old = lock(&self.engine).take();
        if let Some(old) = old {
            old.engine.shutdown(ShutDown::Abort, Duration::from_secs(2));
        }
        self.options.device = device;
        self.open_engine();
        if lock(&self.engine).is_none() {
            return;
        }
        if let Err(error) = self.reopen(true) {
            self.shared.complain("the streams were not opened again", &error);
        }
        for (sound, qos) in std::mem::take(&mut self.later) {
            self.obey(Command::Open { sound, qos });
        }
        let (stream, channel) = {
            let listening = lock(&self.shared.ear);
            (listening.stream, listening.channel)
        };
        self.shared.listen_to(stream, channel);
    }
}

fn stream_options(name: &str, rate_hz: f64, channels: usize, qos: Qos) -> StreamOptions {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and bounded")]
    let frames = (RING_S * rate_hz / FRAME_LEN as f64) as usize;
    StreamOptions {
        name: name.to_owned().into(),
        channels,
        qos,
        output: Some(OUTPUT.into()),
        ring: frames.clamp(16, 1 << 14),
        // A live signal does not wait.
        back_pressure: BackPressure::DropOldest,
        max_delay: Duration::from_millis(5),
        ..StreamOptions::default()
    }
}
