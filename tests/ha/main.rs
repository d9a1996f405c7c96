//! What faults do to three API servers on an etcd of three members, while many clients write, read and watch through all of them: is what they were
//! told true, is service back in seconds, and does nobody lead beside another? One site for all tests, one after the other, each of which leaves it
//! whole.

mod faults;
mod leaders;
mod load;
mod site;

use libtest_mimic::{Arguments, Failed, Trial};
use site::Site;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share the site.
    arguments.test_threads = Some(1);
    // Started by the first test that runs.
    let site = Arc::<Mutex<Option<Site>>>::default();
    let trials = faults::TESTS.iter().map(|(name, test)| {
        let site = site.clone();
        Trial::test(*name, move || {
            let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
            let started = match site.take() {
                Some(site) => site,
                None => Site::start().map_err(failed)?,
            };
            let result = test(&started).map_err(|error| failed(started.explain(error)));
            // After a failure the next one begins with another.
            *site = result.is_ok().then_some(started);
            result
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(site);
    let panics = orknet_tests::panics::found();
    panics.iter().for_each(|panic| eprintln!("PANIC {panic}"));
    if conclusion.has_failed() || !panics.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
