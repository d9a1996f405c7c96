//! What becomes of requests, and when.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use super::plan::{API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, Step, life, plan};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn request(signer: &str, name: &str, group: &str, names: &[&str], usages: &[&str], conditions: Value) -> CertificateSigningRequest {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let mut object: CertificateSigningRequest = serde_json::from_value(json!({"metadata": {"name": "a", "creationTimestamp": CREATED},
        "spec": {"request": "", "signerName": signer, "usages": usages, "username": "system:node:n"}, "status": {"conditions": conditions}}))
    .unwrap();
    object.spec.request.0 = pem.into_bytes();
    object
}

fn at(hours: i64) -> Timestamp {
    CREATED.parse::<Timestamp>().unwrap() + Duration::from_secs(3600 * hours.unsigned_abs())
}

fn step(object: &CertificateSigningRequest) -> Step {
    plan(object, at(0)).0
}

const CLIENT: &[&str] = &["client auth", "digital signature"];
const NODES: &str = "system:nodes";

#[test]
fn kubelets_are_approved_by_what_they_may() {
    let grants = |object: &CertificateSigningRequest| match step(object) {
        Step::Approve(grants) => grants.iter().map(|grant| grant.subresource).collect(),
        Step::Nothing => vec![],
        other => panic!("{other:?}"),
    };
    let pending = |signer: &str, name: &str, group: &str, names: &[&str], usages: &[&str]| {
        grants(&request(signer, name, group, names, usages, json!([])))
    };
    assert_eq!(pending(KUBELET_CLIENT, "system:node:n", NODES, &[], CLIENT), ["selfnodeclient", "nodeclient"]);
    assert_eq!(pending(KUBELET_CLIENT, "system:node:other", NODES, &[], CLIENT), ["nodeclient"]);
    let rsa = &["client auth", "digital signature", "key encipherment"];
    assert_eq!(pending(KUBELET_CLIENT, "system:node:other", NODES, &[], rsa), ["nodeclient"]);
    let none = [""; 0];
    assert_eq!(pending(API_CLIENT, "system:node:n", NODES, &[], CLIENT), none);
    assert_eq!(pending(KUBELET_SERVING, "system:node:n", NODES, &["n"], &["server auth", "digital signature"]), none);
    assert_eq!(pending(KUBELET_CLIENT, "n", NODES, &[], CLIENT), none);
    assert_eq!(pending(KUBELET_CLIENT, "system:node:n", "system:masters", &[], CLIENT), none);
    assert_eq!(pending(KUBELET_CLIENT, "system:node:n", NODES, &["n"], CLIENT), none);
    assert_eq!(pending(KUBELET_CLIENT, "system:node:n", NODES, &[], &["client auth"]), none);
}

/// What is signed is the subject as it is: nobody may read another name out of it than the one that was approved.
#[test]
fn a_request_with_two_names_or_one_that_cannot_be_read_is_neither_approved_nor_signed() {
    let with = |type_: u64, value: rcgen::DnValue| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, type_]), value);
        params.distinguished_name.push(DnType::OrganizationName, NODES);
        params.distinguished_name.push(DnType::CommonName, "system:node:n");
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    };
    let teletex = |text: &str| rcgen::DnValue::TeletexString(text.try_into().unwrap());
    for conditions in [json!([]), json!([{"type": "Approved", "status": "True"}])] {
        let mut object = request(KUBELET_CLIENT, "system:node:n", NODES, &[], CLIENT, conditions);
        assert_ne!(step(&object), Step::Nothing);
        for (type_, value) in [
            (3, "system:node:m".into()),
            (3, "system:kube-controller-manager".into()),
            (3, teletex("system:kube-apiserver")),
            (10, teletex("system:masters")),
        ] {
            object.spec.request.0 = with(type_, value).into_bytes();
            assert_eq!(step(&object), Step::Nothing, "{type_}");
        }
    }
}

#[test]
fn a_serving_certificate_is_compared_with_the_node_only_if_the_node_itself_asks() {
    let serving = &["server auth", "digital signature"];
    let of = |signer: &str, name: &str, user: &str, groups: &[&str], usages: &[&str]| {
        let mut object = request(signer, name, NODES, &["n", "192.0.2.1"], usages, json!([]));
        object.spec.username = Some(user.to_owned());
        object.spec.groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        match step(&object) {
            Step::Compare(node, asked) => Some((node, asked.dns, asked.ips.len())),
            Step::Nothing => None,
            other => panic!("{other:?}"),
        }
    };
    let nodes = &[NODES, "system:authenticated"];
    let expected = Some(("n".to_owned(), vec!["n".to_owned()], 1));
    assert_eq!(of(KUBELET_SERVING, "system:node:n", "system:node:n", nodes, serving), expected);
    assert_eq!(of(KUBELET_SERVING, "system:node:n", "system:node:m", nodes, serving), None, "another node asks");
    assert_eq!(of(KUBELET_SERVING, "system:node:n", "system:node:n", &["system:authenticated"], serving), None, "no node asks");
    assert_eq!(of(KUBELET_SERVING, "system:node:n", "system:bootstrap:abcdef", &["system:bootstrappers"], serving), None);
    assert_eq!(of(KUBELET_SERVING, "system:node:", "system:node:", nodes, serving), None);
    assert_eq!(of(KUBELET_SERVING, "n", "n", nodes, serving), None);
    assert_eq!(of(KUBELET_SERVING, "system:node:n", "system:node:n", nodes, CLIENT), None, "for another use");
}

