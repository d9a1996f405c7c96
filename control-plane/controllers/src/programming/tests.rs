//! What a report is about, what an object needs, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_reconciler::ObjectKey;
use orknet_resources::kinds::programming::NodeProgramming;
use proptest::prelude::*;
use serde_json::json;

use super::plan::{self, Mark};
use super::progress::{Progress, Report, Verdict, Wake};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("d", name)
}

fn keys(names: &[&str]) -> BTreeSet<ObjectKey> {
    names.iter().map(|name| key(name)).collect()
}

fn at(version: u64) -> Option<Report> {
    Some(Report { version: Some(version), ..Report::default() })
}

/// Nodes that do not say why they are waited for.
fn waiting(names: &[&str]) -> Vec<(String, Option<String>)> {
    names.iter().map(|name| ((*name).to_owned(), None)).collect()
}

fn mark(version: u64) -> Mark {
    Mark { uid: "u".into(), generation: 1, version }
}

/// Objects a, b, c that need the versions 10, 20, 30, and two nodes that have come to 15 and 25.
fn progress() -> Progress {
    let mut progress = Progress::default();
    for (name, version) in [("a", 10), ("b", 20), ("c", 30)] {
        progress.set_mark(&key(name), mark(version));
    }
    progress.report("n1", at(15));
    progress.report("n2", at(25));
    progress
}

#[test]
fn a_report_wakes_whom_it_moves_and_nobody_else() {
    let mut progress = progress();
    assert_eq!(progress.report("n1", at(19)), Wake::default());
    assert_eq!(progress.report("n2", at(29)), Wake::default());
    assert_eq!(progress.report("n2", at(30)), Wake { now: keys(&[]), later: keys(&["c"]) });
    assert_eq!(progress.report("n1", at(20)), Wake { now: keys(&["b"]), later: keys(&[]) });
    assert_eq!(progress.report("n1", at(20)), Wake::default());
    // An agent that lost its maps.
    assert_eq!(progress.report("n1", at(5)), Wake { now: keys(&[]), later: keys(&["a", "b"]) });
}

#[test]
fn a_node_that_comes_or_goes_counts_for_all() {
    let mut progress = progress();
    assert_eq!(progress.report("n3", Some(Report::default())).later, keys(&["a", "b", "c"]));
    assert_eq!(progress.verdict(&key("a"), 10), Verdict { nodes: 3, programmed: 2, waiting: waiting(&["n3"]), failed: vec![] });
    assert_eq!(progress.report("n3", at(40)), Wake { now: keys(&["a"]), later: keys(&["b", "c"]) });
    assert_eq!(progress.report("n1", None), Wake { now: keys(&["b"]), later: keys(&["a", "c"]) });
}

#[test]
fn a_failure_is_told_when_it_comes_changes_and_goes() {
    let mut progress = progress();
    let failed = |why: &str| Some(Report { failed: [(key("a"), why.to_owned())].into(), ..at(15).unwrap() });
    for report in [failed("full"), failed("broken"), at(15)] {
        assert_eq!(progress.report("n1", report), Wake { now: keys(&["a"]), later: keys(&[]) });
    }
    progress.report("n1", failed("full"));
    let verdict = progress.verdict(&key("a"), 10);
    assert_eq!((verdict.programmed, verdict.failed), (1, vec![("n1".to_owned(), "full".to_owned())]));
}

#[test]
fn why_a_node_is_waited_for_is_told_of_whatever_waits_for_it() {
    let mut progress = progress();
    let behind = |why: &str| Some(Report { behind: Some(why.to_owned()), ..at(15).unwrap() });
    for report in [behind("no watch"), behind("full"), at(15)] {
        assert_eq!(progress.report("n1", report), Wake { now: keys(&[]), later: keys(&["b", "c"]) });
    }
    progress.report("n1", behind("full"));
    let full = ("n1".to_owned(), Some("full".to_owned()));
    assert_eq!(progress.verdict(&key("b"), 20), Verdict { nodes: 2, programmed: 1, waiting: vec![full.clone()], failed: vec![] });
    assert_eq!(progress.verdict(&key("c"), 30).waiting, [vec![full], waiting(&["n2"])].concat());
    assert_eq!(progress.verdict(&key("a"), 10).waiting, []);
    // Before the node has come to anything, too.
    let lost = Report { behind: Some("no watch".into()), ..Report::default() };
    assert_eq!(progress.report("n1", Some(lost)).later, keys(&["a", "b", "c"]));
}

#[test]
fn of_objects_that_are_gone_nothing_is_kept() {
    let mut progress = progress();
    progress.set_mark(&key("b"), mark(22));
    progress.forget(&key("a"));
    assert!(progress.mark(&key("a")).is_none());
    assert_eq!(progress.report("n1", at(30)), Wake { now: keys(&["b"]), later: keys(&["c"]) });
}

