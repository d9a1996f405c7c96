//! Measures, and writes what it measured into docs/benchmarks.md. Always interleaved (A B A B …): hosts are noisy; medians and ratios
//! are what counts. `cargo xtask bench [NAME …]` builds what it needs and runs it.

mod api;
mod arena;
mod contest;
mod costs;
mod netperf;
mod nodeport;
mod places;
mod policies;
mod policy_copies;
mod policy_costs;
mod policy_in_force;
mod policy_scale;
mod policy_traffic;
mod programming;
mod proxy_rules;
mod report;
mod rival;
mod roles;
mod rules;
mod samples;
mod services;
mod setup;
mod stack;
mod startup;
mod topology;
mod traffic;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

/// A benchmark: its name on the command line, and what it does.
type Benchmark = (&'static str, fn() -> Result<report::Section>);

/// The part of a name before `/` stands for all that begin so.
const BENCHMARKS: &[Benchmark] = &[
    ("startup", startup::measure),
    ("traffic", traffic::measure),
    ("rules", rules::measure),
    ("programming", programming::measure),
    ("services/outside", nodeport::measure),
    ("services/set-up", setup::measure),
    ("services/fast-path", stack::measure),
    ("services/costs", costs::measure),
    ("services/scale", programming::measure_large),
    ("policy/traffic", policy_traffic::measure),
    ("policy/both-directions", policy_traffic::measure_both_directions),
    ("policy/costs", policy_costs::measure),
    ("policy/in-force", policy_in_force::measure),
    ("policy/scale", policy_scale::measure),
    ("api/calls", api::calls::measure),
    ("api/watchers", api::watchers::measure),
    ("api/scale", api::scale::measure),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match run(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !BENCHMARKS.iter().any(|(known, _)| is_meant(known, name))) {
        let known: Vec<&str> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        bail!("there is no benchmark {unknown:?}; there are: {}", known.join(", "));
    }
    // The harness's clients and ours use one TLS provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for (name, measure) in BENCHMARKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| is_meant(name, wanted))) {
        eprintln!("bench {name}");
        let section = measure().with_context(|| format!("benchmark {name}"))?;
        println!("{}", section.text());
        report::keep(&section)?;
    }
    Ok(())
}

fn is_meant(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
