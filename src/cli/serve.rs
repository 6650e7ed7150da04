//! `auricle serve`: the engine as an HTTP service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::device::DeviceArgument;
use crate::serve::{ConnectionLimits, ServeOptions, Server, Service, Token};
use crate::stage::denoise::model::Model;
use crate::{Engine, EngineOptions, ShutDown};

const DETAILS: &str = "\
What it offers (openapi.json has it all):
  GET  /gpu/hints?qos=low&target_latency_ms=20     how large a batch should be
  POST /v1/clean                                   cleans the recording you send
  GET  /v1/stream                                  a WebSocket for a live signal
  GET  /metrics, /livez, /readyz, /v1/snapshot, /  for whoever watches

Examples:
  auricle serve
  curl --data-binary @noisy.wav 'localhost:7870/v1/clean' -o clean.wav
  curl 'localhost:7870/gpu/hints?qos=low&target_latency_ms=20'
  openssl rand -hex 32 > token
  auricle serve --listen 0.0.0.0:7870 --token-file token
  curl -H \"Authorization: Bearer $(cat token)\" 'http://192.168.0.7:7870/metrics'

It ends on Ctrl-C and SIGTERM: what has begun is finished first, for as long as
--grace says.";

/// Offer the engine over HTTP.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(super) struct ServeArguments {
    /// Address and port; port 0 takes a free one. Addresses that others can reach need --token-file.
    #[arg(long, default_value = "127.0.0.1:7870", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// A file with the secret that clients have to show: 16 letters and digits or more, in one line.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// A model file that clients may ask for, by its name without the extension; can be given more than once.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    load: Vec<PathBuf>,

    /// A name by which clients reach it, besides localhost and IP addresses; can be given more than once.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    #[command(flatten)]
    device: DeviceArgument,

    /// Workers on the CPU; one for each core unless set.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    threads: usize,

    /// Device memory that the engine may take, in MiB; no end unless set.
    #[arg(long, value_name = "MIB")]
    memory_budget: Option<u64>,

    /// Jobs of each level that may wait; more are refused with 429.
    #[arg(long, default_value_t = 1024, value_name = "N", help_heading = "Limits")]
    queue: usize,

    /// Largest body of a request, in MiB.
    #[arg(long, default_value_t = 1024, value_name = "MIB", help_heading = "Limits")]
    max_body: u64,

    /// Requests to clean something at once; more are refused with 429.
    #[arg(long, default_value_t = 32, value_name = "N", help_heading = "Limits")]
    max_requests: usize,

    /// WebSocket streams at once; more are refused with 429.
    #[arg(long, default_value_t = 1024, value_name = "N", help_heading = "Limits")]
    max_streams: usize,

    /// Connections at once; others wait.
    #[arg(long, default_value_t = 2048, value_name = "N", help_heading = "Limits")]
    max_connections: usize,

    /// Seconds that a client may say nothing, or take nothing, before it is let go.
    #[arg(long, default_value_t = 30, value_name = "S", help_heading = "Limits")]
    max_silence: u64,

    /// Seconds in which what has begun may end when the service stops.
    #[arg(long, default_value_t = 10, value_name = "S", help_heading = "Limits")]
    grace: u64,
}

/// Everything that `auricle serve` needs to know.
#[derive(Debug)]
pub(super) struct ServeConfig {
    listen: SocketAddr,
    engine: EngineOptions,
    service: ServeOptions,
    limits: ConnectionLimits,
}

