//! `/gpu/hints`: how large the next batch should be.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::query::{Params, qos};
use super::{App, Problem};
use crate::{BatchAction, BatchHint, BoundBy, Qos};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HintsQuery {
    /// The level of service that the jobs have.
    #[param(value_type = Option<Qos>, default = "default")]
    qos: Option<String>,
    /// What 95 of 100 jobs should be answered within, in ms. It counts to two digits: 47.3 is 47.
    #[param(minimum = 0.01, maximum = 3_600_000, default = 50)]
    target_latency_ms: Option<f64>,
    /// How uncertain the client's data are, 0 to 1, as `qos_from_entropy` measures it: then a level is suggested for them.
    #[param(minimum = 0, maximum = 1)]
    entropy: Option<f32>,
}

/// How large the next batch should be, and why.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Hint {
    qos: Qos,
    target_latency_ms: f64,
    /// Frames that the next job should have, those of all its channels together: a power of two.
    #[schema(minimum = 1, maximum = 65536)]
    suggested_batch: usize,
    action: BatchAction,
    /// Why, in words.
    reason: String,
    /// What keeps the suggestion from being larger.
    bound_by: BoundBy,
    /// The level that would do better, with the action `shift_qos`.
    shift_to: Option<Qos>,
    /// The level for data of the entropy that was given.
    entropy_qos: Option<Qos>,
    /// From submission to the answer, of jobs of the suggested size, or of all where there were none; null without jobs.
    avg_latency_ms: Option<f64>,
    p95_latency_ms: Option<f64>,
    /// Jobs of the level that were answered, per second.
    qps: f64,
    /// The part of the time in which the device was at work, for any level.
    #[schema(minimum = 0, maximum = 1)]
    occupancy: f64,
    /// The part of the memory budget that is used; null where there is no budget.
    memory_pressure: Option<f64>,
    /// How long a time these figures are of.
    window_s: f64,
}

impl Hint {
    fn new(hint: BatchHint, entropy: Option<f32>) -> Self {
        let millis = |time: Duration| 1e3 * time.as_secs_f64();
        Self {
            qos: hint.qos,
            target_latency_ms: millis(hint.target_latency),
            suggested_batch: hint.suggested_batch,
            action: hint.action,
            reason: hint.reason,
            bound_by: hint.bound_by,
            shift_to: hint.shift_to,
            entropy_qos: entropy.map(|entropy| Qos::from_entropy(Some(entropy))),
            avg_latency_ms: hint.avg_latency.map(millis),
            p95_latency_ms: hint.p95_latency.map(millis),
            qps: hint.jobs_per_s,
            occupancy: hint.occupancy,
            memory_pressure: hint.memory_pressure,
            window_s: hint.window.as_secs_f64(),
        }
    }
}

/// How large the next batch should be, so that 95 of 100 jobs of a level keep a target of latency. All who ask for the same
/// get the same; it changes at most once in a window of about a second.
#[utoipa::path(get, path = "/gpu/hints", tag = "engine", params(HintsQuery), responses(
    (status = 200, body = Hint),
    (status = 400, description = "`unknown-qos`, `bad-target`, `bad-entropy` or `bad-query`", body = Problem,
     content_type = "application/problem+json"),
))]
pub(super) async fn hints(
    State(app): State<Arc<App>>,
    Params(query): Params<HintsQuery>,
) -> Result<Json<Hint>, Problem> {
    let qos = qos(query.qos.as_deref())?;
    let target_ms = query.target_latency_ms.unwrap_or(50.0);
    if !(0.01..=3.6e6).contains(&target_ms) {
        let detail = format!("target_latency_ms is {target_ms}, but 0.01 to 3600000 are allowed");
        return Err(Problem::bad_request("bad-target", detail));
    }
    if let Some(entropy) = query.entropy.filter(|entropy| !(0.0..=1.0).contains(entropy)) {
        return Err(Problem::bad_request("bad-entropy", format!("entropy is {entropy}, but 0 to 1 are allowed")));
    }
    let hint = app.engine.suggest_batch(qos, Duration::from_secs_f64(1e-3 * target_ms))?;
    Ok(Json(Hint::new(hint, query.entropy)))
}
