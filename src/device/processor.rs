//! One processor as its users share it: each level of service has a command queue of its own, so that urgent work need not
//! stand behind other work in the driver's. When a device fails, another one takes its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Device;
use crate::error::{Error, Result};
use crate::qos::{PerQos, Qos};
use crate::telemetry::{Counters, DeviceInfo, Health, HealthState, MemorySnapshot};

/// A processor, with its command queues.
#[derive(Debug)]
pub(crate) struct Processor {
    /// What was opened first.
    info: DeviceInfo,
    /// The devices that serve the levels, as they are asked for. The engine's own is that of [`Qos::Default`].
    queues: PerQos<Mutex<Option<Arc<dyn Device>>>>,
    health: Mutex<Health>,
    /// When devices were opened in place of lost ones, as far as it counts.
    replaced: Mutex<Vec<Instant>>,
    most_replacements: usize,
    counters: Arc<Counters>,
}

/// Within this time so many devices may be opened in place of lost ones; when more are lost, the CPU goes on. So a driver
/// that fails all the time is left alone, and one that fails once a day is not.
const REPLACEMENTS_TIME: Duration = Duration::from_hours(1);

/// Whether one more may be opened now; then it counts.
fn may_replace(replaced: &mut Vec<Instant>, most: usize, now: Instant) -> bool {
    replaced.retain(|at| now.saturating_duration_since(*at) < REPLACEMENTS_TIME);
    let may = replaced.len() < most;
    replaced.extend(may.then_some(now));
    may
}

impl Processor {
    pub(crate) fn new(main: Arc<dyn Device>, most_replacements: usize) -> Self {
        let info = main.info().clone();
        let queues = PerQos { default: Mutex::new(Some(main)), ..PerQos::default() };
        Self {
            info,
            queues,
            health: Mutex::default(),
            replaced: Mutex::default(),
            most_replacements,
            counters: Arc::default(),
        }
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn queue(&self, qos: Qos) -> MutexGuard<'_, Option<Arc<dyn Device>>> {
        self.queues[qos].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device whose command queue serves a level.
    ///
    /// # Errors
    /// What the driver says when it has no more.
    pub(crate) fn device(&self, qos: Qos) -> Result<Arc<dyn Device>> {
        let mut queue = self.queue(qos);
        if let Some(device) = &*queue {
            return Ok(Arc::clone(device));
        }
        // Not its own: that is always there.
        let main = self.device(Qos::Default)?;
        let device = main.another(qos)?.unwrap_or(main);
        *queue = Some(Arc::clone(&device));
        Ok(device)
    }

    /// Puts another device in the place of one that failed: a new one on the same adapter, else, or when the new ones fail
    /// too, the CPU. False when there is nothing to go on with.
    pub(crate) fn replace(&self, qos: Qos, failed: &Arc<dyn Device>, error: &Error, failed_again: bool) -> bool {
        let mut queue = self.queue(qos);
        if queue.as_ref().is_some_and(|device| !Arc::ptr_eq(device, failed)) {
            // Somebody else has seen to it.
            return true;
        }
        // Not held while a device is opened: whoever asks how things are should not wait for a driver.
        let health = || self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health().losses += 1;
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let again = !failed_again && may_replace(&mut replaced, self.most_replacements, Instant::now());
        drop(replaced);
        let new = if again { failed.another(qos).ok().flatten() } else { None };
        let (device, what) = match new {
            Some(device) => (Some(device), "goes on on a new device"),
            None => match failed.fallback() {
                Some(device) => (Some(device), "goes on on the CPU"),
                None => (None, "has no device left"),
            },
        };
        let mut health = health();
        health.state = if device.is_some() { HealthState::Degraded } else { HealthState::Failed };
        health.reason = Some(format!("{error}; `{qos}` work {what}"));
        drop(health);
        tracing::warn!("{error}; `{qos}` work {what}");
        match device {
            Some(device) => {
                *queue = Some(device);
                true
            }
            None => false,
        }
    }

    /// What serves a level now; none before that is asked for, and while it is being replaced: whoever asks how things are does
    /// not wait for a driver.
    pub(crate) fn serving(&self, qos: Qos) -> Option<Arc<dyn Device>> {
        self.queues[qos].try_lock().ok().and_then(|queue| queue.clone())
    }

    /// What the buffers of all its devices take; none on the CPU, nor while all of them are being replaced.
    pub(crate) fn memory(&self) -> Option<MemorySnapshot> {
        // They count together, so any of them will do.
        Qos::ALL.into_iter().filter_map(|qos| self.serving(qos)).find_map(|device| device.memory())
    }

    /// Frees what no work in flight uses.
    pub(crate) fn sleep(&self) -> Result<u64> {
        self.devices().iter().map(|device| device.sleep()).sum()
    }

    /// Brings back what was freed so.
    pub(crate) fn wake(&self) -> Result<()> {
        self.devices().iter().try_for_each(|device| device.wake())
    }

    /// Those that are open.
    fn devices(&self) -> Vec<Arc<dyn Device>> {
        Qos::ALL.into_iter().filter_map(|qos| self.queue(qos).clone()).collect()
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_replaced_three_times_an_hour() {
        let (mut replaced, start) = (Vec::new(), Instant::now());
        let minutes = |minutes| start + Duration::from_mins(minutes);
        let asked: Vec<bool> = (0..6).map(|minute| may_replace(&mut replaced, 3, minutes(minute))).collect();
        assert_eq!(asked, [true, true, true, false, false, false], "it fails all the time");
        assert!(!may_replace(&mut replaced, 3, minutes(59)));
        assert!(may_replace(&mut replaced, 3, minutes(60)), "the first one is forgotten");
        assert!(!may_replace(&mut replaced, 3, minutes(60)));
        assert!((2..50).all(|day| may_replace(&mut replaced, 3, minutes(60 * 24 * day))), "once a day for ever");
    }
}
