//! `/metrics`: all figures of the engine and of the service, for Prometheus. Names, labels and units stay as they are; labels
//! have few values: levels, lanes, outcomes, routes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{App, Problem};
use crate::{DeviceKind, Engine, Error, HealthState, Latency, Qos, Snapshot};

/// How often observations are put into their buckets, asked for or not.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bounds of the times of requests, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The exporter.
pub(super) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// And the thread that does its upkeep, until it is gone.
    pub(super) fn new(engine: &Engine) -> crate::Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Error::Device {
            device: engine.device().name.clone(),
            action: "starting the exporter of metrics",
            reason: error.to_string(),
        };
        let duration = Matcher::Full("auricle_http_request_duration_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(duration, &BUCKETS);
        let recorder = builder.map_err(|error: BuildError| failed(&error))?.build_recorder();
        let handle = recorder.handle();
        let recorder = Arc::new(recorder);
        let (alive, kept) = (Arc::downgrade(&recorder), handle.clone());
        let upkeep = std::thread::Builder::new().name("auricle.metrics".to_owned());
        upkeep.spawn(move || keep_up(&alive, &kept)).map_err(|error| failed(&error))?;
        with_local_recorder(&*recorder, || {
            describe();
            let device = engine.device();
            let labels = [
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
                ("device", device.name.clone()),
                ("backend", device.backend.clone()),
            ];
            gauge!("auricle_build_info", &labels).set(1.0);
        });
        Ok(Self { recorder, handle })
    }

    /// Counts an answer.
    pub(super) fn answered(&self, route: Option<String>, method: &'static str, status: StatusCode, took: Duration) {
        let route = route.unwrap_or_else(|| "none".to_owned());
        with_local_recorder(&*self.recorder, || {
            let status = status.as_str().to_owned();
            counter!("auricle_http_requests_total", "route" => route.clone(), "method" => method, "status" => status)
                .increment(1);
            histogram!("auricle_http_request_duration_seconds", "route" => route).record(took.as_secs_f64());
        });
    }
}

fn keep_up(alive: &Weak<PrometheusRecorder>, handle: &PrometheusHandle) {
    let mut ticks = 0_u32;
    while alive.strong_count() > 0 {
        // In steps: whoever waits for the process to end should not wait for this.
        std::thread::sleep(UPKEEP / 10);
        ticks += 1;
        if ticks.is_multiple_of(10) {
            handle.run_upkeep();
        }
    }
}

fn describe() {
    describe_gauge!("auricle_build_info", "always 1; labels tell the version and the device");
    describe_gauge!("auricle_uptime_seconds", Unit::Seconds, "time since the scheduler started");
    describe_gauge!("auricle_health", "0: good, 1: another device does the work, 2: no device can");
    describe_counter!("auricle_device_losses_total", "devices that failed");
    describe_counter!("auricle_jobs_admitted_total", "jobs that came in, by level");
    describe_counter!("auricle_jobs_refused_total", "jobs that were turned away because a queue was full");
    describe_counter!("auricle_jobs_answered_total", "jobs that were answered, by level and outcome");
    describe_gauge!("auricle_jobs_waiting", "jobs in the queue");
    describe_gauge!("auricle_jobs_in_flight", "submissions on the device");
    describe_gauge!("auricle_jobs_per_second", "results per second, over the last 10 s");
    describe_gauge!(
        "auricle_job_latency_seconds",
        Unit::Seconds,
        "latency over the last 10 s, by level, part and quantile"
    );
    describe_gauge!("auricle_lane_occupancy_ratio", "part of the last second in which a lane was busy");
    describe_counter!("auricle_stream_dropped_floats_total", "floats that live streams dropped, by level");
    describe_counter!("auricle_batches_total", "batches that went to a device");
    describe_counter!("auricle_frames_total", "frames that plans have worked on, by what the gate found");
    describe_gauge!("auricle_memory_used_bytes", Unit::Bytes, "device memory that the engine's buffers take");
    describe_gauge!("auricle_memory_budget_bytes", Unit::Bytes, "what they may take; absent without a budget");
    describe_counter!("auricle_memory_evicted_total", "buffers that had to leave for others");
    describe_gauge!("auricle_streams", "live streams, by level");
    describe_gauge!("auricle_stream_channels", "channels of live streams, by level");
    describe_counter!("auricle_http_requests_total", "requests that were answered, by route, method and status");
    describe_histogram!(
        "auricle_http_request_duration_seconds",
        Unit::Seconds,
        "from a request's head to its answer's"
    );
    describe_gauge!("auricle_http_cleaning", "requests to clean something that are worked on");
    describe_gauge!("auricle_http_streams", "WebSocket streams that are open");
}

