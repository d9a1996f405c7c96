//! Kubernetes Events about what was refused to this node's pods, so that `kubectl describe pod` says why something does not answer.
//!
//! One who is refused tries again, so Events are few on purpose: about a pod, a reason, another end and a port one write a minute, which raises
//! the count of the Event that is there, and about all pods so many a minute. [`notices`] says what an Event would be, [`Memory`]
//! whether it is written; both are pure.

use super::line::{Direction, End, Happened, Pod};
use k8s_openapi::api::core::v1::{ObjectReference, Pod as PodObject};
use kube::{Api, Client};
use orknet_abi::DropReason;
use orknet_reconciler::{EventType, Recorder};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Who tells.
const COMPONENT: &str = "orknet-agent";
/// Drops that may wait to be told; more are left out.
pub const REFUSED: usize = 256;
/// Between two writes about the same.
const AGAIN: Duration = Duration::from_secs(60);
/// Writes about all pods together: at once, and in how much time each may be made up for.
const BURST: u32 = 60;
const REFILL: Duration = Duration::from_secs(1);
/// Of how much is remembered when it was written; more at a time is left out.
const REMEMBERED: usize = 4_096;

/// An Event about a pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    pub pod: Pod,
    /// CamelCase, as in `PolicyDenied`.
    pub reason: &'static str,
    /// The same for the same pod, reason, other end and port: repeats raise its count.
    pub message: String,
}

/// What an Event about a drop is called; `None` for what is no pod's matter.
pub fn reason_of(reason: DropReason) -> Option<&'static str> {
    match reason {
        DropReason::PolicyIngress | DropReason::PolicyEgress => Some("PolicyDenied"),
        DropReason::SourceNotPod => Some("SourceNotPod"),
        DropReason::SourceIsPod => Some("SourceIsPod"),
        DropReason::NoEndpoints => Some("NoEndpoints"),
        DropReason::NoLocalEndpoints => Some("NoLocalEndpoints"),
        DropReason::NoSuchPort => Some("NoSuchPort"),
        DropReason::NoSuchService => Some("NoSuchService"),
        DropReason::SourceNotAllowed => Some("SourceNotAllowed"),
        DropReason::NatPortsExhausted => Some("NatPortsExhausted"),
        DropReason::FlowsFull => Some("FlowsFull"),
        DropReason::EndpointGone => Some("EndpointGone"),
        DropReason::NoNodeAddress => Some("NoNodeAddress"),
        DropReason::NoRoute => Some("NoRoute"),
        // Of the packet, of a moment, or of the node itself.
        DropReason::Truncated
        | DropReason::BackendGone
        | DropReason::RedirectFailed
        | DropReason::Malformed
        | DropReason::FragmentUnknown
        | DropReason::RewriteFailed
        | DropReason::TooBig
        | DropReason::NoHopLeft
        | DropReason::NotForService
        | DropReason::TunnelNotNode => None,
    }
}

/// Whether one of the ends is a pod of this node.
pub fn concerns_pods(happened: &Happened) -> bool {
    [&happened.client, &happened.server].into_iter().any(|end| end.pod.as_ref().is_some_and(|pod| pod.is_local))
}

/// What this node's pods are told of a drop: the client that it does not get through, the server only of what its own policies refuse. Whose
/// rules refuse is told to their pod alone; the other one learns no names of policies that are not its own.
pub fn notices(happened: &Happened) -> Vec<Notice> {
    let number = happened.reason.as_ref().and_then(|name| DropReason::ALL.iter().find(|reason| reason.name() == *name).copied());
    let Some((dropped, reason)) = number.and_then(|number| Some((number, reason_of(number)?))) else { return Vec::new() };
    let judged = happened.judged.first();
    let client = local(&happened.client).map(|pod| {
        let what = format!("connection to {} was refused: ", target(happened));
        let why = match judged {
            Some(judged) if judged.direction == Direction::Egress => judged.to_string(),
            Some(_) => "the policies of the other end do not let it in".to_owned(),
            None => in_words(dropped),
        };
        Notice { pod: pod.clone(), reason, message: what + &why }
    });
    let server = judged.filter(|judged| judged.direction == Direction::Ingress).and_then(|judged| {
        let (pod, port) = (local(&happened.server)?, port_text(happened.server.port));
        let from = End { port: None, ..happened.client.clone() };
        let message = format!("connection from {from} to port {port}{} was refused: {}", happened.protocol, judged);
        Some(Notice { pod: pod.clone(), reason, message })
    });
    client.into_iter().chain(server).collect()
}

/// The other end as the client called it.
fn target(happened: &Happened) -> String {
    match &happened.service {
        Some(front) => {
            let port = front.port.map_or_else(String::new, |port| format!(":{port}"));
            format!("Service {}/{}{port}/{} ({})", front.namespace, front.name, happened.protocol, happened.server)
        }
        None => format!("{}/{}", happened.server, happened.protocol),
    }
}

fn port_text(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!("{port}/"))
}

fn local(end: &End) -> Option<&Pod> {
    end.pod.as_ref().filter(|pod| pod.is_local)
}

fn in_words(dropped: DropReason) -> String {
    dropped.explain().trim().trim_end_matches('.').to_owned()
}

/// What was written lately.
#[derive(Debug)]
pub struct Memory {
    written: HashMap<Notice, Instant>,
    /// Writes that may be made now, and since when they are counted.
    left: u32,
    counted: Instant,
}

impl Memory {
    pub fn new(now: Instant) -> Self {
        Self { written: HashMap::new(), left: BURST, counted: now }
    }

