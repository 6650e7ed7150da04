//! How long `auricle run` takes for a second of sound, from its start to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::turns::{Member, median};
use crate::format::{Container, SampleFormat, SignalSpec, Template};
use crate::stage::sink::{Sink, SinkOptions};
use crate::{DeviceKind, Devices};

/// Runs of a turn, of which the median counts.
const RUNS: usize = 3;

pub(super) fn start(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for a recording")?;
    let input = folder.path().join("second.wav");
    write_second(&input)?;
    let software = Devices::find(1)?.list().into_iter().find(|device| device.kind == DeviceKind::SoftwareGpu);
    let mut group = vec![member("start.cpu", "cpu", &input)];
    if let Some(software) = &software {
        group.push(member("start.software", &software.name, &input));
    }
    if let Some(device) = bench.adapter().filter(|device| device.kind == DeviceKind::Gpu) {
        group.push(member("start.gpu", &device.name, &input));
    }
    bench.group(group)
}

fn member<'a>(name: &str, device: &str, input: &'a Path) -> Member<'a> {
    let (name, device) = (name.to_owned(), device.to_owned());
    Member::own_turn(name, "ms", move |_| {
        let times = (0..RUNS).map(|_| run(&device, input)).collect::<Result<Vec<f64>>>()?;
        Ok(median(times))
    })
}

fn run(device: &str, input: &Path) -> Result<f64> {
    let output = input.with_file_name("clean.wav");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(input).arg("-o").arg(&output).args(["--force", "--device", device]);
    let begin = Instant::now();
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    let took = begin.elapsed().as_secs_f64();
    if !done.status.success() {
        bail!("`auricle run` on {device}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(1e3 * took)
}

/// A second at 16 kHz, 16 bits, one channel.
fn write_second(path: &Path) -> Result<()> {
    let (container, format) = (Container::Wav, SampleFormat::S16);
    let spec = SignalSpec { container, format, sample_rate_hz: Some(16e3), channels: 1 };
    let mut sink = Sink::create(path, &Template::new(spec), &SinkOptions::default())?;
    let samples: Vec<f32> = (0..16_000_u16).map(|n| 0.25 * (0.2 * f32::from(n)).sin()).collect();
    sink.write(&samples)?;
    Ok(sink.finish()?)
}
