//! The command line, as a process: what a user types, and what comes back.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::adapter::adapter_names;
use crate::compare::relative_l2;
use crate::files::{self, shared_data};
use crate::signals::noise;

pub(crate) use crate::files::float_bytes;

/// A folder of its own for each test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(files::folder())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        files::put(&self.0, name, bytes)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        files::names_in(&self.0)
    }
}

pub(crate) fn auricle<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auricle"));
    command.args(arguments).env("AURICLE_LOG", "warn").env("XDG_CACHE_HOME", std::env::temp_dir());
    command
}

/// Runs on the CPU and without a denoiser, unless the arguments say otherwise.
pub(crate) fn run(input: &Path, output: &Path, more: &[&str]) -> Output {
    let device: &[&str] = if more.contains(&"--device") { &[] } else { &["--device", "cpu"] };
    let denoise: &[&str] = if more.contains(&"--denoise") { &[] } else { &["--denoise", "off"] };
    let mut command = auricle(["run"]);
    command.arg(input).arg("-o").arg(output).args(device).args(denoise).args(more);
    command.output().expect("the program should start")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts that it failed with this exit code and one line that names every one of `needles`.
pub(crate) fn assert_refused(output: &Output, code: i32, needles: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "exit code; it said: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "one line: {message}");
    for needle in needles {
        assert!(message.contains(needle), "`{needle}` should stand in: {message}");
    }
    assert!(output.stdout.is_empty(), "nothing on standard output: {}", text(&output.stdout));
}

pub(crate) fn assert_done(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "exit code; it said: {message}");
    message
}

/// A canonical WAV file.
pub(crate) fn wav(format_tag: u16, bits: u16, channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
    files::wav_bytes(&files::fmt(format_tag, channels, rate, bits), data)
}

fn floats(path: &Path) -> Vec<f32> {
    files::floats_of(&std::fs::read(path).expect("the output should be there"))
}

/// One second of 16-bit speech-like mono: loud, then quiet, then loud.
fn short_wav() -> Vec<u8> {
    let samples = noise(16_000, 3);
    let data: Vec<u8> = samples
        .iter()
        .enumerate()
        .flat_map(|(n, sample)| {
            let level = if (5_000..11_000).contains(&n) { 0.0 } else { 12_000.0 };
            ((sample * level) as i16).to_le_bytes()
        })
        .collect();
    wav(1, 16, 1, 16_000, &data)
}

fn report(output: &Output) -> serde_json::Value {
    assert_done(output);
    serde_json::from_slice(&output.stdout).expect("the report should be one JSON object")
}

#[test]
fn a_recording_is_cleaned_and_reported() {
    let folder = Folder::new();
    let input = folder.file("in.wav", &short_wav());
    let (output, picture) = (folder.path("out.wav"), folder.path("p.png"));
    let done = run(&input, &output, &["--report", "json", "--picture", picture.to_str().unwrap(), "--hold", "0"]);
    let report = report(&done);
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "input",
            "output",
            "device",
            "sample_rate_hz",
            "channels",
            "frame_len",
            "samples",
            "frames",
            "coherence",
            "stages",
            "hop",
            "wall_s",
            "frames_per_s",
            "realtime_factor",
            "settings"
        ]
    );
    assert_eq!(report["samples"], 16_000);
    assert_eq!(report["sample_rate_hz"], 16_000.0);
    assert_eq!(report["frames"], serde_json::json!({ "total": 16, "live": 11, "quiet": 5, "faulty": 0 }));
    assert_eq!(report["device"]["kind"], "cpu");
    let coherence = report["coherence"].as_f64().unwrap();
    assert!((0.28..0.38).contains(&coherence), "white noise is 0.332: {coherence}");
    let (before, after) = (std::fs::read(&input).unwrap(), std::fs::read(&output).unwrap());
    assert_eq!(before[..44], after[..44], "the header is that of the input");
    assert_eq!(before.len(), after.len(), "to the sample");
    assert_ne!(before, after, "it was filtered");
    let png = std::fs::read(&picture).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n", "a PNG");
    assert!(png.len() > 20_000, "with something in it: {} bytes", png.len());
    assert_eq!(folder.names(), ["in.wav", "out.wav", "p.png"], "nothing else is left");
}

