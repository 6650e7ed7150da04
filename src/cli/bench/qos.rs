//! `auricle bench qos`: urgent jobs that come at random, alone and beside background work that never ends, in turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser as _;

use super::{Place, cpu_time, give, ms, seconds, seconds_since_1970, table};
use crate::cli::denoise::{CHOICES, DenoiseSettings};
use crate::cli::times::percentile;
use crate::random::Random;
use crate::{
    Engine, Error, FrameShape, Graph, JobOptions, PerQos, PhiResolvent, Plan, Qos, RunOutput, ScheduleOptions, Ticket,
};

const DETAILS: &str = "\
Turns of --turn seconds follow each other, --rounds times: urgent jobs alone
(the control), urgent jobs beside background work, background work alone. Urgent
jobs come at random, as calls do: a fifth of what the device can do. Background
work is always there. Both filter frames of 1024 samples, which is work for the
memory, or with --denoise denoise them too, which is work for the processor; and
both use the memory of their results again.

  high p99           the time from submission to answer that 99 of 100 urgent
                     jobs keep, beside background work
  control            the same without it; the ratio should be 1.5 at most, but
                     for the bound
  bound              submissions in flight x the longest piece: what an urgent
                     job may wait for background work at most
  low share          the part of the frames done that is background work's
  total / low only   frames of both, over those of background work alone
  scheduler CPU      processor time of one job that does nothing
  hand-over          from submission to a lane that begins: asleep, and still
                     awake from its last job
  late               how long after its deadline a job is answered whose device
                     is busy

Example:
  auricle bench qos --device cpu --json -";

/// Measure how well urgent jobs are kept on time while background work fills the device.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(crate) struct QosArguments {
    #[command(flatten)]
    place: Place,

    /// Length of a turn, in seconds.
    #[arg(long, default_value_t = 2.0, value_parser = seconds::<3600>)]
    turn: f64,

    /// How often the three turns are taken.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// What the arrivals follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The denoiser behind the filter.
    #[arg(long, default_value = "off", value_name = CHOICES)]
    denoise: String,

    #[command(flatten)]
    denoise_settings: DenoiseSettings,
}

/// The figures. Times in milliseconds unless their names say otherwise; none where there is no way to measure.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Figures {
    device: String,
    driver: String,
    denoise: String,
    date: Option<u64>,
    seed: u64,
    rounds: u32,
    high_jobs: usize,
    high_frames: usize,
    high_p50_ms: f64,
    pub(super) high_p99_ms: f64,
    high_p50_control_ms: f64,
    pub(super) high_p99_control_ms: f64,
    p99_ratio: f64,
    bound_ms: f64,
    pub(super) low_share: f64,
    pub(super) total_vs_low_only: f64,
    pub(super) scheduler_cpu_us_per_job: Option<f64>,
    hand_over_parked_us: f64,
    hand_over_awake_us: f64,
    expired_late_p99_ms: Option<f64>,
}

const FRAME_LEN: usize = 1024;
/// The part of the device that urgent jobs ask for.
const HIGH_LOAD: f64 = 0.2;
/// What an urgent job takes alone, about.
const HIGH_JOB: Duration = Duration::from_millis(2);
/// And a background job.
const LOW_JOB: Duration = Duration::from_millis(20);

/// A few turns on the CPU, with the built-in denoiser.
#[derive(Debug, clap::Parser)]
struct Short {
    #[command(flatten)]
    arguments: QosArguments,
}

pub(super) fn short(threads: usize, quick: bool) -> Result<Figures> {
    let (turn, rounds) = if quick { ("1", "2") } else { ("2", "5") };
    let threads = threads.to_string();
    let words =
        ["", "--device", "cpu", "--denoise", "builtin", "--turn", turn, "--rounds", rounds, "--threads", &threads];
    let Short { arguments } = Short::try_parse_from(words)?;
    Bench::new(&arguments)?.figures(&arguments)
}

pub(super) fn bench(arguments: &QosArguments) -> Result<()> {
    let bench = Bench::new(arguments)?;
    let figures = bench.figures(arguments)?;
    give(&figures, &figures.table(), arguments.place.json.as_deref())
}

