//! The dashboard, through its labels: every control does to the engine what it says; and what it shows is the engine's.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use auricle::dashboard::{Dashboard, DashboardOptions, Denoiser, Sound, Theme, WindowOptions};
use auricle::{DeviceChoice, EngineOptions, Fault, FaultPlan, FilterMode, PerQos, Qos};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use egui_kittest::{Harness, SnapshotOptions};

const LONG: Duration = Duration::from_secs(30);

fn auricle() -> Command {
    crate::cli::auricle([] as [&str; 0])
}

/// As a window holds it.
struct App(Dashboard);

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.0.ui(ui);
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        self.0.background().to_normalized_gamma_f32()
    }
}

type Window = Harness<'static, App>;

fn open(options: DashboardOptions) -> Window {
    Harness::builder()
        .with_size([1280.0, 800.0])
        .with_pixels_per_point(1.0)
        .build_eframe(move |creation| App(Dashboard::new(&creation.egui_ctx, options, false).unwrap()))
}

fn on_cpu() -> DashboardOptions {
    let engine = EngineOptions { device: DeviceChoice::Cpu, threads: 1, ..EngineOptions::default() };
    DashboardOptions { engine, ..DashboardOptions::default() }
}

/// Draws until it is so.
#[track_caller]
fn until(window: &mut Window, what: &str, mut is_so: impl FnMut(&Window) -> bool) {
    let begin = Instant::now();
    loop {
        window.step();
        if is_so(window) {
            return;
        }
        let told =
            || format!("{:?}", window.query_by_label_contains(" not ").map(|node| node.accesskit_node().label()));
        assert!(begin.elapsed() < LONG, "{what} did not come true; {}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn click(window: &mut Window, label: &str) {
    window.get_by_label(label).click();
    window.run_steps(2);
}

/// Opens a list, and takes one of what it offers.
#[track_caller]
fn choose(window: &mut Window, list: &str, choice: &str) {
    click(window, list);
    // Of the same words elsewhere, which are only text, a click would close the list.
    let is_choice = |node: &egui_kittest::Node<'_>| node.accesskit_node().role() != egui::accesskit::Role::Label;
    let mut found: Vec<_> = window.get_all_by_label(choice).filter(is_choice).collect();
    found.pop().expect("the list should have it").click();
    drop(found);
    window.run_steps(2);
}

fn streams(window: &Window) -> Vec<(Qos, usize)> {
    let snapshot = window.state().0.engine().map(|engine| engine.snapshot().unwrap());
    let streams = snapshot.into_iter().flat_map(|snapshot| snapshot.streams);
    streams.filter(|group| group.streams > 0).map(|group| (group.qos, group.streams)).collect()
}

fn frames(window: &Window) -> u64 {
    window.state().0.engine().map_or(0, |engine| engine.snapshot().unwrap().work.frames)
}

#[test]
fn streams_are_added_moved_and_closed_by_their_labels() {
    let mut window = open(on_cpu());
    until(&mut window, "the engine", |window| window.state().0.engine().is_some());
    until(&mut window, "an empty window that says what to do", |window| window.query_by_label("No stream").is_some());
    choose(&mut window, "Sound", "tones in noise");
    choose(&mut window, "Level of the new stream", "low");
    click(&mut window, "Add stream");
    until(&mut window, "a stream", |window| streams(window) == [(Qos::Low, 1)]);
    until(&mut window, "its row", |window| window.query_by_label("Close tones 1").is_some());
    choose(&mut window, "Level of tones 1", "high");
    until(&mut window, "its move", |window| streams(window) == [(Qos::High, 1)]);
    // A key does the same as the button.
    window.key_press(egui::Key::A);
    until(&mut window, "another one", |window| streams(window).contains(&(Qos::Low, 1)));
    until(&mut window, "work", |window| frames(window) > 20);
    click(&mut window, "Close tones 1");
    until(&mut window, "its end", |window| streams(window) == [(Qos::Low, 1)]);

    click(&mut window, "Stop input");
    until(&mut window, "silence", |window| {
        let before = frames(window);
        std::thread::sleep(Duration::from_millis(300));
        frames(window) == before
    });
    click(&mut window, "Start input");
    let before = frames(&window);
    until(&mut window, "sound", |window| frames(window) > before + 5);

    // What cannot be opened is told, and nothing else is lost.
    choose(&mut window, "Sound", "a recording");
    window.get_by_label("Path of the recording").focus();
    window.run_steps(2);
    window.get_by_label("Path of the recording").type_text("/nowhere/at-all.wav");
    window.run_steps(2);
    click(&mut window, "Add stream");
    until(&mut window, "the reason", |window| window.query_by_label_contains("does not exist").is_some());
    assert_eq!(streams(&window), [(Qos::Low, 1)]);
}

#[test]
fn stages_targets_and_jobs_are_set_by_their_labels() {
    let mut window = open(DashboardOptions { streams: vec![(Sound::Speech, Qos::Default)], ..on_cpu() });
    until(&mut window, "a stream", |window| streams(window).len() == 1);
    let settings = |window: &Window| window.state().0.settings();
    assert_eq!((settings(&window).gate_db, settings(&window).denoiser), (Some(-60.0), Denoiser::Builtin));

    window.get_by_label("Gate threshold").set_value_accesskit(-35.0);
    until(&mut window, "the threshold", |window| settings(window).gate_db == Some(-35.0));
    until(&mut window, "another gate", |window| {
        let plans = window.state().0.engine().map_or(Vec::new(), |engine| engine.snapshot().unwrap().plans);
        plans.len() == 1 && plans[0].nodes.iter().any(|node| node.name == "gate" && node.frames > 0)
    });
    // One wish after the other, also while the view is held: none takes another one back.
    click(&mut window, "Pause view");
    click(&mut window, "Gate");
    click(&mut window, "Filter seamless");
    until(&mut window, "no gate, and the filter", |window| {
        settings(window).gate_db.is_none() && settings(window).filter == Some(FilterMode::Seamless)
    });
    click(&mut window, "Resume view");
    window.get_by_label("Denoiser strength").set_value_accesskit(0.5);
    until(&mut window, "half of the denoiser", |window| (settings(window).strength - 0.5).abs() < 1e-6);
    click(&mut window, "Denoiser off");
    until(&mut window, "no denoiser", |window| settings(window).denoiser == Denoiser::Off);
    let nodes = |window: &Window| -> Vec<String> {
        let plans = window.state().0.engine().map_or(Vec::new(), |engine| engine.snapshot().unwrap().plans);
        plans.last().map_or(Vec::new(), |plan| plan.nodes.iter().map(|node| node.name.clone()).collect())
    };
    until(&mut window, "a plan without it", |window| nodes(window) == ["input", "gate", "filter", "powers", "output"]);
    until(&mut window, "that the stream goes on", |window| streams(window) == [(Qos::Default, 1)]);

    window.get_by_label("Target of high").set_value_accesskit(7.0);
    until(&mut window, "a target", |window| window.state().0.targets().high == Duration::from_millis(7));
    let jobs = |window: &Window| {
        let engine = window.state().0.engine();
        engine.map_or(0, |engine| engine.snapshot().unwrap().qos.low.done)
    };
    assert_eq!(jobs(&window), 0);
    window.get_by_label("Background jobs of low").set_value_accesskit(50.0);
    until(&mut window, "background jobs", |window| jobs(window) > 3);
    until(&mut window, "their coherence", |window| {
        let coherence = window.state().0.export().1["points"].as_array().and_then(|points| points.last().cloned());
        coherence.is_some_and(|point| point["qos"]["low"]["coherence"].as_f64().is_some())
    });
    window.get_by_label("Background jobs of low").set_value_accesskit(0.0);
    until(&mut window, "rest", |window| {
        let before = jobs(window);
        std::thread::sleep(Duration::from_millis(300));
        jobs(window) == before
    });

    let uptime = |window: &Window| window.state().0.engine().map(|engine| engine.snapshot().unwrap().uptime);
    let before = uptime(&window).unwrap();
    click(&mut window, "Restart engine");
    until(&mut window, "another engine", |window| uptime(window).is_some_and(|now| now < before));
    until(&mut window, "its streams", |window| streams(window) == [(Qos::Default, 1)]);
    until(&mut window, "work", |window| frames(window) > 5);
}

#[test]
fn a_held_view_shows_one_moment_and_loses_nothing() {
    let mut window = open(DashboardOptions { streams: vec![(Sound::Tones, Qos::High)], ..on_cpu() });
    until(&mut window, "points", |window| window.state().0.export().0.lines().count() > 8);
    click(&mut window, "Pause view");
    assert!(window.state().0.is_paused() && window.query_by_label("View paused").is_some());
    let (held, document) = window.state().0.export();
    std::thread::sleep(Duration::from_millis(600));
    window.run_steps(3);
    assert_eq!(window.state().0.export().0, held, "what is shown is what is exported");
    window.key_press(egui::Key::Space);
    window.run_steps(2);
    assert!(!window.state().0.is_paused());
    let (table, _) = window.state().0.export();
    assert!(table.lines().count() >= held.lines().count() + 4, "what came meanwhile is there");
    assert!(table.starts_with(held.trim_end()), "and nothing of what there was is gone");

    // The export is a table: as many cells in each line, numbers where there are any.
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert!(names.contains(&"high_total_p95_ms"), "{names:?}");
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), names.len(), "{line}");
        assert!(cells.iter().all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok()), "{line}");
    }
    assert_eq!(document["device"]["name"], "cpu");
    assert!(document["points"].as_array().is_some_and(|points| points.len() > 6), "{document}");
    assert!(document["snapshot"]["uptime"].is_object() && document["streams"][0]["name"] == "tones 1");
}

