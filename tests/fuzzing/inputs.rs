//! What is fuzzed: each door that takes bytes from outside, as a function of these bytes that must return.
//!
//! libFuzzer calls them from `libfuzzer`, the tests from `mod.rs`.

use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::{Arbitrary as _, Unstructured};
use auricle::format::{Encoding, SampleFormat};
use auricle::locate::Policy;
use auricle::serve::{ConnectionLimits, ServeOptions, Server, Service};
use auricle::stage::denoise::model::{Model, StoredAs};
use auricle::stage::source::{Source, SourceHints};
use auricle::{
    CustomKernel, Denoise, DeviceChoice, Domain, Engine, EngineOptions, Faulty, FilterMode, FilterOutput, Fourier,
    FrameShape, GOLDEN_RATIO, Gate, Graph, Measure, PhiResolvent, Plan, Quiet, Snapshot, Taper, Threshold, Wavenumber,
};

/// A door: whether the bytes were what it takes.
pub(crate) type Door = fn(&[u8]) -> bool;

/// All of them, by name.
pub(crate) const DOORS: [(&str, Door); 10] = [
    ("wav", wav),
    ("raw", raw),
    ("sigmf", sigmf),
    ("model", model),
    ("policy", policy),
    ("snapshot", snapshot),
    ("kernel", kernel),
    ("graph", graph),
    ("http", http),
    ("websocket", websocket),
];

/// More than any signal here has.
const MOST_FLOATS: usize = 1 << 20;

/// A pipe that holds a WAV file.
pub(crate) fn wav(bytes: &[u8]) -> bool {
    drain(Source::from_reader("fuzz.wav", Cursor::new(bytes.to_vec()), &SourceHints::default()))
}

/// Three bytes of hints, then samples.
pub(crate) fn raw(bytes: &[u8]) -> bool {
    let Some((&[encoding, channels, rate], samples)) = bytes.split_first_chunk::<3>() else { return false };
    let encodings = [
        Encoding::U8,
        Encoding::U8Centred,
        Encoding::I8,
        Encoding::U16,
        Encoding::I16,
        Encoding::I24,
        Encoding::U32,
        Encoding::I32,
        Encoding::F32,
        Encoding::F64,
    ];
    let encoding = encodings[usize::from(encoding >> 1) % encodings.len()];
    let format = if rate & 1 == 0 {
        SampleFormat::real(encoding)
    } else {
        SampleFormat { domain: Domain::Complex, ..SampleFormat::real(encoding) }
    };
    let hints = SourceHints {
        format: Some(format),
        sample_rate_hz: (rate > 127).then(|| f64::from(rate - 128) * 100.0),
        channels: (channels > 0).then(|| usize::from(channels - 1)),
    };
    drain(Source::from_reader("fuzz.raw", Cursor::new(samples.to_vec()), &hints))
}

fn drain(source: Result<Source, auricle::format::FileError>) -> bool {
    let mut source = match source {
        Ok(source) => source,
        Err(error) => return is_told(&error),
    };
    let spec = source.spec().clone();
    assert!(spec.floats_per_sample_time() > 0, "a signal has samples: {spec:?}");
    let mut floats = vec![0.0; spec.floats_per_sample_time() * 64];
    let mut read = 0;
    while read < MOST_FLOATS {
        match source.read(&mut floats) {
            Ok(0) => break,
            Ok(count) => {
                assert!(count <= floats.len(), "{count} of {} floats", floats.len());
                assert_eq!(count % spec.floats_per_sample_time(), 0, "whole sample times");
                read += count;
            }
            Err(error) => return is_told(&error),
        }
    }
    source.take_warnings();
    true
}

/// An error has words.
fn is_told(error: &dyn std::error::Error) -> bool {
    let text = error.to_string();
    assert!(text.len() > 10 && text.len() < 20_000, "what is wrong, in some words: {text}");
    false
}

/// Metadata; the samples beside it are always the same.
pub(crate) fn sigmf(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a folder should be possible");
    let path = folder.path().join("fuzz.sigmf-meta");
    std::fs::write(&path, bytes).expect("the metadata should be written");
    std::fs::write(folder.path().join("fuzz.sigmf-data"), [7; 96]).expect("the samples should be written");
    drain(Source::open(path, &SourceHints::default()))
}

