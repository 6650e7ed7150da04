//! A client that sizes its batches by what the service says.
//!
//! ```text
//! auricle serve                                       in one terminal
//! cargo run --release --example adaptive_client       in another
//! ```
//!
//! Each batch is one job: `POST /v1/clean` with so many frames of 1024 samples. Before each, it asks `/gpu/hints` how large
//! the next one should be so that 95 of 100 are answered within 50 ms.

#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use std::time::{Duration, Instant};

use serde_json::Value;

const FRAME: usize = 1024;
/// The service takes so many frames as one job.
const MOST_FRAMES: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7870".to_owned());
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
    let agent = ureq::Agent::new_with_config(config.build());
    let samples: Vec<u8> =
        (0..MOST_FRAMES * FRAME).flat_map(|n| (0.3 * (0.05 * (n % FRAME) as f32).sin()).to_le_bytes()).collect();
    let (start, mut shown, mut frames) = (Instant::now(), Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(30) {
        let mut answer = agent.get(format!("{url}/gpu/hints?qos=default&target_latency_ms=50")).call()?;
        let hint: Value = answer.body_mut().read_json()?;
        let Some(suggested) = hint["suggested_batch"].as_u64() else {
            return Err(format!("{}: {}", text(&hint["code"]), text(&hint["detail"])).into());
        };
        let batch = usize::try_from(suggested)?.min(MOST_FRAMES);
        let path = format!("{url}/v1/clean?format=f32&sample_rate=16000&denoise=off");
        let mut answer = agent.post(&path).send(&samples[..batch * FRAME * 4])?;
        match answer.status().as_u16() {
            200 => {
                let clean = answer.body_mut().with_config().limit(1 << 26).read_to_vec()?;
                assert_eq!(clean.len(), batch * FRAME * 4, "as much comes back as was sent");
                frames += batch;
            }
            429 => {
                // Too many others: the service says when to come back.
                let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                std::thread::sleep(Duration::from_secs(seconds.unwrap_or(1)));
            }
            status => return Err(format!("{status}: {}", answer.body_mut().read_to_string()?).into()),
        }
        let passed = shown.elapsed().as_secs_f64();
        if passed >= 1.0 {
            let (rate, at) = (frames as f64 / passed, start.elapsed().as_secs_f64());
            let (action, reason) = (text(&hint["action"]), text(&hint["reason"]));
            println!("{at:5.1} s  {batch:5} frames  {rate:9.0} frames/s  {action}: {reason}");
            (shown, frames) = (Instant::now(), 0);
        }
    }
    Ok(())
}

/// Without the quotes that JSON has.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