#[test]
fn without_stages_every_format_comes_out_as_it_went_in() {
    let folder = Folder::new();
    let bytes: Vec<u8> = noise(60_000, 5).iter().map(|x| (x * 127.0) as i8 as u8).collect();
    let samples = float_bytes(&noise(15_000, 6));
    let inputs = [
        ("u8.wav", wav(1, 8, 1, 8_000, &bytes)),
        ("s16.wav", wav(1, 16, 2, 44_100, &bytes)),
        ("s24.wav", wav(1, 24, 1, 96_000, &bytes)),
        ("f32.wav", wav(3, 32, 2, 48_000, &samples)),
        ("mono.f32", samples.clone()),
        ("iq.cf32", samples[..samples.len() / 8 * 8].to_vec()),
        ("iq.cs16", bytes.clone()),
        ("iq.cu8", bytes),
    ];
    for (name, bytes) in inputs {
        let input = folder.file(name, &bytes);
        let output = folder.path(&format!("out-{name}"));
        let done = run(&input, &output, &["--gate", "off", "--filter", "off", "--frame-len", "256"]);
        assert_done(&done);
        // The header of float WAV may be written in its newer form; the samples behind it are the same.
        let out = std::fs::read(&output).unwrap();
        let header = if name == "f32.wav" { 44 } else { 0 };
        assert!(out.ends_with(&bytes[header..]), "{name} should come out as it went in");
        assert!(header > 0 || out.len() == bytes.len(), "{name}: with nothing before it");
    }
}

#[test]
fn any_length_and_channel_count_keeps_its_length() {
    let folder = Folder::new();
    for (samples, channels) in [(1, 1), (5, 1), (63, 2), (1023, 1), (1024, 3), (1025, 1), (5000, 7)] {
        let input = folder.file("in.f32", &float_bytes(&noise(samples * channels, 9)));
        let output = folder.path("out.f32");
        let channels_text = channels.to_string();
        let done = run(&input, &output, &["--channels", &channels_text, "--force", "--sample-rate", "16000"]);
        assert_done(&done);
        assert_eq!(floats(&output).len(), samples * channels, "{samples} samples of {channels} channels");
    }
}

#[test]
fn channels_are_cleaned_each_by_itself() {
    let folder = Folder::new();
    let channels: Vec<Vec<f32>> = (0..3).map(|seed| noise(5_000, 40 + seed)).collect();
    let interleaved: Vec<f32> = (0..5_000).flat_map(|n| [channels[0][n], channels[1][n], channels[2][n]]).collect();
    let all = folder.file("all.f32", &float_bytes(&interleaved));
    let all_out = folder.path("all-out.f32");
    assert_done(&run(&all, &all_out, &["--channels", "3"]));
    let all_out = floats(&all_out);
    for (index, channel) in channels.iter().enumerate() {
        let alone = folder.file("alone.f32", &float_bytes(channel));
        let alone_out = folder.path("alone-out.f32");
        assert_done(&run(&alone, &alone_out, &["--force"]));
        let together: Vec<f32> = all_out.iter().skip(index).step_by(3).copied().collect();
        assert!(floats(&alone_out) == together, "channel {index} alone and among others");
    }
}

#[test]
fn a_pipe_gives_what_a_file_gives() {
    use std::io::Write as _;
    let folder = Folder::new();
    let samples = noise(50_000, 11);
    let input = folder.file("in.f32", &float_bytes(&samples));
    let output = folder.path("out.f32");
    assert_done(&run(&input, &output, &[]));
    let mut child = auricle([
        "run",
        "-",
        "-o",
        "-",
        "--format",
        "f32",
        "--sample-rate",
        "16000",
        "--device",
        "cpu",
        "--denoise",
        "off",
    ])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = float_bytes(&samples);
    let writer = std::thread::Builder::new().spawn(move || stdin.write_all(&bytes)).unwrap();
    let piped = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(text(&piped.stderr).contains("50000 samples"), "the report goes to standard error");
    assert!(piped.stdout == std::fs::read(&output).unwrap(), "the pieces come out as the whole");
}

#[test]
fn every_adapter_gives_what_the_cpu_gives() {
    let folder = Folder::new();
    let mut samples = noise(40_000, 13);
    samples[10_000..25_000].fill(0.0);
    let input = folder.file("in.f32", &float_bytes(&samples));
    let cpu = folder.path("cpu.f32");
    let on_cpu = report(&run(&input, &cpu, &["--report", "json"]));
    let expected: Vec<f64> = floats(&cpu).into_iter().map(f64::from).collect();
    for name in adapter_names() {
        let output = folder.path("adapter.f32");
        let on_adapter = report(&run(&input, &output, &["--report", "json", "--device", name, "--force"]));
        assert_eq!(on_adapter["device"]["name"], name.as_str(), "it ran where it should");
        assert_eq!(on_adapter["frames"], on_cpu["frames"], "the gate decides the same");
        let error = relative_l2(&floats(&output), &expected);
        assert!(error <= 1e-6, "{name}: {error:.2e}");
    }
}

