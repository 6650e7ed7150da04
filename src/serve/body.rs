//! Bodies of requests and answers, for a thread that may block: between it and the connection, a few pieces at most.

use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Problem, ServeOptions};

/// Pieces on the way.
const PIECES: usize = 4;
/// What a client must send, on average, once it has had [`ServeOptions::longest_silence`] for a beginning.
const SLOWEST_BYTES_PER_S: f64 = 1000.0;

/// A request's body, as it comes.
#[derive(Debug)]
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<Result<Bytes, Problem>>,
    current: Bytes,
    problem: Arc<OnceLock<Problem>>,
}

impl BodyReader {
    /// Reads it on a task of its own, and no further ahead than a few pieces.
    pub(super) fn start(body: Body, options: &ServeOptions) -> Self {
        let (give, pieces) = mpsc::channel(PIECES);
        let limits = Limits {
            largest_body: options.largest_body,
            longest_silence: options.longest_silence,
            until: Instant::now() + options.longest_request,
        };
        tokio::spawn(async move {
            tokio::select! {
                result = feed(body, limits, &give) => if let Err(problem) = result {
                    // Who reads may be gone.
                    give.send(Err(problem)).await.ok();
                },
                () = give.closed() => {}
            }
        });
        Self { pieces, current: Bytes::new(), problem: Arc::default() }
    }

    /// Where it says why reading failed, other than that the client went away.
    pub(super) fn problem(&self) -> Arc<OnceLock<Problem>> {
        Arc::clone(&self.problem)
    }
}

struct Limits {
    largest_body: u64,
    longest_silence: Duration,
    until: Instant,
}

async fn feed(body: Body, limits: Limits, give: &mpsc::Sender<Result<Bytes, Problem>>) -> Result<(), Problem> {
    let slow = |detail: String| Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail);
    let mut stream = body.into_data_stream();
    let (mut taken, mut waited) = (0_u64, Duration::ZERO);
    loop {
        let start = Instant::now();
        let patience = limits.longest_silence.min(limits.until.saturating_duration_since(start));
        let next = timeout(patience, stream.next()).await;
        waited += start.elapsed();
        let piece = match next {
            Err(_) => {
                return Err(slow(format!("nothing came for {} s, or all of it took too long", patience.as_secs())));
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(Problem::bad_request("body-broken", error.to_string())),
            Ok(Some(Ok(piece))) => piece,
        };
        taken += piece.len() as u64;
        if taken > limits.largest_body {
            return Err(Problem::too_large(format!("a body may have {} bytes", limits.largest_body)));
        }
        if waited > limits.longest_silence && (taken as f64) < SLOWEST_BYTES_PER_S * waited.as_secs_f64() {
            return Err(slow(format!("{taken} bytes in {} s are too few", waited.as_secs())));
        }
        if give.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.current = piece,
                Some(Err(problem)) => {
                    let error = io::Error::other(problem.detail().to_owned());
                    self.problem.set(problem).ok();
                    return Err(error);
                }
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// An answer's body, as it is made.
pub(super) struct BodyWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    longest_silence: Duration,
}

impl BodyWriter {
    /// And the body that it writes. Must be called on a thread of the runtime.
    pub(super) fn new(longest_silence: Duration) -> (Self, Body) {
        let (give, mut pieces) = mpsc::channel(PIECES);
        let body = Body::from_stream(futures_util::stream::poll_fn(move |context| pieces.poll_recv(context)));
        (Self { pieces: give, runtime: Handle::current(), longest_silence }, body)
    }

    /// What ends the body as broken, so that nobody takes a part for the whole.
    pub(super) fn breaker(&self) -> impl FnOnce(String) + Send + 'static {
        let pieces = self.pieces.clone();
        // Where the client takes nothing any more, it will not take this either.
        move |why| drop(pieces.try_send(Err(io::Error::other(why))))
    }
}

impl Write for BodyWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let send = self.pieces.send(Ok(Bytes::copy_from_slice(buffer)));
        match self.runtime.block_on(timeout(self.longest_silence, send)) {
            Ok(Ok(())) => Ok(buffer.len()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
