//! How long it takes a policy from `kubectl apply` to be in force on every node, as the traffic notices and as the API tells.

use crate::arena::nettool;
use crate::report::Section;
use crate::samples::percentile;
use anyhow::{Context, Result, bail, ensure};
use orknet_tests::talk::{self, Client, TOOLS, at};
use orknet_tests::{Cluster, Kubectl, Stream, programmed};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;
const NODES: [&str; 2] = ["node1", "node2"];
const MANIFEST: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\nspec: {podSelector: {matchLabels: {role: server}}}\n";

/// Seconds since kubectl was started.
#[derive(Default)]
struct Times {
    applied: Vec<f64>,
    last_answer: Vec<f64>,
    told: Vec<f64>,
}

/// Measures.
pub fn measure() -> Result<Section> {
    let cluster = Cluster::up("pf", &["--bare", "--nodes", "2"])?;
    cluster.orknet(&["add-image", TOOLS, &nettool()?])?;
    let kubectl = cluster.kubectl();
    let mut streams = Vec::new();
    for node in NODES {
        let server = format!("server-{node}");
        talk::pod(&kubectl, &server, &format!("nodeName: {node}"))?;
        talk::wait_ready(&kubectl, &server)?;
        kubectl.run(&["label", "pod", &server, "role=server"])?;
        let address = at(&kubectl.run(&["get", "pod", &server, "-o", "jsonpath={.status.podIP}"])?, talk::PORT);
        let client = format!("client-{node}");
        Client::on_node(&kubectl, &client, NODES[0])?;
        streams.push((Stream::pod(&kubectl, &client, "ask-connected-socket", &address)?, server));
    }
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        for (stream, server) in &streams {
            stream.until(server)?;
            stream.hear(5)?;
        }
        round(&kubectl, &mut streams, &mut times)?;
        kubectl.run(&["delete", "networkpolicy", "deny"])?;
        programmed::settle(&kubectl)?;
    }
    let mut table = vec![["from `kubectl apply` (its start) to", "p50", "p90"].map(str::to_owned).to_vec()];
    for (what, found) in [
        ("kubectl's end", &times.applied),
        ("the last answer that any server gave", &times.last_answer),
        ("the condition Programmed, as `kubectl wait` (started beside) saw it", &times.told),
    ] {
        let ms = |percent| format!("{:.0} ms", percentile(found, percent) * 1000.0);
        table.push(vec![what.to_owned(), ms(50.0), ms(90.0)]);
    }
    Ok(Section {
        title: "From `kubectl apply` to in force",
        command: "cargo xtask bench policy",
        method: format!(
            "{ROUNDS} times a policy that takes nothing, for two servers, one on each of two nodes; a client asks each of them about a hundred times a second over UDP. kubectl's own start \
             is in all figures."
        ),
        table,
    })
}

fn round(kubectl: &Kubectl, streams: &mut [(Stream, String)], times: &mut Times) -> Result<()> {
    streams.iter().try_for_each(|(stream, _)| stream.hear(0).map(drop))?;
    let start = Instant::now();
    // The companion is there once the policy is.
    let wait = "until kubectl wait networkpolicystatus/deny --for=condition=Programmed --timeout=20s 2>/dev/null; do sleep 0.01; done";
    let mut waiting = Command::new("timeout");
    waiting.args(["60", "sh", "-c", &wait.replace("kubectl ", &format!("kubectl --kubeconfig {} ", kubeconfig(kubectl)?))]);
    let mut waiting = waiting.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot wait")?;
    let told = std::thread::spawn(move || waiting.wait().map(|outcome| (outcome.success(), start.elapsed().as_secs_f64())));
    kubectl.apply(MANIFEST)?;
    times.applied.push(start.elapsed().as_secs_f64());
    // Each by a thread of its own: what a stream has said is dated when it is read.
    let last = std::thread::scope(|scope| {
        let heard: Vec<_> = streams.iter_mut().map(|(stream, server)| scope.spawn(move || last_answer(stream, server, start))).collect();
        let all = heard.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        all.collect::<Result<Vec<f64>>>().map(|all| all.into_iter().fold(0.0, f64::max))
    })?;
    times.last_answer.push(last);
    let (is_told, after) = told.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    ensure!(is_told, "the condition did not come");
    times.told.push(after);
    Ok(())
}

/// Seconds from the start to the last answer of a server before the first question that nobody answers.
fn last_answer(stream: &mut Stream, server: &str, start: Instant) -> Result<f64> {
    let mut last = 0.0;
    loop {
        let line = stream.next()?;
        if line != server {
            ensure!(line == "error TimedOut", "{line}");
            return Ok(last);
        }
        last = start.elapsed().as_secs_f64();
        if start.elapsed() > Duration::from_secs(60) {
            bail!("the policy is not in force");
        }
    }
}

/// Where it knows the cluster from.
fn kubeconfig(kubectl: &Kubectl) -> Result<String> {
    let command = kubectl.command(&[]);
    let words: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let place = words.iter().position(|word| word == "--kubeconfig").context("kubectl has no kubeconfig")?;
    words.get(place + 1).cloned().context("kubectl has no kubeconfig")
}
