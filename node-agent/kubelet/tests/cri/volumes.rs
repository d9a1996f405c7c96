//! Volumes as containers see them.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use super::node::{Node, is_true, shell_pod};

#[tokio::test(flavor = "multi_thread")]
async fn root_volumes_have_their_content_modes_and_owners() -> Result<()> {
    let node = Node::start().await?;
    node.state.send_modify(|s| {
        let map = serde_json::from_value(json!({"data": {"a": "map", "b": "other"}})).unwrap();
        let secret = serde_json::from_value(json!({"data": {"p": "c2VjcmV0"}})).unwrap();
        s.config_maps.insert("cm".into(), Arc::new(map));
        s.secrets.insert("s".into(), Arc::new(secret));
    });
    let script = "cat /p/x/a /p/p /p/token /p/labels; echo; stat -L -c '%a %g' /p/p; cat /sub; echo; stat -f -c %T /mem; stat -c '%a %g' /mem; \
        touch /p/new 2>&1; ls /exp; echo done; exec sleep 1000";
    let projected = json!({"defaultMode": 0o400, "sources": [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x/a"}]}},
        {"secret": {"name": "s"}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]});
    let more = json!({"securityContext": {"fsGroup": 1234},
        "volumes": [{"name": "p", "projected": projected}, {"name": "cm", "configMap": {"name": "cm"}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "containers": [{"env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
            "volumeMounts": [{"name": "p", "mountPath": "/p"}, {"name": "cm", "mountPath": "/sub", "subPath": "b"}, {"name": "mem", "mountPath": "/mem"},
                {"name": "mem", "mountPath": "/exp", "subPathExpr": "of-$(POD)"}]}]});
    let pod = shell_pod("vols", script, more);
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    let log = node.log(&pod, "main", 0);
    let want = "mapsecrettoken-of-defaultapp=\"vols\"\n440 1234\nother\ntmpfs\n2777 1234\ntouch: /p/new: Read-only file system\ndone\n";
    assert_eq!(log, want);
    assert!(node.context.paths.volume("uid-vols", "empty-dir", "mem").join("of-vols").is_dir());
    // A change reaches the files as soon as the worker is told; a sub-path stays as it was.
    node.state.send_modify(|s| {
        let map = serde_json::from_value(json!({"data": {"a": "changed", "b": "changed"}})).unwrap();
        s.config_maps.insert("cm".into(), Arc::new(map));
        s.followers.iter().for_each(|worker| worker.notify_one());
    });
    let file = node.context.paths.volume("uid-vols", "projected", "p").join("x/a");
    node.until_true(|| std::fs::read_to_string(&file).is_ok_and(|text| text == "changed")).await?;
    let sub = node.context.paths.sub_paths("uid-vols").join("cm/main/0/1");
    assert_eq!(std::fs::read_to_string(sub)?, "other");
    node.delete(&pod, 0).await?;
    node.until_removed(&pod).await?;
    node.until_clean(&pod).await?;
    Ok(())
}
