//! A line for tests.

use super::line::{Direction, End, Front, Happened, Judged, Pod, Policy, Rule, Verdict};

/// A connection of `shop/client` to `web/server` through the Service `front/service`, which a rule of the server's refused.
pub fn dropped() -> Happened {
    let pod = |namespace: &str, name: &str| Some(Pod { namespace: namespace.into(), name: name.into(), is_local: true });
    let policy = Policy { kind: "ClusterNetworkPolicy".into(), namespace: String::new(), name: "closed".into() };
    Happened {
        time: "2026-01-02T03:04:05.678901Z".into(),
        node: "node1".into(),
        verdict: Verdict::Dropped,
        reason: Some("policy-ingress".into()),
        explanation: Some("No rule lets it in.".into()),
        protocol: "TCP".into(),
        client: End { address: [10, 244, 0, 2].into(), port: Some(40_000), pod: pod("shop", "client") },
        server: End { address: [10, 244, 0, 3].into(), port: Some(8_080), pod: pod("web", "server") },
        service: Some(Front { namespace: "front".into(), name: "service".into(), address: [10, 96, 0, 10].into(), port: Some(80) }),
        possible_services: Vec::new(),
        judged: vec![Judged {
            direction: Direction::Ingress,
            rule: Some(Rule { policy, index: 2, rule_name: None }),
            isolated_by: Vec::new(),
            isolated_by_more: 0,
        }],
        is_answer: false,
        is_call: false,
        tcp_flags: vec!["SYN".into()],
        device: 7,
        bytes: 74,
    }
}
