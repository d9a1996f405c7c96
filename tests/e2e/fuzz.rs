//! Does the API server stay up whatever bytes it gets? Thousands of mutated requests to a server of its own: no answer of the kind 500, no panic, no hang.

use anyhow::{Context, Result, ensure};
use orknet_tests::https::{Api, Connection};
use orknet_tests::server::Server;
use orknet_tests::{Cluster, Kubectl, tests};
use std::time::{Duration, Instant};

tests![e2e_mutated_requests_are_answered_without_an_error_of_the_server];

const REQUESTS: u32 = 3000;
/// An answer that takes longer is a hang.
const HANG: Duration = Duration::from_secs(30);

/// Bodies to begin with; every one is accepted as it is.
const SEEDS: &[(&str, &str)] = &[
    (
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"generateName":"f-","labels":{"a":"b"},"finalizers":[]},"data":{"k":"v"},"binaryData":{"b":"AAAA"}}"#,
    ),
    (
        "/api/v1/namespaces/default/secrets",
        r#"{"metadata":{"generateName":"f-"},"type":"Opaque","data":{"k":"dg=="},"stringData":{"s":"t"}}"#,
    ),
    (
        "/api/v1/namespaces/default/services",
        r#"{"metadata":{"generateName":"f-"},"spec":{"type":"NodePort","selector":{"a":"b"},"ports":[{"name":"a","port":80,"targetPort":"x","nodePort":0,"protocol":"TCP"}],"ipFamilies":["IPv4"],"sessionAffinity":"ClientIP"}}"#,
    ),
    (
        "/api/v1/namespaces/default/pods",
        r#"{"metadata":{"generateName":"f-"},"spec":{"nodeSelector":{"no":"where"},"tolerations":[{"key":"a","operator":"Exists"}],"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Gi"}}],"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"$(B)"}],"ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"100m","memory":"1Gi"}},"volumeMounts":[{"name":"v","mountPath":"/v"}],"livenessProbe":{"httpGet":{"port":80,"path":"/"}}}]}}"#,
    ),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        r#"{"metadata":{"generateName":"f-"},"spec":{"replicas":0,"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":1}},"selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    ),
    (
        "/apis/batch/v1/namespaces/default/cronjobs",
        r#"{"metadata":{"generateName":"f-"},"spec":{"suspend":true,"schedule":"*/5 * * * *","timeZone":"Etc/UTC","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}"#,
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        r#"{"metadata":{"generateName":"f-"},"spec":{"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}],"ports":[{"port":80,"endPort":90}]}]}}"#,
    ),
    (
        "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
        r#"{"metadata":{"generateName":"f-"},"spec":{"tier":"Admin","priority":10,"subject":{"namespaces":{}},"ingress":[{"action":"Deny","from":[{"pods":{"podSelector":{}}}],"protocols":[{"tcp":{"destinationPort":{"range":{"start":80,"end":90}}}}]}],"egress":[{"name":"a","action":"Accept","to":[{"networks":["10.0.0.0/8"]}]}]}}"#,
    ),
    (
        "/apis/networking.orknet.io/v1alpha1/nodeprogrammings",
        r#"{"metadata":{"generateName":"f-"},"status":{"programmed":[{"kind":"NetworkPolicy","resourceVersion":"7"}],"failed":[{"kind":"Service","namespace":"a","name":"b","message":"c"}],"observedTime":"2026-01-02T03:04:05.000006Z"}}"#,
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        r#"{"metadata":{"generateName":"f-"},"spec":{"rules":[{"host":"*.a.b","http":{"paths":[{"path":"/x","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}"#,
    ),
    (
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        r#"{"metadata":{"generateName":"f-"},"addressType":"IPv6","endpoints":[{"addresses":["fd00::1"],"conditions":{"ready":true}}],"ports":[{"name":"","port":80}]}"#,
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
        r#"{"metadata":{"generateName":"f-"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}"#,
    ),
    (
        "/api/v1/namespaces/default/events",
        r#"{"metadata":{"generateName":"f-"},"involvedObject":{"kind":"Pod","name":"x","namespace":"default"},"reason":"r","message":"m","firstTimestamp":"2026-01-01T00:00:00Z","count":1,"type":"Normal"}"#,
    ),
];

