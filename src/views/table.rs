//! Columns that stand below each other.

/// Rows of cells as lines: each column as wide as its widest cell, two spaces between, none at a line's end. A cell is
/// what is shown and what it is painted with: the paint has no width.
pub(crate) struct Table {
    rows: Vec<Vec<(String, Option<String>)>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| ((*cell).to_owned(), None)).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Option<String>)>) {
        self.rows.push(cells);
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row: &Vec<_>| row.get::<usize>(column));
            cells.map(|(text, _): &(String, _)| text.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((shown, painted), width) in row.iter().zip(&widths) {
                line.push_str(painted.as_ref().unwrap_or(shown));
                line.push_str(&" ".repeat(width - shown.chars().count() + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
