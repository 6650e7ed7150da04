//! The HTTP service, through its sockets: what it answers, what it refuses, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use auricle::serve::{ConnectionLimits, ServeOptions, Server, Service, Token};
use auricle::{EngineOptions, Fault, FaultPlan, HealthState, PerQos, Qos, ScheduleOptions};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

use crate::adapter::skipped;
use crate::files::{float_bytes, floats_of};
use crate::server::{LONG, agent, answer, assert_problem, engine, filtered, plain, start};
use crate::signals::{noise, random};

const SECRET: &str = "a-secret-that-nobody-guesses";

#[test]
fn hints_follow_what_the_engine_suggests() {
    let server = plain();
    let (status, hint) = server.get("/gpu/hints?qos=low&target_latency_ms=20&entropy=0.95");
    assert_eq!(status, 200);
    for (field, value) in [
        ("qos", Value::from("low")),
        ("target_latency_ms", 20.0.into()),
        ("suggested_batch", 1.into()),
        ("action", "hold".into()),
        ("bound_by", "no_jobs".into()),
        ("p95_latency_ms", Value::Null),
        ("memory_pressure", Value::Null),
    ] {
        assert_eq!(hint[field], value, "{hint}");
    }
    assert_eq!(hint["entropy_qos"], Qos::from_entropy(Some(0.95)).name(), "{hint}");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        assert_eq!(server.post("/v1/clean?format=f32&denoise=off&qos=low", &float_bytes(&noise(1024, 1))).0, 200);
    }
    // A window may end between two questions.
    let own = || server.engine.suggest_batch(Qos::Low, Duration::from_millis(20)).unwrap().suggested_batch;
    let before = own();
    let (_, hint) = server.get("/gpu/hints?qos=low&target_latency_ms=20");
    let after = own();
    assert!(hint["suggested_batch"] == before || hint["suggested_batch"] == after, "{before}, {hint}, {after}");
    assert_ne!(hint["bound_by"], "no_jobs", "{hint}");
    assert!(hint["p95_latency_ms"].as_f64().unwrap() > 0.0 && hint["qps"].as_f64().unwrap() > 1.0, "{hint}");
    assert!(hint["avg_latency_ms"].as_f64() <= hint["p95_latency_ms"].as_f64(), "{hint}");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let server = plain();
    for (path, status, code) in [
        ("/gpu/hints?qos=urgent", 400, "unknown-qos"),
        ("/gpu/hints?target_latency_ms=NaN", 400, "bad-target"),
        ("/gpu/hints?target_latency_ms=inf", 400, "bad-target"),
        ("/gpu/hints?target_latency_ms=-1", 400, "bad-target"),
        ("/gpu/hints?target_latency_ms=soon", 400, "bad-query"),
        ("/gpu/hints?target=5", 400, "bad-query"),
        ("/gpu/hints?qos=low&qos=high", 400, "bad-query"),
        ("/gpu/hints?entropy=2", 400, "bad-entropy"),
        ("/v1/snapshot?spans=maybe", 400, "bad-query"),
        ("/v1/stream", 400, "no-websocket"),
        ("/v1/clean", 405, "method-not-allowed"),
        ("/v2/clean", 404, "not-found"),
    ] {
        assert_problem(&server.get(path), status, code);
    }
    let samples = float_bytes(&noise(2048, 3));
    for (query, status, code) in [
        ("format=f99", 400, "bad-setting"),
        ("format=f32&gate=loud", 400, "bad-setting"),
        ("format=f32&frame_len=1000", 400, "bad-setting"),
        ("format=f32&strength=2", 400, "bad-setting"),
        ("format=f32&phi=-1", 400, "bad-setting"),
        ("format=f32&denoise=/etc/passwd", 400, "unknown-model"),
        ("format=f32&denoise=builtin", 400, "bad-setting"),
        ("format=f32&channels=0", 400, "bad-signal"),
        ("format=f32&channels=60000", 400, "bad-signal"),
        ("format=f32&sample_rate=-5", 400, "bad-signal"),
        ("filter=sharp", 400, "bad-query"),
        ("", 400, "bad-signal"),
    ] {
        let (got, body, _) = server.post(&format!("/v1/clean?{query}"), &samples);
        assert_problem(&(got, serde_json::from_slice(&body).unwrap()), status, code);
    }
    let mut faulty = noise(2048, 3);
    faulty[1500] = f32::NAN;
    let (got, body, _) = server.post("/v1/clean?format=f32&denoise=off", &float_bytes(&faulty));
    assert_problem(&(got, serde_json::from_slice(&body).unwrap()), 422, "faulty-samples");
    let (got, body, _) = server.post("/v1/clean?format=f32&denoise=off&faulty=silence", &float_bytes(&faulty));
    assert!(got == 200 && body.len() == 4 * 2048, "{got}, {} bytes", body.len());
}

