//! `auricle bench streams`: many live channels in real time, pushed and pulled as audio devices would.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use super::{Place, cpu_time, give, ms, resident_bytes, seconds, seconds_since_1970, table};
use crate::cli::Misuse;
use crate::cli::denoise::{CHOICES, DenoiseSettings};
use crate::random::Random;
use crate::{
    BackPressure, Denoise, Engine, FrameShape, Gate, Graph, PhiResolvent, Plan, Qos, ScheduleOptions, StreamInput,
    StreamOptions, StreamOutput,
};

const DETAILS: &str = "\
Each channel is a stream of its own: its samples are pushed 10 ms at a time, at
moments of its own as unrelated devices would, through gate, filter and
denoiser, and what comes out is pulled every millisecond. Nothing waits for
anything: what the machine cannot do in time is dropped, and counted.

  dropped            samples for which there was no room; 0 where the machine
                     keeps up
  lost               samples that were pushed and neither came out nor were
                     dropped: always 0
  delay              from the push of a sample to its coming out, the denoiser's
                     own latency included
  identical          what came out of the first channels is what a run of each
                     by itself gives, to the bit
  cores              processor time of the whole process, pushing and pulling
                     included, over the time that passed
  memory growth      MiB of resident memory at the end, less those after a
                     quarter of the time

Example:
  auricle bench streams --channels 256 --seconds 20 --json -";

/// Measure many live streams at once, in real time.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(crate) struct StreamsArguments {
    #[command(flatten)]
    place: Place,

    /// Streams of one channel each.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    channels: u32,

    /// How long, in seconds.
    #[arg(long, default_value_t = 20.0, value_parser = seconds::<86_400>)]
    seconds: f64,

    /// Samples per second of each.
    #[arg(long, default_value_t = 16_000, value_parser = clap::value_parser!(u32).range(1000..=384_000))]
    rate: u32,

    /// Samples in a frame: a power of two, 64 to 4096. Short frames come out sooner, long ones cost less.
    #[arg(long, default_value_t = 256)]
    frame: usize,

    /// How long a frame may wait for others to go with it, in milliseconds.
    #[arg(long, default_value_t = 2.0, value_name = "MS")]
    max_delay: f64,

    /// The denoiser behind the filter.
    #[arg(long, default_value = "builtin", value_name = CHOICES)]
    denoise: String,

    #[command(flatten)]
    denoise_settings: DenoiseSettings,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Figures {
    device: String,
    driver: String,
    date: Option<u64>,
    channels: u32,
    rate_hz: u32,
    frame_len: usize,
    seconds: f64,
    denoise: String,
    pushed: u64,
    pulled: u64,
    dropped: u64,
    lost: u64,
    delay_p50_ms: f64,
    delay_p99_ms: f64,
    delay_max_ms: f64,
    identical: Option<bool>,
    batches: u64,
    mean_batch: f64,
    largest_batch: usize,
    compute_p50_ms: f64,
    compute_p99_ms: f64,
    cores: Option<f64>,
    memory_bytes: Option<u64>,
    memory_growth_bytes: Option<i64>,
}

/// Pushes in a second.
const PUSHES_HZ: u32 = 100;
/// Channels that are compared with a run of each by itself, and how much of them.
const CHECKED: usize = 3;
const CHECKED_S: u32 = 30;

pub(super) fn bench(arguments: &StreamsArguments) -> Result<()> {
    let denoise = arguments.denoise_settings.denoiser(&arguments.denoise)?;
    if !arguments.rate.is_multiple_of(PUSHES_HZ) {
        bail!(Misuse(format!(
            "--rate {}: it must be a multiple of {PUSHES_HZ} Hz, so that 10 ms are whole samples",
            arguments.rate
        )));
    }
    if !(0.0..=60_000.0).contains(&arguments.max_delay) {
        bail!(Misuse(format!("--max-delay {}: 0 to 60,000 ms are allowed", arguments.max_delay)));
    }
    let engine = arguments.place.engine(ScheduleOptions::default())?;
    let plan = engine.compile(&graph(arguments, denoise))?;
    let run = Run::new(arguments, &engine, &plan)?;
    let figures = run.figures(arguments, &engine, &plan)?;
    give(&figures, &figures.table(), arguments.place.json.as_deref())
}

