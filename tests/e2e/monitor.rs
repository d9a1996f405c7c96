//! Do `orknet monitor`, `orknet policy` and Events of pods name who was refused or let through, and by which rule?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, eventually, programmed, tests};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

tests![
    e2e_monitors_tell_what_is_refused_and_let_through_with_the_names_behind_it,
    e2e_monitors_name_the_service_that_a_client_asked_for_or_may_have_asked_for,
    e2e_a_call_that_a_socket_is_refused_is_told_with_its_pod_and_its_service,
    e2e_a_monitor_ends_with_who_reads_it,
    e2e_a_refused_connection_is_an_event_of_its_pods,
    e2e_policies_of_a_pod_are_shown_in_words_and_as_map_entries,
];

/// A monitor that runs. Ends when dropped.
struct Monitor {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Monitor {
    fn start(cluster: &Cluster, more: &[&str]) -> Result<Self> {
        let mut command = cluster.command(&[&["monitor", "-o", "json"], more].concat());
        let mut process = command.stdout(Stdio::piped()).spawn().context("cannot start orknet monitor")?;
        let out = process.stdout.take().context("no pipe")?;
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let heard = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Ok(Self { process, lines })
    }

    /// What it has told of connections between two pods.
    fn between(&self, client: &str, server: &str) -> Vec<Value> {
        let is_between = |line: &&Value| line["client"]["pod"]["name"] == client && line["server"]["pod"]["name"] == server;
        self.lines.lock().unwrap().iter().filter(is_between).cloned().collect()
    }

    /// Asks it to end; its exit code.
    fn end(mut self) -> Result<Option<i32>> {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGINT)?;
        Ok(self.process.wait()?.code())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `friend` may speak to `server` on the same node, `stranger` of another one may not.
fn setting(kubectl: &Kubectl) -> Result<String> {
    for (pod, node) in [("friend", "node1"), ("stranger", "node2"), ("server", "node1")] {
        talk::pod(kubectl, pod, &format!("nodeName: {node}"))?;
    }
    ["friend", "stranger", "server"].iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    let app = |name: &str| json!({"matchLabels": {"app": name}});
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friends"},
        "spec": {"podSelector": app("server"), "ingress": [{"from": [{"podSelector": app("friend")}], "ports": [{"port": talk::PORT}]}]}});
    programmed::apply(kubectl, &programmed::list(&[policy]))?;
    kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])
}

fn e2e_monitors_tell_what_is_refused_and_let_through_with_the_names_behind_it(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let server = at(&setting(kubectl)?, talk::PORT);
    let namespace = kubectl.namespace();
    let all = Monitor::start(cluster, &["--namespace", namespace])?;
    let refused = Monitor::start(cluster, &["--pod", &format!("{namespace}/server"), "--verdict", "dropped"])?;
    let elsewhere = Monitor::start(cluster, &["--namespace", "kube-system", "--node", "node1"])?;
    // A monitor hears from some moment on: who is not heard speaks again.
    let dropped = eventually("a refusal to be told", || {
        ensure!(Client::of(kubectl, "stranger").attempt(How::Tcp, &server)?.answer().is_err());
        ensure!(!refused.between("stranger", "server").is_empty(), "the second monitor hears nothing");
        all.between("stranger", "server").pop().context("the first monitor hears nothing")
    })?;
    ensure!(dropped["verdict"] == "dropped" && dropped["reason"] == "policy-ingress" && dropped["node"] == "node1", "{dropped:#}");
    ensure!(
        dropped["protocol"] == "TCP" && dropped["server"]["port"] == talk::PORT && dropped["tcpFlags"] == json!(["SYN"]),
        "{dropped:#}"
    );
    ensure!(dropped["server"]["pod"]["isLocal"] == true && dropped["client"]["pod"]["isLocal"].is_null(), "{dropped:#}");
    let isolating = json!([{"kind": "NetworkPolicy", "namespace": namespace, "name": "friends"}]);
    ensure!(dropped["judged"] == json!([{"direction": "ingress", "isolatedBy": isolating}]), "{dropped:#}");
    let allowed = eventually("a flow to be told", || {
        Client::of(kubectl, "friend").attempt(How::Tcp, &server)?.answer()?;
        all.between("friend", "server").pop().context("nothing is heard")
    })?;
    let rule = json!({"kind": "NetworkPolicy", "namespace": namespace, "name": "friends", "index": 0});
    ensure!(allowed["verdict"] == "allowed" && allowed["judged"] == json!([{"direction": "ingress", "rule": rule}]), "{allowed:#}");
    ensure!(refused.between("friend", "server").is_empty(), "who asks for what is dropped hears of nothing else");
    ensure!(elsewhere.between("stranger", "server").is_empty(), "who asks for another namespace hears nothing of this one");
    for monitor in [all, refused, elsewhere] {
        ensure!(monitor.end()? == Some(0), "a monitor ends well when it is interrupted");
    }
    Ok(())
}