#[test]
fn what_is_posted_comes_back_as_the_crate_cleans_it() {
    let server = plain();
    for (samples, channels) in [(noise(5000, 1), 1), (noise(3000, 2), 2), (noise(1, 3), 1), (Vec::new(), 1)] {
        let query = format!("/v1/clean?format=f32&channels={channels}&denoise=off");
        let (status, body, _) = server.post(&query, &float_bytes(&samples));
        assert_eq!((status, floats_of(&body)), (200, filtered(&samples, channels)), "{channels} channels");
    }
    // A WAV file, with the denoiser that fits it. That it is what `auricle run` writes, `cli_serve` tests.
    let wav = std::fs::read("assets/noisy-speech.wav").unwrap();
    let (status, body, _) = server.post("/v1/clean", &wav);
    assert_eq!((status, body.len()), (200, wav.len()));
    assert_eq!(&body[..4], b"RIFF");
    assert_ne!(body, wav);
    // Raw samples of unknown rate are not denoised, and the answer says so.
    let response = agent().post(server.url("/v1/clean?format=f32")).send(&float_bytes(&noise(100, 1))[..]).unwrap();
    let notice = response.headers().get("auricle-notice").expect("a notice").to_str().unwrap();
    assert!(notice.contains("not denoised") && notice.contains("sample rate"), "{notice}");
}