fn graph(arguments: &StreamsArguments, denoise: Option<Denoise>) -> Graph {
    let graph = Graph::new()
        .input("samples", FrameShape::real(arguments.frame))
        .gate("gate", "samples", Gate { hold: 2, ..Gate::default() })
        .filter("filter", "gate", PhiResolvent::default());
    match denoise {
        None => graph.output("clean", "filter"),
        Some(denoise) => {
            let denoise = Denoise { sample_rate_hz: Some(arguments.rate), ..denoise };
            graph.denoise("denoise", "filter", denoise).output("clean", "denoise")
        }
    }
}

/// A signal that goes on and on: tones in noise, and pauses. Channels begin at places of their own.
struct Signal {
    samples: Vec<f32>,
}

impl Signal {
    fn new(rate_hz: u32) -> Self {
        let mut random = Random::new(1, 0);
        let mut noise = move || 2.0 * random.unit() - 1.0;
        let sample = |n: u32| {
            let time_s = f64::from(n) / f64::from(rate_hz);
            // Three seconds of four there is something to hear.
            let level = if time_s % 4.0 < 3.0 { 0.1 } else { 1e-5 };
            #[expect(clippy::cast_possible_truncation, reason = "samples are in f32")]
            let tone = (time_s * std::f64::consts::TAU * (200.0 + 50.0 * (time_s * 3.0).sin())).sin() as f32;
            level * (tone + 0.3 * noise())
        };
        Self { samples: (0..8 * rate_hz).map(sample).collect() }
    }

    /// The next `len` samples of a channel.
    fn write(&self, channel: usize, from: u64, to: &mut [f32]) {
        let start = channel as u64 * 4_801 + from;
        let len = self.samples.len() as u64;
        for (n, sample) in (start..).zip(to) {
            *sample = self.samples[usize::try_from(n % len).unwrap_or(0)];
        }
    }
}

struct Run {
    signal: Signal,
    inputs: Vec<StreamInput>,
    outputs: Vec<StreamOutput>,
    push_len: usize,
    ticks: u64,
}

/// What was pulled.
struct Pulled {
    floats: u64,
    /// In microseconds.
    delays: Histogram<u64>,
    /// The beginning of the first channels.
    checked: Vec<Vec<f32>>,
    /// Resident memory after a quarter of the time, and at the end.
    memory: (Option<u64>, Option<u64>),
}

impl Run {
    fn new(arguments: &StreamsArguments, engine: &Engine, plan: &Plan) -> Result<Self> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for channel in 0..arguments.channels {
            let options = StreamOptions {
                name: format!("channel {channel}").into(),
                qos: Qos::High,
                back_pressure: BackPressure::DropNewest,
                max_delay: Duration::from_secs_f64(arguments.max_delay / 1e3),
                max_batch: 1 << 16,
                ..StreamOptions::default()
            };
            let (input, output) = engine.open_stream(plan, options)?.split();
            inputs.push(input);
            outputs.push(output);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ticks")]
        let ticks = (arguments.seconds * f64::from(PUSHES_HZ)).ceil() as u64;
        let push_len = (arguments.rate / PUSHES_HZ) as usize;
        Ok(Self { signal: Signal::new(arguments.rate), inputs, outputs, push_len, ticks })
    }

