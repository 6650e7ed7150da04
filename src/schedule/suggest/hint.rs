//! What a client is told.

use std::time::Duration;

use crate::qos::Qos;

/// How large the next batch should be, and why: the answer of [`Engine::suggest_batch`](crate::Engine::suggest_batch).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchHint {
    /// The level that was asked about.
    pub qos: Qos,
    /// The latency that is to be kept: what was asked for, to two digits.
    pub target_latency: Duration,
    /// Frames that the next job should have, those of all its channels together: a power of two, 1 to 65,536.
    pub suggested_batch: usize,
    /// What this suggestion does against the one before it.
    pub action: BatchAction,
    /// Why, in words.
    pub reason: String,
    /// What keeps the suggestion from being larger.
    pub bound_by: BoundBy,
    /// The level that would do better, with [`BatchAction::ShiftQos`].
    pub shift_to: Option<Qos>,
    /// From submission to the answer, on average: of jobs of the suggested size, or of all jobs of the level where there were
    /// none. None where there were no jobs.
    pub avg_latency: Option<Duration>,
    /// The same, of which 95 of 100 are no longer.
    pub p95_latency: Option<Duration>,
    /// Jobs of the level that were answered with a result, per second.
    pub jobs_per_s: f64,
    /// The part of the time in which the device was at work, for any level, 0 to 1.
    pub occupancy: f64,
    /// The part of the memory budget that is used, 0 to 1; none where there is no budget.
    pub memory_pressure: Option<f64>,
    /// How long the window is of which the figures are: 1 s, and more where there were fewer than 20 jobs in that.
    pub window: Duration,
}

/// What a suggestion does.
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchAction {
    /// Larger batches than before.
    Raise,
    /// As before.
    Hold,
    /// Smaller ones.
    Lower,
    /// No size of batch keeps the target at this level; another one may. Where smaller batches did not help, the suggestion
    /// may have gone back to what it was before them.
    ShiftQos,
}

/// What keeps a suggestion from being larger.
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BoundBy {
    /// Nothing that is known yet: it is on its way up.
    Nothing,
    /// There were no jobs of late, so nothing is known.
    NoJobs,
    /// The target: larger batches take too long, or would.
    Latency,
    /// Jobs wait for others, whatever their size.
    Queue,
    /// The device is busy, and larger batches would not cost it less for a frame.
    Device,
    /// Jobs are smaller than what was suggested.
    Demand,
    /// The device's memory.
    Memory,
    /// There are no larger batches.
    Size,
}