struct Bench {
    engine: Engine,
    plan: Plan,
    schedule: ScheduleOptions,
    /// What one job of either kind is about.
    high: Arc<[f32]>,
    low: Arc<[f32]>,
    /// Results of jobs that are over, whose memory the next ones use.
    spare: PerQos<Mutex<Vec<RunOutput>>>,
    /// Between urgent jobs, on average.
    interval: Duration,
}

fn samples(frames: usize) -> Arc<[f32]> {
    (0..frames * FRAME_LEN).map(|n| (n % 97) as f32 / 97.0 - 0.5).collect()
}

/// What came of one turn.
#[derive(Clone, Debug, Default)]
struct Turn {
    /// Of urgent jobs, from submission to answer.
    times: Vec<Duration>,
    high_frames: f64,
    low_frames: f64,
    seconds: f64,
}

impl Bench {
    fn new(arguments: &QosArguments) -> Result<Self> {
        let schedule = ScheduleOptions::default();
        let engine = arguments.place.engine(schedule.clone())?;
        let graph = Graph::new().input("samples", FrameShape::real(FRAME_LEN)).filter(
            "filter",
            "samples",
            PhiResolvent::default(),
        );
        let graph = match arguments.denoise_settings.denoiser(&arguments.denoise)? {
            None => graph.output("clean", "filter"),
            Some(denoise) => graph.denoise("denoise", "filter", denoise).output("clean", "denoise"),
        };
        let plan = engine.compile(&graph)?;
        for qos in Qos::ALL {
            plan.prepare(qos)?;
        }
        let (high, low) = (samples(0), samples(0));
        let (spare, interval) = (PerQos::default(), Duration::ZERO);
        let mut bench = Self { engine, plan, schedule, high, low, spare, interval };
        let (high, time) = bench.size_of(HIGH_JOB)?;
        bench.interval = time.div_f64(HIGH_LOAD);
        (bench.high, bench.low) = (high, bench.size_of(LOW_JOB)?.0);
        Ok(bench)
    }

    /// What an urgent job of this length is about, and how long it is then: the median of some.
    fn size_of(&self, wanted: Duration) -> Result<(Arc<[f32]>, Duration)> {
        let mut frames = 16;
        loop {
            let job = samples(frames);
            let mut times = Vec::new();
            for _ in 0..9 {
                let start = Instant::now();
                let output = self.submit(Qos::High, &job)?.wait()?;
                times.push(start.elapsed());
                self.spare(Qos::High).push(output);
            }
            times.sort_unstable();
            if times[4] >= wanted || frames >= 1 << 18 {
                return Ok((job, times[4]));
            }
            let factor = wanted.as_secs_f64() / times[4].as_secs_f64();
            #[expect(clippy::cast_possible_truncation, reason = "at most four times as many")]
            let more = (frames as f64 * factor.clamp(1.1, 4.0)).ceil() as usize;
            frames = more;
        }
    }

    fn submit(&self, qos: Qos, samples: &Arc<[f32]>) -> Result<Ticket<RunOutput>, Error> {
        let options = JobOptions { qos, name: qos.name().into(), ..JobOptions::default() };
        let spare = self.spare(qos).pop().unwrap_or_default();
        self.engine.submit_into(&self.plan, [Arc::clone(samples)], spare, options)
    }

