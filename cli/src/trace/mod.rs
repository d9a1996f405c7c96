//! `orknet trace`: what would become of a packet, step by step, by the programs and the maps that are in force. Nothing is sent, and nothing
//! that lives learns of it. [`ends`] finds out who is meant, [`walk`] goes from hook to hook and from node to node, [`words`] says it.

mod ends;
mod names;
mod packet;
mod places;
mod sockets;
mod walk;
mod words;

use crate::inspect::print::{Output, write};
use anyhow::{Result, bail};
use names::Names;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use walk::Walk;

/// Shows what becomes of a packet: translation, policies, ways and drops, by the programs that are in force. Nothing is sent.
#[derive(clap::Args)]
pub struct Trace {
    /// Who opens the connection, and to whom: pods (`namespace/name`, or `name` in the namespace default), `node/name`, addresses; to whom
    /// also `service/name` and `service/namespace/name`. The word `to` may stand between them, or an arrow in quotes: '->'.
    #[arg(value_names = ["SRC", "DST"], num_args = 2..=3, required = true)]
    ends: Vec<String>,
    /// The namespace of pods and Services that are named without one.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// The port, by number or name (default: the only one that the pod or Service has).
    #[arg(long, value_name = "N")]
    port: Option<String>,
    #[arg(long, value_enum, default_value_t = Protocol::Tcp)]
    proto: Protocol,
    /// The client's port: that of a connection that there is shows what is known of it.
    #[arg(long, value_name = "N")]
    source_port: Option<u16>,
    /// The family, where both ends have both (default: the first address's).
    #[arg(long, value_enum)]
    family: Option<Family>,
    /// The node that a packet from outside comes to.
    #[arg(long)]
    node: Option<String>,
    /// The local cluster's name (default: local).
    #[arg(long)]
    name: Option<String>,
    /// The directory of an agent's pins, instead of a local cluster's nodes.
    #[arg(long, conflicts_with = "name")]
    pin_dir: Option<PathBuf>,
    /// Where names are looked up (default: the local cluster, or as kubectl does).
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The protocols that can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
    /// A ping, of either family.
    Icmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn is_v4(self) -> bool {
        self == Self::V4
    }
}

/// Traces and prints. The exit code is 0 if the packet arrives, 1 if it does not, 2 if that can't be told.
pub fn main(options: &Trace) -> ExitCode {
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("orknet: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether it arrives.
fn run(options: &Trace) -> Result<bool> {
    let (source, destination) = ends_of(&options.ends)?;
    let places::Found { places, cluster, unread } = places::find(options.name.as_deref(), options.pin_dir.clone())?;
    unread.iter().for_each(|why| eprintln!("orknet: {why}"));
    let names = Names::open(options.kubeconfig.clone(), cluster.as_ref())?;
    let question = ends::question(options, source, destination, &names, &places)?;
    let story = Walk::new(places, &names).trace(&question)?;
    write(&words::text(&question, &story, options.output)?)?;
    Ok(story.end.arrives())
}

/// The words of a command line without the arrow between the two ends, which would be taken for an option.
pub fn without_arrow(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut is_trace = None;
    words.enumerate().filter_map(move |(place, word)| {
        if place == 1 {
            is_trace = Some(word == "trace");
        }
        (is_trace != Some(true) || word != "->").then_some(word)
    })
}

/// The two ends. A shell takes an arrow without quotes for `-` and a file to write.
fn ends_of(ends: &[String]) -> Result<(&str, &str)> {
    match ends {
        [_, dash] | [_, dash, _] if dash == "-" => bail!("the shell took the arrow for itself; leave it out: orknet trace SRC DST"),
        [source, destination] => Ok((source, destination)),
        [source, word, destination] if word == "to" => Ok((source, destination)),
        _ => bail!("say from whom to whom: orknet trace SRC DST"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_may_stand_between_the_ends() {
        let left = |words: &[&str]| -> Vec<OsString> { without_arrow(words.iter().map(OsString::from)).collect() };
        assert_eq!(left(&["orknet", "trace", "a", "->", "b", "--port", "80"]), ["orknet", "trace", "a", "b", "--port", "80"]);
        assert_eq!(left(&["orknet", "enter", "->"]), ["orknet", "enter", "->"]);
        let ends = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            ends_of(&words).map(|(source, destination)| format!("{source} {destination}")).map_err(|error| error.to_string())
        };
        assert_eq!(ends(&["a", "b"]).unwrap(), "a b");
        assert_eq!(ends(&["a", "to", "b"]).unwrap(), "a b");
        assert_eq!(ends(&["a", "to"]).unwrap(), "a to", "a pod may be called so");
        assert!(ends(&["a", "-"]).unwrap_err().contains("shell"));
        assert!(ends(&["a", "-", "b"]).unwrap_err().contains("shell"));
        assert!(ends(&["a", "and", "b"]).unwrap_err().contains("from whom to whom"));
    }
}
