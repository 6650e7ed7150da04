//! `/v1/snapshot`: all figures of the engine, for pages and dashboards.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::query::Params;
use super::{App, Problem};
use crate::{DeviceInfo, Snapshot};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SnapshotQuery {
    /// Whether to tell what each lane did last, up to 256 spans of each.
    #[param(default = false)]
    spans: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Figures {
    version: &'static str,
    device: DeviceInfo,
    #[serde(flatten)]
    snapshot: Snapshot,
}

impl App {
    /// On a thread that may wait: a device that is being replaced says nothing until it is.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Problem> {
        let engine = self.engine.clone();
        let taken = tokio::task::spawn_blocking(move || engine.snapshot()).await;
        Ok(taken.map_err(|_panicked| Problem::internal("the snapshot ended without an answer"))??)
    }
}

/// All figures of the engine, as they are now: `Snapshot` of the crate. Times are `{secs, nanos}`.
#[utoipa::path(get, path = "/v1/snapshot", tag = "engine", params(SnapshotQuery), responses(
    (status = 200, description = "the crate's `Snapshot`, with `version` and `device`", body = Object),
    (status = 400, description = "`bad-query`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    Params(query): Params<SnapshotQuery>,
) -> Result<Json<impl Serialize>, Problem> {
    let mut snapshot = app.snapshot().await?;
    if !query.spans.unwrap_or(false) {
        snapshot.lanes.iter_mut().for_each(|lane| lane.spans.clear());
    }
    Ok(Json(Figures { version: env!("CARGO_PKG_VERSION"), device: app.engine.device().clone(), snapshot }))
}
