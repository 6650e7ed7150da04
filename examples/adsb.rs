//! Real air: Mode S frames in a recording of 1090 MHz, decoded from the samples as they are and after the phi-resolvent.
//!
//! ```text
//! cargo run --release --no-default-features --example adsb -- RECORDING.cu8
//! ```
//!
//! The recording has unsigned 8-bit IQ samples at 2 MS/s, as rtl-sdr and dump1090 use them. A frame counts when its
//! checksum is right, so nothing that was sent need be known: more frames are better reception.
#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use auricle::{Engine, EngineOptions, FrameShape, GOLDEN_RATIO, Graph, PhiResolvent, Wavenumber};

/// Samples of a preamble, and of the longest frame after it: two for each of 112 bits.
const PREAMBLE: usize = 16;
const LONGEST: usize = 224;
/// Samples of a frame of the graph.
const FRAME_LEN: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("name a recording of unsigned 8-bit IQ samples at 2 MS/s, 1090 MHz".into());
    };
    let bytes = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let samples: Vec<f32> = bytes.iter().map(|&byte| (f32::from(byte) - 127.4) / 128.0).collect();
    let engine = Engine::open(&EngineOptions::default())?;
    println!("{} s of signal on {}", samples.len() as f64 / 4e6, engine.device().name);
    println!("{:>24}  frames with a right checksum", "");
    println!("{:>24}  {}", "as it is", valid_frames(&samples));
    for (unit, wavenumber) in
        [("cycles", Wavenumber::Cycles), ("Nyquist", Wavenumber::Nyquist), ("radians", Wavenumber::Radians)]
    {
        let filter = PhiResolvent { wavenumber, ..PhiResolvent::default() };
        println!(
            "{:>24}  {}",
            format!("golden ratio, k in {unit}"),
            valid_frames(&filtered(&engine, filter, &samples)?)
        );
    }
    // Phi times k squared is all that there is: one sweep is that of both.
    let mut best = (0, 0.0);
    let mut worst = (usize::MAX, 0.0);
    for step in -8..=8 {
        let phi = GOLDEN_RATIO * 2_f64.powf(f64::from(step) / 2.0);
        let filter = PhiResolvent { phi, wavenumber: Wavenumber::Nyquist, ..PhiResolvent::default() };
        let frames = valid_frames(&filtered(&engine, filter, &samples)?);
        println!("{:>24}  {frames}", format!("phi {phi:.3}, k of Nyquist"));
        if frames > best.0 {
            best = (frames, phi);
        }
        if frames < worst.0 {
            worst = (frames, phi);
        }
    }
    println!("best: phi {:.3} with {} frames; worst: phi {:.3} with {}", best.1, best.0, worst.1, worst.0);
    Ok(())
}

/// The signal after the filter, as one graph. What the last frame lacks is silence.
fn filtered(engine: &Engine, filter: PhiResolvent, samples: &[f32]) -> auricle::Result<Vec<f32>> {
    let graph = Graph::new()
        .input("air", FrameShape::complex(FRAME_LEN))
        .filter("filter", "air", filter)
        .output("smooth", "filter");
    let mut padded = samples.to_vec();
    padded.resize(samples.len().next_multiple_of(2 * FRAME_LEN), 0.0);
    let output = engine.compile(&graph)?.run(&[&padded], 1)?;
    let mut smooth = output.dense("smooth").unwrap_or_default().to_vec();
    smooth.truncate(samples.len());
    Ok(smooth)
}

/// Frames of the formats 11, 17 and 18 whose checksum is right.
fn valid_frames(samples: &[f32]) -> usize {
    let level: Vec<f32> = samples.chunks_exact(2).map(|z| (z[0] * z[0] + z[1] * z[1]).sqrt()).collect();
    let (mut frames, mut next) = (0, 0);
    for (at, window) in level.windows(PREAMBLE + LONGEST).enumerate() {
        if at < next || !is_preamble(window) {
            continue;
        }
        // Each bit is high in its first half when it is set.
        let bits: Vec<bool> = window[PREAMBLE..].chunks_exact(2).map(|half| half[0] > half[1]).collect();
        let format = bits[..5].iter().fold(0, |number, &bit| 2 * number + u32::from(bit));
        let length = match format {
            17 | 18 if remainder(&bits) == 0 => LONGEST,
            // The remainder is the code of the station that asked, which is small.
            11 if remainder(&bits[..56]) < 80 => LONGEST / 2,
            _ => continue,
        };
        frames += 1;
        next = at + PREAMBLE + length;
    }
    frames
}

/// Pulses at 0, 1, 3.5 and 4.5 microseconds, and little between and after them.
fn is_preamble(m: &[f32]) -> bool {
    let pulses = m[0] > m[1] && m[1] < m[2] && m[2] > m[3] && m[3] < m[0] && m[7] > m[8] && m[8] < m[9] && m[9] > m[6];
    let high = (m[0] + m[2] + m[7] + m[9]) / 6.0;
    pulses && m[4..7].iter().all(|&level| level < m[0]) && [4, 5, 11, 12, 13, 14].iter().all(|&at| m[at] < high)
}

/// Of the division by the generator of Mode S, 0x1fff409.
fn remainder(bits: &[bool]) -> u32 {
    let shifted = bits.iter().fold(0_u32, |rest, &bit| {
        let rest = (rest << 1) | u32::from(bit);
        if rest & 0x0100_0000 == 0 { rest } else { rest ^ 0x01ff_f409 }
    });
    shifted & 0x00ff_ffff
}
