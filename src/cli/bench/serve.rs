//! `auricle bench serve`: the HTTP service under everything at once, through its sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use axum::body::{Body, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::{Place, give, resident_bytes, seconds, seconds_since_1970, table};
use crate::ScheduleOptions;
use crate::serve::{self, ConnectionLimits, ServeOptions, Server, Service};

const DETAILS: &str = "\
Starts the service on a free port of this machine and puts it under load, all at
once:

  streams    WebSockets with a live signal each, in real time, at the level
             `high`: what goes in must come out
  clients    each sends one batch after the other at the level `low`, as large
             as /gpu/hints says for 50 ms
  hints      asked for a hundred times per second beside that: how soon they
             come is what is measured
  watchers   /metrics, /v1/snapshot and /readyz once a second
  rubbish    twenty times per second something that nobody should send

Example:
  auricle bench serve --seconds 600 --json -";

/// Measure the HTTP service under mixed load.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    place: Place,

    /// How long, in seconds.
    #[arg(long, default_value_t = 60.0, value_parser = seconds::<86_400>)]
    seconds: f64,

    /// Live streams, of 16 kHz each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1024))]
    streams: u32,

    /// Clients that keep the engine busy.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=32))]
    clients: u32,

    /// The denoiser of streams and clients: builtin or off.
    #[arg(long, default_value = "builtin", value_parser = ["builtin", "off"])]
    denoise: String,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Figures {
    device: String,
    date: Option<u64>,
    seconds: f64,
    denoise: String,
    streams: u32,
    stream_floats_pushed: u64,
    stream_floats_lost: u64,
    hints: u64,
    hints_p50_ms: f64,
    hints_p99_ms: f64,
    hints_max_ms: f64,
    clients: u32,
    client_jobs: u64,
    client_frames_per_s: f64,
    client_batch: u64,
    client_p95_ms: Option<f64>,
    refused: u64,
    occupancy: f64,
    rubbish: u64,
    server_errors: u64,
    memory_bytes: Option<u64>,
    /// At the end, against that after a quarter of the time.
    memory_growth: Option<f64>,
}

/// What the tasks of the load count.
#[derive(Debug, Default)]
struct Counts {
    pushed: AtomicU64,
    received: AtomicU64,
    jobs: AtomicU64,
    frames: AtomicU64,
    refused: AtomicU64,
    rubbish: AtomicU64,
    server_errors: AtomicU64,
    open_streams: AtomicUsize,
}

#[derive(Clone)]
struct Load {
    address: SocketAddr,
    counts: Arc<Counts>,
    until: Instant,
    denoise: String,
    /// What clients send parts of.
    signal: Bytes,
}

/// So many frames are one job of the service, at most.
const MOST_FRAMES: u64 = 1024;

pub(super) fn bench(arguments: &ServeArguments) -> Result<()> {
    let engine = arguments.place.engine(ScheduleOptions::default())?;
    let service = Service::new(engine.clone(), ServeOptions::default())?;
    let runtime = |name: &str, threads: usize| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name(name).enable_all();
        builder
    };
    let of_clients = runtime("auricle.clients", 1).build().context("starting threads")?;
    let of_server = serve::runtime().context("starting the threads of the service")?;
    // Whoever measures should not wait for those who only make load: a client that asks is elsewhere.
    let of_asker = runtime("auricle.asker", 1).build().context("starting threads")?;
    let any = "127.0.0.1:0".parse().context("an address")?;
    let server = of_server.block_on(Server::bind(any, &service, ConnectionLimits::default()))?;
    let address = server.address()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = of_server.spawn(server.run(async { drop(stopped.await) }));
    let figures = of_clients.block_on(run(arguments, address, &engine.device().name, &of_asker))?;
    drop(stop);
    let left = of_server.block_on(running).context("the server's end")??;
    if left > 0 {
        bail!("{left} connections did not end by themselves");
    }
    give(&figures, &figures.table(), arguments.place.json.as_deref())
}

async fn run(
    arguments: &ServeArguments,
    address: SocketAddr,
    device: &str,
    of_asker: &tokio::runtime::Runtime,
) -> Result<Figures> {
    let start = Instant::now();
    let length = Duration::from_secs_f64(arguments.seconds);
    let signal = (0..MOST_FRAMES * 1024).flat_map(|sample| voice(sample).to_le_bytes()).collect();
    let (until, denoise) = (start + length, arguments.denoise.clone());
    let load = Load { address, counts: Arc::default(), until, denoise, signal };
    let streams = load.open_streams(arguments.streams).await?;
    let clients: Vec<_> = (0..arguments.clients).map(|_| tokio::spawn(load.clone().client())).collect();
    let beside = [tokio::spawn(load.clone().watch()), tokio::spawn(load.clone().send_rubbish())];
    let memory = tokio::spawn(memory(start, length));
    let times = of_asker.spawn(load.clone().ask_for_hints()).await??;
    let last = load.hint().await?;
    for task in streams.into_iter().chain(clients).chain(beside) {
        task.await??;
    }
    Ok(Figures::new(arguments, device, &load.counts, &times, &last, memory.await?))
}

