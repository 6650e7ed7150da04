//! `/v1/stream`, through its socket: what comes back, what is said, and how it ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use auricle::serve::{ConnectionLimits, ServeOptions};
use auricle::{EngineOptions, FaultPlan};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::files::{float_bytes, floats_of};
use crate::server::{engine, filtered, plain, start};
use crate::signals::noise;

/// What the service says next in words, and the samples that came before it.
fn next_text(socket: &mut WebSocket<TcpStream>, samples: &mut Vec<f32>) -> Value {
    loop {
        match socket.read().expect("the stream should go on") {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Binary(bytes) => samples.extend(floats_of(&bytes)),
            _ => {}
        }
    }
}

#[test]
fn a_websocket_gives_back_what_it_was_given_clean_and_complete() {
    let server = plain();
    let stream = |seed: u64| {
        let mut socket = server.socket("denoise=off&channels=2&qos=high");
        let samples = noise(2 * 20_000, seed);
        let mut clean = Vec::new();
        let ready = next_text(&mut socket, &mut clean);
        assert_eq!((&ready["type"], &ready["channels"], &ready["qos"]), (&"ready".into(), &2.into(), &"high".into()));
        for piece in samples.chunks(1234) {
            socket.send(Message::Binary(float_bytes(piece).into())).unwrap();
        }
        socket.send(Message::text("{\"type\": \"counters\"}")).unwrap();
        assert_eq!(next_text(&mut socket, &mut clean)["type"], "counters");
        socket.send(Message::text("{\"type\": \"qos\", \"qos\": \"low\"}")).unwrap();
        assert_eq!(next_text(&mut socket, &mut clean)["qos"], "low");
        socket.send(Message::text("{\"type\": \"finish\"}")).unwrap();
        let finished = next_text(&mut socket, &mut clean);
        assert_eq!((&finished["type"], &finished["pushed"]), (&"finished".into(), &40_000.into()), "{finished}");
        assert!(matches!(socket.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1000));
        (samples, clean)
    };
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..4).map(|seed| scope.spawn(move || stream(seed))).collect();
        for stream in streams {
            let (samples, clean) = stream.join().unwrap();
            assert!(clean == filtered(&samples, 2), "{} of {} floats, or others", clean.len(), samples.len());
        }
    });
}

#[test]
fn what_a_websocket_does_not_understand_it_says_and_goes_on() {
    let server = plain();
    let mut socket = server.socket("denoise=off&channels=2");
    let mut clean = Vec::new();
    next_text(&mut socket, &mut clean);
    let mut faulty = vec![0.5; 2048];
    faulty[7] = f32::INFINITY;
    for (message, code) in [
        (Message::text("hello"), "bad-control"),
        (Message::text("{\"type\": \"dance\"}"), "bad-control"),
        (Message::text("{\"type\": \"qos\", \"qos\": \"urgent\"}"), "unknown-qos"),
        (Message::Binary(vec![0; 9].into()), "bad-message"),
        (Message::Binary(float_bytes(&faulty).into()), "faulty-samples"),
    ] {
        socket.send(message).unwrap();
        let error = next_text(&mut socket, &mut clean);
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &code.into()), "{error}");
    }
    let samples = noise(2 * 3000, 9);
    socket.send(Message::Binary(float_bytes(&samples).into())).unwrap();
    socket.send(Message::text("{\"type\": \"finish\"}")).unwrap();
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "finished");
    assert!(clean == filtered(&samples, 2), "what was refused has left traces");
    let refused = [
        "format=s16",
        "channels=0",
        "denoise=nobody",
        "qos=urgent",
        "sample_rate=-5",
        "sample_rate=NaN",
        "channels=100",
    ];
    for query in refused {
        let url = format!("ws://{}/v1/stream?{query}", server.address);
        let refused = tungstenite::client(url, TcpStream::connect(server.address).unwrap());
        let Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) = refused else {
            panic!("{query} should be refused")
        };
        assert_eq!(response.status(), 400, "{query}");
    }
}

/// It stays where it is, is told why, and loses nothing.
#[test]
fn a_websocket_that_can_not_be_moved_is_told_why_and_goes_on() {
    let faults = FaultPlan::new().at_compiling(1).refuse_to_open(9).without_fallback();
    let server = start(
        engine(EngineOptions { faults, ..EngineOptions::default() }),
        ServeOptions::default(),
        ConnectionLimits::default(),
    );
    let mut socket = server.socket("denoise=off");
    let (samples, mut clean) = (noise(5000, 3), Vec::new());
    next_text(&mut socket, &mut clean);
    socket.send(Message::Binary(float_bytes(&samples[..3000]).into())).unwrap();
    socket.send(Message::text("{\"type\": \"qos\", \"qos\": \"low\"}")).unwrap();
    let error = next_text(&mut socket, &mut clean);
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"device-lost".into()), "{error}");
    let detail = error["detail"].as_str().unwrap();
    assert!(detail.starts_with("not moved: ") && detail.contains("on purpose"), "{detail}");
    socket.send(Message::Binary(float_bytes(&samples[3000..]).into())).unwrap();
    socket.send(Message::text("{\"type\": \"finish\"}")).unwrap();
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "finished");
    assert!(clean == filtered(&samples, 1), "{} of {} floats, or others", clean.len(), samples.len());
}

