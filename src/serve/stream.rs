//! `/v1/stream`: a live signal through a WebSocket.
//!
//! ```text
//! client -> binary: samples, f32, little-endian, interleaved      text: {"type": "finish"}, ...
//! client <- binary: the same, clean, in order, as many in all     text: {"type": "ready"}, {"type": "finished"}, ...
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, State};
use axum::http::{StatusCode, request::Parts};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::bounds::StreamBounds;
use super::guard::SUBPROTOCOL;
use super::query::{CleanQuery, Params};
use super::{App, Problem};
use crate::chain::OUTPUT;
use crate::format::{SampleFormat, SignalSpec};
use crate::{Domain, Error, Plan, Qos, StreamCounters, StreamInput, StreamOptions, StreamOutput};

/// Bytes of one message, at most.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Floats of one answer, at most.
const ANSWER_FLOATS: usize = 1 << 14;
/// Of one stream, of which there may be many.
const BOUNDS: StreamBounds = StreamBounds { block_floats: 1 << 16, ring: 32, ring_floats: 1 << 18 };

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    /// Nothing more comes: what is left is cleaned, sent, and the connection closed.
    Finish,
    /// What comes is kept until `resume`.
    Pause,
    Resume,
    /// How many floats went where.
    Counters,
    /// From now on at another level.
    Qos {
        qos: String,
    },
}

/// What the service says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Notice {
    Ready {
        qos: Qos,
        channels: usize,
        frame_len: usize,
        /// So late is the output, in sample times, before any time is spent on computing.
        latency_samples: usize,
        denoiser: Option<String>,
        /// What a client might not expect.
        notice: Option<String>,
    },
    Counters(Counters),
    Qos {
        qos: Qos,
    },
    Paused,
    Resumed,
    /// All that came has been sent back.
    Finished(Counters),
    /// What was sent last is not taken; the stream goes on, unless it is closed.
    Error {
        code: &'static str,
        detail: String,
    },
}

/// Floats: `pushed = popped + dropped + queued`.
#[derive(Debug, Serialize)]
struct Counters {
    pushed: u64,
    popped: u64,
    dropped: u64,
    queued: u64,
}

impl From<StreamCounters> for Counters {
    fn from(counters: StreamCounters) -> Self {
        let StreamCounters { pushed, popped, dropped, queued, .. } = counters;
        Self { pushed, popped, dropped, queued }
    }
}

/// The upgrade, or a problem that says what is missing.
#[derive(Debug)]
pub(super) struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        upgrade.map(Self).map_err(|error| {
            let status = error.status();
            let status = if status.is_client_error() { status } else { StatusCode::BAD_REQUEST };
            Problem::new(status, "no-websocket", format!("this is for WebSockets: {}", error.body_text()))
        })
    }
}

/// A live signal: a WebSocket that takes binary messages of `f32` samples (little-endian, channels interleaved, 1 MiB at most)
/// and gives them back clean. Text messages are JSON: `{"type": "finish"}`, `pause`, `resume`, `counters`, or
/// `{"type": "qos", "qos": "low"}`. The service says `ready` first and `finished` last. `format` may be `f32` or `cf32`, and
/// `sample_rate` has to be given for a denoiser to run. Where the client does not keep up, nothing is taken of it until it
/// does; while it has paused, what has no room, and all that comes after it, is refused with the code `paused`. A browser,
/// which can set no header, shows its token as the subprotocol `auricle.token.TOKEN`, beside `auricle.v1`.
#[utoipa::path(get, path = "/v1/stream", tag = "engine", params(CleanQuery), responses(
    (status = 101, description = "a WebSocket"),
    (status = 400, description = "`no-websocket`, `unknown-qos`, `unknown-model`, `bad-query`, `bad-setting`, `bad-signal`",
     body = Problem, content_type = "application/problem+json"),
    (status = 426, description = "`no-websocket`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`busy`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`device-lost`, `out-of-memory` or `shutting-down`", body = Problem,
     content_type = "application/problem+json"),
))]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Params(query): Params<CleanQuery>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    if *app.draining.borrow() {
        return Err(Problem::draining());
    }
    let cleaning = app.cleaning(&query)?;
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Err(Problem::busy(format!("{} streams are open already", app.options.most_streams)));
    };
    let format = cleaning.hints.format.unwrap_or(SampleFormat::F32);
    if format != SampleFormat::F32 && format != SampleFormat::CF32 {
        return Err(Problem::bad_request("bad-setting", format!("format: a stream is of f32 or cf32, not {format}")));
    }
    let channels = cleaning.hints.channels.unwrap_or(1);
    let spec = SignalSpec::raw(format, cleaning.hints.sample_rate_hz, channels);
    let block = BOUNDS.check(&spec, cleaning.chain.frame_len)?;
    let _turn = app.opening.acquire().await;
    let opening = Arc::clone(&app);
    // Compiling takes its time.
    let opened = tokio::task::spawn_blocking(move || -> Result<_, Problem> {
        let (chain, notice) = cleaning.chain.for_signal(&spec)?;
        let plan = opening.plans.get(&chain, &cleaning.model)?;
        let options = StreamOptions {
            name: "websocket".into(),
            channels,
            qos: cleaning.qos,
            output: Some(OUTPUT.into()),
            ring: BOUNDS.ring(block),
            ..StreamOptions::default()
        };
        let (input, output) = opening.engine.open_stream(&plan, options)?.split();
        let frame_len = cleaning.chain.frame_len;
        let ready = Notice::Ready {
            qos: cleaning.qos,
            channels,
            frame_len,
            latency_samples: (1 + plan.latency_frames()) * frame_len,
            denoiser: chain.denoise.map(|denoise| denoise.model.description().name.clone()),
            notice,
        };
        let floats_per_time = channels * if spec.domain() == Domain::Complex { 2 } else { 1 };
        let live =
            Live { app: opening, plan, input, floats_per_time, is_paused: false, is_full: false, samples: Vec::new() };
        Ok((live, output, ready))
    });
    let (live, output, ready) =
        opened.await.map_err(|_panicked| Problem::internal("opening the stream ended without an answer"))??;
    let upgrade = upgrade.max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE).protocols([SUBPROTOCOL]);
    Ok(upgrade.on_upgrade(move |socket| live.run(socket, output, ready, permit)))
}

