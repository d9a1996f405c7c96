//! What happens to input that is wrong? It is refused with the code, reason and words of Kubernetes, and nothing is half written.

use anyhow::{Result, ensure};
use orknet_tests::https::Api;
use orknet_tests::{Cluster, Kubectl, tests};
use serde_json::{Value, json};

tests![
    e2e_what_is_no_manifest_is_refused,
    e2e_unknown_and_duplicate_fields_are_refused_warned_of_or_dropped,
    e2e_wrong_types_are_named_with_their_field,
    e2e_names_labels_and_keys_follow_their_rules,
    e2e_every_broken_rule_is_told_at_once,
    e2e_what_is_too_large_is_refused,
    e2e_stale_and_foreign_versions_conflict,
    e2e_what_cannot_change_does_not,
    e2e_selectors_and_options_are_checked,
    e2e_unknown_things_are_not_found,
    e2e_methods_and_media_types_are_checked,
    e2e_paths_cannot_be_tricked,
];

const STRICT: &str = "fieldValidation=Strict";

fn config_maps(kubectl: &Kubectl) -> String {
    format!("/api/v1/namespaces/{}/configmaps", kubectl.namespace())
}

fn same(found: impl AsRef<str>, expected: &str) -> Result<()> {
    let found = found.as_ref().trim_end();
    ensure!(found == expected, "said:     {found}\nexpected: {expected}");
    Ok(())
}

fn holds(found: impl AsRef<str>, part: &str) -> Result<()> {
    let found = found.as_ref();
    ensure!(found.contains(part), "said: {found}\nexpected in it: {part}");
    Ok(())
}

/// Nothing of this kind was made in the namespace by what was refused.
fn has_no(kubectl: &Kubectl, kind: &str) -> Result<()> {
    let found = kubectl.run(&["get", kind, "-o", "name", "--field-selector", "metadata.name!=kube-root-ca.crt"])?;
    ensure!(found.is_empty(), "{found} is there");
    Ok(())
}

fn e2e_what_is_no_manifest_is_refused(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let apply = |manifest: &str| kubectl.fails(&["apply", "-f", "-"], Some(manifest));
    holds(apply("{a")?, "error parsing STDIN")?;
    holds(apply("a: b: c")?, "error converting YAML to JSON")?;
    holds(apply("apiVersion: v1\n")?, "kind not set")?;
    holds(apply("kind: ConfigMap\nmetadata: {name: a}\n")?, "apiVersion not set")?;
    holds(apply("apiVersion: v2\nkind: ConfigMap\nmetadata: {name: a}\n")?, "no matches for kind \"ConfigMap\" in version \"v2\"")?;
    holds(apply("apiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n")?, "no matches for kind \"Nothing\" in version \"v1\"")?;
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    for body in
        ["", "{", "[]", "null", "1", "\"a\"", "{\"apiVersion\":\"v1\"", "{\"metadata\":{\"name\":\"a\"}} x", "\u{0}", "{\"a\":1e999}"]
    {
        api.post(&path, body)?.refused(400, "BadRequest")?;
    }
    for bytes in [&b"\xff\xfe"[..], b"{\"metadata\":{\"name\":\"\xff\"}}"] {
        api.send("POST", &path, &[("content-type", "application/json")], bytes)?.refused(400, "BadRequest")?;
    }
    for yaml in ["a: b: c", "\t- x", "&a [*a, *b]", "{{", "--- \n--- \n"] {
        api.send("POST", &path, &[("content-type", "application/yaml")], yaml.as_bytes())?.refused(400, "BadRequest")?;
    }
    let other = |object: Value| api.post(&path, &object.to_string())?.refused(400, "BadRequest");
    same(
        other(json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}}))?,
        "the API version in the data (v2) does not match the expected API version (v1)",
    )?;
    holds(other(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}))?, "does not match the expected")?;
    same(
        other(json!({"metadata": {"name": "a", "namespace": "other"}}))?,
        "the namespace of the provided object does not match the namespace sent on the request",
    )?;
    has_no(kubectl, "configmaps")
}

