//! Published denoisers made into model files: DTLN from ONNX or Keras, NSNet2 from its arrays.
//!
//! ```text
//! model_1.onnx, model_2.onnx -> onnx --+
//! folder of .npy arrays      -> npy  --+-> dtln | nsnet2 (which weight is which, gates in our order) -> Model
//! ```
//!
//! Every weight is found by what the network does with it, or by its name and shape; a file that is another network
//! is refused, with what was expected of it. Whether the weights are the published ones is told by their checksum:
//! only then does the model carry the licence and the source of those.

pub mod dtln;

pub mod nsnet2;

mod npy;

mod onnx;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::stage::denoise::model::{Activation, Description, Layer, LayerKind, Model, ModelError, Tensor};

/// Who made weights that are known here.
struct Published {
    /// SHA-256 of all weights, see [`checksum`].
    sha256: &'static str,
    licence: &'static str,
    source: &'static str,
}

/// What weights say of themselves that nobody here knows.
const UNKNOWN_LICENCE: &str = "unknown: these are not the published weights, ask whoever trained them";

/// Puts a model together, and says of its weights whose they are.
fn finish(
    mut description: Description,
    tensors: BTreeMap<String, Tensor>,
    path: &Path,
    published: &[Published],
) -> Result<Model, ModelError> {
    let sum = checksum(&description, &tensors);
    if let Some(known) = published.iter().find(|known| known.sha256 == sum) {
        known.licence.clone_into(&mut description.licence);
        known.source.clone_into(&mut description.source);
    } else {
        UNKNOWN_LICENCE.clone_into(&mut description.licence);
        description.source = format!("weights with SHA-256 {sum}");
    }
    Model::new(description, tensors).map_err(|problem| ModelError::import(path, problem.to_string()))
}

/// SHA-256 of all weights as little-endian F32, in the order in which the layers use them, in lower-case hexadecimal.
fn checksum(description: &Description, tensors: &BTreeMap<String, Tensor>) -> String {
    let mut hash = Sha256::new();
    for (name, _) in description.expected_tensors() {
        if let Some(tensor) = tensors.get(&name) {
            tensor.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tensors of a model in the making.
#[derive(Debug, Default)]
struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    fn insert(&mut self, layer: &str, tensor: &str, weights: Tensor) {
        self.0.insert(format!("{layer}.{tensor}"), weights);
    }
}

fn tensor(shape: Vec<usize>, values: Vec<f32>) -> Tensor {
    Tensor { shape, values: values.into() }
}

/// `[rows, columns]` as `[columns, rows]`. Whoever read it made sure that it is a matrix.
fn transposed(matrix: &Tensor) -> Tensor {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let value = |place: usize| matrix.values[place % rows * columns + place / rows];
    tensor(vec![columns, rows], (0..rows * columns).map(value).collect())
}

/// The gates of a recurrent layer, stacked along the first axis, in another order: gate `order[n]` becomes gate `n`.
fn with_gates_in_order(stacked: &Tensor, order: &[usize]) -> Tensor {
    let gate_len = stacked.values.len() / order.len();
    let gate = |&gate: &usize| &stacked.values[gate * gate_len..][..gate_len];
    tensor(stacked.shape.clone(), order.iter().flat_map(gate).copied().collect())
}

/// The same values in another shape of as many.
fn with_shape(values: &Tensor, shape: Vec<usize>) -> Tensor {
    Tensor { shape, values: values.values.clone() }
}

fn layer(name: &str, inputs: usize, outputs: usize, kind: LayerKind) -> Layer {
    Layer { name: name.to_owned(), inputs, outputs, kind, scaled: false }
}

fn dense(name: &str, inputs: usize, outputs: usize, activation: Activation) -> Layer {
    layer(name, inputs, outputs, LayerKind::Dense(activation))
}