#[test]
fn keys_and_the_pointer_do_what_the_sheet_says() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        DashboardOptions { streams: vec![(Sound::Tones, Qos::High)], folder: folder.path().into(), ..on_cpu() };
    let mut window = open(options);
    until(&mut window, "points", |window| window.state().0.export().0.lines().count() > 8);
    let press = |window: &mut Window, key: egui::Key| {
        window.key_press(key);
        window.run_steps(2);
    };
    press(&mut window, egui::Key::F1);
    assert!(window.query_by_label("Keys").is_some());
    press(&mut window, egui::Key::Escape);
    assert!(window.query_by_label("Keys").is_none());
    press(&mut window, egui::Key::G);
    assert!(window.query_by_label_contains("Graph: input").is_some());
    press(&mut window, egui::Key::W);
    assert!(window.query_by_label_contains("Waterfall before and after").is_some());
    assert!(window.query_by_label("throughput over the last 1 min 0 s").is_some());
    press(&mut window, egui::Key::Minus);
    for plot in ["throughput", "latency", "batch"] {
        let label = format!("{plot} over the last 2 min 0 s");
        assert!(window.query_by_label(&label).is_some(), "all plots show the same time: {plot}");
    }
    press(&mut window, egui::Key::Num0);
    assert!(window.query_by_label("latency over the last 1 min 0 s").is_some());
    let dark = window.state().0.background();
    press(&mut window, egui::Key::T);
    assert_ne!(window.state().0.background(), dark);
    press(&mut window, egui::Key::E);
    let names: Vec<PathBuf> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 2, "a table and a document: {names:?}");
    for name in names {
        let text = std::fs::read_to_string(&name).unwrap();
        let is_json = name.extension().is_some_and(|extension| extension == "json");
        assert!(if is_json {
            serde_json::from_str::<serde_json::Value>(&text).is_ok()
        } else {
            text.lines().count() > 8
        });
    }
    // Letters that are typed into a field are letters.
    choose(&mut window, "Sound", "a recording");
    window.get_by_label("Path of the recording").focus();
    window.run_steps(2);
    press(&mut window, egui::Key::T);
    assert_ne!(window.state().0.background(), dark, "the theme has changed");
    // And all of it has room in the least window that there is, and at twice the pixels.
    window.set_size(egui::vec2(1024.0, 640.0));
    window.run_steps(3);
    window.set_pixels_per_point(2.0);
    window.run_steps(3);
    assert!(window.query_by_label("Pause view").is_some());
}

