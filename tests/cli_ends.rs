//! Runs that are told to stop, are killed, or have no room: what stays, and what is said.

use std::path::Path;
use std::process::{Command, Output, Stdio};

#[cfg(target_os = "linux")]
use crate::adapter::skipped;
use crate::cli::{Folder, assert_refused, auricle, float_bytes, run, text};
use crate::signals::noise;

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let input = folder.file("in.f32", &float_bytes(&noise(100_000, 1)));
    let full = run(&input, Path::new("/dev/full"), &[]);
    assert_refused(&full, 1, &["/dev/full", "space"]);
    assert_refused(&run(&input, Path::new("/proc/auricle-test.f32"), &[]), 1, &["/proc"]);
}

/// Starts a run that replaces `older`, sends the signal once something is being written, and returns how it ended.
fn signalled(folder: &Folder, older: &Path, signal: &str) -> Output {
    use std::io::Write as _;
    let options = ["--format", "f32", "--sample-rate", "48000", "--device", "cpu", "--force", "--denoise", "off"];
    let mut child = auricle(["run", "-"])
        .args(options)
        .arg("-o")
        .arg(older)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open and silent: the wish to stop must be heard all the same.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&float_bytes(&noise(200_000, 1))).unwrap();
    let started = std::time::Instant::now();
    while !folder.names().iter().any(|name| name.starts_with(".auricle")) {
        assert!(started.elapsed().as_secs() < 20, "a temporary file should appear");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    output
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let older = folder.file("out.f32", b"precious");
        let output = signalled(&folder, &older, signal);
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("interrupted"), "{signal}: {}", text(&output.stderr));
        assert_eq!(folder.names(), ["out.f32"], "{signal}: no half file");
        assert_eq!(std::fs::read(&older).unwrap(), b"precious", "{signal}: the older file is as it was");
    }
}

#[test]
fn a_kill_damages_no_older_file_and_is_in_nobodys_way() {
    let folder = Folder::new();
    let older = folder.file("out.f32", b"precious");
    let output = signalled(&folder, &older, "-KILL");
    assert_eq!(output.status.code(), None, "it had no chance to end");
    assert_eq!(std::fs::read(&older).unwrap(), b"precious", "the older file is as it was");
    let left = folder.names();
    assert!(left.len() == 2 && left[0].starts_with(".auricle"), "a hidden file stays: {left:?}");
    let input = folder.file("in.f32", &float_bytes(&noise(2000, 1)));
    let again = run(&input, &older, &["--sample-rate", "48000", "--force"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(std::fs::metadata(&older).unwrap().len(), 8000, "the next run replaces it");
}

/// In a file system of 256 KiB, which only a user namespace may mount.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_keeps_the_older_file() {
    let folder = Folder::new();
    let disk = folder.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let input = folder.file("in.f32", &float_bytes(&noise(400_000, 1)));
    let script = "mount -t tmpfs -o size=256k none \"$1\" || exit 77
        printf precious > \"$1/out.f32\"
        \"$2\" run \"$3\" -o \"$1/out.f32\" --force --sample-rate 48000 --device cpu --denoise off
        echo \"ended with $?\"; ls -A \"$1\"; cat \"$1/out.f32\"; exit 0";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([&disk, Path::new(env!("CARGO_BIN_EXE_auricle")), &input])
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        other => return skipped(&format!("no small file system to be had: {other:?}")),
    };
    assert!(
        text(&output.stderr).contains("out.f32") && text(&output.stderr).contains("space"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), "ended with 1\nout.f32\nprecious", "no half file, and the older one is as it was");
}

/// Whether a process has a handler for SIGTERM; after a while where nobody tells.
fn hears_term(id: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else {
        std::thread::sleep(std::time::Duration::from_secs(1));
        return true;
    };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(caught, 16).unwrap() & (1 << 14) != 0
}

/// What went to standard output cannot be taken back, and nobody says that it was.
#[test]
fn ctrl_c_says_of_a_stream_only_that_it_was_interrupted() {
    use std::io::Write as _;
    let mut child = auricle(["run", "-", "-o", "-", "--format", "f32", "--device", "cpu", "--denoise", "off"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&float_bytes(&noise(4096, 1))).unwrap();
    let started = std::time::Instant::now();
    while !hears_term(child.id()) {
        assert!(started.elapsed().as_secs() < 20, "it should listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let message = text(&output.stderr);
    assert!(message.contains("interrupted") && !message.contains("nothing was written"), "{message}");
}

/// Somebody may be listening: what goes into a named pipe comes out before its end.
#[cfg(target_os = "linux")]
#[test]
fn a_named_pipe_is_cleaned_while_it_is_open() {
    use std::io::{Read as _, Write as _};
    let folder = Folder::new();
    let pipe = folder.path("pipe.f32");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success(), "a pipe should be possible");
    // Open on both sides here, so that nobody waits for anybody.
    let mut into = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut child = auricle(["run", "-o", "-", "--sample-rate", "48000", "--device", "cpu"])
        .args(["--gate", "off", "--filter", "off", "--denoise", "off"])
        .arg(&pipe)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let samples = float_bytes(&noise(8192, 7));
    into.write_all(&samples).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (send, first) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::Builder::new().spawn(move || {
        let mut all = vec![0; 4096];
        stdout.read_exact(&mut all).unwrap();
        send.send(()).unwrap();
        stdout.read_to_end(&mut all).unwrap();
        all
    });
    let came = first.recv_timeout(std::time::Duration::from_secs(20));
    // It ends when nobody has the pipe open for writing.
    drop(into);
    let all = reader.unwrap().join().unwrap();
    assert!(child.wait().unwrap().success(), "it should end well");
    assert!(came.is_ok(), "something should come out while the pipe is open");
    assert!(all == samples, "and all of it in the end");
}

/// Waiting for somebody to open the other end of a pipe, the main thread hears nothing.
#[test]
fn ctrl_c_is_heard_while_a_pipe_is_opened() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success(), "a pipe should be possible");
    let mut child = auricle(["run", "--format", "f32", "--device", "cpu", "--denoise", "off"])
        .arg(&pipe)
        .arg("-o")
        .arg(folder.path("out.f32"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    while !hears_term(child.id()) {
        assert!(started.elapsed().as_secs() < 20, "it should listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed().as_secs() < 20, "it should have ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(folder.names(), ["pipe"], "nothing else is left");
}
