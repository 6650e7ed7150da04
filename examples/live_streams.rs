//! Live streams: many microphones, each pushed every 10 ms as an audio device would, all denoised at once; one of them is
//! urgent, one pauses, one moves to another level, and half of them are silent most of the time.
//!
//! ```text
//! cargo run --release --no-default-features --example live_streams [seconds [streams]]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use std::time::{Duration, Instant};

use auricle::stage::denoise::model::Model;
use auricle::{Denoise, Engine, EngineOptions, FrameShape, Gate, Graph, Qos, Stream, StreamOptions};

const RATE_HZ: u32 = 16_000;
const PERIOD: Duration = Duration::from_millis(10);
const PUSH_LEN: usize = RATE_HZ as usize / 100;

fn main() -> auricle::Result<()> {
    let number = |index: usize| std::env::args().nth(index).and_then(|text| text.parse::<u16>().ok());
    let (seconds, count) = (number(1).unwrap_or(5).max(1), number(2).unwrap_or(64).max(4));
    let engine = Engine::open(&EngineOptions::default())?;
    let graph = Graph::new()
        .input("microphone", FrameShape::real(256))
        .gate("gate", "microphone", Gate { hold: 4, ..Gate::default() })
        .denoise("denoise", "gate", Denoise::new(Model::builtin()))
        .output("clean", "denoise");
    let plan = engine.compile(&graph)?;

    let open = |index: u16| {
        let qos = if index == 0 { Qos::High } else { Qos::Default };
        // Room for a second, so that the one that pauses for half of that loses nothing.
        let name = format!("mic {index}").into();
        engine.open_stream(&plan, StreamOptions { name, qos, ring: 64, ..StreamOptions::default() })
    };
    let mut streams = (0..count).map(open).collect::<auricle::Result<Vec<Stream>>>()?;
    println!("{count} streams on {}, a push of {PUSH_LEN} samples for each every {PERIOD:?}", engine.device().name);

    let start = Instant::now();
    let mut clean = vec![0.0; 4 * PUSH_LEN];
    let mut pulled = 0;
    for tick in 0..u32::from(seconds) * 100 {
        std::thread::sleep((PERIOD * tick).saturating_sub(start.elapsed()));
        match tick {
            100 => streams[1].control().pause(),
            150 => streams[1].control().resume(),
            200 => engine.move_stream(&streams[2].control(), &plan, Qos::Low)?,
            _ => {}
        }
        for (stream, index) in streams.iter_mut().zip(0..) {
            stream.push(&microphone(index, tick))?;
            pulled += stream.pull(&mut clean)?;
        }
    }
    for stream in &mut streams {
        stream.finish();
    }
    for stream in &mut streams {
        loop {
            match stream.pull_all(&mut clean, Duration::from_secs(10))? {
                0 => break,
                count => pulled += count,
            }
        }
    }

    println!("pulled {pulled} samples in {:.2?}", start.elapsed());
    report(&engine, &streams)
}

/// What the streams and the engine have counted.
fn report(engine: &Engine, streams: &[Stream]) -> auricle::Result<()> {
    let counters: Vec<_> = streams.iter().map(|stream| stream.control().counters()).collect();
    let (pushed, dropped) =
        counters.iter().fold((0, 0), |(pushed, dropped), stream| (pushed + stream.pushed, dropped + stream.dropped));
    println!("pushed {pushed} samples, dropped {dropped}");
    let snapshot = engine.snapshot()?;
    for streams in &snapshot.streams {
        println!(
            "{:<8} {:6} batches of {:5.1} frames, done {:5.2} ms after their first frame came (p99), {:5.2} ms on the device",
            streams.qos,
            streams.batches,
            streams.mean_batch(),
            streams.delay.p99.as_secs_f64() * 1e3,
            streams.compute.p99.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

/// 10 ms of a microphone: a voice of sorts in noise, and where nobody speaks, hardly anything.
fn microphone(index: u16, tick: u32) -> Vec<f32> {
    let speaks = index.is_multiple_of(2) || (tick / 100) % 8 == u32::from(index) % 8;
    let mut state = (u32::from(index) << 16 | tick) | 1;
    let mut noise = move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let pitch_hz = 100.0 + 3.0 * f32::from(index);
    let sample = |n: usize| {
        let time_s = (tick * 160) as f32 / RATE_HZ as f32 + n as f32 / RATE_HZ as f32;
        let voice: f32 = (1..8).map(|k| (std::f32::consts::TAU * pitch_hz * k as f32 * time_s).sin() / k as f32).sum();
        if speaks { 0.1 * voice + 0.02 * noise() } else { 1e-5 * noise() }
    };
    (0..PUSH_LEN).map(sample).collect()
}
