//! Thousands of mutated requests in the forms that tests/e2e/fuzz.rs leaves out: protobuf, selectors, media types, schemas of custom resources with
//! objects, frames of WebSockets. Seeds are fixed; `ORKNET_FUZZ=N` makes N rounds of each, `ORKNET_FUZZ_SEED=N` others.

use crate::guard::Guarded;
use crate::numbers::{Numbers, rounds};
use anyhow::{Context, Result, ensure};
use orknet_tests::https::{Answer, Connection};
use orknet_tests::{eventually, faults};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

faults![
    abuse_fuzz_protobuf_bodies,
    abuse_fuzz_selectors,
    abuse_fuzz_media_types,
    abuse_fuzz_schemas_and_objects,
    abuse_fuzz_frames_of_web_sockets,
];

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// An answer that takes longer is a hang.
const HANG: Duration = Duration::from_secs(30);

/// What came of some requests.
#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

/// A connection that is opened anew where the server closed it.
struct Client<'a> {
    guarded: &'a Guarded,
    connection: Connection,
    tally: Tally,
}

impl<'a> Client<'a> {
    fn new(guarded: &'a Guarded) -> Result<Self> {
        Ok(Self { guarded, connection: guarded.api.connect()?, tally: Tally::default() })
    }

    /// Sends a request; an answer must be no error of the server and come in time. `None`: the connection was closed, which what is no HTTP may cause.
    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Option<Answer>> {
        let asked = Instant::now();
        let answer = self.connection.send(method, path, headers, body);
        let took = asked.elapsed();
        ensure!(took < HANG, "{took:?} for {method} {path} {headers:?}: {}", hex(body));
        let Ok(answer) = answer else {
            self.connection = self.guarded.api.connect()?;
            return Ok(None);
        };
        ensure!(self.guarded.is_no_failure(&answer), "{} for {method} {path} {headers:?}: {}\n{}", answer.code, hex(body), answer.text());
        if answer.code < 400 {
            self.tally.accepted += 1;
        } else {
            self.tally.refused += 1;
        }
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = self.guarded.api.connect()?;
        }
        Ok(Some(answer))
    }

    /// The mutations were neither too wild nor too tame to find anything.
    fn is_balanced(&self) -> Result<()> {
        let Tally { accepted, refused } = self.tally;
        let all = accepted + refused;
        println!("{accepted} accepted, {refused} refused");
        ensure!(accepted > all / 50 && refused > all / 50, "{accepted} of {all} accepted: the mutations are too wild or too tame");
        Ok(())
    }
}

/// Bytes that a person can send again.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(4096).map(|byte| format!("{byte:02x}")).collect()
}

fn abuse_fuzz_protobuf_bodies() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut numbers = Numbers::seeded("protobuf", 0x9e37_79b9_7f4a_7c15);
    let mut client = Client::new(&guarded)?;
    // What the server itself writes, of objects of many shapes, is where mutations begin.
    let made = [
        (CONFIG_MAPS, r#"{"metadata":{"name":"a","labels":{"a":"b"}},"data":{"k":"v"},"binaryData":{"b":"AAAA"}}"#),
        (
            "/api/v1/namespaces/default/services",
            r#"{"metadata":{"name":"a"},"spec":{"selector":{"a":"b"},"ports":[{"name":"a","port":80,"targetPort":"x"}]}}"#,
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            r#"{"metadata":{"name":"a"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"}}}]}}}}"#,
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            r#"{"metadata":{"name":"a"},"spec":{"holderIdentity":"x","leaseDurationSeconds":3,"renewTime":"2026-01-02T03:04:05.000006Z"}}"#,
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            r#"{"metadata":{"name":"a"},"spec":{"podSelector":{},"ingress":[{"ports":[{"port":"http"}]}]}}"#,
        ),
    ];
    let mut seeds = Vec::new();
    for (path, body) in made {
        guarded.api.post(path, body)?.expect(201)?;
        let written = guarded.api.send("GET", &format!("{path}/a"), &[("accept", PROTOBUF)], &[])?;
        ensure!(written.code == 200 && written.body.starts_with(b"k8s\0"), "{path} has no protobuf: {}", written.text());
        seeds.push((path, written.body));
    }
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    for round in 0..rounds(1500) {
        let (path, seed) = &seeds[numbers.below(seeds.len())];
        // Every tenth as it is.
        let body = if round % 10 == 0 { seed.clone() } else { numbers.mutate(seed) };
        let method = numbers.of(&["PUT", "PUT", "POST"]);
        let path = if method == "PUT" { format!("{path}/a?dryRun=All") } else { format!("{path}?dryRun=All") };
        client.send(method, &path, &headers, &body)?;
    }
    client.is_balanced()?;
    guarded.is_sound()
}

