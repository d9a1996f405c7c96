//! What is tried again, and what that costs, while writes fail.

use crate::harness::{Agent, FakeDataplane, eventually, in_namespace, service};
use crate::monitor::{opened, subscribe};
use crate::policies::{UID, attachment, closes, cluster, entry, version, web};
use orknet_abi::monitor_flags;
use orknet_agent::monitor::Line;
use orknet_cni::protocol::{Answer, Request};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn reads(dataplane: &FakeDataplane) -> usize {
    dataplane.reads.load(Ordering::Relaxed)
}

/// Steps that have failed since all began to.
fn failures(dataplane: &FakeDataplane) -> usize {
    usize::MAX - *dataplane.failing.lock().unwrap()
}

#[test]
fn root_neither_questions_nor_what_is_no_news_have_anything_tried_again_before_its_time() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(web(UID, "web"));
        api.put(service("web", "10.96.0.1"));
        let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| config.resync_seconds = 3_600);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        let mut told = subscribe(&agent, r#"{"namespace":"default"}"#).await;
        let hears = || dataplane.monitor.lock().unwrap().flags & monitor_flags::FLOWS != 0;
        eventually("somebody hears of flows", || hears().then_some(())).await;
        let (before, begin) = (reads(&dataplane), Instant::now());
        // Refused, so that each attempt has all maps read.
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(closes("a", "web"));
        eventually("it fails", || (reads(&dataplane) > before).then_some(())).await;
        for number in 0..500 {
            dataplane.tell(opened());
            let line = told.next_line().await.unwrap().unwrap();
            assert!(matches!(serde_json::from_str(&line).unwrap(), Line::Event(_)), "{line}");
            assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if !status.programmed));
            let mut same = web(UID, "web");
            same["metadata"]["annotations"] = json!({ "number": number.to_string() });
            api.put(same);
        }
        let attempts = reads(&dataplane) - before;
        // At once, after 100 ms, after 200 ms more, and so on.
        let pauses = begin.elapsed().as_secs_f64() / 0.1;
        assert!(attempts <= 1 + (pauses + 1.0).log2() as usize, "{attempts} in {pauses} pauses");
        // What is new is tried at once, with all that failed: pauses would be twice as long after each.
        let begin = Instant::now();
        for number in 0..20 {
            let before = reads(&dataplane);
            api.put(service("other", &format!("10.96.1.{number}")));
            eventually("it fails again", || (reads(&dataplane) > before).then_some(())).await;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        *dataplane.failing.lock().unwrap() = 0;
        api.put(service("other", "10.96.2.0"));
        eventually("the policy is in the maps", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
    });
}

#[test]
fn root_while_a_map_is_full_changes_have_no_map_read() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(web(UID, "web"));
        api.put(closes("a", "web"));
        api.put(closes("bb", "other"));
        *dataplane.full.lock().unwrap() = Some(("VERDICTS", 0));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let before = reads(&dataplane);
        *dataplane.failing.lock().unwrap() = usize::MAX;
        let refused = agent.ask(&Request::Attach(attachment())).await;
        assert!(matches!(refused, Answer::Error(_)), "{refused:?}");
        for number in 0..20 {
            let failed = failures(&dataplane);
            api.put(web(UID, ["other", "nobody", "web"][number % 3]));
            eventually("it fails again", || (failures(&dataplane) > failed).then_some(())).await;
        }
        assert_eq!(reads(&dataplane), before);
        *dataplane.failing.lock().unwrap() = 0;
        api.put(web(UID, "other"));
        api.put(web(UID, "web"));
        eventually("there is room", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
    });
}

#[test]
fn root_what_is_open_is_noted_before_the_first_rules_also_if_these_find_room_later() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(web(UID, "web"));
        *dataplane.full.lock().unwrap() = Some(("VERDICTS", 0));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(closes("a", "web"));
        eventually("it fails", || (failures(&dataplane) > 0).then_some(())).await;
        assert_eq!(entry(&dataplane).unwrap().ingress, 0);
        *dataplane.failing.lock().unwrap() = 0;
        eventually("the policy is in the maps", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
        let noted = || dataplane.noted.lock().unwrap().iter().map(|(_, are_ruled)| *are_ruled).collect::<Vec<_>>();
        eventually("what came to be meanwhile is noted", || noted().ends_with(&[false, true]).then_some(())).await;
    });
}

#[test]
fn root_while_the_maps_cannot_be_read_nothing_new_is_told_as_programmed() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(web(UID, "web"));
        let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| config.resync_seconds = 1);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        // Somebody has changed the maps, which is seen, and they cannot be read.
        *dataplane.unreadable.lock().unwrap() = true;
        let before = reads(&dataplane);
        dataplane.maps.lock().unwrap().ranges.clear();
        eventually("it fails", || (reads(&dataplane) > before).then_some(())).await;
        api.put(closes("a", "web"));
        let (closed, before) = (api.version(), reads(&dataplane));
        let told = || api.reports().pop().and_then(|report| version(&report.1, "NetworkPolicy"));
        // No news comes all the time.
        let mut number = 0;
        eventually("it fails again and again", || {
            let mut same = web(UID, "web");
            same["metadata"]["annotations"] = json!({ "number": number.to_string() });
            api.put(same);
            number += 1;
            assert_ne!(told(), Some(closed), "the entry says {:?}", entry(&dataplane));
            (reads(&dataplane) > before + 3).then_some(())
        })
        .await;
        *dataplane.unreadable.lock().unwrap() = false;
        eventually("it is told", || (told() == Some(closed)).then_some(())).await;
        assert_ne!(entry(&dataplane).unwrap().ingress, 0);
    });
}
