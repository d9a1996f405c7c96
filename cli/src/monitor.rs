//! `orknet monitor`: what happens to packets now, as the agents tell it, a line each. The agents of several nodes are heard at once, and heard
//! again after a restart.

use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use crate::commands::daemon;
use crate::inspect::pinned_nodes;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orknet_agent::monitor::{Filter, Happened, Judged, Line, Verdict, socket_of};
use serde_json::json;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Before an agent is asked again that has ended.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon a closed pipe is seen where nothing happens.
const ATTENTION: Duration = Duration::from_millis(500);
/// Lines that may wait to be printed; then the agents wait, and say what they lost.
const WAITING: usize = 256;

/// Shows what happens to packets now: connections that are opened, and what is dropped and why.
#[derive(clap::Args)]
#[command(after_help = NOT_TOLD)]
pub struct Monitor {
    /// A node of a local cluster (default: all of them, where there is a local cluster; else this host).
    #[arg(long)]
    node: Option<String>,
    /// The local cluster's name (default: local).
    #[arg(long)]
    name: Option<String>,
    /// The socket of an agent, instead of nodes.
    #[arg(long, conflicts_with_all = ["node", "name"])]
    socket: Option<PathBuf>,
    /// Only what pods or a Service of this namespace have to do with.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Only what this pod has to do with: `name` or `namespace/name`.
    #[arg(long)]
    pod: Option<String>,
    #[arg(long, value_enum)]
    verdict: Option<Seen>,
    /// Only what is from or to this port.
    #[arg(long)]
    port: Option<u16>,
    /// `tcp`, `udp`, `sctp`, `icmp`, or a number.
    #[arg(long)]
    protocol: Option<String>,
    #[arg(long, short, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// What nobody who hears nothing should have to find out.
const NOT_TOLD: &str = "\
Told are drops of every kind: of packets, of frames before the stack, and of calls that a socket is refused. Of connections that \
are let through those are told that programs remember: of pods that policies isolate, and those that packets are translated for \
(Services that no socket hook sees to, masquerade). Connections of pods without policies are not told: programs keep nothing of them, \
which is what makes them cheap. A policy that allows everything has a pod's connections told.";

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Seen {
    Allowed,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// An agent that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    node: String,
    socket: PathBuf,
}

/// What a task that hears an agent says.
enum Heard {
    Line(Line),
    /// The agent cannot be heard, or not any more.
    Silent(String),
}

/// Until a signal, or until nobody reads what is printed.
pub fn run(options: &Monitor) -> Result<()> {
    let sources = sources(options)?;
    let filter = filter(options);
    daemon::run_command(async {
        tokio::select! {
            ended = show(sources, &filter, options.output) => ended,
            ended = signalled() => ended,
        }
    })
}

fn filter(options: &Monitor) -> Filter {
    let verdict = options.verdict.map(|verdict| match verdict {
        Seen::Allowed => Verdict::Allowed,
        Seen::Dropped => Verdict::Dropped,
    });
    Filter {
        namespace: options.namespace.clone(),
        pod: options.pod.clone(),
        verdict,
        port: options.port,
        protocol: options.protocol.clone(),
    }
}

fn sources(options: &Monitor) -> Result<Vec<Source>> {
    let of = |node: &str, agent_socket: PathBuf| Source { node: node.to_owned(), socket: socket_of(&agent_socket) };
    if let Some(socket) = &options.socket {
        return Ok(vec![of("this host", socket.clone())]);
    }
    let cluster = Cluster::new(options.name.as_deref().unwrap_or(DEFAULT_NAME))?;
    let nodes = pinned_nodes(&cluster.bpf_dir())?;
    if nodes.is_empty() && options.name.is_none() {
        return Ok(vec![of("this host", orknet_agent::Config::default().socket)]);
    }
    if nodes.is_empty() {
        bail!("there is no local cluster {:?} on this host; remedy: orknet up --name {0}", cluster.name());
    }
    if let Some(node) = options.node.as_ref().filter(|node| !nodes.contains(node)) {
        bail!("cluster {:?} has no node {node:?}; its nodes are {}", cluster.name(), nodes.join(", "));
    }
    let is_meant = |node: &&String| options.node.as_ref().is_none_or(|wanted| wanted == *node);
    let socket = |node: &String| {
        let number = node.strip_prefix("node").and_then(|number| number.parse().ok());
        let number = number.with_context(|| format!("{node:?} is no node of a local cluster"))?;
        Ok(of(node, cluster.node(number).agent_socket()))
    };
    nodes.iter().filter(is_meant).map(socket).collect()
}

async fn signalled() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Prints what all agents tell. If none can be heard at the beginning, that is an error; one that cannot while others can, or that falls silent
/// later, is waited for.
async fn show(sources: Vec<Source>, filter: &Filter, form: Form) -> Result<()> {
    let subscription = serde_json::to_string(filter)? + "\n";
    let (sender, mut heard) = mpsc::channel(WAITING);
    let mut silent = Vec::new();
    let mut heard_at_all = false;
    for source in sources {
        let socket = source.socket.display();
        match connect(&source, &subscription).await {
            Ok(lines) => {
                heard_at_all = true;
                tokio::spawn(hear(source, subscription.clone(), Some(lines), sender.clone()));
            }
            Err(error) => {
                let why = format!("cannot hear the agent of {} at {socket} ({error}); is it running, and of this version?", source.node);
                silent.push((source, why));
            }
        }
    }
    if !heard_at_all {
        bail!("{}", silent.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("\n        "));
    }
    for (source, why) in silent {
        eprintln!("orknet: {why} Waiting for it");
        tokio::spawn(hear(source, subscription.clone(), None, sender.clone()));
    }
    drop(sender);
    let mut attention = tokio::time::interval(ATTENTION);
    loop {
        let printed = tokio::select! {
            said = heard.recv() => match said {
                None => return Ok(()),
                Some((node, Heard::Line(Line::Refused { message }))) => bail!("{node}: {message}"),
                Some((node, Heard::Line(line))) => print(&text_of(&node, &line, form)?),
                Some((node, Heard::Silent(why))) => {
                    eprintln!("orknet: {node}: {why}; waiting for its agent");
                    Ok(true)
                }
            },
            _ = attention.tick() => Ok(!is_closed(&io::stdout())),
        };
        if !printed? {
            return Ok(());
        }
    }
}

type Told = Lines<BufReader<UnixStream>>;

async fn connect(source: &Source, subscription: &str) -> io::Result<Told> {
    let mut stream = UnixStream::connect(&source.socket).await?;
    stream.write_all(subscription.as_bytes()).await?;
    Ok(BufReader::new(stream).lines())
}

/// Hands on what an agent tells, and asks again when it has ended, until nobody listens.
async fn hear(source: Source, subscription: String, lines: Option<Told>, sender: mpsc::Sender<(String, Heard)>) {
    let say = async |heard| sender.send((source.node.clone(), heard)).await.is_ok();
    let mut connected = lines;
    loop {
        let mut lines = match connected.take() {
            Some(lines) => lines,
            None => loop {
                tokio::time::sleep(AGAIN).await;
                match connect(&source, &subscription).await {
                    Ok(lines) => break lines,
                    Err(_) if sender.is_closed() => return,
                    Err(_) => {}
                }
            },
        };
        let why = loop {
            match lines.next_line().await {
                Ok(Some(text)) => match serde_json::from_str(&text) {
                    Ok(line) => {
                        if !say(Heard::Line(line)).await {
                            return;
                        }
                    }
                    Err(error) => break format!("what it tells cannot be read: {error}"),
                },
                Ok(None) => break "it tells no more".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        if !say(Heard::Silent(why)).await {
            return;
        }
    }
}

/// Whether there is still somebody who reads.
fn print(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// Whether the other end of a pipe is closed.
fn is_closed(out: &io::Stdout) -> bool {
    let mut files = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut files, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && files[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

fn text_of(node: &str, line: &Line, form: Form) -> Result<String> {
    Ok(match (form, line) {
        (Form::Json, Line::Lost(_)) => {
            let mut value = serde_json::to_value(line)?;
            value["node"] = json!(node);
            value.to_string() + "\n"
        }
        (Form::Json, _) => serde_json::to_string(line)? + "\n",
        (Form::Text, Line::Event(happened)) => in_words(happened) + "\n",
        (Form::Text, Line::Lost(lost)) => format!("{node}: {} events are missing: {}\n", lost.events, lost.because),
        (Form::Text, Line::Refused { message }) => format!("{node}: {message}\n"),
    })
}

/// `03:04:05.678 node1 dropped TCP shop/client:40000 -> web/server:8080 (Service front/web:80) policy-ingress: …`
fn in_words(happened: &Happened) -> String {
    let Happened { node, verdict, protocol, client, server, .. } = happened;
    // Of RFC 3339, the time of the day, to the millisecond.
    let time = happened.time.get(11..23).unwrap_or(&happened.time);
    let mut text = format!("{time} {node} {verdict} {protocol} {client} -> {server}");
    if let Some(front) = &happened.service {
        let port = front.port.map_or_else(String::new, |port| format!(":{port}"));
        text += &format!(" (Service {}/{}{port})", front.namespace, front.name);
    }
    if !happened.possible_services.is_empty() {
        let names: Vec<_> = happened.possible_services.iter().map(ToString::to_string).collect();
        text += &format!(" (perhaps by Service {})", names.join(" or "));
    }
    if happened.is_call {
        text += " (refused at the socket)";
    }
    if happened.is_answer {
        text += " (the answer)";
    }
    if verdict == &Verdict::Dropped && !happened.tcp_flags.is_empty() {
        text += &format!(" [{}]", happened.tcp_flags.join(" "));
    }
    let said: Vec<String> = happened.judged.iter().map(Judged::to_string).collect();
    if let Some(reason) = &happened.reason {
        let why = if said.is_empty() { happened.explanation.clone().unwrap_or_default() } else { said.join("; ") };
        text += &format!(" {reason}: {}", why.trim_end_matches('.'));
    } else if !said.is_empty() {
        text += &format!(" by {}", said.join(" and "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_agent::monitor::{Loss, Lost};

    fn line(change: impl FnOnce(&mut serde_json::Value)) -> Line {
        let mut value = json!({
            "type": "event", "time": "2026-01-02T03:04:05.678901Z", "node": "node1", "verdict": "dropped", "reason": "policy-ingress",
            "explanation": "No rule lets it in.", "protocol": "TCP", "device": 7, "bytes": 74, "tcpFlags": ["SYN"],
            "client": {"address": "10.244.0.2", "port": 40_000, "pod": {"namespace": "shop", "name": "client", "isLocal": true}},
            "server": {"address": "10.244.0.3", "port": 8_080, "pod": {"namespace": "web", "name": "server"}},
            "service": {"namespace": "front", "name": "web", "address": "10.96.0.10", "port": 80},
            "judged": [{"direction": "ingress", "rule": {"kind": "NetworkPolicy", "namespace": "web", "name": "in", "index": 2}}],
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn text(change: impl FnOnce(&mut serde_json::Value)) -> String {
        text_of("node1", &line(change), Form::Text).unwrap()
    }

    const BEGIN: &str = "03:04:05.678 node1";

    #[test]
    fn a_drop_names_both_ends_the_service_and_the_rule() {
        let expected = format!(
            "{BEGIN} dropped TCP shop/client:40000 -> web/server:8080 (Service front/web:80) [SYN] policy-ingress: NetworkPolicy web/in ingress[2]\n"
        );
        assert_eq!(text(|_| {}), expected);
    }

    #[test]
    fn a_service_that_is_not_certain_and_a_call_are_told_as_such() {
        let perhaps = text(|value| {
            value["service"] = serde_json::Value::Null;
            value["possibleServices"] = json!([{"namespace": "front", "name": "web"}, {"namespace": "front", "name": "old"}]);
        });
        assert!(perhaps.contains("web/server:8080 (perhaps by Service front/web or front/old) [SYN]"), "{perhaps}");
        let call = text(|value| {
            value["isCall"] = json!(true);
            value["client"]["port"] = serde_json::Value::Null;
            value["server"] = json!({"address": "10.96.0.10", "port": 80});
            (value["judged"], value["tcpFlags"], value["reason"]) = (json!([]), json!([]), json!("no-endpoints"));
        });
        let expected = "TCP shop/client -> 10.96.0.10:80 (Service front/web:80) (refused at the socket) no-endpoints: No rule lets it in\n";
        assert!(call.ends_with(expected), "{call}");
    }

    #[test]
    fn what_is_known_of_isolation_or_of_other_reasons_is_in_words() {
        let isolated = text(|value| {
            value["judged"] =
                json!([{"direction": "ingress", "isolatedBy": [{"kind": "NetworkPolicy", "namespace": "web", "name": "in"}]}]);
        });
        assert!(isolated.ends_with("policy-ingress: no ingress rule of NetworkPolicy web/in allows it\n"), "{isolated}");
        let other = text(|value| (value["judged"], value["reason"]) = (json!([]), json!("no-route")));
        assert!(other.ends_with(" no-route: No rule lets it in\n"), "{other}");
        let answer = text(|value| value["isAnswer"] = json!(true));
        assert!(answer.contains("(Service front/web:80) (the answer) [SYN]"), "{answer}");
    }

    #[test]
    fn a_flow_names_the_rules_that_let_it_through() {
        let rule = |direction: &str, index: u32| json!({"direction": direction, "rule": {"kind": "NetworkPolicy", "namespace": "a", "name": "b", "index": index}});
        let opened = |judged: serde_json::Value| {
            text(|value| {
                (value["verdict"], value["judged"], value["service"]) = (json!("allowed"), judged, serde_json::Value::Null);
                value["reason"] = serde_json::Value::Null;
            })
        };
        let begin = format!("{BEGIN} allowed TCP shop/client:40000 -> web/server:8080");
        let both = opened(json!([rule("egress", 0), rule("ingress", 1)]));
        assert_eq!(both, format!("{begin} by NetworkPolicy a/b egress[0] and NetworkPolicy a/b ingress[1]\n"));
        assert_eq!(opened(json!([])), format!("{begin}\n"));
    }

    #[test]
    fn json_is_what_the_agent_says_with_the_node_in_every_line() {
        let shown = text_of("node1", &line(|_| {}), Form::Json).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&shown).unwrap(), line(|_| {}));
        let lost = Line::Lost(Lost { events: 5, because: Loss::Monitor });
        let shown: serde_json::Value = serde_json::from_str(&text_of("node2", &lost, Form::Json).unwrap()).unwrap();
        assert_eq!(shown, json!({"type": "lost", "events": 5, "because": "monitor", "node": "node2"}));
        assert_eq!(text_of("node2", &lost, Form::Text).unwrap(), "node2: 5 events are missing: this monitor did not read fast enough\n");
    }
}
