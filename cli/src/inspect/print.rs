//! Rows as a table for people or as JSON for programs.

use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

/// How to show rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// Rows in both forms.
pub struct Rows {
    header: Vec<&'static str>,
    cells: Vec<Vec<String>>,
    notes: Vec<String>,
    values: Vec<Value>,
}

impl Rows {
    pub fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), cells: Vec::new(), notes: Vec::new(), values: Vec::new() }
    }

    pub fn add<const N: usize>(&mut self, cells: [String; N], value: Value) {
        self.cells.push(cells.to_vec());
        self.values.push(value);
    }

    /// A line below the table.
    pub fn note(&mut self, line: String, value: Value) {
        self.notes.push(line);
        self.values.push(value);
    }
}

/// Prints to standard output. JSON is always an array.
pub fn print(rows: &Rows, output: Output) -> Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows.values)?),
        Output::Table => {
            let mut table = Table::new();
            table.load_preset(NOTHING).set_header(&rows.header);
            table.add_rows(&rows.cells);
            println!("{}", table.trim_fmt());
            for note in &rows.notes {
                println!("{note}");
            }
        }
    }
    Ok(())
}
