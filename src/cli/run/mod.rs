//! `auricle run`: streams a signal through the graph in bounded memory.
//!
//! ```text
//! reader thread: source -> blocks ==> session -> sink
//! ```
//!
//! A block holds the same number of frames of every channel. The last one is filled up with zeros, which are cut off
//! again before anything is written: the output has the length of the input, to the sample.

mod config;

mod report;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use self::config::{ReportArgument, Settings};
pub(super) use self::config::{RunArguments, RunConfig};
use self::report::{HopReport, Report, StageReport};
use super::print;
use super::progress::{Interrupt, Progress};
use crate::chain::{OUTPUT, POWERS};
use crate::format::pending::PendingFile;
use crate::format::planar::{interleaved_from_planar, planar_from_interleaved};
use crate::format::{FileError, SignalSpec};
use crate::picture::{self, PictureLabels, Spectrogram};
use crate::stage::filter::measure;
use crate::stage::sink::{Sink, SinkOptions};
use crate::stage::source::Source;
use crate::{Engine, FrameCounts, Layout, RunOutput, Session};

/// Floats in a block of a file: enough to fill the largest bucket of a GPU.
const BLOCK_FLOATS: usize = 2 << 20;
/// The same where a denoiser runs, which takes longer, and keeps more copies: so that progress is seen.
const DENOISED_BLOCK_FLOATS: usize = 1 << 18;
/// Floats in one frame of all channels, at most: so memory stays bounded, whatever the number of channels.
const LARGEST_BLOCK_FLOATS: usize = 8 << 20;
/// Signal in a block of a pipe: somebody may be listening at its other end.
const PIPE_BLOCK_S: f64 = 0.05;
/// Times of the denoiser's calls that are kept.
const MOST_HOP_TIMES: usize = 10_000;
/// Blocks that the reader may be ahead.
const BLOCKS_AHEAD: usize = 2;

pub(super) fn run(config: &RunConfig) -> Result<()> {
    let start = Instant::now();
    let interrupt = Interrupt::listen()?;
    let mut source = Source::open(config.input.as_path(), &config.hints)?;
    warn(&mut source);
    let spec = source.spec().clone();
    check_memory(config, &spec)?;
    let template = source.template().clone();
    let total = source.total_samples();
    let options = SinkOptions { force: config.force, ..SinkOptions::default() };
    let mut sink = Sink::create(config.output.as_path(), &template, &options)?;
    let chain = config.chain(&spec)?;
    let settings = config.settings(&chain);
    sink.set_settings(serde_json::to_value(&settings)?);
    let is_stream = sink.files().is_empty();
    let picture = open_picture(config, &template.inputs, &sink)?;
    interrupt.clean_up(sink.files().into_iter().chain(&picture).map(|file| file.temporary().to_owned()).collect());

    let engine = Engine::open(&config.engine)?;
    let plan = engine.compile(&chain.graph())?;
    let mut cleaning = Cleaning::new(config, settings, &spec, total, plan.session(spec.channels)?, sink);
    // Where the end is not known, it is a pipe, by whatever name.
    let block_frames = block_frames(config, &spec, total.is_none(), chain.denoise.is_some());
    let blocks = Blocks::read(source, block_frames * config.chain_settings.frame_len * spec.floats_per_sample_time())?;
    let progress = Progress::new(total, spec.sample_rate_hz);
    while let Some(block) = blocks.next(&interrupt)? {
        cleaning.push(&block)?;
        progress.show(cleaning.samples);
        blocks.give_back(block);
    }
    cleaning.finish()?;
    progress.finish();
    if interrupt.is_wanted() {
        return Err(interrupted(config, is_stream));
    }
    interrupt.ignore();
    let report = cleaning.publish(&engine, picture, start)?;
    say(config, &report)
}

/// What went into a stream cannot be taken back.
fn interrupted(config: &RunConfig, is_stream: bool) -> anyhow::Error {
    if is_stream {
        anyhow!("interrupted")
    } else {
        anyhow!("interrupted; nothing was written to {}", config.output.display())
    }
}

#[expect(clippy::print_stderr, reason = "the report is what was asked for, and standard output carries samples")]
fn say(config: &RunConfig, report: &Report) -> Result<()> {
    let text = match config.report {
        ReportArgument::Text => report.text(),
        ReportArgument::Json => serde_json::to_string_pretty(report)?,
    };
    if config.output == Path::new("-") {
        eprintln!("{text}");
        return Ok(());
    }
    print(&text)
}

fn warn(source: &mut Source) {
    for warning in source.take_warnings() {
        tracing::warn!("{warning}");
    }
}

