//! What rules of policies say, in words.

use super::protocol_name;
use super::text::range_text;
use crate::facts::{Action, Block, NamespacedPods, PeerFacts, PortFacts, Requirement, RuleFacts, Selector};
use std::fmt;
use std::sync::Arc;

impl RuleFacts {
    /// Whom it matches: `everybody`, `pods app=web of the namespace`, `10.0.0.0/8 except 10.1.0.0/16`, …
    pub fn peers_text(&self) -> String {
        match self.peers.as_deref() {
            None => "everybody".into(),
            Some([]) => "nobody".into(),
            Some(peers) => joined(peers.iter().map(peer_text)),
        }
    }

    /// Which ports of the server it matches: `all`, `TCP 80`, `UDP 8000-8099`, `TCP "http"`.
    pub fn ports_text(&self) -> String {
        match self.ports.as_deref() {
            None => "all".into(),
            Some([]) => "none".into(),
            Some(ports) => joined(ports.iter().map(port_text)),
        }
    }
}

/// Where a rule is found: `NetworkPolicy default/web ingress[0]`; with its name, if that is not empty: `… ingress[0] "monitoring"`.
pub fn rule_path(policy: impl fmt::Display, direction: impl fmt::Display, index: u32, name: &str) -> String {
    // Names may be of any characters (in the API they are): as a string of Rust they cannot be taken for anything else.
    let name = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    format!("{policy} {direction}[{index}]{name}")
}

/// What a rule does.
pub fn action_name(action: Action) -> &'static str {
    match action {
        Action::Accept => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    }
}

fn port_text(port: &PortFacts) -> String {
    match port {
        PortFacts::Range { protocol, first: 0, last: u16::MAX } => protocol_name(*protocol),
        PortFacts::Range { protocol, first, last } if first == last => format!("{} {first}", protocol_name(*protocol)),
        PortFacts::Range { protocol, first, last } => format!("{} {first}-{last}", protocol_name(*protocol)),
        PortFacts::Named { protocol, name } => format!("{} {name:?}", protocol_name(*protocol)),
    }
}

/// As `kubectl --selector` takes it.
fn selector_text(selector: &Selector) -> String {
    let list = |values: &[Arc<str>]| values.iter().map(|value| &**value).collect::<Vec<_>>().join(",");
    let requirement = |requirement: &Requirement| match requirement {
        Requirement::In(key, values) => match &**values {
            [one] => format!("{key}={one}"),
            several => format!("{key} in ({})", list(several)),
        },
        Requirement::NotIn(key, values) => format!("{key} notin ({})", list(values)),
        Requirement::Exists(key) => key.to_string(),
        Requirement::DoesNotExist(key) => format!("!{key}"),
    };
    selector.requirements().iter().map(requirement).collect::<Vec<_>>().join(",")
}

fn peer_text(peer: &PeerFacts) -> String {
    match peer {
        PeerFacts::OwnPods(pods) => format!("{} of the namespace", of_kind("pods", pods)),
        PeerFacts::Pods(NamespacedPods { namespaces, pods }) => {
            format!("{} of {}", of_kind("pods", pods), of_kind("namespaces", namespaces))
        }
        PeerFacts::Nodes(nodes) => of_kind("nodes", nodes),
        PeerFacts::Block(Block { range, except }) if except.is_empty() => range_text(range),
        PeerFacts::Block(Block { range, except }) => format!("{} except {}", range_text(range), joined(except.iter().map(range_text))),
    }
}

fn of_kind(kind: &str, selector: &Selector) -> String {
    if selector.requirements().is_empty() { format!("all {kind}") } else { format!("{kind} {}", selector_text(selector)) }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{RangeKey, protocol};

    fn range(text: &str) -> RangeKey {
        let (address, bits) = text.split_once('/').unwrap();
        RangeKey::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    #[test]
    fn peers_are_said_in_words() {
        let several = Requirement::In("tier".into(), Box::new(["a".into(), "b".into()]));
        let web = Selector::new([Requirement::In("app".into(), Box::new(["web".into()])), several]);
        let block = PeerFacts::Block(Block { range: range("10.0.0.0/8"), except: Box::new([range("10.1.0.0/16")]) });
        let nodes = PeerFacts::Nodes(Selector::new([Requirement::DoesNotExist("x".into()), Requirement::Exists("y".into())]));
        let everywhere = NamespacedPods { namespaces: Selector::default(), pods: web.clone() };
        for (peers, words) in [
            (None, "everybody"),
            (Some(vec![]), "nobody"),
            (Some(vec![PeerFacts::OwnPods(web)]), "pods app=web,tier in (a,b) of the namespace"),
            (Some(vec![PeerFacts::Pods(everywhere)]), "pods app=web,tier in (a,b) of all namespaces"),
            (Some(vec![block, nodes]), "10.0.0.0/8 except 10.1.0.0/16, nodes y,!x"),
        ] {
            assert_eq!(RuleFacts { peers: peers.map(Into::into), ports: None }.peers_text(), words);
        }
    }

    #[test]
    fn ports_are_said_in_words() {
        let port = |protocol, first, last| PortFacts::Range { protocol, first, last };
        let (tcp, udp) = (protocol::TCP, protocol::UDP);
        let named = PortFacts::Named { protocol: protocol::SCTP, name: "http".into() };
        for (ports, words) in [
            (None, "all"),
            (Some(vec![]), "none"),
            (
                Some(vec![port(tcp, 80, 80), port(udp, 0, 65_535), port(udp, 8_000, 8_099), named]),
                "TCP 80, UDP, UDP 8000-8099, SCTP \"http\"",
            ),
        ] {
            assert_eq!(RuleFacts { peers: None, ports: ports.map(Into::into) }.ports_text(), words);
        }
    }
}
