//! `/v1/clean`: a recording in, the clean one out.
//!
//! ```text
//! connection -> pieces -> | a thread: source -> job, or live stream -> sink | -> pieces -> connection
//! ```
//!
//! What is short is one job: all of it is read, then done, then sent, so a client may send first and read after. What is
//! longer goes through a live stream while it comes, together with all others, and comes out meanwhile: whoever sends it has
//! to read at the same time.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::body::{self, BodyReader, BodyWriter, Whole};
use super::bounds::StreamBounds;
use super::query::{CleanQuery, Cleaning, Params};
use super::{App, Problem};
use crate::chain::OUTPUT;
use crate::format::planar::{interleaved_from_planar, planar_from_interleaved};
use crate::format::{Container, FileError, SignalSpec, Template};
use crate::stage::sink::{Sink, SinkOptions};
use crate::stage::source::Source;
use crate::{Error, JobOptions, Plan, StreamOptions};

/// Floats of a body that is one job, at most: 4 MiB, of which a few copies are held.
const JOB_FLOATS: usize = 1 << 20;
/// Floats that are read at a time.
const READ_FLOATS: usize = 1 << 16;
/// Of what goes through a live stream, and of the frames of what does not.
const BOUNDS: StreamBounds = StreamBounds { block_floats: 1 << 18, ring: 64, ring_floats: 1 << 21 };
/// How often a request whose work waits looks whether anybody still waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a live stream may give nothing back although it must.
const STREAM_PATIENCE: Duration = Duration::from_secs(120);

/// Cleans a recording: WAV, or raw samples of the `format` that the query names. The answer has its length, rate, channels and
/// format. Up to 1,048,576 numbers (of all channels together; an IQ sample is two) are one job of the level: the answer begins
/// when it is done. What is longer is cleaned as it comes, and has to be read while it is sent; where that fails on the way,
/// the answer breaks off before its end, as HTTP shows it.
#[utoipa::path(post, path = "/v1/clean", tag = "engine", params(CleanQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "WAV or raw samples"),
    responses(
        (status = 200, description = "the same, clean; `auricle-notice` says so where no denoiser could run",
         body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "`unknown-qos`, `unknown-model`, `bad-query`, `bad-setting`, `bad-signal`, `body-broken`",
         body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "`body-too-slow`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`faulty-samples`: NaN or infinity", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "`busy` or `queue-full`: `Retry-After` says when to come back", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "`device-lost`, `out-of-memory`, `shutting-down`, or `expired`: it waited for longer than
         a request may take", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn clean(
    State(app): State<Arc<App>>,
    Params(query): Params<CleanQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (cleaning, permit) = match admit(&app, &query, &headers) {
        Ok(admitted) => admitted,
        Err(problem) => {
            body::refuse(body);
            return Err(problem);
        }
    };
    let until = Instant::now() + app.options.longest_request;
    let reader = BodyReader::start(body, &app.options);
    let (writer, whole, body) = BodyWriter::new(&app.options);
    let (head, told) = oneshot::channel();
    let work = move || {
        let request = Request { app: &app, cleaning: &cleaning, problem: reader.problem(), whole: &whole, until };
        let mut answer = Answer { head: Some(head), writer: Some(writer) };
        match request.work(reader, &mut answer) {
            Ok(()) => whole.say(),
            Err(problem) => match answer.head.take() {
                // When the client is gone, nobody needs to know.
                Some(head) => drop(head.send(Err(problem))),
                None => tracing::warn!("an answer broke off: {}", problem.detail()),
            },
        }
        drop(permit);
    };
    tokio::task::spawn_blocking(work);
    let head = told.await.map_err(|_gone| Problem::internal("the work on this request ended without an answer"))??;
    let mut response = body.into_response();
    response.headers_mut().extend(head.headers());
    Ok(response)
}

/// What can be refused before anything is read.
fn admit(app: &App, query: &CleanQuery, headers: &HeaderMap) -> Result<(Cleaning, OwnedSemaphorePermit), Problem> {
    if *app.draining.borrow() {
        return Err(Problem::draining());
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > app.options.largest_body) {
        return Err(Problem::too_large(format!("a body may have {} bytes", app.options.largest_body)));
    }
    let cleaning = app.cleaning(query)?;
    let permit = Arc::clone(&app.requests).try_acquire_owned();
    let busy = || Problem::busy(format!("{} requests are worked on already", app.options.most_requests));
    Ok((cleaning, permit.ok().ok_or_else(busy)?))
}

/// What an answer begins with.
#[derive(Debug)]
struct Head {
    container: Container,
    notice: Option<String>,
}

impl Head {
    fn headers(&self) -> HeaderMap {
        let kind = if self.container == Container::Wav { "audio/wav" } else { "application/octet-stream" };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(Ok(notice)) = self.notice.as_deref().map(HeaderValue::from_str) {
            headers.insert("auricle-notice", notice);
        }
        headers
    }
}

struct Answer {
    head: Option<oneshot::Sender<Result<Head, Problem>>>,
    writer: Option<BodyWriter>,
}

impl Answer {
    /// From here on, the answer is a good one.
    fn begin(&mut self, template: &Template, samples: Option<u64>, notice: Option<String>) -> Result<Sink, FileError> {
        let name = "the answer's body";
        let container = template.spec().container;
        let Some((head, writer)) = self.head.take().zip(self.writer.take()) else {
            return Err(FileError::OutputAbandoned { path: name.into() });
        };
        drop(head.send(Ok(Head { container, notice })));
        match container {
            Container::Wav => Sink::to_wav_writer(name, writer, template, samples),
            _ => Sink::to_writer(name, writer, template, &SinkOptions::default()),
        }
    }
}

/// One request, on its thread.
struct Request<'a> {
    app: &'a App,
    cleaning: &'a Cleaning,
    /// Why the body could not be read.
    problem: Arc<OnceLock<Problem>>,
    whole: &'a Whole,
    /// When it must be over.
    until: Instant,
}