fn e2e_unknown_and_duplicate_fields_are_refused_warned_of_or_dropped(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"unknwon": 1, "nodeSelector": {"kubernetes.io/hostname": "nowhere"}, "containers": [{"name": "c", "image": "i", "imge": "j"}]}}"#;
    let refused = kubectl.fails(&["create", "-f", "-"], Some(pod))?;
    same(
        refused,
        "Error from server (BadRequest): error when creating \"STDIN\": Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: \
         unknown field \"spec.containers[0].imge\", unknown field \"spec.unknwon\"",
    )?;
    has_no(kubectl, "pods")?;
    let warned = kubectl.output(&["create", "--validate=warn", "-f", "-"], Some(pod))?;
    ensure!(warned.code == 0 && warned.stdout == "pod/a created\n", "{warned:?}");
    same(warned.stderr, "Warning: unknown field \"spec.containers[0].imge\"\nWarning: unknown field \"spec.unknwon\"")?;
    kubectl.run(&["delete", "pod", "a", "--now"])?;
    let ignored = kubectl.output(&["create", "--validate=ignore", "-f", "-"], Some(pod))?;
    ensure!(ignored.code == 0 && ignored.stderr.is_empty(), "{ignored:?}");
    ensure!(kubectl.json(&["get", "pod", "a"])?["spec"].get("unknwon").is_none(), "an unknown field is stored");
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    let twice = r#"{"metadata": {"name": "b"}, "data": {"k": "1", "k": "2"}, "foo": {}}"#;
    same(
        api.post(&format!("{path}?{STRICT}"), twice)?.refused(400, "BadRequest")?,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data.k\", unknown field \"foo\"",
    )?;
    let answer = api.post(&format!("{path}?fieldValidation=Warn"), twice)?;
    ensure!(answer.expect(201)?["data"] == json!({"k": "2"}), "the last one counts");
    let warnings: Vec<&str> = answer.headers.iter().filter(|(name, _)| name == "warning").map(|(_, value)| &value[..]).collect();
    ensure!(warnings == [r#"299 - "duplicate field \"data.k\"""#, r#"299 - "unknown field \"foo\"""#], "{warnings:?}");
    let patch = |query: &str| {
        let headers = [("content-type", "application/merge-patch+json")];
        api.send("PATCH", &format!("{path}/b?{query}"), &headers, br#"{"data": {"k": "3"}, "foo": 1}"#)
    };
    holds(patch(STRICT)?.refused(400, "BadRequest")?, "unknown field \"foo\"")?;
    ensure!(patch("fieldValidation=Ignore")?.expect(200)?["data"] == json!({"k": "3"}), "ignored fields hold nothing up");
    api.post(&format!("{path}?fieldValidation=Maybe"), twice)?.refused(400, "BadRequest").map(drop)
}

fn e2e_wrong_types_are_named_with_their_field(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let api = Api::of(kubectl)?;
    let namespace = kubectl.namespace();
    let cases = [
        ("/api/v1", "configmaps", json!({"data": {"k": 1}}), "cannot unmarshal number", "data"),
        ("/api/v1", "configmaps", json!({"data": []}), "cannot unmarshal array", "data"),
        ("/api/v1", "configmaps", json!({"metadata": {"labels": {"a": true}}}), "cannot unmarshal bool", "metadata.labels"),
        ("/api/v1", "configmaps", json!({"metadata": "a"}), "cannot unmarshal string", "metadata"),
        ("/api/v1", "pods", json!({"spec": {"containers": "x"}}), "cannot unmarshal string", "spec.containers"),
        ("/api/v1", "services", json!({"spec": {"ports": [{"port": "80"}]}}), "cannot unmarshal string", "port"),
        ("/apis/apps/v1", "deployments", json!({"spec": {"replicas": 1.5}}), "cannot unmarshal number", "spec.replicas"),
        ("/apis/apps/v1", "deployments", json!({"spec": {"replicas": 99999999999i64}}), "cannot unmarshal number", "spec.replicas"),
        ("/apis/apps/v1", "deployments", json!({"spec": {"paused": "yes"}}), "cannot unmarshal string", "spec.paused"),
    ];
    for (prefix, plural, mut object, complaint, field) in cases {
        if object["metadata"].is_null() {
            object["metadata"] = json!({"name": "a"});
        }
        let said = api.post(&format!("{prefix}/namespaces/{namespace}/{plural}"), &object.to_string())?.refused(400, "BadRequest")?;
        ensure!(said.contains(complaint) && said.contains(field), "{object}: {said}");
    }
    holds(
        api.post(&format!("/api/v1/namespaces/{namespace}/secrets"), r#"{"metadata": {"name": "a"}, "data": {"k": "!!"}}"#)?
            .refused(400, "BadRequest")?,
        "illegal base64 data at input byte 0",
    )?;
    let quantity =
        r#"{"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "lots"}}}]}}"#;
    holds(
        api.post(&format!("/api/v1/namespaces/{namespace}/pods"), quantity)?.refused(400, "BadRequest")?,
        "quantities must match the regular expression",
    )?;
    has_no(kubectl, "configmaps,pods,services,deployments,secrets")
}

fn e2e_names_labels_and_keys_follow_their_rules(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    same(
        kubectl.fails(&["create", "configmap", "Bad_Name"], None)?,
        "error: failed to create configmap: ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 \
         subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
         'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    )?;
    holds(kubectl.fails(&["create", "namespace", "a.b"], None)?, "a lowercase RFC 1123 label must consist of")?;
    holds(kubectl.fails(&["create", "service", "clusterip", "9x", "--tcp=80"], None)?, "a DNS-1035 label must consist of")?;
    let long = "a".repeat(254);
    holds(kubectl.fails(&["create", "configmap", &long], None)?, "must be no more than 253 bytes")?;
    let manifest = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"-a": "b c"}, "annotations": {"x y": "z"},
        "finalizers": ["nothing"]}, "data": {"a b": "c", "..": "d"}}"#;
    let said = kubectl.fails(&["create", "-f", "-"], Some(manifest))?;
    for complaint in [
        "The ConfigMap \"a\" is invalid: \n",
        "* metadata.labels: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with",
        "* metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters",
        "* metadata.annotations: Invalid value: \"x y\": name part must consist of alphanumeric characters",
        "* data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name'",
        "* data[..]: Invalid value: \"..\": ",
    ] {
        holds(&said, complaint)?;
    }
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    holds(
        api.post(&path, r#"{"metadata": {}}"#)?.refused(422, "Invalid")?,
        "metadata.name: Required value: name or generateName is required",
    )?;
    for name in ["", "a/b", "..", ".", "%2e", "a b", "ä", "a\\u0000b"] {
        let body = format!(r#"{{"metadata": {{"name": "{name}"}}}}"#);
        api.post(&path, &body)?.refused(422, "Invalid")?;
    }
    has_no(kubectl, "configmaps")
}

fn e2e_every_broken_rule_is_told_at_once(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let deployment = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": -1,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "c"}},
        "spec": {"restartPolicy": "Sometimes", "containers": [{"name": "A_", "image": ""}, {"name": "b", "image": "i", "ports": [{"containerPort": 0}]}]}}}}"#;
    let said = kubectl.fails(&["create", "-f", "-"], Some(deployment))?;
    for complaint in [
        "The Deployment \"a\" is invalid: \n",
        "* spec.replicas: Invalid value: -1: must be greater than or equal to 0\n",
        "* spec.template.metadata.labels: Invalid value: ",
        "`selector` does not match template `labels`\n",
        "* spec.template.spec.containers[0].name: Invalid value: \"A_\": a lowercase RFC 1123 label",
        "* spec.template.spec.containers[0].image: Required value\n",
        "* spec.template.spec.containers[1].ports[0].containerPort: Required value\n",
        "* spec.template.spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: ",
    ] {
        holds(&said, complaint)?;
    }
    let (api, namespace) = (Api::of(kubectl)?, kubectl.namespace());
    let service = r#"{"metadata": {"name": "a"}, "spec": {"type": "Odd", "ports": [{"port": 70000}, {"port": 80, "protocol": "ICMP"}]}}"#;
    let status = api.post(&format!("/api/v1/namespaces/{namespace}/services"), service)?.expect(422)?;
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let has = |field: &str, reason: &str| causes.iter().any(|cause| cause["field"] == field && cause["reason"] == reason);
    ensure!(
        has("spec.type", "FieldValueNotSupported")
            && has("spec.ports[0].port", "FieldValueInvalid")
            && has("spec.ports[0].name", "FieldValueRequired")
            && has("spec.ports[1].protocol", "FieldValueNotSupported"),
        "{status}"
    );
    ensure!(status["details"]["kind"] == "Service" && status["details"]["name"] == "a", "{status}");
    has_no(kubectl, "deployments,services")
}