#[test]
fn the_tiles_show_the_figures_of_the_engine() {
    let options = DashboardOptions {
        streams: vec![(Sound::Speech, Qos::High), (Sound::Speech, Qos::Default)],
        background: PerQos { low: 0.3, ..PerQos::default() },
        ..on_cpu()
    };
    let mut window = open(options);
    until(&mut window, "all levels", |window| {
        let engine = window.state().0.engine();
        engine.is_some_and(|engine| engine.snapshot().unwrap().qos.iter().all(|(_, qos)| qos.done > 5))
    });
    window.run_steps(3);
    window.key_press(egui::Key::Space);
    window.run_steps(2);
    // Of the moment that is held, the tiles and the export say the same.
    let document = window.state().0.export().1;
    let last = document["points"].as_array().unwrap().last().unwrap();
    let occupancy = 100.0 * last["occupancy"].as_f64().unwrap();
    assert!(window.query_by_label(&format!("Occupancy: {occupancy:.1} %")).is_some());
    for qos in ["high", "default", "low"] {
        let p95_ms = last["qos"][qos]["total"]["p95_ms"].as_f64().unwrap();
        let snapshot = document["snapshot"]["qos"][qos]["total"]["p95"]["nanos"].as_f64().unwrap() / 1e6;
        assert!((p95_ms - snapshot).abs() < 1e-6, "{qos}: {p95_ms} and {snapshot}");
        // Three digits, as tiles have room for.
        let digits = 2 - usize::from(p95_ms >= 9.995) - usize::from(p95_ms >= 99.95);
        let told = format!("{qos} {p95_ms:.digits$} ms of ");
        assert!(window.query_by_label_contains(&told).is_some(), "{told}");
    }
    assert!(window.query_by_label("Drops: 0").is_some(), "nothing was dropped");
    assert!(window.query_by_label("Running").is_some());
}