const SIGMF: &[u8] = br#"{"global": {"core:datatype": "ci16_le", "core:sample_rate": 1e6, "core:version": "1.0.0",
    "my:note": "kept"}, "captures": [{"core:sample_start": 0}], "annotations": []}"#;

#[test]
fn bad_inputs_are_named_with_the_fix() {
    let folder = Folder::new();
    let good = short_wav();
    let output = folder.path("out.wav");
    let mut no_channels = good.clone();
    no_channels[22] = 0;
    let mut no_rate = good.clone();
    no_rate[24..28].fill(0);
    let cases = [
        (folder.path("missing.wav"), vec!["missing.wav", "does not exist"]),
        (folder.0.path().to_owned(), vec!["is a folder"]),
        (folder.file("empty.wav", b""), vec!["empty.wav", "empty"]),
        (folder.file("noise.wav", b"this is no RIFF file at all, whatever its name says"), vec!["noise.wav", "RIFF"]),
        (folder.file("header.wav", &good[..30]), vec!["header.wav"]),
        (folder.file("channels.wav", &no_channels), vec!["channels.wav", "channel"]),
        (folder.file("rate.wav", &no_rate), vec!["rate.wav", "--sample-rate"]),
        (folder.file("alaw.wav", &wav(6, 8, 1, 8_000, &[0; 100])), vec!["A-law", "convert"]),
        (folder.file("capture.bin", &[127; 64]), vec!["capture.bin", "--format", "cu8"]),
        (folder.file("alone.sigmf-meta", SIGMF), vec!["alone.sigmf-data", "beside it"]),
    ];
    for (input, needles) in cases {
        assert_refused(&run(&input, &output, &[]), 1, &needles);
        assert!(!output.exists(), "nothing is written for {}", input.display());
    }
}

#[test]
fn sigmf_metadata_is_checked() {
    let folder = Folder::new();
    folder.file("x.sigmf-data", &[0; 64]);
    let output = folder.path("out.sigmf-meta");
    let unknown = br#"{"global": {"core:datatype": "cx99_le", "core:sample_rate": 1e6, "core:version": "1.0.0"}}"#;
    let input = folder.file("x.sigmf-meta", unknown);
    assert_refused(&run(&input, &output, &[]), 1, &["cx99_le"]);
    let input = folder.file("x.sigmf-meta", b"not JSON");
    assert_refused(&run(&input, &output, &[]), 1, &["x.sigmf-meta"]);
    let input = folder.file("x.sigmf-meta", SIGMF);
    assert_done(&run(&input, &output, &["--gate", "off"]));
    let meta: serde_json::Value = serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(meta["global"]["my:note"], "kept", "metadata is carried over");
    assert_eq!(meta["global"]["auricle:settings"]["gate"], "off", "and says what was done");
    assert_eq!(folder.path("out.sigmf-data").metadata().unwrap().len(), 64);
}

#[test]
fn a_damaged_wav_is_cleaned_as_far_as_it_goes() {
    let folder = Folder::new();
    let good = short_wav();
    let mut lying = good.clone();
    lying[40..44].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    for (name, bytes, samples) in [("cut.wav", &good[..20_001], 9_978), ("lying.wav", &lying[..], 16_000)] {
        let input = folder.file(name, bytes);
        let output = folder.path(&format!("out-{name}"));
        let message = assert_done(&run(&input, &output, &[]));
        assert!(message.contains("WARN") && message.contains(name), "a warning names {name}: {message}");
        let data = std::fs::read(&output).unwrap().len() - 44;
        assert_eq!(data, 2 * samples, "{name}: what is there is cleaned");
    }
    let odd = folder.file("odd.f32", &[0; 4 * 100 + 3]);
    let output = folder.path("odd-out.f32");
    let message = assert_done(&run(&odd, &output, &[]));
    assert!(message.contains("WARN"), "odd bytes are told: {message}");
    assert_eq!(floats(&output).len(), 100);
}

#[test]
fn samples_that_are_no_numbers_are_rejected_or_silenced() {
    let folder = Folder::new();
    let mut samples = noise(8 * 1024, 17);
    samples[3 * 1024 + 7] = f32::NAN;
    samples[5 * 1024] = f32::NEG_INFINITY;
    let input = folder.file("in.f32", &float_bytes(&samples));
    let output = folder.path("out.f32");
    assert_refused(&run(&input, &output, &[]), 1, &["NaN", "frame 3", "sample 3079", "--faulty silence"]);
    assert!(!output.exists(), "no half file");
    let silenced = report(&run(&input, &output, &["--faulty", "silence", "--report", "json"]));
    assert_eq!(silenced["frames"]["faulty"], 2, "and they are counted");
    let cleaned = floats(&output);
    assert!(cleaned.iter().all(|sample| sample.is_finite()), "nothing bad comes out");
    assert!(cleaned[3 * 1024..4 * 1024].iter().all(|sample| *sample == 0.0), "the frame is silent");
    assert!(cleaned[4 * 1024..5 * 1024].iter().any(|sample| *sample != 0.0), "its neighbour is not");
}

