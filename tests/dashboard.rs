//! The dashboard, through its labels: every control does to the engine what it says; and what it shows is the engine's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auricle::dashboard::{Dashboard, DashboardOptions, Denoiser, Settings, Sound, Theme};
use auricle::{DeviceChoice, DeviceKind, EngineOptions, Fault, FaultPlan, FilterMode, PerQos, Qos};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use egui_kittest::{Harness, SnapshotOptions};

pub(crate) const LONG: Duration = Duration::from_secs(30);

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

pub(crate) fn on_cpu() -> DashboardOptions {
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
    let lines = held.lines().count();
    until(&mut window, "what came meanwhile", |window| window.state().0.export().0.lines().count() >= lines + 4);
    let (table, _) = window.state().0.export();
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
    let drops = document["snapshot"]["qos"].as_object().unwrap().values().filter_map(|qos| qos["dropped"].as_u64());
    let drops = drops.sum::<u64>();
    // Beyond that, thousands are told.
    let is_told = || window.query_by_label_contains(&format!("Drops: {drops}")).is_some();
    assert!(drops >= 10_000 || is_told(), "{drops} were dropped");
    // The mean over the last second.
    let points = document["points"].as_array().unwrap();
    let now_s = last["at_s"].as_f64().unwrap();
    let mean = |what: &str| {
        let recent = points.iter().filter(|point| point["at_s"].as_f64().unwrap() > now_s - 1.05);
        let values: Vec<f64> = recent.filter_map(|point| point[what].as_f64()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean("frames_per_s") > 10.0);
    let told = |tile: &str| {
        let node = window.get_by_label_contains(tile);
        let label = node.accesskit_node().label().unwrap();
        label.split([' ', ':']).filter_map(|word| word.parse::<f64>().ok()).next().unwrap()
    };
    let close = |tile: &str, value: f64| {
        let told = told(tile);
        assert!((told - value).abs() <= 0.006 * value.abs() + 0.05, "{tile} {told}, not {value}");
    };
    close("Throughput: ", mean("frames_per_s"));
    close("Sparsity: ", 100.0 * mean("sparsity"));
    assert!(window.query_by_label_contains("Device memory: host").is_some(), "the CPU's is the host's");
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
fn the_header_names_what_does_the_work_after_a_loss() {
    let Some(adapter) = crate::adapter::adapter_names().first() else { return };
    let streams = vec![(Sound::Tones, Qos::Default)];
    let settings = Settings { denoiser: Denoiser::Off, ..Settings::default() };
    let mut options = DashboardOptions { streams, settings, ..on_cpu() };
    options.engine.device = DeviceChoice::Named(adapter.clone());
    options.engine.faults = FaultPlan::new().at(40, Fault::Lost).refuse_to_open(1);
    let mut window = open(options);
    let others = format!("cpu, high: {adapter}, low: {adapter}");
    until(&mut window, "the adapter", |window| window.query_by_label(adapter).is_some());
    until(&mut window, "the CPU in its place", |window| {
        window.query_by_label("Degraded").is_some() && window.query_by_label(&others).is_some()
    });
    let snapshot = window.state().0.engine().unwrap().snapshot().unwrap();
    assert_eq!(snapshot.devices.default.map(|device| device.kind), Some(DeviceKind::Cpu));
    assert!(window.query_all_by_label("native").count() > 1, "its badge, and its backend");
}

/// As eframe hands over what was dropped into the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

#[test]
fn recordings_are_dropped_in_and_looked_at_channel_by_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two sides.wav");
    // Loud on the left, and nothing on the right.
    let tone = |n: usize| 0.5 * (n as f32 * 0.2).sin();
    let samples: Vec<f32> = (0..64_000).flat_map(|n| [tone(n), 0.0]).collect();
    std::fs::write(&path, crate::cli::wav(3, 32, 2, 16_000, &crate::cli::float_bytes(&samples))).unwrap();
    let mut window = open(DashboardOptions { streams: vec![(Sound::Tones, Qos::High)], ..on_cpu() });
    until(&mut window, "a stream", |window| streams(window).len() == 1);
    window.input_mut().dropped_files = vec![Arc::new(Dropped(path)), Arc::new(Dropped("/nowhere.wav".into()))];
    window.step();
    until(&mut window, "the recording", |window| window.query_by_label("Close two sides.wav 2").is_some());
    until(&mut window, "the reason", |window| window.query_by_label_contains("/nowhere.wav").is_some());
    assert_eq!(streams(&window), [(Qos::High, 1), (Qos::Default, 1)]);
    until(&mut window, "the first stream", |window| {
        window.query_by_label_contains("channel 1 of tones 1; in -").is_some()
    });
    choose(&mut window, "Stream to look at", "two sides.wav 2");
    until(&mut window, "the second stream", |window| {
        window.query_by_label_contains("channel 1 of two sides.wav 2; in -").is_some()
    });
    choose(&mut window, "Channel to look at", "channel 2");
    until(&mut window, "its other channel", |window| {
        window.query_by_label_contains("channel 2 of two sides.wav 2").is_some()
    });
    // What is looked at goes away.
    click(&mut window, "Close two sides.wav 2");
    until(&mut window, "the first stream again", |window| {
        window.query_by_label_contains("channel 1 of tones 1").is_some()
    });
}

#[test]
fn the_device_is_chosen_from_its_list() {
    let Some(adapter) = crate::adapter::adapter_names().first() else { return };
    let settings = Settings { denoiser: Denoiser::Off, ..Settings::default() };
    let mut window = open(DashboardOptions { streams: vec![(Sound::Tones, Qos::Default)], settings, ..on_cpu() });
    until(&mut window, "a stream", |window| streams(window).len() == 1);
    let kind = |window: &Window| window.state().0.engine().map(|engine| engine.device().kind);
    assert_eq!(kind(&window), Some(DeviceKind::Cpu));
    choose(&mut window, "Device", &format!("{adapter} (vulkan)"));
    until(&mut window, "the adapter", |window| kind(window).is_some_and(|kind| kind != DeviceKind::Cpu));
    until(&mut window, "its name", |window| window.query_by_label(adapter).is_some());
    until(&mut window, "work on it", |window| frames(window) > 10);
    until(&mut window, "its memory", |window| window.query_by_label_contains("Device memory: host").is_none());
    choose(&mut window, "Device", "cpu (native)");
    until(&mut window, "the CPU", |window| kind(window) == Some(DeviceKind::Cpu) && frames(window) > 10);
}

#[test]
fn a_model_file_is_taken_by_its_path() {
    let mut window = open(DashboardOptions { streams: vec![(Sound::Tones, Qos::Default)], ..on_cpu() });
    until(&mut window, "a stream", |window| streams(window).len() == 1);
    let enter = |window: &mut Window, path: &str| {
        window.get_by_label("Path of a model file").focus();
        window.run_steps(2);
        window.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
        window.run_steps(2);
        window.get_by_label("Path of a model file").type_text(path);
        window.run_steps(2);
        window.key_press(egui::Key::Enter);
        window.run_steps(2);
    };
    enter(&mut window, "/nowhere.safetensors");
    until(&mut window, "the reason", |window| window.query_by_label_contains("/nowhere.safetensors").is_some());
    assert_eq!(window.state().0.settings().denoiser, Denoiser::Builtin, "what ran goes on");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/auricle-small.safetensors");
    enter(&mut window, path);
    until(&mut window, "the model", |window| window.state().0.settings().denoiser == Denoiser::File(path.into()));
    let before = frames(&window);
    until(&mut window, "work with it", |window| frames(window) > before + 10);
}

#[test]
fn the_buttons_of_the_header_save_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        DashboardOptions { streams: vec![(Sound::Tones, Qos::High)], folder: folder.path().into(), ..on_cpu() };
    let mut window = open(options);
    until(&mut window, "points", |window| window.state().0.export().0.lines().count() > 4);
    let saved = |extension: &str| -> Vec<PathBuf> {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|name| name.extension().is_some_and(|found| found == extension)).collect()
    };
    click(&mut window, "Export");
    assert_eq!((saved("csv").len(), saved("json").len()), (1, 1));
    click(&mut window, "Help");
    assert!(window.query_by_label("Keys").is_some());
    click(&mut window, "Help");
    assert!(window.query_by_label("Keys").is_none());
    click(&mut window, "Save PNG");
    until(&mut window, "word of it", |window| window.query_by_label_contains("saved ").is_some());
    until(&mut window, "a picture", |_| saved("png").len() == 1);
    window.key_press(egui::Key::P);
    until(&mut window, "another one", |_| saved("png").len() == 2);
    for name in saved("png") {
        assert_eq!(crate::dashboard_window::png_size(&std::fs::read(name).unwrap()), (1280, 800));
    }
    std::fs::remove_dir_all(folder.path()).unwrap();
    click(&mut window, "Export");
    assert!(window.query_by_label_contains("not exported into").is_some());
}