#[test]
fn a_device_that_is_lost_shows_in_the_header_and_the_streams_go_on() {
    let mut options = DashboardOptions { streams: vec![(Sound::Tones, Qos::Default)], ..on_cpu() };
    let faults = FaultPlan::new().at(30, Fault::Lost);
    options.engine.faults = faults;
    let mut window = open(options);
    until(&mut window, "the loss", |window| window.query_by_label("Degraded").is_some());
    let before = frames(&window);
    until(&mut window, "work after it", |window| frames(window) > before + 10);
}

#[test]
fn without_a_device_it_says_what_to_do_and_does_it() {
    let mut options = DashboardOptions { streams: vec![(Sound::Tones, Qos::Default)], ..on_cpu() };
    options.engine.device = DeviceChoice::Named("no such device".to_owned());
    let mut window = open(options);
    until(&mut window, "the error", |window| window.query_by_label("No engine").is_some());
    assert!(window.query_by_label_contains("no such device").is_some(), "the error as it came");
    assert!(window.query_by_label("Failed").is_some());
    click(&mut window, "Use the CPU");
    until(&mut window, "an engine", |window| window.query_by_label("Running").is_some());
    until(&mut window, "the stream that was asked for", |window| streams(window) == [(Qos::Default, 1)]);
}

#[test]
#[cfg(feature = "serve")]
fn another_process_is_watched_through_its_service() {
    let mut server = crate::serve::plain();
    let connect = Some(format!("http://{}", server.address));
    let mut window = open(DashboardOptions { connect, ..DashboardOptions::default() });
    until(&mut window, "the service", |window| window.query_by_label("Running").is_some());
    assert!(window.query_by_label("Add stream").is_none(), "there is nothing to steer");
    let graph = auricle::Graph::new()
        .input("in", auricle::FrameShape::real(1024))
        .filter("smooth", "in", auricle::PhiResolvent::default())
        .output("out", "smooth");
    let plan = server.engine.compile(&graph).unwrap();
    for _ in 0..20 {
        let job = auricle::JobOptions { qos: Qos::High, name: "far away".into(), ..Default::default() };
        server.engine.submit(&plan, [vec![0.5; 4096]], job).unwrap().wait().unwrap();
    }
    until(&mut window, "its figures", |window| {
        let document = window.state().0.export().1;
        document["snapshot"]["qos"]["high"]["done"] == 20 && document["snapshot"]["work"]["frames"] == 80
    });
    window.key_press(egui::Key::G);
    until(&mut window, "its graph", |window| window.query_by_label_contains("smooth").is_some());
    server.stop();
    until(&mut window, "its end", |window| window.query_by_label("No service").is_some());
    assert!(window.query_by_label_contains("cannot be reached").is_some());
    for (address, part) in [("https://example.org", "http is spoken"), ("http://", "give it as"), ("", "give it as")] {
        let options = DashboardOptions { connect: Some(address.to_owned()), ..DashboardOptions::default() };
        let error = Dashboard::new(&egui::Context::default(), options, false).unwrap_err().to_string();
        assert!(error.contains(part), "{address}: {error}");
    }
}

