//! From a graph to a recording: checks the nodes, orders them, gives every edge a buffer, and lets buffers share memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::flow::{DenoiseStep, Flow};
use super::{CustomKernel, Graph, Node, NodeKind, gather_kernel};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::recording::{BufferSpec, GateStep, Kernel, Operand, OutputPort, Place, Recording, Step};
use crate::stage::denoise::Denoise;
use crate::stage::filter::{FilterMode, Measure, PhiResolvent, WindowLayout, filter_kernel};
use crate::stage::fourier::Fourier;
use crate::stage::gate::Gate;

/// The second output of a filter that measures.
pub(super) const POWERS: &str = ".powers";

impl Graph {
    /// Checks the whole graph and compiles it.
    pub(crate) fn record(&self) -> Result<Flow> {
        let wiring = Wiring::new(&self.nodes)?;
        let order = wiring.flow_order()?;
        wiring.refuse_unused()?;
        let mut flow = FlowRecorder::default();
        for index in order {
            flow.node(&self.nodes[index])?;
        }
        flow.finish(self.coherence_outputs())
    }
}

/// Who reads whom.
struct Wiring<'a> {
    nodes: &'a [Node],
    /// For each node, the nodes that it reads.
    sources: Vec<Vec<usize>>,
}

impl<'a> Wiring<'a> {
    fn new(nodes: &'a [Node]) -> Result<Self> {
        let mut by_name = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            if node.name.is_empty() || node.name.contains('.') {
                return Err(Error::graph(&node.name, "a node's name must not be empty or hold a dot"));
            }
            if by_name.insert(node.name.as_str(), index).is_some() {
                return Err(Error::graph(&node.name, "two nodes have this name; rename one"));
            }
        }
        let source_of = |node: &Node, source: &String| {
            let name = source.strip_suffix(POWERS).unwrap_or(source);
            by_name.get(name).copied().ok_or_else(|| {
                let there_are: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
                let problem =
                    format!("it reads `{source}`, which does not exist; the nodes are `{}`", there_are.join("`, `"));
                Error::graph(&node.name, problem)
            })
        };
        let sources = nodes
            .iter()
            .map(|node| node.sources.iter().map(|source| source_of(node, source)).collect())
            .collect::<Result<_>>()?;
        Ok(Self { nodes, sources })
    }

    /// Every node after those that it reads (Kahn's algorithm); what is left over goes round in a circle.
    fn flow_order(&self) -> Result<Vec<usize>> {
        let mut order: Vec<usize> = Vec::new();
        let mut placed = vec![false; self.nodes.len()];
        loop {
            let ready = (0..self.nodes.len())
                .find(|&index| !placed[index] && self.sources[index].iter().all(|&source| placed[source]));
            let Some(index) = ready else { break };
            placed[index] = true;
            order.push(index);
        }
        match placed.iter().position(|placed| !placed) {
            None => Ok(order),
            Some(start) => Err(self.cycle_error(start, &placed)),
        }
    }

    /// Walks back from a node that could not be placed until a node comes up twice.
    fn cycle_error(&self, start: usize, placed: &[bool]) -> Error {
        let mut path = vec![start];
        loop {
            let last = path[path.len() - 1];
            let Some(&next) = self.sources[last].iter().find(|&&source| !placed[source]) else {
                return Error::graph(&self.nodes[last].name, "it reads itself through other nodes");
            };
            if let Some(first) = path.iter().position(|&index| index == next) {
                let circle: Vec<_> = path[first..].iter().rev().map(|&index| self.nodes[index].name.as_str()).collect();
                let problem = format!("the edges go round in a circle: {} -> {}", circle.join(" -> "), circle[0]);
                return Error::graph(&self.nodes[next].name, problem);
            }
            path.push(next);
        }
    }

    fn refuse_unused(&self) -> Result<()> {
        let is_output = |node: &Node| matches!(node.kind, NodeKind::Output);
        let mut used: Vec<bool> = self.nodes.iter().map(is_output).collect();
        if !used.contains(&true) {
            let last = self.nodes.last().map_or("(none)", |node| node.name.as_str());
            return Err(Error::graph(last, "the graph has no output; end it with `.output(name, source)`"));
        }
        let mut to_visit: Vec<usize> = (0..used.len()).filter(|&index| used[index]).collect();
        while let Some(index) = to_visit.pop() {
            for &source in &self.sources[index] {
                if !std::mem::replace(&mut used[source], true) {
                    to_visit.push(source);
                }
            }
        }
        match used.iter().position(|used| !used) {
            None => Ok(()),
            Some(index) => {
                Err(Error::graph(&self.nodes[index].name, "no output depends on it; read it or take it out"))
            }
        }
    }
}

