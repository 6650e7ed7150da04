//! Two tenants of one device: background work that never ends, and an urgent stream with a frame every 10 ms; first
//! without the scheduler, then with it.
//!
//! ```text
//! cargo run --release --no-default-features --example two_tenants [seconds]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auricle::{Engine, EngineOptions, FrameShape, Graph, JobOptions, PhiResolvent, Plan, Qos, RunOutput};

const FRAME_LEN: usize = 1024;
/// A minute of four recordings, at 16 kHz.
const BACKGROUND_FRAMES: usize = 4 * 1024;
/// 64 channels of 4 frames each.
const URGENT_FRAMES: usize = 256;
const PERIOD: Duration = Duration::from_millis(10);

fn main() -> auricle::Result<()> {
    let seconds: f64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let seconds = seconds.clamp(0.1, 3600.0);
    let time = Duration::from_secs_f64(seconds);
    let engine = Engine::open(&EngineOptions::default())?;
    let graph = Graph::new()
        .input("samples", FrameShape::real(FRAME_LEN))
        .filter("filter", "samples", PhiResolvent::default())
        .output("clean", "filter");
    let plan = engine.compile(&graph)?;
    Qos::ALL.into_iter().try_for_each(|qos| plan.prepare(qos))?;
    println!(
        "{}: {} background frames a job, {URGENT_FRAMES} urgent frames every {PERIOD:?}",
        engine.device().name,
        BACKGROUND_FRAMES
    );

    // Each tenant runs the plan whenever it likes; the device takes them as they come.
    let direct = |frames: &Arc<[f32]>, _: Qos, output: &mut RunOutput| plan.run_into(&[frames], 1, output);
    report("without the scheduler", &tenants(time, direct)?);

    let scheduled = |frames: &Arc<[f32]>, qos: Qos, output: &mut RunOutput| submit(&engine, &plan, frames, qos, output);
    report("with the scheduler", &tenants(time, scheduled)?);
    Ok(())
}

/// A job whose result goes where that of the last one was: new memory for each would cost as much as the work.
fn submit(engine: &Engine, plan: &Plan, frames: &Arc<[f32]>, qos: Qos, output: &mut RunOutput) -> auricle::Result<()> {
    let options = JobOptions { qos, name: qos.name().into(), ..JobOptions::default() };
    *output = engine.submit_into(plan, [Arc::clone(frames)], std::mem::take(output), options)?.wait()?;
    Ok(())
}

struct Outcome {
    /// Of the urgent tenant, from when a frame was due.
    times: Vec<Duration>,
    background_frames: usize,
    seconds: f64,
}

/// Lets both run for a while; `work` does one job of either.
fn tenants(
    time: Duration,
    work: impl Fn(&Arc<[f32]>, Qos, &mut RunOutput) -> auricle::Result<()> + Sync,
) -> auricle::Result<Outcome> {
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    let times = std::thread::scope(|scope| {
        // Two threads, so that the device always has something to do.
        for _ in 0..2 {
            scope.spawn(|| {
                let frames = vec![0.25; BACKGROUND_FRAMES * FRAME_LEN].into();
                let mut output = RunOutput::default();
                while !over.load(Ordering::Relaxed) && work(&frames, Qos::Low, &mut output).is_ok() {
                    done.fetch_add(BACKGROUND_FRAMES, Ordering::Relaxed);
                }
            });
        }
        let frames = vec![0.5; URGENT_FRAMES * FRAME_LEN].into();
        let (mut times, mut output) = (Vec::new(), RunOutput::default());
        let mut due = start + PERIOD;
        while due < start + time {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Err(error) = work(&frames, Qos::High, &mut output) {
                over.store(true, Ordering::Relaxed);
                return Err(error);
            }
            times.push(due.elapsed());
            due += PERIOD;
        }
        over.store(true, Ordering::Relaxed);
        Ok(times)
    })?;
    Ok(Outcome { times, background_frames: done.into_inner(), seconds: start.elapsed().as_secs_f64() })
}

fn report(what: &str, outcome: &Outcome) {
    let mut times = outcome.times.clone();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    let (background, urgent) = (outcome.background_frames, outcome.times.len() * URGENT_FRAMES);
    let share = 100.0 * background as f64 / (background + urgent) as f64;
    println!(
        "{what:<22}  urgent p50 {:7.2} ms, p99 {:7.2} ms   background {:6.0} frames/ms, {share:.0} % of the frames",
        at(50),
        at(99),
        background as f64 / outcome.seconds / 1e3,
    );
}
