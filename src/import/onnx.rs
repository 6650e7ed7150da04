//! Reads ONNX files: which nodes there are, what feeds them, and the weights that are stored beside them.
//!
//! An ONNX file is one protobuf message. The fields that matter here are declared by hand, with the numbers that
//! `onnx.proto` gives them, and read by `prost`, which bounds lengths and depth. (`rten-onnx` brings all of them
//! ready-made, but allocates what a length says before it looks whether so much is there.)

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message as _;

use super::tensor;
use crate::tensors::{ModelError, Tensor, quotable, read_bounded};

#[derive(Clone, PartialEq, prost::Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
}

/// One operation.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) operation: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    texts: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    floats: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw: Vec<u8>,
    #[prost(int32, tag = "14")]
    location: i32,
}

/// Operations that move values without changing one, when each has the form in which Keras' exporter uses them.
const MOVES: [&str; 9] =
    ["Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Dropout", "Pad", "Split", "Concat"];

/// The `data_type` of 32-bit floats.
const FLOAT: i32 = 1;

/// A network as ONNX has it.
pub(super) struct Graph {
    path: PathBuf,
    graph: GraphProto,
    /// Which node makes a value: the first of several.
    makers: HashMap<String, usize>,
}

impl Graph {
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = read_bounded(path)?;
        let model = ModelProto::decode(bytes.as_slice())
            .map_err(|error| ModelError::import(path, format!("expected an ONNX file: {error}")))?;
        let graph =
            model.graph.ok_or_else(|| ModelError::import(path, "expected an ONNX file, got one without graph"))?;
        let mut makers = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            for output in &node.outputs {
                makers.entry(output.clone()).or_insert(index);
            }
        }
        Ok(Self { path: path.to_owned(), graph, makers })
    }

    pub(super) fn problem(&self, problem: impl Into<String>) -> ModelError {
        ModelError::import(&self.path, problem)
    }

    /// The first thing that it gives.
    pub(super) fn output(&self) -> Result<&str, ModelError> {
        let output = self.graph.outputs.first().ok_or_else(|| self.problem("expected an output, got none"))?;
        Ok(&output.name)
    }

    /// Whether the value is the first thing that it takes, moved about or not.
    pub(super) fn is_input(&self, value: &str) -> bool {
        let value = self.before_moves(value);
        self.graph.inputs.first().is_some_and(|input| input.name == value)
    }

    /// The node that makes a value, before it is moved about; it must do this.
    pub(super) fn maker(&self, value: &str, operation: &str, role: &str) -> Result<&Node, ModelError> {
        let value = self.before_moves(value);
        match self.find(value) {
            Some(node) if node.operation == operation => Ok(node),
            Some(node) => {
                let actual = quotable(&node.operation);
                Err(self.problem(format!("expected `{operation}` to make {role}, got `{actual}`")))
            }
            None => {
                let value = quotable(value);
                Err(self.problem(format!("expected `{operation}` to make {role}, got `{value}`, which nothing makes")))
            }
        }
    }

    /// The value as it was before it was moved about.
    pub(super) fn before_moves<'a>(&'a self, mut value: &'a str) -> &'a str {
        // Every step goes to an earlier node, unless the file is broken: then there is an end to it all the same.
        for _ in 0..=self.graph.nodes.len() {
            let Some(node) = self.find(value) else { break };
            let is_whole = match node.operation.as_str() {
                "Split" => node.outputs.len() == 1,
                "Concat" => node.inputs.len() == 1,
                _ => true,
            };
            match node.inputs.first() {
                Some(input) if is_whole && MOVES.contains(&node.operation.as_str()) => value = input,
                _ => break,
            }
        }
        value
    }

    fn find(&self, value: &str) -> Option<&Node> {
        self.makers.get(value).map(|&index| &self.graph.nodes[index])
    }

    /// Of the two inputs of a node: the one that is stored in the file, and the one that is computed.
    pub(super) fn weight_and_value<'a>(&self, node: &'a Node, role: &str) -> Result<(&'a str, &'a str), ModelError> {
        match node.inputs.as_slice() {
            [one, other] if self.is_stored(one) && !self.is_stored(other) => Ok((one, other)),
            [one, other] if self.is_stored(other) && !self.is_stored(one) => Ok((other, one)),
            _ => Err(self.problem(format!("expected `{}` of {role} to take one stored tensor", node.operation))),
        }
    }

    fn is_stored(&self, value: &str) -> bool {
        self.graph.initializers.iter().any(|stored| stored.name == value)
    }

    /// A stored tensor of this shape; what it is for goes into the message when it has another.
    pub(super) fn weights(&self, name: &str, shape: &[usize], role: &str) -> Result<Tensor, ModelError> {
        let refused = |problem: String| self.problem(format!("{role} (`{}`): {problem}", quotable(name)));
        let stored = self.graph.initializers.iter().find(|stored| stored.name == name);
        let stored = stored.ok_or_else(|| refused("expected it to be stored in the file".to_owned()))?;
        if stored.data_type != FLOAT || stored.location != 0 {
            return Err(refused(
                "expected 32-bit floats inside the file, got another kind or another place".to_owned(),
            ));
        }
        let dims: Option<Vec<usize>> = stored.dims.iter().map(|&len| usize::try_from(len).ok()).collect();
        if dims.as_deref() != Some(shape) {
            let actual = quotable(&format!("{:?}", stored.dims));
            return Err(refused(format!("expected shape {shape:?}, got {actual}")));
        }
        let values = stored.values();
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            return Err(refused(format!("expected {expected} values, got {}", values.len())));
        }
        Ok(tensor(shape.to_vec(), values))
    }
}

