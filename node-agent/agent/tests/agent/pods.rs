//! The socket for the CNI plugin, with a fake data plane and real devices in a namespace of the test's own.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, ip, node};
use orknet_abi::Address;
use orknet_cni::host_name;
use orknet_cni::protocol::{Answer, Attachment, AttachmentName, MacAddress, PodName, Reason, Request};
use orknet_cni::state::Attachments;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

const DEVICE: &str = "ork0123456789ab";

fn name() -> AttachmentName {
    AttachmentName { container_id: "c1".into(), ifname: "eth0".into() }
}

fn attachment(ifindex: u32) -> Attachment {
    Attachment {
        attachment: name(),
        pod: PodName::default(),
        netns: "/run/netns/x".into(),
        host_ifname: DEVICE.into(),
        host_ifindex: ifindex,
        host_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        pod_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        addresses: vec!["10.244.1.2".parse().unwrap(), "fd00:10:244:1::2".parse().unwrap()],
        host_ports: Vec::new(),
    }
}

fn add_device() -> u32 {
    add_device_named(DEVICE)
}

fn add_device_named(name: &str) -> u32 {
    ip(&format!("link add {name} type veth peer name to-{}", &name[3..]));
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// A pod of that name with a device of its own.
fn pod(container_id: &str) -> Attachment {
    let name = AttachmentName { container_id: container_id.into(), ifname: "eth0".into() };
    let host_ifname = host_name(&name);
    let host_ifindex = add_device_named(&host_ifname);
    Attachment { attachment: name, host_ifname, ..attachment(host_ifindex) }
}

fn reason(answer: &Answer) -> Option<Reason> {
    if let Answer::Error(refusal) = answer { Some(refusal.reason) } else { None }
}

fn cluster() -> (FakeApi, Arc<FakeDataplane>) {
    let api = FakeApi::new();
    api.put(node("here", &["10.244.1.0/24", "fd00:10:244:1::/64"], &["192.0.2.1"]));
    (api, Arc::default())
}

#[test]
fn root_a_pod_is_programmed_when_attach_is_answered_and_gone_when_detach_is() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let index = add_device();
        assert_eq!(agent.ask(&Request::Attach(attachment(index))).await, Answer::Done);
        let expected = format!("pod 10.244.1.2 device {index} pod-mac 02:00:00:00:00:02 host-mac 02:00:00:00:00:01\n");
        assert!(dataplane.dump().contains(&expected), "{}", dataplane.dump());
        assert!(dataplane.dump().contains("pod fd00:10:244:1::2"));
        assert!(dataplane.devices.lock().unwrap().contains(&index));
        assert_eq!(agent.ask(&Request::Check(name())).await, Answer::Done);
        let Answer::Status(status) = agent.ask(&Request::Status).await else { panic!() };
        assert_eq!((status.synced, status.programmed, status.addressed, status.attachments), (true, true, true, 1));
        for _ in 0..2 {
            assert_eq!(agent.ask(&Request::Detach(name())).await, Answer::Done);
            assert_eq!(dataplane.dump(), "maps empty\n");
            assert!(dataplane.devices.lock().unwrap().is_empty());
        }
        assert_eq!(reason(&agent.ask(&Request::Check(name())).await), Some(Reason::NotFound));
    });
}

#[test]
fn root_who_asks_before_the_node_has_pod_addresses_is_answered_when_it_has() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &[], &["192.0.2.1"]));
        let agent = Agent::start(&api, &dataplane);
        let Answer::Status(status) = agent.ask(&Request::Status).await else { panic!() };
        assert_eq!(status.attachments, 0);
        let asks = agent.ask(&Request::Configuration);
        let gives = async { api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"])) };
        let (Answer::Configuration(configuration), _) = tokio::join!(asks, gives) else { panic!() };
        assert_eq!(configuration.pod_cidrs, ["10.244.1.0/24".parse().unwrap()]);
        assert_eq!(configuration.gateways, ["169.254.1.1".parse::<std::net::IpAddr>().unwrap()]);
    });
}

