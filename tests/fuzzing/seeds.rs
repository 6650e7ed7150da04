use auricle::Engine;
use auricle::locate::Policy;
use auricle::stage::denoise::model::StoredAs;
use serde_json::json;

use crate::custom::wgsl;
use crate::files::{fmt, wav_bytes};
use crate::model::small_model;
use crate::signals::random;

pub(super) fn of(name: &str) -> Vec<Vec<u8>> {
    match name {
        "wav" => wav(),
        "raw" => {
            vec![
                vec![0; 3],
                [0, 0, 0].into_iter().chain((0..=255).cycle().take(1000)).collect(),
                b"\x10\x03\xc8abcdefghijklmnopqrstuvwxyz".to_vec(),
            ]
        }
        "sigmf" => sigmf(),
        "model" => vec![small_model().to_bytes(StoredAs::F32), small_model().to_bytes(StoredAs::F16)],
        "policy" => vec![Policy::builtin().to_bytes()],
        "snapshot" => vec![snapshot()],
        "kernel" => kernels(),
        "graph" => graphs(),
        "http" => requests(),
        "websocket" => messages(),
        _ => panic!("{name} has no seeds"),
    }
}

fn wav() -> Vec<Vec<u8>> {
    let mut extensible = fmt(0xFFFE, 6, 48_000, 16);
    extensible.extend(b"\x16\0\x10\0\x3f\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let plain = wav_bytes(&fmt(1, 2, 44_100, 16), &[9; 40]);
    let with_list = [&plain[..12], b"LIST\x05\0\0\0abcde\0", &plain[12..]].concat();
    let long = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0\x58\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\
        fmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\xff\xff\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08";
    vec![plain, with_list, wav_bytes(&extensible, &[3; 24]), wav_bytes(&fmt(3, 1, 8000, 32), &[0; 64]), long.to_vec()]
}

fn sigmf() -> Vec<Vec<u8>> {
    let plain = |datatype: &str| {
        json!({ "global": { "core:datatype": datatype, "core:sample_rate": 2e6, "core:version": "1.0.0" },
                "captures": [], "annotations": [] })
    };
    let full = json!({
        "global": { "core:datatype": "ci16_be", "core:sample_rate": 48_000.5, "core:version": "1.2.0",
            "core:num_channels": 3, "core:offset": 4, "core:trailing_bytes": 8, "core:dataset": "fuzz.sigmf-data",
            "core:metadata_only": false, "core:description": "a \u{1F980}" },
        "captures": [{ "core:sample_start": 0, "core:frequency": 1e9, "core:header_bytes": 16 }],
        "annotations": [{ "core:sample_start": 1, "core:sample_count": 5, "core:label": "noise" }],
        "other": [null, true, {}],
    });
    [plain("cf32_le"), plain("ru8"), full].map(|value| value.to_string().into_bytes()).to_vec()
}

fn snapshot() -> Vec<u8> {
    let engine = Engine::open(&auricle::EngineOptions { device: auricle::DeviceChoice::Cpu, ..Default::default() });
    let snapshot = engine.expect("the CPU should open").snapshot().expect("there should be a snapshot");
    serde_json::to_vec(&snapshot).expect("a snapshot should become text")
}

fn kernels() -> Vec<Vec<u8>> {
    let loops = "var n = 0u; loop { n += 1u; if n > 7u { break; } continuing { break if n == 5u; } }
        while n < 9u { n++; } switch n { case 1u, 2u: { value = 1.0; } default: { value = f32(n); } }";
    let functions = "fn twice(x: f32) -> f32 { return x + x; }\nconst PI2: f32 = 6.28;\noverride gain: f32 = 2.0;\n
        struct Pair { a: vec4<f32>, b: mat3x3<f32> }\nvar<workgroup> tile: array<f32, 256>;\n";
    let uses = "tile[lane] = twice(source_0[i]); workgroupBarrier(); value = gain * tile[lane ^ 1u] * PI2;
        var pair: Pair; pair.a.x = value; value += pair.b[1].y;";
    let texts = [
        wgsl("", 1, "value = source_0[frame * params.frame_len + i];"),
        wgsl("gain: f32, sign: i32,", 1, loops),
        format!("{functions}{}", wgsl("", 1, uses)),
    ];
    texts.map(String::into_bytes).to_vec()
}

/// Anything makes some graph.
fn graphs() -> Vec<Vec<u8>> {
    let bytes = |seed| {
        let mut next = random(seed);
        (0..60).flat_map(|_| next().to_le_bytes()).collect()
    };
    (0..40).map(bytes).collect()
}

fn requests() -> Vec<Vec<u8>> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes();
    let post = |path: &str, body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let chunked =
        b"POST /v1/clean?format=f32&sample_rate=16000 HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\nabcdefgh\r\n8;a=b\r\n\0\0\0\0\0\0\0\0\r\n0\r\n\r\n";
    vec![
        get("/"),
        get("/livez"),
        get("/readyz"),
        get("/openapi.json"),
        get("/metrics"),
        get("/v1/snapshot"),
        get("/gpu/hints?qos=high&target_latency_ms=20"),
        get("/gpu/hints?qos=low&target_latency_ms=0.5"),
        post("/v1/clean?denoise=off&gate=-60dB", &wav_bytes(&fmt(1, 2, 44_100, 16), &[9; 4000])),
        post("/v1/clean?format=i16&channels=2&denoise=off&phi=2", &[5; 999]),
        post("/v1/clean?denoise=builtin&strength=0.5", &wav_bytes(&fmt(1, 1, 16_000, 16), &[9; 8000])),
        chunked.to_vec(),
    ]
}

fn messages() -> Vec<Vec<u8>> {
    let text = |text: &str| [&[0x81, u8::try_from(text.len()).expect("a short one")], text.as_bytes()].concat();
    let samples: Vec<u8> = [&[0x82, 120][..], &[1; 120]].concat();
    vec![
        [b"denoise=off&channels=2\n".to_vec(), samples.clone(), text("{\"type\": \"finish\"}")].concat(),
        [b"qos=high\n".to_vec(), text("{\"type\": \"counters\"}"), samples.clone(), vec![0x89, 2, 1, 2]].concat(),
        [
            b"denoise=off&sample_rate=8000\n".to_vec(),
            text("{\"type\": \"qos\", \"qos\": \"low\"}"),
            text("{\"type\": \"pause\"}"),
            text("{\"type\": \"resume\"}"),
            samples,
        ]
        .concat(),
        b"denoise=off\n\x02\x08\0\0\0\0\0\0\0\0\x80\x04\0\0\0\0\x8a\x00\x88\x00".to_vec(),
    ]
}
