//! docs/suites.md: the tests that are known to fail, each with the reason. A section (`## SUITE`) for each suite, with a table of the tests' names.

use crate::outcome::{End, Outcome};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// By suite and test: why it fails.
pub struct Expected(BTreeMap<(String, String), String>);

impl Expected {
    pub fn read() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/suites.md");
        Self::parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
    }

    fn parse(page: &str) -> Result<Self> {
        let (mut suite, mut failures) = (String::new(), BTreeMap::new());
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                heading.clone_into(&mut suite);
            }
            let Some((name, why)) = line.strip_prefix("| `").and_then(|row| row.strip_suffix(" |")).and_then(|row| row.split_once("` | "))
            else {
                continue;
            };
            ensure!(why.len() > 20, "{name} of {suite} fails without a reason");
            ensure!(failures.insert((suite.clone(), name.to_owned()), why.to_owned()).is_none(), "{name} of {suite} is there twice");
        }
        Ok(Self(failures))
    }

    /// The tests of a suite that are to fail.
    pub fn names(&self, suite: &str) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(of, _)| of == suite).map(|(_, name)| name.as_str())
    }

    /// Whether a test ended as it should; why not otherwise.
    pub fn judge(&self, suite: &str, outcome: &Outcome) -> Result<(), String> {
        match (&outcome.end, self.0.get(&(suite.to_owned(), outcome.name.clone()))) {
            (End::Passed | End::Skipped, None) | (End::Failed(_), Some(_)) => Ok(()),
            // Which of two programs is quicker is nobody's promise.
            (End::Passed, Some(why)) if why.starts_with("Sometimes: ") => Ok(()),
            (End::Failed(said), None) => Err(said.clone()),
            (End::Passed | End::Skipped, Some(why)) => {
                Err(format!("it does not fail any more; take it out of docs/suites.md, which says: {why}"))
            }
        }
    }
}
