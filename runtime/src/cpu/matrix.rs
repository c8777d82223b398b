//! A matrix that a kernel reads: some columns of packed rows.

/// Rows of numbers, `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// From the first column of the first row on.
    data: &'a [f32],
    /// How many rows.
    pub(crate) rows: usize,
    /// Columns.
    pub(crate) width: usize,
    /// From one row to the next.
    pub(crate) stride: usize,
}

impl<'a> Matrix<'a> {
    /// The `width` columns from `column` on of `rows` rows that lie `stride` apart.
    ///
    /// # Panics
    /// If `data` does not hold them.
    pub fn new(data: &'a [f32], rows: usize, stride: usize, column: usize, width: usize) -> Self {
        let reach = rows.checked_mul(stride);
        assert!(reach.is_some_and(|n| n <= data.len()), "the data holds all rows");
        assert!(
            column.checked_add(width).is_some_and(|n| n <= stride),
            "the row holds the columns"
        );
        let data = if rows == 0 { &[] } else { &data[column..rows * stride] };
        Matrix { data, rows, width, stride }
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.width]
    }

    /// The numbers from a row on.
    #[inline(always)]
    pub(crate) fn starting_at(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..]
    }

    /// Some of the columns.
    #[inline(always)]
    pub(crate) fn columns(&self, first: usize, width: usize) -> Matrix<'a> {
        debug_assert!(first + width <= self.width, "the matrix has the columns");
        let data = if self.rows == 0 { self.data } else { &self.data[first..] };
        Matrix { data, width, ..*self }
    }

    /// Some of the rows.
    #[inline(always)]
    pub(crate) fn rows(&self, rows: std::ops::Range<usize>) -> Matrix<'a> {
        let data = if rows.is_empty() { &[] } else { &self.data[rows.start * self.stride..] };
        Matrix { data, rows: rows.len(), ..*self }
    }
}
