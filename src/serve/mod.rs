//! The engine as an HTTP service: hints for clients that size their own batches, cleaning for what is not written in Rust, and
//! figures for whoever watches.
//!
//! ```text
//! GET  /gpu/hints    how large the next batch should be     GET /livez, /readyz   for whoever restarts it
//! POST /v1/clean     a recording in, the clean one out      GET /metrics          Prometheus
//! GET  /v1/stream    a WebSocket: a live signal             GET /v1/snapshot      all figures, as JSON
//! GET  /             a page with live figures               GET /openapi.json     this list, for machines
//! ```
//!
//! An app with a server of its own mounts the [`router`]; `auricle serve` runs a [`Server`] with bounds on all that a client
//! can send, or not send.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use auricle::{Engine, EngineOptions, serve};
//!
//! let engine = Engine::open(&EngineOptions::default())?;
//! let service = serve::Service::new(engine, serve::ServeOptions::default())?;
//! let server = serve::Server::bind("127.0.0.1:7870".parse()?, &service, serve::ConnectionLimits::default()).await?;
//! server.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is refused
//! Whoever can reach the port can use the engine, so a [`Server`] without a [`Token`] listens on loopback only. A `Host` that
//! is no IP address, not `localhost`, and not one of [`ServeOptions::hosts`] is refused, so that no web page can reach the
//! service by a name of its own; so is an `Origin` that is not the service's own. Errors are `application/problem+json`, with
//! a `code` that stays.

mod server;

mod guard;

mod query;

mod plans;

mod bounds;

mod body;

mod clean;

mod stream;

mod hints;

mod metrics;

mod health;

mod snapshot;

mod page;

mod openapi;

mod problem;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

pub use self::guard::Token;
pub use self::problem::Problem;
pub use self::server::{ConnectionLimits, Server, runtime};
use crate::error::Result;
use crate::stage::denoise::model::Model;
use crate::{Engine, Error};

/// What a service allows.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// What clients have to show, as `Authorization: Bearer ...`; `/`, `/livez`, `/readyz` and `/openapi.json` are open. Nobody
    /// has to show anything unless set.
    pub token: Option<Token>,
    /// Names by which clients reach the service, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// Denoisers, by the names that clients call them; the one that is built in is `builtin`.
    pub models: BTreeMap<String, Arc<Model>>,
    /// Bytes of a request's body: 1 GiB unless set. A longer one is cut off.
    pub largest_body: u64,
    /// Requests to clean something that are worked on at once: 32 unless set, 256 at most. More are refused.
    pub most_requests: usize,
    /// WebSocket streams at once: 1024 unless set, 1,048,576 at most. More are refused.
    pub most_streams: usize,
    /// How long a client may leave the service waiting for its next bytes, or with bytes that it does not take: 30 s unless
    /// set. A WebSocket is asked for a sign of life three times as often.
    pub longest_silence: Duration,
    /// How long one request may take to be read and answered, and to wait for the device: 15 min unless set.
    pub longest_request: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            token: None,
            hosts: Vec::new(),
            models: BTreeMap::new(),
            largest_body: 1 << 30,
            most_requests: 32,
            most_streams: 1024,
            longest_silence: Duration::from_secs(30),
            longest_request: Duration::from_secs(900),
        }
    }
}

impl ServeOptions {
    fn check(&self) -> Result<()> {
        if self.models.keys().any(|name| name == "builtin" || name.eq_ignore_ascii_case("off")) {
            return Err(Error::setting("a model's name", "builtin or off", "those mean something already"));
        }
        let times = [
            ("the longest silence", self.longest_silence, Duration::from_millis(100)..=Duration::from_hours(1)),
            ("the longest request", self.longest_request, Duration::from_secs(1)..=Duration::from_hours(24)),
        ];
        for (setting, time, allowed) in times {
            if !allowed.contains(&time) {
                let expected = format!("{:?} to {:?} are allowed", allowed.start(), allowed.end());
                return Err(Error::setting(setting, format!("{time:?}"), expected));
            }
        }
        let counts = [
            // Each has one of the runtime's 512 threads that may block, which others need, too.
            ("the number of requests", self.most_requests, 256),
            ("the number of streams", self.most_streams, 1 << 20),
        ];
        for (setting, count, most) in counts {
            if count > most {
                return Err(Error::setting(setting, count, format!("{most} are the most")));
            }
        }
        Ok(())
    }
}

/// The service of one engine. Clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    app: Arc<App>,
}

/// Streams that are opened at once.
const OPENING: usize = 8;

/// What all requests share.
#[derive(Debug)]
struct App {
    engine: Engine,
    options: ServeOptions,
    plans: plans::Plans,
    metrics: metrics::Metrics,
    /// One for each request that may be worked on, and for each stream.
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// One for each stream that is being opened, which may take a thread's time.
    opening: Semaphore,
    /// True once the service takes nothing more.
    draining: watch::Sender<bool>,
}

impl App {
    /// When the service takes nothing more.
    async fn drained(&self) {
        self.draining.subscribe().wait_for(|draining| *draining).await.ok();
    }
}

impl Service {
    /// A service for an engine, whose threads it starts.
    ///
    /// # Errors
    /// [`Error::Setting`] when an option is out of its range, and what the device reports.
    pub fn new(engine: Engine, options: ServeOptions) -> Result<Self> {
        options.check()?;
        // Starts the lanes: no request has to wait for that.
        engine.snapshot()?;
        let app = App {
            plans: plans::Plans::new(engine.clone()),
            metrics: metrics::Metrics::new(&engine)?,
            requests: Arc::new(Semaphore::new(options.most_requests)),
            streams: Arc::new(Semaphore::new(options.most_streams)),
            opening: Semaphore::new(OPENING),
            draining: watch::Sender::new(false),
            engine,
            options,
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// Its routes, to be served or mounted.
    pub fn router(&self) -> Router {
        let app = Arc::clone(&self.app);
        let router = Router::new()
            .route("/", get(page::page))
            .route("/gpu/hints", get(hints::hints))
            .route("/livez", get(health::livez))
            .route("/metrics", get(metrics::metrics))
            .route("/openapi.json", get(openapi::openapi))
            .route("/readyz", get(health::readyz))
            .route("/v1/clean", post(clean::clean))
            .route("/v1/snapshot", get(snapshot::snapshot))
            .route("/v1/stream", get(stream::stream))
            .fallback(problem::not_found)
            .method_not_allowed_fallback(problem::method_not_allowed)
            .with_state(Arc::clone(&app));
        guard::around(router, &app)
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.app.engine
    }

    /// Takes nothing new, and ends streams as if their clients had: what was pushed comes out first.
    pub fn drain(&self) {
        self.app.draining.send_replace(true);
    }
}

/// The service of an engine with the options as they are unless set, for an app that has a server already: that one has to
/// bound connections and headers. See [`Service`] for more.
///
/// # Errors
/// What the device reports when the engine's threads are started.
pub fn router(engine: Engine) -> Result<Router> {
    Ok(Service::new(engine, ServeOptions::default())?.router())
}
