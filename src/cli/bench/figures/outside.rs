//! Peers in other processes, which take their turns when they are told to.
//!
//! A peer is a command that says what it has in one line of JSON, then answers one line for each line:
//!
//! ```text
//! {"peers": [{"name": "scipy.fft", "figures": ["filter.hot.1t"]}], "versions": {"scipy": "1.15"}, "skipped": {"torch": "why"}}
//! <- {"run": "scipy.fft", "seconds": 0.02}
//! {"rate": 123456.7}                                in the unit of the figures, or {"error": "why"}
//! ```

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::turns::{FigureResult, Member};

/// How long a peer may take to say what it has: it may have packages to install.
const TO_BEGIN: Duration = Duration::from_secs(900);
/// How long a turn may take, beyond the time that it was asked for.
const TO_ANSWER: Duration = Duration::from_secs(60);

/// What a peer says of itself.
#[derive(Debug, serde::Deserialize)]
struct Hello {
    peers: Vec<Offer>,
    #[serde(default)]
    versions: BTreeMap<String, String>,
    #[serde(default)]
    skipped: BTreeMap<String, String>,
}

#[derive(Clone, Debug, serde::Deserialize)]
struct Offer {
    name: String,
    figures: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Rate(f64),
    Error(String),
}

/// Commands that are peers.
#[derive(Debug, Default)]
pub(super) struct Outside {
    processes: Vec<(Rc<RefCell<Process>>, Vec<Offer>)>,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) skipped: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Process {
    command: String,
    child: Child,
    to: ChildStdin,
    lines: Receiver<io::Result<String>>,
    /// How long a turn may take, beyond the time that it was asked for.
    patience: Duration,
}

impl Outside {
    /// Starts commands, each of which a shell understands, and which learn how many threads ours have.
    pub(super) fn start(commands: &[String], threads: usize) -> Result<Self> {
        let mut outside = Self::default();
        for command in commands {
            let mut process = Process::start(command, threads)?;
            let hello: Hello =
                process.line(TO_BEGIN).with_context(|| format!("the peer `{command}` should say what it has"))?;
            outside.versions.extend(hello.versions);
            outside.skipped.extend(hello.skipped);
            outside.processes.push((Rc::new(RefCell::new(process)), hello.peers));
        }
        Ok(outside)
    }

    /// Those that offer none of these figures.
    pub(super) fn idle(&self, figures: &[FigureResult]) -> Vec<(String, String)> {
        let offers = self.processes.iter().flat_map(|(_, offers)| offers);
        let is_idle = |offer: &&Offer| !offer.figures.iter().any(|name| figures.iter().any(|own| own.name == *name));
        let told =
            |offer: &Offer| (offer.name.clone(), format!("nothing here is called {}", offer.figures.join(" or ")));
        offers.filter(is_idle).map(told).collect()
    }

    /// Puts those that offer figures of the group into it.
    pub(super) fn join<'a>(&self, group: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let mut peers = Vec::new();
        let mut own = group;
        for (process, offers) in &self.processes {
            for offer in offers {
                let fits = |member: &Member<'_>| offer.figures.iter().any(|figure| figure == member.name());
                let Some(unit) = own.iter().find(|member| fits(member)).map(Member::unit) else { continue };
                own =
                    own.into_iter().map(|member| if fits(&member) { member.vs(&offer.name) } else { member }).collect();
                let (process, name) = (Rc::clone(process), offer.name.clone());
                peers.push(Member::peer_turn(&offer.name, unit, move |seconds| {
                    process.borrow_mut().turn(&name, seconds)
                }));
            }
        }
        own.extend(peers);
        own
    }
}

impl Process {
    fn start(command: &str, threads: usize) -> Result<Self> {
        let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
        shell.args([if cfg!(windows) { "/C" } else { "-c" }, command]);
        shell.env("AURICLE_BENCH_THREADS", threads.to_string());
        // What the shell starts is ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting the peer `{command}`"))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { bail!("a peer without pipes") };
        // A pipe can only be waited for without an end; a thread of its own does that.
        let (told, lines) = bounded(1);
        let listen = move || BufReader::new(from).lines().try_for_each(|line| told.send(line));
        std::thread::Builder::new().name("auricle.peer".to_owned()).spawn(listen)?;
        Ok(Self { command: command.to_owned(), child, to, lines, patience: TO_ANSWER })
    }