impl Node {
    /// Refuses an LSTM that does more than the plain one: the other direction, other functions, peepholes.
    pub(super) fn is_plain_lstm(&self) -> bool {
        let attribute = |name: &str| self.attributes.iter().find(|attribute| attribute.name == name);
        let forward = attribute("direction").is_none_or(|direction| direction.text == b"forward");
        let functions: [&[u8]; 3] = [b"Sigmoid", b"Tanh", b"Tanh"];
        let plain = attribute("activations").is_none_or(|activations| activations.texts == functions);
        let bare = ["clip", "input_forget", "layout"].iter().all(|name| attribute(name).is_none());
        forward && plain && bare && self.inputs.get(7).is_none_or(String::is_empty)
    }
}

impl TensorProto {
    fn values(&self) -> Vec<f32> {
        if self.raw.is_empty() {
            return self.floats.clone();
        }
        self.raw.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
    }
}

/// A file with these nodes, and weights by name, shape and values.
#[cfg(test)]
pub(super) fn encoded(
    (input, output): (&str, &str),
    nodes: Vec<Node>,
    weights: &[(&str, Vec<usize>, Vec<f32>)],
) -> Vec<u8> {
    let value = |name: &str| vec![ValueInfo { name: name.to_owned() }];
    let stored = |(name, shape, values): &(&str, Vec<usize>, Vec<f32>)| TensorProto {
        dims: shape.iter().map(|&len| i64::try_from(len).unwrap()).collect(),
        data_type: FLOAT,
        floats: values.clone(),
        name: (*name).to_owned(),
        ..TensorProto::default()
    };
    let initializers = weights.iter().map(stored).collect();
    let graph = GraphProto { nodes, initializers, inputs: value(input), outputs: value(output) };
    ModelProto { graph: Some(graph) }.encode_to_vec()
}

#[cfg(test)]
impl Node {
    /// `"LSTM x W R B -> y"`
    pub(super) fn from_text(text: &str) -> Self {
        let (call, outputs) = text.split_once(" -> ").unwrap();
        let mut words = call.split(' ').map(str::to_owned);
        let operation = words.next().unwrap();
        let outputs = outputs.split(' ').map(str::to_owned).collect();
        Self { inputs: words.collect(), outputs, operation, attributes: Vec::new() }
    }

    pub(super) fn with_attribute(mut self, name: &str, text: &str) -> Self {
        let (name, text, texts) = (name.to_owned(), text.as_bytes().to_vec(), Vec::new());
        self.attributes.push(Attribute { name, text, texts });
        self
    }
}
