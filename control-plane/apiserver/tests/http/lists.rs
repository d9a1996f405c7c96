//! Lists: selection, pages of one snapshot, versions.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, version};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

async fn filled(count: usize) -> TestServer {
    let server = TestServer::start().await;
    for index in 0..count {
        server.admin.post(CONFIG_MAPS, config_map(&format!("c{index}"))).await.expect(201);
    }
    server
}

#[tokio::test]
async fn a_list_has_everything_written_before_it() {
    let server = filled(0).await;
    for index in 0..20 {
        server.admin.post(CONFIG_MAPS, config_map(&format!("c{index}"))).await.expect(201);
        assert_eq!(names(&server.admin.get(CONFIG_MAPS).await.expect(200)).len(), index + 1);
    }
}

#[tokio::test]
async fn labels_and_fields_select() {
    let server = filled(3).await;
    let get = async |query: &str| server.admin.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(200);
    assert_eq!(names(&get("labelSelector=app+in+(c0,c2)").await), ["c0", "c2"]);
    assert_eq!(names(&get("labelSelector=app!%3Dc0").await), ["c1", "c2"]);
    assert_eq!(names(&get("fieldSelector=metadata.name%3Dc1").await), ["c1"]);
    let all = server.admin.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault").await.expect(200);
    assert_eq!(names(&all).len(), 3);
}

#[tokio::test]
async fn pages_are_of_one_snapshot() {
    let server = filled(5).await;
    let first = server.admin.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["c0", "c1"], &json!(3)));
    server.admin.delete(&format!("{CONFIG_MAPS}/c3")).await.expect(200);
    server.admin.post(CONFIG_MAPS, config_map("c22")).await.expect(201);
    let mut seen = Vec::new();
    let mut token = first["metadata"]["continue"].as_str().expect("more").to_owned();
    while !token.is_empty() {
        let page = server.admin.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
        assert_eq!(version(&page), version(&first));
        seen.extend(names(&page).into_iter().map(str::to_owned));
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(seen, ["c2", "c3", "c4"]);
}

#[tokio::test]
async fn pages_of_selected_objects_are_full() {
    let server = filled(6).await;
    let query = "limit=2&labelSelector=app+notin+(c0,c2)";
    let first = server.admin.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(200);
    assert_eq!((names(&first), first["metadata"].get("remainingItemCount")), (vec!["c1", "c3"], None));
    let token = first["metadata"]["continue"].as_str().expect("more");
    let second = server.admin.get(&format!("{CONFIG_MAPS}?{query}&continue={token}")).await.expect(200);
    assert_eq!((names(&second), second["metadata"].get("continue")), (vec!["c4", "c5"], None));
}

