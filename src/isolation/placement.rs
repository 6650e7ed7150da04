//! Which thread gets which core.

use std::collections::BTreeMap;

use super::topology::{Cpu, Topology};
use crate::error::{Error, Result};

/// Where threads are to run, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) cpus: BTreeMap<String, usize>,
    pub(super) notes: Vec<String>,
}

/// Gives each thread a physical core of its own, the first ones first. Those for which there is none share what the
/// `urgent` ones, with which they begin, have not taken.
///
/// # Errors
/// [`Error::Setting`] when a wanted processor is not there.
pub(super) fn place(topology: &Topology, wanted: &[usize], threads: &[String], urgent: usize) -> Result<Placement> {
    let mut notes = Vec::new();
    if let Some(unknown) = wanted.iter().find(|id| topology.cpu(**id).is_none()) {
        let known: Vec<String> = topology.cpus.iter().map(|cpu| cpu.id.to_string()).collect();
        return Err(Error::setting("the processor", unknown, format!("there are {}", known.join(", "))));
    }
    if !topology.is_known {
        notes.push("this system does not say which processors share a core; each is taken for one".to_owned());
    }
    let may_use = |cpu: &&Cpu| match wanted {
        [] => cpu.allowed || cpu.isolated,
        _ => wanted.contains(&cpu.id),
    };
    // One processor of each core: its sibling would share the core's execution units with it.
    let mut cores: BTreeMap<usize, Cpu> = BTreeMap::new();
    for cpu in topology.cpus.iter().filter(may_use) {
        cores.entry(cpu.core).or_insert(*cpu);
    }
    let mut cpus: Vec<Cpu> = cores.into_values().collect();
    // What is kept free for such as us comes first, and the first core, which most systems interrupt most, last.
    cpus.sort_by_key(|cpu| (!cpu.isolated, std::cmp::Reverse(cpu.id)));
    if cpus.len() < 2 {
        notes.push(format!("{} physical core to choose from: threads stay where the system puts them", cpus.len()));
        return Ok(Placement { cpus: BTreeMap::new(), notes });
    }
    let own = threads.len().min(cpus.len());
    let shared = if urgent < cpus.len() { &cpus[urgent..] } else { &cpus[..] };
    let mut places = BTreeMap::new();
    for (index, thread) in threads.iter().enumerate() {
        let cpu = if index < own { &cpus[index] } else { &shared[(index - own) % shared.len()] };
        places.insert(thread.clone(), cpu.id);
    }
    if own < threads.len() {
        let some = threads[own..].join(", ");
        notes.push(format!("{} threads on {} cores: {some} share a core with others", threads.len(), cpus.len()));
    }
    let mut nodes: Vec<usize> = cpus[..own].iter().map(|cpu| cpu.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() > 1 {
        notes.push(format!(
            "the threads are on NUMA nodes {nodes:?}, and memory of another node is slow: choose processors of one"
        ));
    }
    Ok(Placement { cpus: places, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores `0..cores`, each with processors `n` and `n + cores`; the upper half of the cores is of node 1.
    fn topology(cores: usize) -> Topology {
        let cpu = |id: usize| {
            let core = id % cores;
            Cpu { id, core, node: usize::from(core >= cores.div_ceil(2)), isolated: false, allowed: true }
        };
        Topology { cpus: (0..2 * cores).map(cpu).collect(), is_known: true }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("t{index}")).collect()
    }

    fn cpus(placement: &Placement) -> Vec<usize> {
        placement.cpus.values().copied().collect()
    }

    #[test]
    fn no_two_share_a_core_while_there_are_enough() {
        let placement = place(&topology(8), &[], &names(5), 2).expect("it fits");
        assert_eq!(cpus(&placement), [7, 6, 5, 4, 3], "first siblings, the first core last");
        assert_eq!(placement.notes.len(), 1, "two nodes: {:?}", placement.notes);
    }

    #[test]
    fn urgent_threads_keep_their_cores_where_there_are_too_few() {
        let placement = place(&topology(4), &[], &names(7), 2).expect("it fits");
        let cpus = cpus(&placement);
        assert_eq!(cpus[..4], [3, 2, 1, 0]);
        assert!(cpus[4..].iter().all(|cpu| *cpu < 2), "{cpus:?}");
        assert!(placement.notes[0].contains("7 threads on 4 cores"), "{:?}", placement.notes);
        let few = place(&topology(2), &[], &names(7), 2).expect("it fits");
        assert_eq!(few.cpus.len(), 7, "all have a place: {few:?}");
    }

    #[test]
    fn what_was_asked_for_is_used_and_nothing_else() {
        let placement = place(&topology(4), &[1, 5, 6], &names(2), 1).expect("it fits");
        assert_eq!(cpus(&placement), [6, 1], "of 1 and 5, which share a core, one");
        let error = place(&topology(4), &[99], &names(2), 1).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("0, 1, 2"), "{error}");
    }

    #[test]
    fn what_the_system_keeps_free_comes_first() {
        let mut machine = topology(4);
        for cpu in machine.cpus.iter_mut().filter(|cpu| cpu.core == 1) {
            (cpu.isolated, cpu.allowed) = (true, false);
        }
        assert_eq!(cpus(&place(&machine, &[], &names(2), 1).expect("it fits")), [1, 3]);
    }

    #[test]
    fn one_core_is_left_to_the_system() {
        let placement = place(&topology(1), &[], &names(3), 2).expect("it fits");
        assert!(placement.cpus.is_empty() && placement.notes.len() == 1, "{placement:?}");
        let unknown = Topology { is_known: false, ..topology(4) };
        assert!(place(&unknown, &[], &names(1), 1).expect("it fits").notes[0].contains("does not say"), "a note");
    }
}
