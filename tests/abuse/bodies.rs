//! Bodies that are large, deep, or have very many parts.

use crate::guard::Guarded;
use anyhow::{Result, ensure};
use orknet_tests::faults;

faults![
    abuse_bodies_over_the_limit_are_refused_by_many_clients_at_once,
    abuse_deep_bodies_are_refused_in_every_form,
    abuse_very_many_fields_labels_and_owners_are_taken_or_refused,
    abuse_compressed_bodies_are_not_unpacked,
    abuse_aliases_of_yaml_do_not_multiply,
];

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Nesting that recursion without a bound would not survive.
const DEEP: usize = 100_000;

/// Sends one body and wants a code out of these.
fn wants(guarded: &Guarded, path: &str, media: &str, body: &[u8], codes: &[u16]) -> Result<()> {
    let answer = guarded.api.send("POST", path, &[("content-type", media)], body)?;
    let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    ensure!(codes.contains(&answer.code), "{} for {} bytes of {media} ({start}…): {}", answer.code, body.len(), answer.text());
    Ok(())
}

fn abuse_bodies_over_the_limit_are_refused_by_many_clients_at_once() -> Result<()> {
    let guarded = Guarded::start()?;
    let body = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"k":"{}"}}}}"#, "x".repeat(8 << 20)).into_bytes();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(|| wants(&guarded, CONFIG_MAPS, JSON, &body, &[413]))).collect();
        guarded.serves_others()?;
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    guarded.grew_at_most(250)?;
    guarded.is_sound()
}

fn abuse_deep_bodies_are_refused_in_every_form() -> Result<()> {
    let guarded = Guarded::start()?;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(DEEP), close.repeat(DEEP));
    for value in [nested("[", "]"), nested("{\"a\":", "}").replace(":}", ":1}")] {
        let body = format!(r#"{{"metadata":{{"name":"a"}},"data":{value}}}"#);
        wants(&guarded, CONFIG_MAPS, JSON, body.as_bytes(), &[400, 422])?;
        wants(&guarded, CONFIG_MAPS, YAML, body.as_bytes(), &[400, 422])?;
    }
    let block: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    wants(&guarded, CONFIG_MAPS, YAML, block.as_bytes(), &[400, 422])?;
    // Protobuf: a message in a message, whatever the field means. The magic, then `raw` (2) of runtime.Unknown.
    let mut message = Vec::new();
    for _ in 0..5000 {
        let mut outer = vec![0x0a];
        outer.extend(varint(message.len()));
        outer.append(&mut message);
        message = outer;
    }
    let mut body = b"k8s\0".to_vec();
    body.extend([0x0a, 0x0f, 0x0a, 0x02, b'v', b'1', 0x12, 0x09]);
    body.extend(b"ConfigMap");
    body.push(0x12);
    body.extend(varint(message.len()));
    body.extend(message);
    wants(&guarded, CONFIG_MAPS, PROTOBUF, &body, &[400, 422])?;
    guarded.grew_at_most(150)?;
    guarded.is_sound()
}

/// A length as protobuf writes it.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or_default());
    bytes
}

fn abuse_very_many_fields_labels_and_owners_are_taken_or_refused() -> Result<()> {
    let guarded = Guarded::start()?;
    let many = |count: usize, part: fn(usize) -> String| (0..count).map(part).collect::<Vec<_>>().join(",");
    let labels = many(20_000, |number| format!("\"label-{number}\":\"v\""));
    let data = many(40_000, |number| format!("\"key-{number}\":\"v\""));
    let managers = many(2000, |number| {
        format!(
            r#"{{"manager":"m{number}","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:data":{{"f:k{number}":{{}}}}}}}}"#
        )
    });
    let owners = many(5000, |number| format!(r#"{{"apiVersion":"v1","kind":"Pod","name":"p{number}","uid":"u{number}"}}"#));
    let unknown = many(20_000, |number| format!("\"unknown{number}\":{number}"));
    let codes = [201, 400, 413, 422];
    for (number, body) in [
        format!(r#"{{"metadata":{{"name":"many-0","labels":{{{labels}}}}}}}"#),
        format!(r#"{{"metadata":{{"name":"many-1"}},"data":{{{data}}}}}"#),
        format!(r#"{{"metadata":{{"name":"many-2","managedFields":[{managers}]}}}}"#),
        format!(r#"{{"metadata":{{"name":"many-3","ownerReferences":[{owners}]}}}}"#),
        format!(r#"{{"metadata":{{"name":"many-4"}},{unknown}}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        wants(&guarded, CONFIG_MAPS, JSON, body.as_bytes(), &codes)?;
        guarded.serves_others()?;
        // What was taken can be changed and read in every way.
        let path = format!("{CONFIG_MAPS}/many-{number}");
        let patch = guarded.api.send("PATCH", &path, &[("content-type", "application/merge-patch+json")], br#"{"data":{"x":"y"}}"#)?;
        ensure!(matches!(patch.code, 200 | 404 | 413 | 422), "{}: {}", patch.code, patch.text());
    }
    let containers = many(3000, |number| format!(r#"{{"name":"c{number}","image":"i"}}"#));
    wants(&guarded, PODS, JSON, format!(r#"{{"metadata":{{"name":"p"}},"spec":{{"containers":[{containers}]}}}}"#).as_bytes(), &codes)?;
    let selector = format!("{CONFIG_MAPS}?labelSelector={}", vec!["a%3Db"; 5000].join(","));
    let answer = guarded.api.get(&selector);
    if let Ok(answer) = answer {
        ensure!(matches!(answer.code, 200 | 400 | 414 | 431), "{}: {}", answer.code, answer.text());
    }
    guarded.grew_at_most(300)?;
    guarded.is_sound()
}

/// Requests are not unpacked at all, so there is no bomb: what says that it is packed is read as it is, and is no object.
fn abuse_compressed_bodies_are_not_unpacked() -> Result<()> {
    let guarded = Guarded::start()?;
    // The head of a gzip, then anything.
    let mut body = vec![0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3];
    body.extend(vec![0; 100_000]);
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip, gzip"] {
        let headers = [("content-type", JSON), ("content-encoding", coding)];
        let answer = guarded.api.send("POST", CONFIG_MAPS, &headers, &body)?;
        ensure!(matches!(answer.code, 400 | 415), "{coding}: {}: {}", answer.code, answer.text());
    }
    guarded.grew_at_most(60)?;
    guarded.is_sound()
}

/// "A billion laughs": each line names the one before nine times.
fn abuse_aliases_of_yaml_do_not_multiply() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut body = String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: laughs}\na0: &a0 [lol, lol, lol]\n");
    for number in 1..12 {
        let before = vec![format!("*a{}", number - 1); 9].join(", ");
        body.push_str(&format!("a{number}: &a{number} [{before}]\n"));
    }
    wants(&guarded, CONFIG_MAPS, YAML, body.as_bytes(), &[400, 413, 422])?;
    guarded.grew_at_most(150)?;
    guarded.is_sound()
}
