//! The dashboard as a program: a picture without a display, a window under Xvfb, and what it cannot do.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use auricle::dashboard::{DashboardOptions, WindowOptions};
use auricle::{Fault, FaultPlan};
use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};

use crate::adapter::{adapter_names, skipped};
use crate::dashboard::{LONG, on_cpu};

fn auricle() -> Command {
    crate::cli::auricle([] as [&str; 0])
}

pub(crate) fn png_size(bytes: &[u8]) -> (u32, u32) {
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (side(16), side(20))
}

#[test]
fn a_picture_needs_no_display() {
    if adapter_names().is_empty() {
        return skipped("nothing here can draw");
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
        if !is_there || !libraries.iter().all(|name| has(name)) || adapter_names().is_empty() {
            skipped(&format!("a window needs Xvfb, {libraries:?} and a driver to draw with"));
            return None;
        }
        // It takes a number that is free, and tells it when it is there.
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1400x900x24", "-noreset", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb should start");
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut number).expect("Xvfb should tell");
        assert!(!number.trim().is_empty(), "Xvfb has no display");
        Some(Self { server, display: format!(":{}", number.trim()) })
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

/// Asks a window to close, as a window manager does.
fn close(display: &str, window: u32) {
    let (connection, _) = x11rb::connect(Some(display)).unwrap();
    let atom = |name: &[u8]| connection.intern_atom(false, name).unwrap().reply().unwrap().atom;
    let data = [atom(b"WM_DELETE_WINDOW"), x11rb::CURRENT_TIME, 0, 0, 0];
    let message = ClientMessageEvent::new(32, window, atom(b"WM_PROTOCOLS"), data);
    connection.send_event(false, window, EventMask::NO_EVENT, message).unwrap().check().unwrap();
}

/// Set where this test is its own window.
const CHILD: &str = "AURICLE_TEST_WINDOW";

/// The window, in a process of its own: it loses its engine's device, is made larger and smaller, is asked for a picture, and
/// is closed in the midst of that.
#[test]
fn a_real_window_survives_a_lost_device_and_another_size() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = PathBuf::from(folder);
        let mut options =
            DashboardOptions { engine: on_cpu().engine, folder: folder.clone(), ..DashboardOptions::demo() };
        options.engine.faults = FaultPlan::new().at(200, Fault::Lost);
        let window = WindowOptions {
            after: Some(Duration::from_secs(60)),
            report: Some(folder.join("report.json")),
            ..WindowOptions::default()
        };
        return auricle::dashboard::run(options, window).unwrap();
    }
    let Some(x) = Xvfb::start() else { return };
    let has_xdotool = Command::new("xdotool").arg("version").stdout(Stdio::null()).status().is_ok();
    if !has_xdotool {
        return skipped("without xdotool nobody can resize a window");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["dashboard_window::a_real_window_survives_a_lost_device_and_another_size", "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .env("DISPLAY", &x.display)
        .env_remove("WAYLAND_DISPLAY")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let xdotool = |arguments: &[&str]| {
        let output = Command::new("xdotool").args(arguments).env("DISPLAY", &x.display).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let patiently = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < LONG, "{what} did not come true");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let mut window = String::new();
    patiently("a window", &mut || {
        let (found, names) = xdotool(&["search", "--onlyvisible", "--name", "^auricle$"]);
        names.clone_into(&mut window);
        found && !window.is_empty()
    });
    let pictures = || -> Vec<(u32, u32)> {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let pictures = names.filter(|name| name.extension().is_some_and(|extension| extension == "png"));
        pictures
            .filter_map(|name| std::fs::read(name).ok().filter(|bytes| bytes.len() > 64))
            .map(|bytes| png_size(&bytes))
            .collect()
    };
    for size in [(1100, 700), (1350, 850), (1024, 640)] {
        let (width, height): (u32, u32) = size;
        assert!(xdotool(&["windowsize", &window, &width.to_string(), &height.to_string()]).0);
        // What is pressed before the window has its new size shows the old one.
        patiently("a picture of this size", &mut || {
            xdotool(&["windowfocus", &window, "key", "p"]);
            std::thread::sleep(Duration::from_millis(400));
            pictures().contains(&size)
        });
    }
    xdotool(&["windowfocus", &window, "key", "e"]);
    let document = || -> Option<serde_json::Value> {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let name = names.into_iter().find(|name| name.extension().is_some_and(|extension| extension == "json"))?;
        serde_json::from_slice(&std::fs::read(name).ok()?).ok()
    };
    patiently("an export", &mut || document().is_some());
    let document = document().unwrap();
    assert_eq!(document["snapshot"]["health"]["state"], "degraded", "{}", document["snapshot"]["health"]);
    let frames =
        document["points"].as_array().unwrap().iter().rev().take(20).filter_map(|point| point["frames_per_s"].as_f64());
    assert!(frames.sum::<f64>() > 100.0, "it goes on after the loss");
    close(&x.display, window.parse().unwrap());
    patiently("its end", &mut || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let window = WindowOptions {
        after: Some(Duration::ZERO),
        report: Some("/nowhere/at-all.json".into()),
        ..WindowOptions::default()
    };
    if adapter_names().is_empty() {
        return skipped("nothing here can draw");
    }
    let error = auricle::dashboard::picture(on_cpu(), &window).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at-all.json"), "{error}");
}

#[test]
fn a_wrong_address_is_said_as_it_is() {
    let Some(x) = Xvfb::start() else { return };
    let mut command = auricle();
    command.args(["dashboard", "--connect", "https://example.org"]).env("DISPLAY", &x.display);
    let output = command.env_remove("WAYLAND_DISPLAY").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("http is spoken") && !text.contains("cannot be shown"), "{text}");
}