/// The side of a stream that its client pushes into.
struct Live {
    app: Arc<App>,
    plan: Plan,
    input: StreamInput,
    floats_per_time: usize,
    is_paused: bool,
    /// While paused, something had no room: what comes behind it would be put in its place.
    is_full: bool,
    /// Of the message at hand; used again, so that a stream that runs for days leaves no holes in memory.
    samples: Vec<f32>,
}

/// How a stream ends: what a close says, and why.
type End = (u16, String);
/// What there is to say, and with what the stream is closed for it, if it is.
type Said = (Notice, Option<u16>);

impl Live {
    async fn run(mut self, socket: WebSocket, output: StreamOutput, ready: Notice, permit: OwnedSemaphorePermit) {
        let (sink, mut from_client) = socket.split();
        let (notices, to_client) = mpsc::channel(16);
        let longest_silence = self.app.options.longest_silence;
        let mut sender = tokio::spawn(send(sink, output, to_client, longest_silence));
        notices.send((ready, None)).await.ok();
        if let Err(end) = self.listen(&mut from_client, &notices).await {
            let (close, detail) = end;
            let code = match close {
                close_code::AWAY => "shutting-down",
                close_code::ERROR => "device-lost",
                close_code::POLICY => "gone",
                _ => "protocol-error",
            };
            notices.send((Notice::Error { code, detail }, Some(close))).await.ok();
        }
        // Which resumes it, too, if it was paused: nobody could any more.
        drop(self.input);
        drop(notices);
        // What the client still says, and be it a pong, is read until it has closed, too: with bytes that nobody has read, the
        // system would break the connection, and what is on its way to the client would be lost.
        let mut closed = std::pin::pin!(async { while let Some(Ok(_)) = from_client.next().await {} });
        let all_is_sent = tokio::select! {
            () = &mut closed => false,
            _ = &mut sender => true,
        };
        if all_is_sent {
            timeout(longest_silence, closed).await.ok();
        } else {
            sender.await.ok();
        }
        drop(permit);
    }

