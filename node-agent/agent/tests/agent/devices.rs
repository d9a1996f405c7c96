//! Devices to the network: when another version's programs go, and what the node and its events say of trouble.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node};
use crate::network::uplink;
use nix::net::if_::if_nametoindex;
use orknet_dataplane::{Trouble, TroubleKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node with the devices `uplink` and `other`, both of them to the network, and trouble with the second.
fn scene(kind: Option<TroubleKind>) -> (FakeApi, Arc<FakeDataplane>, [u32; 2]) {
    uplink();
    let api = FakeApi::new();
    api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
    let devices = ["uplink", "other"].map(|name| if_nametoindex(name).unwrap());
    let trouble = |kind| Trouble { device: "other".into(), kind, why: "it is so".into(), remedy: "replace it".into() };
    let dataplane = FakeDataplane::default();
    *dataplane.troubles.lock().unwrap() = kind.map(|kind| (devices[1], trouble(kind))).into_iter().collect();
    (api, Arc::new(dataplane), devices)
}

fn start(api: &FakeApi, dataplane: &Arc<FakeDataplane>) -> Agent {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    Agent::start_with(folder, api, dataplane, |config| config.devices = vec!["uplink".into(), "other".into()])
}

#[test]
fn root_trouble_with_a_device_is_told_on_the_node_and_taken_back_when_it_ends() {
    in_namespace(|| async {
        let (api, dataplane, [_, other]) = scene(None);
        let _agent = start(&api, &dataplane);
        let condition = |status: &str| api.condition("here", "NetworkDevicesDegraded").filter(|condition| condition["status"] == status);
        assert_eq!(eventually("all is well", || condition("False")).await["reason"], "DevicesServe");
        let trouble =
            Trouble { device: "other".into(), kind: TroubleKind::NotBeforeStack, why: "it is so".into(), remedy: "replace it".into() };
        *dataplane.troubles.lock().unwrap() = BTreeMap::from([(other, trouble)]);
        let told = eventually("the trouble", || condition("True")).await;
        assert_eq!(told["reason"], "NoXdp");
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with("other: ") && message.ends_with("replace it"), "{message}");
        let events = eventually("the event", || Some(api.events()).filter(|events| !events.is_empty())).await;
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((&event["involvedObject"]["kind"], &event["reason"]), (&"Node".into(), &"NoXdp".into()));
        assert_eq!((&event["message"], &event["type"]), (&told["message"], &"Warning".into()));
        dataplane.troubles.lock().unwrap().clear();
        eventually("all is well again", || condition("False")).await;
        assert_eq!(api.events().len(), 1);
    });
}

/// Until ours are on all devices, another version's serve what comes in; then they go, and only then is there room for the one program that
/// a device takes for frames from the wire.
#[test]
fn root_another_versions_programs_go_when_ours_are_on_all_devices() {
    in_namespace(|| async {
        let (api, dataplane, [uplink, other]) = scene(Some(TroubleKind::NotServed));
        let _agent = start(&api, &dataplane);
        let order = || dataplane.order.lock().unwrap().clone();
        // Twice: it is tried again, and nothing has been retired for the device that is served.
        let tried = eventually("two attempts", || Some(order()).filter(|order| order.len() >= 2)).await;
        assert!(tried.iter().all(|step| *step == format!("programs on {{{uplink}}}")), "{tried:?}");
        assert!(!*dataplane.retired.lock().unwrap());
        dataplane.troubles.lock().unwrap().clear();
        eventually("the other version is retired", || dataplane.retired.lock().unwrap().then_some(())).await;
        let both = if uplink < other { format!("{{{uplink}, {other}}}") } else { format!("{{{other}, {uplink}}}") };
        let all = eventually("our programs after it", || {
            let all = order();
            (all.iter().position(|step| step == "others retired")? + 1 < all.len()).then_some(all)
        })
        .await;
        let retired = all.iter().position(|step| step == "others retired").unwrap();
        let expected = [format!("programs on {both}"), "others retired".to_owned(), format!("programs on {both}")];
        assert_eq!(all[retired - 1..=retired + 1], expected);
        assert_eq!(all.iter().filter(|step| *step == "others retired").count(), 1);
    });
}

/// What costs only speed keeps nobody from it: another version's program for frames may be the very reason.
#[test]
fn root_trouble_with_frames_from_the_wire_keeps_no_other_version() {
    in_namespace(|| async {
        let (api, dataplane, _) = scene(Some(TroubleKind::NotBeforeStack));
        let _agent = start(&api, &dataplane);
        eventually("the other version is retired", || dataplane.retired.lock().unwrap().then_some(())).await;
    });
}