    fn figures(mut self, arguments: &StreamsArguments, engine: &Engine, plan: &Plan) -> Result<Figures> {
        let controls: Vec<_> = self.inputs.iter().map(StreamInput::control).collect();
        let cpu_before = cpu_time();
        let start = Instant::now() + Duration::from_millis(20);
        let pulled = self.push_and_pull(arguments, start)?;
        let passed = start.elapsed();
        let cores = cpu_before.zip(cpu_time()).map(|(before, after)| (after - before).as_secs_f64());
        let sum = |count: &dyn Fn(crate::StreamCounters) -> u64| -> u64 {
            controls.iter().map(|control| count(control.counters())).sum()
        };
        let (pushed, dropped) = (sum(&|counters| counters.pushed), sum(&|counters| counters.dropped));
        let snapshot = engine.snapshot()?;
        let Some(streams) = snapshot.streams.first() else { bail!("there should be streams") };
        // What was dropped came out as silence, which no run would give.
        let identical = (dropped == 0).then(|| self.is_identical(arguments, plan, &pulled.checked)).transpose()?;
        let delay_ms = |quantile: f64| pulled.delays.value_at_quantile(quantile) as f64 / 1e3;
        let (early, late) = pulled.memory;
        Ok(Figures {
            device: engine.device().name.clone(),
            driver: engine.device().driver.clone(),
            date: seconds_since_1970(),
            channels: arguments.channels,
            rate_hz: arguments.rate,
            frame_len: arguments.frame,
            seconds: arguments.seconds,
            denoise: arguments.denoise.clone(),
            pushed,
            pulled: pulled.floats,
            dropped,
            lost: pushed.abs_diff(pulled.floats),
            delay_p50_ms: delay_ms(0.5),
            delay_p99_ms: delay_ms(0.99),
            delay_max_ms: pulled.delays.max() as f64 / 1e3,
            identical,
            batches: streams.batches,
            mean_batch: streams.mean_batch(),
            largest_batch: streams.largest_batch,
            compute_p50_ms: ms(streams.compute.p50),
            compute_p99_ms: ms(streams.compute.p99),
            cores: cores.map(|seconds| seconds / passed.as_secs_f64()),
            memory_bytes: late,
            memory_growth_bytes: early.zip(late).map(|(early, late)| late.cast_signed() - early.cast_signed()),
        })
    }

    /// Pushes on this thread and pulls on another, from `start` on.
    fn push_and_pull(&mut self, arguments: &StreamsArguments, start: Instant) -> Result<Pulled> {
        let checked_floats = self.pushed_floats().min((CHECKED_S * arguments.rate) as usize);
        let Self { signal, inputs, outputs, push_len, ticks } = self;
        let (signal, push_len, ticks, count) = (&*signal, *push_len, *ticks, inputs.len());
        let is_over = AtomicBool::new(false);
        let due = |channel: usize, tick: u64| start + moment(channel, count) + Duration::from_secs(tick) / PUSHES_HZ;
        std::thread::scope(|scope| -> Result<Pulled> {
            let pulling = scope.spawn(|| {
                let pulled_at = |channel: usize, sample: u64| due(channel, sample / push_len as u64);
                let quarter = start + Duration::from_secs_f64(arguments.seconds / 4.0);
                pull(outputs, checked_floats, quarter, &is_over, pulled_at)
            });
            let pushed = push(inputs, signal, push_len, ticks, due);
            inputs.iter_mut().for_each(StreamInput::finish);
            is_over.store(true, Ordering::Release);
            let pulled = pulling.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the pulling thread panicked")))?;
            pushed.map(|()| pulled)
        })
    }

    /// Floats that are pushed into each stream.
    fn pushed_floats(&self) -> usize {
        usize::try_from(self.ticks).unwrap_or(usize::MAX).saturating_mul(self.push_len)
    }