fn abuse_fuzz_selectors() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut numbers = Numbers::seeded("selectors", 0x2545_f491_4f6c_dd1d);
    let mut client = Client::new(&guarded)?;
    let paths = ["/api/v1/pods", CONFIG_MAPS, "/api/v1/events", "/apis/apps/v1/deployments", "/api/v1/nodes", "/api/v1/secrets"];
    let names = ["a", "metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "type", "a.b/c", "", "-", "metadata.name.x"];
    let operators = ["=", "==", "!=", " in ", " notin ", ">", "<", "!", "", "=!", "\\="];
    let values = ["b", "(b,c)", "()", "(", "b)", "7", "-1", "99999999999999999999", "", "\\,", "\\", "%00", "ä", "a b", "(b,(c))"];
    for _ in 0..rounds(1500) {
        let mut text = String::new();
        for part in 0..=numbers.below(3) {
            if part > 0 {
                text.push_str(numbers.of(&[",", ",", ",", ",,", ";"]));
            }
            if numbers.below(6) == 0 {
                text.push('!');
            }
            text.push_str(numbers.of(&names));
            text.push_str(numbers.of(&operators));
            text.push_str(numbers.of(&values));
        }
        if numbers.below(4) == 0 {
            text = String::from_utf8_lossy(&numbers.mutate(text.as_bytes())).into_owned();
        }
        let which = numbers.of(&["labelSelector", "fieldSelector"]);
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let method = numbers.of(&["GET", "GET", "GET", "DELETE"]);
        let path = format!("{}?{which}={escaped}&dryRun=All", if method == "DELETE" { CONFIG_MAPS } else { numbers.of(&paths) });
        client.send(method, &path, &[], &[])?;
    }
    client.is_balanced()?;
    guarded.is_sound()
}

fn abuse_fuzz_media_types() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut numbers = Numbers::seeded("media types", 0x1234_5678_9abc_def1);
    let mut client = Client::new(&guarded)?;
    guarded.api.post(CONFIG_MAPS, r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#)?.expect(201)?;
    let types = [
        "application/json",
        "application/yaml",
        PROTOBUF,
        "application/json;as=Table;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "application/apply-patch+yaml",
        "application/merge-patch+json; charset=utf-8",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
        "application/cbor",
        "*/*",
        "application/*;q=0.5",
        "text/html",
    ];
    let paths = [CONFIG_MAPS, "/api/v1/namespaces/default/configmaps/a", "/apis", "/api", "/openapi/v2", "/openapi/v3", "/version"];
    for _ in 0..rounds(1500) {
        let mut media = || {
            let mut text = numbers.of(&types).to_owned();
            while numbers.below(3) == 0 {
                text.push_str(numbers.of(&[",", ";q=", ";as=Table", ";g=;v=", ";stream=watch", "\"", "=", " ", ";;", "/"]));
                text.push_str(numbers.of(&types));
            }
            if numbers.below(3) == 0 {
                let bytes = numbers.mutate(text.as_bytes());
                // Of a header's value, all bytes but those that would end it.
                text = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte)).map(|byte| char::from(*byte)).collect();
            }
            text
        };
        let (content, accept) = (media(), media());
        let headers = [("content-type", &content[..]), ("accept", &accept[..])];
        let method = numbers.of(&["GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE"]);
        let path = numbers.of(&paths);
        let body = if method == "GET" { &b""[..] } else { br#"{"metadata":{"name":"a"},"data":{"x":"y"}}"# };
        client.send(method, &format!("{path}?dryRun=All"), &headers, body)?;
    }
    client.is_balanced()?;
    guarded.is_sound()
}

