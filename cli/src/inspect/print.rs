//! What was found, as tables for people or as JSON for programs.

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::Value;
use std::io::{self, ErrorKind, Write};

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// A column: numbers stand to the right, so that they can be compared.
#[derive(Clone, Copy)]
pub enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// Both forms.
#[derive(Default)]
pub struct View {
    tables: Vec<Table>,
    values: Vec<Value>,
}

impl View {
    /// Begins a table; units are in the headers.
    pub fn table<const N: usize>(&mut self, columns: [Column; N]) {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table.set_header(columns.map(|column| match column {
            Column::Text(title) | Column::Number(title) => title,
        }));
        for (place, column) in columns.into_iter().enumerate() {
            if let (Column::Number(_), Some(column)) = (column, table.column_mut(place)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.tables.push(table);
    }

    /// A line of the table that was begun last.
    pub fn line<const N: usize>(&mut self, cells: [String; N]) {
        if let Some(table) = self.tables.last_mut() {
            table.add_row(cells);
        }
    }

    /// An entry for programs.
    pub fn value(&mut self, value: Value) {
        self.values.push(value);
    }

    /// The text to print; JSON is always an array.
    pub fn text(&self, output: Output) -> Result<String> {
        match output {
            Output::Json => Ok(serde_json::to_string_pretty(&self.values)? + "\n"),
            Output::Table => Ok(self.tables.iter().map(|table| table.trim_fmt() + "\n").collect::<Vec<_>>().join("\n")),
        }
    }
}

/// Prints to standard output. Whoever closes it has seen enough (`orknet services | head`).
pub fn print(view: &View, output: Output) -> Result<()> {
    write(&view.text(output)?)
}

/// The same of a text.
pub fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_to_the_left_and_numbers_to_the_right() {
        let mut view = View::default();
        view.table([Column::Text("MAP"), Column::Number("ENTRIES")]);
        for (name, entries) in [("A", 5), ("LONGER", 12_345_678)] {
            view.line([name.to_owned(), entries.to_string()]);
            view.value(serde_json::json!({"name": name}));
        }
        view.table([Column::Text("REASON")]);
        assert_eq!(view.text(Output::Table).unwrap(), " MAP      ENTRIES\n A              5\n LONGER  12345678\n\n REASON\n");
        let json: Value = serde_json::from_str(&view.text(Output::Json).unwrap()).unwrap();
        assert_eq!(json, serde_json::json!([{"name": "A"}, {"name": "LONGER"}]));
    }
}
