//! Does what the window asks for, on a thread of its own: opening, compiling and moving take as long as they take.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::desk::{Command, Denoiser, FRAME_LEN, Settings, Shared, State, lock};
use super::feed::Feed;
use super::sound::Sound;
use crate::chain::{Chain, ChainSettings, DenoiseChoice, FilterChoice, OUTPUT};
use crate::error::{Error, Result};
use crate::format::SignalSpec;
use crate::frame::{Domain, Faulty};
use crate::stage::denoise::Denoise;
use crate::stage::denoise::model::Model;
use crate::stage::filter::{Measure, PhiResolvent};
use crate::stage::gate::{Gate, Threshold};
use crate::stream::{BackPressure, StreamOptions};
use crate::{DeviceChoice, Devices, Engine, EngineOptions, Plan, Qos, ShutDown};

/// Signal that a stream's ring holds.
const RING_S: f64 = 0.5;

/// An engine, and the plan for background jobs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) plan: Plan,
    /// Whether its filter measures how coherent what it hears is.
    pub(super) has_filter: bool,
}

/// The engine, while there is one.
pub(super) fn engine_of(running: &Mutex<Option<Running>>) -> Option<Engine> {
    lock(running).as_ref().map(|running| running.engine.clone())
}

/// Does what the window asks for.
pub(super) struct Operator {
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
    pub(super) fn new(
        shared: &Arc<Shared>,
        engine: &Arc<Mutex<Option<Running>>>,
        options: EngineOptions,
        settings: Settings,
    ) -> Self {
        let (models, plans, later) = Default::default();
        let (shared, engine) = (Arc::clone(shared), Arc::clone(engine));
        Self { shared, engine, options, settings, models, plans, later, next_id: 1 }
    }

    pub(super) fn run(mut self, orders: &Receiver<Command>) {
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
                Ok(order) => {
                    let order = last_wish(order, orders, &mut waiting);
                    self.obey(order);
                }
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

    /// Opens the engine, or says why there is none and what to do.
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
                let next = next_step(&error).to_owned();
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

    fn engine(&self) -> Result<Engine> {
        let expected = "it has to run for this; choose a device that works";
        engine_of(&self.engine).ok_or_else(|| Error::setting("the engine", "not there", expected))
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
        let engine = self.engine()?;
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
        let moved = self.engine().and_then(|engine| {
            let plan = self.plan(&engine, &spec)?;
            engine.move_stream(&control, &plan, qos)
        });
        if let Err(error) = moved {
            self.shared.complain(&format!("{name} was not moved"), &error);
        }
    }

    fn set(&mut self, settings: Settings, number: u64) {
        if settings != self.settings {
            let has_engine = lock(&self.engine).is_some();
            if has_engine { self.change_to(settings) } else { self.open_with(settings) }
        }
        self.shared.figures().settled = number;
    }

    /// Opens the engine with other settings: it may have failed for those that it had.
    fn open_with(&mut self, settings: Settings) {
        self.doing("opening the engine".to_owned());
        self.shared.figures().settings = settings.clone();
        self.settings = settings;
        self.open_engine();
        self.bring_streams();
    }

    /// Compiles for the new settings, and lets every stream go on with them; where that does not work, all stays as it was.
    fn change_to(&mut self, settings: Settings) {
        self.doing("compiling".to_owned());
        let old = (std::mem::replace(&mut self.settings, settings), std::mem::take(&mut self.plans));
        match self.reopen(false) {
            Ok(()) => self.shared.figures().settings = self.settings.clone(),
            Err(error) => {
                (self.settings, self.plans) = old;
                self.shared.complain("the settings were not changed", &error);
            }
        }
    }

    /// Gives every feed a new stream, with what runs on it now. Where the old engine is gone, so is what was in its streams.
    fn reopen(&mut self, is_other_engine: bool) -> Result<()> {
        let engine = self.engine()?;
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
        // Their files may be others by now.
        self.models.clear();
        self.open_engine();
        self.bring_streams();
    }

    /// Gives the engine that has come, if one has, the streams that there are and those that were asked for meanwhile.
    fn bring_streams(&mut self) {
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

/// Of settings that follow each other, as those of a slider that is being moved, the last ones; another command waits.
fn last_wish(mut order: Command, orders: &Receiver<Command>, waiting: &mut Option<Command>) -> Command {
    while matches!(order, Command::Set(..)) {
        match orders.try_recv() {
            Ok(newer @ Command::Set(..)) => order = newer,
            other => {
                *waiting = other.ok();
                break;
            }
        }
    }
    order
}

/// What helps where no engine has come.
fn next_step(error: &Error) -> &'static str {
    match error {
        Error::UnknownDevice { .. }
        | Error::NoGpu { .. }
        | Error::Device { .. }
        | Error::DeviceLost { .. }
        | Error::OutOfMemory { .. } => "Choose another device on the left; `cpu` needs no driver.",
        _ => "Change the stages on the left.",
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
