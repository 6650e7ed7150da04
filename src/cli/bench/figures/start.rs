//! How long `auricle run` takes for a second of sound, from its start to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::turns::{Member, median};
use crate::{DeviceKind, Devices};

/// Runs of a turn, of which the median counts.
const RUNS: usize = 3;

pub(super) fn start(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for a recording")?;
    let input = folder.path().join("second.wav");
    std::fs::write(&input, wav())?;
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
fn wav() -> Vec<u8> {
    let samples = 16_000_u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + 2 * samples).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((2 * samples).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    bytes.extend((0..samples).flat_map(|n| ((8000.0 * (f64::from(n) * 0.2).sin()) as i16).to_le_bytes()));
    bytes
}