#[tokio::test]
async fn versions_of_the_past_can_be_listed_and_those_of_the_future_cannot() {
    let server = filled(2).await;
    let before = version(&server.admin.get(CONFIG_MAPS).await.expect(200));
    server.admin.delete(&format!("{CONFIG_MAPS}/c0")).await.expect(200);
    let exact = server.admin.get(&format!("{CONFIG_MAPS}?resourceVersion={before}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), version(&exact)), (vec!["c0", "c1"], before));
    let newer = server.admin.get(&format!("{CONFIG_MAPS}?resourceVersion={before}&resourceVersionMatch=NotOlderThan")).await.expect(200);
    assert!(version(&newer) >= before);
    assert_eq!(names(&server.admin.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await.expect(200)), ["c1"]);
    let future = before + 1_000_000;
    server.admin.get(&format!("{CONFIG_MAPS}?resourceVersion={future}")).await.refused(504, "Timeout");
}

#[tokio::test]
async fn tables_have_a_cell_for_every_column() {
    let server = filled(2).await;
    let tables = server.admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let table = tables.get(CONFIG_MAPS).await.expect(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns = table["columnDefinitions"].as_array().expect("columns").len();
    let rows = table["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["cells"].as_array().map(Vec::len) == Some(columns)));
    assert_eq!((&rows[0]["object"]["kind"], &rows[0]["object"]["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("c0")));
    let whole = tables.get(&format!("{CONFIG_MAPS}/c0?includeObject=Object")).await.expect(200);
    assert_eq!(whole["rows"][0]["object"]["data"]["k"], "v");
}

#[tokio::test]
async fn metadata_can_be_asked_for_alone() {
    let server = filled(1).await;
    let partial = server.admin.with_header("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let list = partial.get(CONFIG_MAPS).await.expect(200);
    assert_eq!((&list["kind"], list["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
}

#[tokio::test]
async fn the_past_is_forgotten_after_a_while_and_the_present_is_not() {
    let server = TestServer::start_with(|config| config.compaction_interval = std::time::Duration::from_millis(50)).await;
    for index in 0..3 {
        server.admin.post(CONFIG_MAPS, config_map(&format!("c{index}"))).await.expect(201);
    }
    let first = server.admin.get(&format!("{CONFIG_MAPS}?limit=1")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().expect("more").to_owned();
    let old = format!("{CONFIG_MAPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&first));
    // The store forgets only what has been superseded.
    server.admin.delete(&format!("{CONFIG_MAPS}/c2")).await.expect(200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut answer = server.admin.get(&old).await;
    while answer.status != 410 {
        assert!(std::time::Instant::now() < deadline, "the past is still there: {}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        answer = server.admin.get(&old).await;
    }
    answer.refused(410, "Expired");
    let message = server.admin.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await.refused(410, "Expired");
    assert!(message.starts_with("The provided continue parameter is too old"), "{message}");
    // With the token that comes with it the list goes on, though not as of one time.
    let status = server.admin.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    let token = status.body["metadata"]["continue"].as_str().expect("a token").to_owned();
    let rest = server.admin.get(&format!("{CONFIG_MAPS}?continue={token}")).await.expect(200);
    assert!(!names(&rest).is_empty() && !names(&rest).contains(&names(&first)[0]), "{rest}");
    assert_eq!(names(&server.admin.get(CONFIG_MAPS).await.expect(200)), ["c0", "c1"]);
}

#[tokio::test]
async fn what_a_list_cannot_be_of_is_said_in_kubernetes_words() {
    let server = TestServer::start().await;
    let said = async |query: &str| server.admin.get(&format!("{CONFIG_MAPS}?{query}")).await.refused(400, "BadRequest");
    let invalid = r#"invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#;
    assert_eq!(said("resourceVersion=x").await, invalid);
    assert!(said("continue=x").await.starts_with("invalid continue token: continue key is not valid: "));
}

#[tokio::test]
async fn lists_are_set_out_in_lines_for_people_and_kept_by_nobody() {
    let server = filled(1).await;
    let plain = server.admin.get(CONFIG_MAPS).await;
    assert!(!plain.text.contains('\n') && plain.headers["cache-control"] == "no-cache, private", "{:?}", plain.headers);
    let curl = server.admin.with_header("user-agent", "curl/8.5.0");
    for shown in [server.admin.get(&format!("{CONFIG_MAPS}?pretty=true")).await, curl.get(CONFIG_MAPS).await] {
        assert!(shown.text.starts_with("{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"ConfigMapList\",\n"), "{}", shown.text);
        assert_eq!(shown.body["items"], plain.body["items"]);
    }
    // The store's revision may have moved: the server writes objects of its own.
    let asked = curl.get(&format!("{CONFIG_MAPS}?pretty=false")).await;
    assert!(!asked.text.contains('\n') && asked.body["items"] == plain.body["items"], "{}", asked.text);
    let document = server.admin.get("/openapi/v3").await;
    let url = document.body["paths"]["api/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    assert_eq!(server.admin.get(&url).await.headers["cache-control"], "public, immutable");
}
