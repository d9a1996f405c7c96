//! Suites that others wrote, run against a cluster of ours: kube's cluster tests, kr8s's, the dynamic client's of the Python client. What
//! `cargo xtask test` fetched is in the folder that `ORKNET_SUITES` names. Each of their tests is one of ours: it passes if it ends
//! as docs/suites.md says, which explains every failure by name.

mod expected;
mod kube;
mod outcome;
mod python;
mod schemathesis;
mod stage;

use anyhow::{Context, Result};
use expected::Expected;
use libtest_mimic::{Arguments, Failed, Trial};
use outcome::Outcome;
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// A suite: its name, which is its heading in docs/suites.md, and what runs it.
struct Suite {
    name: &'static str,
    run: fn(&Stage) -> Result<Vec<Outcome>>,
    /// At least so many of its tests must have been heard of.
    least: usize,
}

/// In rounds: those of one round run beside each other.
const ROUNDS: &[&[Suite]] = &[
    // First, while the cluster has little in it: it deletes what it meets.
    &[Suite { name: "schemathesis", run: schemathesis::run, least: schemathesis::GROUP_VERSIONS.len() }],
    &[Suite { name: "kube", run: kube::run, least: 33 }, Suite { name: "python", run: python::dynamic, least: 28 }],
    // Alone: its tests look at all pods of the cluster, one after the other.
    &[Suite { name: "kr8s", run: python::kr8s, least: 240 }],
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(folder) = std::env::var_os("ORKNET_SUITES").map(PathBuf::from) else {
        let absent = Trial::test("needs_ORKNET_SUITES", || Ok(())).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, vec![absent]).exit_code();
    };
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    match trials(&folder, arguments.filter.as_deref()) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("suites: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the suites that the filter may mean: `SUITE::…` is a test's name.
fn trials(folder: &Path, filter: Option<&str>) -> Result<Vec<Trial>> {
    let wanted = |suite: &&Suite| filter.is_none_or(|filter| filter.split("::").next().is_some_and(|first| first == suite.name));
    let rounds: Vec<Vec<&Suite>> = ROUNDS.iter().map(|round| round.iter().filter(wanted).collect()).collect();
    if rounds.iter().all(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let expected = Expected::read()?;
    let stage = Stage::set(folder)?;
    let mut trials = Vec::new();
    for round in rounds {
        let results = std::thread::scope(|scope| {
            let running: Vec<_> = round.iter().map(|suite| (suite, scope.spawn(|| timed(suite, &stage)))).collect();
            running.into_iter().map(|(suite, thread)| (suite, thread.join())).collect::<Vec<_>>()
        });
        for (suite, result) in results {
            let outcomes =
                result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).with_context(|| format!("{} did not run", suite.name))?;
            trials.extend(judged(suite, outcomes, &expected, filter.is_some_and(|filter| filter.contains("::"))));
        }
    }
    Ok(trials)
}

fn timed(suite: &Suite, stage: &Stage) -> Result<Vec<Outcome>> {
    let started = Instant::now();
    let outcomes = (suite.run)(stage)?;
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let (passed, failed) =
        (count(|outcome| outcome.end == outcome::End::Passed), count(|outcome| matches!(outcome.end, outcome::End::Failed(_))));
    let skipped = outcomes.len() - passed - failed;
    println!("{}: {passed} passed, {failed} failed, {skipped} skipped by itself, {:.0} s", suite.name, started.elapsed().as_secs_f64());
    Ok(outcomes)
}

/// Each outcome beside what is expected of it, and those that are expected but were not heard of.
fn judged(suite: &Suite, outcomes: Vec<Outcome>, expected: &Expected, partly: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    let verdict =
        |name: String, verdict: Result<(), String>| Trial::test(format!("{}::{name}", suite.name), move || verdict.map_err(Failed::from));
    if !partly {
        let all = if outcomes.len() < suite.least { Err(format!("only {} of {} tests ran", outcomes.len(), suite.least)) } else { Ok(()) };
        trials.push(verdict("all_tests_ran".to_owned(), all));
        for name in expected.names(suite.name).filter(|name| !outcomes.iter().any(|outcome| outcome.name == **name)) {
            trials.push(verdict(name.to_owned(), Err("docs/suites.md names it, but there is no such test".to_owned())));
        }
    }
    trials.extend(outcomes.into_iter().map(|outcome| verdict(outcome.name.clone(), expected.judge(suite.name, &outcome))));
    trials
}