    /// Until the client has finished, or must be let go.
    async fn listen(
        &mut self,
        from_client: &mut SplitStream<WebSocket>,
        notices: &mpsc::Sender<Said>,
    ) -> Result<(), End> {
        let longest_silence = self.app.options.longest_silence;
        loop {
            let next = tokio::select! {
                next = timeout(longest_silence, from_client.next()) => next,
                () = self.app.drained() => return Err((close_code::AWAY, "the service shuts down".to_owned())),
            };
            let message = match next {
                Err(_) => {
                    let detail = format!("nothing was heard for {} s", longest_silence.as_secs());
                    return Err((close_code::POLICY, detail));
                }
                Ok(None | Some(Ok(Message::Close(_)))) => return Ok(()),
                Ok(Some(Err(error))) => return Err((close_code::PROTOCOL, error.to_string())),
                Ok(Some(Ok(message))) => message,
            };
            let answer = match message {
                Message::Binary(bytes) => self.take(&bytes).await?,
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(Control::Finish) => return Ok(()),
                    Ok(control) => Some(self.obey(control).await),
                    Err(error) => Some(Notice::Error { code: "bad-control", detail: error.to_string() }),
                },
                _ => None,
            };
            if let Some(answer) = answer
                && notices.send((answer, None)).await.is_err()
            {
                return Ok(());
            }
        }
    }

    /// Takes samples, when there is room for them.
    async fn take(&mut self, bytes: &Bytes) -> Result<Option<Notice>, End> {
        if !bytes.len().is_multiple_of(4 * self.floats_per_time) {
            let whole = 4 * self.floats_per_time;
            let detail = format!("{} bytes are no whole number of sample times of {whole} bytes", bytes.len());
            return Ok(Some(Notice::Error { code: "bad-message", detail }));
        }
        self.samples.clear();
        self.samples
            .extend(bytes.chunks_exact(4).map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]])));
        if self.is_full {
            return Ok(Some(self.no_room(0)));
        }
        let before = self.input.control().counters().pushed;
        let pushed = if self.is_paused {
            // Whoever has paused must be heard when it resumes, so nothing waits for room now.
            timeout(Duration::ZERO, self.input.push_async(&self.samples)).await.ok()
        } else {
            tokio::select! {
                pushed = self.input.push_async(&self.samples) => Some(pushed),
                () = self.app.drained() => return Err((close_code::AWAY, "the service shuts down".to_owned())),
            }
        };
        match pushed {
            Some(Ok(_)) => Ok(None),
            Some(Err(error @ Error::FaultyFrame { .. })) => {
                Ok(Some(Notice::Error { code: "faulty-samples", detail: error.to_string() }))
            }
            Some(Err(error)) => Err((close_code::ERROR, error.to_string())),
            None => {
                let taken = self.input.control().counters().pushed - before;
                self.is_full = taken < self.samples.len() as u64;
                Ok(Some(self.no_room(taken)))
            }
        }
    }

    fn no_room(&self, taken: u64) -> Notice {
        let detail = format!("paused, and full: {taken} of {} floats were taken", self.samples.len());
        Notice::Error { code: "paused", detail }
    }

    async fn obey(&mut self, control: Control) -> Notice {
        let stream = self.input.control();
        match control {
            Control::Pause => {
                self.is_paused = true;
                stream.pause();
                Notice::Paused
            }
            Control::Resume | Control::Finish => {
                (self.is_paused, self.is_full) = (false, false);
                stream.resume();
                Notice::Resumed
            }
            Control::Counters => Notice::Counters(stream.counters().into()),
            Control::Qos { qos } => {
                let qos: Qos = match qos.parse() {
                    Ok(qos) => qos,
                    Err(error) => return Notice::Error { code: "unknown-qos", detail: error.to_string() },
                };
                let (app, plan) = (Arc::clone(&self.app), self.plan.clone());
                let moved = tokio::task::spawn_blocking(move || app.engine.move_stream(&stream, &plan, qos)).await;
                match moved {
                    Ok(Ok(())) => Notice::Qos { qos },
                    Ok(Err(error)) => {
                        let problem = Problem::from(error);
                        Notice::Error { code: problem.code(), detail: format!("not moved: {}", problem.detail()) }
                    }
                    Err(_) => Notice::Error { code: "internal", detail: "moving the stream ended badly".to_owned() },
                }
            }
        }
    }
}

/// Sends what comes out, and what there is to say, until both have ended.
async fn send(
    mut sink: SplitSink<WebSocket, Message>,
    mut output: StreamOutput,
    mut notices: mpsc::Receiver<Said>,
    longest_silence: Duration,
) {
    let control = output.control();
    let mut samples = vec![0.0; ANSWER_FLOATS];
    let mut ping = tokio::time::interval(longest_silence / 3);
    let mut has_notices = true;
    let mut end = (close_code::NORMAL, "all that came was sent back".to_owned());
    loop {
        let message = tokio::select! {
            biased;
            notice = notices.recv(), if has_notices => match notice {
                None => {
                    has_notices = false;
                    continue;
                }
                Some((notice, close)) => {
                    if let (Notice::Error { detail, .. }, Some(close)) = (&notice, close) {
                        end = (close, detail.clone());
                    }
                    text(&notice)
                }
            },
            pulled = output.pull_async(&mut samples) => match pulled {
                Ok(0) => break,
                Ok(count) => Message::Binary(bytes_of(&samples[..count])),
                Err(error) => {
                    end = (close_code::ERROR, error.to_string());
                    break;
                }
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if !matches!(timeout(longest_silence, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    // What was said while the last samples went out.
    let mut left = Vec::new();
    while let Ok((notice, _)) = notices.try_recv() {
        left.push(text(&notice));
    }
    let last = match end.0 {
        close_code::ERROR => Notice::Error { code: "device-lost", detail: end.1.clone() },
        _ => Notice::Finished(control.counters().into()),
    };
    let reason: String = end.1.chars().take(100).collect();
    let close = Message::Close(Some(CloseFrame { code: end.0, reason: reason.into() }));
    for message in left.into_iter().chain([text(&last), close]) {
        if !matches!(timeout(longest_silence, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    timeout(longest_silence, sink.close()).await.ok();
}

fn bytes_of(samples: &[f32]) -> Bytes {
    if cfg!(target_endian = "little") {
        return Bytes::copy_from_slice(bytemuck::cast_slice(samples));
    }
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn text(notice: &Notice) -> Message {
    Message::Text(serde_json::to_string(notice).unwrap_or_default().into())
}