    fn line<T: serde::de::DeserializeOwned>(&mut self, patience: Duration) -> Result<T> {
        let line = match self.lines.recv_timeout(patience) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Disconnected) => bail!("the peer `{}` ended", self.command),
            Err(RecvTimeoutError::Timeout) => {
                // What it says later would be taken for another answer.
                self.end();
                bail!("the peer `{}` said nothing for {} s, and was ended", self.command, patience.as_secs_f64())
            }
        };
        serde_json::from_str(&line).with_context(|| format!("the peer `{}` said {}", self.command, line.trim()))
    }

    fn turn(&mut self, name: &str, seconds: f64) -> Result<f64> {
        writeln!(self.to, "{}", serde_json::json!({"run": name, "seconds": seconds}))?;
        self.to.flush()?;
        match self.line(self.patience + Duration::from_secs_f64(seconds))? {
            Answer::Rate(rate) => Ok(rate),
            Answer::Error(error) => bail!("the peer {name}: {error}"),
        }
    }

    fn end(&mut self) {
        #[cfg(unix)]
        Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.child.id())])
            .stderr(Stdio::null())
            .status()
            .ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::turns::{Effort, measure};
    use super::*;

    #[test]
    fn a_peer_takes_turns_beside_the_figures_that_it_offers() {
        let script = r#"echo '{"peers": [{"name": "half", "figures": ["a"]}, {"name": "else", "figures": ["b"]}],
            "versions": {"half": "1"}}' | tr -d '\n'; echo; while read line; do echo '{"rate": 50}'; done"#;
        let outside = Outside::start(&[script.to_owned()], 1).unwrap();
        assert_eq!(outside.versions["half"], "1");
        let group = outside.join(vec![Member::own_turn("a", "frames/s", |_| Ok(100.0))]);
        let measured = measure(group, Effort { rounds: 2, turn_s: 0.0 }).unwrap();
        assert_eq!(measured.results.len(), 2);
        assert_eq!(measured.results[0].vs["half"], 2.0);
        assert_eq!((measured.results[1].name.as_str(), measured.results[1].unit.as_str()), ("half@a", "frames/s"));
    }

    #[test]
    fn peers_that_fail_are_named() {
        let told = |script: &str| match Outside::start(&[script.to_owned()], 1) {
            Err(error) => format!("{error:#}"),
            Ok(outside) => {
                let group = outside.join(vec![Member::own_turn("a", "frames/s", |_| Ok(100.0))]);
                let measured = measure(group, Effort { rounds: 1, turn_s: 0.0 }).unwrap();
                assert_eq!(measured.results.len(), 1, "ours is there");
                format!("{:?}", measured.failed)
            }
        };
        assert!(told("true").contains("the peer `true` ended"));
        assert!(told("echo hello").contains("the peer `echo hello` said hello"));
        let refuses = r#"echo '{"peers": [{"name": "p", "figures": ["a"]}]}'; read line; echo '{"error": "no GPU"}'"#;
        assert!(told(refuses).contains("no GPU"), "{}", told(refuses));
        let dies = r#"echo '{"peers": [{"name": "p", "figures": ["a"]}]}'; read line"#;
        assert!(told(dies).contains("ended"), "{}", told(dies));
    }

    #[test]
    fn a_peer_that_says_nothing_is_ended() {
        let mut process =
            Process::start(r#"echo '{"peers": [{"name": "p", "figures": ["a"]}]}'; sleep 600"#, 1).unwrap();
        let hello: Hello = process.line(TO_BEGIN).unwrap();
        assert_eq!(hello.peers.len(), 1);
        process.patience = Duration::from_millis(200);
        let silent = process.turn("p", 0.0).unwrap_err().to_string();
        assert!(silent.contains("said nothing"), "{silent}");
        // What it started is gone as well: the pipe is closed at both ends.
        let ended = process.turn("p", 0.0).unwrap_err().to_string();
        assert!(!ended.contains("said nothing"), "{ended}");
    }
}