/// Records nodes on either side of the denoiser.
#[derive(Default)]
struct FlowRecorder {
    first: Recorder,
    denoise: Option<DenoiseStep>,
    then: Recorder,
}

impl FlowRecorder {
    fn node(&mut self, node: &Node) -> Result<()> {
        let follows = |source: &String| self.then.edges.contains_key(source);
        let following = node.sources.iter().filter(|source| follows(source)).count();
        match (&node.kind, following) {
            (NodeKind::Denoise(denoise), 0) => self.denoise(node, denoise),
            (NodeKind::Denoise(_), _) => self.refuse_second(node),
            (NodeKind::Gate(_), 1..) => {
                let problem = format!("a gate must read an input, and `{}` is none", node.sources[0]);
                Err(Error::graph(&node.name, problem))
            }
            (_, 0) => self.first.node(node),
            (NodeKind::Output, _) if self.denoise.as_ref().is_some_and(|step| step.node == node.sources[0]) => {
                self.denoise.iter_mut().for_each(|step| step.outputs.push(node.name.clone()));
                Ok(())
            }
            (_, following) if following == node.sources.len() => self.then.node(node),
            _ => {
                let problem = "some of what it reads comes after the denoiser, and some does not; those are not of the \
                               same time";
                Err(Error::graph(&node.name, problem))
            }
        }
    }

    fn denoise(&mut self, node: &Node, denoise: &Denoise) -> Result<()> {
        if self.denoise.is_some() {
            return self.refuse_second(node);
        }
        let edge = self.first.edge(&node.name, &node.sources[0])?;
        denoise.check(edge.shape).map_err(|error| Error::graph(&node.name, error.to_string()))?;
        // No node of the user's can have a dot in its name.
        let source = format!("{}.source", node.name);
        self.first.output(&Node { name: source.clone(), ..node.clone() }, edge)?;
        self.then.input(node, edge.shape)?;
        let outputs = Vec::new();
        let (node, denoise) = (node.name.clone(), denoise.clone());
        self.denoise = Some(DenoiseStep { node, source, shape: edge.shape, denoise, outputs });
        Ok(())
    }

    fn refuse_second(&self, node: &Node) -> Result<()> {
        let first = self.denoise.as_ref().map_or("", |step| &step.node);
        Err(Error::graph(&node.name, format!("the graph already has the denoiser `{first}`")))
    }

    fn finish(self, coherence_outputs: Vec<String>) -> Result<Flow> {
        let then = (!self.then.outputs.is_empty()).then(|| self.then.finish().map(Arc::new)).transpose()?;
        Ok(Flow { first: Arc::new(self.first.finish()?), denoise: self.denoise, then, coherence_outputs })
    }
}

/// What an edge carries.
#[derive(Clone, Copy)]
struct Edge {
    operand: Operand,
    shape: FrameShape,
    gated: bool,
}

#[derive(Default)]
struct Recorder {
    edges: HashMap<String, Edge>,
    inputs: Vec<(String, FrameShape)>,
    gate: Option<GateStep>,
    steps: Vec<Step>,
    buffers: Vec<(String, FrameShape)>,
    outputs: Vec<OutputPort>,
    ungated_output: Option<String>,
    looks_at_neighbours: bool,
}

impl Recorder {
    fn node(&mut self, node: &Node) -> Result<()> {
        let edges = node.sources.iter().map(|source| self.edge(&node.name, source)).collect::<Result<Vec<_>>>()?;
        match &node.kind {
            NodeKind::Input(shape) => self.input(node, *shape),
            NodeKind::Gate(gate) => self.gate(node, edges[0], gate),
            NodeKind::Filter(filter) => self.filter(node, edges[0], filter),
            NodeKind::Fourier(fourier) => self.fourier(node, edges[0], *fourier),
            NodeKind::Kernel(kernel) => self.kernel(node, &edges, kernel),
            NodeKind::Output => self.output(node, edges[0]),
            NodeKind::Denoise(_) => Err(Error::graph(&node.name, "a denoiser should stand between recordings")),
        }
    }

    fn edge(&self, node: &str, source: &str) -> Result<Edge> {
        self.edges.get(source).copied().ok_or_else(|| {
            let problem = match source.strip_suffix(POWERS) {
                Some(filter) => format!("`{filter}` has no powers: it must be a filter whose `measure` is set"),
                None => format!("`{source}` is an output, which nothing can read"),
            };
            Error::graph(node, problem)
        })
    }

    fn input(&mut self, node: &Node, shape: FrameShape) -> Result<()> {
        shape.check_size().map_err(|problem| Error::graph(&node.name, problem))?;
        let edge = Edge { operand: Operand::Input(self.inputs.len()), shape, gated: false };
        self.inputs.push((node.name.clone(), shape));
        self.edges.insert(node.name.clone(), edge);
        Ok(())
    }

