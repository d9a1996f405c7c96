//! How a foreign test ended, read from what its runner wrote.

use anyhow::{Context, Result};
use serde::Deserialize;

/// One test's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Passed,
    /// With what it said.
    Failed(String),
    /// Its authors skip it, or expect it to fail.
    Skipped,
}

/// What Rust's test harness printed: `test NAME ... ok`, and `---- NAME stdout ----` before what a failed test said.
pub fn of_rust(output: &str) -> Vec<Outcome> {
    let said = |name: &str| {
        let (_, text) = output.split_once(&format!("\n---- {name} stdout ----\n"))?;
        Some(text.split("\n---- ").next().unwrap_or(text).split("\nfailures:\n").next().unwrap_or(text).trim().to_owned())
    };
    let line = |line: &str| {
        // `… - should panic`, and the reason after `ignored`, are not part of it.
        let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let end = match end.split(',').next().unwrap_or(end) {
            "ok" => End::Passed,
            "FAILED" => End::Failed(said(name).unwrap_or_default()),
            "ignored" => End::Skipped,
            _ => return None,
        };
        Some(Outcome { name: name.to_owned(), end })
    };
    output.lines().filter_map(line).collect()
}

/// What tests/suites/stand_in/orknet_results.py wrote: a line of JSON for each test; the last one about a test counts.
pub fn of_python(lines: &str) -> Result<Vec<Outcome>> {
    #[derive(Deserialize)]
    struct Line {
        name: String,
        outcome: String,
        text: String,
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for line in lines.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("no result: {line}"))?;
        let end = match line.outcome.as_str() {
            "passed" => End::Passed,
            "skipped" => End::Skipped,
            _ => End::Failed(line.text),
        };
        outcomes.retain(|earlier| earlier.name != line.name);
        outcomes.push(Outcome { name: line.name, end });
    }
    Ok(outcomes)
}
