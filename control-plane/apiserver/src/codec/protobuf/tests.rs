//! Tests of the protobuf form, on messages written by hand.

use super::*;
use serde_json::json;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn message(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version), bytes(2, kind)].concat();
    [MAGIC.to_vec(), bytes(1, type_meta), bytes(2, raw), bytes(3, ""), bytes(4, "")].concat()
}

#[test]
fn a_pod_reads_as_its_json() {
    let meta = [bytes(1, "a"), bytes(2, ""), bytes(8, ""), bytes(11, [bytes(1, "app"), bytes(2, "web")].concat())].concat();
    let limits = bytes(1, [bytes(1, "cpu"), bytes(2, bytes(1, "100m"))].concat());
    let port = [number(2, 0), number(3, 80), bytes(4, "TCP")].concat();
    let handler = bytes(2, [bytes(1, "/"), bytes(2, [number(1, 1), number(2, 0), bytes(3, "http")].concat())].concat());
    let probe = [bytes(1, handler), number(2, 5), number(3, 0)].concat();
    let container = [bytes(1, "c"), bytes(2, "image"), bytes(6, port), bytes(8, limits), bytes(10, probe), number(16, 0)].concat();
    let volume = [bytes(1, "v"), bytes(2, bytes(2, ""))].concat();
    let spec = [bytes(1, volume), bytes(2, container), bytes(3, ""), number(4, 0), number(11, 0), number(21, 0)].concat();
    let pod = [bytes(1, meta), bytes(2, spec), bytes(3, bytes(1, ""))].concat();
    assert_eq!(
        from_protobuf(&message("v1", "Pod", &pod)),
        Ok(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "labels": { "app": "web" } },
            "spec": {
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "containers": [{
                    "name": "c", "image": "image", "ports": [{ "containerPort": 80, "protocol": "TCP" }], "resources": { "limits": { "cpu": "100m" } },
                    "livenessProbe": { "httpGet": { "path": "/", "port": "http" }, "initialDelaySeconds": 5 },
                }],
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
            },
            "status": {},
        }))
    );
}

#[test]
fn bytes_times_and_negative_numbers_have_their_json_forms() {
    let secret = bytes(2, [bytes(1, "k"), bytes(2, [0u8, 255])].concat());
    let read = from_protobuf(&message("v1", "Secret", &secret)).expect("reads");
    assert_eq!(read["data"]["k"], "AP8=");
    let lease = bytes(2, [bytes(4, [number(1, 1_700_000_000), number(2, 5_000)].concat()), bytes(1, "")].concat());
    let read = from_protobuf(&message("coordination.k8s.io/v1", "Lease", &lease)).expect("reads");
    assert_eq!((&read["spec"]["renewTime"], &read["spec"]["holderIdentity"]), (&json!("2023-11-14T22:13:20.000005Z"), &json!("")));
    let class = number(2, (-5i64).cast_unsigned());
    let read = from_protobuf(&message("scheduling.k8s.io/v1", "PriorityClass", &class)).expect("reads");
    assert_eq!(read["value"], -5);
}

#[test]
fn reviews_and_options_are_read_in_any_group() {
    let extra = bytes(5, [bytes(1, "scopes"), bytes(2, [bytes(1, "a"), bytes(1, "b")].concat())].concat());
    let read = from_protobuf(&message("authorization.k8s.io/v1", "SubjectAccessReview", &bytes(2, extra))).expect("reads");
    assert_eq!(read["spec"]["extra"], json!({ "scopes": ["a", "b"] }));
    let read = from_protobuf(&message("apps/v1", "DeleteOptions", &[number(1, 0), bytes(4, "Foreground")].concat())).expect("reads");
    assert_eq!((&read["gracePeriodSeconds"], &read["propagationPolicy"]), (&json!(0), &json!("Foreground")));
}

#[test]
fn broken_bodies_are_errors_not_panics() {
    let whole = message("v1", "Pod", &bytes(1, bytes(1, "a")));
    for end in 0..whole.len() {
        let _ = from_protobuf(&whole[..end]);
    }
    assert_eq!(from_protobuf(b"{}"), Err(ProtobufError::NoMagic));
    assert!(matches!(from_protobuf(&message("v1", "Nothing", &[])), Err(ProtobufError::UnknownKind { .. })));
    assert!(from_protobuf(&message("v1", "Pod", &[0x0a, 0xff])).is_err());
    assert!(from_protobuf(&message("v1", "Pod", &[0xff; 20])).is_err());
    assert!(from_protobuf(&message("v1", "Pod", &number(1, 1))).is_err());
}
