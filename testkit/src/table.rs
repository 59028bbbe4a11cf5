//! Tables in plain text.

/// Lines of cells under a header. The first `texts` columns are texts, the others numbers.
#[derive(Debug)]
pub struct Table {
    texts: usize,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(texts: usize, header: [&str; N]) -> Self {
        Self {
            texts,
            lines: vec![header.map(str::to_owned).into()],
        }
    }

    pub fn add<const N: usize>(&mut self, cells: [String; N]) {
        self.lines.push(cells.into());
    }

    /// The lines as text: each column as wide as its widest cell, texts to the left and numbers to the right.
    pub fn render(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for line in &self.lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.texts {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Milliseconds with one decimal, or a dash.
pub fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1}", seconds * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_left_and_numbers_right() {
        let mut table = Table::new(1, ["name", "n", "ms"]);
        table.add(["a".to_owned(), "10".to_owned(), milliseconds(Some(0.0123))]);
        table.add(["élan vital".to_owned(), "7".to_owned(), milliseconds(None)]);
        assert_eq!(
            table.render(),
            "name         n    ms\na           10  12.3\nélan vital   7     -\n"
        );
    }
}
