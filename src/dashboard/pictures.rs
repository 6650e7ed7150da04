//! What the panels look like with figures in them: always the same ones, so that the pictures are, too.

use std::sync::Arc;
use std::time::Duration;

use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};

use super::app::Dashboard;
use super::desk::{Desk, Shared, State, lock};
use super::feed::FeedFigures;
use super::history::Suggestion;
use super::{Sound, Theme};
use crate::qos::{PerQos, Qos};
use crate::stream::StreamCounters;
use crate::telemetry::{
    CompiledSnapshot, Health, HealthState, LaneSnapshot, Latency, MemorySnapshot, NodeKind, NodeSnapshot, PlanSnapshot,
    QosSnapshot, Snapshot, Span, StageSnapshot, WorkSnapshot,
};
use crate::{DeviceInfo, DeviceKind};

/// Pixels that may differ from the picture that is kept: what a driver rounds differently.
const MOST_PIXELS: usize = 10;
/// Seconds of work that the pictures show.
const WORKED_S: u32 = 40;

struct App(Dashboard);

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.0.ui(ui);
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        self.0.background().to_normalized_gamma_f32()
    }
}

fn device() -> DeviceInfo {
    DeviceInfo {
        name: "Some GPU".to_owned(),
        kind: DeviceKind::Gpu,
        backend: "vulkan".to_owned(),
        driver: "driver 1.2.3".to_owned(),
        features: Vec::new(),
    }
}

fn latency(p50_ms: f64) -> Latency {
    let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    Latency { count: 100, p50: ms(p50_ms), p95: ms(1.6 * p50_ms), p99: ms(2.2 * p50_ms), max: ms(3.0 * p50_ms) }
}

/// An engine after so many tenths of a second: a wave of work, three levels, a plan with a gate and a filter.
fn snapshot(tenths: u32) -> Snapshot {
    let uptime = Duration::from_millis(100 * u64::from(tenths));
    let wave = 1.0 + 0.5 * (f64::from(tenths) / 20.0).sin();
    // Never fewer than before.
    let frames = 300 * u64::from(tenths) + (1500.0 * (1.0 - (f64::from(tenths) / 10.0).cos())) as u64;
    let level = |qos: Qos| {
        let p50_ms = wave * PerQos { high: 0.8, default: 4.0, low: 300.0 }[qos];
        QosSnapshot {
            done: u64::from(tenths),
            admitted: u64::from(tenths),
            dropped: if qos == Qos::Low { u64::from(tenths / 100) * 256 } else { 0 },
            coherence: Some(if qos == Qos::High { 0.9 } else { 0.4 }),
            queue: latency(0.3 * p50_ms),
            compute: latency(0.7 * p50_ms),
            total: latency(p50_ms),
            ..QosSnapshot::default()
        }
    };
    let lane = |qos: Qos, index: usize, period: u64, busy: u64| {
        let last = uptime.as_millis() as u64 / period;
        let span = |turn: u64| Span {
            job: Arc::from(format!("job {turn}")),
            begin: Duration::from_millis(turn * period + 40 * index as u64),
            end: Duration::from_millis(turn * period + 40 * index as u64 + busy),
        };
        let spans: Vec<Span> = (last.saturating_sub(20)..last).map(span).collect();
        LaneSnapshot { qos, index, occupancy: busy as f64 / period as f64, spans }
    };
    let node = |name: &str, kind: NodeKind, source: Option<&str>| NodeSnapshot {
        name: name.to_owned(),
        kind,
        sources: source.into_iter().map(str::to_owned).collect(),
        frames,
        read_bytes: 4096 * frames,
        written_bytes: if kind == NodeKind::Gate { 0 } else { 4096 * frames },
    };
    let stage = |name: &str, nodes: &[&str], micros: u64| StageSnapshot {
        name: name.to_owned(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        time: Duration::from_micros(micros * u64::from(tenths)),
    };
    Snapshot {
        uptime,
        qos: PerQos::from_fn(level),
        lanes: vec![
            lane(Qos::High, 0, 80, 3),
            lane(Qos::High, 1, 80, 3),
            lane(Qos::Default, 0, 150, 30),
            lane(Qos::Low, 0, 500, 350),
        ],
        streams: Vec::new(),
        work: WorkSnapshot { batches: frames / 10, frames, live: frames * 3 / 10, faulty: 0, largest_batch: 512 },
        plans: vec![PlanSnapshot {
            id: 0,
            nodes: vec![
                node("input", NodeKind::Input, None),
                node("gate", NodeKind::Gate, Some("input")),
                node("filter", NodeKind::Filter, Some("gate")),
                node("output", NodeKind::Output, Some("filter")),
            ],
            stages: vec![stage("gate+filter", &["gate", "filter"], 9000), stage("upload", &[], 1500)],
        }],
        compiled: CompiledSnapshot::default(),
        devices: PerQos { high: Some(device()), default: Some(device()), low: None },
        memory: Some(MemorySnapshot {
            used_bytes: 300 << 20,
            most_bytes: 400 << 20,
            budget_bytes: Some(1 << 30),
            pressure: Some(300.0 / 1024.0),
            evicted: 0,
        }),
        health: Health::default(),
    }
}

fn stream(id: u64, name: &str, qos: Qos, error: Option<&str>) -> FeedFigures {
    FeedFigures {
        id,
        name: name.to_owned(),
        qos,
        rate_hz: 16e3,
        channels: 2,
        counters: StreamCounters::default(),
        dropped: 0,
        before: Some((-6.0, -20.0)),
        after: Some((-8.0, -26.0)),
        is_open: true,
        error: error.map(str::to_owned),
    }
}

/// A sine that rises from 0 to 8 kHz in five seconds, and comes out a tenth as loud.
fn listen(shared: &Shared) {
    shared.listen_to(1, 0);
    let mut listening = lock(&shared.ear);
    let mut ear = super::ear::Ear::new(16e3, crate::Domain::Real);
    let time = |n: u32| f64::from(n) / 16e3;
    let chirp = |n: u32| (std::f64::consts::PI * 1600.0 * time(n) * time(n)).sin();
    let before: Vec<f32> = (0..80_000).map(|n| 0.5 * chirp(n) as f32).collect();
    let after: Vec<f32> = before.iter().map(|sample| 0.1 * sample).collect();
    ear.before.hear(&before, 1, 0);
    ear.after.hear(&after, 1, 0);
    listening.ear = Some(ear);
}

/// A local dashboard whose engine has been at work for so long.
fn window(theme: Theme, tenths: u32, change: impl FnOnce(&Shared)) -> Harness<'static, App> {
    let shared = Shared::new();
    {
        let mut figures = shared.figures();
        (figures.state, figures.device, figures.devices) = (State::Running, Some(device()), vec![device()]);
        for at in 0..=tenths {
            let frames = PerQos { high: 1, default: 8, low: 64 << (at / 100).min(3) };
            let hints =
                PerQos::from_fn(|qos| Suggestion { frames: frames[qos], reason: "the target is held".to_owned() });
            figures.history.add(f64::from(at) / 10.0, snapshot(at), Some(&hints));
        }
    }
    change(&shared);
    Harness::builder().with_size([1280.0, 800.0]).with_pixels_per_point(1.0).wgpu().build_eframe(move |creation| {
        let desk = Desk::still(&shared);
        App(Dashboard::at(desk, &creation.egui_ctx, theme, ".".into(), false))
    })
}

