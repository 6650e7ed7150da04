//! The machine's processors: which of them share a core, and which memory is near them.

use std::collections::BTreeMap;
use std::path::Path;

/// One logical processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Cpu {
    /// Its number, as the system counts.
    pub id: usize,
    /// The physical core: the lowest number of those that share it.
    pub core: usize,
    /// The NUMA node, whose memory is near.
    pub node: usize,
    /// Whether the system keeps other threads away from it (`isolcpus`), and this process may go there all the same.
    pub isolated: bool,
    /// Whether threads of this process run there unless told otherwise.
    pub allowed: bool,
}

/// The machine's processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Topology {
    /// Those that are online, in order.
    pub cpus: Vec<Cpu>,
    /// Whether the system says which of them share a core, and which node they are of; otherwise each stands for itself.
    pub is_known: bool,
}

impl Topology {
    /// That of this machine: from `/sys` on Linux; elsewhere only how many processors there are.
    pub fn of_this_machine() -> Self {
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        let allowed: Vec<usize> = allowed.into_iter().map(|core| core.id).collect();
        let mut here =
            Self::read(Path::new("/sys/devices/system"), &allowed).unwrap_or_else(|| Self::unknown(&allowed));
        for cpu in here.cpus.iter_mut().filter(|cpu| cpu.isolated && !cpu.allowed) {
            cpu.isolated = can_go_to(cpu.id);
        }
        here
    }

    fn unknown(allowed: &[usize]) -> Self {
        let alone = |id: &usize| Cpu { id: *id, core: *id, node: 0, isolated: false, allowed: true };
        Self { cpus: allowed.iter().map(alone).collect(), is_known: false }
    }

    fn read(system: &Path, allowed: &[usize]) -> Option<Self> {
        let list = |path: &str| std::fs::read_to_string(system.join(path)).ok().and_then(|text| parse_list(&text));
        let online = list("cpu/online")?;
        let isolated = list("cpu/isolated").unwrap_or_default();
        let mut node_of = BTreeMap::new();
        for node in list("node/online").unwrap_or_default() {
            let here = list(&format!("node/node{node}/cpulist")).unwrap_or_default();
            node_of.extend(here.into_iter().map(|cpu| (cpu, node)));
        }
        let of = |id: &usize| {
            let siblings = list(&format!("cpu/cpu{id}/topology/thread_siblings_list"))?;
            Some(Cpu {
                id: *id,
                core: siblings.iter().min().copied()?,
                node: node_of.get(id).copied().unwrap_or(0),
                isolated: isolated.contains(id),
                allowed: allowed.contains(id),
            })
        };
        Some(Self { cpus: online.iter().map(of).collect::<Option<Vec<_>>>()?, is_known: true })
    }

    /// A processor by its number.
    pub fn cpu(&self, id: usize) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// How many physical cores there are.
    pub fn cores(&self) -> usize {
        let mut cores: Vec<usize> = self.cpus.iter().map(|cpu| cpu.core).collect();
        cores.sort_unstable();
        cores.dedup();
        cores.len()
    }
}

/// Whether a thread of this process can run there: in a container it may not.
fn can_go_to(cpu: usize) -> bool {
    let go = move || core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let tried = std::thread::Builder::new().name("auricle.isolation".to_owned()).spawn(go);
    tried.is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// A list as the kernel writes it: `0-3,8,10-11`.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    let parts = text.trim().split(',').filter(|part| !part.is_empty());
    let ranges: Option<Vec<_>> = parts.map(range).collect();
    Some(ranges?.into_iter().flatten().collect())
}

/// The NUMA node on which memory lies, if the system tells: that of most pages of the mapping that it is part of.
pub(super) fn node_of_memory(address: usize) -> Option<usize> {
    node_in(&std::fs::read_to_string("/proc/self/numa_maps").ok()?, address)
}

/// In lines such as `7f0e1c000000 default anon=9 dirty=9 N0=5 N1=4 kernelpagesize_kB=4`, in order.
fn node_in(maps: &str, address: usize) -> Option<usize> {
    let start_of = |line: &str| usize::from_str_radix(line.split(' ').next()?, 16).ok();
    let line = maps.lines().take_while(|line| start_of(line).is_some_and(|start| start <= address)).last()?;
    let pages = line.split(' ').filter_map(|word| {
        let (node, pages) = word.strip_prefix('N')?.split_once('=')?;
        Some((pages.parse::<u64>().ok()?, node.parse::<usize>().ok()?))
    });
    pages.max().map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("\n"), Some(Vec::new()), "an empty one is a list, too");
        assert_eq!(parse_list("0-x"), None);
    }

    #[test]
    fn two_sockets_with_two_threads_a_core_are_understood() {
        let system = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = system.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        write("cpu/online", "0-7\n");
        write("cpu/isolated", "3,7\n");
        write("node/online", "0-1\n");
        write("node/node0/cpulist", "0-1,4-5\n");
        write("node/node1/cpulist", "2-3,6-7\n");
        for cpu in 0..8 {
            let siblings = format!("{},{}\n", cpu % 4, cpu % 4 + 4);
            write(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"), &siblings);
        }
        let topology = Topology::read(system.path(), &[0, 1, 2, 4, 5, 6]).expect("it is all there");
        assert_eq!((topology.cpus.len(), topology.cores()), (8, 4));
        let seven = Cpu { id: 7, core: 3, node: 1, isolated: true, allowed: false };
        assert_eq!(topology.cpu(7), Some(&seven));
        assert!(topology.cpu(5).is_some_and(|cpu| cpu.core == 1 && cpu.node == 0 && cpu.allowed));
        std::fs::remove_file(system.path().join("cpu/cpu6/topology/thread_siblings_list")).expect("it was there");
        assert_eq!(Topology::read(system.path(), &[0]), None, "half a map is none");
    }

    #[test]
    fn memory_is_on_the_node_of_most_of_its_pages() {
        let maps = "1000 default file=/x N0=2 kernelpagesize_kB=4\n5000 default anon=9 N0=2 N1=7 kernelpagesize_kB=4\n";
        assert_eq!(node_in(maps, 0x1800), Some(0));
        assert_eq!(node_in(maps, 0x5010), Some(1));
        assert_eq!((node_in(maps, 0x10), node_in("", 0x10)), (None, None));
    }
}