    fn gate(&mut self, node: &Node, edge: Edge, gate: &Gate) -> Result<()> {
        let at_node = |error: Error| Error::graph(&node.name, error.to_string());
        gate.check().map_err(at_node)?;
        edge.shape.check().map_err(at_node)?;
        if let Some(first) = &self.gate {
            return Err(Error::graph(&node.name, format!("the graph already has the gate `{}`", first.node)));
        }
        let Operand::Input(input) = edge.operand else {
            let problem = format!("a gate must read an input, and `{}` is none", node.sources[0]);
            return Err(Error::graph(&node.name, problem));
        };
        self.gate = Some(gate.step(&node.name, input));
        self.edges.insert(node.name.clone(), Edge { gated: true, ..edge });
        Ok(())
    }

    fn filter(&mut self, node: &Node, edge: Edge, filter: &PhiResolvent) -> Result<()> {
        filter.check(edge.shape).map_err(|error| Error::graph(&node.name, error.to_string()))?;
        if filter.mode == FilterMode::Seamless {
            if matches!(edge.operand, Operand::Buffer(_)) {
                let problem = format!(
                    "a seamless filter looks at neighbouring frames, so it must read an input or the gate; after \
                     `{}` use block mode",
                    node.sources[0]
                );
                return Err(Error::graph(&node.name, problem));
            }
            self.looks_at_neighbours = true;
        }
        let layout = WindowLayout::new(filter, edge.shape)?;
        let cleaned = self.buffer(format!("{}.cleaned", node.name), edge.shape);
        let powers_shape = FrameShape::real(2 * layout.windows_per_frame);
        let powers = self.buffer(format!("{}.powers", node.name), powers_shape);
        self.step(
            node,
            filter_kernel(filter, edge.shape, layout, edge.operand),
            vec![edge.operand],
            vec![cleaned, powers],
        );
        self.edges.insert(node.name.clone(), Edge { operand: Operand::Buffer(cleaned), ..edge });
        if filter.measure != Measure::Nothing {
            let edge = Edge { operand: Operand::Buffer(powers), shape: powers_shape, gated: edge.gated };
            self.edges.insert(format!("{}{POWERS}", node.name), edge);
        }
        Ok(())
    }

    fn fourier(&mut self, node: &Node, edge: Edge, fourier: Fourier) -> Result<()> {
        fourier.check(edge.shape).map_err(|error| Error::graph(&node.name, error.to_string()))?;
        let result = self.buffer(format!("{}.transformed", node.name), edge.shape);
        self.step(node, fourier.kernel(edge.shape, edge.operand), vec![edge.operand], vec![result]);
        self.edges.insert(node.name.clone(), Edge { operand: Operand::Buffer(result), ..edge });
        Ok(())
    }

    fn kernel(&mut self, node: &Node, edges: &[Edge], kernel: &CustomKernel) -> Result<()> {
        if edges.is_empty() {
            return Err(Error::graph(&node.name, "it reads nothing; name at least one source"));
        }
        let shapes: Vec<_> = edges.iter().map(|edge| edge.shape).collect();
        let (compiled, shape) = kernel.compile(&node.name, &shapes)?;
        let operands = edges.iter().zip(&node.sources).map(|(edge, source)| self.side_by_side(*edge, source)).collect();
        let result = self.buffer(format!("{}.result", node.name), shape);
        self.step(node, compiled, operands, vec![result]);
        let gated = edges.iter().any(|edge| edge.gated);
        self.edges.insert(node.name.clone(), Edge { operand: Operand::Buffer(result), shape, gated });
        Ok(())
    }

    fn output(&mut self, node: &Node, edge: Edge) -> Result<()> {
        let Operand::Buffer(buffer) = self.side_by_side(edge, &node.sources[0]) else {
            return Err(Error::graph(&node.name, "an output should read a buffer"));
        };
        self.outputs.push(OutputPort { name: node.name.clone(), buffer });
        if !edge.gated {
            self.ungated_output = Some(node.name.clone());
        }
        Ok(())
    }

    /// Copies the live frames of an input into a buffer, for whoever needs them side by side.
    fn side_by_side(&mut self, edge: Edge, source: &str) -> Operand {
        if let Operand::Buffer(_) = edge.operand {
            return edge.operand;
        }
        let result = self.buffer(format!("{source}.gathered"), edge.shape);
        self.steps.push(Step {
            // As no node of the user's can be called.
            node: format!("{source}.gather"),
            kernel: Arc::new(gather_kernel(edge.shape)),
            operands: vec![edge.operand],
            results: vec![result],
        });
        Operand::Buffer(result)
    }