    /// Whether a notice is to be written now.
    pub fn admits(&mut self, notice: &Notice, now: Instant) -> bool {
        if self.written.get(notice).is_some_and(|written| now.duration_since(*written) < AGAIN) {
            return false;
        }
        let refilled = now.duration_since(self.counted).as_nanos() / REFILL.as_nanos();
        if refilled > 0 {
            self.left = u32::try_from(refilled).unwrap_or(u32::MAX).saturating_add(self.left).min(BURST);
            self.counted = now;
        }
        if self.left == 0 {
            return false;
        }
        if self.written.len() >= REMEMBERED {
            self.written.retain(|_, written| now.duration_since(*written) < AGAIN);
        }
        if self.written.len() >= REMEMBERED {
            return false;
        }
        self.left -= 1;
        self.written.insert(notice.clone(), now);
        true
    }
}

/// Writes Events about drops, for ever.
pub async fn report(client: Client, node: String, mut drops: mpsc::Receiver<Happened>, shutdown: CancellationToken) {
    let recorder = Recorder::start_on_node(client.clone(), COMPONENT, &node, shutdown);
    let mut memory = Memory::new(Instant::now());
    while let Some(happened) = drops.recv().await {
        for notice in notices(&happened) {
            if !memory.admits(&notice, Instant::now()) {
                continue;
            }
            // Its uid, by which `kubectl describe` finds Events: of a static pod its mirror's, which nobody on the node knows.
            let pods: Api<PodObject> = Api::namespaced(client.clone(), &notice.pod.namespace);
            match pods.get_metadata_opt(&notice.pod.name).await {
                Ok(Some(pod)) => {
                    recorder.record_reference(reference(&notice.pod, pod.metadata.uid), EventType::Warning, notice.reason, notice.message)
                }
                // It is gone, and nobody asks why it does not get through.
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, pod = %notice.pod, "an event about a pod was not written"),
            }
        }
    }
}

fn reference(pod: &Pod, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid,
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Judged, Policy, Rule};
    use super::super::samples::dropped;
    use super::*;

    fn policy(name: &str) -> Policy {
        Policy { kind: "NetworkPolicy".into(), namespace: "web".into(), name: name.into() }
    }

    fn messages(happened: &Happened) -> Vec<(String, &'static str, String)> {
        notices(happened).into_iter().map(|notice| (notice.pod.to_string(), notice.reason, notice.message)).collect()
    }

    #[test]
    fn both_pods_are_told_and_the_rule_only_to_whose_it_is() {
        let mut happened = dropped();
        let client = "connection to Service front/service:80/TCP (web/server:8080) was refused: ";
        let expected = [
            ("shop/client".to_owned(), "PolicyDenied", format!("{client}the policies of the other end do not let it in")),
            (
                "web/server".to_owned(),
                "PolicyDenied",
                "connection from shop/client to port 8080/TCP was refused: ClusterNetworkPolicy closed ingress[2]".to_owned(),
            ),
        ];
        assert_eq!(messages(&happened), expected);
        happened.judged[0].rule = None;
        happened.judged[0].isolated_by = vec![policy("a"), policy("b")];
        let message = &messages(&happened)[1].2;
        assert!(message.ends_with("no ingress rule of NetworkPolicy web/a, NetworkPolicy web/b allows it"), "{message}");
        happened.reason = Some("policy-egress".into());
        let rule = Some(Rule { policy: policy("out"), index: 0 });
        happened.judged = vec![Judged { direction: Direction::Egress, rule, isolated_by: Vec::new() }];
        let told = messages(&happened);
        assert_eq!(told.len(), 1, "the server's pod has nothing to do with it");
        assert_eq!(told[0].2, format!("{client}NetworkPolicy web/out egress[0]"));
    }

    #[test]
    fn pods_of_other_nodes_are_left_to_these() {
        let mut happened = dropped();
        let foreign = |end: &mut End| end.pod.as_mut().unwrap().is_local = false;
        foreign(&mut happened.client);
        assert_eq!(messages(&happened).len(), 1);
        foreign(&mut happened.server);
        assert!(messages(&happened).is_empty() && !concerns_pods(&happened));
    }

    #[test]
    fn other_reasons_are_in_words_and_some_are_nobodys_matter() {
        let mut happened = Happened { judged: Vec::new(), service: None, ..dropped() };
        happened.reason = Some("no-route".into());
        assert_eq!(
            messages(&happened),
            [(
                "shop/client".to_owned(),
                "NoRoute",
                "connection to web/server:8080/TCP was refused: The node has no way to the destination".to_owned()
            )]
        );
        happened.reason = Some("malformed".into());
        assert!(messages(&happened).is_empty());
    }

    #[test]
    fn the_same_is_written_once_a_minute_and_all_together_so_many() {
        let start = Instant::now();
        let mut memory = Memory::new(start);
        let notice = |number: u32| Notice { message: number.to_string(), ..notices(&dropped()).remove(0) };
        assert!(memory.admits(&notice(0), start));
        assert!(!memory.admits(&notice(0), start + Duration::from_secs(59)));
        assert!(memory.admits(&notice(0), start + Duration::from_secs(60)));
        let then = start + Duration::from_secs(600);
        let written = (1..1_000).filter(|number| memory.admits(&notice(*number), then)).count();
        assert_eq!(written, BURST as usize);
        assert!(memory.admits(&notice(5_000), then + REFILL) && !memory.admits(&notice(5_001), then + REFILL));
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut memory = Memory::new(start);
        for number in 0..3 * REMEMBERED as u32 {
            let notice = Notice { message: number.to_string(), ..notices(&dropped()).remove(0) };
            memory.admits(&notice, start + REFILL * number);
        }
        assert!(memory.written.len() <= REMEMBERED);
    }
}
