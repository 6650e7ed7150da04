//! `auricle serve`, as a process: how it starts, what it refuses, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use crate::cli::{Folder, assert_refused, auricle, text};

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The process, and the address that it said it listens at.
fn start(more: &[&str]) -> (Process, String, BufReader<std::process::ChildStderr>) {
    let mut command = auricle(["serve", "--listen", "127.0.0.1:0", "--device", "cpu"]);
    let mut child = Process(command.args(more).stderr(Stdio::piped()).spawn().expect("the program should start"));
    let mut said = BufReader::new(child.0.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it listened");
        if let Some((_, rest)) = line.split_once("listening on ") {
            let url = rest.split(',').next().unwrap().trim().to_owned();
            return (child, url, said);
        }
    }
}

#[cfg(unix)]
#[test]
fn it_ends_well_when_it_is_told_to() {
    let (mut child, url, mut said) = start(&[]);
    let wav = std::fs::read("assets/noisy-speech.wav").unwrap();
    let mut answer = ureq::post(format!("{url}/v1/clean")).send(&wav[..]).unwrap();
    let clean = answer.body_mut().with_config().limit(1 << 24).read_to_vec().unwrap();
    // The same file through `auricle run`.
    let folder = Folder::new();
    let file = folder.path("clean.wav");
    let run = auricle(["run", "assets/noisy-speech.wav", "--device", "cpu", "-o"]).arg(&file).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(clean == std::fs::read(file).unwrap(), "another file than `auricle run` makes");
    let ended = std::process::Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().unwrap();
    assert!(ended.success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopped; nothing was left"), "{rest}");
}

#[test]
fn models_are_loaded_by_name() {
    let (_child, url, _said) = start(&["--load", "assets/auricle-small.safetensors"]);
    let samples = [0_u8; 4096];
    let path = |name: &str| format!("{url}/v1/clean?format=f32&sample_rate=16000&denoise={name}");
    assert_eq!(ureq::post(path("auricle-small")).send(&samples[..]).unwrap().status(), 200);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut refused = agent.post(path("other")).send(&samples[..]).unwrap();
    let problem = refused.body_mut().read_to_string().unwrap();
    assert!(problem.contains("unknown-model") && problem.contains("builtin, auricle-small, and off"), "{problem}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let folder = Folder::new();
    let short = folder.file("short", b"secret\n");
    let short = short.to_str().unwrap();
    for (arguments, code, needles) in [
        (&["--listen", "0.0.0.0:0"][..], 1, &["--token-file", "127.0.0.1"][..]),
        (&["--token-file", "nowhere"], 2, &["--token-file nowhere"]),
        (&["--token-file", short], 2, &["token", "16"]),
        (&["--load", "README.md"], 2, &["--load README.md"]),
        (&["--max-requests", "0"], 2, &["--max-requests"]),
        (&["--device", "no such adapter"], 1, &["no such adapter"]),
    ] {
        let mut command = auricle(["serve", "--device", "cpu"]);
        if arguments[0] == "--device" {
            command = auricle(["serve"]);
        }
        assert_refused(&command.args(arguments).output().unwrap(), code, needles);
    }
    // Two cannot have one port.
    let (_child, url, _said) = start(&[]);
    let taken = url.trim_start_matches("http://");
    let output = auricle(["serve", "--device", "cpu", "--listen", taken]).output().unwrap();
    assert_refused(&output, 1, &[taken, "another port"]);
}
