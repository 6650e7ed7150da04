//! What is shown, for other programs: CSV and JSON.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::desk::Figures;
use super::history::{LevelPoint, Point};
use crate::error::{Error, Result};
use crate::qos::Qos;

/// The points of the plots: one line for each, nothing where nothing is known.
pub(super) fn csv(figures: &Figures) -> String {
    let mut text = String::from("at_s,frames_per_s,sparsity,occupancy,memory_bytes");
    for qos in Qos::ALL {
        for part in ["total", "queue", "compute"] {
            for quantile in ["p50", "p95", "p99"] {
                write!(text, ",{qos}_{part}_{quantile}_ms").ok();
            }
        }
        write!(text, ",{qos}_batch,{qos}_coherence,{qos}_waiting").ok();
    }
    text.push('\n');
    for point in &figures.history.points {
        line(&mut text, point);
    }
    text
}

fn line(text: &mut String, point: &Point) {
    let Point { at_s, frames_per_s, sparsity, occupancy, memory_bytes, qos } = point;
    write!(text, "{at_s:.3},").ok();
    cell(text, *frames_per_s);
    cell(text, *sparsity);
    write!(text, "{occupancy},").ok();
    cell(text, *memory_bytes);
    for (_, level) in qos.iter() {
        let LevelPoint { total, queue, compute, batch, coherence, waiting } = level;
        for times in [total, queue, compute] {
            let of = |pick: fn(&super::history::Times) -> f64| times.as_ref().map(pick);
            cell(text, of(|times| times.p50_ms));
            cell(text, of(|times| times.p95_ms));
            cell(text, of(|times| times.p99_ms));
        }
        cell(text, *batch);
        cell(text, *coherence);
        write!(text, "{waiting},").ok();
    }
    text.pop();
    text.push('\n');
}

fn cell(text: &mut String, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        write!(text, "{value}").ok();
    }
    text.push(',');
}

/// The device, the streams, the points, each change of a batch and why, and the engine's last snapshot, with spans.
pub(super) fn json(figures: &Figures) -> serde_json::Value {
    let stream = |stream: &super::feed::FeedFigures| {
        serde_json::json!({
            "name": stream.name,
            "qos": stream.qos,
            "sample_rate_hz": stream.rate_hz,
            "channels": stream.channels,
            "counters": stream.counters,
            "dropped": stream.dropped,
        })
    };
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "device": figures.device,
        "streams": figures.streams.iter().map(stream).collect::<Vec<_>>(),
        "points": figures.history.points,
        "batch_changes": figures.history.changes,
        "snapshot": figures.history.last,
    })
}

/// Writes both into a folder; returns where.
pub(super) fn write(figures: &Figures, folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (table, document) = (name(folder, "csv"), name(folder, "json"));
    std::fs::write(&table, csv(figures))?;
    std::fs::write(&document, serde_json::to_vec_pretty(&json(figures))?)?;
    Ok((table, document))
}

/// Writes the report that [`WindowOptions`](super::WindowOptions) asks for.
pub(super) fn write_report(path: &Path, document: &serde_json::Value) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(document).map_err(io::Error::from);
    let written = bytes.and_then(|bytes| std::fs::write(path, bytes));
    written.map_err(|error| Error::setting("the report", path.display(), format!("it cannot be written: {error}")))
}

/// A name that nothing else has: the time, in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a date for people")]
pub(super) fn name(folder: &Path, extension: &str) -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    folder.join(format!("auricle-{}.{extension}", since.as_millis()))
}

/// Writes a picture of [`picture`](super::picture)'s as a PNG.
///
/// # Errors
/// What the system says of the file, and when there are not as many bytes as pixels need.
pub fn png(path: &Path, [width, height]: [u32; 2], rgba: &[u8]) -> io::Result<()> {
    let file = io::BufWriter::new(std::fs::File::create(path)?);
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgba)?;
    writer.finish()?;
    Ok(())
}
