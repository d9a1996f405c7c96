//! Do volumes hold what they should, as long as they should, and follow what changes?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, container, has, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::{Value, json};

tests![
    e2e_an_empty_dir_is_shared_and_survives_its_containers,
    e2e_config_maps_and_secrets_are_files_with_their_modes,
    e2e_changed_objects_reach_running_pods_at_once_for_all_files,
    e2e_a_new_pod_sees_the_newest_objects,
    e2e_the_pods_own_fields_are_files_that_follow,
    e2e_a_projected_volume_joins_sources,
    e2e_sub_paths_show_one_part_of_a_volume,
    e2e_host_paths_are_checked_and_made_by_type,
    e2e_a_missing_source_holds_the_pod_until_it_appears,
];

/// A container with these volume mounts.
fn mounting(name: &str, script: &str, mounts: Value) -> Value {
    with(shell(name, script), json!({"volumeMounts": mounts}))
}

fn e2e_an_empty_dir_is_shared_and_survives_its_containers(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}],
        "containers": [
            mounting("a", "echo run >> /v/runs; trap 'exit 1' USR1; while :; do sleep 0.1; done", json!([{"name": "v", "mountPath": "/v"}, {"name": "m", "mountPath": "/m"}])),
            mounting("b", "exec sleep 3600", json!([{"name": "v", "mountPath": "/other", "readOnly": true}])),
        ],
    });
    pods::start(kubectl, "sharing", spec)?;
    ensure!(
        pods::sh(kubectl, "sharing", "echo kept > /v/f; stat -c %a /v; grep ' /m ' /proc/mounts; df -k /m | tail -1")?.starts_with("777\n")
    );
    let memory = pods::sh(kubectl, "sharing", "grep ' /m ' /proc/mounts")?;
    ensure!(memory.starts_with("tmpfs ") && memory.contains("size=8192k"), "{memory}");
    let seen = kubectl.run(&["exec", "sharing", "-c", "b", "--", "cat", "/other/f", "/other/runs"])?;
    ensure!(seen == "kept\nrun\n", "{seen}");
    let refused = kubectl.fails(&["exec", "sharing", "-c", "b", "--", "touch", "/other/x"], None)?;
    ensure!(refused.contains("Read-only file system"), "{refused}");
    pods::sh_last(kubectl, "sharing", "kill -USR1 1")?;
    pods::when(kubectl, "sharing", "the restart", |pod| container(pod, "a")["restartCount"] == 1 && container(pod, "a")["ready"] == true)?;
    let kept = pods::sh(kubectl, "sharing", "cat /v/f /v/runs")?;
    ensure!(kept == "kept\nrun\nrun\n", "{kept}");
    // Another pod's volume of the same name is another.
    let look = mounting("main", "ls -A /v | wc -l", json!([{"name": "v", "mountPath": "/v"}]));
    ensure!(pods::run(kubectl, "other", json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [look]}))?.trim() == "0");
    Ok(())
}

fn e2e_config_maps_and_secrets_are_files_with_their_modes(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"one": "1", "two": "2\n"}, "binaryData": {"raw": "AP8Q"}});
    kubectl.apply(&map.to_string())?;
    kubectl.run(&["create", "secret", "generic", "s", "--from-literal=word=hush"])?;
    let spec = json!({
        "volumes": [
            {"name": "all", "configMap": {"name": "c"}},
            {"name": "some", "configMap": {"name": "c", "defaultMode": 0o440, "items": [{"key": "two", "path": "deep/two.txt"}, {"key": "one", "path": "one", "mode": 0o400}]}},
            {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
            {"name": "none", "configMap": {"name": "nobody", "optional": true}},
        ],
        "containers": [mounting(
            "main",
            "echo all=$(ls /all); echo raw=$(od -An -tx1 /all/raw | tr -d ' '); echo one=$(cat /all/one)$(stat -L -c :%a /all/one); \
             echo deep=$(cat /some/deep/two.txt)$(stat -L -c :%a /some/deep/two.txt); echo own=$(stat -L -c %a /some/one); echo some=$(ls /some); \
             echo secret=$(cat /secret/word)$(stat -L -c :%a /secret/word); echo kind=$(stat -f -c %T /secret); echo none=$(ls /none); touch /all/x || echo written=no",
            json!([{"name": "all", "mountPath": "/all"}, {"name": "some", "mountPath": "/some"}, {"name": "secret", "mountPath": "/secret"}, {"name": "none", "mountPath": "/none"}]),
        )],
    });
    let output = pods::run(kubectl, "files", spec)?;
    has(
        &output,
        &[
            ("all", "one raw two"),
            ("raw", "00ff10"),
            ("one", "1:644"),
            ("deep", "2:440"),
            ("own", "400"),
            ("some", "deep one"),
            ("secret", "hush:400"),
            ("kind", "tmpfs"),
            ("none", ""),
            ("written", "no"),
        ],
    )
}

