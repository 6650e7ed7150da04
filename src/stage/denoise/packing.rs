//! How the tensors of a model lie for the kernels: padded, in the order in which invocations read them, in 32, 16 or 8
//! bits. All rounding happens here.

use std::f64::consts::TAU;

use super::model::Window;
use crate::stage::tile::rounded;
use crate::tensors::{LARGEST_WEIGHT, Tensor};

/// A tensor for a kernel: words, as they lie in a buffer.
pub(crate) type Words = Vec<u32>;

/// exp(-2 pi i k / len), real and imaginary part in turn.
pub(crate) fn twiddles(len: usize) -> Words {
    let turn = |k: usize| (-TAU * k as f64 / len as f64).sin_cos();
    (0..len).map(turn).flat_map(|(sin, cos)| [rounded(cos).to_bits(), rounded(sin).to_bits()]).collect()
}

/// The weight of each sample of a window.
pub(crate) fn window_weights(window: Window, len: usize) -> Words {
    window.weights(len).into_iter().map(f32::to_bits).collect()
}

/// A matrix, row after row, whose rows are taken in some order: gate by gate in the file, unit by unit for a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
    gates: usize,
}

impl<'a> Matrix<'a> {
    /// The rows of one unit, one for each gate, come together.
    pub(crate) fn of(tensor: &'a Tensor, gates: usize) -> Self {
        let columns = tensor.shape.get(1).copied().unwrap_or(1);
        Self { values: &tensor.values, columns, gates }
    }

    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    fn units(&self) -> usize {
        self.rows() / self.gates
    }

    /// Row `index` in the kernel's order.
    fn row(&self, index: usize) -> &'a [f32] {
        let row = index % self.gates * self.units() + index / self.gates;
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// A column vector in the kernel's order.
    pub(crate) fn vector(&self) -> Words {
        (0..self.rows()).map(|index| self.row(index)[0].to_bits()).collect()
    }

    /// For `dense`: row after row, in f32 or f16, each padded with zeros to a multiple of 16.
    pub(crate) fn dense(&self, bits: usize) -> Words {
        let padded = self.columns.next_multiple_of(16);
        let row = |index| (0..padded).map(move |column| self.row(index).get(column).copied().unwrap_or(0.0));
        match bits {
            16 => (0..self.rows()).flat_map(|index| pairs(row(index))).collect(),
            _ => (0..self.rows()).flat_map(row).map(f32::to_bits).collect(),
        }
    }

    /// For `dense_int8`: row after row, each padded with zeros to a multiple of 64, four columns in a word.
    pub(crate) fn dense_int8(&self) -> Words {
        let padded = self.columns.next_multiple_of(64);
        let words = |index| {
            let row = self.row(index);
            let scale = row_scale(row);
            (0..padded).step_by(4).map(move |first| four_bytes(row, first, scale))
        };
        (0..self.rows()).flat_map(words).collect()
    }

    /// What each row is to be multiplied by when it is in 8 bits, in the kernel's order.
    pub(crate) fn row_scales(&self) -> Vec<f32> {
        (0..self.rows()).map(|index| row_scale(self.row(index))).collect()
    }

    /// For recurrent kernels: column after column, for each unit a quad with a number for each gate. In 16 bits two
    /// columns share a quad, in 8 bits four; columns are padded with zeros to what the kernel takes at once.
    pub(crate) fn recurrent(&self, bits: usize) -> Words {
        let at_once = if bits == 8 { 16 } else { 4 };
        let in_word = 32 / bits;
        let word = |first: usize, unit: usize, gate: usize| {
            if gate >= self.gates {
                return 0;
            }
            let row = self.row(unit * self.gates + gate);
            let value = |column: usize| row.get(column).copied().unwrap_or(0.0);
            match bits {
                8 => four_bytes(row, first, row_scale(row)),
                16 => two_halves(value(first), value(first + 1)),
                _ => value(first).to_bits(),
            }
        };
        let columns = (0..self.columns.next_multiple_of(at_once)).step_by(in_word);
        columns
            .flat_map(|first| (0..self.units()).flat_map(move |unit| (0..4).map(move |gate| (first, unit, gate))))
            .map(|(first, unit, gate)| word(first, unit, gate))
            .collect()
    }