    fn buffer(&mut self, label: String, shape: FrameShape) -> usize {
        self.buffers.push((label, shape));
        self.buffers.len() - 1
    }

    fn step(&mut self, node: &Node, kernel: Kernel, operands: Vec<Operand>, results: Vec<usize>) {
        self.steps.push(Step { node: node.name.clone(), kernel: Arc::new(kernel), operands, results });
    }

    fn finish(self) -> Result<Recording> {
        if let (Some(gate), Some(output)) = (&self.gate, &self.ungated_output) {
            let problem = format!("it does not depend on the gate `{}`; put it into a graph of its own", gate.node);
            return Err(Error::graph(output.trim_end_matches(".source"), problem));
        }
        let (buffers, shared_memory) = share_memory(self.buffers, &self.steps, &self.outputs);
        Ok(Recording {
            inputs: self.inputs,
            gate: self.gate,
            steps: self.steps,
            buffers,
            shared_memory,
            outputs: self.outputs,
            looks_at_neighbours: self.looks_at_neighbours,
        })
    }
}

/// Gives every buffer a place. Those that are read back have memory of their own; the others take the best fitting
/// piece whose last reader has run, in the order of the steps.
fn share_memory(
    buffers: Vec<(String, FrameShape)>,
    steps: &[Step],
    outputs: &[OutputPort],
) -> (Vec<BufferSpec>, Vec<usize>) {
    let last_use = |buffer: usize| {
        let reads = |step: &Step| step.operands.contains(&Operand::Buffer(buffer)) || step.results.contains(&buffer);
        steps.iter().rposition(reads).unwrap_or(0)
    };
    let mut output_buffers: Vec<usize> = outputs.iter().map(|output| output.buffer).collect();
    output_buffers.sort_unstable();
    output_buffers.dedup();
    let mut places: Vec<Option<Place>> = vec![None; buffers.len()];
    for (index, &buffer) in output_buffers.iter().enumerate() {
        places[buffer] = Some(Place::Output(index));
    }
    let mut memory: Vec<usize> = Vec::new();
    let mut free_after: Vec<usize> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        for &buffer in &step.results {
            if places[buffer].is_some() {
                continue;
            }
            let floats = buffers[buffer].1.floats();
            let free = (0..memory.len()).filter(|&piece| free_after[piece] < index);
            let piece = free.min_by_key(|&piece| memory[piece].abs_diff(floats)).unwrap_or_else(|| {
                memory.push(0);
                free_after.push(0);
                memory.len() - 1
            });
            memory[piece] = memory[piece].max(floats);
            free_after[piece] = last_use(buffer);
            places[buffer] = Some(Place::Shared(piece));
        }
    }
    let specs = buffers
        .into_iter()
        .zip(places)
        .map(|((label, shape), place)| BufferSpec { label, shape, place: place.unwrap_or(Place::Shared(0)) })
        .collect();
    (specs, memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::gate::Gate;

    fn copy_kernel() -> CustomKernel {
        const WGSL: &str = "
            struct Params { count: u32, frame_len: u32 }
            @group(0) @binding(0) var<uniform> params: Params;
            @group(0) @binding(1) var<storage, read> source: array<f32>;
            @group(0) @binding(2) var<storage, read_write> result: array<f32>;
            @compute @workgroup_size(64)
            fn copy(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
                let frame = flat_workgroup(id, count);
                if frame >= params.count { return; }
                for (var i = lane; i < params.frame_len; i += 64u) {
                    result[frame * params.frame_len + i] = source[frame * params.frame_len + i];
                }
            }";
        CustomKernel::new(WGSL, |sources, result| result.copy_from_slice(sources[0]))
    }

    #[test]
    fn intermediate_buffers_share_memory_and_outputs_do_not() {
        let mut graph = Graph::new().input("in", FrameShape::real(256)).gate("gate", "in", Gate::default());
        let mut source = "gate".to_owned();
        for stage in 0..6 {
            let name = format!("copy{stage}");
            graph = graph.kernel(&name, &[&source], copy_kernel());
            source = name;
        }
        let recording = graph.output("out", &source).record().expect("the graph should compile").first;
        assert_eq!(recording.buffers.len(), 7, "six results and the gathered input");
        assert_eq!(recording.shared_memory, [256, 256], "a chain needs two pieces: one read, one written");
        for step in &recording.steps {
            for operand in &step.operands {
                let Operand::Buffer(read) = *operand else { continue };
                for &written in &step.results {
                    assert_ne!(recording.buffers[read].place, recording.buffers[written].place, "{}", step.node);
                }
            }
        }
    }
}