/// One frame of every channel is the least that can be worked on at once, and it is held about six times over.
fn check_memory(config: &RunConfig, spec: &SignalSpec) -> Result<()> {
    let floats = config.chain_settings.frame_len * spec.floats_per_sample_time();
    if floats <= LARGEST_BLOCK_FLOATS {
        return Ok(());
    }
    let fits = LARGEST_BLOCK_FLOATS / spec.floats_per_sample_time().max(1);
    bail!(
        "{} channels in frames of {} need too much memory at once; pass --frame-len {} or less",
        spec.channels,
        config.chain_settings.frame_len,
        1 << fits.max(64).ilog2()
    )
}

fn block_frames(config: &RunConfig, spec: &SignalSpec, is_pipe: bool, is_denoised: bool) -> usize {
    let floats = if is_denoised { DENOISED_BLOCK_FLOATS } else { BLOCK_FLOATS };
    let most = (floats / (config.chain_settings.frame_len * spec.floats_per_sample_time())).max(1);
    if !is_pipe {
        return most;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is small and positive")]
    let soon =
        spec.sample_rate_hz.map_or(16, |rate| (PIPE_BLOCK_S * rate / config.chain_settings.frame_len as f64) as usize);
    soon.clamp(1, most)
}

/// Opens the picture's file early: what would fail after all the work is refused before it.
fn open_picture(config: &RunConfig, inputs: &[PathBuf], sink: &Sink) -> Result<Option<PendingFile>> {
    let Some(path) = &config.picture else { return Ok(None) };
    if path == Path::new("-") || path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        bail!("--picture {} is no place for a picture; name a PNG file", path.display());
    }
    let file = PendingFile::create(path, inputs, config.force).context("--picture")?;
    if sink.files().iter().any(|output| output.target() == file.target()) {
        bail!("--picture {} would replace the output; name another file", path.display());
    }
    Ok(Some(file))
}

/// Blocks of interleaved samples from a thread of their own, so that waiting for the source leaves the cores to work,
/// and Ctrl-C is heard while a pipe is silent.
struct Blocks {
    filled: Receiver<Result<Block, FileError>>,
    empty: SyncSender<Vec<f32>>,
}

struct Block {
    samples: Vec<f32>,
    warnings: Vec<String>,
}

impl Blocks {
    fn read(mut source: Source, floats: usize) -> Result<Self> {
        let (filled_in, filled) = sync_channel(BLOCKS_AHEAD);
        let (empty, empty_out) = sync_channel::<Vec<f32>>(BLOCKS_AHEAD + 2);
        let read = move || {
            loop {
                let mut samples = empty_out.try_recv().unwrap_or_default();
                samples.resize(floats, 0.0);
                let read = source.read(&mut samples).map(|len| {
                    samples.truncate(len);
                    Block { samples, warnings: source.take_warnings() }
                });
                let is_last = read.as_ref().map_or(true, |block| block.samples.is_empty());
                if filled_in.send(read).is_err() || is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("auricle.reader".to_owned()).spawn(read).context("starting the reader")?;
        Ok(Self { filled, empty })
    }

    /// The next block; none at the end, or when somebody wants to stop.
    fn next(&self, interrupt: &Interrupt) -> Result<Option<Vec<f32>>> {
        loop {
            if interrupt.is_wanted() {
                return Ok(None);
            }
            match self.filled.recv_timeout(Duration::from_millis(100)) {
                Err(RecvTimeoutError::Timeout) => {}
                // It says itself where the end is.
                Err(RecvTimeoutError::Disconnected) => bail!("the thread that reads the input ended early"),
                Ok(block) => {
                    let block = block?;
                    block.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                    return Ok(Some(block.samples).filter(|samples| !samples.is_empty()));
                }
            }
        }
    }

    fn give_back(&self, samples: Vec<f32>) {
        // When the reader has ended, or has enough, the block is simply dropped.
        drop(self.empty.try_send(samples));
    }
}

/// The work on one signal.
struct Cleaning<'a> {
    config: &'a RunConfig,
    settings: Settings,
    spec: &'a SignalSpec,
    session: Session,
    sink: Sink,
    output: RunOutput,
    /// Frames of every channel, one channel after the other.
    planar: Vec<f32>,
    interleaved: Vec<f32>,
    spectrograms: Option<(Spectrogram, Spectrogram)>,
    /// Sample times read, and written.
    samples: u64,
    written: u64,
    frames: FrameCounts,
    powers: (f64, f64),
    stages: Vec<StageReport>,
    hop_times: Vec<Duration>,
}

impl<'a> Cleaning<'a> {
    fn new(
        config: &'a RunConfig,
        settings: Settings,
        spec: &'a SignalSpec,
        total: Option<u64>,
        session: Session,
        sink: Sink,
    ) -> Self {
        let spectrogram = || Spectrogram::new(spec.sample_rate_hz, spec.domain(), total);
        Self {
            config,
            settings,
            spec,
            session,
            sink,
            output: RunOutput::new(Layout::Dense),
            planar: Vec::new(),
            interleaved: Vec::new(),
            spectrograms: config.picture.is_some().then(|| (spectrogram(), spectrogram())),
            samples: 0,
            written: 0,
            frames: FrameCounts::default(),
            powers: (0.0, 0.0),
            stages: Vec::new(),
            hop_times: Vec::new(),
        }
    }

