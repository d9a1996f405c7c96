//! Suites in Python: kr8s's own tests, and those of the Python client's dynamic client, in the virtual environment that `cargo xtask
//! test` made.

use crate::outcome::{self, Outcome};
use crate::stage::Stage;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// kr8s's tests, from its source package.
pub fn kr8s(stage: &Stage) -> Result<Vec<Outcome>> {
    pytest(stage, "kr8s", &stage.folder.join("kr8s"), &["kr8s/tests"])
}

/// The dynamic client's tests, which are part of the package. Names begin with the file's path in it.
pub fn dynamic(stage: &Stage) -> Result<Vec<Outcome>> {
    let libraries = std::fs::read_dir(stage.folder.join("venv/lib")).context("there is no virtual environment")?.flatten();
    let mut packages = libraries.map(|python| python.path().join("site-packages")).filter(|packages| packages.join("kubernetes").exists());
    let packages = packages.next().context("the virtual environment has no kubernetes")?;
    let files = ["dynamic/test_client.py", "dynamic/test_discovery.py", "aio/dynamic/client_test.py", "aio/dynamic/discovery_test.py"];
    let files = files.map(|file| packages.join("kubernetes").join(file).display().to_string());
    let root = format!("--rootdir={}", packages.display());
    let arguments: Vec<&str> = ["-p", "kubernetes_e2e", &root].into_iter().chain(files.iter().map(String::as_str)).collect();
    pytest(stage, "python", stage.scratch.path(), &arguments)
}

/// Runs pytest in `folder`, the package's own options left aside (they ask for plug-ins that we do without).
fn pytest(stage: &Stage, suite: &str, folder: &Path, arguments: &[&str]) -> Result<Vec<Outcome>> {
    let results = stage.scratch.path().join(format!("{suite}.results"));
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/stand_in");
    let mut command = Command::new("timeout");
    command.arg("400").arg(stage.folder.join("venv/bin/python")).args(["-m", "pytest", "-p", "orknet_results", "--keep-cluster"]);
    // Native: Python 3.11 sometimes fails to parse the source that it would show ("AST constructor recursion depth mismatch"), and pytest ends.
    command.args(["-o", "addopts=", "--timeout=60", "-p", "no:cacheprovider", "--tb=native", "-q"]).args(arguments).current_dir(folder);
    let kubeconfig = &stage.kubeconfig;
    command.env("PYTHONPATH", stand_in).env("PYTHONDONTWRITEBYTECODE", "1").env("TMPDIR", stage.scratch.path());
    command
        .env("KUBECONFIG", kubeconfig)
        .env("ORKNET_KUBECONFIG", kubeconfig)
        .env("ORKNET_KUBECTL", &stage.kubectl)
        .env("ORKNET_RESULTS", &results);
    let output = command.output().context("cannot run pytest")?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 1: some tests failed. All else is about pytest itself, or it took too long.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("{suite}'s tests did not end: {}\n{}", output.status, said());
    }
    let lines = std::fs::read_to_string(&results).with_context(|| format!("no results:\n{}", said()))?;
    outcome::of_python(&lines)
}
