//! The timer: answers jobs whose time is over, whatever lanes and device are doing.

use std::sync::Arc;

use crossbeam::sync::Parker;

use super::Schedule;

/// Runs until no job will ever come.
pub(super) fn run(schedule: &Arc<Schedule>, parker: &Parker) {
    while !schedule.is_over() {
        match schedule.expire() {
            Some(wait) => parker.park_timeout(wait),
            None => parker.park(),
        }
    }
}
