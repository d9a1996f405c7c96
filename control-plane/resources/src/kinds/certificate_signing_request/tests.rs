//! What requests may say, and what each way in may change.

use super::CertificateSigningRequest;
use crate::contract::Resource;
use crate::typed::Typed;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const KIND: Typed<CertificateSigningRequest> = Typed::NEW;

/// Of ECDSA P-256: `CN=jane`, `O=dev`, `O=ops`, DNS `a.example`, address 192.0.2.7.
const PEM: &str = include_str!("jane.csr");
/// `O=system:nodes`, `CN=system:kube-controller-manager`, `CN=system:node:n`.
const TWO_NAMES: &str = include_str!("two-names.csr");

fn object(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({"metadata": {"name": "a"}, "spec": {"request": STANDARD.encode(PEM), "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client"}});
    change(&mut body);
    KIND.decode(body).unwrap().object
}

fn created(change: impl FnOnce(&mut Value)) -> Vec<String> {
    KIND.validate_create(&object(change)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_request_says_whom_it_is_for() {
    let request = super::request::parse(PEM.as_bytes()).unwrap();
    assert_eq!((request.common_name.as_str(), &request.organizations[..]), ("jane", &["dev".to_owned(), "ops".to_owned()][..]));
    assert_eq!((request.dns, request.ips), (vec!["a.example".to_owned()], vec!["192.0.2.7".parse().unwrap()]));
}

#[test]
fn a_request_is_what_it_should_be() {
    assert_eq!(created(|_| {}), [""; 0]);
    for (change, expected) in [
        (json!({"request": STANDARD.encode(TWO_NAMES)}), "x509: the subject has several common names"),
        (json!({"request": STANDARD.encode("x")}), "PEM block type must be CERTIFICATE REQUEST"),
        // Another name than was signed.
        (json!({"request": STANDARD.encode(tampered())}), "the signature of the request cannot be verified"),
        (json!({"usages": []}), "spec.usages: Required value: usages must be provided"),
        (json!({"usages": ["any", "any"]}), "spec.usages[1]: Duplicate value: \"any\""),
        (json!({"usages": ["x"]}), "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\", \"cert sign\""),
        (json!({"expirationSeconds": 599}), "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds"),
        (json!({"signerName": ""}), "spec.signerName: Required value: signerName must be provided"),
        (json!({"signerName": "a.b"}), "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        (json!({"signerName": "a/b"}), "should be a domain with at least two segments separated by dots"),
        (json!({"signerName": "a.B/c"}), "spec.signerName: Invalid value: \"a.B\": validating label \"B\": a lowercase RFC 1123 label"),
        (json!({"signerName": "kubernetes.io/legacy-unknown"}), "the legacy signerName is not allowed via this API version"),
    ] {
        let found = created(|body| change.as_object().unwrap().iter().for_each(|(key, value)| body["spec"][key] = value.clone()));
        assert!(found.len() == 1 && found[0].contains(expected), "{change}: {found:?}");
    }
}

fn tampered() -> String {
    let pem: String = PEM.lines().filter(|line| !line.starts_with("--")).collect();
    let mut der = STANDARD.decode(pem).unwrap();
    let at = der.windows(4).position(|part| part == b"jane").unwrap();
    der[at] = b'z';
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", STANDARD.encode(der))
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "R"})
}

/// Sends `status` through a way in, from an object with `before` as its status: what comes of it, and what is said against it.
fn changed(before: Value, way: Option<&str>, status: Value) -> (Value, Vec<String>) {
    let old = object(|body| body["status"] = before);
    let mut new = object(|body| {
        body["status"] = status;
        body["spec"]["usages"] = json!(["server auth"]);
    });
    KIND.prepare_update(&mut new, &old, way);
    assert_eq!(new["spec"], old["spec"], "what is asked for never changes");
    let found = KIND.validate_update(&new, &old, way).iter().map(ToString::to_string).collect();
    (new["status"].clone(), found)
}

#[test]
fn each_way_in_changes_its_own_part() {
    let (approved, denied, failed) = (condition("Approved"), condition("Denied"), condition("Failed"));
    let conditions = |list: &[&Value]| json!({"conditions": list});
    let none = json!({});
    let at = "status.conditions: Forbidden: updates may not";
    for (before, way, status, kept, complaint) in [
        (&none, None, conditions(&[&approved]), true, ""),
        (&none, Some("approval"), conditions(&[&approved]), false, ""),
        (&none, Some("approval"), conditions(&[&approved, &denied]), false, "Approved and Denied conditions are mutually exclusive"),
        (&conditions(&[&approved]), Some("approval"), none.clone(), false, "remove a condition of type \"Approved\""),
        (&none, Some("status"), conditions(&[&approved]), false, "may not add a condition of type \"Approved\""),
        (&conditions(&[&approved]), Some("status"), conditions(&[&approved, &failed]), false, ""),
        (&conditions(&[&failed]), Some("status"), none.clone(), false, at),
        (&none, Some("status"), conditions(&[&json!({"type": "Denied", "status": "False"})]), false, "supported values: \"True\""),
        (&none, Some("status"), json!({"certificate": STANDARD.encode("x")}), false, "must contain at least one CERTIFICATE PEM block"),
        (&none, Some("approval"), json!({"certificate": STANDARD.encode("x")}), true, ""),
    ] {
        let (after, found) = changed(before.clone(), way, status.clone());
        if kept {
            assert_eq!(after, *before, "{way:?} {status}");
        }
        assert!(
            found.is_empty() == complaint.is_empty() && found.first().is_none_or(|first| first.contains(complaint)),
            "{status}: {found:?}"
        );
    }
    // A signer that sends a decision back in other words changes nothing of it.
    let (after, found) = changed(conditions(&[&approved]), Some("status"), conditions(&[&json!({"type": "Approved", "status": "True"})]));
    assert_eq!((after["conditions"][0]["reason"].as_str(), found), (Some("R"), vec![]));
}

#[test]
fn a_row_says_what_became_of_it() {
    let shown = |status: Value| {
        KIND.cells(
            &object(|body| {
                body["spec"]["expirationSeconds"] = json!(86_400);
                body["spec"]["username"] = json!("u");
                body["status"] = status;
            }),
            0,
        )
    };
    assert_eq!(shown(json!({}))[2..], ["kubernetes.io/kube-apiserver-client", "u", "24h", "Pending"].map(Value::from));
    let last = |status: Value| shown(status)[5].as_str().unwrap().to_owned();
    assert_eq!(last(json!({"conditions": [condition("Approved")], "certificate": STANDARD.encode("c")})), "Approved,Issued");
    assert_eq!(last(json!({"conditions": [condition("Approved"), condition("Failed")]})), "Approved,Failed");
    assert_eq!(last(json!({"conditions": [condition("Denied")]})), "Denied");
}