#[test]
fn outputs_are_never_harmed() {
    let folder = Folder::new();
    let input = folder.file("in.wav", &short_wav());
    let older = folder.file("older.wav", b"precious");
    assert_refused(&run(&input, &older, &[]), 1, &["older.wav", "--force"]);
    assert_refused(&run(&input, &input, &["--force"]), 1, &["in.wav", "input"]);
    std::fs::hard_link(&input, folder.path("link.wav")).unwrap();
    assert_refused(&run(&input, &folder.path("link.wav"), &["--force"]), 1, &["link.wav", "input"]);
    assert_refused(&run(&input, folder.0.path(), &["--force"]), 1, &["folder"]);
    assert_refused(&run(&input, &folder.path("no/such/folder/out.wav"), &[]), 1, &["no/such/folder"]);
    let mut samples = noise(4_000_000, 1);
    samples[3_999_999] = f32::NAN;
    let faulty = folder.file("faulty.f32", &float_bytes(&samples));
    let raw = folder.file("older.f32", b"precious");
    assert_refused(&run(&faulty, &raw, &["--force"]), 1, &["NaN"]);
    assert_eq!(std::fs::read(&older).unwrap(), b"precious", "the older file is as it was");
    assert_eq!(std::fs::read(&raw).unwrap(), b"precious", "also after a run that failed at its end");
    let picture = folder.file("p.png", b"a picture");
    let refused = run(&input, &folder.path("new.wav"), &["--picture", picture.to_str().unwrap()]);
    assert_refused(&refused, 1, &["p.png", "--force"]);
    assert!(!folder.path("new.wav").exists(), "refused before any work");
    assert!(!folder.names().iter().any(|name| name.contains("tmp")), "no temporary file: {:?}", folder.names());
    assert_done(&run(&input, &older, &["--force"]));
}

#[test]
fn a_picture_never_replaces_the_signal() {
    let folder = Folder::new();
    let data = noise(4_000, 2);
    folder.file("in.sigmf-data", &float_bytes(&data));
    let meta = br#"{"global": {"core:datatype": "cf32_le", "core:sample_rate": 1e6, "core:version": "1.0.0"},
        "captures": [{"core:sample_start": 0}], "annotations": []}"#;
    let input = folder.file("in.sigmf-meta", meta);
    let output = folder.path("out.sigmf-meta");
    for picture in ["in.sigmf-data", "in.sigmf-meta", "out.sigmf-data", "out.sigmf-meta", "./out.sigmf-data"] {
        let picture = folder.path(picture);
        let refused = run(&input, &output, &["--force", "--picture", picture.to_str().unwrap()]);
        assert_refused(&refused, 1, &["--picture"]);
        assert!(!output.exists(), "nothing is written for {}", picture.display());
    }
    assert_eq!(std::fs::read(folder.path("in.sigmf-data")).unwrap(), float_bytes(&data), "the input is as it was");
    assert_refused(&run(&input, &output, &["--picture", "-"]), 1, &["--picture"]);
    assert_eq!(folder.names(), ["in.sigmf-data", "in.sigmf-meta"], "and nothing else is there");
}

#[test]
fn more_channels_than_memory_allows_are_refused() {
    let folder = Folder::new();
    let input = folder.file("in.f32", &[0; 65_535 * 4]);
    let output = folder.path("out.f32");
    assert_refused(&run(&input, &output, &["--channels", "65535"]), 1, &["65535 channels", "--frame-len 128"]);
    assert_done(&run(&input, &output, &["--channels", "65535", "--frame-len", "128"]));
    assert_eq!(floats(&output).len(), 65_535);
    assert_refused(&run(&input, &output, &["--threads", "100000", "--force"]), 1, &["threads", "1024"]);
}

