//! A backend that goes, with everything real but the API: what sockets that were connected to it through a Service see.
//!
//! ```text
//!   client (in the node's cgroup)        first server              second server
//!   pod a ── veth ── node's namespace ── veth ── pod b      ┄ then ┄ pod c
//!            UDP or TCP to 10.96.0.1
//! ```

use crate::harness::{FakeApi, eventually, in_namespace, node, service, slice};
use crate::whole::{Cgroup, CleanUp, PodNamespace, RealAgent, accept, add, config};
use orknet_agent::cleanup;
use orknet_dataplane::Reader;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, UdpSocket};

fn udp_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "dns", "namespace": "default" },
        "spec": { "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{ "name": "dns", "port": 53, "protocol": "UDP" }] },
    })
}

fn udp_slice(address: IpAddr) -> Value {
    let mut object = slice("dns", &[&address.to_string()]);
    object["ports"] = json!([{ "name": "dns", "port": 8080, "protocol": "UDP" }]);
    object
}

/// Answers every line with the server's name, until the test process ends.
fn answer(socket: UdpSocket, name: &'static str) {
    std::thread::spawn(move || {
        let mut line = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut line) {
            let _ = socket.send_to(format!("{name}\n").as_bytes(), from);
        }
    });
}

#[test]
fn root_a_connected_datagram_socket_learns_that_its_backend_is_gone_and_connects_to_another() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = RealAgent::start(&config, &api);
        let (a, b, c) = (PodNamespace::new(), PodNamespace::new(), PodNamespace::new());
        add(&config, "a", &a).await;
        let (first, second) = (add(&config, "b", &b).await[0], add(&config, "c", &c).await[0]);
        answer(b.bind(first), "first");
        answer(c.bind(second), "second");
        api.put(udp_service());
        api.put(udp_slice(first));
        let pins = config.dataplane.pin_dir.clone();
        let leads = |to: IpAddr| {
            let image = Reader::open(&pins).unwrap().image().unwrap();
            image.backends.values().any(|backend| IpAddr::from(backend.address) == to).then_some(())
        };
        eventually("the first backend", || leads(first)).await;
        // A datagram is read as a whole or lost, so not by the shell.
        let read = "dd bs=64 count=1 status=none <&3";
        let ask = format!("exec 3<>/dev/udp/10.96.0.1/53; echo '?' >&3; {read}");
        // In between it waits for an answer that never comes.
        let mut client = cgroup.spawn(&a, &format!("{ask}; {read} || echo aborted; {ask}"));
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "first");
        api.put(udp_slice(second));
        assert_eq!(lines.next().unwrap().unwrap(), "aborted");
        assert_eq!(lines.next().unwrap().unwrap(), "second");
        let mut said = String::new();
        client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("onnection abort"), "{said}");
        client.wait().unwrap();
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}

#[test]
fn root_a_connection_to_an_endpoint_that_goes_is_reset_and_one_to_an_endpoint_that_terminates_is_not() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = RealAgent::start(&config, &api);
        let (a, b) = (PodNamespace::new(), PodNamespace::new());
        add(&config, "a", &a).await;
        let address = add(&config, "b", &b).await[0];
        let listener = b.listen(address);
        for (name, front) in [("web", "10.96.0.1"), ("other", "10.96.0.2")] {
            api.put(service(name, front));
            api.put(slice(name, &[&address.to_string()]));
        }
        let pins = config.dataplane.pin_dir.clone();
        let lists = || Reader::open(&pins).unwrap().image().unwrap().services.values().filter(|service| service.count > 0).count();
        eventually("both Services", || (lists() == 2).then_some(())).await;
        let connect = |front: &str| {
            let mut client = cgroup.spawn(&a, &format!("exec 3<>/dev/tcp/{front}/80; cat <&3 || echo reset"));
            let lines = BufReader::new(client.stdout.take().unwrap()).lines();
            (client, accept(&listener), lines)
        };
        let (mut client, mut server, mut lines) = connect("10.96.0.1");
        let (mut other, mut other_server, mut other_lines) = connect("10.96.0.2");
        // One endpoint ends, but not yet; the other is gone, which tells when the collector has been there.
        let mut terminating = slice("web", &[&address.to_string()]);
        terminating["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": false, "terminating": true });
        api.put(terminating);
        eventually("nobody new gets there", || (lists() == 1).then_some(())).await;
        api.put(slice("other", &[]));
        assert_eq!(other_lines.next().unwrap().unwrap(), "reset");
        assert_eq!(other_server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        server.write_all(b"still here\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "still here");
        api.put(slice("web", &[]));
        assert_eq!(lines.next().unwrap().unwrap(), "reset");
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        other.wait().unwrap();
        client.wait().unwrap();
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}
