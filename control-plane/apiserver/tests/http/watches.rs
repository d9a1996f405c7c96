//! Watches: where they begin, what they tell, how they end.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, version};
use serde_json::{Value, json};

fn pair(event: &str, name: &str) -> (String, String) {
    (event.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let list = server.admin.get(CONFIG_MAPS).await.expect(200);
    let created = server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", version(&list))).await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]), (&json!("ADDED"), &created));
    let mut changed = created.clone();
    changed["data"]["k"] = json!("w");
    server.admin.put(&format!("{CONFIG_MAPS}/b"), changed).await.expect(200);
    assert_eq!(watch.next_named().await, pair("MODIFIED", "b"));
    server.admin.delete(&format!("{CONFIG_MAPS}/b")).await.expect(200);
    let event = watch.next().await.expect("an event");
    assert_eq!(event["type"], "DELETED");
    assert!(version(&event["object"]) > version(&created), "a deletion has its own version");
}

#[tokio::test]
async fn without_a_version_a_watch_begins_with_what_is_there() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    for query in ["watch=1", "watch=true&resourceVersion=0"] {
        let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    }
}

#[tokio::test]
async fn objects_that_cease_to_match_are_told_as_deleted() {
    let server = TestServer::start().await;
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Da")).await;
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    let label = |value: &str| json!({ "metadata": { "labels": { "app": value } } });
    let path = format!("{CONFIG_MAPS}/a");
    let moved = server.admin.patch(&path, "application/merge-patch+json", label("x")).await.expect(200);
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["metadata"]["labels"]["app"]), (&json!("DELETED"), &json!("a")));
    assert_eq!(version(&event["object"]), version(&moved));
    server.admin.patch(&path, "application/merge-patch+json", label("a")).await.expect(200);
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    assert!(version(&created) < version(&moved));
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(version(&bookmark["object"]) > 0);
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark_where_it_is() {
    let server = TestServer::start().await;
    let list = server.admin.get(CONFIG_MAPS).await.expect(200);
    // Changes of other kinds move the bookmark.
    let other = json!({ "metadata": { "name": "s" } });
    let other = server.admin.post("/api/v1/namespaces/default/secrets", other).await.expect(201);
    let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={}", version(&list));
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert!(version(&bookmark["object"]) >= version(&other));
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK");
    }
}

#[tokio::test]
async fn a_version_that_is_no_longer_known_has_expired() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let directory = server.stop().await;
    // A new process knows nothing of what came before it.
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=1")).await;
    let event = watch.next().await.expect("an event");
    let status = &event["object"];
    assert_eq!((&event["type"], &status["code"], &status["reason"]), (&json!("ERROR"), &json!(410), &json!("Expired")));
    assert!(status["message"].as_str().is_some_and(|message| message.starts_with("too old resource version: 1 (")), "{status}");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_and_holds_nobody_up() {
    let server = TestServer::start().await;
    let mut slow = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    let mut fast = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    let mut object = config_map("a");
    object["data"]["k"] = json!("x".repeat(300_000));
    server.admin.post(CONFIG_MAPS, object).await.expect(201);
    assert_eq!(fast.next_named().await, pair("ADDED", "a"));
    for round in 0..110 {
        let patch = json!({ "metadata": { "labels": { "round": round.to_string() } } });
        server.admin.patch(&format!("{CONFIG_MAPS}/a"), "application/merge-patch+json", patch).await.expect(200);
        assert_eq!(fast.next_named().await, pair("MODIFIED", "a"));
    }
    let mut last = Value::Null;
    while let Some(event) = slow.next().await {
        last = event;
    }
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)));
}

#[tokio::test]
async fn tables_and_metadata_can_be_watched() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    let tables = server.admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let mut watch = tables.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    let first = watch.next().await.expect("an event");
    assert!(first["object"]["columnDefinitions"].is_array());
    let second = watch.next().await.expect("an event");
    assert_eq!((&second["object"]["kind"], second["object"]["columnDefinitions"].is_array()), (&json!("Table"), false));
    assert_eq!(second["object"]["rows"][0]["object"]["metadata"]["name"], "b");
}

#[tokio::test]
async fn the_watches_of_one_user_at_one_address_take_no_more_than_is_set() {
    // Two of 8 KiB, and not a third.
    let server = TestServer::start_with(|config| config.connections.watch_bytes_per_user = 20 << 10).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=app");
    let (mut one, mut two) = (server.admin.watch(&path).await, server.admin.watch(&path).await);
    for watch in [&mut one, &mut two] {
        assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    }
    let refused = server.admin.get(&path).await;
    assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (429, &json!("TooManyRequests")));
    let mut others = server.client("other", Some("system:masters")).watch(&path).await;
    assert_eq!(others.next_named().await, pair("ADDED", "a"));
    // What is larger than what is left ends a watch, and no part of it was sent.
    let mut large = config_map("large");
    large["data"]["k"] = json!("x".repeat(30_000));
    server.admin.post(CONFIG_MAPS, large).await.expect(201);
    for watch in [&mut one, &mut two, &mut others] {
        assert_eq!(watch.next().await, None);
    }
    assert_eq!(server.admin.watch(&format!("{path}&fieldSelector=metadata.name%3Da")).await.next_named().await, pair("ADDED", "a"));
}