#[test]
fn without_a_device_it_says_what_to_do_and_does_it() {
    let mut options = DashboardOptions { streams: vec![(Sound::Tones, Qos::Default)], ..on_cpu() };
    options.engine.device = DeviceChoice::Named("no such device".to_owned());
    let mut window = open(options);
    until(&mut window, "the error", |window| window.query_by_label("No engine").is_some());
    assert!(window.query_by_label_contains("no such device").is_some(), "the error as it came");
    assert!(window.query_by_label("Failed").is_some());
    assert!(window.query_by_label_contains("Choose another device").is_some(), "what to do");
    click(&mut window, "Use the CPU");
    until(&mut window, "an engine", |window| window.query_by_label("Running").is_some());
    until(&mut window, "the stream that was asked for", |window| streams(window) == [(Qos::Default, 1)]);
}

#[test]
fn settings_that_no_engine_takes_are_mended_in_the_window() {
    let settings = Settings { gate_db: Some(800.0), denoiser: Denoiser::Off, ..Settings::default() };
    let streams_of = vec![(Sound::Tones, Qos::Default)];
    let mut window = open(DashboardOptions { settings, streams: streams_of, ..on_cpu() });
    until(&mut window, "the error", |window| window.query_by_label("No engine").is_some());
    assert!(window.query_by_label_contains("the gate's threshold").is_some(), "the error as it came");
    assert!(window.query_by_label("Change the stages on the left.").is_some(), "what to do");
    // Wrong once more, and then right.
    click(&mut window, "Filter seamless");
    until(&mut window, "another try", |window| window.state().0.settings().filter == Some(FilterMode::Seamless));
    until(&mut window, "its error", |window| window.query_by_label("Failed").is_some());
    window.get_by_label("Gate threshold").set_value_accesskit(-50.0);
    until(&mut window, "an engine", |window| window.query_by_label("Running").is_some());
    assert_eq!(window.state().0.settings().gate_db, Some(-50.0));
    until(&mut window, "the stream that was asked for", |window| streams(window) == [(Qos::Default, 1)]);
    until(&mut window, "work", |window| frames(window) > 5);
}

#[test]
fn settings_that_no_slider_has_stay_as_they_are_until_somebody_moves_one() {
    for gate_db in [-45.5, -200.0] {
        let settings = Settings { gate_db: Some(gate_db), strength: 0.33, ..Settings::default() };
        let mut window = open(DashboardOptions { settings: settings.clone(), ..on_cpu() });
        until(&mut window, "the engine", |window| window.state().0.engine().is_some());
        window.run_steps(10);
        // Whatever was asked for before the stream has been done when that is there.
        click(&mut window, "Add stream");
        until(&mut window, "a stream", |window| streams(window).len() == 1);
        assert_eq!(window.state().0.settings(), settings);
    }
}

#[test]
#[cfg(feature = "serve")]
fn another_process_is_watched_through_its_service() {
    let mut server = crate::server::plain();
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
        let what = format!("the pictures of the dashboard, which are those of lavapipe: this machine has {names:?}");
        crate::adapter::skipped(&what);
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
