//! Columns of text.

use std::io::{self, Write};

/// Rows under a title; the last column takes what room it needs.
pub(super) struct Table<const N: usize> {
    title: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(title: [&'static str; N], rows: Vec<[String; N]>) -> Self {
        Self { title, rows }
    }

    pub(super) fn title(&self, out: &mut impl Write) -> io::Result<()> {
        self.line(out, &self.title.map(str::to_owned))
    }

    pub(super) fn row(&self, out: &mut impl Write, row: usize) -> io::Result<()> {
        self.line(out, &self.rows[row])
    }

    fn line(&self, out: &mut impl Write, cells: &[String; N]) -> io::Result<()> {
        let mut line = String::from("  ");
        for (column, cell) in cells.iter().enumerate() {
            if column > 0 {
                line += "  ";
            }
            let width = if column + 1 < N { self.width(column) } else { 0 };
            line += &format!("{cell:width$}");
        }
        writeln!(out, "{}", line.trim_end())
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.title[column].len()]).max().unwrap_or(0)
    }
}