fn e2e_changed_objects_reach_running_pods_at_once_for_all_files(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=1", "--from-literal=old=x"])?;
    kubectl.run(&["create", "secret", "generic", "s", "--from-literal=k=1"])?;
    // Both files are read through one resolution of the link, and may be gone in the middle; a mixture would be a torn update.
    let script =
        "while :; do cd -P /c/..data && x=$(cat a b 2>/dev/null); case $x in 12|21) echo torn $x; esac; sleep 0.02; done 2>/dev/null";
    let mounts =
        json!([{"name": "c", "mountPath": "/c"}, {"name": "s", "mountPath": "/s"}, {"name": "c", "mountPath": "/sub", "subPath": "a"}]);
    let spec = json!({
        "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s"}}],
        "containers": [mounting("main", script, mounts)],
    });
    pods::start(kubectl, "follower", spec)?;
    kubectl.run(&["patch", "configmap", "c", "-p", r#"{"data":{"a":"2","b":"2","old":null,"new":"y"}}"#])?;
    kubectl.run(&["patch", "secret", "s", "-p", r#"{"stringData":{"k":"2"}}"#])?;
    eventually("the files to follow", || {
        let seen = pods::sh(kubectl, "follower", "cat /c/a /c/b /c/new /s/k; ls /c")?;
        ensure!(seen == "22y2a\nb\nnew\n", "{seen:?}");
        Ok(())
    })?;
    ensure!(pods::sh(kubectl, "follower", "cat /sub")? == "1", "a subPath stays as it was");
    ensure!(kubectl.run(&["logs", "follower"])?.is_empty(), "no reader sees half of an update");
    Ok(())
}

fn e2e_a_new_pod_sees_the_newest_objects(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "c", "--from-literal=k=0"])?;
    for n in 1..4 {
        kubectl.run(&["patch", "configmap", "c", "-p", &format!(r#"{{"data":{{"k":"{n}"}}}}"#)])?;
        let main = with(
            mounting("main", "echo $K $(cat /c/k)", json!([{"name": "c", "mountPath": "/c"}])),
            json!({"env": [{"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}),
        );
        // On one node: what it remembers of the pod before must not be what this one gets.
        let spec = json!({"nodeName": "node1", "volumes": [{"name": "c", "configMap": {"name": "c"}}], "containers": [main]});
        let seen = pods::run(kubectl, &format!("pod-{n}"), spec)?;
        ensure!(seen == format!("{n} {n}\n"), "{seen:?} instead of {n}");
    }
    Ok(())
}

fn e2e_the_pods_own_fields_are_files_that_follow(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let items = json!([
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        {"path": "id/name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
    ]);
    let main = with(
        mounting("main", "exec sleep 3600", json!([{"name": "p", "mountPath": "/p"}])),
        json!({"resources": {"limits": {"memory": "48Mi"}}}),
    );
    let mut pod = pods::pod("self", json!({"volumes": [{"name": "p", "downwardAPI": {"items": items}}], "containers": [main]}));
    pod["metadata"]["annotations"] = json!({"note": "say \"hi\""});
    kubectl.run_with(&["create", "-f", "-"], &pod.to_string())?;
    pods::ready(kubectl, "self")?;
    let seen = pods::sh(
        kubectl,
        "self",
        "cd /p; cat labels; echo; cat annotations; echo; cat id/name; echo; cat memory; echo; stat -L -c %a id/name",
    )?;
    ensure!(seen == "app=\"self\"\nnote=\"say \\\"hi\\\"\"\nself\n48\n400\n", "{seen:?}");
    kubectl.run(&["label", "pod", "self", "colour=blue"])?;
    eventually("the labels to follow", || {
        let seen = pods::sh(kubectl, "self", "cat /p/labels")?;
        ensure!(seen == "app=\"self\"\ncolour=\"blue\"", "{seen:?}");
        Ok(())
    })
}

fn e2e_a_projected_volume_joins_sources(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "c", "--from-literal=a=map"])?;
    kubectl.run(&["create", "secret", "generic", "s", "--from-literal=b=secret"])?;
    let sources = json!([
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "from/map"}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "somebody", "expirationSeconds": 600}},
    ]);
    let look = "cd /all; cat from/map; echo; cat b; echo; cat name; echo; cut -d. -f2 token | tr '_-' '/+' | base64 -d 2>/dev/null; true";
    let main = mounting("main", look, json!([{"name": "p", "mountPath": "/all"}]));
    let output =
        pods::run(kubectl, "joined", json!({"volumes": [{"name": "p", "projected": {"sources": sources}}], "containers": [main]}))?;
    ensure!(output.starts_with("map\nsecret\njoined\n"), "{output}");
    ensure!(output.contains(r#""aud":["somebody"]"#) && output.contains(r#""sub":"system:serviceaccount:"#), "{output}");
    Ok(())
}

fn e2e_sub_paths_show_one_part_of_a_volume(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "c", "--from-literal=conf=text"])?;
    let mounts = json!([
        {"name": "v", "mountPath": "/part", "subPath": "deep/part"},
        {"name": "v", "mountPath": "/mine", "subPathExpr": "of-$(NAME)"},
        {"name": "c", "mountPath": "/etc/one.conf", "subPath": "conf"},
    ]);
    let main = with(
        mounting("main", "echo x > /part/f; echo y > /mine/f; cat /etc/one.conf; echo; ls /etc | grep -c conf", mounts),
        json!({"env": [{"name": "NAME", "value": "parts"}]}),
    );
    let all = mounting(
        "all",
        "until [ -e /v/of-parts/f ]; do sleep 0.1; done; cd /v; find . -type f | sort",
        json!([{"name": "v", "mountPath": "/v"}]),
    );
    let volumes = json!([{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]);
    ensure!(pods::run(kubectl, "parts", json!({"volumes": volumes, "containers": [main, all]}))?.starts_with("text\n"));
    let seen = kubectl.run(&["logs", "parts", "-c", "all"])?;
    ensure!(seen == "./deep/part/f\n./of-parts/f\n", "{seen}");
    Ok(())
}

fn e2e_host_paths_are_checked_and_made_by_type(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let root = format!("/tmp/orknet-e2e-{}", kubectl.namespace());
    let path = |kind: &str, path: &str| {
        json!({"nodeName": "node1", "restartPolicy": "Never", "volumes": [{"name": "h", "hostPath": {"path": format!("{root}/{path}"), "type": kind}}],
        "containers": [mounting("main", "stat -c %F /h", json!([{"name": "h", "mountPath": "/h"}]))]})
    };
    let result = (|| {
        ensure!(pods::run(kubectl, "made-dir", path("DirectoryOrCreate", "dir"))? == "directory\n");
        ensure!(pods::run(kubectl, "made-file", path("FileOrCreate", "file"))? == "regular empty file\n");
        ensure!(pods::run(kubectl, "found", path("Directory", "dir"))? == "directory\n");
        for (name, kind, at) in [
            ("not-there", "Directory", "none"),
            ("not-dir", "Directory", "file"),
            ("not-file", "File", "dir"),
            ("not-socket", "Socket", "file"),
        ] {
            pods::create(kubectl, name, path(kind, at))?;
            let message = pods::event(kubectl, name, "FailedMount")?;
            ensure!(message.starts_with("MountVolume.SetUp failed for volume \"h\" : hostPath type check failed:"), "{name}: {message}");
            let pod = kubectl.json(&["get", "pod", name])?;
            ensure!(container(&pod, "main")["state"]["waiting"]["reason"] == "ContainerCreating", "{}", pod["status"]);
        }
        Ok(())
    })();
    // The node is on this host, and so are its files.
    let _ = std::fs::remove_dir_all(&root);
    result
}

fn e2e_a_missing_source_holds_the_pod_until_it_appears(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = |volume: Value| json!({"volumes": [with(json!({"name": "v"}), volume)], "containers": [mounting("main", "cat /v/k; echo; exec sleep 3600", json!([{"name": "v", "mountPath": "/v"}]))]});
    pods::create(kubectl, "no-map", spec(json!({"configMap": {"name": "later"}})))?;
    pods::create(kubectl, "no-secret", spec(json!({"secret": {"secretName": "later"}})))?;
    for (name, kind) in [("no-map", "configmap"), ("no-secret", "secret")] {
        let message = pods::event(kubectl, name, "FailedMount")?;
        ensure!(message == format!("MountVolume.SetUp failed for volume \"v\" : {kind} \"later\" not found"), "{message}");
        let pod = kubectl.json(&["get", "pod", name])?;
        ensure!(
            container(&pod, "main")["state"]["waiting"]["reason"] == "ContainerCreating" && pod["status"]["phase"] == "Pending",
            "{}",
            pod["status"]
        );
    }
    kubectl.run(&["create", "configmap", "later", "--from-literal=k=here"])?;
    kubectl.run(&["create", "secret", "generic", "later", "--from-literal=k=here"])?;
    for name in ["no-map", "no-secret"] {
        pods::ready(kubectl, name)?;
        eventually("the file's text", || {
            let said = kubectl.run(&["logs", name])?;
            ensure!(said == "here\n", "{name}: {said:?}");
            Ok(())
        })?;
    }
    Ok(())
}