/// Resident memory after a quarter of the time, and at its end: the largest of three looks each, since it comes and goes.
async fn memory(start: Instant, length: Duration) -> (Option<u64>, Option<u64>) {
    let look = async |part: f64| {
        let mut most = None;
        for at in [part - 0.05, part - 0.025, part] {
            tokio::time::sleep_until((start + length.mul_f64(at)).into()).await;
            most = most.max(resident_bytes());
        }
        most
    };
    (look(0.25).await, look(0.98).await)
}

/// A connection that is used again and again.
struct Connection(SendRequest<Body>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn ask(&mut self, method: &str, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        self.0.ready().await?;
        let request = hyper::Request::builder().method(method).uri(path).header("Host", "localhost");
        let response = self.0.send_request(request.body(Body::from(body))?).await?;
        let status = response.status().as_u16();
        Ok((status, axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await?))
    }
}

const HINTS: &str = "/gpu/hints?qos=low&target_latency_ms=50";

impl Load {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// So many live signals, all of them open: that takes a moment, in which the denoiser's state is made.
    async fn open_streams(&self, count: u32) -> Result<Vec<JoinHandle<Result<()>>>> {
        let mut streams: Vec<_> = (0..count).map(|index| tokio::spawn(self.clone().stream(index))).collect();
        while self.counts.open_streams.load(Ordering::Relaxed) < streams.len() {
            if let Some(ended) = streams.iter().position(JoinHandle::is_finished) {
                streams.swap_remove(ended).await??;
                bail!("a stream ended before all were open");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(streams)
    }

    /// A live signal, 20 ms at a time.
    async fn stream(self, index: u32) -> Result<()> {
        let url = format!(
            "ws://{}/v1/stream?sample_rate=16000&frame_len=256&qos=high&denoise={}",
            self.address, self.denoise
        );
        let (socket, _) = tokio_tungstenite::client_async(url, TcpStream::connect(self.address).await?).await?;
        let (mut to, mut from) = socket.split();
        self.counts.open_streams.fetch_add(1, Ordering::Relaxed);
        let receiving = Arc::clone(&self.counts);
        let receive = tokio::spawn(async move {
            while let Some(message) = from.next().await {
                match message? {
                    Message::Binary(bytes) => {
                        receiving.received.fetch_add((bytes.len() / 4) as u64, Ordering::Relaxed);
                    }
                    Message::Text(text) if text.contains("\"error\"") => bail!("a stream failed: {text}"),
                    Message::Text(text) if text.contains("\"finished\"") => return Ok(()),
                    _ => {}
                }
            }
            bail!("a stream broke off")
        });
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut at = u64::from(index) * 1000;
        while !self.is_over() {
            tick.tick().await;
            // The signal has whole seconds, so it goes on without a click.
            let begin = usize::try_from(at % 16_000)? * 4;
            at += 320;
            to.send(Message::Binary(self.signal.slice(begin..begin + 1280))).await?;
            self.counts.pushed.fetch_add(320, Ordering::Relaxed);
        }
        to.send(Message::text("{\"type\": \"finish\"}")).await?;
        let ended = tokio::time::timeout(Duration::from_secs(30), receive).await;
        ended.map_err(|_late| anyhow!("a stream did not give back all within 30 s"))??
    }

    /// One batch after the other, as large as the service says.
    async fn client(self) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        let path = format!("/v1/clean?format=f32&sample_rate=16000&qos=low&denoise={}", self.denoise);
        while !self.is_over() {
            let hint: serde_json::Value = serde_json::from_slice(&connection.ask("GET", HINTS, Bytes::new()).await?.1)?;
            let frames = hint["suggested_batch"].as_u64().context("a hint without a batch")?.min(MOST_FRAMES);
            let body = self.signal.slice(..usize::try_from(frames)? * 4096);
            match connection.ask("POST", &path, body).await? {
                (200, _) => {
                    self.counts.jobs.fetch_add(1, Ordering::Relaxed);
                    self.counts.frames.fetch_add(frames, Ordering::Relaxed);
                }
                (429, _) => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                (status, body) => bail!("a client got {status}: {}", String::from_utf8_lossy(&body)),
            }
        }
        Ok(())
    }

    async fn hint(&self) -> Result<serde_json::Value> {
        let (_, body) = Connection::open(self.address).await?.ask("GET", HINTS, Bytes::new()).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// How long each took, in nanoseconds. It holds as much memory at the beginning as at the end.
    async fn ask_for_hints(self) -> Result<Histogram<u32>> {
        let mut connection = Connection::open(self.address).await?;
        let mut times = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !self.is_over() {
            tick.tick().await;
            let start = Instant::now();
            let (status, body) = connection.ask("GET", HINTS, Bytes::new()).await?;
            if status != 200 {
                bail!("hints gave {status}: {}", String::from_utf8_lossy(&body));
            }
            times.saturating_record(u64::try_from(start.elapsed().as_nanos())?);
        }
        Ok(times)
    }

    async fn watch(self) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        while !self.is_over() {
            for path in ["/metrics", "/v1/snapshot?spans=true", "/readyz"] {
                let (status, _) = connection.ask("GET", path, Bytes::new()).await?;
                self.counts.server_errors.fetch_add(u64::from(status >= 500), Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn send_rubbish(self) -> Result<()> {
        let rubbish: [&[u8]; 6] = [
            b"GET /gpu/hints?qos=urgent HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET /gpu/hints HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            b"POST /v1/clean?format=f32&phi=-1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd",
            b"POST /v1/clean HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\nConnection: close\r\n\r\nRIFFxxxxWAVE",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all \r\n\r\n",
            b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n",
        ];
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for bytes in rubbish.iter().cycle() {
            tick.tick().await;
            if self.is_over() {
                break;
            }
            let mut connection = TcpStream::connect(self.address).await?;
            connection.write_all(bytes).await.ok();
            let mut back = Vec::new();
            // It may close without a word.
            tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut back)).await?.ok();
            self.counts.rubbish.fetch_add(1, Ordering::Relaxed);
            self.counts.server_errors.fetch_add(u64::from(back.starts_with(b"HTTP/1.1 5")), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Tones that come and go, loud enough for every gate.
fn voice(sample: u64) -> f32 {
    let at = (sample % 16_000) as f32 / 16_000.0;
    0.3 * (std::f32::consts::TAU * 220.0 * at).sin() * (0.6 + 0.4 * (std::f32::consts::TAU * 3.0 * at).sin())
}

impl Figures {
    fn new(
        arguments: &ServeArguments,
        device: &str,
        counts: &Counts,
        times: &Histogram<u32>,
        last: &serde_json::Value,
        (early, late): (Option<u64>, Option<u64>),
    ) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            device: device.to_owned(),
            date: seconds_since_1970(),
            seconds: arguments.seconds,
            denoise: arguments.denoise.clone(),
            streams: arguments.streams,
            stream_floats_pushed: count(&counts.pushed),
            stream_floats_lost: count(&counts.pushed).abs_diff(count(&counts.received)),
            hints: times.len(),
            hints_p50_ms: times.value_at_quantile(0.5) as f64 / 1e6,
            hints_p99_ms: times.value_at_quantile(0.99) as f64 / 1e6,
            hints_max_ms: times.max() as f64 / 1e6,
            clients: arguments.clients,
            client_jobs: count(&counts.jobs),
            client_frames_per_s: count(&counts.frames) as f64 / arguments.seconds,
            client_batch: last["suggested_batch"].as_u64().unwrap_or(0),
            client_p95_ms: last["p95_latency_ms"].as_f64(),
            refused: count(&counts.refused),
            occupancy: last["occupancy"].as_f64().unwrap_or(0.0),
            rubbish: count(&counts.rubbish),
            server_errors: count(&counts.server_errors),
            memory_bytes: late,
            memory_growth: early.zip(late).map(|(early, late)| late as f64 / early as f64 - 1.0),
        }
    }

    fn table(&self) -> String {
        let head = format!(
            "{}: {} live streams and {} clients for {} s, denoiser {}",
            self.device, self.streams, self.clients, self.seconds, self.denoise
        );
        let client_p95 = self.client_p95_ms.map_or_else(|| "none".to_owned(), |p95| format!("{p95:.1} ms"));
        let mut rows = vec![
            (
                "hints p50 p99 max",
                format!("{:.2} ms, {:.2} ms, {:.2} ms", self.hints_p50_ms, self.hints_p99_ms, self.hints_max_ms),
            ),
            ("streams", format!("{} samples in, {} lost", self.stream_floats_pushed, self.stream_floats_lost)),
            (
                "clients",
                format!(
                    "{} jobs, {:.0} frames/s; at the end {} frames in a job, p95 {client_p95}; {} refused",
                    self.client_jobs, self.client_frames_per_s, self.client_batch, self.refused
                ),
            ),
            ("device busy", format!("{:.0} %", 100.0 * self.occupancy)),
            ("rubbish", format!("{}, answered with {} server errors", self.rubbish, self.server_errors)),
        ];
        if let (Some(memory), Some(growth)) = (self.memory_bytes, self.memory_growth) {
            let mib = memory as f64 / f64::from(1 << 20);
            rows.push(("memory, growth", format!("{mib:.1} MiB, {:.2} %", 100.0 * growth)));
        }
        table(&head, &rows)
    }
}
