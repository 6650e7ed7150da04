//! Probes: whether it lives, and whether it can work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::{App, Problem};
use crate::HealthState;

/// How the service is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Probe {
    /// `alive`, `ready`, or `degraded`: ready, but another device does the work.
    #[schema(example = "ready")]
    status: &'static str,
    /// What happened to the device, if something did.
    reason: Option<String>,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, body = Probe)))]
pub(super) async fn livez() -> Json<Probe> {
    Json(Probe { status: "alive", reason: None })
}

/// Whether it can do its work: fails while no device can, and once it shuts down.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = Probe),
    (status = 503, description = "`device-lost` or `shutting-down`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Probe>, Problem> {
    if *app.draining.borrow() {
        return Err(Problem::draining());
    }
    let health = app.engine.health();
    let status = match health.state {
        HealthState::Good => "ready",
        HealthState::Degraded => "degraded",
        HealthState::Failed => {
            let reason = health.reason.unwrap_or_default();
            let detail = format!("no device can do the work: {reason}; start the service anew");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "device-lost", detail));
        }
    };
    Ok(Json(Probe { status, reason: health.reason }))
}
