//! Is every write that the server acknowledged there after it was killed, and none half?

use anyhow::{Context, Result, ensure};
use orknet_tests::faults;
use orknet_tests::server::Server;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};

faults![a_server_killed_in_the_middle_of_creates_keeps_every_acknowledged_object];

const OBJECTS: usize = 200;
/// Long enough that half an object would show.
const SIZE: usize = 4000;

fn a_server_killed_in_the_middle_of_creates_keeps_every_acknowledged_object() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(directory.path())?;
    let kubectl = server.kubectl();
    let mut acknowledged = BTreeSet::new();
    for round in 0..2 {
        let manifests: String = (0..OBJECTS).map(|number| manifest(&name(round, number))).collect();
        let mut create = kubectl.start(&["create", "-f", "-", "--validate=false", "--request-timeout=60s"])?;
        let mut input = create.stdin.take().context("kubectl has an input")?;
        let writer = std::thread::spawn(move || input.write_all(manifests.as_bytes()));
        let output = BufReader::new(create.stdout.take().context("kubectl has an output")?);
        let mut seen = 0;
        for line in output.lines() {
            let line = line?;
            let created = line.strip_prefix("configmap/").and_then(|rest| rest.strip_suffix(" created"));
            acknowledged.insert(created.with_context(|| format!("kubectl said {line:?}"))?.to_owned());
            seen += 1;
            if seen == OBJECTS / 2 + round {
                server.kill()?;
            }
        }
        // It may have ended before it read everything.
        let _ = writer.join();
        ensure!(!create.wait()?.success(), "the kill came too late to be in the middle");
        server.start_again()?;
    }
    let list = kubectl.json(&["get", "configmaps", "-l", "test=writes"])?;
    let objects = list["items"].as_array().context("there is no list")?;
    for object in objects {
        let name = object["metadata"]["name"].as_str().context("an object has a name")?;
        ensure!(object["data"] == content(name), "{name} is not whole");
        ensure!(object["metadata"]["uid"].is_string() && object["metadata"]["creationTimestamp"].is_string(), "{name} is not whole");
    }
    let present: BTreeSet<String> = objects.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect();
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    ensure!(lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
    Ok(())
}

fn name(round: usize, number: usize) -> String {
    format!("round{round}-{number}")
}

fn content(name: &str) -> Value {
    serde_json::json!({"first": name, "long": "x".repeat(SIZE), "last": name})
}

fn manifest(name: &str) -> String {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "writes"}}, "data": content(name)});
    format!("---\n{object}\n")
}