impl Request<'_> {
    fn work(&self, reader: BodyReader, answer: &mut Answer) -> Result<(), Problem> {
        let hints = &self.cleaning.hints;
        let mut source = Source::from_reader("the body", reader, hints).map_err(|error| self.unread(error))?;
        let spec = source.spec().clone();
        let block = BOUNDS.check(&spec, self.cleaning.chain.frame_len)?;
        let (chain, notice) = self.cleaning.chain.for_signal(&spec)?;
        let plan = self.app.plans.get(&chain, &self.cleaning.model)?;
        let mut samples = Vec::new();
        let mut is_all = false;
        while !is_all && samples.len() <= JOB_FLOATS {
            let before = samples.len();
            let room = READ_FLOATS.max(spec.floats_per_sample_time());
            samples.resize(before + room, 0.0);
            let count = source.read(&mut samples[before..]).map_err(|error| self.unread(error))?;
            samples.truncate(before + count);
            is_all = count == 0;
        }
        let mut sent = Sent { answer, template: source.template().clone(), notice };
        if is_all {
            return self.as_job(&plan, &spec, samples, &mut sent);
        }
        self.as_stream(&plan, (spec.channels, block), source, samples, &mut sent)
    }

    fn unread(&self, error: FileError) -> Problem {
        self.problem.get().cloned().unwrap_or_else(|| Error::File(error).into())
    }

    /// All of it at once.
    fn as_job(&self, plan: &Plan, spec: &SignalSpec, samples: Vec<f32>, sent: &mut Sent<'_>) -> Result<(), Problem> {
        let times = samples.len() / spec.floats_per_sample_time();
        let frame_len = self.cleaning.chain.frame_len;
        let mut room = Vec::new();
        let mut clean: &[f32] = &[];
        let output;
        if times > 0 {
            let whole = times.div_ceil(frame_len) * frame_len;
            let is_planar = std::ptr::eq(planar_from_interleaved(spec, &samples, whole, &mut room), samples.as_slice());
            let planar = if is_planar { samples } else { std::mem::take(&mut room) };
            let (qos, channels) = (self.cleaning.qos, spec.channels);
            let deadline = Some(self.until.saturating_duration_since(Instant::now()));
            let options = JobOptions { qos, name: "clean".into(), channels, deadline, ..JobOptions::default() };
            let mut ticket = self.app.engine.submit(plan, [planar], options)?;
            output = loop {
                if let Some(answer) = ticket.wait_timeout(LOOK_EVERY) {
                    break answer?;
                }
                if self.whole.is_unwanted() {
                    ticket.cancel();
                }
            };
            let dense = output.dense(OUTPUT).unwrap_or(&[]);
            clean = interleaved_from_planar(spec, dense, times as u64, &mut room);
        }
        let mut sink = sent.begin(Some(times as u64))?;
        Ok(sink.write(clean).and_then(|()| sink.finish()).map_err(Error::File)?)
    }

    /// While it comes, in blocks of so many floats of all channels; `first` has come already.
    fn as_stream(
        &self,
        plan: &Plan,
        (channels, block): (usize, usize),
        mut source: Source,
        first: Vec<f32>,
        sent: &mut Sent<'_>,
    ) -> Result<(), Problem> {
        let (qos, name, ring) = (self.cleaning.qos, "clean".into(), BOUNDS.ring(block));
        let options = StreamOptions { name, channels, qos, output: Some(OUTPUT.into()), ring, ..Default::default() };
        let (mut input, mut output) = self.app.engine.open_stream(plan, options)?.split();
        let mut sink = sent.begin(source.promised_samples())?;
        // What may be in there without that anybody has to pull: the rings, and what the plan holds back.
        let most = (ring + plan.latency_frames()) * block;
        let (mut pushed, mut pulled) = (0, 0);
        let mut clean = vec![0.0; most.max(READ_FLOATS)];
        let mut samples = first;
        let room = READ_FLOATS.max(block);
        while !samples.is_empty() {
            for piece in samples.chunks(block) {
                let must = (pushed + piece.len()).saturating_sub(pulled + most);
                let count = output.pull_all(&mut clean[..must], STREAM_PATIENCE)?;
                if count < must {
                    return Err(Problem::internal("the live stream stands still"));
                }
                let more = output.pull(&mut clean[must..])?;
                pulled += count + more;
                sink.write(&clean[..count + more]).map_err(Error::File)?;
                input.push(piece)?;
                pushed += piece.len();
            }
            samples.resize(room, 0.0);
            let count = source.read(&mut samples).map_err(|error| self.unread(error))?;
            samples.truncate(count);
        }
        input.finish();
        let mut progress = Instant::now();
        while !output.is_finished() && !self.whole.is_unwanted() {
            let count = output.pull_all(&mut clean, Duration::from_millis(50))?;
            sink.write(&clean[..count]).map_err(Error::File)?;
            if count > 0 {
                progress = Instant::now();
            } else if progress.elapsed() > STREAM_PATIENCE {
                return Err(Problem::internal("the live stream stands still"));
            }
        }
        Ok(sink.finish().map_err(Error::File)?)
    }
}

/// The answer, and what it says about the signal.
struct Sent<'a> {
    answer: &'a mut Answer,
    template: Template,
    notice: Option<String>,
}

impl Sent<'_> {
    fn begin(&mut self, samples: Option<u64>) -> Result<Sink, Problem> {
        let begun = self.answer.begin(&self.template, samples, self.notice.take());
        begun.map_err(|error| Error::File(error).into())
    }
}