#[test]
fn a_report_is_of_its_node_and_of_one_kind() {
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "n", "uid": "1"}})).unwrap();
    let report = |uid: &str, version: &str| -> NodeProgramming {
        serde_json::from_value(json!({
        "metadata": {"name": "n", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid}]},
        "status": {
            "programmed": [{"kind": "Pod", "resourceVersion": "9"}, {"kind": "Service", "resourceVersion": version}],
            "behind": [{"kind": "NetworkPolicy", "message": "pod d/b: gone"}, {"kind": "Service", "message": "no room"}],
            "failed": [{"kind": "Service", "namespace": "d", "name": "a", "message": "m"}, {"kind": "Pod", "name": "b", "message": ""}],
        }}))
        .unwrap()
    };
    let expected = Report { version: Some(7), failed: [(key("a"), "m".to_owned())].into(), behind: Some("no room".into()) };
    let of_policies = Report { behind: Some("pod d/b: gone".into()), ..Report::default() };
    assert_eq!(Report::of("Service", &node, Some(&report("1", "7"))), expected);
    assert_eq!(Report::of("Service", &node, Some(&report("1", "x"))).version, None);
    assert_eq!(Report::of("Service", &node, Some(&report("2", "7"))), Report::default());
    assert_eq!(Report::of("NetworkPolicy", &node, Some(&report("1", "7"))), of_policies);
    assert_eq!(Report::of("ClusterNetworkPolicy", &node, Some(&report("1", "7"))), Report::default());
    assert_eq!(Report::of("Service", &node, None), Report::default());
}

#[test]
fn a_mark_moves_with_the_generation_alone() {
    let meta = |uid: &str, generation, version: &str| ObjectMeta {
        uid: Some(uid.into()),
        generation,
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    };
    let first = plan::mark(&meta("u", Some(1), "10"), None);
    assert_eq!(first, mark(10));
    assert_eq!(plan::mark(&meta("u", Some(1), "12"), Some(first.clone())), mark(10));
    assert_eq!(plan::mark(&meta("u", Some(2), "14"), Some(first.clone())), Mark { generation: 2, ..mark(14) });
    assert_eq!(plan::mark(&meta("v", Some(1), "14"), Some(first.clone())).version, 14);
    // The store was set back.
    assert_eq!(plan::mark(&meta("u", Some(1), "4"), Some(first)).version, 4);
    // Services of an earlier version have no generation.
    assert_eq!(plan::mark(&meta("u", None, "4"), None).generation, 0);
}

#[test]
fn a_companion_ahead_of_its_object_is_left_until_the_object_is_seen() {
    let object = |uid: &str, generation| ObjectMeta { uid: Some(uid.into()), generation, ..ObjectMeta::default() };
    let owner = OwnerReference { uid: "u".into(), controller: Some(true), ..OwnerReference::default() };
    let companion = |generation| ObjectMeta { generation, owner_references: Some(vec![owner.clone()]), ..ObjectMeta::default() };
    assert!(plan::is_ahead(&companion(Some(3)), &object("u", Some(2))));
    for (companion, object) in [
        (companion(Some(2)), object("u", Some(2))),
        (companion(Some(1)), object("u", Some(2))),
        // Of a former object of the name; of an earlier version, which knew no generation; nobody's.
        (companion(Some(3)), object("v", Some(1))),
        (companion(None), object("u", Some(1))),
        (companion(Some(0)), object("u", None)),
        (object("", Some(3)), object("u", Some(1))),
    ] {
        assert!(!plan::is_ahead(&companion, &object));
    }
}

#[test]
fn a_condition_that_was_true_needs_no_more_than_a_report() {
    let meta = ObjectMeta { uid: Some("u".into()), generation: Some(2), resource_version: Some("50".into()), ..ObjectMeta::default() };
    let verdict = Verdict { nodes: 1, programmed: 1, ..Verdict::default() };
    let condition = plan::condition(2, &verdict, None, NOW);
    assert_eq!(plan::mark(&meta, plan::mark_of_condition(&meta, Some(&condition))).version, 0);
    let older = Condition { observed_generation: Some(1), ..condition.clone() };
    assert_eq!(plan::mark(&meta, plan::mark_of_condition(&meta, Some(&older))).version, 50);
    let pending = Condition { status: "False".into(), ..condition };
    assert_eq!(plan::mark(&meta, plan::mark_of_condition(&meta, Some(&pending))).version, 50);
}