const PATCHES: &[(&str, &str)] = &[
    (
        "application/json-patch+json",
        r#"[{"op":"add","path":"/data/x","value":"y"},{"op":"move","from":"/data/x","path":"/data/z"},{"op":"remove","path":"/data/z"}]"#,
    ),
    ("application/merge-patch+json", r#"{"data":{"x":"y","z":null},"metadata":{"labels":{"a":null}}}"#),
    (
        "application/strategic-merge-patch+json",
        r#"{"metadata":{"finalizers":["a.b/c"],"$deleteFromPrimitiveList/finalizers":["a.b/c"]},"data":{"$patch":"replace","x":"y"}}"#,
    ),
    ("application/apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: target}\ndata: {x: 'y'}\n"),
];

const QUERIES: &[&str] = &[
    "",
    "limit=3&labelSelector=a%20in%20(b%2Cc)",
    "fieldSelector=metadata.name%3Dx&continue=eyJ2IjoxfQ",
    "resourceVersion=1&resourceVersionMatch=NotOlderThan",
    "dryRun=All&fieldManager=fuzz&fieldValidation=Strict&force=true",
    "timeoutSeconds=-1&sendInitialEvents=true&allowWatchBookmarks=1&resourceVersionMatch=x",
    "pretty=true&includeObject=None",
];

/// Pieces that have broken parsers before.
const PIECES: &[&str] = &[
    "null",
    "-1",
    "0",
    "1e400",
    "9223372036854775808",
    "18446744073709551616",
    "-0",
    "1.5",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[]",
    "{}",
    "[[]]",
    "true",
    "\"../../..\"",
    "\"ÄÖ\"",
    "\"$(X)\"",
    "{\"a\":",
    "}",
    "]",
    ",",
    "\"1Ei\"",
    "\"-5m\"",
    "\"99999999999999999999999999E\"",
    "\"%\"",
    "\"150%\"",
    "\"::\"",
    "\"2026-13-45T99:99:99Z\"",
    "\"*/0 99 * * *\"",
    "\"a\u{301}\"",
];

/// A small generator of the same numbers in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or_default()
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// A few changes of the bytes: pieces put over values, parts removed, doubled or swapped, single bytes.
    fn mutate(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let (from, length) = (self.below(bytes.len()), self.below(12));
            let to = (from + length).min(bytes.len());
            match self.below(6) {
                0 => drop(bytes.splice(from..to, self.of(PIECES).bytes())),
                1 => drop(bytes.drain(from..to)),
                2 => {
                    let part = bytes[from..to].to_vec();
                    bytes.splice(from..from, part);
                }
                3 if !bytes.is_empty() => bytes[from] = self.below(256) as u8,
                // Over a whole value, so that the rest stays JSON.
                _ => {
                    let starts: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1).collect();
                    let Some(start) = starts.get(self.below(starts.len())).copied() else { continue };
                    let end = bytes[start..].iter().position(|byte| b",}]".contains(byte)).map_or(bytes.len(), |length| start + length);
                    bytes.splice(start..end, self.of(PIECES).bytes());
                }
            }
        }
        bytes
    }

    fn mutate_path(&mut self, path: &str) -> String {
        let mut path = path.to_owned();
        if self.below(4) == 0 {
            let at = self.below(path.len()).max(1);
            path.insert_str(
                at,
                self.of(&["%00", "%2f", "%ff", "//", "/../", "%", "status", "/scale", "%E2%82", "?", "/namespaces/default"]),
            );
        }
        if self.below(3) == 0 {
            path.push(if path.contains('?') { '&' } else { '?' });
            let query = self.of(QUERIES);
            let cut = self.below(query.len() + 1);
            path.push_str(if self.below(2) == 0 { query } else { &query[..cut] });
        }
        path
    }
}

fn e2e_mutated_requests_are_answered_without_an_error_of_the_server(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let api = Api::of(&server.kubectl())?;
    for (path, seed) in SEEDS {
        let answer = api.post(&format!("{path}?dryRun=All"), seed)?;
        ensure!(answer.code == 201, "the seed of {path} is not accepted: {}", answer.text());
    }
    api.post("/api/v1/namespaces/default/configmaps", r#"{"metadata":{"name":"target"},"data":{"a":"b"}}"#)?.expect(201)?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut connection = api.connect()?;
    let mut refused = 0;
    for _ in 0..REQUESTS {
        let (method, path, media, body) = next(&mut numbers);
        let asked = Instant::now();
        let answer = match connection.send(&method, &path, &[("content-type", &media)], &body) {
            Ok(answer) => answer,
            // What is no HTTP at all may end the connection.
            Err(error) => {
                ensure!(asked.elapsed() < HANG, "no answer: {error:#}\n{method} {path} ({media}): {}", String::from_utf8_lossy(&body));
                connection = api.connect()?;
                continue;
            }
        };
        let shown = || format!("{method} {path} ({media}): {}\n{}", String::from_utf8_lossy(&body), answer.text());
        // Kubernetes has no better code for a configuration that does not have the shape of its kind.
        let is_untyped = answer.code == 500 && answer.text().contains("failed to create typed patch object");
        ensure!(answer.code < 500 || answer.code == 504 || is_untyped, "{} for {}", answer.code, shown());
        ensure!(asked.elapsed() < HANG, "{:?} for {}", asked.elapsed(), shown());
        refused += u32::from(answer.code >= 400);
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            connection = api.connect()?;
        }
    }
    let accepted = REQUESTS - refused;
    ensure!(accepted > REQUESTS / 20 && refused > REQUESTS / 4, "{refused} of {REQUESTS} refused: the mutations are too wild or too tame");
    is_sound(&server, &mut connection)
}

/// Method, path, media type and body of the next request.
fn next(numbers: &mut Numbers) -> (String, String, String, Vec<u8>) {
    if numbers.below(4) == 0 {
        let (media, patch) = PATCHES[numbers.below(PATCHES.len())];
        let path = numbers.mutate_path("/api/v1/namespaces/default/configmaps/target");
        return ("PATCH".into(), path, media.into(), numbers.mutate(patch));
    }
    let (path, seed) = SEEDS[numbers.below(SEEDS.len())];
    let method = numbers.of(&["POST", "POST", "POST", "POST", "PUT", "GET", "DELETE", "PATCH", "OPTIONS"]);
    let media = numbers.of(&[
        "application/json",
        "application/json",
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ]);
    let path = if method == "PUT" { "/api/v1/namespaces/default/configmaps/target" } else { path };
    (method.into(), numbers.mutate_path(path), media.into(), numbers.mutate(seed))
}

/// The server still answers, keeps what it had, and has logged no panic.
fn is_sound(server: &Server, connection: &mut Connection) -> Result<()> {
    let ready = connection.send("GET", "/readyz", &[], &[]).context("the server does not answer any more")?;
    ensure!(ready.code == 200, "{}", ready.text());
    server.kubectl().run(&[
        "get",
        "configmaps,secrets,services,pods,deployments,cronjobs,networkpolicies,clusternetworkpolicies,nodeprogrammings,ingresses,endpointslices,roles,events",
        "-A",
    ])?;
    let log = server.log();
    ensure!(!log.contains("panic"), "the server's log tells of a panic:\n{log}");
    Ok(())
}
