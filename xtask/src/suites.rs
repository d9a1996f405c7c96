//! What others wrote to test against, fetched below target/suites: Kubernetes' fixtures (Debian's packages), kube's cluster tests (the published
//! crates), kr8s's and the Python client's (PyPI). Versions are fixed; what is there is not fetched again. Nothing of it is part of the tree.

use crate::root;
use crate::run::{cargo, find, read, run_quietly, run_step};
use crate::setup::{install, unpack_from};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages with fixtures, and where they are inside: that of the version that we serve first, then today's.
const FIXTURES: &[(&str, &[&str])] = &[
    ("golang-k8s-api-dev", &["k8s.io/api/testdata/v1.33.0", "k8s.io/api/testdata/HEAD"]),
    ("golang-k8s-apiextensions-apiserver-dev", &["k8s.io/apiextensions-apiserver/pkg/apis/testdata/HEAD"]),
];

/// For `pip install`: what has tests, what runs them, and what kr8s's tests convert to.
const PYTHON: &[&str] = &[
    "kr8s==0.20.15",
    "kubernetes==37.0.2",
    // Kubernetes' OpenAPI definitions, version by version.
    "kubernetes-validate==1.37.0",
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "pytest-timeout==2.4.0",
    "trio==0.35.0",
    "lightkube==1.0.1",
    "pykube-ng==23.6.0",
    "kubernetes-asyncio==36.1.0",
    // Makes requests out of our OpenAPI documents.
    "schemathesis==4.32.5",
];

/// kube's crates with cluster tests; beside each what its manifest on crates.io lacks to be tested (cargo drops dependencies on a path).
const KUBE: &[(&str, &str)] = &[
    ("kube", ""),
    ("kube-client", "[dev-dependencies.kube]\nversion = \"5\"\nfeatures = [\"derive\", \"client\", \"ws\"]\n"),
    ("kube-runtime", "[dev-dependencies.kube]\nversion = \"5\"\nfeatures = [\"derive\", \"client\", \"runtime\"]\n"),
];

/// As upstream's own run has them, as far as a test asks for them.
const KUBE_FEATURES: &str = "kube/derive,kube/runtime,kube/ws,kube-client/ws,kube-client/unstable-client,kube-client/rustls-tls,kube-client/openssl-tls,kube-client/jsonpatch,kube-client/kubelet-debug";

/// Images of tests, and what they are called with us: `latest` is pulled always, and there is no registry.
const IMAGES: &[(&str, &str)] = &[
    ("nginx:latest", "nginx:1"),
    ("nginx:stable", "nginx:1"),
    ("nginx:1.14.2", "nginx:1"),
    ("ubuntu:latest", "ubuntu:1"),
    ("google_containers/pause\"", "google_containers/pause:1\""),
];

/// Where everything is.
pub fn folder() -> Result<PathBuf> {
    Ok(root()?.join("target/suites"))
}

/// Fetches what is missing.
pub fn fetch() -> Result<()> {
    let folder = folder()?;
    fs::create_dir_all(&folder).context("cannot make target/suites")?;
    let offline = "the suites of others come from the network (or from target/suites, where an earlier run left them); `--no-suites` does without them";
    fixtures(&folder).and_then(|()| environment(&folder)).and_then(|()| kr8s(&folder)).context(offline)?;
    kube(&folder)
}

/// Folders of fixtures, as `ORKNET_FIXTURES` names them. Those of a version that the package does not have any more are left out.
pub fn fixture_folders() -> Result<std::ffi::OsString> {
    let unpacked = folder()?.join("fixtures/usr/share/gocode/src");
    let all = FIXTURES.iter().flat_map(|(_, folders)| folders.iter()).map(|inside| unpacked.join(inside));
    Ok(std::env::join_paths(all.filter(|folder| folder.exists()))?)
}

/// Kubernetes' own OpenAPI definitions of the version that we serve, as `ORKNET_OPENAPI` names them.
pub fn openapi_definitions() -> Result<PathBuf> {
    let libraries = folder()?.join("venv/lib");
    let within = "site-packages/kubernetes_validate/kubernetes-json-schema/v1.33.0-local/_definitions.json";
    let mut places =
        fs::read_dir(&libraries).context("there is no virtual environment")?.flatten().map(|python| python.path().join(within));
    places.find(|file| file.exists()).with_context(|| format!("there is no {within} below {}", libraries.display()))
}

/// Builds kube's test programs and lists them for tests/suites.
pub fn build_kube() -> Result<()> {
    let folder = folder()?.join("kube");
    let mut command = cargo();
    command.args(["test", "--no-run", "--lib", "--message-format=json", "--features", KUBE_FEATURES]).current_dir(&folder);
    command.args(KUBE.iter().flat_map(|(name, _)| ["--package", name]));
    // Their lints are not ours, and nothing is kept of it between changes.
    command.env("CARGO_TARGET_DIR", folder.join("target")).env("RUSTFLAGS", "--cap-lints=allow").env("CARGO_INCREMENTAL", "0");
    let mut programs = String::new();
    for line in read(command.arg("--quiet"))?.lines() {
        let message: Value = serde_json::from_str(line).context("cargo wrote something else than JSON")?;
        if let (Some(program), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
            programs.push_str(&format!("{name} {program}\n"));
        }
    }
    fs::write(folder.join("programs"), programs).context("cannot list kube's test programs")
}

