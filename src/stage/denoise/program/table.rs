//! The constant data of a program: which tensor, packed how.

use crate::stage::denoise::model::Model;
use crate::stage::denoise::packing::{self, Matrix, Words};

/// Constant data that a kernel reads, as a recipe: networks of one model share what is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) label: String,
    pub(super) recipe: Recipe,
}

/// What is packed, and how. Tensors are named; `gates` are the rows of a matrix that come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipe {
    Twiddles,
    Window,
    Vector { tensor: String, gates: usize },
    Dense { tensor: String, gates: usize, bits: usize },
    DenseInt8 { tensor: String, gates: usize },
    DenseInt8Rows { tensor: String, bias: Option<String>, gates: usize },
    Zeros { len: usize },
    Recurrent { tensor: String, gates: usize, bits: usize },
    RecurrentRows { tensor: String, bias: Option<String>, gates: usize },
}

impl Table {
    /// The words of it.
    pub(crate) fn words(&self, model: &Model) -> Words {
        let of = |tensor: &String| model.tensor(tensor);
        let matrix = |tensor: &String, gates| of(tensor).map(|tensor| Matrix::of(tensor, gates));
        let bias = |bias: &Option<String>, gates: usize, rows: usize| match bias.as_ref().and_then(of) {
            Some(tensor) => Matrix::of(tensor, gates).values(),
            None => vec![0.0; rows],
        };
        let description = model.description();
        let words = match &self.recipe {
            Recipe::Twiddles => Some(packing::twiddles(description.window_len)),
            Recipe::Window => Some(packing::window_weights(description.window, description.window_len)),
            Recipe::Zeros { len } => Some(vec![0; *len]),
            Recipe::Vector { tensor, gates } => matrix(tensor, *gates).map(|vector| vector.vector()),
            Recipe::Dense { tensor, gates, bits } => matrix(tensor, *gates).map(|matrix| matrix.dense(*bits)),
            Recipe::DenseInt8 { tensor, gates } => matrix(tensor, *gates).map(|matrix| matrix.dense_int8()),
            Recipe::DenseInt8Rows { tensor, bias: of_rows, gates } => matrix(tensor, *gates).map(|matrix| {
                let rows = bias(of_rows, *gates, matrix.rows());
                rows.iter()
                    .zip(matrix.row_scales())
                    .flat_map(|(bias, scale)| [bias.to_bits(), scale.to_bits()])
                    .collect()
            }),
            Recipe::Recurrent { tensor, gates, bits } => matrix(tensor, *gates).map(|matrix| matrix.recurrent(*bits)),
            Recipe::RecurrentRows { tensor, bias: of_rows, gates } => matrix(tensor, *gates).map(|matrix| {
                let biases = Matrix::quads(*gates, &bias(of_rows, *gates, matrix.rows()));
                [biases, Matrix::quads(*gates, &matrix.row_scales())].concat()
            }),
        };
        // The names are those of the description, whose tensors a model has.
        words.unwrap_or_default()
    }
}