fn with_streams(shared: &Shared) {
    shared.figures().streams = vec![
        stream(1, Sound::Speech.name().as_str(), Qos::High, None),
        stream(2, "a recording with a long name.wav", Qos::Low, Some("it ended")),
    ];
    listen(shared);
}

#[test]
fn the_panels_look_as_they_did() {
    let devices = crate::Devices::find(1).expect("the CPU should be there");
    let first = devices.list().into_iter().find(|device| device.kind != DeviceKind::Cpu);
    if !first.as_ref().is_some_and(|device| device.name.contains("llvmpipe")) {
        eprintln!(
            "skipped: the pictures are those of lavapipe, and here is {:?} first",
            first.map(|device| device.name)
        );
        return;
    }
    let options = SnapshotOptions::new().output_path("tests/data/dashboard").max_failed_pixels(MOST_PIXELS);
    let mut results = SnapshotResults::new();
    let mut keep = |mut window: Harness<'static, App>, name: &str| {
        window.run_steps(3);
        window.snapshot_options(name, &options);
        results.extend_harness(&mut window);
    };
    keep(window(Theme::Dark, 10 * WORKED_S, with_streams), "busy-dark");
    keep(window(Theme::Light, 10 * WORKED_S, with_streams), "busy-light");
    let graph = window(Theme::Dark, 10 * WORKED_S, with_streams);
    graph.key_press(egui::Key::G);
    keep(graph, "graph");
    // Nothing has been asked of it.
    keep(window(Theme::Dark, 2, |_| ()), "empty");
    let lost = |shared: &Shared| {
        let cpu = DeviceInfo { name: "cpu".to_owned(), kind: DeviceKind::Cpu, ..device() };
        let mut figures = shared.figures();
        let last = figures.history.last.as_mut().expect("there should be one");
        let reason = Some("the device is lost; `high` work goes on on the CPU".to_owned());
        last.health = Health { state: HealthState::Degraded, reason, losses: 1 };
        last.devices.high = Some(cpu);
    };
    keep(window(Theme::Dark, 10 * WORKED_S, lost), "lost");
    results.unwrap();
}