/// A random schema: as JSON, with parts that contradict each other.
fn schema(numbers: &mut Numbers, depth: usize) -> String {
    let kind = numbers.of(&["object", "array", "string", "integer", "number", "boolean", "nonsense"]);
    let mut parts = vec![format!("\"type\":\"{kind}\"")];
    match kind {
        "object" if depth > 0 => {
            let fields: Vec<String> =
                (0..=numbers.below(3)).map(|number| format!("\"f{number}\":{}", schema(numbers, depth - 1))).collect();
            if numbers.below(4) == 0 {
                parts.push(format!("\"additionalProperties\":{}", schema(numbers, depth - 1)));
            } else {
                parts.push(format!("\"properties\":{{{}}}", fields.join(",")));
            }
        }
        "array" if depth > 0 => parts.push(format!("\"items\":{}", schema(numbers, depth - 1))),
        _ => {}
    }
    let others = [
        "\"nullable\":true",
        "\"default\":{\"f0\":1}",
        "\"default\":null",
        "\"default\":\"x\"",
        "\"pattern\":\"^(a+)+$\"",
        "\"pattern\":\"(\"",
        "\"minimum\":3,\"maximum\":1",
        "\"maxLength\":0",
        "\"enum\":[1,\"a\",null]",
        "\"format\":\"date-time\"",
        "\"required\":[\"f0\",\"f9\"]",
        "\"x-kubernetes-preserve-unknown-fields\":true",
        "\"x-kubernetes-int-or-string\":true",
        "\"x-kubernetes-embedded-resource\":true",
        "\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"f0\"]",
        "\"x-kubernetes-list-type\":\"set\"",
        "\"x-kubernetes-validations\":[{\"rule\":\"self == oldSelf\"}]",
        "\"x-kubernetes-validations\":[{\"rule\":\"self.all(x, x.all(y, y > x))\"}]",
        "\"x-kubernetes-validations\":[{\"rule\":\"(\"}]",
        "\"not\":{\"type\":\"string\"}",
        "\"anyOf\":[{\"minimum\":1},{\"required\":[\"f0\"]}]",
        "\"uniqueItems\":true",
        "\"multipleOf\":0",
    ];
    while numbers.below(3) == 0 {
        parts.push(numbers.of(&others).to_owned());
    }
    format!("{{{}}}", parts.join(","))
}

