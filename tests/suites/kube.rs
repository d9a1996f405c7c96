//! kube's cluster tests: the `#[ignore]`d ones inside the published crates. `cargo xtask test` made a workspace of copies of them;
//! `cargo xtask test` has built their test programs.

use crate::outcome::{self, Outcome};
use crate::stage::Stage;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// The test programs, in the file `programs` beside the workspace: one path a line. Names begin with the crate's.
pub fn run(stage: &Stage) -> Result<Vec<Outcome>> {
    let list = stage.folder.join("kube/programs");
    let programs = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}; remedy: cargo xtask test", list.display()))?;
    let mut outcomes = Vec::new();
    for program in programs.lines() {
        let (name, path) = program.split_once(' ').with_context(|| format!("no program: {program}"))?;
        let mut command = Command::new("timeout");
        command.args(["240", path, "--ignored"]).env("KUBECONFIG", &stage.kubeconfig).env("RUST_BACKTRACE", "0");
        let output = command.output().with_context(|| format!("cannot run {path}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.contains("\ntest result: ") {
            bail!("{name}'s tests did not end: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        outcomes
            .extend(outcome::of_rust(&text).into_iter().map(|outcome| Outcome { name: format!("{name}::{}", outcome.name), ..outcome }));
    }
    Ok(outcomes)
}
