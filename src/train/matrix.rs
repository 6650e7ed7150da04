//! Matrix products over plain slices, for the layers.

/// A row-major matrix that may be a part of a wider one, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next.
    row_step: usize,
    /// From one column to the next.
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// `values` as rows of `columns`.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, rows: values.len() / columns, columns, row_step: columns, column_step: 1 }
    }

    /// The columns from `first` on.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        Self { values: &self.values[first * self.column_step..], columns: count, ..self }
    }

    /// Rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
        }
    }

    fn reach(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 1
    }
}

/// `out = a b`, or `out = out + a b` where it adds; `out` has the rows of `a` and the columns of `b`, without gaps. What
/// it held before does not matter where nothing is added to it.
///
/// # Panics
/// When the sizes do not fit.
pub(crate) fn multiply(out: &mut [f32], adds: bool, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "the columns of one matrix should be the rows of the other");
    assert_eq!(out.len(), a.rows * b.columns, "the product should fit");
    assert!(a.reach() <= a.values.len() && b.reach() <= b.values.len(), "a matrix should lie in its slice");
    let step = |length: usize| isize::try_from(length).unwrap_or(isize::MAX);
    #[expect(unsafe_code, reason = "the product takes pointers; the lengths behind them are checked above")]
    // SAFETY: every element that the product reads lies within `reach` of its slice, what it writes within the product of
    // rows and columns, and both are checked above. `out` is borrowed alone, so it overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            step(b.columns),
            adds,
            a.values.as_ptr(),
            step(a.column_step),
            step(a.row_step),
            b.values.as_ptr(),
            step(b.column_step),
            step(b.row_step),
            if adds { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
