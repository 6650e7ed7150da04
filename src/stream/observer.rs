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
        // Whoever lets go of a group last ends its plan, in which an app's code may be: not while the list is locked.
        let mut seen = Vec::new();
        let find = |groups: &[Known], seen: &mut Vec<Arc<Group>>| {
            seen.extend(groups.iter().filter_map(|known| known.group.upgrade()));
            seen.iter().find(|group| group.front.is_of(plan, output, qos) && !group.is_over()).cloned()
        };
        let found = find(&self.groups(), &mut seen);
        outside(|| drop(std::mem::take(&mut seen)));
        if let Some(group) = found {
            return Ok(group);
        }
        let front = self.front(plan, output, qos);
        // This may take a while; streams of other groups go on meanwhile.
        let made = Arc::new(Group::new(plan, &front)?);
        let mut groups = self.groups();
        let found = find(&groups, &mut seen);
        // The observer looks at them for the last time after this is so.
        let is_closed = self.schedule.is_closed();
        if found.is_none() && !is_closed {
            groups.retain(|known| !std::ptr::eq(known.front.as_ptr(), Arc::as_ptr(&front)));
            groups.push(Known { group: Arc::downgrade(&made), front: Arc::downgrade(&front) });
        }
        drop(groups);
        outside(|| drop(seen));
        match found {
            Some(group) => Ok(group),
            None if is_closed => Err(Error::ShutDown { job: "stream".to_owned() }),
            None => Ok(made),
        }
    }

    /// What the ends of a new group's streams know: that of the last group, if somebody has it still and nothing is going on.
    fn front(&self, plan: &Plan, output: &str, qos: Qos) -> Arc<Front> {
        let is_free = |known: &&Known| known.group.strong_count() == 0;
        let fits = |front: &Arc<Front>| front.is_of(plan, output, qos) && !front.due.is_in_flight();
        let kept = self.groups().iter().filter(is_free).filter_map(|known| known.front.upgrade()).find(fits);
        kept.unwrap_or_else(|| Arc::new(Front::new(plan, output, qos, &self.bell)))
    }

    pub(crate) fn snapshot(&self) -> Vec<StreamsSnapshot> {
        let fronts: Vec<_> = self.groups().iter().filter_map(|known| known.front.upgrade()).collect();
        fronts.iter().map(|front| front.snapshot()).collect()
    }
}