/// Whoever has paused is heard all the same, and may end.
#[test]
fn a_paused_websocket_resumes_and_ends() {
    let server = plain();
    let samples = noise(1024 * 20, 5);
    for resumes in [true, false] {
        let mut socket = server.socket("denoise=off");
        let mut clean = Vec::new();
        next_text(&mut socket, &mut clean);
        socket.send(Message::text("{\"type\": \"pause\"}")).unwrap();
        assert_eq!(next_text(&mut socket, &mut clean)["type"], "paused");
        socket.send(Message::Binary(float_bytes(&samples).into())).unwrap();
        if resumes {
            // More than has room: it says how much it took.
            for _ in 0..3 {
                socket.send(Message::Binary(float_bytes(&samples).into())).unwrap();
            }
            let full = next_text(&mut socket, &mut clean);
            assert_eq!((&full["type"], &full["code"]), (&"error".into(), &"paused".into()), "{full}");
            // Nothing that comes later, and be it one sample, gets into the place of what was refused.
            socket.send(Message::Binary(float_bytes(&[0.5]).into())).unwrap();
            let last = loop {
                let text = next_text(&mut socket, &mut clean);
                if text["detail"].as_str().is_some_and(|detail| detail.ends_with("of 1 floats were taken")) {
                    break text;
                }
            };
            assert!(last["detail"].as_str().unwrap().contains(" 0 of 1"), "{last}");
            socket.send(Message::text("{\"type\": \"resume\"}")).unwrap();
            while next_text(&mut socket, &mut clean)["type"] != "resumed" {}
        }
        socket.send(Message::text("{\"type\": \"finish\"}")).unwrap();
        let finished = next_text(&mut socket, &mut clean);
        assert_eq!(finished["type"], "finished", "{finished}");
        assert_eq!(finished["pushed"].as_u64().unwrap(), clean.len() as u64);
        // What follows a frame reaches into the one before it at most.
        let sure = samples.len() - 2048;
        assert!(clean[..sure] == filtered(&samples, 1)[..sure], "other samples than were pushed");
    }
}

/// What a client still says after it has finished, as its pings do, costs it nothing of what is on its way to it.
#[test]
fn a_websocket_that_reads_late_gets_everything() {
    let server = plain();
    let mut socket = server.socket("denoise=off");
    let samples = noise(500_000, 12);
    for piece in samples.chunks(25_000) {
        socket.send(Message::Binary(float_bytes(piece).into())).unwrap();
    }
    socket.send(Message::text("{\"type\": \"finish\"}")).unwrap();
    let done = || server.engine.snapshot().unwrap().streams.is_empty();
    let begin = Instant::now();
    while !done() && begin.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(60));
        socket.send(Message::Ping(Vec::new().into())).unwrap();
    }
    let mut clean = Vec::new();
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "ready");
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "finished");
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    assert!(clean == filtered(&samples, 1), "{} of 500,000 samples", clean.len());
}

#[test]
fn a_service_that_stops_gives_back_what_it_has() {
    let mut server = plain();
    let mut socket = server.socket("denoise=off");
    let mut clean = Vec::new();
    next_text(&mut socket, &mut clean);
    let samples = noise(10_000, 4);
    socket.send(Message::Binary(float_bytes(&samples).into())).unwrap();
    // It has taken them once it has answered what came after them.
    socket.send(Message::text("{\"type\": \"counters\"}")).unwrap();
    assert_eq!(next_text(&mut socket, &mut clean)["pushed"], 10_000);
    server.tell();
    assert_eq!(next_text(&mut socket, &mut clean)["code"], "shutting-down");
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "finished");
    assert!(matches!(socket.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1001));
    assert!(clean == filtered(&samples, 1), "{} of 10000 samples", clean.len());
    drop(socket);
    assert_eq!(server.stop(), 0, "nothing should have been given up");
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

#[test]
fn whoever_says_nothing_is_told_why_it_is_let_go() {
    let options = ServeOptions { longest_silence: Duration::from_secs(1), ..ServeOptions::default() };
    let server = start(engine(EngineOptions::default()), options, ConnectionLimits::default());
    let mut socket = server.socket("denoise=off");
    std::thread::sleep(Duration::from_millis(1500));
    let mut clean = Vec::new();
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "ready");
    assert_eq!(next_text(&mut socket, &mut clean)["code"], "gone");
    assert_eq!(next_text(&mut socket, &mut clean)["type"], "finished");
    assert!(matches!(socket.read(), Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1008));
}