    fn spare(&self, qos: Qos) -> MutexGuard<'_, Vec<RunOutput>> {
        self.spare[qos].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self, arguments: &QosArguments) -> Result<Figures> {
        let turn = Duration::from_secs_f64(arguments.turn);
        let (mut control, mut beside, mut low_only) = (Turn::default(), Turn::default(), Turn::default());
        for round in 0..u64::from(arguments.rounds) {
            let seed = arguments.seed.wrapping_mul(1_000_003) + round;
            control.add(self.turn(turn, Some(seed), false)?);
            beside.add(self.turn(turn, Some(seed), true)?);
            low_only.add(self.turn(turn, None, true)?);
        }
        let total = beside.high_frames + beside.low_frames;
        let rate = |turn: &Turn| (turn.high_frames + turn.low_frames) / turn.seconds;
        let in_flight = self.engine.most_in_flight() as f64;
        let (parked, awake) = self.hand_over()?;
        let device = self.engine.device();
        Ok(Figures {
            device: device.name.clone(),
            driver: device.driver.clone(),
            denoise: arguments.denoise.clone(),
            date: seconds_since_1970(),
            seed: arguments.seed,
            rounds: arguments.rounds,
            high_jobs: beside.times.len(),
            high_frames: self.high.len() / FRAME_LEN,
            high_p50_ms: beside.percentile_ms(50),
            high_p99_ms: beside.percentile_ms(99),
            high_p50_control_ms: control.percentile_ms(50),
            high_p99_control_ms: control.percentile_ms(99),
            p99_ratio: beside.percentile_ms(99) / control.percentile_ms(99),
            bound_ms: in_flight * ms(self.schedule.longest_piece),
            low_share: beside.low_frames / total,
            total_vs_low_only: rate(&beside) / rate(&low_only),
            scheduler_cpu_us_per_job: self.cpu_per_job()?,
            hand_over_parked_us: 1000.0 * ms(parked),
            hand_over_awake_us: 1000.0 * ms(awake),
            expired_late_p99_ms: self.lateness()?.map(ms),
        })
    }

    /// One turn: urgent jobs that follow from `seed`, background work, or both.
    fn turn(&self, length: Duration, seed: Option<u64>, low: bool) -> Result<Turn> {
        let times = Arc::new(Mutex::new(Vec::new()));
        let (stop, low_frames) = (AtomicBool::new(false), AtomicU64::new(0));
        let start = Instant::now();
        std::thread::scope(|scope| -> Result<()> {
            let background = low.then(|| scope.spawn(|| self.saturate(&stop, &low_frames)));
            let urgent = seed.map_or_else(
                || {
                    std::thread::sleep(length);
                    Ok(())
                },
                |seed| self.arrive(start, length, seed, &times),
            );
            stop.store(true, Ordering::Relaxed);
            let background = background.map_or(Ok(()), |thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the background thread panicked")))
            });
            urgent.and(background)
        })?;
        let times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
        let high_frames = (times.len() * self.high.len() / FRAME_LEN) as f64;
        let low_frames = low_frames.load(Ordering::Relaxed) as f64;
        Ok(Turn { times, high_frames, low_frames, seconds: start.elapsed().as_secs_f64() })
    }

    /// Two background jobs are always there; what is not done when time is up is cancelled.
    fn saturate(&self, stop: &AtomicBool, done: &AtomicU64) -> Result<()> {
        let mut first = self.submit(Qos::Low, &self.low)?;
        while !stop.load(Ordering::Relaxed) {
            let second = self.submit(Qos::Low, &self.low)?;
            loop {
                match first.wait_timeout(Duration::from_millis(5)) {
                    Some(answer) => {
                        self.spare(Qos::Low).push(answer?);
                        done.fetch_add((self.low.len() / FRAME_LEN) as u64, Ordering::Relaxed);
                        break;
                    }
                    None if stop.load(Ordering::Relaxed) => {
                        first.cancel();
                        second.cancel();
                        return Ok(());
                    }
                    None => {}
                }
            }
            first = second;
        }
        first.cancel();
        Ok(())
    }

    /// Urgent jobs at random times that do not depend on how the ones before them got on. Each is waited for by a thread of
    /// its own, so that its answer is seen when it comes.
    fn arrive(&self, start: Instant, length: Duration, seed: u64, times: &Arc<Mutex<Vec<Duration>>>) -> Result<()> {
        let mut random = Random::new(seed, 0);
        let mut next = Duration::ZERO;
        let (send, waiters) = crossbeam::channel::bounded::<(Instant, Ticket<RunOutput>)>(1024);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (waiters, times) = (waiters.clone(), Arc::clone(times));
                scope.spawn(move || {
                    for (submitted, ticket) in waiters {
                        if let Ok(output) = ticket.wait() {
                            times.lock().unwrap_or_else(PoisonError::into_inner).push(submitted.elapsed());
                            self.spare(Qos::High).push(output);
                        }
                    }
                });
            }
            drop(waiters);
            // The threads end when nobody sends any more.
            let send = send;
            loop {
                // Above 0, so that its logarithm is there.
                let uniform = f64::from(1.0 - random.unit());
                next += self.interval.mul_f64(-uniform.ln());
                if next >= length {
                    return Ok(());
                }
                std::thread::sleep(next.saturating_sub(start.elapsed()));
                // An arrival that the system slept through still counts from when it was due.
                send.send((start + next, self.submit(Qos::High, &self.high)?))?;
            }
        })
    }

    /// Processor time of a job that does nothing, all threads together.
    fn cpu_per_job(&self) -> Result<Option<f64>> {
        const JOBS: usize = 20_000;
        const AT_ONCE: usize = 500;
        let Some(start) = cpu_time() else { return Ok(None) };
        for _ in 0..JOBS / AT_ONCE {
            // While lanes are kept, jobs gather: so that none of them waits awake for the next one, which would count too.
            let kept = (0..self.schedule.lanes.high).map(|_| self.engine.possession(Qos::High));
            let kept = kept.collect::<Result<Vec<_>, _>>()?;
            let nothing = || self.engine.run_on_lane(Qos::High, "nothing", |_| ());
            let tickets = (0..AT_ONCE).map(|_| nothing()).collect::<Result<Vec<_>, _>>()?;
            drop(kept);
            // The last one first: who waits for each in turn is woken by each, which is not the scheduler's work.
            tickets.into_iter().rev().try_for_each(Ticket::wait)?;
        }
        Ok(cpu_time().map(|end| (end - start).as_secs_f64() * 1e6 / JOBS as f64))
    }

    /// From submission to the lane's first step, when it is asleep and when it is not: the medians.
    fn hand_over(&self) -> Result<(Duration, Duration)> {
        let once = || -> Result<Duration> {
            let start = Instant::now();
            let begun = self.engine.run_on_lane(Qos::High, "hand-over", |_| Instant::now())?.wait()?;
            Ok(begun - start)
        };
        let (mut parked, mut awake) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(1));
            parked.push(once()?);
        }
        for _ in 0..2000 {
            awake.push(once()?);
        }
        let median = |times: &mut [Duration]| percentile(times, 50).unwrap_or_default();
        Ok((median(&mut parked), median(&mut awake)))
    }

    /// How late jobs are answered that expire while the device is busy with others.
    fn lateness(&self) -> Result<Option<Duration>> {
        let long = samples(8 * self.low.len() / FRAME_LEN);
        let mut late = Vec::new();
        for index in 0..50_u64 {
            let _busy = [self.submit(Qos::Low, &self.low)?, self.submit(Qos::Low, &self.low)?];
            let deadline = Duration::from_millis(3) + Duration::from_micros(37 * index);
            let options = JobOptions { qos: Qos::Low, deadline: Some(deadline), ..JobOptions::default() };
            let start = Instant::now();
            let ticket = self.engine.submit(&self.plan, [Arc::clone(&long)], options)?;
            if let Err(Error::Expired { .. }) = ticket.wait() {
                late.push(start.elapsed().saturating_sub(deadline));
            }
        }
        Ok(percentile(&mut late, 99))
    }
}

