//! Columns of text.

use std::io::{self, Write};

/// Rows under a title; the last column takes what room it needs, unless it is of numbers.
pub(crate) struct Table<const N: usize> {
    title: [&'static str; N],
    rows: Vec<[String; N]>,
    /// The first column of numbers, which stand to the right.
    numbers: usize,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(title: [&'static str; N], rows: Vec<[String; N]>) -> Self {
        Self { title, rows, numbers: N }
    }

    /// With numbers from this column on.
    pub(crate) fn with_numbers(self, from: usize) -> Self {
        Self { numbers: from, ..self }
    }

    /// Title and rows.
    pub(crate) fn all(&self, out: &mut impl Write) -> io::Result<()> {
        self.title(out)?;
        (0..self.rows.len()).try_for_each(|row| self.row(out, row))
    }

    pub(crate) fn title(&self, out: &mut impl Write) -> io::Result<()> {
        self.line(out, &self.title.map(str::to_owned))
    }

    pub(crate) fn row(&self, out: &mut impl Write, row: usize) -> io::Result<()> {
        self.line(out, &self.rows[row])
    }

    fn line(&self, out: &mut impl Write, cells: &[String; N]) -> io::Result<()> {
        let mut line = String::from("  ");
        for (column, cell) in cells.iter().enumerate() {
            if column > 0 {
                line += "  ";
            }
            let number = column >= self.numbers;
            let width = if column + 1 < N || number { self.width(column) } else { 0 };
            line += &if number { format!("{cell:>width$}") } else { format!("{cell:width$}") };
        }
        writeln!(out, "{}", line.trim_end())
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.title[column].len()]).max().unwrap_or(0)
    }
}
