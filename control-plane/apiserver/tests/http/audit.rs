//! The audit log: what it tells of whom, and what it keeps to itself.

use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use orknet_apiserver::{AuditConfig, AuditLogConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server with an audit log, and the directory of the log.
struct Audited {
    server: TestServer,
    logs: TempDir,
}

impl Audited {
    /// `rules`: those of the policy, in YAML.
    async fn start(rules: &str) -> Self {
        let logs = tempfile::tempdir().expect("a directory");
        let policy_file = logs.path().join("policy.yaml");
        std::fs::write(&policy_file, format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{rules}]}}")).expect("writes");
        let log = AuditLogConfig { path: logs.path().join("audit.log"), max_size_megabytes: 100, max_backups: 0, max_age_days: 0 };
        let server = TestServer::start_with(|config| config.audit = Some(AuditConfig { policy_file, log })).await;
        Self { server, logs }
    }

    /// Stops the server; the log as a whole, and its events.
    async fn end(self) -> (String, Vec<Value>) {
        self.server.stop().await;
        let text = std::fs::read_to_string(self.logs.path().join("audit.log")).expect("a log");
        let events = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        (text, events)
    }
}

/// The stages of the events, in their order.
fn stages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["stage"].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_write_is_told_from_its_beginning_to_its_end_with_both_bodies() {
    let audited = Audited::start("{level: RequestResponse, resources: [{resources: [configmaps]}], users: [admin]}").await;
    let admin = audited.server.admin.with_header("user-agent", "tests/1").with_header("audit-id", "mine");
    let answer = admin.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(answer.headers["audit-id"], "mine");
    let made = answer.expect(201);
    audited.server.admin.get("/api/v1/nodes").await.expect(200);
    let (_, events) = audited.end().await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    let end = &events[1];
    assert_eq!((&end["kind"], &end["apiVersion"], &end["level"]), (&json!("Event"), &json!("audit.k8s.io/v1"), &json!("RequestResponse")));
    assert_eq!((&end["auditID"], &end["verb"], &end["requestURI"]), (&json!("mine"), &json!("create"), &json!(CONFIG_MAPS)));
    let who = &end["user"];
    assert_eq!((&who["username"], &who["groups"]), (&json!("admin"), &json!(["system:masters", "system:authenticated"])));
    assert!(
        who["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().is_some_and(|id| id.starts_with("X509SHA256=")),
        "{who}"
    );
    assert_eq!((&end["sourceIPs"], &end["userAgent"]), (&json!(["127.0.0.1"]), &json!("tests/1")));
    assert_eq!(end["objectRef"], json!({ "resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1" }));
    assert_eq!((&end["requestObject"], &end["responseObject"]), (&config_map("a"), &made));
    assert_eq!(end["responseStatus"], json!({ "metadata": {}, "code": 201 }));
    assert_eq!(end["annotations"]["authorization.k8s.io/decision"], "allow");
    assert!(end["requestReceivedTimestamp"].as_str() <= end["stageTimestamp"].as_str());
    assert_eq!((&events[0]["requestObject"], &events[0]["responseStatus"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn at_the_level_of_metadata_no_body_is_told() {
    let audited = Audited::start("{level: Metadata, resources: [{resources: [secrets]}]}").await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "k": "hidden-text" } });
    audited.server.admin.post(secrets, secret).await.expect(201);
    audited.server.admin.get(&format!("{secrets}/s")).await.expect(200);
    audited.server.admin.delete(&format!("{secrets}/s")).await.expect(200);
    let (text, events) = audited.end().await;
    assert_eq!(events.len(), 6);
    assert!(!text.contains("hidden-text") && !text.contains("aGlkZGVuLXRleHQ") && !text.contains("requestObject"), "{text}");
    assert_eq!(events[5]["responseStatus"]["status"], "Success", "a deletion's Status has no body's content");
    assert!(events[5]["responseStatus"]["details"]["uid"].is_string());
}

#[tokio::test]
async fn refusals_are_told_with_their_reason() {
    let audited = Audited::start("{level: Metadata, verbs: [list], omitStages: [RequestReceived]}").await;
    let bob = audited.server.client("bob", None);
    bob.get(CONFIG_MAPS).await.refused(403, "Forbidden");
    let forger = audited.server.stranger().with_header("authorization", "Bearer nonsense");
    forger.get(CONFIG_MAPS).await.refused(401, "Unauthorized");
    let acting = audited.server.admin.with_header("impersonate-user", "ann");
    acting.get(CONFIG_MAPS).await.refused(403, "Forbidden");
    let (_, events) = audited.end().await;
    assert_eq!(stages(&events), ["ResponseComplete", "ResponseStarted", "ResponseComplete"]);
    let told = |event: &Value| (event["user"]["username"].as_str().unwrap_or_default().to_owned(), event["responseStatus"]["code"].clone());
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [("bob".into(), json!(403)), (String::new(), json!(401)), ("admin".into(), json!(403))]
    );
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!((&events[0]["responseStatus"]["reason"], &events[0]["responseStatus"]["status"]), (&json!("Forbidden"), &json!("Failure")));
    assert_eq!(events[2]["impersonatedUser"]["username"], "ann");
}

#[tokio::test]
async fn a_watch_is_complete_when_it_ends() {
    let audited = Audited::start("{level: RequestResponse, verbs: [watch], users: [admin]}").await;
    audited.server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let mut watch = audited.server.admin.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.next_named().await, ("ADDED".into(), "a".into()));
    while watch.next().await.is_some() {}
    let (_, events) = audited.end().await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    assert_eq!(events[2]["responseObject"], Value::Null);
    let time = |event: &Value| event["stageTimestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok()).expect("a time");
    assert!(time(&events[2]).duration_since(time(&events[1])).as_millis() >= 300, "with its body, not with its head");
}

#[tokio::test]
async fn patches_and_lists_are_told_without_managed_fields_where_so_wished() {
    let audited = Audited::start(
        "{level: RequestResponse, resources: [{resources: [configmaps]}], omitManagedFields: true, omitStages: [RequestReceived]}",
    )
    .await;
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n";
    let path = format!("{CONFIG_MAPS}/a?fieldManager=me");
    audited.server.admin.send("PATCH", &path, "application/apply-patch+yaml", apply).await.expect(201);
    audited.server.admin.get(CONFIG_MAPS).await.expect(200);
    let (text, events) = audited.end().await;
    let by_admin: Vec<&Value> = events.iter().filter(|event| event["user"]["username"] == "admin").collect();
    assert_eq!(
        by_admin[0]["requestObject"],
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": "v" } })
    );
    let listed = by_admin[1]["responseObject"]["items"].as_array().expect("items");
    assert!(listed.iter().any(|item| item["metadata"]["name"] == "a"));
    assert!(!text.contains("managedFields"), "{text}");
}

#[tokio::test]
async fn a_server_does_not_start_with_a_policy_that_it_cannot_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let policy_file = directory.path().join("policy.yaml");
    std::fs::write(&policy_file, "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Everything}]}").expect("writes");
    let log = AuditLogConfig { path: directory.path().join("audit.log"), max_size_megabytes: 1, max_backups: 0, max_age_days: 0 };
    let store = crate::harness::open(directory.path()).await;
    let config = orknet_apiserver::Config {
        listeners: vec![orknet_apiserver::Listener::Address(([127, 0, 0, 1], 0).into())],
        pki_dir: directory.path().join("pki"),
        audit: Some(AuditConfig { policy_file, log }),
        ..Default::default()
    };
    let Err(error) = orknet_apiserver::start(config, store, Default::default()).await else { panic!("starts") };
    let mut told = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        told += &format!("{error}: ");
        cause = error.source();
    }
    assert!(told.contains("policy.yaml") && told.contains("Everything"), "{told}");
}

