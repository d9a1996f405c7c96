//! Schemathesis: requests made out of our OpenAPI documents, some as they say and some not. No answer may be an error of the server, and it may not
//! crash. Against a server of its own, since requests delete what they meet. One of our tests for each group version.

use crate::outcome::{End, Outcome};
use crate::stage::Stage;
use anyhow::{Context, Result};
use orknet_tests::https::Api;
use orknet_tests::server::Server;
use std::path::Path;
use std::process::Command;

/// Paths below /openapi/v3: kinds with and without namespaces, with rules, with subresources, reviews, and what is not stored.
pub const GROUP_VERSIONS: &[&str] = &[
    "api/v1",
    "apis/apps/v1",
    "apis/batch/v1",
    "apis/networking.k8s.io/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/authorization.k8s.io/v1",
    "apis/autoscaling/v2",
    "apis/apiextensions.k8s.io/v1",
];

/// Seconds for all of them.
const BUDGET: usize = 120;
/// Of one operation.
const EXAMPLES: &str = "3";
/// Of all random choices.
const SEED: &str = "20261128";

pub fn run(stage: &Stage) -> Result<Vec<Outcome>> {
    let directory = tempfile::tempdir().context("cannot make a folder")?;
    let server = Server::start(directory.path())?;
    let proxy = Proxy::start(&server, directory.path())?;
    let api = Api::of(&server.kubectl())?;
    let outcomes = GROUP_VERSIONS.iter().map(|path| {
        let end = match group_version(stage, &proxy, &api, directory.path(), path)? {
            None => End::Passed,
            Some(said) => End::Failed(said),
        };
        Ok(Outcome { name: (*path).to_owned(), end })
    });
    let mut outcomes = outcomes.collect::<Result<Vec<_>>>()?;
    let log = server.log();
    let sound = api.get("/readyz").is_ok_and(|answer| answer.code == 200) && !log.contains("panicked");
    outcomes.push(Outcome {
        name: "the_server_is_sound".to_owned(),
        end: if sound { End::Passed } else { End::Failed(format!("it panicked or does not answer:\n{log}")) },
    });
    Ok(outcomes)
}

/// `kubectl proxy`: the tool knows no client certificates of ours.
struct Proxy {
    child: std::process::Child,
    url: String,
}

impl Proxy {
    fn start(server: &Server, directory: &Path) -> Result<Self> {
        let socket = directory.join("proxy.log");
        let log = std::fs::File::create(&socket)?;
        // Every method and path, and a port that is free.
        let mut command = server.kubectl().command(&["proxy", "--port=0", "--reject-methods=^$", "--reject-paths=^$"]);
        let child = command.stdout(log).spawn().context("cannot start kubectl proxy")?;
        let mut proxy = Self { child, url: String::new() };
        proxy.url = orknet_tests::eventually("kubectl proxy to listen", || {
            let said = std::fs::read_to_string(&socket)?;
            let address = said.trim().strip_prefix("Starting to serve on ").context("it does not listen yet")?;
            Ok(format!("http://{address}"))
        })?;
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What went wrong with one group version; `None`: nothing.
fn group_version(stage: &Stage, proxy: &Proxy, api: &Api, scratch: &Path, path: &str) -> Result<Option<String>> {
    let mut document = api.get(&format!("/openapi/v3/{path}"))?.expect(200)?;
    without_streams(&mut document);
    let file = scratch.join(format!("{}.json", path.replace('/', "-")));
    std::fs::write(&file, document.to_string()).context("cannot write a document")?;
    let seconds = (BUDGET / GROUP_VERSIONS.len()).to_string();
    // It is given time to stop by itself; what it has seen by then is looked at all the same.
    let mut command = Command::new("timeout");
    command.args(["--signal=INT", "--kill-after=5", &seconds]).arg(stage.folder.join("venv/bin/schemathesis"));
    command.arg("run").arg(&file).args(["--url", &proxy.url, "--checks", "not_a_server_error", "--phases", "fuzzing"]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED, "--workers", "2", "--request-timeout", "10"]);
    command.env("NO_COLOR", "1").env("HYPOTHESIS_STORAGE_DIRECTORY", scratch.join("hypothesis")).current_dir(scratch);
    let output = command.output().context("cannot run schemathesis")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(match output.status.code() {
        Some(0) => None,
        // Out of time, without a failure until then.
        Some(124 | 130 | 137) if !said.contains("Server error") => None,
        _ => Some(said),
    })
}

/// Watches and streams to kubelets have no end, and proxies lead elsewhere: they are no operations to try.
fn without_streams(document: &mut serde_json::Value) {
    if let Some(paths) = document["paths"].as_object_mut() {
        let streams = ["/watch/", "/proxy", "/exec", "/attach", "/portforward", "/log"];
        paths.retain(|path, _| !streams.iter().any(|part| path.contains(part)));
        for operations in paths.values_mut().filter_map(serde_json::Value::as_object_mut) {
            for operation in operations.values_mut() {
                // Of a path, and of its operations.
                let parameters = if operation.is_array() { Some(operation) } else { operation.get_mut("parameters") };
                if let Some(parameters) = parameters.and_then(serde_json::Value::as_array_mut) {
                    parameters.retain(|parameter| parameter["name"] != "watch");
                }
            }
        }
    }
}

#[test]
fn what_has_no_end_is_left_out() {
    let mut document = serde_json::json!({ "paths": {
        "/api/v1/pods": { "parameters": [{ "name": "watch" }, { "name": "limit" }], "get": { "parameters": [{ "name": "watch" }] } },
        "/api/v1/watch/pods": {},
        "/api/v1/namespaces/{namespace}/pods/{name}/exec": {},
    } });
    without_streams(&mut document);
    let rest = serde_json::json!({ "paths": { "/api/v1/pods": { "parameters": [{ "name": "limit" }], "get": { "parameters": [] } } } });
    assert_eq!(document, rest);
}
