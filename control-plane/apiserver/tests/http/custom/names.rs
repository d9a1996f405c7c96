//! Names belong to one definition of a group, to the first that asked, whichever server it asked.

use super::*;
use crate::harness::{TestServer, open};

#[tokio::test]
async fn a_name_that_another_has_is_not_given_until_it_is_free() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let second = definition("gadgets", "Widget");
    let made = admin.post(DEFINITIONS, second).await.expect(201);
    let refused = until(admin, "gadgets", "NamesAccepted", "False", "ListKindConflict").await;
    assert_eq!(condition(&refused, "NamesAccepted")["message"], "\"WidgetList\" is already in use");
    assert_eq!(condition(&refused, "Established")["reason"], "NotAccepted");
    // What it can have, it has.
    assert_eq!(refused["status"]["acceptedNames"], json!({ "plural": "gadgets", "kind": "" }));
    admin.get("/apis/example.org/v1/gadgets").await.refused(404, "NotFound");
    assert_eq!(made["metadata"]["uid"], refused["metadata"]["uid"]);
    // Short names count as names.
    let mut third = definition("things", "Thing");
    third["spec"]["names"]["shortNames"] = json!(["th", "wd"]);
    admin.post(DEFINITIONS, third).await.expect(201);
    until(admin, "things", "NamesAccepted", "False", "ShortNamesConflict").await;

    admin.delete(&at("widgets")).await.expect(200);
    established(admin, "gadgets").await;
    established(admin, "things").await;
    admin.get("/apis/example.org/v1/gadgets").await.expect(200);
}

#[tokio::test]
async fn what_is_served_stays_served_when_it_wants_a_name_that_is_taken() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    define(admin, definition("gadgets", "Gadget")).await;
    let names = json!({ "spec": { "names": { "shortNames": ["gd", "wd"] } } });
    admin.patch(&at("gadgets"), "application/merge-patch+json", names).await.expect(200);
    let refused = until(admin, "gadgets", "NamesAccepted", "False", "ShortNamesConflict").await;
    assert_eq!(condition(&refused, "Established")["status"], "True");
    admin.get("/apis/example.org/v1/gadgets").await.expect(200);
    let names = json!({ "spec": { "names": { "shortNames": ["gd"] } } });
    admin.patch(&at("gadgets"), "application/merge-patch+json", names).await.expect(200);
    let accepted = until(admin, "gadgets", "NamesAccepted", "True", "NoConflicts").await;
    assert_eq!(accepted["status"]["acceptedNames"]["shortNames"], json!(["gd"]));
}

#[tokio::test]
async fn the_servers_own_kinds_keep_their_names() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let mut own = definition("clusternetworkpolicies", "ClusterNetworkPolicy");
    let group = "policy.networking.k8s.io";
    own["metadata"] = json!({ "name": format!("clusternetworkpolicies.{group}"), "annotations": { "api-approved.kubernetes.io": "https://example.org/1" } });
    own["spec"]["group"] = group.into();
    own["spec"]["versions"][0]["name"] = "v1alpha2".into();
    admin.post(DEFINITIONS, own).await.expect(201);
    let mut changes = admin.watch(&format!("{DEFINITIONS}?watch=1")).await;
    let refused = loop {
        let event = changes.next().await.expect("an event");
        if condition(&event["object"], "NamesAccepted")["status"] == "False" {
            break event["object"].clone();
        }
    };
    assert_eq!(condition(&refused, "KubernetesAPIApprovalPolicyConformant")["reason"], "ApprovedAnnotation");
    assert_eq!(condition(&refused, "Established")["status"], "False");
    let built_in = admin.get("/apis/policy.networking.k8s.io/v1alpha2").await.expect(200);
    assert_eq!(built_in["resources"][0]["kind"], "ClusterNetworkPolicy");
}

/// Both servers look at both definitions at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_servers_give_a_name_once() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(directory.path()).await;
    let first = TestServer::start_on(directory, store.clone(), |_| {}).await;
    let second = TestServer::start_on(other, store, |_| {}).await;
    for round in 0..10 {
        let names = [format!("as{round}"), format!("bs{round}")];
        let kind = format!("Same{round}");
        let (one, two) = tokio::join!(
            first.admin.post(DEFINITIONS, definition(&names[0], &kind)),
            second.admin.post(DEFINITIONS, definition(&names[1], &kind))
        );
        one.expect(201);
        two.expect(201);
        // Each is decided about.
        let mut accepted = 0;
        for name in &names {
            let mut changes = first.admin.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{name}.{GROUP}")).await;
            loop {
                let event = changes.next().await.expect("an event");
                match condition(&event["object"], "NamesAccepted")["status"].as_str() {
                    Some("True") => {
                        accepted += 1;
                        break;
                    }
                    Some(_) => break,
                    None => {}
                }
            }
        }
        assert_eq!(accepted, 1, "round {round}");
    }
}