impl Turn {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.high_frames += other.high_frames;
        self.low_frames += other.low_frames;
        self.seconds += other.seconds;
    }

    fn percentile_ms(&self, of_hundred: usize) -> f64 {
        ms(percentile(&mut self.times.clone(), of_hundred).unwrap_or_default())
    }
}

impl Figures {
    fn table(&self) -> String {
        let mut rows = vec![
            ("high p50, p99", format!("{:.2} ms, {:.2} ms", self.high_p50_ms, self.high_p99_ms)),
            ("control p50, p99", format!("{:.2} ms, {:.2} ms", self.high_p50_control_ms, self.high_p99_control_ms)),
            ("p99 / control", format!("{:.2}", self.p99_ratio)),
            ("bound", format!("{:.2} ms", self.bound_ms)),
            ("low share", format!("{:.1} %", 100.0 * self.low_share)),
            ("total / low only", format!("{:.1} %", 100.0 * self.total_vs_low_only)),
        ];
        rows.extend(self.scheduler_cpu_us_per_job.map(|cpu| ("scheduler CPU", format!("{cpu:.2} us per job"))));
        rows.push((
            "hand-over",
            format!("{:.1} us asleep, {:.1} us awake", self.hand_over_parked_us, self.hand_over_awake_us),
        ));
        rows.extend(self.expired_late_p99_ms.map(|late| ("late p99", format!("{late:.2} ms"))));
        let head = format!(
            "{} ({}), {} urgent jobs of {} frames, denoiser {}",
            self.device, self.driver, self.high_jobs, self.high_frames, self.denoise
        );
        table(&head, &rows)
    }
}
