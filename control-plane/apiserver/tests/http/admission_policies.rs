//! Admission policies, by the examples of Kubernetes' documentation: what they refuse, warn of and let pass, in whose words.

mod parameters;

use crate::client::Answer;
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, PODS, TestServer, config_map, deployment, pod};
use orknet_apiserver::{AuditConfig, AuditLogConfig};
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

fn rule(operations: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({ "operations": operations, "apiGroups": [group], "apiVersions": ["v1"], "resources": resources })
}

/// A policy about the writing of Deployments, unless `change` says otherwise.
fn policy(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "matchConstraints": { "resourceRules": [rule(&["CREATE", "UPDATE"], "apps", &["deployments"])] },
        "validations": [{ "expression": "object.spec.replicas <= 5" }],
    });
    change(&mut spec);
    json!({ "metadata": { "name": name }, "spec": spec })
}

/// Makes an object of the group; the server's admission knows it when this returns.
async fn make(server: &TestServer, plural: &str, object: Value) -> Value {
    let made = server.admin.post(&format!("{GROUP}/{plural}"), object).await.expect(201);
    let version = made["metadata"]["resourceVersion"].as_str().expect("a version");
    let path = format!("{GROUP}/{plural}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.admin.get(&path).await.expect(200);
    made
}

/// Makes a binding that denies, unless `change` says otherwise.
async fn bind(server: &TestServer, policy: &str, change: impl FnOnce(&mut Value)) {
    let mut spec = json!({ "policyName": policy, "validationActions": ["Deny"] });
    change(&mut spec);
    make(server, BINDINGS, json!({ "metadata": { "name": format!("{policy}-binding") }, "spec": spec })).await;
}

/// Makes a policy, and binds it everywhere.
async fn enforce(server: &TestServer, name: &str, change: impl FnOnce(&mut Value)) {
    make(server, POLICIES, policy(name, change)).await;
    bind(server, name, |_| {}).await;
}

/// A policy about ConfigMaps of `default`.
fn of_config_maps(validations: Value) -> impl FnOnce(&mut Value) {
    move |spec| {
        spec["matchConstraints"]["resourceRules"] = json!([rule(&["*"], "", &["configmaps"])]);
        spec["validations"] = validations;
    }
}

fn replicas(name: &str, replicas: i64) -> Value {
    let mut deployment = deployment(name);
    deployment["spec"]["replicas"] = json!(replicas);
    deployment
}

fn warnings(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn the_first_example_bounds_replicas_where_it_is_bound() {
    let server = TestServer::start().await;
    make(&server, POLICIES, policy("demo-policy.example.com", |_| {})).await;
    let test = "/apis/apps/v1/namespaces/test/deployments";
    server
        .admin
        .post("/api/v1/namespaces", json!({ "metadata": { "name": "test", "labels": { "environment": "test" } } }))
        .await
        .expect(201);
    // A policy that is not bound does nothing.
    server.admin.post(test, replicas("a", 9)).await.expect(201);
    bind(&server, "demo-policy.example.com", |spec| {
        spec["matchResources"] = json!({ "namespaceSelector": { "matchLabels": { "environment": "test" } } });
    })
    .await;
    server.admin.post(DEPLOYMENTS, replicas("elsewhere", 9)).await.expect(201);
    server.admin.post(test, replicas("b", 5)).await.expect(201);
    let refused = server.admin.post(test, replicas("nginx", 6)).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let denied = "ValidatingAdmissionPolicy 'demo-policy.example.com' with binding 'demo-policy.example.com-binding' denied request: failed expression: object.spec.replicas <= 5";
    let status = &refused.body;
    assert_eq!(status["message"], format!("deployments.apps \"nginx\" is forbidden: {denied}"));
    assert_eq!((&status["reason"], &status["details"]["causes"]), (&json!("Invalid"), &json!([{ "message": denied }])));
    assert_eq!((&status["details"]["name"], &status["details"]["kind"]), (&json!("nginx"), &json!("deployments")));
    // An update through the object and one of its scale are different things.
    let more = json!({ "spec": { "replicas": 6 } });
    server.admin.patch(&format!("{test}/b"), "application/merge-patch+json", more.clone()).await.refused(422, "Invalid");
    server.admin.patch(&format!("{test}/b/scale"), "application/merge-patch+json", more).await.expect(200);
    server.admin.post(&format!("{test}?dryRun=All"), replicas("dry", 6)).await.refused(422, "Invalid");
}

#[tokio::test]
async fn messages_and_reasons_are_the_validations() {
    let server = TestServer::start().await;
    enforce(
        &server,
        "reasons",
        of_config_maps(json!([
            { "expression": "object.metadata.name != 'forbidden'", "reason": "Forbidden", "message": "  not this one " },
            { "expression": "object.metadata.name != 'unauthorized'", "reason": "Unauthorized" },
            { "expression": "object.metadata.name != 'large'", "reason": "RequestEntityTooLarge", "messageExpression": "object.metadata.name + ' is too large'" },
            { "expression": "object.metadata.name != 'lines'", "messageExpression": "'a\\nb'", "message": "one line" },
            { "expression": "object.metadata.name != 'broken'", "messageExpression": "string(object.missing)", "message": "the message" },
        ])),
    )
    .await;
    let message = |name: &str, why: &str| {
        format!(
            "configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'reasons' with binding 'reasons-binding' denied request: {why}"
        )
    };
    for (name, code, reason, why) in [
        ("forbidden", 403, "Forbidden", "not this one"),
        ("unauthorized", 401, "Unauthorized", "failed expression: object.metadata.name != 'unauthorized'"),
        ("large", 413, "RequestEntityTooLarge", "large is too large"),
        ("lines", 422, "Invalid", "one line"),
        ("broken", 422, "Invalid", "the message"),
    ] {
        let refused = server.admin.post(CONFIG_MAPS, config_map(name)).await;
        assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (code, &json!(reason)), "{}", refused.text);
        assert_eq!(refused.body["message"], message(name, why));
    }
    server.admin.post(CONFIG_MAPS, config_map("fine")).await.expect(201);
}

#[tokio::test]
async fn what_cannot_be_evaluated_fails_as_the_policy_says() {
    let server = TestServer::start().await;
    let missing = json!([{ "expression": "object.data.missing == 'x'" }]);
    enforce(&server, "closed", of_config_maps(missing.clone())).await;
    let refused = server.admin.post(CONFIG_MAPS, config_map("a")).await;
    let message = refused.body["message"].as_str().expect("a message");
    assert!(
        message.ends_with("denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing"),
        "{message}"
    );
    assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (422, &json!("Invalid")));
    server.admin.delete(&format!("{GROUP}/{BINDINGS}/closed-binding")).await.expect(200);
    enforce(&server, "open", |spec| {
        of_config_maps(missing)(spec);
        spec["failurePolicy"] = json!("Ignore");
    })
    .await;
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
}