/// All figures of the engine and of the service, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let snapshot = app.snapshot().await?;
    with_local_recorder(&*app.metrics.recorder, || {
        engine_figures(&snapshot);
        let taken = |most: usize, left: usize| most.saturating_sub(left) as f64;
        let (requests, streams) = (app.requests.available_permits(), app.streams.available_permits());
        gauge!("auricle_http_cleaning").set(taken(app.options.most_requests, requests));
        gauge!("auricle_http_streams").set(taken(app.options.most_streams, streams));
    });
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, app.metrics.handle.render()).into_response())
}

fn engine_figures(snapshot: &Snapshot) {
    gauge!("auricle_uptime_seconds").set(snapshot.uptime.as_secs_f64());
    gauge!("auricle_health").set(match snapshot.health.state {
        HealthState::Good => 0.0,
        HealthState::Degraded => 1.0,
        HealthState::Failed => 2.0,
    });
    counter!("auricle_device_losses_total").absolute(snapshot.health.losses);
    let work = &snapshot.work;
    counter!("auricle_batches_total").absolute(work.batches);
    let quiet = work.frames.saturating_sub(work.live + work.faulty);
    for (state, frames) in [("live", work.live), ("faulty", work.faulty), ("quiet", quiet)] {
        counter!("auricle_frames_total", "state" => state).absolute(frames);
    }
    for (qos, level) in snapshot.qos.iter() {
        let qos_name = qos.name();
        counter!("auricle_jobs_admitted_total", "qos" => qos_name).absolute(level.admitted);
        counter!("auricle_jobs_refused_total", "qos" => qos_name).absolute(level.refused);
        let outcomes = [
            ("done", level.done),
            ("failed", level.failed),
            ("cancelled", level.cancelled),
            ("expired", level.expired),
            ("shut_down", level.shut_down),
        ];
        for (outcome, count) in outcomes {
            counter!("auricle_jobs_answered_total", "qos" => qos_name, "outcome" => outcome).absolute(count);
        }
        counter!("auricle_stream_dropped_floats_total", "qos" => qos_name).absolute(level.dropped);
        gauge!("auricle_jobs_waiting", "qos" => qos_name).set(level.waiting as f64);
        gauge!("auricle_jobs_in_flight", "qos" => qos_name).set(level.in_flight as f64);
        gauge!("auricle_jobs_per_second", "qos" => qos_name).set(level.rate_hz);
        for (part, latency) in [("queue", level.queue), ("compute", level.compute), ("total", level.total)] {
            latencies(qos, part, &latency);
        }
        let streams = snapshot.streams.iter().filter(|group| group.qos == qos);
        gauge!("auricle_streams", "qos" => qos_name)
            .set(streams.clone().map(|group| group.streams).sum::<usize>() as f64);
        gauge!("auricle_stream_channels", "qos" => qos_name)
            .set(streams.map(|group| group.channels).sum::<usize>() as f64);
    }
    for lane in &snapshot.lanes {
        let index = lane.index.to_string();
        gauge!("auricle_lane_occupancy_ratio", "qos" => lane.qos.name(), "lane" => index).set(lane.occupancy);
    }
    // Where the CPU does all the work, nothing is taken any more of what it had been before.
    let mut devices = snapshot.devices.iter().map(|(_, device)| device);
    if devices.all(|device| device.as_ref().is_some_and(|device| device.kind == DeviceKind::Cpu)) {
        gauge!("auricle_memory_used_bytes").set(0.0);
    }
    if let Some(memory) = &snapshot.memory {
        gauge!("auricle_memory_used_bytes").set(memory.used_bytes as f64);
        counter!("auricle_memory_evicted_total").absolute(memory.evicted);
        if let Some(budget) = memory.budget_bytes {
            gauge!("auricle_memory_budget_bytes").set(budget as f64);
        }
    }
}

fn latencies(qos: Qos, part: &'static str, latency: &Latency) {
    for (quantile, time) in [("0.5", latency.p50), ("0.95", latency.p95), ("0.99", latency.p99), ("1", latency.max)] {
        let name = "auricle_job_latency_seconds";
        gauge!(name, "qos" => qos.name(), "part" => part, "quantile" => quantile).set(time.as_secs_f64());
    }
}
