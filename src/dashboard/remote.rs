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
#[derive(Clone)]
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
                    shared.figures().state = State::Failed { error, next };
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