#[test]
fn the_message_names_up_to_three_nodes() {
    let names = |range: std::ops::Range<usize>| range.map(|n| (format!("n{n}"), None)).collect::<Vec<_>>();
    let gone = ("n7".to_owned(), Some("pod d/b: gone".to_owned()));
    let long = ("n0".to_owned(), Some("ß".repeat(400)));
    let shortened = format!("in force on 0 of 1 nodes; waiting for n0 ({}…)", "ß".repeat(300));
    let failed = |count| (0..count).map(|n| (format!("f{n}"), "full".to_owned())).collect::<Vec<_>>();
    for (verdict, status, reason, message) in [
        (Verdict::default(), "Unknown", "NoNodes", "there are no nodes"),
        (Verdict { nodes: 1, programmed: 1, ..Verdict::default() }, "True", "Programmed", "in force on the only node"),
        (Verdict { nodes: 3, programmed: 3, ..Verdict::default() }, "True", "Programmed", "in force on all 3 nodes"),
        (
            Verdict { nodes: 4, programmed: 2, waiting: names(1..3), failed: vec![] },
            "False",
            "Pending",
            "in force on 2 of 4 nodes; waiting for n1, n2",
        ),
        (
            Verdict { nodes: 9, programmed: 0, waiting: names(0..5), failed: failed(4) },
            "False",
            "Failed",
            "in force on 0 of 9 nodes; failed on f0 (full), f1 (full), f2 (full) and 1 more; waiting for n0, n1, n2 and 2 more",
        ),
        (
            Verdict { nodes: 9, programmed: 3, waiting: [names(1..6), vec![gone]].concat(), failed: vec![] },
            "False",
            "Pending",
            "in force on 3 of 9 nodes; waiting for n7 (pod d/b: gone), n1, n2 and 3 more",
        ),
        (Verdict { nodes: 1, waiting: vec![long], ..Verdict::default() }, "False", "Pending", shortened.as_str()),
    ] {
        let condition = plan::condition(7, &verdict, None, NOW);
        assert_eq!((&condition.status[..], &condition.reason[..], &condition.message[..]), (status, reason, message));
        assert_eq!((condition.observed_generation, condition.last_transition_time), (Some(7), Time(NOW)));
    }
}

#[test]
fn the_time_is_that_of_the_last_change_of_the_status() {
    let later = NOW + SignedDuration::from_secs(60);
    let pending = Verdict { nodes: 2, programmed: 1, waiting: waiting(&["n2"]), failed: vec![] };
    let first = plan::condition(1, &Verdict { nodes: 2, waiting: waiting(&["n1", "n2"]), ..Verdict::default() }, None, NOW);
    let second = plan::condition(1, &pending, Some(&first), later);
    assert_eq!((second.last_transition_time.clone(), second.message != first.message), (Time(NOW), true));
    let third = plan::condition(1, &Verdict { nodes: 2, programmed: 2, ..Verdict::default() }, Some(&second), later);
    assert_eq!(third.last_transition_time, Time(later));
}

#[test]
fn conditions_of_others_stay_where_they_are() {
    let verdict = Verdict { nodes: 1, programmed: 1, ..Verdict::default() };
    let (ours, others) =
        (plan::condition(2, &verdict, None, NOW), |kind: &str| Condition { type_: kind.into(), ..plan::condition(1, &verdict, None, NOW) });
    assert_eq!(plan::with(None, ours.clone()), vec![ours.clone()]);
    assert_eq!(plan::with(Some(&vec![others("Audited")]), ours.clone()), [others("Audited"), ours.clone()]);
    let before = vec![plan::condition(1, &Verdict::default(), None, NOW), others("Audited")];
    assert_eq!(plan::with(Some(&before), ours.clone()), [ours, others("Audited")]);
}

fn any_report() -> impl Strategy<Value = Option<Report>> {
    let failed = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]).prop_map(key), "[xy]", 0..2);
    let behind = prop::option::weighted(0.3, "[xy]");
    let report = (prop::option::of(0..12u64), failed, behind).prop_map(|(version, failed, behind)| Report { version, failed, behind });
    prop::option::weighted(0.9, report)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever stands differently after a report is woken by it; whoever is now in force everywhere, at once.
    #[test]
    fn every_change_of_a_verdict_wakes(
        marks in prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "d"]), 0..12u64, 0..4),
        reports in prop::collection::vec((prop::sample::select(vec!["n1", "n2", "n3"]), any_report()), 1..20),
    ) {
        let mut progress = Progress::default();
        for (name, version) in &marks {
            // A mark that moved is nowhere left as it was.
            progress.set_mark(&key(name), mark(version + 7));
            progress.set_mark(&key(name), mark(*version));
        }
        let verdicts = |progress: &Progress| -> BTreeMap<ObjectKey, Verdict> {
            marks.iter().map(|(name, version)| (key(name), progress.verdict(&key(name), *version))).collect()
        };
        for (node, report) in reports {
            let before = verdicts(&progress);
            let wake = progress.report(node, report);
            for (key, after) in verdicts(&progress) {
                let changed = after != before[&key];
                let complete = after.nodes > 0 && after.programmed == after.nodes;
                let was_complete = before[&key].nodes > 0 && before[&key].programmed == before[&key].nodes;
                let woken = wake.now.contains(&key) || wake.later.contains(&key);
                prop_assert!(woken || !changed, "{key:?} is {after:?} unheard");
                let counts = after.nodes != before[&key].nodes;
                if changed && complete && !was_complete && !counts {
                    prop_assert!(wake.now.contains(&key), "{key:?} is in force, which can wait until {wake:?}");
                }
            }
        }
    }
}