#[test]
fn commands_that_make_no_sense_are_explained() {
    let folder = Folder::new();
    let input = folder.file("in.wav", &short_wav());
    let output = folder.path("out.wav");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--gate", "--filter"], &["--gate", "needs a level"]),
        (&["--frame-len", "1000"], &["--frame-len", "1000", "1024"]),
        (&["--frame-len", "8192"], &["8192", "4096"]),
        (&["--phi", "0"], &["phi", "above 0"]),
        (&["--phi", "NaN"], &["phi", "above 0"]),
        (&["--phi", "1e9"], &["phi", "block"]),
        (&["--gate", "loud"], &["--gate", "loud", "-60dB"]),
        (&["--gate", "inf"], &["--gate", "inf"]),
        (&["--format", "mp3"], &["mp3", "cf32"]),
    ];
    for (more, needles) in cases {
        assert_refused(&run(&input, &output, more), 2, needles);
    }
    assert_refused(&run(&input, &output, &["--device", "abacus"]), 1, &["abacus", "`cpu`"]);
    for name in adapter_names() {
        assert_refused(&run(&input, &output, &["--device", "abacus"]), 1, &[name]);
    }
    let unknown = auricle(["run", "a.wav", "-o", "b.wav", "--wavenumber", "furlongs"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("radians"), "the possible values: {}", text(&unknown.stderr));
}

/// As `head` goes when it has seen enough.
#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let folder = Folder::new();
    let input = folder.file("in.wav", &short_wav());
    let (input, output) = (input.to_str().unwrap(), folder.path("out.wav"));
    let run = ["run", input, "-o", output.to_str().unwrap(), "--device", "cpu", "--denoise", "off"];
    for arguments in [&run[..], &["devices"], &["devices", "--json"], &["completions", "zsh"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = auricle(arguments).stdout(writer).output().unwrap();
        let message = assert_done(&done);
        assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    }
    assert!(output.is_file(), "and the work is done");
}

#[test]
fn help_teaches_and_devices_are_listed() {
    let help = auricle(["help", "run"]).output().unwrap();
    let help_text = text(&help.stdout);
    assert_eq!(help.status.code(), Some(0));
    for word in ["Examples:", "--wavenumber", "seamless", "cu8", "SigMF", "radians"] {
        assert!(help_text.contains(word), "`{word}` should stand in the help");
    }
    let listing = auricle(["devices", "--json"]).output().unwrap();
    assert_eq!(listing.status.code(), Some(0), "{}", text(&listing.stderr));
    let listing: serde_json::Value = serde_json::from_slice(&listing.stdout).unwrap();
    assert_eq!(listing["devices"][0]["name"], "cpu");
    assert_eq!(listing["devices"].as_array().unwrap().len(), 1 + adapter_names().len());
    for key in ["auto", "auto_backend", "why"] {
        assert!(listing[key].is_string(), "{key} in {listing}");
    }
    let listing = text(&auricle(["devices"]).output().unwrap().stdout);
    assert_eq!(listing.lines().filter(|line| line.starts_with("* ")).count(), 1, "one is taken: {listing}");
    let completions = auricle(["completions", "bash"]).output().unwrap();
    assert!(text(&completions.stdout).contains("--frame-len"), "a completion script");
}

#[test]
fn recordings_from_outside_are_cleaned_the_same_on_every_device() {
    let Some(shared) = shared_data() else { return };
    let folder = Folder::new();
    // Written as floats: rounding to 8 or 16 bits would hide what the devices differ in, or double it.
    let recordings: [(&str, &str, &[&str]); 4] = [
        ("speech/noisy/p232_005.wav", "out.f32", &[]),
        ("iq/dump1090_modes1.bin", "out.cf32", &["--format", "cu8", "--sample-rate", "2e6", "--gate", "off"]),
        ("iq/futuresdr_bpsk-1-2-15db.cf32", "out.cf32", &["--gate", "0.01", "--wavenumber", "radians"]),
        ("iq/sat_gomx_1.wav", "out.f32", &["--gate", "-20dB", "--filter", "block"]),
    ];
    for (name, output, more) in recordings {
        let output = folder.path(output);
        let run_on = |device: &str| {
            let more = more.iter().copied().chain(["--device", device, "--report", "json", "--force"]);
            let report = report(&run(&shared.join(name), &output, &more.collect::<Vec<_>>()));
            (report, floats(&output))
        };
        let (on_cpu, expected) = run_on("cpu");
        let per_sample = if output.ends_with("out.cf32") { 2 } else { 1 };
        assert_eq!(on_cpu["samples"], expected.len() / per_sample, "{name}: the length of the input");
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        for adapter in adapter_names() {
            let (on_adapter, cleaned) = run_on(adapter);
            assert_eq!(on_adapter["frames"], on_cpu["frames"], "{name}: the gate's counts");
            let error = relative_l2(&cleaned, &expected);
            assert!(error <= 1e-6, "{name} on {adapter}: {error:.2e}");
        }
    }
}