fn e2e_what_is_too_large_is_refused(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("big");
    let file = format!("--from-file={}", path.display());
    std::fs::write(&path, vec![b'a'; 2 << 20])?;
    same(
        kubectl.fails(&["create", "configmap", "big", &file], None)?,
        "error: failed to create configmap: ConfigMap \"big\" is invalid: []: Too long: may not be more than 1048576 bytes",
    )?;
    std::fs::write(&path, vec![b'a'; 4 << 20])?;
    same(
        kubectl.fails(&["create", "configmap", "big", &file], None)?,
        "error: failed to create configmap: Request entity too large: limit is 3145728",
    )?;
    std::fs::write(&path, vec![b'a'; 1 << 20])?;
    kubectl.run(&["create", "configmap", "big", &file])?;
    let notes = json!({"metadata": {"name": "a", "annotations": {"a": "x".repeat(300_000)}}}).to_string();
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    holds(api.post(&path, &notes)?.refused(422, "Invalid")?, "metadata.annotations: Too long: may not be more than 262144 bytes")?;
    for depth in [200, 20_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = format!("{{\"metadata\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            let code = api.post(&path, &nested)?.code;
            ensure!(code == 400 || code == 413, "depth {depth}: {code}");
        }
    }
    // YAML that would unfold to more than memory holds.
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    let code = api.send("POST", &path, &[("content-type", "application/yaml")], bomb.as_bytes())?.code;
    ensure!(code == 400 || code == 413, "{code}");
    let operations: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": "/kind", "value": "ConfigMap"})).collect();
    let patch = Value::from(operations).to_string();
    let headers = [("content-type", "application/json-patch+json")];
    api.send("PATCH", &format!("{path}/big"), &headers, patch.as_bytes())?.refused(413, "RequestEntityTooLarge").map(drop)
}

