//! Tests of clusters in two lanes that run beside each other. Those of policies run one at a time, and wait for silence and for nodes' reports most of
//! it; what others do meanwhile is what they leave idle.

use crate::progress::stage;
use crate::root;
use crate::run::{cargo, read, run};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::process::Command;

/// Test programs that run one after the other, beside those of the other lane. All others run alone: what measures how long something takes, what
/// uses all processors, and what others wrote, with time-outs of theirs.
const FIRST: [&str; 5] = ["policy", "policy_overlay", "unseen", "xdp", "xdp_generic"];
const SECOND: [&str; 5] = ["e2e", "balancing", "direct", "direct_overlay", "overlay"];
const PACKAGE: &str = "orknet-tests";

/// Environment of all test programs.
pub type Environment = Vec<(&'static str, OsString)>;

/// Runs every test of the workspace, whatever fails; what is not in a lane comes first, program after program.
pub fn run_all(environment: &Environment) -> Result<()> {
    let programs = programs(&read(cargo().args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root()?))?)?;
    let alone = alone(&programs)?;
    let results = [
        stage("tests, one program after the other", || run(&mut tests(environment, &["--lib", "--bins"], &alone)?)),
        stage("tests of clusters, in two lanes", || beside(environment)),
        stage("examples in documentation", || run(&mut tests(environment, &["--doc"], &[])?)),
    ];
    let failed: Vec<String> = results.into_iter().filter_map(|result| Some(format!("{:#}", result.err()?))).collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// The names of the test programs that are in no lane.
fn alone(programs: &[Program]) -> Result<Vec<&str>> {
    let lanes = || FIRST.iter().chain(&SECOND);
    for name in lanes() {
        let packages: Vec<&str> =
            programs.iter().filter(|program| program.name == **name).map(|program| program.package.as_str()).collect();
        ensure!(packages == [PACKAGE], "a test program {name} is expected in {PACKAGE} alone, and is in {packages:?}");
    }
    let names = programs.iter().map(|program| program.name.as_str());
    Ok(names.filter(|name| !lanes().any(|other| other == name)).collect())
}

/// A file of integration tests.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    package: String,
    name: String,
}

/// Those of the workspace, out of what `cargo metadata` says.
fn programs(metadata: &str) -> Result<Vec<Program>> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo metadata is no JSON")?;
    let text = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let of = |package: &Value| {
        let targets = package["targets"].as_array().cloned().unwrap_or_default();
        let tests = targets.into_iter().filter(|target| target["kind"][0] == "test");
        tests.map(|target| Program { package: text(package), name: text(&target) }).collect::<Vec<_>>()
    };
    Ok(metadata["packages"].as_array().context("cargo metadata tells of no packages")?.iter().flat_map(of).collect())
}

/// The first lane writes into a file, which is shown when it is over: the output of the second stays readable.
fn beside(environment: &Environment) -> Result<()> {
    let folder = root()?.join("target");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("first-lane.log");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let (mut first, mut second) = (tests(environment, &[], &FIRST)?, tests(environment, &[], &SECOND)?);
    first.stdout(file.try_clone()?).stderr(file);
    let results = std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&mut first));
        let second = run(&mut second);
        [first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second]
    });
    print!("{}", String::from_utf8_lossy(&fs::read(&path)?));
    let [first, second] = results;
    first.and(second)
}

fn tests(environment: &Environment, kinds: &[&str], names: &[&str]) -> Result<Command> {
    let mut command = cargo();
    // The whole workspace in any case: with fewer packages other features would be on, and much would be built again.
    command.args(["test", "--workspace", "--no-fail-fast"]).args(kinds).args(names.iter().flat_map(|name| ["--test", *name]));
    command.envs(environment.iter().cloned()).current_dir(root()?);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(package: &str, name: &str) -> Program {
        Program { package: package.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn programs_of_tests_are_told_from_other_targets() {
        let metadata = r#"{"packages": [{"name": "a", "targets": [
            {"kind": ["lib"], "name": "a"}, {"kind": ["test"], "name": "one"}, {"kind": ["custom-build"], "name": "build-script-build"}]},
            {"name": "b", "targets": [{"kind": ["bin"], "name": "b"}, {"kind": ["test"], "name": "two"}]}]}"#;
        assert_eq!(programs(metadata).unwrap(), [program("a", "one"), program("b", "two")]);
        assert!(programs("{}").is_err());
    }

    #[test]
    fn every_program_is_in_one_lane_or_runs_alone() {
        let mut all: Vec<Program> = FIRST.iter().chain(&SECOND).map(|name| program(PACKAGE, name)).collect();
        all.push(program("a", "one"));
        assert_eq!(alone(&all).unwrap(), ["one"]);
        // By its name another's would run twice.
        all.push(program("a", FIRST[0]));
        assert!(alone(&all).is_err());
        assert!(alone(&[program("a", "one")]).is_err());
    }
}
