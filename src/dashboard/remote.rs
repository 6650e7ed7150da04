//! Another process's engine, through `auricle serve`.

use std::time::Duration;

use super::desk::{Shared, State};
use super::history::Suggestion;
use crate::error::{Error, Result};
use crate::qos::{PerQos, Qos};
use crate::{DeviceInfo, Snapshot};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Of those, how many until it is asked for batches again.
const HINTS_EVERY: u32 = 4;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of an answer, at most.
const LARGEST_ANSWER: u64 = 16 << 20;

/// A service to look at.
pub(super) struct Remote {
    url: String,
    token: Option<String>,
    agent: ureq::Agent,
}

#[derive(Debug, serde::Deserialize)]
struct Answer {
    device: DeviceInfo,
    #[serde(flatten)]
    snapshot: Snapshot,
}

#[derive(Debug, serde::Deserialize)]
struct Hint {
    suggested_batch: usize,
    reason: String,
}

impl Remote {
    /// # Errors
    /// [`Error::Setting`] when that is no address of a service.
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self> {
        let expected = "give it as http://127.0.0.1:7870";
        let (scheme, place) = url.split_once("://").unwrap_or(("http", url));
        let refused = |expected: &str| Err(Error::setting("the address of the service", format!("`{url}`"), expected));
        if scheme != "http" {
            return refused("only http is spoken here; for https, put a tunnel in between");
        }
        let address = format!("http://{}", place.trim_end_matches('/'));
        let parsed = address.parse::<ureq::http::Uri>().ok();
        if parsed.is_none_or(|uri| uri.host().is_none_or(str::is_empty)) {
            return refused(expected);
        }
        let url = address;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self { url, token, agent })
    }

    /// Looks until the dashboard ends.
    pub(super) fn watch(&self, shared: &Shared) {
        let mut hints = None;
        let mut turn = 0;
        while !shared.quits() {
            match self.get::<Answer>("/v1/snapshot?spans=true") {
                Ok(Answer { device, snapshot }) => {
                    let now_s = shared.now_s();
                    if turn % HINTS_EVERY == 0 {
                        let targets = *super::desk::lock(&shared.targets);
                        hints = Some(PerQos::from_fn(|qos| self.hint(qos, targets[qos]).unwrap_or_default()));
                    }
                    let mut figures = shared.figures();
                    figures.history.add(now_s, snapshot, hints.as_ref());
                    (figures.state, figures.device) = (State::Running, Some(device));
                    turn += 1;
                }
                Err(error) => {
                    let next = format!("Start `auricle serve` there, or check the address. Trying {} again.", self.url);
                    let mut figures = shared.figures();
                    figures.history.may_be_another = true;
                    figures.state = State::Failed { error, next };
                }
            }
            shared.rest(LOOK_EVERY);
        }
    }

    fn hint(&self, qos: Qos, target: Duration) -> Option<Suggestion> {
        let target_ms = 1e3 * target.as_secs_f64();
        let hint: Hint = self.get(&format!("/gpu/hints?qos={qos}&target_latency_ms={target_ms}")).ok()?;
        Some(Suggestion { frames: hint.suggested_batch, reason: hint.reason })
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> std::result::Result<T, String> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().map_err(|error| format!("{} cannot be reached: {error}", self.url))?;
        let status = answer.status();
        if status.as_u16() == 401 {
            return Err(format!("{} wants a token: give it with --token-file", self.url));
        }
        if !status.is_success() {
            return Err(format!("{}{path} answers with {status}", self.url));
        }
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.map_err(|error| format!("{} broke off: {error}", self.url))?;
        serde_json::from_slice(&body)
            .map_err(|error| format!("{} answers, but not as `auricle serve` of this version does: {error}", self.url))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::Remote;
    use crate::dashboard::desk::{Shared, State, lock};
    use crate::qos::{PerQos, Qos};
    use crate::telemetry::{CompiledSnapshot, Health, LaneSnapshot, Snapshot, Span, WorkSnapshot};
    use crate::{DeviceInfo, DeviceKind};

    /// What a service says that has been up for so long, and has just done a job.
    fn answer(uptime_s: u64) -> String {
        let uptime = Duration::from_secs(uptime_s);
        let ago = |ms: u64| uptime - Duration::from_millis(ms);
        let spans = vec![Span { job: Arc::from("a job"), begin: ago(200), end: ago(100) }];
        let snapshot = Snapshot {
            uptime,
            qos: PerQos::default(),
            lanes: vec![LaneSnapshot { qos: Qos::Low, index: 0, occupancy: 0.1, spans }],
            streams: Vec::new(),
            work: WorkSnapshot::default(),
            plans: Vec::new(),
            compiled: CompiledSnapshot::default(),
            devices: PerQos::default(),
            memory: None,
            health: Health::default(),
        };
        let device = DeviceInfo {
            name: "cpu".to_owned(),
            kind: DeviceKind::Cpu,
            backend: "native".to_owned(),
            driver: String::new(),
            features: Vec::new(),
        };
        let mut answer = serde_json::to_value(&snapshot).expect("a snapshot is JSON");
        answer["device"] = serde_json::to_value(&device).expect("so is a device");
        answer.to_string()
    }

    /// Answers with what there is; with an error while there is nothing.
    fn service(body: &Arc<Mutex<Option<String>>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port should be free");
        let address = listener.local_addr().expect("it should have an address");
        let body = Arc::clone(body);
        let serve = move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { continue };
                let lines = BufReader::new(&connection).lines().map_while(Result::ok);
                // A request ends with an empty line.
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let body = lock(&body).clone();
                let status = if body.is_some() { "200 OK" } else { "503 Service Unavailable" };
                let body = body.unwrap_or_default();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // Whoever asked may be gone.
                connection.write_all((head + &body).as_bytes()).ok();
            }
        };
        std::thread::Builder::new().name("test.service".to_owned()).spawn(serve).expect("a thread should start");
        format!("http://{address}")
    }

    #[test]
    fn a_service_that_was_away_comes_back_with_a_clock_of_its_own() {
        let body = Arc::new(Mutex::new(Some(answer(10))));
        let remote = Remote::new(&service(&body), None).expect("that is an address");
        let shared = Shared::new();
        let watched = Arc::clone(&shared);
        let watch = std::thread::Builder::new().name("test.watch".to_owned()).spawn(move || remote.watch(&watched));
        let until = |what: &str, is_so: &dyn Fn(&State) -> bool| {
            let begin = Instant::now();
            while !is_so(&shared.figures().state) {
                assert!(begin.elapsed() < Duration::from_secs(30), "{what} did not come true");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        until("an answer", &|state| *state == State::Running);
        *lock(&body) = None;
        until("its end", &|state| matches!(state, State::Failed { .. }));
        // Another one, which has been up for longer than the first one had been.
        *lock(&body) = Some(answer(20));
        until("another answer", &|state| *state == State::Running);
        {
            let figures = shared.figures();
            let end_s = figures.history.lanes[0].spans.back().map(|span| span.end_s);
            let last_s = figures.history.last_s;
            assert!(end_s.is_some_and(|end_s| end_s < last_s), "{end_s:?} is before {last_s}, when it was told");
        }
        shared.quit();
        watch.expect("a thread should start").join().expect("it should end well");
    }
}