#[tokio::test]
async fn a_binding_may_warn_instead() {
    let server = TestServer::start().await;
    make(&server, POLICIES, policy("warns", |_| {})).await;
    bind(&server, "warns", |spec| spec["validationActions"] = json!(["Warn", "Audit"])).await;
    let made = server.admin.post(DEPLOYMENTS, replicas("a", 6)).await;
    assert_eq!(made.status, 201);
    let expected = "299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-binding': failed expression: object.spec.replicas <= 5\"";
    assert_eq!(warnings(&made), [expected]);
    assert_eq!(warnings(&server.admin.post(DEPLOYMENTS, replicas("b", 5)).await), [""; 0]);
}

#[tokio::test]
async fn variables_are_composed_and_conditions_select() {
    let server = TestServer::start().await;
    enforce(&server, "image-matches-namespace-environment.policy.example.com", |spec| {
        spec["matchConditions"] = json!([
            { "name": "not-exempt", "expression": "!has(object.metadata.labels) || !('exempt' in object.metadata.labels)" },
            { "name": "not-admin", "expression": "request.userInfo.username != 'chief'" },
        ]);
        spec["variables"] = json!([
            { "name": "environment", "expression": "'environment' in namespaceObject.metadata.labels ? namespaceObject.metadata.labels['environment'] : 'prod'" },
            { "name": "containers", "expression": "object.spec.template.spec.containers" },
            { "name": "isProd", "expression": "variables.environment == 'prod'" },
            { "name": "broken", "expression": "object.missing.field == 1" },
        ]);
        spec["validations"] = json!([{
            "expression": "variables.containers.all(c, c.image.startsWith('example.com/')) || !variables.isProd",
            "messageExpression": "'only example.com images in ' + variables.environment",
        }, { "expression": "object.metadata.name != 'broken' || variables.broken" }]);
    })
    .await;
    let refused = server.admin.post(DEPLOYMENTS, deployment("a")).await;
    let message = refused.body["message"].as_str().expect("a message").to_owned();
    assert!(message.ends_with("denied request: only example.com images in prod"), "{message}");
    let with_image = |name: &str| {
        let mut deployment = deployment(name);
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("example.com/nginx");
        deployment
    };
    server.admin.post(DEPLOYMENTS, with_image("b")).await.expect(201);
    let broken = server.admin.post(DEPLOYMENTS, with_image("broken")).await;
    let message = broken.body["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("composited variable \"broken\" fails to evaluate: no such key: missing"), "{message}");
    let mut exempt = deployment("c");
    exempt["metadata"]["labels"] = json!({ "exempt": "" });
    server.admin.post(DEPLOYMENTS, exempt).await.expect(201);
    server.client("chief", Some("system:masters")).post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let dev = json!({ "metadata": { "name": "dev", "labels": { "environment": "dev" } } });
    server.admin.post("/api/v1/namespaces", dev).await.expect(201);
    server.admin.post("/apis/apps/v1/namespaces/dev/deployments", deployment("e")).await.expect(201);
}