#[test]
fn root_pods_have_the_mtu_of_the_device_with_the_nodes_address() {
    in_namespace(|| async {
        ip("link add uplink mtu 1400 type veth peer name other");
        ip("address add 192.0.2.1/24 dev uplink");
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let Answer::Configuration(configuration) = agent.ask(&Request::Configuration).await else { panic!() };
        assert_eq!(configuration.mtu, 1400);
    });
}

#[test]
fn root_a_failure_of_the_kernel_reaches_the_plugin() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let index = add_device();
        *dataplane.refuses_devices.lock().unwrap() = true;
        assert_eq!(reason(&agent.ask(&Request::Attach(attachment(index))).await), Some(Reason::Failed));
        *dataplane.refuses_devices.lock().unwrap() = false;
        *dataplane.failing.lock().unwrap() = 1;
        assert_eq!(reason(&agent.ask(&Request::Attach(attachment(index))).await), Some(Reason::Failed));
    });
}

#[test]
fn root_nonsense_is_refused() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let index = add_device();
        for line in ["", "{", "\"fly\"", "{\"attach\":{}}", "[1]"] {
            assert_eq!(reason(&agent.send(line).await), Some(Reason::BadRequest), "{line:?}");
        }
        let wrong_device = Attachment { host_ifindex: index + 1, ..attachment(index) };
        assert_eq!(reason(&agent.ask(&Request::Attach(wrong_device)).await), Some(Reason::BadRequest));
        let foreign = Attachment { addresses: vec!["10.244.9.2".parse().unwrap()], ..attachment(index) };
        assert_eq!(reason(&agent.ask(&Request::Attach(foreign)).await), Some(Reason::BadRequest));
        assert_eq!(dataplane.dump(), "maps empty\n");
    });
}

#[test]
fn root_only_root_may_open_the_socket_and_there_is_only_one_agent() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let mode = std::fs::metadata(&agent.config.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Agent::start_in(Arc::clone(&agent.folder), &api, &dataplane);
        let error = second.task.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("another agent"), "{error}");
    });
}

#[test]
fn root_a_restarted_agent_finds_the_pods_from_the_plugins_records() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let index = add_device();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let records = Attachments::new(&agent.state_dir());
        records.put(&attachment(index)).unwrap();
        assert_eq!(agent.ask(&Request::Attach(attachment(index))).await, Answer::Done);
        let folder = agent.stop().await;
        // A device of a pod that was deleted while the agent was down, and a record whose device is gone.
        dataplane.devices.lock().unwrap().insert(9_999);
        let mut gone = attachment(1);
        (gone.attachment.container_id, gone.host_ifname) = ("c2".into(), "orkgone".into());
        gone.addresses = vec!["10.244.1.3".parse().unwrap()];
        records.put(&gone).unwrap();
        dataplane.take_steps();
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Check(name())).await, Answer::Done);
        assert_eq!(dataplane.take_steps(), [], "what was there is not written again");
        assert_eq!(*dataplane.devices.lock().unwrap(), [index].into());
    });
}

#[test]
fn root_pods_are_programmed_while_the_server_is_down() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let records = Attachments::new(&agent.state_dir());
        let folder = agent.stop().await;
        let index = add_device();
        records.put(&attachment(index)).unwrap();
        api.set_down(true);
        let _agent = Agent::start_in(folder, &api, &dataplane);
        eventually("the pod is in the maps", || dataplane.dump().contains("pod 10.244.1.2").then_some(())).await;
    });
}

#[test]
fn root_an_address_leads_to_the_pod_that_got_it_last() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        // Nobody told the agent that the first one is gone. Its name comes before the second one's, and after the third one's.
        let pods = [pod("b"), pod("c"), pod("a")];
        for pod in &pods {
            assert_eq!(agent.ask(&Request::Attach(pod.clone())).await, Answer::Done);
            let expected = format!("pod 10.244.1.2 device {} ", pod.host_ifindex);
            assert!(dataplane.dump().contains(&expected), "{}", dataplane.dump());
            assert_eq!(agent.ask(&Request::Check(pod.attachment.clone())).await, Answer::Done);
            assert_eq!(*dataplane.devices.lock().unwrap(), [pod.host_ifindex].into(), "only the pod with the address has programs");
        }
        for gone in &pods[..2] {
            assert_eq!(reason(&agent.ask(&Request::Check(gone.attachment.clone())).await), Some(Reason::NotFound));
            assert_eq!(agent.ask(&Request::Detach(gone.attachment.clone())).await, Answer::Done);
        }
        assert_eq!(agent.ask(&Request::Check(pods[2].attachment.clone())).await, Answer::Done);
    });
}