/// A model file of a denoiser.
pub(crate) fn model(bytes: &[u8]) -> bool {
    match Model::from_bytes(bytes) {
        Ok(model) => {
            let again = Model::from_bytes(&model.to_bytes(StoredAs::F32)).expect("what is written can be read");
            assert_eq!(again.description(), model.description(), "and says the same");
            true
        }
        Err(error) => is_told(&error),
    }
}

/// A policy file.
pub(crate) fn policy(bytes: &[u8]) -> bool {
    match Policy::from_bytes(bytes) {
        Ok(policy) => {
            let again = Policy::from_bytes(&policy.to_bytes()).expect("what is written can be read");
            assert_eq!(again.to_bytes(), policy.to_bytes(), "and is the same");
            true
        }
        Err(error) => is_told(&error),
    }
}

/// A snapshot of another process's engine, as the dashboard gets it.
pub(crate) fn snapshot(bytes: &[u8]) -> bool {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else { return false };
    let text = serde_json::to_string(&snapshot).expect("a snapshot should become text");
    serde_json::from_str::<Snapshot>(&text).is_ok() || panic!("{text} was a snapshot")
}

/// WGSL of a kernel with one source.
pub(crate) fn kernel(bytes: &[u8]) -> bool {
    let Ok(wgsl) = std::str::from_utf8(bytes) else { return false };
    let kernel = CustomKernel::new(wgsl, |_, result| result.fill(0.0)).param(2.0_f32).param(-1_i32);
    let graph = Graph::new().input("in", FrameShape::real(64)).kernel("mine", &["in"], kernel).output("out", "mine");
    engine().compile(&graph).map_or_else(|error| is_told(&error), |_| true)
}

/// Any graph, and a signal through it when it compiles.
pub(crate) fn graph(bytes: &[u8]) -> bool {
    let mut bytes = Unstructured::new(bytes);
    let Ok(graph) = any_graph(&mut bytes) else { return false };
    match engine().compile(&graph) {
        Ok(plan) => run(&plan, &mut bytes).unwrap_or(false),
        Err(error) => is_told(&error),
    }
}

