//! Kubernetes Events about what was refused to this node's pods, so that `kubectl describe pod` says why something does not answer.
//!
//! One who is refused tries again, so Events are few on purpose: about a pod, a reason, another end and a port one write a minute, which raises
//! the count of the Event that is there, and so many a minute about a pod, and about all pods. Who reads the Events of a namespace learns nobody's name
//! of another namespace. [`notices`] says what an Event would be, [`Memory`]
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
/// Writes about all pods together, and about one of them: one that asks everybody leaves room for what the others are told.
const OF_ALL: Rate = Rate { burst: 60, refill: Duration::from_secs(1) };
const OF_A_POD: Rate = Rate { burst: 10, refill: Duration::from_secs(10) };
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
        let what = format!("connection to {} was refused: ", target(happened, pod));
        let why = match judged {
            Some(judged) if judged.direction == Direction::Egress => judged.to_string(),
            Some(_) => "the policies of the other end do not let it in".to_owned(),
            None => in_words(dropped),
        };
        Notice { pod: pod.clone(), reason, message: what + &why }
    });
    let server = judged.filter(|judged| judged.direction == Direction::Ingress).and_then(|judged| {
        let (pod, port) = (local(&happened.server)?, port_text(happened.server.port));
        let from = seen_by(pod, &End { port: None, ..happened.client.clone() });
        let message = format!("connection from {from} to port {port}{} was refused: {}", happened.protocol, judged);
        Some(Notice { pod: pod.clone(), reason, message })
    });
    client.into_iter().chain(server).collect()
}

/// An end as a pod may know it: by name in its own namespace.
fn seen_by(pod: &Pod, end: &End) -> End {
    let named = end.pod.clone().filter(|other| other.namespace == pod.namespace);
    End { pod: named, ..end.clone() }
}

/// The other end as the client called it.
fn target(happened: &Happened, client: &Pod) -> String {
    let server = seen_by(client, &happened.server);
    match &happened.service {
        Some(front) => {
            let port = front.port.map_or_else(String::new, |port| format!(":{port}"));
            format!("Service {}/{}{port}/{} ({})", front.namespace, front.name, happened.protocol, server)
        }
        None => format!("{server}/{}", happened.protocol),
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

/// How many writes may be made at once, and in how much time each is made up for.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    refill: Duration,
}

/// Writes that may be made.
#[derive(Debug)]
struct Room {
    rate: Rate,
    left: u32,
    /// Since when they are counted.
    counted: Instant,
}

impl Room {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, counted: now }
    }

    /// What there is by now.
    fn count(&mut self, now: Instant) -> u32 {
        let refilled = now.duration_since(self.counted).as_nanos() / self.rate.refill.as_nanos();
        if refilled > 0 {
            self.left = u32::try_from(refilled).unwrap_or(u32::MAX).saturating_add(self.left).min(self.rate.burst);
            self.counted = now;
        }
        self.left
    }
}

/// What was written lately.
#[derive(Debug)]
pub struct Memory {
    written: HashMap<Notice, Instant>,
    of_all: Room,
    /// Of those about whom something was written since they had room for all.
    of_pods: HashMap<Pod, Room>,
}

impl Memory {
    pub fn new(now: Instant) -> Self {
        Self { written: HashMap::new(), of_all: Room::new(OF_ALL, now), of_pods: HashMap::new() }
    }

