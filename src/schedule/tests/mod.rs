//! The scheduler without threads, devices or a real clock.

/// A device of tests and its arrivals, over as many years as needed.
mod simulation;

/// What each level is promised.
mod promises;

/// One answer for each job, whatever happens.
mod answers;