/// A graph of up to nine nodes, which mostly fit together.
fn any_graph(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Graph> {
    const NAMES: [&str; 9] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
    let usual = *bytes.choose(&[FrameShape::real(256), FrameShape::complex(128), FrameShape::real(1024)])?;
    let mut graph = Graph::new().input(NAMES[0], if bytes.ratio(7, 8)? { usual } else { any_shape(bytes)? });
    let last = bytes.int_in_range(1..=NAMES.len() - 1)?;
    for (index, own) in NAMES.into_iter().enumerate().take(last + 1).skip(1) {
        let odd = ["", "n0", "nobody", "a.b"];
        let name = if bytes.ratio(127, 128)? { own } else { *bytes.choose(&odd)? };
        let before = if bytes.ratio(15, 16)? { index - 1 } else { bytes.int_in_range(0..=index - 1)? };
        let source = if bytes.ratio(127, 128)? { NAMES[before] } else { *bytes.choose(&odd)? };
        let is_complex = usual.domain() == Domain::Complex;
        graph = match bytes.int_in_range(0..=31)? {
            _ if index == 1 && bytes.ratio(1, 2)? => graph.gate(name, source, any_gate(bytes)?),
            0 => graph.input(name, if bytes.ratio(7, 8)? { usual } else { any_shape(bytes)? }),
            1 => graph.gate(name, source, any_gate(bytes)?),
            2 => graph.fourier(name, source, any_fourier(bytes)?),
            3..=8 if is_complex => graph.fourier(name, source, any_fourier(bytes)?),
            3 | 4 => graph.denoise(name, source, any_denoiser(bytes)?),
            5..=20 => graph.filter(name, source, any_filter(bytes)?),
            _ => graph.kernel(name, &[source], any_kernel(bytes)?),
        };
    }
    Ok(graph.output("out", NAMES[last]))
}

fn any_shape(bytes: &mut Unstructured<'_>) -> arbitrary::Result<FrameShape> {
    let mut len =
        || bytes.choose(&[64, 128, 256, 1024, 4096, 0, 1, 2, 63, 100, 8192, usize::MAX / 2, usize::MAX]).copied();
    let (rows, columns) = (len()?, len()?);
    Ok(match bytes.int_in_range(0..=4)? {
        0 | 1 => FrameShape::real(columns),
        2 => FrameShape::complex(columns),
        3 => FrameShape::block(Domain::Complex, rows, columns),
        _ => FrameShape::block(Domain::Real, 8, 16),
    })
}

fn any_float(bytes: &mut Unstructured<'_>) -> arbitrary::Result<f32> {
    let usual = [0.0, 0.001, 0.5, 1.0, -1.0, -60.0, 1e-45, 1e30, f32::MAX, f32::INFINITY, f32::NAN];
    if bool::arbitrary(bytes)? { bytes.choose(&usual).copied() } else { f32::arbitrary(bytes) }
}

fn any_gate(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Gate> {
    let threshold = any_float(bytes)?;
    let odd = [Threshold::Linear(threshold), Threshold::Decibels(threshold), Threshold::Off];
    Ok(Gate {
        threshold: if bytes.ratio(3, 4)? { Threshold::Linear(0.001) } else { *bytes.choose(&odd)? },
        hold: *bytes.choose(&[0, 1, 5, 1_000_000, 0, 1, 5, u32::MAX])?,
        quiet: *bytes.choose(&[Quiet::Zero, Quiet::Pass])?,
        faulty: *bytes.choose(&[Faulty::Reject, Faulty::Silence])?,
    })
}

fn any_filter(bytes: &mut Unstructured<'_>) -> arbitrary::Result<PhiResolvent> {
    Ok(PhiResolvent {
        phi: if bytes.ratio(7, 8)? { GOLDEN_RATIO } else { f64::from(any_float(bytes)?) },
        wavenumber: *bytes.choose(&[Wavenumber::Cycles, Wavenumber::Nyquist, Wavenumber::Radians])?,
        mode: *bytes.choose(&[FilterMode::Seamless, FilterMode::Block])?,
        measure: *bytes.choose(&[Measure::Nothing, Measure::Nothing, Measure::Coherence, Measure::DampedEnergy])?,
        output: *bytes.choose(&[FilterOutput::Smoothed, FilterOutput::DampedGradient])?,
    })
}

fn any_fourier(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Fourier> {
    bytes.choose(&[Fourier::Forward(Taper::Rectangular), Fourier::Forward(Taper::Hann), Fourier::Inverse]).copied()
}

fn any_denoiser(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Denoise> {
    let usual = Denoise::new(Model::builtin());
    if bytes.ratio(3, 4)? {
        return Ok(usual);
    }
    Ok(Denoise {
        sample_rate_hz: *bytes.choose(&[None, Some(16_000), Some(8000), Some(48_000), Some(0), Some(u32::MAX)])?,
        strength: any_float(bytes)?,
        mask_floor_db: *bytes.choose(&[None, Some(-20.0), Some(1.0), Some(f32::NAN)])?,
        ..usual
    })
}

/// Half of each float; now and then it says that its frames are shorter.
fn any_kernel(bytes: &mut Unstructured<'_>) -> arbitrary::Result<CustomKernel> {
    const HALF: &str = "
        struct Params { count: u32, frame_len: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> source: array<f32>;
        @group(0) @binding(2) var<storage, read_write> result: array<f32>;
        @compute @workgroup_size(64)
        fn halve(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
            let frame = flat_workgroup(id, count);
            if frame >= params.count { return; }
            for (var i = lane; i < params.frame_len; i += 64u) {
                result[frame * params.frame_len + i] = 0.5 * source[frame * params.frame_len + i];
            }
        }";
    let kernel = CustomKernel::new(HALF, |sources, result| {
        result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = 0.5 * x);
    });
    Ok(match bytes.int_in_range(0..=15)? {
        0 => kernel.result_shape(FrameShape::real(*bytes.choose(&[0, 1, 64, 128, usize::MAX])?)),
        1 => kernel.param(any_float(bytes)?),
        _ => kernel,
    })
}

/// Signals for all inputs, of any length; whether something came out.
fn run(plan: &Plan, bytes: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    let is_odd = bytes.ratio(1, 8)?;
    let channels = *bytes.choose(if is_odd { &[0, 1, 2] } else { &[1, 2, 5] })?;
    let frames = *bytes.choose(if is_odd { &[0, 1, 2] } else { &[1, 4, 7] })?;
    let extra = usize::from(is_odd && bool::arbitrary(bytes)?);
    let mut signals = Vec::new();
    for (_, shape) in plan.inputs() {
        let mut floats = Vec::new();
        let scale = if bytes.ratio(7, 8)? { 0.5 } else { any_float(bytes)? };
        for n in 0..channels * frames * shape.floats() + extra {
            floats.push(scale * ((n * n % 101) as f32 - 50.0) / 50.0);
        }
        if let Some(float) = bytes.ratio(1, 16)?.then(|| any_float(bytes)).transpose()? {
            floats.iter_mut().take(1).for_each(|first| *first = float);
        }
        signals.push(floats);
    }
    let signals: Vec<&[f32]> = signals.iter().map(Vec::as_slice).collect();
    Ok(match plan.run(&signals, channels) {
        Ok(output) => output.dense("out").is_some_and(|out| !out.is_empty()),
        Err(error) => is_told(&error),
    })
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let options = EngineOptions { device: DeviceChoice::Cpu, threads: 1, ..EngineOptions::default() };
    ENGINE.get_or_init(|| Engine::open(&options).expect("the CPU should open"))
}

/// A connection's bytes, as they come.
pub(crate) fn http(bytes: &[u8]) -> bool {
    let answer = exchange(bytes);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("HTTP/1.1 5"), "{answer}");
    answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 101")
}

/// A query and a newline; then messages, each a byte for its opcode, one for its length, and its payload.
pub(crate) fn websocket(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (query, mut rest) = bytes.split_at(end);
    let query: String = query.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
    let mut sent = format!(
        "GET /v1/stream?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    rest = rest.get(1..).unwrap_or_default();
    while let Some((&[opcode, len], payload)) = rest.split_first_chunk::<2>() {
        let payload = &payload[..payload.len().min(usize::from(len % 126))];
        rest = &rest[2 + payload.len()..];
        // Masked with zeros, so that the payload is itself.
        #[expect(clippy::cast_possible_truncation, reason = "at most 125")]
        sent.extend([opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        sent.extend(payload);
    }
    // Goodbye.
    sent.extend([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    let answer = exchange(&sent);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("HTTP/1.1 5"), "{answer}");
    answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 101")
}

/// What the server says to these bytes, until it has nothing more to say.
fn exchange(bytes: &[u8]) -> Vec<u8> {
    static SERVER: OnceLock<std::net::SocketAddr> = OnceLock::new();
    let address = SERVER.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.expect("a runtime should be possible").block_on(async {
                // Half of what comes is not whole.
                let soon = Duration::from_millis(100);
                let options = ServeOptions { longest_silence: soon, ..ServeOptions::default() };
                let limits = ConnectionLimits { longest_head: soon, ..ConnectionLimits::default() };
                let service = Service::new(engine().clone(), options).expect("the service should start");
                let address = "127.0.0.1:0".parse().expect("an address");
                let server = Server::bind(address, &service, limits).await.expect("the server should listen");
                tell.send(server.address().expect("it has an address")).expect("somebody should listen");
                server.run(std::future::pending()).await.expect("the server should run");
            });
        };
        std::thread::Builder::new().name("fuzz.server".to_owned()).spawn(serve).expect("a thread should start");
        told.recv().expect("the server should say where it is")
    });
    let mut connection = TcpStream::connect(address).expect("the server should take connections");
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout should be possible");
    // It may refuse before it has read all.
    connection.write_all(bytes).ok();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match connection.read(&mut piece) {
            Ok(0) => return answer,
            Ok(count) => answer.extend(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("nothing for 20 s after {:?}", String::from_utf8_lossy(&answer))
            }
            Err(_) => return answer,
        }
    }
}
