//! What programs are to tell goes by who wants to hear of it, and what they tell reaches those.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node, service};
use orknet_abi::{Address, EVENT_BYTES, Event, FlowKey, Monitor, event_kind, monitor_flags, protocol};
use orknet_agent::monitor::{Line, Verdict, socket_of};
use orknet_dataplane::{Packet, Told, Transport};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;

const CLIENT: [u8; 4] = [10, 244, 1, 2];
const FRONT: [u8; 4] = [10, 96, 0, 1];
const BACKEND: [u8; 4] = [10, 244, 1, 3];

/// A connection to the Service `web` is opened.
pub fn opened() -> Told {
    let becomes = FlowKey {
        source: Address::from_v4(CLIENT),
        destination: Address::from_v4(BACKEND),
        source_port_be: 40_000_u16.to_be(),
        destination_port_be: 8_080_u16.to_be(),
        protocol: protocol::TCP,
        reserved: [0; 3],
    };
    let event = Event {
        time: 0,
        cookie: 0,
        kind: event_kind::FLOW,
        reason: 0,
        rule: 0,
        egress_rule: 0,
        set: 0,
        peers: 0,
        direction: 0,
        device: 1,
        bytes: 74,
        becomes,
        head_bytes: 0,
        head: [0; EVENT_BYTES],
    };
    let transport = Transport::Tcp { source: 40_000, destination: 80, flags: Some(2) };
    let packet = Packet { source: CLIENT.into(), destination: FRONT.into(), protocol: protocol::TCP, transport };
    Told { event, packet: Some(packet), front: None }
}

pub async fn subscribe(agent: &Agent, filter: &str) -> Lines<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket_of(&agent.config.socket)).await.unwrap();
    stream.write_all(format!("{filter}\n").as_bytes()).await.unwrap();
    BufReader::new(stream).lines()
}

async fn is_told(dataplane: &Arc<FakeDataplane>, flags: u32, per_tick: u32) {
    let wanted = Monitor { flags, per_tick };
    eventually("what programs are to tell", || (*dataplane.monitor.lock().unwrap() == wanted).then_some(())).await;
}

#[test]
fn root_flows_are_told_while_somebody_wants_to_hear_of_them_and_nothing_once_the_agent_has_ended() {
    const DROPS: u32 = monitor_flags::DROPS;
    const ALL: u32 = DROPS | monitor_flags::FLOWS;
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::<FakeDataplane>::default());
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(service("web", "10.96.0.1"));
        let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| config.event_rate = 5);
        agent.configured().await;
        is_told(&dataplane, DROPS, 5).await;
        let dropped_only = subscribe(&agent, r#"{"verdict":"dropped"}"#).await;
        let mut monitor = subscribe(&agent, r#"{"namespace":"default"}"#).await;
        is_told(&dataplane, ALL, 5).await;
        dataplane.tell(opened());
        let line: Line = serde_json::from_str(&monitor.next_line().await.unwrap().unwrap()).unwrap();
        let Line::Event(happened) = line else { panic!("{line:?}") };
        assert_eq!((happened.verdict, happened.node.as_str()), (Verdict::Allowed, "here"));
        assert_eq!((happened.client.to_string(), happened.server.to_string()), ("10.244.1.2:40000".into(), "10.244.1.3:8080".into()));
        assert_eq!(happened.service.map(|front| (front.name, front.port)), Some(("web".into(), Some(80))));
        drop(monitor);
        is_told(&dataplane, DROPS, 5).await;
        drop(dropped_only);
        agent.stop().await;
        is_told(&dataplane, 0, 0).await;
    });
}