#[test]
fn root_a_pod_whose_device_is_gone_is_forgotten() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let mut stays = pod("a");
        stays.addresses = vec!["10.244.1.3".parse().unwrap()];
        for pod in [&stays, &pod("b")] {
            assert_eq!(agent.ask(&Request::Attach(pod.clone())).await, Answer::Done);
        }
        // DEL, while the agent does not answer.
        ip(&format!("link delete {}", host_name(&AttachmentName { container_id: "b".into(), ifname: "eth0".into() })));
        eventually("the maps forget it", || (!dataplane.dump().contains("pod 10.244.1.2 ")).then_some(())).await;
        eventually("its device is released", || (dataplane.devices.lock().unwrap().len() == 1).then_some(())).await;
        assert_eq!(agent.ask(&Request::Check(stays.attachment)).await, Answer::Done);
    });
}

#[test]
fn root_records_that_cannot_be_read_end_the_start_and_nothing_is_touched() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(pod("a"))).await, Answer::Done);
        let state_dir = agent.state_dir();
        let folder = agent.stop().await;
        let (maps, devices) = (dataplane.dump(), dataplane.devices.lock().unwrap().clone());
        // Not a folder.
        std::fs::create_dir_all(&state_dir).unwrap();
        std::fs::write(state_dir.join("attachments"), "").unwrap();
        let error = Agent::start_in(folder, &api, &dataplane).task.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("which pods"), "{error}");
        assert_eq!((dataplane.dump(), dataplane.devices.lock().unwrap().clone()), (maps, devices));
    });
}

#[test]
fn root_a_pod_with_a_broken_record_keeps_what_the_maps_hold() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let pod = pod("a");
        Attachments::new(&agent.state_dir()).put(&pod).unwrap();
        assert_eq!(agent.ask(&Request::Attach(pod.clone())).await, Answer::Done);
        let record = agent.state_dir().join("attachments/a@eth0.json");
        let folder = agent.stop().await;
        assert!(record.exists());
        std::fs::write(record, "{").unwrap();
        dataplane.take_steps();
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Check(pod.attachment.clone())).await, Answer::Done);
        assert_eq!(dataplane.take_steps(), []);
        assert_eq!(*dataplane.devices.lock().unwrap(), [pod.host_ifindex].into());
        assert_eq!(agent.ask(&Request::Detach(pod.attachment)).await, Answer::Done);
        assert_eq!(dataplane.dump(), "maps empty\n");
    });
}

#[test]
fn root_nobody_starts_with_an_address_that_has_flows_of_another_pod() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let (first, second) = (pod("a"), pod("b"));
        assert_eq!(agent.ask(&Request::Attach(first.clone())).await, Answer::Done);
        assert_eq!(agent.ask(&Request::Detach(first.attachment)).await, Answer::Done);
        // The second one gets the first one's address.
        *dataplane.keeps_flows.lock().unwrap() = true;
        assert_eq!(reason(&agent.ask(&Request::Attach(second.clone())).await), Some(Reason::Failed));
        *dataplane.keeps_flows.lock().unwrap() = false;
        assert_eq!(agent.ask(&Request::Attach(second.clone())).await, Answer::Done);
        let addresses: BTreeSet<Address> = second.addresses.iter().map(|address| Address::from(*address)).collect();
        assert_eq!(*dataplane.purges.lock().unwrap(), [addresses.clone(), addresses]);
        // A pod that runs keeps its flows over a restart.
        Attachments::new(&agent.state_dir()).put(&second).unwrap();
        let folder = agent.stop().await;
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.configured().await;
        assert_eq!(dataplane.purges.lock().unwrap().len(), 2);
    });
}