/// A random value that may fit.
fn value(numbers: &mut Numbers, depth: usize) -> String {
    match numbers.below(if depth == 0 { 5 } else { 8 }) {
        0 => numbers.of(&["null", "true", "1.5", "1e308", "-9223372036854775808"]).to_owned(),
        1 => numbers.of(&["\"a\"", "\"\"", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", "\"\\u0000\"", "\"2026-01-02T03:04:05Z\""]).to_owned(),
        2 | 3 => numbers.below(5).to_string(),
        4 => "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":7}}".to_owned(),
        5 => format!("[{}]", (0..numbers.below(4)).map(|_| value(numbers, depth - 1)).collect::<Vec<_>>().join(",")),
        _ => {
            let fields = (0..=numbers.below(3)).map(|number| format!("\"f{number}\":{}", value(numbers, depth - 1)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn abuse_fuzz_schemas_and_objects() -> Result<()> {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let guarded = Guarded::start()?;
    let mut numbers = Numbers::seeded("schemas", 0x0f0f_3c3c_5a5a_9669);
    let mut client = Client::new(&guarded)?;
    let json = [("content-type", "application/json")];
    let mut served = 0;
    for round in 0..rounds(150) {
        let plural = format!("fuzz{round}s");
        // The outermost one is an object, as it has to be: most else would be refused.
        let spec = schema(&mut numbers, 3);
        let definition = format!(
            r#"{{"metadata":{{"name":"{plural}.fuzz.example.org"}},"spec":{{"group":"fuzz.example.org","scope":"Namespaced","names":{{"plural":"{plural}","singular":"fuzz{round}","kind":"Fuzz{round}","listKind":"Fuzz{round}List"}},"versions":[{{"name":"v1","served":true,"storage":true,"subresources":{{"status":{{}}}},"schema":{{"openAPIV3Schema":{{"type":"object","properties":{{"spec":{spec}}}}}}}}}]}}}}"#
        );
        let Some(answer) = client.send("POST", DEFINITIONS, &json, definition.as_bytes())? else { continue };
        if answer.code != 201 {
            continue;
        }
        served += 1;
        let path = format!("/apis/fuzz.example.org/v1/namespaces/default/{plural}");
        eventually("the kind to be served", || {
            let code = guarded.api.get(&path)?.code;
            ensure!(code == 200, "{code}");
            Ok(())
        })
        .with_context(|| definition.clone())?;
        for number in 0..8 {
            let spec = value(&mut numbers, 3);
            let object =
                format!(r#"{{"apiVersion":"fuzz.example.org/v1","kind":"Fuzz{round}","metadata":{{"name":"o{number}"}},"spec":{spec}}}"#);
            client.send("POST", &path, &json, object.as_bytes())?;
            let object = format!("{path}/o{number}");
            let patch = format!(r#"{{"spec":{}}}"#, value(&mut numbers, 3));
            client.send("PATCH", &object, &[("content-type", "application/merge-patch+json")], patch.as_bytes())?;
            let apply = format!(
                r#"{{"apiVersion":"fuzz.example.org/v1","kind":"Fuzz{round}","metadata":{{"name":"o{number}"}},"spec":{}}}"#,
                value(&mut numbers, 3)
            );
            let apply_headers = [("content-type", "application/apply-patch+yaml")];
            client.send("PATCH", &format!("{object}?fieldManager=fuzz&force=true"), &apply_headers, apply.as_bytes())?;
        }
        client.send("GET", "/openapi/v3/apis/fuzz.example.org/v1", &[], &[])?;
        client.send("DELETE", &format!("{DEFINITIONS}/{plural}.fuzz.example.org"), &[], &[])?;
    }
    ensure!(served > 5, "only {served} definitions were taken: the schemas are too wild");
    client.is_balanced()?;
    guarded.is_sound()
}

fn abuse_fuzz_frames_of_web_sockets() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut numbers = Numbers::seeded("frames", 0x7777_1111_3333_5555);
    let head = format!(
        "GET {CONFIG_MAPS}?watch=1&timeoutSeconds=5 HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut upgraded = 0;
    for round in 0..rounds(200) {
        let mut stream = guarded.api.clone().within(Duration::from_secs(5)).connect()?.into_stream();
        // Some heads are mutated as well.
        let bytes = if round % 8 == 7 { numbers.mutate(head.as_bytes()) } else { head.clone().into_bytes() };
        let mut answer = [0; 12];
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
            continue;
        }
        if round % 8 != 7 {
            stream.read_exact(&mut answer).context("an upgrade is not answered")?;
            ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
            upgraded += 1;
        }
        for _ in 0..4 {
            // Any first byte (fragments, reserved bits, control frames), a length that may be a lie, a mask or none.
            let mut frame = vec![u8::try_from(numbers.below(256)).unwrap_or_default()];
            let length = numbers.below(300);
            let masked = if numbers.below(4) == 0 { 0 } else { 0x80 };
            match numbers.below(5) {
                0 => frame.extend([masked | 0x7e, 0xff, 0xff]),
                1 => frame.extend([masked | 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
                _ => frame.push(masked | u8::try_from(length.min(125)).unwrap_or_default()),
            }
            frame.extend(numbers.bytes(4 + length.min(125)));
            // The server may have closed it by now.
            if stream.write_all(&frame).and_then(|()| stream.flush()).is_err() {
                break;
            }
        }
        if round % 50 == 0 {
            guarded.serves_others()?;
        }
    }
    ensure!(upgraded > 0, "no WebSocket was opened");
    guarded.grew_at_most(100)?;
    guarded.is_sound()
}
