//! Running tests against a cluster that they share, each in a Kubernetes namespace of its own.

use crate::kubectl::Kubectl;
use crate::{Cluster, eventually, nodes, panics, record::Record};
use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use std::process::ExitCode;
use std::sync::Arc;

/// One test: its name and what it does with the cluster and with kubectl in its own namespace.
pub struct Test {
    pub name: &'static str,
    pub run: fn(&Cluster, &Kubectl) -> Result<()>,
}

/// A test that brings up what it needs itself.
pub struct Fault {
    pub name: &'static str,
    pub run: fn() -> Result<()>,
}

/// An image that a cluster of tests has beside its own: its name, and programs of this host.
pub struct Image<'a> {
    pub name: &'a str,
    pub programs: &'a [&'a str],
}

/// What the cluster of a suite is like.
pub struct Setting<'a> {
    /// See [`Cluster::up`].
    pub tag: &'a str,
    /// Of `orknet up`.
    pub options: &'a [&'a str],
    pub images: &'a [Image<'a>],
    /// What is done to the cluster before the first test.
    pub prepare: fn(&Cluster) -> Result<()>,
    /// How many tests run at the same time, unless the command line says so; as many as there are processors if it is `None`.
    pub threads: Option<usize>,
}

/// Makes a list of tests from functions; their paths are the tests' names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: &[$crate::suite::Test] = &[$($crate::suite::Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name },)+];
    };
}

/// Makes a list of faults from functions, as [`tests!`] does of tests.
#[macro_export]
macro_rules! faults {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: &[$crate::suite::Fault] = &[$($crate::suite::Fault { name: stringify!($name), run: $name },)+];
    };
}

/// Runs all tests of the groups that the command line selects, on one cluster; brings none up when none is selected.
pub fn shared(setting: &Setting<'_>, groups: &[&[Test]]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(setting.threads);
    let tests: Vec<&Test> = groups.iter().flat_map(|group| group.iter()).collect();
    let chosen = |test: &&&Test| match &arguments.filter {
        Some(filter) if arguments.exact => test.name == filter,
        Some(filter) => test.name.contains(filter.as_str()),
        None => true,
    };
    let wanted = tests.iter().filter(chosen).count() > 0 && !arguments.list;
    let cluster = match wanted.then(|| cluster_of(setting)).transpose() {
        Ok(cluster) => cluster.map(Arc::new),
        Err(error) => {
            eprintln!("cannot bring the cluster up: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let record = Arc::<Record>::default();
    let trials = tests.into_iter().map(|test| {
        let (name, run, cluster, record) = (test.name, test.run, cluster.clone(), Arc::clone(&record));
        Trial::test(name, move || record.follow(name, || in_namespace(cluster.as_deref(), name, run)))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(cluster);
    outcome(&conclusion, &record)
}

/// Runs tests each of which has a cluster of its own that it brings up itself.
pub fn separate(groups: &[&[Fault]]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait most of the time; more at once would make slow what they measure.
    arguments.test_threads.get_or_insert(2);
    let record = Arc::<Record>::default();
    let trials = groups.iter().flat_map(|group| group.iter()).map(|fault| {
        let (name, run, record) = (fault.name, fault.run, Arc::clone(&record));
        Trial::test(name, move || record.follow(name, || run().map_err(|error| Failed::from(format!("{error:#}")))))
    });
    outcome(&libtest_mimic::run(&arguments, trials.collect()), &record)
}

/// Every test has passed, and nothing has panicked meanwhile.
fn outcome(conclusion: &Conclusion, record: &Record) -> ExitCode {
    print!("{}", record.summary());
    let panics = panics::found();
    panics.iter().for_each(|panic| eprintln!("PANIC {panic}"));
    if conclusion.has_failed() || !panics.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn cluster_of(setting: &Setting<'_>) -> Result<Cluster> {
    let cluster = Cluster::up(setting.tag, setting.options)?;
    for image in setting.images {
        cluster.orknet(&[&["add-image", image.name], image.programs].concat()).with_context(|| format!("cannot add {}", image.name))?;
    }
    (setting.prepare)(&cluster)?;
    Ok(cluster)
}

fn in_namespace(cluster: Option<&Cluster>, name: &str, run: fn(&Cluster, &Kubectl) -> Result<()>) -> Result<(), Failed> {
    let cluster = cluster.ok_or("there is no cluster")?;
    let namespace = name.rsplit("::").next().unwrap_or(name).trim_start_matches("e2e_").replace('_', "-");
    let namespace = namespace[..namespace.len().min(50)].trim_end_matches('-');
    let kubectl = cluster.kubectl().in_namespace(namespace);
    let result = make_namespace(cluster, &kubectl).and_then(|()| run(cluster, &kubectl));
    if let Err(error) = result {
        let state = kubectl.run(&["get", "all,endpointslices,events", "-o", "wide"]).unwrap_or_default();
        return Err(format!("{error:#}\n{state}\n{}\n{}", nodes::state(&cluster.kubectl()), cluster.logs()).into());
    }
    // Not waited for: the cluster goes as a whole.
    let _ = cluster.kubectl().run(&["delete", "namespace", namespace, "--wait=false"]);
    Ok(())
}

/// With everything in it that every namespace has.
fn make_namespace(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    cluster.kubectl().run(&["create", "namespace", kubectl.namespace()]).context("cannot make the test's namespace")?;
    eventually("the namespace's own objects", || kubectl.run(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt"])).map(drop)
}
