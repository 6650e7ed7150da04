//! Bodies of requests and answers, for a thread that may block: between it and the connection, a few pieces at most.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Problem, ServeOptions};

/// Pieces on the way.
const PIECES: usize = 4;
/// What a client must send or take, on average, once it has had [`ServeOptions::longest_silence`] for a beginning.
const SLOWEST_BYTES_PER_S: f64 = 1000.0;
/// What is taken of a body that nobody wants, and for how long.
const DRAINED_BYTES: usize = 64 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(3);

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
        let (largest, pace) = (options.largest_body, Pace::new(options));
        tokio::spawn(async move {
            let mut stream = body.into_data_stream();
            if let Err(problem) = feed(&mut stream, largest, pace, &give).await {
                // Who reads may be gone.
                give.send(Err(problem)).await.ok();
            }
            drain(stream).await;
        });
        Self { pieces, current: Bytes::new(), problem: Arc::default() }
    }

    /// Where it says why reading failed, other than that the client went away.
    pub(super) fn problem(&self) -> Arc<OnceLock<Problem>> {
        Arc::clone(&self.problem)
    }
}

/// Takes a body that nobody wants, for a while: a client that sends first and reads after should hear why.
pub(super) fn refuse(body: Body) {
    tokio::spawn(drain(body.into_data_stream()));
}

async fn drain(mut stream: BodyDataStream) {
    let mut left = DRAINED_BYTES;
    let rest = async {
        while let Some(Ok(piece)) = stream.next().await
            && piece.len() < left
        {
            left -= piece.len();
        }
    };
    timeout(DRAINED_FOR, rest).await.ok();
}

/// What a client is to keep up with.
#[derive(Clone, Copy, Debug)]
struct Pace {
    longest_silence: Duration,
    /// When all must be over.
    until: Instant,
    /// How long one has waited for the client, and how much it has moved.
    waited: Duration,
    moved: u64,
}

impl Pace {
    fn new(options: &ServeOptions) -> Self {
        let until = Instant::now() + options.longest_request;
        Self { longest_silence: options.longest_silence, until, waited: Duration::ZERO, moved: 0 }
    }

    /// How long the next piece may take.
    fn patience(&self) -> Duration {
        self.longest_silence.min(self.until.saturating_duration_since(Instant::now()))
    }

    /// Whether the client is fast enough, after a piece that it took so long for.
    fn keeps(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.moved += bytes as u64;
        let is_slow =
            self.waited > self.longest_silence && (self.moved as f64) < SLOWEST_BYTES_PER_S * self.waited.as_secs_f64();
        !is_slow && Instant::now() < self.until
    }
}

async fn feed(
    stream: &mut BodyDataStream,
    largest: u64,
    mut pace: Pace,
    give: &mpsc::Sender<Result<Bytes, Problem>>,
) -> Result<(), Problem> {
    let slow = |detail: String| Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", detail);
    loop {
        let start = Instant::now();
        let patience = pace.patience();
        let next = tokio::select! {
            next = timeout(patience, stream.next()) => next,
            () = give.closed() => return Ok(()),
        };
        let piece = match next {
            Err(_) => {
                return Err(slow(format!("nothing came for {} s, or all of it took too long", patience.as_secs())));
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(Problem::bad_request("body-broken", error.to_string())),
            Ok(Some(Ok(piece))) => piece,
        };
        let is_quick = pace.keeps(start.elapsed(), piece.len());
        if pace.moved > largest {
            return Err(Problem::too_large(format!("a body may have {largest} bytes")));
        }
        if !is_quick {
            return Err(slow(format!("{} bytes in {} s are too few", pace.moved, pace.waited.as_secs())));
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
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
    pace: Pace,
}

/// What says that a body is whole. Where it is dropped without, the body breaks off: nobody must take a part for the whole.
pub(super) struct Whole {
    pieces: mpsc::Sender<Bytes>,
    is_whole: Arc<AtomicBool>,
}

impl Whole {
    pub(super) fn say(self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.pieces.is_closed()
    }
}

impl BodyWriter {
    /// And the body that it writes. Must be called on a thread of the runtime.
    pub(super) fn new(options: &ServeOptions) -> (Self, Whole, Body) {
        let (give, mut pieces) = mpsc::channel(PIECES);
        let is_whole = Arc::new(AtomicBool::new(false));
        let whole = Whole { pieces: give.clone(), is_whole: Arc::clone(&is_whole) };
        let next = move |context: &mut Context<'_>| {
            pieces.poll_recv(context).map(|piece| match piece {
                Some(piece) => Some(Ok(piece)),
                None if is_whole.load(Ordering::Acquire) => None,
                None => Some(Err(io::Error::other("the answer broke off"))),
            })
        };
        let body = Body::from_stream(futures_util::stream::poll_fn(next));
        (Self { pieces: give, runtime: Handle::current(), pace: Pace::new(options) }, whole, body)
    }
}

impl Write for BodyWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let start = Instant::now();
        let send = self.pieces.send(Bytes::copy_from_slice(buffer));
        let sent = self.runtime.block_on(async { timeout(self.pace.patience(), send).await });
        match sent {
            Ok(Ok(())) if self.pace.keeps(start.elapsed(), buffer.len()) => Ok(buffer.len()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(Ok(())) | Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