#[test]
fn signers_sign_what_is_approved_and_keeps_their_rules() {
    let approved = json!([{"type": "Approved", "status": "True"}]);
    let serving = &["server auth", "digital signature"];
    for (signer, name, names, usages, complaint) in [
        (API_CLIENT, "jane", &[][..], &["client auth"][..], None),
        (API_CLIENT, "jane", &[], &["client auth", "server auth"], Some("invalid usage for client certificate: server auth")),
        (API_CLIENT, "jane", &[], &["digital signature"], Some("missing required usage for client certificate: client auth")),
        (KUBELET_CLIENT, "system:node:n", &[], CLIENT, None),
        (KUBELET_CLIENT, "system:node:n", &["a.example"], CLIENT, Some("DNS subjectAltNames are not allowed")),
        (KUBELET_CLIENT, "n", &[], CLIENT, Some("subject common name does not begin with system:node:")),
        (KUBELET_SERVING, "system:node:n", &["n", "192.0.2.1"], serving, None),
        (KUBELET_SERVING, "system:node:n", &[], serving, Some("DNS or IP subjectAltName is required")),
        (KUBELET_SERVING, "system:node:n", &["n"], CLIENT, Some("usages did not match [digital signature key encipherment server auth]")),
    ] {
        let found = step(&request(signer, name, NODES, names, usages, approved.clone()));
        match complaint {
            None => assert!(matches!(&found, Step::Sign(asked) if asked.common_name == name), "{signer} {name}: {found:?}"),
            Some(why) => assert_eq!(found, Step::Fail(why.to_owned())),
        }
    }
    assert_eq!(step(&request("example.com/s", "n", NODES, &[], CLIENT, approved)), Step::Nothing);
    let denied = json!([{"type": "Denied", "status": "True"}]);
    assert_eq!(step(&request(KUBELET_CLIENT, "system:node:n", NODES, &[], CLIENT, denied)), Step::Nothing);
    let failed = json!([{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]);
    assert_eq!(step(&request(API_CLIENT, "n", NODES, &[], CLIENT, failed)), Step::Nothing);
}

#[test]
fn old_requests_go() {
    let hour = Duration::from_secs(3600);
    let of = |kind: &str| {
        request("example.com/s", "n", NODES, &[], CLIENT, json!([{"type": kind, "status": "True", "lastUpdateTime": CREATED}]))
    };
    let pending = request("example.com/s", "n", NODES, &[], CLIENT, json!([]));
    assert_eq!(plan(&pending, at(1)), (Step::Nothing, Some(23 * hour)));
    assert_eq!(plan(&pending, at(24)), (Step::Delete, None));
    assert_eq!(plan(&of("Denied"), at(0)), (Step::Nothing, Some(hour)));
    for kind in ["Denied", "Failed"] {
        assert_eq!(plan(&of(kind), at(1)), (Step::Delete, None));
    }
    // Approved and waiting for its signer: it is kept.
    let mut approved = of("Approved");
    assert_eq!(plan(&approved, at(1000)), (Step::Nothing, None));
    let mut issue = |not_after: (i32, u8, u8)| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        approved.status.as_mut().unwrap().certificate = Some(k8s_openapi::ByteString(pem.into_bytes()));
        approved.clone()
    };
    let issued = issue((2027, 1, 1));
    assert_eq!(plan(&issued, at(0)), (Step::Nothing, Some(hour)));
    assert_eq!(plan(&issued, at(1)), (Step::Delete, None));
    assert_eq!(plan(&issue((2025, 1, 1)), at(0)), (Step::Delete, None), "what was issued has ended");
}

#[test]
fn a_life_is_what_was_asked_within_bounds() {
    let day = Duration::from_secs(86_400);
    assert_eq!(life(None, day), day);
    assert_eq!(life(Some(3600), day), Duration::from_secs(3600));
    assert_eq!(life(Some(1), day), Duration::from_secs(600));
    assert_eq!(life(Some(i32::MAX), day), day);
}