/// Pixels that may differ from the picture that is kept: what a driver rounds differently.
const MOST_PIXELS: usize = 10;

fn snapshot_options() -> SnapshotOptions {
    SnapshotOptions::new().output_path("tests/data/dashboard").max_failed_pixels(MOST_PIXELS)
}

/// One that nobody answers, so that each picture is the same.
fn nobody(theme: Theme) -> Window {
    let connect = Some("http://127.0.0.1:1".to_owned());
    let options = DashboardOptions { connect, theme, ..DashboardOptions::default() };
    let mut window = Harness::builder()
        .with_size([1024.0, 640.0])
        .with_pixels_per_point(1.0)
        .wgpu()
        .build_eframe(move |creation| App(Dashboard::new(&creation.egui_ctx, options, false).unwrap()));
    until(&mut window, "the error", |window| window.query_by_label("No service").is_some());
    window
}

/// The pictures are those of lavapipe: another driver rounds differently.
fn has_lavapipe() -> bool {
    let names = crate::adapter::adapter_names();
    let is_first = names.first().is_some_and(|name| name.contains("llvmpipe"));
    if !is_first {
        eprintln!("skipped: the pictures of the dashboard are those of lavapipe, and this machine has {names:?}");
    }
    is_first
}

#[test]
fn it_looks_as_it_did() {
    if !has_lavapipe() {
        return;
    }
    let mut results = egui_kittest::SnapshotResults::new();
    let mut dark = nobody(Theme::Dark);
    dark.snapshot_options("dark", &snapshot_options());
    results.extend_harness(&mut dark);
    let mut light = nobody(Theme::Light);
    light.snapshot_options("light", &snapshot_options());
    // A change that one can see is seen by the comparison, too.
    light.key_press(egui::Key::F1);
    light.run_steps(3);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy("tests/data/dashboard/light.png", folder.path().join("light.png")).unwrap();
        let there = snapshot_options().output_path(folder.path());
        light.try_snapshot_options("light", &there).expect_err("the sheet of keys is no small difference");
    }
    light.snapshot_options("help", &snapshot_options());
    results.extend_harness(&mut light);
    results.unwrap();
}

fn png_size(bytes: &[u8]) -> (u32, u32) {
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (side(16), side(20))
}

