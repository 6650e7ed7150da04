//! What the nodes of a plan have taken: time, and samples in and out, for all its runs and on all its command queues.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::graph::{Flow, Graph};
use crate::recording::results::{FrameCounts, add_time};
use crate::recording::{Operand, Recording};
use crate::telemetry::{NodeKind, NodeSnapshot, PlanSnapshot, StageSnapshot};

/// The figures of one plan.
#[derive(Debug)]
pub(crate) struct Profile {
    nodes: Vec<Node>,
    counts: [AtomicU64; PARTS],
    times: Mutex<Vec<(String, Duration)>>,
}

#[derive(Debug)]
struct Node {
    name: String,
    kind: NodeKind,
    sources: Vec<String>,
    part: Part,
    /// Bytes that one frame is read and written.
    read: u64,
    written: u64,
}

/// Which frames a node works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that came in.
    All,
    /// Those that were live.
    Live,
    /// Those that went into the denoiser.
    Denoised,
    /// Those that went through what follows it.
    Then,
}

const PARTS: usize = 4;

impl Profile {
    pub(crate) fn new(graph: &Graph, flow: &Flow) -> Self {
        let (first, then) = (traffic(&flow.first), flow.then.as_deref().map(traffic).unwrap_or_default());
        let node = |(name, kind, sources, frame_bytes): (String, NodeKind, Vec<String>, u64)| {
            let (part, (read, written)) = match kind {
                NodeKind::Input => (Part::All, (0, frame_bytes)),
                NodeKind::Gate => (Part::All, (bytes(flow.gated_floats()), 0)),
                NodeKind::Denoise => {
                    let bytes = flow.denoise.as_ref().map_or(0, |step| bytes(step.shape.floats()));
                    (Part::Denoised, (bytes, bytes))
                }
                NodeKind::Filter | NodeKind::Fourier | NodeKind::Kernel => match first.get(name.as_str()) {
                    Some(bytes) => (Part::Live, *bytes),
                    None => (Part::Then, then.get(name.as_str()).copied().unwrap_or_default()),
                },
                NodeKind::Output => (Part::All, (bytes(flow.output_floats(&name)), 0)),
            };
            Node { name, kind, sources, part, read, written }
        };
        let nodes = graph.outline().into_iter().map(node).collect();
        Self { nodes, counts: Default::default(), times: Mutex::default() }
    }

    /// What a batch of frames took.
    pub(crate) fn ran(&self, times: &[(String, Duration)], counts: FrameCounts, is_then: bool) {
        if is_then {
            self.add(Part::Then, counts.live);
        } else {
            self.add(Part::All, counts.total);
            self.add(Part::Live, counts.live);
        }
        let mut sums = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().for_each(|(stage, time)| add_time(&mut sums, stage, *time));
    }

    /// What the denoiser took.
    pub(crate) fn denoised(&self, node: &str, frames: u64, time: Duration) {
        self.add(Part::Denoised, frames);
        add_time(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner), node, time);
    }

    fn add(&self, part: Part, frames: u64) {
        self.counts[part as usize].fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, id: u64) -> PlanSnapshot {
        let node = |node: &Node| {
            let frames = self.counts[node.part as usize].load(Ordering::Relaxed);
            NodeSnapshot {
                name: node.name.clone(),
                kind: node.kind,
                sources: node.sources.clone(),
                frames,
                read_bytes: frames * node.read,
                written_bytes: frames * node.written,
            }
        };
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stage = |(name, time): (String, Duration)| StageSnapshot { nodes: self.nodes_of(&name), name, time };
        PlanSnapshot {
            id,
            nodes: self.nodes.iter().map(node).collect(),
            stages: times.into_iter().map(stage).collect(),
        }
    }

    /// The nodes that a stage is the work of: its own, or several that a device does in one go.
    fn nodes_of(&self, stage: &str) -> Vec<String> {
        let is_node = |name: &str| self.nodes.iter().any(|node| node.name == name);
        if is_node(stage) {
            return vec![stage.to_owned()];
        }
        stage.split('+').filter(|name| is_node(name)).map(str::to_owned).collect()
    }
}

/// Bytes of a frame that each node's kernels read and write.
fn traffic(recording: &Recording) -> BTreeMap<&str, (u64, u64)> {
    let mut traffic: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for step in &recording.steps {
        let floats = |operand: &Operand| match *operand {
            Operand::Input(input) => recording.inputs[input].1.floats(),
            Operand::Buffer(buffer) => recording.buffers[buffer].shape.floats(),
        };
        let (read, written) = traffic.entry(&step.node).or_default();
        *read += step.operands.iter().map(floats).map(bytes).sum::<u64>();
        *written += step.results.iter().map(|result| bytes(recording.buffers[*result].shape.floats())).sum::<u64>();
    }
    traffic
}

fn bytes(floats: usize) -> u64 {
    (floats * size_of::<f32>()) as u64
}