fn e2e_monitors_name_the_service_that_a_client_asked_for_or_may_have_asked_for(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let server = at(&setting(kubectl)?, talk::PORT);
    let front = talk::serve(kubectl, "web", "server", "")?;
    programmed::of_object(kubectl, &kubectl.json(&["get", "service", "web"])?)?;
    let namespace = kubectl.namespace();
    let monitor = Monitor::start(cluster, &["--pod", &format!("{namespace}/server")])?;
    let told = |client: &str, address: &str| {
        let before = monitor.between(client, "server").len();
        eventually("a connection to be told", || {
            let _ = Client::of(kubectl, client).attempt(How::Tcp, address)?;
            monitor.between(client, "server").get(before).cloned().context("nothing is heard")
        })
    };
    let possible = json!([{"namespace": namespace, "name": "web"}]);
    // On the client's node its socket is known: what it asked for, and that it did not ask for a Service.
    let by_service = told("friend", &at(&front, 80))?;
    let service = json!({"namespace": namespace, "name": "web", "address": front, "port": 80});
    ensure!(by_service["service"] == service && by_service["possibleServices"].is_null(), "{by_service:#}");
    ensure!(by_service["server"]["port"] == talk::PORT, "{by_service:#}");
    let by_address = told("friend", &server)?;
    ensure!(by_address["service"].is_null() && by_address["possibleServices"].is_null(), "{by_address:#}");
    // On another node nobody knows: it may have been the Service.
    for address in [at(&front, 80), server] {
        let refused = told("stranger", &address)?;
        ensure!(refused["service"].is_null() && refused["possibleServices"] == possible, "{refused:#}");
    }
    Ok(())
}

fn e2e_a_call_that_a_socket_is_refused_is_told_with_its_pod_and_its_service(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "client", "nodeName: node2")?;
    talk::wait_ready(kubectl, "client")?;
    let front = talk::serve(kubectl, "empty", "nobody", "")?;
    programmed::of_object(kubectl, &kubectl.json(&["get", "service", "empty"])?)?;
    let namespace = kubectl.namespace();
    let monitor = Monitor::start(cluster, &["--namespace", namespace, "--verdict", "dropped"])?;
    for (how, protocol) in [(How::Tcp, "TCP"), (How::Udp, "UDP")] {
        let refused = eventually("a refusal to be told", || {
            Client::of(kubectl, "client").is_refused(how, &at(&front, 80), "ConnectionRefused")?;
            let is_it = |line: &&Value| line["isCall"] == true && line["protocol"] == protocol;
            monitor.lines.lock().unwrap().iter().find(is_it).cloned().context("nothing is heard")
        })?;
        let client = json!({"namespace": namespace, "name": "client", "isLocal": true});
        ensure!(refused["client"]["pod"] == client && refused["client"]["port"].is_null() && refused["node"] == "node2", "{refused:#}");
        let address = kubectl.run(&["get", "pod", "client", "-o", "jsonpath={.status.podIP}"])?;
        ensure!(refused["client"]["address"] == address && refused["server"] == json!({"address": front, "port": 80}), "{refused:#}");
        ensure!(refused["service"]["name"] == "empty" && refused["reason"] == "no-endpoints", "{refused:#}");
        ensure!(refused["verdict"] == "dropped" && refused["device"] == 0, "{refused:#}");
    }
    // And on the pod, for whoever asks there.
    let fields = "involvedObject.kind=Pod,involvedObject.name=client,reason=NoEndpoints,type=Warning";
    let messages = eventually("an Event of the pod", || {
        let events = kubectl.json(&["get", "events", "--field-selector", fields])?;
        let messages: Vec<_> = events["items"].as_array().into_iter().flatten().map(|event| event["message"].clone()).collect();
        ensure!(!messages.is_empty(), "there is none");
        Ok(messages)
    })?;
    let begin = format!("connection to Service {namespace}/empty:80/");
    ensure!(messages.iter().all(|message| message.as_str().is_some_and(|message| message.starts_with(&begin))), "{messages:?}");
    Ok(())
}

fn e2e_a_monitor_ends_with_who_reads_it(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let mut monitor =
        cluster.command(&["monitor", "--namespace", &format!("no-{}", kubectl.namespace())]).stdout(Stdio::piped()).spawn()?;
    drop(monitor.stdout.take());
    let code = eventually("the monitor to end", || monitor.try_wait()?.context("it goes on"))?;
    ensure!(code.success(), "{code}");
    let said = cluster.command(&["monitor", "--node", "node99"]).output()?;
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(!said.status.success() && error.contains("has no node \"node99\""), "{error}");
    Ok(())
}

/// Messages of a pod's Events about refusals.
fn refusals(kubectl: &Kubectl, pod: &str) -> Result<Vec<(String, u64)>> {
    let fields = format!("involvedObject.kind=Pod,involvedObject.name={pod},reason=PolicyDenied,type=Warning");
    let events = kubectl.json(&["get", "events", "--field-selector", &fields])?;
    let of = |event: &Value| (event["message"].as_str().unwrap_or_default().to_owned(), event["count"].as_u64().unwrap_or(0));
    Ok(events["items"].as_array().context("no list")?.iter().map(of).collect())
}