    /// Whether what came out of the first channels is what a run of each by itself gives, to the bit.
    fn is_identical(&self, arguments: &StreamsArguments, plan: &Plan, checked: &[Vec<f32>]) -> Result<bool> {
        for (channel, came) in checked.iter().enumerate() {
            let mut samples = vec![0.0; came.len().next_multiple_of(arguments.frame)];
            let pushed = self.pushed_floats().min(samples.len());
            self.signal.write(channel, 0, &mut samples[..pushed]);
            let alone = plan.run(&[&samples], 1)?;
            let alone = alone.dense("clean").unwrap_or(&[]);
            // The last frames of what was cut off hear the end.
            let certain = came.len().saturating_sub(arguments.frame * (plan.latency_frames() + 1));
            if alone.len() < certain || bits(&alone[..certain]).ne(bits(&came[..certain])) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn bits(samples: &[f32]) -> impl Iterator<Item = u32> {
    samples.iter().map(|sample| sample.to_bits())
}

/// When within 10 ms a channel is pushed: spread, and in no order.
fn moment(channel: usize, channels: usize) -> Duration {
    // Multiples of the golden ratio spread evenly, however many there are.
    let place = (channel as f64 * 0.618_033_988_75).fract() * if channels > 1 { 1.0 } else { 0.0 };
    Duration::from_secs_f64(place / f64::from(PUSHES_HZ))
}

fn push(
    inputs: &mut [StreamInput],
    signal: &Signal,
    push_len: usize,
    ticks: u64,
    due: impl Fn(usize, u64) -> Instant,
) -> Result<()> {
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|channel| due(*channel, 0));
    let mut samples = vec![0.0; push_len];
    for tick in 0..ticks {
        for channel in &order {
            let wait = due(*channel, tick).saturating_duration_since(Instant::now());
            // Channels that are due at nearly the same time are pushed together.
            if wait > Duration::from_micros(200) {
                std::thread::sleep(wait);
            }
            signal.write(*channel, tick * push_len as u64, &mut samples);
            inputs[*channel].push(&samples)?;
        }
    }
    Ok(())
}

fn pull(
    outputs: &mut [StreamOutput],
    checked_floats: usize,
    quarter: Instant,
    is_over: &AtomicBool,
    pushed_at: impl Fn(usize, u64) -> Instant,
) -> Result<Pulled> {
    // Touched here, so that they do not count as growth.
    let room = || {
        let mut room = vec![f32::NAN; checked_floats];
        room.clear();
        room
    };
    let checked = (0..CHECKED.min(outputs.len())).map(|_| room()).collect();
    let delays = Histogram::new_with_bounds(1, 3_600_000_000, 3)?;
    let mut pulled = Pulled { floats: 0, delays, checked, memory: (None, None) };
    let (mut samples, mut counts) = (vec![0.0; 1 << 14], vec![0_u64; outputs.len()]);
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        let mut is_finished = was_over;
        for (channel, output) in outputs.iter_mut().enumerate() {
            let count = output.pull(&mut samples)?;
            is_finished &= output.is_finished();
            if count == 0 {
                continue;
            }
            if !was_over {
                // The oldest of them has waited longest.
                let delay = Instant::now().saturating_duration_since(pushed_at(channel, counts[channel]));
                pulled.delays.saturating_record(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
            }
            counts[channel] += count as u64;
            pulled.floats += count as u64;
            if let Some(checked) = pulled.checked.get_mut(channel) {
                let left = checked.capacity() - checked.len();
                checked.extend_from_slice(&samples[..count.min(left)]);
            }
        }
        if pulled.memory.0.is_none() && Instant::now() > quarter {
            pulled.memory.0 = resident_bytes();
        }
        if is_finished {
            pulled.memory.1 = resident_bytes();
            return Ok(pulled);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Figures {
    fn table(&self) -> String {
        let head = format!(
            "{} ({}): {} channels at {} Hz, frames of {}, denoiser {}, {:.1} s",
            self.device, self.driver, self.channels, self.rate_hz, self.frame_len, self.denoise, self.seconds
        );
        let identical = match self.identical {
            None => "not checked: some were dropped",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let mut rows = vec![
            ("pushed", format!("{} samples", self.pushed)),
            ("dropped, lost", format!("{}, {}", self.dropped, self.lost)),
            (
                "delay p50 p99 max",
                format!("{:.1} ms, {:.1} ms, {:.1} ms", self.delay_p50_ms, self.delay_p99_ms, self.delay_max_ms),
            ),
            ("identical", identical.to_owned()),
            (
                "batches",
                format!("{}, of {:.1} frames; the largest of {}", self.batches, self.mean_batch, self.largest_batch),
            ),
            ("compute p50 p99", format!("{:.2} ms, {:.2} ms", self.compute_p50_ms, self.compute_p99_ms)),
        ];
        rows.extend(self.cores.map(|cores| ("cores", format!("{cores:.2}"))));
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        if let (Some(memory), Some(growth)) = (self.memory_bytes, self.memory_growth_bytes) {
            rows.push(("memory, growth", format!("{:.1} MiB, {:.1} MiB", mib(memory as f64), mib(growth as f64))));
        }
        table(&head, &rows)
    }
}