/// More than fits one job, while it comes: the answer begins before the request has ended.
#[test]
fn what_is_long_is_cleaned_while_it_comes() {
    let server = plain();
    for (channels, seed) in [(1_usize, 5), (2, 6)] {
        let samples = noise(3_000_000, seed);
        let head = format!(
            "POST /v1/clean?format=f32&denoise=off&channels={channels} HTTP/1.1\r\nHost: localhost\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        let connection = TcpStream::connect(server.address).unwrap();
        connection.set_read_timeout(Some(LONG)).unwrap();
        let mut sender = connection.try_clone().unwrap();
        let body = float_bytes(&samples);
        let send = move || {
            sender.write_all(head.as_bytes()).unwrap();
            for piece in body.chunks(50_001) {
                sender.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                sender.write_all(piece).unwrap();
                sender.write_all(b"\r\n").unwrap();
            }
            sender.write_all(b"0\r\n\r\n").unwrap();
        };
        let sending = std::thread::Builder::new().spawn(send).unwrap();
        let mut back = Vec::new();
        (&connection).read_to_end(&mut back).unwrap();
        sending.join().unwrap();
        let clean = floats_of(&unchunked(&back));
        assert_eq!(clean.len(), samples.len());
        assert!(clean == filtered(&samples, channels), "{channels} channels: other samples than in one piece");
    }
}

/// What is exactly as long as a job may be is one: hints know of it.
#[test]
fn the_longest_job_is_a_job() {
    let server = plain();
    let samples = float_bytes(&noise(1 << 20, 7));
    assert_eq!(server.post("/v1/clean?format=f32&denoise=off&qos=low", &samples).1.len(), samples.len());
    // A live stream of as many samples is many batches, each of which counts as a job.
    assert_eq!(server.engine.snapshot().unwrap().qos.low.done, 1, "it went through a live stream");
}

/// An answer that fails on its way must not look whole, however slowly it is read.
#[test]
fn an_answer_that_breaks_off_says_so() {
    let server = plain();
    let mut samples = noise(2_000_000, 8);
    samples[1_999_000] = f32::NAN;
    for slowly in [false, true] {
        let connection = TcpStream::connect(server.address).unwrap();
        connection.set_read_timeout(Some(LONG)).unwrap();
        let mut sender = connection.try_clone().unwrap();
        let body = float_bytes(&samples);
        let head = format!(
            "POST /v1/clean?format=f32&denoise=off HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let send = move || {
            sender.write_all(head.as_bytes()).ok();
            sender.write_all(&body).ok();
        };
        let sending = std::thread::Builder::new().spawn(send).unwrap();
        let (mut back, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(count) = (&connection).read(&mut piece)
            && count > 0
        {
            back.extend(&piece[..count]);
            if slowly {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        sending.join().unwrap();
        assert!(back.starts_with(b"HTTP/1.1 200"), "it had begun well");
        assert!(!back.ends_with(b"0\r\n\r\n"), "{} bytes look like all of it", back.len());
    }
}

/// A client that sends first and reads after hears why it was refused.
#[test]
fn a_refusal_is_heard_by_who_sends_a_lot() {
    let server = plain();
    let samples = vec![0; 8 << 20];
    for (query, status, code) in
        [("format=f99", 400, "bad-setting"), ("format=f32&channels=60000", 400, "bad-signal"), ("", 400, "bad-signal")]
    {
        let (got, body, _) = server.post(&format!("/v1/clean?{query}"), &samples);
        assert_problem(&(got, serde_json::from_slice(&body).unwrap()), status, code);
    }
}

/// The body of an answer that came in chunks.
fn unchunked(answer: &[u8]) -> Vec<u8> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    let (mut rest, mut body) = (&answer[head..], Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
}

#[test]
fn only_known_names_own_pages_and_holders_of_the_token_may_ask() {
    let server = plain();
    let ask = |host: &str, more: &str| {
        let request = format!("GET /gpu/hints HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        server.raw(request.as_bytes(), LONG).0
    };
    let own = server.address.to_string();
    for (host, more, expected) in [
        ("localhost", "", "200"),
        (own.as_str(), "", "200"),
        ("[::1]:7870", "", "200"),
        ("evil.example", "", "421"),
        ("localhost.evil.example:80", "", "421"),
        ("", "", "400"),
        ("localhost", "Host: evil.example\r\n", "400"),
        (own.as_str(), &format!("Origin: http://{own}\r\n"), "200"),
        ("localhost", "Origin: http://evil.example\r\n", "403"),
        ("localhost", "Origin: null\r\n", "403"),
        ("localhost", "Sec-Fetch-Site: same-origin\r\n", "200"),
        ("localhost", "Sec-Fetch-Site: cross-site\r\n", "403"),
    ] {
        let back = ask(host, more);
        assert!(back.starts_with(&format!("HTTP/1.1 {expected}")), "{host}, {more}: {back}");
    }
    let no_host = server.raw(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", LONG).0;
    assert!(no_host.starts_with("HTTP/1.1 400"), "{no_host}");

    let options = ServeOptions {
        token: Some(Token::new(SECRET).unwrap()),
        hosts: vec!["auricle.example".to_owned()],
        ..ServeOptions::default()
    };
    let server = start(engine(EngineOptions::default()), options, ConnectionLimits::default());
    for path in ["/gpu/hints", "/metrics", "/v1/snapshot", "/v1/stream", "/nothing"] {
        assert_problem(&server.get(path), 401, "unauthorized");
    }
    for path in ["/", "/livez", "/readyz", "/openapi.json"] {
        assert_eq!(server.get(path).0, 200, "{path} is open");
    }
    let shown = |value: &str| agent().get(server.url("/gpu/hints")).header("Authorization", value).call();
    assert_eq!(answer(shown(&format!("Bearer {SECRET}"))).0, 200);
    assert_eq!(answer(shown(&format!("bearer {SECRET}"))).0, 200);
    for bad in [format!("Bearer {SECRET}x"), format!("Basic {SECRET}"), "Bearer ".to_owned(), SECRET.to_owned()] {
        assert_problem(&answer(shown(&bad)), 401, "unauthorized");
    }
    let named = b"GET /livez HTTP/1.1\r\nHost: AURICLE.example:7870\r\nConnection: close\r\n\r\n";
    assert!(server.raw(named, LONG).0.starts_with("HTTP/1.1 200"));
    // A browser's WebSocket shows the token as a subprotocol.
    let mut request = format!("ws://{}/v1/stream", server.address).into_client_request().unwrap();
    let protocols = format!("auricle.v1, auricle.token.{SECRET}");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
    let opened = tungstenite::client(request, TcpStream::connect(server.address).unwrap());
    let (_, response) = opened.expect("the token was shown");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "auricle.v1");
}

#[test]
fn a_door_to_others_needs_a_token() {
    let service = Service::new(engine(EngineOptions::default()), ServeOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for open in ["0.0.0.0:0", "[::]:0", "192.168.0.7:7870"] {
        let bound = runtime.block_on(Server::bind(open.parse().unwrap(), &service, ConnectionLimits::default()));
        let error = bound.expect_err("nobody may listen there without a token").to_string();
        assert!(error.contains("token") && error.contains("127.0.0.1"), "{error}");
    }
}

#[test]
fn bodies_have_an_end() {
    let options = ServeOptions { largest_body: 100_000, ..ServeOptions::default() };
    let server = start(engine(EngineOptions::default()), options, ConnectionLimits::default());
    let declared = b"POST /v1/clean?format=f32 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n\r\n";
    let (back, _) = server.raw(declared, Duration::from_secs(5));
    assert!(back.starts_with("HTTP/1.1 413") && back.contains("body-too-large"), "{back}");
    // Nothing is declared, and it goes on and on.
    let mut endless =
        b"POST /v1/clean?format=f32 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..200 {
        endless.extend(b"400\r\n");
        endless.extend([0; 1024]);
        endless.extend(b"\r\n");
    }
    let (back, _) = server.raw(&endless, Duration::from_secs(5));
    assert!(back.starts_with("HTTP/1.1 413") && back.contains("body-too-large"), "{back}");
    assert_eq!(server.get("/livez").0, 200);
}

#[test]
fn whoever_is_slow_is_let_go() {
    let options = ServeOptions { longest_silence: Duration::from_secs(1), ..ServeOptions::default() };
    let limits = ConnectionLimits { longest_head: Duration::from_secs(1), ..ConnectionLimits::default() };
    let server = start(engine(EngineOptions::default()), options, limits);
    let patience = Duration::from_secs(10);
    // A head that never ends, a connection that asks for nothing, and a body that stops.
    let (_, took) = server.raw(b"GET /livez HTTP/1.1\r\nHost: local", patience);
    assert!(took < patience / 2, "a half head was kept for {took:?}");
    let (_, took) = server.raw(b"", patience);
    assert!(took < patience / 2, "a silent connection was kept for {took:?}");
    let head = b"POST /v1/clean?format=f32 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\nabcd";
    let (back, took) = server.raw(head, patience);
    assert!(
        took < patience / 2 && back.starts_with("HTTP/1.1 408") && back.contains("body-too-slow"),
        "{took:?}: {back}"
    );
    // One byte now and then is not enough either.
    let mut connection = TcpStream::connect(server.address).unwrap();
    connection
        .write_all(b"POST /v1/clean?format=f32 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n")
        .unwrap();
    let start = Instant::now();
    while connection.write_all(b"a").is_ok() && start.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(start.elapsed() < patience / 2, "a dripping body was kept for {:?}", start.elapsed());
    // A WebSocket that says nothing, and answers no ping.
    let mut socket = server.socket("denoise=off");
    let start = Instant::now();
    while !matches!(socket.get_mut().read(&mut [0; 256]), Ok(0) | Err(_)) {}
    assert!(start.elapsed() < patience, "a dead stream was kept for {:?}", start.elapsed());
}

/// Heads and bodies that nobody would send.
#[test]
fn rubbish_is_survived() {
    let server = plain();
    let mut next = random(1);
    let begins: [&[u8]; 8] = [
        b"",
        b"GET /gpu/hints?",
        b"POST /v1/clean?format=f32 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n",
        b"POST /v1/clean HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\nRIFF",
        b"POST /v1/clean HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        b"GET / HTTP/1.1\r\nHost: ",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for case in 0..600_usize {
        let mut bytes = begins[case % begins.len()].to_vec();
        let length = usize::try_from(next() % 200).unwrap();
        bytes.extend((0..length).map(|_| u8::try_from(next() % 256).unwrap()));
        if case % 3 == 0 {
            bytes.extend(b"\r\n\r\n");
        }
        let mut connection = TcpStream::connect(server.address).unwrap();
        connection.write_all(&bytes).ok();
        connection.shutdown(std::net::Shutdown::Write).ok();
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut back = Vec::new();
        let end = connection.read_to_end(&mut back).map_err(|error| error.kind());
        assert_ne!(end.err(), Some(std::io::ErrorKind::WouldBlock), "case {case} hangs");
        let back = String::from_utf8_lossy(&back);
        assert!(!back.starts_with("HTTP/1.1 5"), "case {case}: {back}");
    }
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let schedule = ScheduleOptions { capacity: PerQos { high: 1, default: 1, low: 1 }, ..ScheduleOptions::default() };
    let engine = engine(EngineOptions { schedule, ..EngineOptions::default() });
    let server = start(engine.clone(), ServeOptions::default(), ConnectionLimits::default());
    let path = "/v1/clean?format=f32&denoise=off&qos=low";
    assert_eq!(server.post(path, &float_bytes(&noise(1024, 1))).0, 200);
    // The only lane of the level is busy, and one more job waits.
    let lane = engine.possession(Qos::Low).unwrap();
    let waiting = engine.run_on_lane(Qos::Low, "waits", |_| ()).unwrap();
    let (status, body, retry_after) = server.post(path, &float_bytes(&noise(1024, 1)));
    assert_problem(&(status, serde_json::from_slice(&body).unwrap()), 429, "queue-full");
    assert!(retry_after.is_some_and(|seconds| seconds.parse::<u32>().unwrap() >= 1));
    drop(lane);
    waiting.wait().unwrap();
    assert_eq!(server.post(path, &float_bytes(&noise(1024, 1))).0, 200);
    let options = ServeOptions { most_requests: 0, most_streams: 0, ..ServeOptions::default() };
    let server = start(engine, options, ConnectionLimits::default());
    let (status, body, retry_after) = server.post(path, &float_bytes(&noise(1024, 1)));
    assert_problem(&(status, serde_json::from_slice(&body).unwrap()), 429, "busy");
    assert_eq!(retry_after.as_deref(), Some("1"));
}

/// Who drains a service before it stops the server is still told how it is.
#[test]
fn a_drained_service_goes_on_answering() {
    let server = plain();
    server.service.drain();
    for _ in 0..20 {
        assert_eq!(server.get("/readyz").0, 503);
        assert_eq!(server.get("/livez").0, 200);
    }
}

#[test]
fn a_service_without_a_device_is_not_ready_and_stays_so() {
    let faults = FaultPlan::new().at(0, Fault::Lost).refuse_to_open(9).without_fallback();
    let engine = engine(EngineOptions { faults, ..EngineOptions::default() });
    let server = start(engine, ServeOptions::default(), ConnectionLimits::default());
    assert_eq!(server.get("/readyz"), (200, serde_json::json!({ "status": "ready", "reason": null })));
    let path = "/v1/clean?format=f32&denoise=off";
    for _ in 0..3 {
        let (status, body, _) = server.post(path, &float_bytes(&noise(1024, 1)));
        assert_problem(&(status, serde_json::from_slice(&body).unwrap()), 503, "device-lost");
        assert_problem(&server.get("/readyz"), 503, "device-lost");
        assert_eq!(server.get("/livez").0, 200, "it lives all the same");
    }
    assert_eq!(server.engine.health().state, HealthState::Failed);
    let metrics = server.get("/metrics").1;
    assert!(metrics.as_str().unwrap().contains("\nauricle_health 2\n"), "{metrics}");
}

#[test]
fn metrics_have_units_and_count_what_was_done() {
    let server = plain();
    assert_eq!(server.post("/v1/clean?format=f32&denoise=off&qos=high", &float_bytes(&noise(4096, 1))).0, 200);
    assert_eq!(server.get("/nobody/asks/for/this").0, 404);
    let text = server.get("/metrics").1.as_str().unwrap().to_owned();
    for line in [
        "auricle_jobs_answered_total{qos=\"high\",outcome=\"done\"} 1",
        "auricle_frames_total{state=\"live\"} 4",
        "auricle_http_requests_total{route=\"/v1/clean\",method=\"POST\",status=\"200\"} 1",
        "auricle_http_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "auricle_http_request_duration_seconds_count{route=\"/v1/clean\"} 1",
        "auricle_health 0",
        "# TYPE auricle_job_latency_seconds gauge",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("nobody"), "a path that a client thought of has become a label");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("auricle_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn openapi_lists_every_route() {
    let server = plain();
    let (_, api) = server.get("/openapi.json");
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    for (path, method) in [
        ("/gpu/hints", "get"),
        ("/v1/clean", "post"),
        ("/v1/stream", "get"),
        ("/v1/snapshot", "get"),
        ("/metrics", "get"),
        ("/livez", "get"),
        ("/readyz", "get"),
    ] {
        assert!(api["paths"][path][method]["responses"].is_object(), "{method} {path}");
    }
    let names = |path: &str| api["paths"][path]["get"]["parameters"].as_array().map_or(0, Vec::len);
    assert_eq!((names("/gpu/hints"), names("/v1/stream")), (3, 17));
}

/// An app that has a server of its own mounts the router, and asks it without any socket.
#[test]
fn a_router_works_without_a_server() {
    use tower::ServiceExt as _;
    let router = auricle::serve::router(engine(EngineOptions::default())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = axum::http::Request::builder()
        .uri("/gpu/hints?qos=high")
        .header("Host", "localhost")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = runtime.block_on(router.oneshot(request)).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}

/// The page, as a browser sees it: its script may run, and shows figures.
#[test]
fn the_page_shows_live_figures_in_a_browser() {
    let browsers = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    let found = browsers.iter().find(|name| std::process::Command::new(name).arg("--version").output().is_ok());
    let Some(browser) = found else {
        return skipped("there is no Chromium here to look at the page with");
    };
    let server = plain();
    assert_eq!(server.post("/v1/clean?format=f32&denoise=off&qos=high", &float_bytes(&noise(4096, 1))).0, 200);
    let profile = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(server.url("/"))
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    for expected in ["good on cpu (native)", "<td>high 0</td>", "4 frames in 1 batches, 4 of them live", "no jobs"] {
        assert!(page.contains(expected), "`{expected}` is missing in:\n{page}");
    }
}

#[test]
fn numbers_that_nobody_can_keep_are_refused() {
    let many = ServeOptions { most_requests: 257, ..ServeOptions::default() };
    let error = Service::new(engine(EngineOptions::default()), many).unwrap_err().to_string();
    assert!(error.contains("257") && error.contains("256"), "{error}");
    let service = Service::new(engine(EngineOptions::default()), ServeOptions::default()).unwrap();
    let runtime = auricle::serve::runtime().unwrap();
    for most_connections in [0, usize::MAX] {
        let limits = ConnectionLimits { most_connections, ..ConnectionLimits::default() };
        let bound = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap(), &service, limits));
        assert!(matches!(bound, Err(auricle::Error::Setting { .. })), "{most_connections}");
    }
}