#[test]
fn a_picture_needs_no_display() {
    if crate::adapter::adapter_names().is_empty() {
        eprintln!("skipped: nothing here can draw");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (picture, report) = (folder.path().join("d.png"), folder.path().join("d.json"));
    let mut command = auricle();
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command.args(["dashboard", "--demo", "--device", "cpu", "--after", "4", "--size", "1024x640", "--scale", "1.5"]);
    command.arg("--screenshot").arg(&picture).arg("--report").arg(&report);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&picture).unwrap();
    assert_eq!(png_size(&bytes), (1536, 960));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["streams"].as_array().map(Vec::len), Some(8), "{}", report["streams"]);
    for qos in ["high", "default", "low"] {
        assert!(report["snapshot"]["qos"][qos]["done"].as_u64() > Some(3), "the demo works at every level");
    }
    // It does not write over what is there.
    let again = command.output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
}

#[test]
fn what_it_cannot_do_it_says() {
    for (arguments, part) in [
        (&["--size", "100x100"][..], "1024x640"),
        (&["--size", "wide"], "1024x640"),
        (&["--after", "-3"], "0 to 86400"),
        (&["--background", "150"], "0 to 100"),
        (&["--gate", "loud"], "-60dB"),
        (&["--denoise", "nothing.safetensors"], "nothing.safetensors"),
        (&["nowhere.wav"], "does not exist"),
        (&["--qos", "urgent"], "high, default or low"),
        (&["--connect", "http://127.0.0.1:1", "--demo"], "cannot be used with"),
        (&["--scale", "2"], "--screenshot"),
    ] {
        let output = auricle().arg("dashboard").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    if cfg!(target_os = "linux") {
        let mut command = auricle();
        command.args(["dashboard", "--device", "cpu"]).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("no display") && text.contains("--screenshot"), "{text}");
    }
}

/// A display without a screen.
struct Xvfb {
    server: std::process::Child,
    display: String,
}

impl Xvfb {
    fn start() -> Option<Self> {
        let is_there = Command::new("Xvfb").arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        let libraries = ["libXcursor.so.1", "libXi.so.6", "libxkbcommon-x11.so.0"];
        let has = |name: &str| {
            let listed = Command::new("ldconfig").arg("-p").output();
            listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(name))
        };
        if !is_there || !libraries.iter().all(|name| has(name)) || crate::adapter::adapter_names().is_empty() {
            eprintln!("skipped: a window needs Xvfb, {libraries:?} and a driver to draw with");
            return None;
        }
        let display = format!(":{}", 200 + std::process::id() % 500);
        let server = Command::new("Xvfb")
            .args([&display, "-screen", "0", "1400x900x24", "-noreset", "-nolisten", "tcp"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let socket = PathBuf::from(format!("/tmp/.X11-unix/X{}", &display[1..]));
        let begin = Instant::now();
        while !socket.exists() && begin.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { server, display })
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

#[test]
fn a_real_window_shows_live_data_and_closes_while_busy() {
    let Some(x) = Xvfb::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = auricle();
    command.env("DISPLAY", &x.display).env_remove("WAYLAND_DISPLAY");
    command.args(["dashboard", "--demo", "--device", "cpu", "--after", "6", "--report"]).arg(&report);
    let begin = Instant::now();
    let output = command.output().unwrap();
    let (took, text) = (begin.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{text}");
    assert!(took < Duration::from_secs(25), "it should close while jobs run, and took {took:?}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let points = report["points"].as_array().unwrap();
    let first = points.iter().find(|point| point["frames_per_s"].as_f64() > Some(0.0)).unwrap();
    assert!(first["at_s"].as_f64() < Some(3.0), "live data within 3 s, not {}", first["at_s"]);
    assert!(report["snapshot"]["qos"]["high"]["done"].as_u64() > Some(20), "{}", report["snapshot"]["qos"]["high"]);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let window = WindowOptions {
        after: Some(Duration::ZERO),
        report: Some("/nowhere/at-all.json".into()),
        ..WindowOptions::default()
    };
    if crate::adapter::adapter_names().is_empty() {
        eprintln!("skipped: nothing here can draw");
        return;
    }
    let error = auricle::dashboard::picture(on_cpu(), &window).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at-all.json"), "{error}");
}
