//! Nodes and edges: a graph is built by name, checked as a whole, and becomes one recording.

mod check;

mod custom;

mod flow;

mod gather;

pub(crate) mod limits;

pub(crate) mod loops;

mod weight;

use crate::frame::FrameShape;
use crate::stage::denoise::Denoise;
use crate::stage::filter::{Measure, PhiResolvent};
use crate::stage::fourier::Fourier;
use crate::stage::gate::Gate;
use crate::telemetry;

use self::check::POWERS;
pub(crate) use self::flow::{DenoiseStep, Flow};
pub use custom::{CustomKernel, ParamWord};
pub(crate) use gather::gather_kernel;

/// Stages and custom kernels joined by edges.
///
/// Nodes are named, and name what they read; the order of the calls does not matter. Nothing is checked until the
/// graph is compiled, so that every error can name the node. A filter that measures has a second output,
/// `<node>.powers`.
///
/// ```
/// use auricle::{FrameShape, Gate, Graph, PhiResolvent};
/// let graph = Graph::new()
///     .input("samples", FrameShape::real(1024))
///     .gate("gate", "samples", Gate::default())
///     .filter("filter", "gate", PhiResolvent::default())
///     .output("clean", "filter");
/// # let _ = graph;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    name: String,
    sources: Vec<String>,
    kind: NodeKind,
}

#[derive(Clone, Debug)]
enum NodeKind {
    Input(FrameShape),
    Gate(Gate),
    Filter(PhiResolvent),
    Fourier(Fourier),
    Denoise(Denoise),
    Kernel(CustomKernel),
    Output,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Frames that the caller brings.
    #[must_use]
    pub fn input(self, name: &str, shape: FrameShape) -> Self {
        self.node(name, &[], NodeKind::Input(shape))
    }

    /// A gate on the input `source`. A graph has at most one; the nodes after it run on live frames only.
    #[must_use]
    pub fn gate(self, name: &str, source: &str, gate: Gate) -> Self {
        self.node(name, &[source], NodeKind::Gate(gate))
    }

    /// A phi-resolvent filter.
    #[must_use]
    pub fn filter(self, name: &str, source: &str, filter: PhiResolvent) -> Self {
        self.node(name, &[source], NodeKind::Filter(filter))
    }

    /// A Fourier transform of each frame, for kernels of your own that work on spectra.
    #[must_use]
    pub fn fourier(self, name: &str, source: &str, fourier: Fourier) -> Self {
        self.node(name, &[source], NodeKind::Fourier(fourier))
    }

    /// A denoiser. A graph has at most one; what follows it runs on every frame that it gives.
    #[must_use]
    pub fn denoise(self, name: &str, source: &str, denoise: Denoise) -> Self {
        self.node(name, &[source], NodeKind::Denoise(denoise))
    }

    /// A kernel of your own.
    #[must_use]
    pub fn kernel(self, name: &str, sources: &[&str], kernel: CustomKernel) -> Self {
        self.node(name, sources, NodeKind::Kernel(kernel))
    }

    /// Frames that the caller gets back, under this name.
    #[must_use]
    pub fn output(self, name: &str, source: &str) -> Self {
        self.node(name, &[source], NodeKind::Output)
    }

    /// Outputs that hold what a filter measured for its coherence.
    fn coherence_outputs(&self) -> Vec<String> {
        let measures =
            |node: &Node| matches!(&node.kind, NodeKind::Filter(filter) if filter.measure == Measure::Coherence);
        let powers: Vec<String> =
            self.nodes.iter().filter(|node| measures(node)).map(|node| format!("{}{POWERS}", node.name)).collect();
        let is_of_them = |node: &&Node| node.sources.first().is_some_and(|source| powers.contains(source));
        let outputs = self.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Output));
        outputs.filter(is_of_them).map(|node| node.name.clone()).collect()
    }

    /// Its nodes for whoever shows them: name, kind, what each reads, and for inputs the bytes of a frame.
    pub(crate) fn outline(&self) -> Vec<(String, telemetry::NodeKind, Vec<String>, u64)> {
        let outline = |node: &Node| {
            let (kind, bytes) = match &node.kind {
                NodeKind::Input(shape) => (telemetry::NodeKind::Input, (shape.floats() * size_of::<f32>()) as u64),
                NodeKind::Gate(_) => (telemetry::NodeKind::Gate, 0),
                NodeKind::Filter(_) => (telemetry::NodeKind::Filter, 0),
                NodeKind::Fourier(_) => (telemetry::NodeKind::Fourier, 0),
                NodeKind::Denoise(_) => (telemetry::NodeKind::Denoise, 0),
                NodeKind::Kernel(_) => (telemetry::NodeKind::Kernel, 0),
                NodeKind::Output => (telemetry::NodeKind::Output, 0),
            };
            (node.name.clone(), kind, node.sources.clone(), bytes)
        };
        self.nodes.iter().map(outline).collect()
    }

    /// Whether it does the same: the same nodes by the same names, with the same settings. Kernels' closures can't be
    /// compared; those of a clone are the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_kind = |kind: &NodeKind, other: &NodeKind| match (kind, other) {
            (NodeKind::Input(shape), NodeKind::Input(other)) => shape == other,
            (NodeKind::Gate(gate), NodeKind::Gate(other)) => gate == other,
            (NodeKind::Filter(filter), NodeKind::Filter(other)) => filter == other,
            (NodeKind::Fourier(fourier), NodeKind::Fourier(other)) => fourier == other,
            (NodeKind::Denoise(denoise), NodeKind::Denoise(other)) => denoise == other,
            (NodeKind::Kernel(kernel), NodeKind::Kernel(other)) => kernel.is_same(other),
            (NodeKind::Output, NodeKind::Output) => true,
            _ => false,
        };
        let same_node = |(node, other): (&Node, &Node)| {
            node.name == other.name && node.sources == other.sources && same_kind(&node.kind, &other.kind)
        };
        self.nodes.len() == other.nodes.len() && self.nodes.iter().zip(&other.nodes).all(same_node)
    }

    fn node(mut self, name: &str, sources: &[&str], kind: NodeKind) -> Self {
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        self.nodes.push(Node { name: name.to_owned(), sources, kind });
        self
    }
}
