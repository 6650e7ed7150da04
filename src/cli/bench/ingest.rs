//! `auricle bench ingest`: how fast one stream takes samples in, most of them silent.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::signal::gated_noise;
use super::{Place, give, seconds_since_1970, table};
use crate::{Engine, FrameShape, Gate, Graph, PhiResolvent, Plan, Qos, ScheduleOptions, StreamOptions};

const DETAILS: &str = "\
One thread pushes samples from memory (512 MiB on huge pages, more than any
cache holds, or with --block a part of that again and again, as a live source
leaves its samples in a cache) as fast as the stream takes them; they go through
the gate, and what is live through the ring and the filter; another thread pulls
all that comes out. A round is over when the last sample has come out.

  end to end         frames of 1024 samples per second, from the first push to
                     the last sample out; the median of the rounds
  push               the same until the last sample was taken in
  read               looking at the samples on one thread for the loudest, and
                     nothing else: what memory gives

Example:
  auricle bench ingest --sparse 99 --push 65536 --json -";

/// Measure how fast one stream takes samples in, most of them silent.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(crate) struct IngestArguments {
    #[command(flatten)]
    place: Place,

    /// Frames of 100 that are silent.
    #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(0..=100))]
    sparse: u32,

    /// Samples in a push.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    push: u32,

    /// Frames of the signal, which is repeated until there are 131,072: 256 of them are 1 MiB, which most caches hold.
    #[arg(long, default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=131_072))]
    block: u32,

    /// Frames that may wait in the stream before a push has to wait.
    #[arg(long, default_value_t = 1024)]
    ring: usize,

    /// Rounds, of which the median counts.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Figures {
    device: String,
    driver: String,
    date: Option<u64>,
    sparse_percent: u32,
    push_len: u32,
    block_frames: u32,
    rounds: u32,
    frames: usize,
    live_frames: u64,
    frames_per_s: f64,
    push_frames_per_s: f64,
    read_frames_per_s: f64,
}

const FRAME_LEN: usize = 1024;
/// 512 MiB: more than any L3 cache of one socket.
pub(super) const FRAMES: usize = 128 * 1024;

pub(super) fn bench(arguments: &IngestArguments) -> Result<()> {
    let engine = arguments.place.engine(ScheduleOptions::default())?;
    let graph = Graph::new()
        .input("samples", FrameShape::real(FRAME_LEN))
        .gate("gate", "samples", Gate::default())
        .filter("filter", "gate", PhiResolvent::default())
        .output("clean", "filter");
    let plan = engine.compile(&graph)?;
    let samples = gated_noise(arguments.block as usize, FRAME_LEN, arguments.sparse);
    let (mut end_to_end, mut pushes, mut reads, mut live) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..arguments.rounds {
        reads.push(read(&samples, arguments.push as usize));
        let pushing = Pushing { len: arguments.push as usize, ring: arguments.ring };
        let round = round(&engine, &plan, &samples, &pushing)?;
        pushes.push(round.pushed);
        end_to_end.push(round.all);
        live = round.heard;
    }
    let rate = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        FRAMES as f64 / times[times.len() / 2].as_secs_f64()
    };
    let figures = Figures {
        device: engine.device().name.clone(),
        driver: engine.device().driver.clone(),
        date: seconds_since_1970(),
        sparse_percent: arguments.sparse,
        push_len: arguments.push,
        block_frames: arguments.block,
        rounds: arguments.rounds,
        frames: FRAMES,
        live_frames: live,
        frames_per_s: rate(&mut end_to_end),
        push_frames_per_s: rate(&mut pushes),
        read_frames_per_s: rate(&mut reads),
    };
    give(&figures, &figures.table(), arguments.place.json.as_deref())
}

/// The pieces in which all frames are pushed.
fn pieces(samples: &[f32], push: usize) -> impl Iterator<Item = &[f32]> {
    let mut left = FRAMES * FRAME_LEN;
    samples.chunks(push).cycle().map_while(move |piece| {
        let piece = &piece[..piece.len().min(left)];
        left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}

fn read(samples: &[f32], push: usize) -> Duration {
    let start = Instant::now();
    let level = crate::simd::SimdLevel::detect();
    for piece in pieces(samples, push) {
        std::hint::black_box(crate::simd::max_abs_bits(level, piece));
    }
    start.elapsed()
}

/// How samples go in.
pub(super) struct Pushing {
    /// Samples in a push.
    pub(super) len: usize,
    /// Frames that may wait.
    pub(super) ring: usize,
}

pub(super) struct Round {
    /// Until all was taken in, and until all was out.
    pushed: Duration,
    pub(super) all: Duration,
    /// Frames out that were not silent.
    heard: u64,
}

pub(super) fn round(engine: &Engine, plan: &Plan, samples: &[f32], pushing: &Pushing) -> Result<Round> {
    let options = StreamOptions {
        qos: Qos::High,
        ring: pushing.ring,
        max_batch: 256,
        max_delay: Duration::from_micros(200),
        ..StreamOptions::default()
    };
    let (mut input, mut output) = engine.open_stream(plan, options)?.split();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let pulling = scope.spawn(move || -> Result<(u64, u64)> {
            let mut room = vec![0.0; 16 * FRAME_LEN];
            let (mut floats, mut heard) = (0, 0);
            loop {
                let count = output.pull_all(&mut room, Duration::from_secs(60))?;
                floats += count as u64;
                // One sample tells a silent frame from another.
                heard += room[..count].chunks(FRAME_LEN).filter(|frame| frame[frame.len() / 2] != 0.0).count() as u64;
                if count < room.len() {
                    return Ok((floats, heard));
                }
            }
        });
        for piece in pieces(samples, pushing.len) {
            input.push(piece)?;
        }
        let pushed = start.elapsed();
        input.finish();
        let (floats, heard) = pulling.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the pulling thread panicked")))?;
        let all = start.elapsed();
        if floats != (FRAMES * FRAME_LEN) as u64 {
            bail!("{floats} samples of {} came out", FRAMES * FRAME_LEN);
        }
        Ok(Round { pushed, all, heard })
    })
}

impl Figures {
    fn table(&self) -> String {
        let head = format!(
            "{} ({}): {} % of the frames silent, pushes of {} samples",
            self.device, self.driver, self.sparse_percent, self.push_len
        );
        let rate = |frames_per_s: f64| format!("{:.2} M frames/s", frames_per_s / 1e6);
        let rows = [
            ("end to end", rate(self.frames_per_s)),
            ("push", rate(self.push_frames_per_s)),
            ("read", rate(self.read_frames_per_s)),
        ];
        table(&head, &rows)
    }
}
