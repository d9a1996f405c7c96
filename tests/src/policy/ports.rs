//! Which ports rules are about.

use super::answer::{Protocol, Question};
use super::objects::{ClusterPort, ClusterPorts, ClusterProtocol, Pod, PolicyPort, PortOrName};

impl PolicyPort {
    /// Whether the question is about such a port of the server, which is `pod` if it is one.
    pub fn matches(&self, question: &Question, server: Option<&Pod>) -> bool {
        let protocol = self.protocol.as_deref().unwrap_or("TCP");
        if question.protocol.name() != Some(protocol) {
            return false;
        }
        match (&self.port, self.end_port) {
            (None, None) => true,
            // Not valid.
            (None | Some(PortOrName::Name(_)), Some(_)) => false,
            (Some(PortOrName::Port(port)), end) => (*port..=end.unwrap_or(*port)).contains(&question.port),
            (Some(PortOrName::Name(name)), None) => server.is_some_and(|pod| {
                let mut ports = pod.ports_named(name);
                ports.any(|(number, of)| number == question.port && of == protocol)
            }),
        }
    }
}

impl ClusterProtocol {
    /// As [`PolicyPort::matches`]; `None` if it says nothing that this version knows.
    pub fn matches(&self, question: &Question, server: Option<&Pod>) -> Option<bool> {
        match (&self.tcp, &self.udp, &self.sctp, &self.destination_named_port) {
            (Some(ports), None, None, None) => ports.matches(question, Protocol::Tcp),
            (None, Some(ports), None, None) => ports.matches(question, Protocol::Udp),
            (None, None, Some(ports), None) => ports.matches(question, Protocol::Sctp),
            (None, None, None, Some(name)) => Some(server.is_some_and(|pod| {
                let mut ports = pod.ports_named(name);
                ports.any(|(number, of)| number == question.port && question.protocol.name() == Some(of))
            })),
            _ => None,
        }
    }
}

impl ClusterPorts {
    fn matches(&self, question: &Question, protocol: Protocol) -> Option<bool> {
        let is_port = match &self.destination_port {
            None => true,
            Some(ClusterPort { number: Some(number), range: None }) => *number == question.port,
            Some(ClusterPort { number: None, range: Some(range) }) => (range.start..=range.end).contains(&question.port),
            Some(_) => return None,
        };
        Some(is_port && question.protocol == protocol)
    }
}