impl ServeConfig {
    pub(super) fn new(arguments: &ServeArguments) -> Result<Self> {
        for (name, value) in [
            ("--queue", arguments.queue),
            ("--max-requests", arguments.max_requests),
            ("--max-streams", arguments.max_streams),
            ("--max-connections", arguments.max_connections),
        ] {
            // Each request has a thread of its own.
            let most = if name == "--max-requests" { 256 } else { 1 << 20 };
            if !(1..=most).contains(&value) {
                bail!("{name} {value}: 1 to {most} are allowed");
            }
        }
        if !(1..=3600).contains(&arguments.max_silence) {
            bail!("--max-silence {}: 1 to 3600 seconds are allowed", arguments.max_silence);
        }
        let device = arguments.device.choice.clone();
        let mut engine = EngineOptions { device, threads: arguments.threads, ..EngineOptions::default() };
        engine.memory_budget = arguments.memory_budget.map(|mib| mib.saturating_mul(1 << 20));
        engine.schedule.capacity = crate::PerQos::from_fn(|_| arguments.queue);
        let longest_silence = Duration::from_secs(arguments.max_silence);
        let service = ServeOptions {
            token: arguments.token_file.as_deref().map(token).transpose()?,
            hosts: arguments.allow_host.clone(),
            models: models(&arguments.load)?,
            largest_body: arguments.max_body.saturating_mul(1 << 20),
            most_requests: arguments.max_requests,
            most_streams: arguments.max_streams,
            longest_silence,
            ..ServeOptions::default()
        };
        let limits = ConnectionLimits {
            most_connections: arguments.max_connections,
            longest_write: longest_silence,
            grace: Duration::from_secs(arguments.grace),
            ..ConnectionLimits::default()
        };
        Ok(Self { listen: arguments.listen, engine, service, limits })
    }
}

fn token(file: &Path) -> Result<Token> {
    let text = std::fs::read_to_string(file).with_context(|| format!("--token-file {}", file.display()))?;
    Token::new(text.trim()).with_context(|| format!("--token-file {}", file.display()))
}

fn models(files: &[PathBuf]) -> Result<BTreeMap<String, Arc<Model>>> {
    let mut models = BTreeMap::new();
    for file in files {
        let what = || format!("--load {}", file.display());
        let name = file.file_stem().and_then(|name| name.to_str()).with_context(what)?.to_owned();
        let model = Model::read(file).with_context(what)?;
        if models.insert(name.clone(), Arc::new(model)).is_some() {
            bail!("--load {}: there is a model `{name}` already; rename one of the files", file.display());
        }
    }
    Ok(models)
}

pub(super) fn serve(config: ServeConfig) -> Result<()> {
    let ServeConfig { listen, engine, service, limits } = config;
    let engine = Engine::open(&engine)?;
    let service = Service::new(engine.clone(), service)?;
    let runtime = crate::serve::runtime().context("starting the threads of the service")?;
    let left = runtime.block_on(async {
        let stop = stop()?;
        let server = Server::bind(listen, &service, limits).await?;
        say(&format!("listening on http://{}, on {}", server.address()?, engine.device().name));
        let left = server.run(stop).await?;
        anyhow::Ok(left)
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    let given_up = engine.shutdown(ShutDown::Drain, limits.grace);
    if left + given_up > 0 {
        bail!("{left} connections and {given_up} jobs were given up after {} s", limits.grace.as_secs());
    }
    say("stopped; nothing was left");
    Ok(())
}

/// When somebody wants it to end. A second wish is granted at once.
fn stop() -> Result<impl Future<Output = ()> + Send> {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let mut is_told = false;
    let tell_once = move || {
        if std::mem::replace(&mut is_told, true) {
            end_at_once();
        }
        // Nobody listens any more when it has ended by itself.
        tell.blocking_send(()).ok();
    };
    ctrlc::set_handler(tell_once).context("listening for Ctrl-C")?;
    Ok(async move {
        told.recv().await;
        say("stopping: what has begun is finished first; once more to end at once");
    })
}

#[expect(clippy::exit, reason = "whoever asks twice does not want to wait")]
fn end_at_once() {
    std::process::exit(130);
}

#[expect(clippy::print_stderr, reason = "this is what the person who started it reads")]
fn say(text: &str) {
    eprintln!("auricle: {text}");
}