fn e2e_a_refused_connection_is_an_event_of_its_pods(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let _ = cluster;
    let server = at(&setting(kubectl)?, talk::PORT);
    let namespace = kubectl.namespace();
    let of_server = eventually("an Event", || {
        ensure!(Client::of(kubectl, "stranger").attempt(How::Tcp, &server)?.answer().is_err());
        refusals(kubectl, "server")?.pop().context("the server's pod has no Event")
    })?;
    let port = talk::PORT;
    let expected = format!(
        "connection from {namespace}/stranger to port {port}/TCP was refused: no ingress rule of NetworkPolicy {namespace}/friends allows it"
    );
    ensure!(of_server == (expected.clone(), 1), "{of_server:?}");
    // It tries again and again; that is one Event, for a minute at least.
    for _ in 0..3 {
        let _ = Client::of(kubectl, "stranger").attempt(How::Tcp, &server)?;
    }
    let events = refusals(kubectl, "server")?;
    ensure!(events.len() == 1 && events[0].1 <= 2, "{events:?}");
    ensure!(refusals(kubectl, "friend")?.is_empty(), "who was not refused has no Event");
    let described = kubectl.run(&["describe", "pod", "server"])?;
    ensure!(described.contains("PolicyDenied") && described.contains(&expected), "{described}");
    Ok(())
}

fn e2e_policies_of_a_pod_are_shown_in_words_and_as_map_entries(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let address = setting(kubectl)?;
    let namespace = kubectl.namespace();
    let (server, policy) = (format!("{namespace}/server"), format!("NetworkPolicy {namespace}/friends"));
    let listed: Vec<Value> = serde_json::from_str(&cluster.orknet(&["policy", "list", "--node", "node1", "-o", "json"])?)?;
    let row =
        |pod: &str| listed.iter().find(|row| row["pod"] == format!("{namespace}/{pod}")).with_context(|| format!("{pod} in {listed:#?}"));
    ensure!(row("server")?["ingress"]["isolated"] == true && row("server")?["ingress"]["policies"] == json!([policy]), "{listed:#?}");
    ensure!(row("server")?["egress"] == json!({"set": 0, "isolated": false, "policies": []}), "{listed:#?}");
    ensure!(row("friend")?["ingress"]["isolated"] == false, "{listed:#?}");
    ensure!(row("stranger").is_err(), "it is on another node");
    // Of all nodes, unless one is named.
    let all: Vec<Value> = serde_json::from_str(&cluster.orknet(&["policy", "list", "--namespace", namespace, "-o", "json"])?)?;
    let places = |row: &Value| Some((row["pod"].as_str()?.rsplit('/').next()?.to_owned(), row["node"].as_str()?.to_owned()));
    let mut places: Vec<_> = all.iter().filter_map(places).collect();
    places.sort();
    let expected = [("friend", "node1"), ("server", "node1"), ("stranger", "node2")];
    ensure!(places == expected.map(|(pod, node)| (pod.to_owned(), node.to_owned())), "{all:#?}");
    // By name, whichever node has it; by address, without the API server's help.
    let shown: Vec<Value> = serde_json::from_str(&cluster.orknet(&["policy", "show", &server, "-o", "json"])?)?;
    ensure!(shown[0]["pod"] == server && shown[0]["node"] == "node1", "{shown:#?}");
    let ingress = &shown[0]["directions"][0];
    let rule = &ingress["rules"][0];
    ensure!(rule["policy"] == policy && rule["index"] == 0 && rule["tier"] == "NetworkPolicy" && rule["action"] == "allow", "{shown:#?}");
    ensure!(rule["peers"] == "pods app=friend of the namespace" && rule["ports"] == format!("TCP {}", talk::PORT), "{shown:#?}");
    let number = rule["number"].as_u64().context("the rule is not in the maps")?;
    let verdicts = ingress["verdicts"].as_array().context("no verdicts")?;
    let otherwise = verdicts.iter().find(|verdict| verdict["peers"] == 0).context("nothing holds for everybody else")?;
    ensure!(otherwise["otherwise"] == json!({"action": "deny", "rule": 0}), "{shown:#?}");
    let let_in = verdicts.iter().find(|verdict| verdict["ports"][0]["said"] == json!({"action": "allow", "rule": number}));
    let peers = let_in.with_context(|| format!("nobody is let in: {shown:#?}"))?["peers"].to_string();
    let friend = kubectl.run(&["get", "pod", "friend", "-o", "jsonpath={.status.podIP}"])?;
    let members = ingress["peers"][&peers].as_array().context("no members")?;
    ensure!(members.contains(&json!(format!("{friend}/32"))) || members.contains(&json!(format!("{friend}/128"))), "{shown:#?}");
    let text = cluster.orknet(&["policy", "show", &address, "--node", "node1", "--kubeconfig", "/nonexistent"])?;
    ensure!(text.contains("isolated") && text.contains("with uid") && text.contains("deny (no rule allows it)"), "{text}");
    for (pod, error) in [("nobody", "there is no pod default/nobody"), ("192.0.2.77", "is a pod of none of these nodes")] {
        let said = cluster.command(&["policy", "show", pod]).output()?;
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(!said.status.success() && stderr.contains(error), "{stderr}");
    }
    Ok(())
}