fn fixtures(folder: &Path) -> Result<()> {
    let unpacked = folder.join("fixtures");
    for (package, folders) in FIXTURES {
        if !folders.iter().any(|inside| unpacked.join("usr/share/gocode/src").join(inside).exists()) {
            unpack_from(package, "sid", "main", &unpacked)?;
        }
    }
    Ok(())
}

/// The virtual environment; made anew when the list has changed.
fn environment(folder: &Path) -> Result<()> {
    let (place, stamp, wanted) = (folder.join("venv"), folder.join("venv/installed"), PYTHON.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let complete = || Command::new("python3").args(["-c", "import venv, ensurepip"]).output().is_ok_and(|output| output.status.success());
    if find("python3").is_none() || !complete() {
        install(&["python3-venv"])?;
    }
    let _ = fs::remove_dir_all(&place);
    run_quietly(Command::new("python3").args(["-m", "venv"]).arg(&place)).context("cannot make a virtual environment")?;
    let mut pip = Command::new(place.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON);
    run_step("Python packages with the suites of others (pip install)", &mut pip).context("cannot install Python packages")?;
    fs::write(&stamp, wanted).context("cannot write to the virtual environment")
}

/// kr8s's source package, which has the tests, with images that we have.
fn kr8s(folder: &Path) -> Result<()> {
    let (place, fresh) = (folder.join("kr8s"), folder.join("kr8s.new"));
    if place.exists() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let mut pip = Command::new(folder.join("venv/bin/pip"));
    pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:", PYTHON[0]]).current_dir(&fresh);
    run_step("kr8s's source package (pip download)", &mut pip).context("cannot download kr8s")?;
    let archive = fs::read_dir(&fresh)?.flatten().map(|entry| entry.path()).next().context("pip downloaded nothing")?;
    run_quietly(Command::new("tar").args(["--extract", "--strip-components=1", "--file"]).arg(archive).current_dir(&fresh))?;
    rename_images(&fresh.join("kr8s"))?;
    fs::rename(&fresh, &place).context("cannot put kr8s into place")
}

fn rename_images(folder: &Path) -> Result<()> {
    for path in fs::read_dir(folder)?.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            rename_images(&path)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            let renamed = IMAGES.iter().fold(text.clone(), |text, (theirs, ours)| text.replace(theirs, ours));
            if renamed != text {
                fs::write(&path, renamed).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// A workspace of copies of kube's crates, which cargo has fetched for our own: with our own lock file, so that no other versions are built.
fn kube(folder: &Path) -> Result<()> {
    let (place, fresh) = (folder.join("kube"), folder.join("kube.new"));
    if place.exists() {
        return Ok(());
    }
    let text = read(cargo().args(["metadata", "--format-version=1", "--quiet"]).current_dir(root()?))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    for (name, lacks) in KUBE {
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let Some(manifest) = packages.find(|package| package["name"] == *name).and_then(|package| package["manifest_path"].as_str()) else {
            bail!("the workspace does not depend on {name}");
        };
        let source = Path::new(manifest).parent().context("a manifest is in a folder")?;
        let copy = fresh.join(name);
        run_quietly(Command::new("cp").args(["--recursive", "--no-preserve=mode"]).arg(source).arg(&copy))?;
        let text = fs::read_to_string(copy.join("Cargo.toml"))?;
        fs::write(
            copy.join("Cargo.toml"),
            text.replacen("[dev-dependencies.k8s-openapi]", &format!("{lacks}\n[dev-dependencies.k8s-openapi]"), 1),
        )?;
        // Tests that their authors have switched off for the sake of their own CI.
        let library = copy.join("src/lib.rs");
        let text = fs::read_to_string(&library)?.replace("// #[tokio::test]", "#[tokio::test]");
        fs::write(&library, text.replace("// #[ignore = \"needs cluster", "#[ignore = \"needs cluster"))?;
    }
    let members: Vec<String> = KUBE.iter().map(|(name, _)| format!("{name:?}")).collect();
    let patches: String = KUBE.iter().map(|(name, _)| format!("{name} = {{ path = {name:?} }}\n")).collect();
    let manifest = format!(
        "[workspace]\nmembers = [{}]\nresolver = \"2\"\n\n[patch.crates-io]\n{patches}\n[profile.dev]\ndebug = 0\n",
        members.join(", ")
    );
    fs::write(fresh.join("Cargo.toml"), manifest)?;
    fs::copy(root()?.join("Cargo.lock"), fresh.join("Cargo.lock"))?;
    fs::rename(&fresh, &place).context("cannot put kube's tests into place")
}