#[tokio::test]
async fn the_authorizer_is_the_servers() {
    let server = TestServer::start().await;
    let validations = json!([{
        "expression": "authorizer.group('').resource('configmaps').namespace(object.metadata.namespace).check('breakglass').allowed() \
                       || authorizer.requestResource.check('own').allowed()",
        "message": "ask the administrator",
    }, {
        "expression": "!authorizer.serviceAccount('default', 'default').path('/metrics').check('get').allowed()",
    }]);
    enforce(&server, "authorized", of_config_maps(validations)).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let role = |verbs: &[&str]| json!({ "metadata": { "name": "r" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs }] });
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    server.admin.post(&format!("{roles}/roles"), role(&["create"])).await.expect(201);
    let subject = json!([{ "kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io" }]);
    let binding = json!({ "metadata": { "name": "b" }, "subjects": subject,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" } });
    server.admin.post(&format!("{roles}/rolebindings"), binding).await.expect(201);
    let seen = async || {
        let made =
            server.admin.post("/api/v1/namespaces/default/secrets", json!({ "metadata": { "generateName": "mark-" } })).await.expect(201);
        let version = made["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
        for plural in ["roles", "rolebindings"] {
            let path = format!("{roles}/{plural}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
            server.admin.get(&path).await.expect(200);
        }
    };
    seen().await;
    let ann = server.client("ann", None);
    let refused = ann.post(CONFIG_MAPS, config_map("b")).await;
    let message = refused.body["message"].as_str().expect("a message");
    assert!(message.ends_with("denied request: ask the administrator"), "{}", refused.text);
    server.admin.put(&format!("{roles}/roles/r"), role(&["create", "own"])).await.expect(200);
    seen().await;
    ann.post(CONFIG_MAPS, config_map("b")).await.expect(201);
}

#[tokio::test]
async fn deletions_and_streams_are_judged() {
    let server = TestServer::start().await;
    enforce(
        &server,
        "keep",
        of_config_maps(json!([{ "expression": "request.operation != 'DELETE' || (object == null && oldObject.metadata.name != 'kept')" }])),
    )
    .await;
    for name in ["kept", "other"] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
    }
    server.admin.delete(&format!("{CONFIG_MAPS}/kept")).await.refused(422, "Invalid");
    server.admin.delete(&format!("{CONFIG_MAPS}/other")).await.expect(200);
    enforce(&server, "no-shell", |spec| {
        spec["matchConstraints"]["resourceRules"] = json!([rule(&["CONNECT"], "", &["pods/exec"])]);
        spec["validations"] = json!([{ "expression": "object.command != ['sh'] && request.subResource == 'exec'", "reason": "Forbidden" }]);
    })
    .await;
    let mut running = pod("a");
    running["spec"]["nodeName"] = json!("n");
    server.admin.post(PODS, running).await.expect(201);
    let refused = server.admin.post(&format!("{PODS}/a/exec?command=sh&stdout=true"), Value::Null).await;
    assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (403, &json!("Forbidden")), "{}", refused.text);
    assert!(refused.text.contains("'no-shell' with binding 'no-shell-binding' denied request"), "{}", refused.text);
}

#[tokio::test]
async fn the_same_objects_in_another_version_are_judged_in_the_policys() {
    let server = TestServer::start().await;
    enforce(&server, "events", |spec| {
        spec["matchConstraints"]["resourceRules"] = json!([rule(&["CREATE"], "events.k8s.io", &["events"])]);
        spec["validations"] =
            json!([{ "expression": "object.note != 'no' && request.kind.group == 'events.k8s.io' && request.requestKind.group == ''" }]);
    })
    .await;
    let event = |name: &str, message: &str| {
        json!({ "metadata": { "name": name }, "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" },
            "reason": "R", "message": message, "type": "Normal", "source": { "component": "test" } })
    };
    let path = "/api/v1/namespaces/default/events";
    server.admin.post(path, event("a", "yes")).await.expect(201);
    server.admin.post(path, event("b", "no")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn excluded_resources_and_names_are_not_judged() {
    let server = TestServer::start().await;
    enforce(&server, "some", |spec| {
        let mut all = rule(&["*"], "*", &["*"]);
        all["apiVersions"] = json!(["*"]);
        let mut named = rule(&["*"], "", &["configmaps"]);
        named["resourceNames"] = json!(["free"]);
        spec["matchConstraints"] = json!({
            "resourceRules": [all],
            "excludeResourceRules": [rule(&["*"], "", &["secrets"]), named],
            "objectSelector": { "matchLabels": { "judged": "yes" } },
        });
        spec["validations"] = json!([{ "expression": "false", "message": "nothing" }]);
    })
    .await;
    let labelled = |name: &str| json!({ "metadata": { "name": name, "labels": { "judged": "yes" } } });
    server.admin.post(CONFIG_MAPS, labelled("bound")).await.refused(422, "Invalid");
    server.admin.post(CONFIG_MAPS, labelled("free")).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("unlabelled")).await.expect(201);
    server.admin.post("/api/v1/namespaces/default/secrets", labelled("a")).await.expect(201);
    server.admin.post("/api/v1/namespaces", labelled("whole")).await.refused(422, "Invalid");
    // Policies do not judge policies: else none could be taken back.
    let mut other = policy("other", |_| {});
    other["metadata"]["labels"] = json!({ "judged": "yes" });
    make(&server, POLICIES, other).await;
    server.admin.delete(&format!("{GROUP}/{BINDINGS}/some-binding")).await.expect(200);
}

/// A policy that refuses whatever it is asked about keeps nobody from asking who he is and what he may, nor a server from getting ready.
#[tokio::test]
async fn a_policy_against_everything_leaves_questions_and_servers_alone() {
    let server = TestServer::start().await;
    enforce(&server, "nothing", |spec| {
        let mut all = rule(&["*"], "*", &["*/*"]);
        all["apiVersions"] = json!(["*"]);
        spec["matchConstraints"] = json!({ "resourceRules": [all] });
        spec["validations"] = json!([{ "expression": "false" }]);
    })
    .await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(422, "Invalid");
    let who = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    server.admin.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", who).await.expect(201);
    let may = json!({ "spec": { "nonResourceAttributes": { "path": "/", "verb": "get" } } });
    server.admin.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", may).await.expect(201);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    // Another address than before, so that the endpoints must be written.
    let again =
        TestServer::begin_on(directory, store, |config| config.advertise_address = std::net::Ipv4Addr::new(127, 0, 0, 9).into()).await;
    tokio::time::timeout(std::time::Duration::from_secs(20), again.handle.ready()).await.expect("ready in time");
    let endpoints = again.admin.get("/api/v1/namespaces/default/endpoints/kubernetes").await.expect(200);
    assert!(endpoints.to_string().contains("127.0.0.9"), "{endpoints}");
}

#[tokio::test]
async fn expressions_that_cost_too_much_end() {
    let server = TestServer::start().await;
    let expression = "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, a + b + c + d != ''))))";
    enforce(&server, "bomb", of_config_maps(json!([{ "expression": expression }]))).await;
    let mut object = config_map("a");
    object["data"] = (0..200).map(|i| (format!("key-{i}"), json!("value"))).collect::<serde_json::Map<_, _>>().into();
    let refused = server.admin.post(CONFIG_MAPS, object).await;
    let message = refused.body["message"].as_str().expect("a message");
    assert!(message.ends_with("resulted in error: operation cancelled: actual cost limit exceeded"), "{message}");
}

#[tokio::test]
async fn a_policy_has_a_status_and_a_generation_and_faults_are_told() {
    let server = TestServer::start().await;
    let made = make(&server, POLICIES, policy("p", |_| {})).await;
    assert_eq!((&made["metadata"]["generation"], &made["spec"]["failurePolicy"]), (&json!(1), &json!("Fail")));
    let path = format!("{GROUP}/{POLICIES}/p");
    let status = json!({ "spec": { "failurePolicy": "Ignore" }, "status": { "observedGeneration": 1 } });
    let told = server.admin.patch(&format!("{path}/status"), "application/merge-patch+json", status).await.expect(200);
    assert_eq!((&told["status"]["observedGeneration"], &told["spec"]["failurePolicy"]), (&json!(1), &json!("Fail")));
    let changed = json!({ "spec": { "failurePolicy": "Ignore" }, "status": null });
    let changed = server.admin.patch(&path, "application/merge-patch+json", changed).await.expect(200);
    assert_eq!((&changed["metadata"]["generation"], &changed["status"]["observedGeneration"]), (&json!(2), &json!(1)));
    let wrong = policy("q", |spec| spec["validations"] = json!([{ "expression": "object.spec.replicas <= most" }]));
    let refused = server.admin.post(&format!("{GROUP}/{POLICIES}"), wrong).await;
    let expected = "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"q\" is invalid: spec.validations[0].expression: Invalid value: \
         \"object.spec.replicas <= most\": compilation failed: ERROR: <input>:1:25: undeclared reference to 'most' (in container '')\n \
         | object.spec.replicas <= most\n | ........................^";
    assert_eq!((refused.status.as_u16(), refused.body["message"].as_str()), (422, Some(expected)));
}

#[tokio::test]
async fn the_audit_log_tells_what_policies_note() {
    let logs = tempfile::tempdir().expect("a directory");
    let policy_file = logs.path().join("policy.yaml");
    let rules = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, resources: [{group: apps}]}], omitStages: [RequestReceived]}";
    std::fs::write(&policy_file, rules).expect("writes");
    let path = logs.path().join("audit.log");
    let log = AuditLogConfig { path: path.clone(), max_size_megabytes: 100, max_backups: 0, max_age_days: 0 };
    let server = TestServer::start_with(|config| config.audit = Some(AuditConfig { policy_file, log })).await;
    make(
        &server,
        POLICIES,
        policy("noted", |spec| {
            spec["auditAnnotations"] = json!([
                { "key": "high", "valueExpression": "object.spec.replicas > 5 ? 'replicas: ' + string(object.spec.replicas) : ''" },
                { "key": "never", "valueExpression": "null" },
            ]);
        }),
    )
    .await;
    bind(&server, "noted", |spec| spec["validationActions"] = json!(["Audit"])).await;
    server.admin.post(DEPLOYMENTS, replicas("a", 6)).await.expect(201);
    server.stop().await;
    let text = std::fs::read_to_string(path).expect("a log");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let [event] = &events[..] else { panic!("one event: {text}") };
    let annotations = &event["annotations"];
    assert_eq!((&annotations["noted/high"], &annotations["noted/never"]), (&json!("replicas: 6"), &Value::Null));
    let failure = annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().expect("a failure");
    let failure: Value = serde_json::from_str(failure).expect("JSON");
    assert_eq!(
        failure,
        json!([{ "message": "failed expression: object.spec.replicas <= 5", "policy": "noted", "binding": "noted-binding",
            "expressionIndex": 0, "validationActions": ["Audit"] }])
    );
}