    fn push(&mut self, block: &[f32]) -> Result<()> {
        self.samples += (block.len() / self.spec.floats_per_sample_time()) as u64;
        let block_frames =
            block.len().div_ceil(self.config.chain_settings.frame_len * self.spec.floats_per_sample_time());
        let planar = planar_from_interleaved(
            self.spec,
            block,
            block_frames * self.config.chain_settings.frame_len,
            &mut self.planar,
        );
        if let Some((before, _)) = &mut self.spectrograms {
            let first_channel = block.len() / self.spec.channels;
            before.push(&planar[..first_channel]);
        }
        self.session.push(&[planar], &mut self.output)?;
        self.take()
    }

    fn finish(&mut self) -> Result<()> {
        self.session.finish(&mut self.output)?;
        self.take()
    }

    /// Writes what came back, and learns from it.
    fn take(&mut self) -> Result<()> {
        self.frames += self.output.counts();
        for live in self.output.live(POWERS) {
            let (weighted, total) = measure::sums(live.samples);
            self.powers = (self.powers.0 + weighted, self.powers.1 + total);
        }
        for (name, time) in self.output.stage_times() {
            match self.stages.iter_mut().find(|stage| stage.name == *name) {
                Some(stage) => stage.seconds += time.as_secs_f64(),
                None => self.stages.push(StageReport { name: name.clone(), seconds: time.as_secs_f64() }),
            }
        }
        // The latest are as good as all, and a pipe may run for days.
        self.hop_times.extend_from_slice(self.output.hop_times());
        let surplus = self.hop_times.len().saturating_sub(MOST_HOP_TIMES);
        self.hop_times.drain(..surplus);
        let came = (self.output.frames() * self.config.chain_settings.frame_len) as u64;
        let wanted = came.min(self.samples - self.written);
        let planar = self.output.dense(OUTPUT).unwrap_or(&[]);
        let interleaved = interleaved_from_planar(self.spec, planar, wanted, &mut self.interleaved);
        self.sink.write(interleaved)?;
        self.written += wanted;
        if let Some((_, after)) = &mut self.spectrograms {
            let floats = usize::try_from(wanted)? * self.spec.domain().floats_per_sample();
            after.push(&planar[..floats]);
        }
        Ok(())
    }

    /// Gives the files their names.
    fn publish(mut self, engine: &Engine, picture: Option<PendingFile>, start: Instant) -> Result<Report> {
        let picture = picture.map(|file| self.draw(engine, file)).transpose()?;
        self.sink.finish()?;
        if let Some(file) = picture {
            file.publish()?;
        }
        let wall_s = start.elapsed().as_secs_f64();
        let signal_s = self.spec.sample_rate_hz.map(|rate| self.samples as f64 / rate);
        Ok(Report {
            input: self.config.input.display().to_string(),
            output: self.config.output.display().to_string(),
            device: engine.device().clone(),
            sample_rate_hz: self.spec.sample_rate_hz,
            channels: self.spec.channels,
            frame_len: self.config.chain_settings.frame_len,
            samples: self.samples,
            frames: self.frames,
            coherence: (self.powers.1 > 0.0).then(|| self.powers.0 / self.powers.1),
            stages: self.stages,
            hop: HopReport::new(&mut self.hop_times),
            wall_s,
            frames_per_s: self.frames.total as f64 / wall_s,
            realtime_factor: signal_s.map(|signal_s| signal_s / wall_s),
            settings: self.settings,
        })
    }

    fn draw(&mut self, engine: &Engine, mut file: PendingFile) -> Result<PendingFile> {
        let Some((mut before, mut after)) = self.spectrograms.take() else { return Ok(file) };
        before.finish();
        after.finish();
        let labels = PictureLabels {
            title: &self.config.input.file_name().unwrap_or_default().to_string_lossy(),
            subtitle: &subtitle(self.spec, self.samples, &engine.device().name),
            before: "",
            after: &self.settings.summary(),
        };
        file.write_all(&picture::draw(&before, &after, &labels).context("drawing the picture")?)?;
        Ok(file)
    }
}

fn subtitle(spec: &SignalSpec, samples: u64, device: &str) -> String {
    let rate = spec.sample_rate_hz.map_or_else(|| "unknown rate".to_owned(), |rate| format!("{rate} Hz"));
    let channel = if spec.channels == 1 { "mono" } else { "first channel" };
    format!("{rate}, {samples} samples, {channel}, on {device}")
}
