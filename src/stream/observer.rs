//! The observer: one thread that sees to it that every group gets a lane when it is due. Asleep while nothing is pushed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam::sync::Parker;

use super::Failure;
use super::front::Front;
use super::group::{Group, GroupTurn};
use super::inside::refuse_inside;
use crate::error::{Error, Result};
use crate::isolation::{Isolation, OBSERVER_NAME};
use crate::plan::Plan;
use crate::qos::Qos;
use crate::schedule::{Arrival, Bell, Lanes, Load, Schedule, outside};
use crate::telemetry::StreamsSnapshot;

/// All groups of an engine.
#[derive(Debug)]
pub(crate) struct Observer {
    bell: Arc<Bell>,
    schedule: Arc<Schedule>,
    isolation: Arc<Isolation>,
    groups: Mutex<Vec<Known>>,
}

/// A group, and what is left of it when all streams have ended.
#[derive(Debug)]
struct Known {
    group: Weak<Group>,
    front: Weak<Front>,
}

impl Observer {
    /// Starts its thread, which ends with the lanes.
    pub(crate) fn start(lanes: &Lanes) -> Result<Arc<Self>> {
        let parker = Parker::new();
        let bell = Arc::new(Bell::new(parker.unparker().clone()));
        let schedule = Arc::clone(lanes.schedule());
        let isolation = Arc::clone(lanes.isolation());
        let observer = Arc::new(Self { bell: Arc::clone(&bell), schedule, isolation, groups: Mutex::default() });
        let body = Arc::clone(&observer);
        lanes.spawn_beside(OBSERVER_NAME, bell, move || body.run(&parker))?;
        Ok(observer)
    }

    /// How the memory of streams is kept.
    pub(super) fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Known>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Group>> {
        let mut groups = self.groups();
        groups.retain(|known| known.front.strong_count() > 0);
        groups.iter().filter_map(|known| known.group.upgrade()).collect()
    }

    fn run(&self, parker: &Parker) {
        while !self.schedule.is_closed() {
            let groups = self.all();
            let wait = groups.iter().filter_map(|group| self.look_after(group)).min();
            // Whoever lets go of a group last ends its plan, in which an app's code may be.
            outside(|| drop(groups));
            self.bell.wait(parker, wait);
        }
        let groups = self.all();
        groups.iter().for_each(|group| group.end(&Failure::ShutDown));
        outside(|| drop(groups));
    }

    /// Asks for a lane if the group is due; else says when to look again, if that is known.
    fn look_after(&self, group: &Arc<Group>) -> Option<Duration> {
        match group.is_due() {
            Err(when) => when,
            Ok(()) => {
                group.front.due.takes_off();
                let arrival = Arrival {
                    name: Arc::from("streams"),
                    qos: group.front.qos,
                    load: Load::Device,
                    // The engine itself sizes these batches: nobody asks how large they should be.
                    frames: 0,
                    deadline: None,
                    coherence: None,
                    is_bounded: false,
                    answer: Arc::clone(group) as _,
                    work: Box::new(GroupTurn(Arc::clone(group))),
                };
                if self.schedule.admit(arrival).is_err() {
                    group.end(&Failure::ShutDown);
                }
                None
            }
        }
    }

    /// The group of a plan's output, made when there is none.
    pub(super) fn group(&self, plan: &Plan, output: &str, qos: Qos) -> Result<Arc<Group>> {
        refuse_inside("a stream is opened or moved")?;
        let is_it = |group: &Arc<Group>| {
            let front = &group.front;
            group.plan.is_same(plan) && front.output == output && front.qos == qos && !group.is_over()
        };
        let find = |groups: &[Known]| groups.iter().filter_map(|known| known.group.upgrade()).find(is_it);
        if let Some(group) = find(&self.groups()) {
            return Ok(group);
        }
        // This may take a while; streams of other groups go on meanwhile.
        let made = Arc::new(Group::new(plan, output, qos, &self.bell)?);
        let mut groups = self.groups();
        if let Some(group) = find(&groups) {
            return Ok(group);
        }
        // The observer looks at them for the last time after this is so.
        if self.schedule.is_closed() {
            return Err(Error::ShutDown { job: "stream".to_owned() });
        }
        groups.push(Known { group: Arc::downgrade(&made), front: Arc::downgrade(&made.front) });
        Ok(made)
    }

    pub(crate) fn snapshot(&self) -> Vec<StreamsSnapshot> {
        let fronts: Vec<_> = self.groups().iter().filter_map(|known| known.front.upgrade()).collect();
        fronts.iter().map(|front| front.snapshot()).collect()
    }
}