fn e2e_stale_and_foreign_versions_conflict(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a", "--from-literal=k=1"])?;
    let stale = kubectl.json(&["get", "configmap", "a"])?;
    kubectl.run(&["label", "configmap", "a", "seen=no"])?;
    same(
        kubectl.fails(&["replace", "-f", "-"], Some(&stale.to_string()))?,
        "Error from server (Conflict): error when replacing \"STDIN\": Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
         please apply your changes to the latest version and try again",
    )?;
    holds(
        kubectl.fails(&["patch", "configmap", "a", "-p", r#"{"metadata":{"resourceVersion":"1"}}"#], None)?,
        "the object has been modified",
    )?;
    holds(
        kubectl.fails(&["patch", "configmap", "a", "-p", r#"{"metadata":{"uid":"x"}}"#], None)?,
        "Precondition failed: UID in precondition: x, UID in object meta: ",
    )?;
    same(kubectl.fails(&["create", "configmap", "a"], None)?, "error: failed to create configmap: configmaps \"a\" already exists")?;
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    let put = |body: Value| api.send("PUT", &format!("{path}/a"), &[("content-type", "application/json")], body.to_string().as_bytes());
    put(json!({"metadata": {"name": "a", "resourceVersion": "x"}}))?.refused(400, "BadRequest")?;
    put(json!({"metadata": {"name": "b"}}))?.refused(400, "BadRequest")?;
    let created = api.post(&path, r#"{"metadata": {"name": "c", "resourceVersion": "5"}}"#)?;
    same(created.refused(400, "BadRequest")?, "resourceVersion should not be set on objects to be created")?;
    ensure!(kubectl.json(&["get", "configmap", "a"])?["data"] == json!({"k": "1"}), "a refused write changed something");
    Ok(())
}

fn e2e_what_cannot_change_does_not(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "a", "--image=registry.orknet.local/busybox:1", "--replicas=0"])?;
    let patch = |what: &str, patch: &str| kubectl.fails(&["patch", what, "-p", patch], None);
    holds(
        patch("deployment/a", r#"{"spec":{"selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}}}}}"#)?,
        "spec.selector: Invalid value: ",
    )?;
    kubectl.run(&["create", "configmap", "frozen", "--from-literal=k=1"])?;
    kubectl.run(&["patch", "configmap", "frozen", "-p", r#"{"immutable":true}"#])?;
    same(
        patch("configmap/frozen", r#"{"data":{"k":"2"}}"#)?,
        "The ConfigMap \"frozen\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
    )?;
    holds(patch("configmap/frozen", r#"{"immutable":false}"#)?, "immutable: Forbidden: field is immutable when `immutable` is set")?;
    kubectl.run(&["create", "secret", "generic", "s"])?;
    holds(patch("secret/s", r#"{"type":"other"}"#)?, "type: Invalid value: \"other\": field is immutable")?;
    kubectl.run(&["create", "service", "clusterip", "svc", "--tcp=80"])?;
    holds(patch("service/svc", r#"{"spec":{"clusterIP":"10.96.200.200","clusterIPs":["10.96.200.200"]}}"#)?, "may not change once set")?;
    kubectl.run(&["create", "role", "r", "--verb=get", "--resource=pods"])?;
    kubectl.run(&["create", "rolebinding", "b", "--role=r", "--user=x"])?;
    holds(patch("rolebinding/b", r#"{"roleRef":{"name":"other"}}"#)?, "cannot change roleRef")?;
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"nodeSelector":{"no":"where"},"containers":[{"name":"c","image":"i"}]}}"#;
    kubectl.apply(pod)?;
    let said = patch("pod/p", r#"{"spec":{"containers":[{"name":"c","command":["x"]}]}}"#)?;
    holds(said, "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")?;
    let (name, uid, time) =
        (r#"{"metadata":{"name":"z"}}"#, kubectl.run(&["get", "pod", "p", "-o", "jsonpath={.metadata.uid}"])?, "2020-01-01T00:00:00Z");
    holds(patch("pod/p", name)?, "the name of the object (z) does not match the name on the URL (p)")?;
    // Metadata of the server's is kept, without a complaint.
    kubectl.run(&["patch", "pod", "p", "-p", &format!(r#"{{"metadata":{{"creationTimestamp":"{time}","generation":77}}}}"#)])?;
    let meta = kubectl.json(&["get", "pod", "p"])?["metadata"].clone();
    ensure!(meta["creationTimestamp"] != time && meta["generation"] != 77 && meta["uid"] == uid, "{meta}");
    Ok(())
}

fn e2e_selectors_and_options_are_checked(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (selector, complaint) in [
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a=-b", "unable to parse requirement: "),
    ] {
        holds(kubectl.fails(&["get", "pods", "-l", selector], None)?, complaint)?;
    }
    holds(kubectl.fails(&["get", "pods", "--field-selector", "foo=bar"], None)?, "field label not supported: foo")?;
    holds(kubectl.fails(&["get", "pods", "--field-selector", "status.phase"], None)?, "can't understand 'status.phase'")?;
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    for query in [
        "limit=x",
        "limit=99999999999999999999",
        "continue=abc",
        "continue=%00%ff",
        "resourceVersion=abc",
        "resourceVersion=-1",
        "watch=1&resourceVersion=abc",
        "resourceVersionMatch=Exact",
        "resourceVersion=5&resourceVersionMatch=Odd",
        "labelSelector=%3D%3D",
        "fieldSelector=%FF",
        "timeoutSeconds=x",
        "watch=1&sendInitialEvents=true",
    ] {
        let answer = api.get(&format!("{path}?{query}"))?;
        ensure!(matches!(answer.code, 400 | 422), "{query}: {} {}", answer.code, answer.text());
    }
    let list = api.get(&format!("{path}?limit=9223372036854775807"))?.expect(200)?;
    ensure!(list["items"].is_array(), "{list}");
    for query in ["dryRun=Some", "fieldManager=x%00y", &format!("fieldManager={}", "x".repeat(129))] {
        let answer = api.post(&format!("{path}?{query}"), r#"{"metadata": {"name": "a"}}"#)?;
        ensure!(matches!(answer.code, 400 | 422), "{query}: {} {}", answer.code, answer.text());
    }
    for body in [r#"{"propagationPolicy": "Odd"}"#, r#"{"gracePeriodSeconds": "x"}"#, "[]", r#"{"kind": "Pod"}"#, r#"{"dryRun": ["x"]}"#] {
        let answer = api.send("DELETE", &format!("{path}/kube-root-ca.crt"), &[("content-type", "application/json")], body.as_bytes())?;
        ensure!(matches!(answer.code, 400 | 422), "{body}: {} {}", answer.code, answer.text());
    }
    has_no(kubectl, "configmaps")
}

fn e2e_unknown_things_are_not_found(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    same(kubectl.fails(&["get", "nothings"], None)?, "error: the server doesn't have a resource type \"nothings\"")?;
    same(kubectl.fails(&["get", "pod", "none"], None)?, "Error from server (NotFound): pods \"none\" not found")?;
    same(kubectl.fails(&["get", "deployment", "none"], None)?, "Error from server (NotFound): deployments.apps \"none\" not found")?;
    let elsewhere = kubectl.in_namespace("no-such-namespace");
    holds(elsewhere.fails(&["create", "configmap", "a"], None)?, "namespaces \"no-such-namespace\" not found")?;
    same(elsewhere.output(&["get", "pods"], None)?.stderr, "No resources found in no-such-namespace namespace.")?;
    let api = Api::of(kubectl)?;
    for path in ["/nothing", "/apis/none/v1", "/apis/none/v1/things", "/api/v1/things", "/api/v2/pods", "/apis/apps/v1beta1/deployments"] {
        same(api.get(path)?.refused(404, "NotFound")?, "the server could not find the requested resource")?;
    }
    for path in ["/api/v1/namespaces/default/nodes", "/api/v1/pods/a/nothing", "/openapi/v3/none"] {
        api.get(path)?.refused(404, "NotFound")?;
    }
    Ok(())
}

fn e2e_methods_and_media_types_are_checked(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a"])?;
    let (api, path) = (Api::of(kubectl)?, config_maps(kubectl));
    let object = format!("{path}/a");
    for (method, path) in [
        ("POST", &object[..]),
        ("PUT", &path),
        ("PATCH", &path),
        ("OPTIONS", &path),
        ("TRACE", &object),
        ("BREW", &object),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/version"),
        ("PUT", "/api"),
        ("DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = api.send(method, path, &headers, b"{}")?;
        answer.refused(405, "MethodNotAllowed").map_err(|error| error.context(format!("{method} {path}")))?;
    }
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/merge-patch+json", ";;", "json"] {
        let answer = api.send("POST", &path, &[("content-type", kind)], br#"{"metadata": {"name": "b"}}"#)?;
        let said = answer.refused(415, "UnsupportedMediaType").map_err(|error| error.context(kind))?;
        holds(said, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml")?;
    }
    for kind in ["application/json", "application/patch", "text/plain"] {
        let answer = api.send("PATCH", &object, &[("content-type", kind)], b"{}")?;
        answer.refused(415, "UnsupportedMediaType").map_err(|error| error.context(kind))?;
    }
    // No type at all is JSON.
    api.send("POST", &path, &[], br#"{"metadata": {"name": "b"}}"#)?.expect(201)?;
    let answer = api.send("GET", &path, &[("accept", "application/xml")], &[])?;
    ensure!(answer.code == 406, "{} {}", answer.code, answer.text());
    ensure!(api.send("GET", &path, &[("accept", "text/html, */*;q=0.1")], &[])?.code == 200, "*/* accepts JSON");
    // HEAD is GET without a body: the next answer on the same connection begins where the first one's head ends.
    let mut connection = api.connect()?;
    for path in ["/version", &object] {
        let head = connection.send("HEAD", path, &[], &[])?;
        ensure!(head.code == 200 && head.header("content-type") == Some("application/json"), "{path}: {head:?}");
    }
    ensure!(connection.send("GET", "/version", &[], &[])?.expect(200)?["minor"] == "33");
    Ok(())
}

fn e2e_paths_cannot_be_tricked(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a", "--from-literal=k=v"])?;
    let namespace = kubectl.namespace();
    let api = Api::of(kubectl)?;
    for path in [
        "/api/v1/namespaces/../namespaces",
        "/api/v1/namespaces/%2e%2e/configmaps/a",
        "/api/v1/namespaces/..%2f..%2fconfigmaps/a",
        "/api/v1/namespaces/%2F/configmaps",
        "/api/v1/namespaces/x%00y/configmaps/a",
        "/api/v1/namespaces/%ff%fe/configmaps/a",
        "/api/v1/namespaces/%zz/configmaps/a",
        "/api/v1/namespaces/default/configmaps/a%2f..%2fb",
        "/api/v1/namespaces/default/configmaps/a/b/c/d/e",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/namespaces/default/configmaps/%20",
    ] {
        let answer = api.get(path)?;
        let list_of_nothing = answer.code == 200 && answer.expect(200)?["items"].as_array().is_some_and(Vec::is_empty);
        ensure!(matches!(answer.code, 400 | 404) || list_of_nothing, "{path}: {} {}", answer.code, answer.text());
    }
    // Encoded letters are letters.
    let object = api.get(&format!("/api/v1/namespaces/{namespace}/config%6daps/%61"))?.expect(200)?;
    ensure!(object["data"]["k"] == "v", "{object}");
    let long = format!("/api/v1/namespaces/{namespace}/configmaps/{}", "a".repeat(10_000));
    api.get(&long)?.refused(404, "NotFound")?;
    let answer = api.get(&format!("/api/v1/pods?labelSelector={}", "a".repeat(200_000)))?;
    ensure!(matches!(answer.code, 400 | 414 | 431), "{}", answer.code);
    Ok(())
}