#[tokio::test]
async fn what_webhooks_did_is_told() {
    use crate::webhooks::hook_server::{HookServer, Reply};
    use crate::webhooks::{MUTATING, VALIDATING, configure, hook, patch};
    let audited = Audited::start("{level: Request, resources: [{resources: [configmaps]}]}").await;
    let changing = HookServer::start(|_| {
        let mut answer = patch(json!([{ "op": "add", "path": "/data/added", "value": "yes" }]));
        answer["auditAnnotations"] = json!({ "why": "because", "not/mine": "x" });
        Reply::Response(answer)
    })
    .await;
    let failing = HookServer::start(|_| Reply::Raw(500, "".into())).await;
    let open = |hook: &mut Value| hook["failurePolicy"] = json!("Ignore");
    configure(&audited.server, MUTATING, "c", json!([hook(&failing, "a.example.com", open), hook(&changing, "b.example.com", |_| {})]))
        .await;
    configure(&audited.server, VALIDATING, "v", json!([hook(&failing, "c.example.com", open)])).await;
    audited.server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let (_, events) = audited.end().await;
    let told = events.last().expect("an event")["annotations"].as_object().expect("annotations").clone();
    let of = |key: &str| told.get(key).and_then(Value::as_str).map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    let at = "webhook.admission.k8s.io/round_0_index";
    assert_eq!(of("b.example.com/why"), Some(json!("because")));
    assert_eq!(of(&format!("mutation.{at}_0")), Some(json!({ "configuration": "c", "webhook": "a.example.com", "mutated": false })));
    assert_eq!(of(&format!("mutation.{at}_1")), Some(json!({ "configuration": "c", "webhook": "b.example.com", "mutated": true })));
    let patch = json!([{ "op": "add", "path": "/data/added", "value": "yes" }]);
    let expected = json!({ "configuration": "c", "webhook": "b.example.com", "patch": patch, "patchType": "JSONPatch" });
    assert_eq!(of(&format!("patch.{at}_1")), Some(expected));
    assert_eq!(of(&format!("failed-open.mutation.{at}_0")), Some(json!("a.example.com")));
    assert_eq!(of(&format!("failed-open.validating.{at}_0")), Some(json!("c.example.com")));
    assert!(!told.keys().any(|key| key.contains("mine")), "{told:?}");
}