    /// Whether a notice is to be written now.
    pub fn admits(&mut self, notice: &Notice, now: Instant) -> bool {
        if self.written.get(notice).is_some_and(|written| now.duration_since(*written) < AGAIN) {
            return false;
        }
        let has_room = self.of_pods.get_mut(&notice.pod).is_none_or(|room| room.count(now) > 0);
        if !has_room || self.of_all.count(now) == 0 {
            return false;
        }
        if self.written.len().max(self.of_pods.len()) >= REMEMBERED {
            self.written.retain(|_, written| now.duration_since(*written) < AGAIN);
            self.of_pods.retain(|_, room| room.count(now) < OF_A_POD.burst);
        }
        if self.written.len().max(self.of_pods.len()) >= REMEMBERED {
            return false;
        }
        self.of_all.left -= 1;
        self.of_pods.entry(notice.pod.clone()).or_insert_with(|| Room::new(OF_A_POD, now)).left -= 1;
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
        let client = format!("connection to Service front/service:80/TCP ({}:8080) was refused: ", happened.server.address);
        let expected = [
            ("shop/client".to_owned(), "PolicyDenied", format!("{client}the policies of the other end do not let it in")),
            (
                "web/server".to_owned(),
                "PolicyDenied",
                format!("connection from {} to port 8080/TCP was refused: ClusterNetworkPolicy closed ingress[2]", happened.client.address),
            ),
        ];
        assert_eq!(messages(&happened), expected, "names of other namespaces are nobody's business");
        happened.judged[0].rule = None;
        happened.judged[0].isolated_by = vec![policy("a"), policy("b")];
        let message = &messages(&happened)[1].2;
        assert!(message.ends_with("no ingress rule of NetworkPolicy web/a, NetworkPolicy web/b allows it"), "{message}");
        happened.judged[0].isolated_by_more = 9_998;
        let message = &messages(&happened)[1].2;
        assert!(message.ends_with("no ingress rule of NetworkPolicy web/a, NetworkPolicy web/b and 9998 more allows it"), "{message}");
        happened.reason = Some("policy-egress".into());
        let rule = Some(Rule { policy: policy("out"), index: 0, rule_name: None });
        happened.judged = vec![Judged { direction: Direction::Egress, rule, isolated_by: Vec::new(), isolated_by_more: 0 }];
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
        happened.server.pod.as_mut().unwrap().namespace = "shop".into();
        assert_eq!(
            messages(&happened),
            [(
                "shop/client".to_owned(),
                "NoRoute",
                "connection to shop/server:8080/TCP was refused: The node has no way to the destination".to_owned()
            )]
        );
        happened.reason = Some("malformed".into());
        assert!(messages(&happened).is_empty());
    }

    #[test]
    fn the_same_is_written_once_a_minute_and_so_many_of_one_pod_and_all_together() {
        let start = Instant::now();
        let mut memory = Memory::new(start);
        let notice = |number: u32| Notice { message: number.to_string(), ..notices(&dropped()).remove(0) };
        assert!(memory.admits(&notice(0), start));
        assert!(!memory.admits(&notice(0), start + Duration::from_secs(59)));
        assert!(memory.admits(&notice(0), start + Duration::from_secs(60)));
        let then = start + Duration::from_secs(600);
        let of = |pod: u32, number| {
            let pod = Pod { name: pod.to_string(), ..notice(number).pod };
            Notice { pod, ..notice(number) }
        };
        let mut written = |pod, at| (1..100).filter(|number| memory.admits(&of(pod, *number), at)).count();
        assert_eq!([1, 2, 3, 4, 5].map(|pod| written(pod, then)), [10; 5]);
        assert_eq!([written(1, then + OF_A_POD.refill - OF_ALL.refill), written(6, then), written(7, then)], [0, 10, 0]);
        let later = then + OF_A_POD.refill;
        assert_eq!([written(1, later), written(7, later)], [1, 9]);
    }

    #[test]
    fn the_page_about_drops_names_every_reason() {
        let page = include_str!("../../../../docs/how-to/explain-a-drop.md");
        for reason in DropReason::ALL.iter().filter_map(|reason| reason_of(*reason)) {
            assert!(page.contains(&format!("`{reason}`")), "{reason}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut memory = Memory::new(start);
        for number in 0..3 * REMEMBERED as u32 {
            let notice = notices(&dropped()).remove(0);
            let pod = Pod { name: number.to_string(), ..notice.pod.clone() };
            let notice = Notice { pod, ..notice };
            memory.admits(&notice, start + OF_ALL.refill * number);
        }
        assert!(memory.written.len() <= REMEMBERED && memory.of_pods.len() <= REMEMBERED);
    }
}