    /// For recurrent kernels: a quad with a number for each gate, for each unit.
    pub(crate) fn quads(gates: usize, values: &[f32]) -> Words {
        let units = values.chunks_exact(gates);
        units.flat_map(|unit| (0..4).map(|gate| unit.get(gate).copied().unwrap_or(0.0).to_bits())).collect()
    }

    /// A column vector in the kernel's order, as numbers.
    pub(crate) fn values(&self) -> Vec<f32> {
        (0..self.rows()).map(|index| self.row(index)[0]).collect()
    }
}

fn row_scale(row: &[f32]) -> f32 {
    row.iter().fold(0.0_f32, |peak, value| peak.max(value.abs())) / 127.0
}

fn four_bytes(row: &[f32], first: usize, scale: f32) -> u32 {
    let byte = |column: usize| {
        let value = row.get(column).copied().unwrap_or(0.0);
        let steps = if scale > 0.0 { (value / scale).round_ties_even().clamp(-127.0, 127.0) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "it was clamped")]
        let byte = steps as i8;
        byte.cast_unsigned()
    };
    u32::from_le_bytes([byte(first), byte(first + 1), byte(first + 2), byte(first + 3)])
}

fn pairs(row: impl Iterator<Item = f32>) -> impl Iterator<Item = u32> {
    let row: Vec<f32> = row.collect();
    (0..row.len() / 2).map(move |pair| two_halves(row[2 * pair], row[2 * pair + 1]))
}

fn two_halves(low: f32, high: f32) -> u32 {
    u32::from(half_bits(low)) | u32::from(half_bits(high)) << 16
}

/// The nearest number in 16 bits; of two that are as near, the even one. No weight is larger than the largest.
fn half_bits(value: f32) -> u16 {
    half::f16::from_f32(value.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_nearest_ones() {
        let cases = [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65_504.0, 0x7bff),
            (1e9, 0x7bff),
            (6.103_515_6e-5, 0x0400),
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (0.333_251_95, 0x3555),
            // Halfway between two: the even one.
            (1.000_488_3, 0x3c00),
            (1.001_464_8, 0x3c02),
            (6.1e-5, 0x03ff),
        ];
        for (value, bits) in cases {
            assert_eq!(half_bits(value), bits, "{value}: {:#06x} for {bits:#06x}", half_bits(value));
        }
    }

    #[test]
    fn rows_of_a_unit_come_together_and_are_padded() {
        // Two gates of three units, two columns: row 10 * gate + unit.
        let values: Vec<f32> = [0, 1, 2, 10, 11, 12].iter().flat_map(|row| [*row as f32, 0.5]).collect();
        let tensor = Tensor { shape: vec![6, 2], values: values.into() };
        let matrix = Matrix::of(&tensor, 2);
        let firsts: Vec<f32> = matrix.dense(32).chunks(16).map(|row| f32::from_bits(row[0])).collect();
        assert_eq!(firsts, [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
        assert_eq!(matrix.dense(16).len(), 6 * 8, "two in a word");
        assert_eq!(matrix.dense(16)[8], 0x3800_4900, "10 and 0.5");
        let recurrent: Vec<f32> = matrix.recurrent(32).iter().map(|word| f32::from_bits(*word)).collect();
        assert_eq!(recurrent[..12], [0.0, 10.0, 0.0, 0.0, 1.0, 11.0, 0.0, 0.0, 2.0, 12.0, 0.0, 0.0]);
        assert_eq!((recurrent.len(), recurrent[12..14].to_vec()), (4 * 3 * 4, vec![0.5, 0.5]), "four columns");
        assert_eq!(matrix.recurrent(16)[1], 0x3800_4900, "two columns of the second gate");
        assert_eq!(matrix.recurrent(8).len(), 4 * 3 * 4, "sixteen columns");
        assert_eq!(matrix.recurrent(8)[4 + 1].to_le_bytes(), [127, 6, 0, 0], "11 and 0.5, in steps of 11 / 127");
        assert_eq!(matrix.row_scales()[3], 11.0 / 127.0);
    }
}
