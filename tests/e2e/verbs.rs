//! Do kubectl's verbs that make and change single objects do what they say? (Apply, rollouts, deletion and nodes have files of their own.)

use anyhow::{Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};
use serde_json::{Value, json};

tests![
    e2e_create_makes_every_kind_it_has_a_command_for,
    e2e_replace_and_edit_change_whole_objects,
    e2e_patches_of_all_types_change_what_they_say,
    e2e_labels_and_annotations_are_set_and_removed,
    e2e_scale_and_autoscale_change_the_number_of_pods,
    e2e_set_changes_images_environment_resources_and_more,
    e2e_wait_waits_for_conditions_values_and_deletion,
    e2e_run_and_expose_make_a_service_of_a_pod,
    e2e_status_and_scale_are_separate_from_the_object,
    e2e_names_can_be_generated,
];

const IMAGE: &str = pods::BUSYBOX;

fn field(kubectl: &Kubectl, what: &str, path: &str) -> Result<String> {
    kubectl.run(&["get", what, "-o", &format!("jsonpath={{{path}}}")])
}

fn e2e_create_makes_every_kind_it_has_a_command_for(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let account = format!("--serviceaccount={}:robot", kubectl.namespace());
    let image = format!("--image={IMAGE}");
    let cases: &[(&[&str], &str)] = &[
        (&["configmap", "a", "--from-literal=k=v", "--from-file=/etc/hostname"], "configmap/a"),
        (&["secret", "generic", "a", "--from-literal=k=v"], "secret/a"),
        (&["secret", "docker-registry", "b", "--docker-server=s", "--docker-username=u", "--docker-password=p"], "secret/b"),
        (&["serviceaccount", "robot"], "serviceaccount/robot"),
        (&["service", "clusterip", "a", "--tcp=80:8080"], "service/a"),
        (&["service", "clusterip", "b", "--clusterip=None"], "service/b"),
        (&["service", "nodeport", "c", "--tcp=80"], "service/c"),
        (&["service", "loadbalancer", "d", "--tcp=80"], "service/d"),
        (&["service", "externalname", "e", "--external-name=x.y"], "service/e"),
        (&["deployment", "a", &image, "--replicas=0", "--port=80"], "deployment.apps/a"),
        (&["job", "a", &image, "--", "true"], "job.batch/a"),
        (&["cronjob", "a", &image, "--schedule=*/5 * * * *", "--", "true"], "cronjob.batch/a"),
        (&["job", "b", "--from=cronjob/a"], "job.batch/b"),
        (&["role", "a", "--verb=get,list", "--resource=pods,deployments.apps"], "role.rbac.authorization.k8s.io/a"),
        (&["rolebinding", "a", "--role=a", &account], "rolebinding.rbac.authorization.k8s.io/a"),
        (&["ingress", "a", "--class=c", "--rule=x.y/z*=a:80"], "ingress.networking.k8s.io/a"),
        (&["poddisruptionbudget", "a", "--selector=x=y", "--min-available=1"], "poddisruptionbudget.policy/a"),
        (&["quota", "a", "--hard=pods=100"], "resourcequota/a"),
    ];
    for (arguments, made) in cases {
        let said = kubectl.run(&[&["create"], *arguments].concat())?;
        ensure!(said == format!("{made} created\n"), "{arguments:?}: {said}");
        kubectl.run(&["get", made])?;
    }
    ensure!(field(kubectl, "configmap/a", ".data.k")? == "v");
    ensure!(field(kubectl, "secret/a", ".data.k")? == "dg==");
    ensure!(field(kubectl, "service/b", ".spec.clusterIP")? == "None");
    ensure!(
        field(kubectl, "job/a", ".spec.selector.matchLabels.batch\\.kubernetes\\.io/controller-uid")?
            == field(kubectl, "job/a", ".metadata.uid")?
    );
    let token = kubectl.run(&["create", "token", "robot", "--duration=10m"])?;
    ensure!(token.trim().split('.').count() == 3, "{token}");
    let prefix = kubectl.namespace();
    let (role, binding, class) = (format!("{prefix}-r"), format!("{prefix}-b"), format!("{prefix}-p"));
    let wide: &[&[&str]] = &[
        &["clusterrole", &role, "--verb=get", "--resource=nodes"],
        &["clusterrolebinding", &binding, &format!("--clusterrole={role}"), "--user=bob"],
        &["priorityclass", &class, "--value=10"],
    ];
    for arguments in wide {
        kubectl.run(&[&["create"], *arguments].concat())?;
        kubectl.run(&["delete", arguments[0], arguments[1]])?;
    }
    let said = kubectl.fails(&["create", "configmap", "a"], None)?;
    ensure!(said == "error: failed to create configmap: configmaps \"a\" already exists\n", "{said}");
    Ok(())
}

fn e2e_replace_and_edit_change_whole_objects(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let object =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}}).to_string();
    kubectl.run_with(&["create", "-f", "-"], &object("1"))?;
    let uid = field(kubectl, "configmap/a", ".metadata.uid")?;
    kubectl.run(&["label", "configmap", "a", "x=y"])?;
    ensure!(kubectl.run_with(&["replace", "-f", "-"], &object("2"))? == "configmap/a replaced\n");
    let replaced = kubectl.json(&["get", "configmap", "a"])?;
    ensure!(replaced["metadata"].get("labels").is_none() && replaced["metadata"]["uid"] == uid.as_str(), "{replaced}");
    kubectl.run_with(&["replace", "--force", "-f", "-"], &object("3"))?;
    ensure!(field(kubectl, "configmap/a", ".metadata.uid")? != uid, "made anew");
    let said = kubectl.fails(&["replace", "-f", "-"], Some(&object("4").replace("\"a\"", "\"none\"")))?;
    ensure!(said.contains("configmaps \"none\" not found"), "{said}");
    let edit = |script: &str| {
        let mut command = kubectl.command(&["edit", "configmap", "a"]);
        command.env("KUBE_EDITOR", script).output().map_err(anyhow::Error::from)
    };
    let edited = edit("sed -i s/'k: \"3\"'/'k: edited'/")?;
    ensure!(edited.status.success() && edited.stdout == b"configmap/a edited\n", "{edited:?}");
    ensure!(field(kubectl, "configmap/a", ".data.k")? == "edited");
    let unchanged = edit("true")?;
    ensure!(String::from_utf8_lossy(&unchanged.stderr).contains("Edit cancelled, no changes made"), "{unchanged:?}");
    let wrong = edit("sed -i s/'k: edited'/'b@d: x'/")?;
    ensure!(!wrong.status.success() && field(kubectl, "configmap/a", ".data.k")? == "edited", "{wrong:?}");
    Ok(())
}

fn e2e_patches_of_all_types_change_what_they_say(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "a", &format!("--image={IMAGE}"), "--replicas=0"])?;
    let patch = |kind: &str, patch: &str| kubectl.output(&["patch", "deployment", "a", "--type", kind, "-p", patch], None);
    let containers =
        || Ok::<_, anyhow::Error>(kubectl.json(&["get", "deployment", "a"])?["spec"]["template"]["spec"]["containers"].clone());
    let names = |containers: &Value| -> Vec<String> {
        containers.as_array().into_iter().flatten().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let two = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"i"},{"name":"busybox","env":[{"name":"A","value":"1"}]}]}}}}"#;
    ensure!(patch("strategic", two)?.stdout == "deployment.apps/a patched\n");
    ensure!(names(&containers()?).len() == 2, "merged by name: {}", containers()?);
    ensure!(patch("strategic", two)?.stdout == "deployment.apps/a patched (no change)\n");
    let one = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}"#;
    patch("strategic", one)?;
    ensure!(names(&containers()?) == ["busybox"], "{}", containers()?);
    patch(
        "merge",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"i"}]}}},"metadata":{"labels":{"app":null,"x":"y"}}}"#,
    )?;
    ensure!(names(&containers()?) == ["only"], "a merge patch replaces lists: {}", containers()?);
    ensure!(kubectl.json(&["get", "deployment", "a"])?["metadata"]["labels"] == json!({"x": "y"}));
    let json = r#"[{"op":"test","path":"/spec/replicas","value":0},{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"more","image":"i"}},
        {"op":"replace","path":"/spec/minReadySeconds","value":1},{"op":"copy","from":"/metadata/labels/x","path":"/metadata/labels/z"}]"#;
    patch("json", &json.replace("\"op\":\"replace\"", "\"op\":\"add\""))?;
    ensure!(names(&containers()?) == ["only", "more"] && field(kubectl, "deployment/a", ".metadata.labels.z")? == "y");
    let failed = patch("json", r#"[{"op":"remove","path":"/spec/minReadySeconds"},{"op":"test","path":"/spec/replicas","value":7}]"#)?;
    ensure!(
        failed.code == 1
            && failed.stderr.starts_with("The request is invalid: the server rejected our request due to an error in our request"),
        "{failed:?}"
    );
    ensure!(field(kubectl, "deployment/a", ".spec.minReadySeconds")? == "1", "all or nothing");
    for (kind, wrong) in [("json", "{}"), ("json", r#"[{"op":"hop","path":"/a"}]"#), ("merge", "[]"), ("strategic", "1"), ("merge", "{")] {
        ensure!(patch(kind, wrong)?.code == 1, "{kind} {wrong}");
    }
    Ok(())
}

fn e2e_labels_and_annotations_are_set_and_removed(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a"])?;
    for (verb, map, past) in [("label", "labels", "labeled"), ("annotate", "annotations", "annotated")] {
        ensure!(kubectl.run(&[verb, "configmap", "a", "x=1", "p.q/y=2"])? == format!("configmap/a {past}\n"));
        let said = kubectl.fails(&[verb, "configmap", "a", "x=2"], None)?;
        ensure!(said.contains("--overwrite is false"), "{said}");
        kubectl.run(&[verb, "--overwrite", "configmap", "a", "x=3"])?;
        kubectl.run(&[verb, "configmap", "a", "p.q/y-"])?;
        ensure!(kubectl.json(&["get", "configmap", "a"])?["metadata"][map] == json!({"x": "3"}));
        let stale = kubectl.fails(&[verb, "configmap", "a", "z=1", "--resource-version=1"], None)?;
        ensure!(stale.contains("the object has been modified"), "{stale}");
    }
    kubectl.run(&["create", "configmap", "b"])?;
    kubectl.run(&["label", "configmaps", "--all", "every=one"])?;
    kubectl.run(&["label", "configmaps", "-l", "x=3", "only=a"])?;
    let shown =
        kubectl.run(&["get", "configmaps", "-L", "only,every", "--no-headers", "--field-selector=metadata.name!=kube-root-ca.crt"])?;
    let cells: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(cells.len() == 2 && cells[0][3..] == ["a", "one"] && cells[1][3..] == ["one"], "{shown}");
    Ok(())
}

fn e2e_scale_and_autoscale_change_the_number_of_pods(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "a", &format!("--image={IMAGE}"), "--replicas=1", "--", "sleep", "3600"])?;
    kubectl.run(&["patch", "deployment", "a", "-p", r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}"#])?;
    ensure!(kubectl.run(&["scale", "deployment", "a", "--replicas=3"])? == "deployment.apps/a scaled\n");
    kubectl.run(&["rollout", "status", "deployment/a", "--timeout=180s"])?;
    let said = kubectl.fails(&["scale", "deployment", "a", "--replicas=1", "--current-replicas=7"], None)?;
    ensure!(said == "error: Expected replicas to be 7, was 3\n", "{said}");
    kubectl.run(&["scale", "deployment", "a", "--replicas=0", "--current-replicas=3"])?;
    eventually("the pods to go", || {
        ensure!(kubectl.run(&["get", "pods", "-l", "app=a", "-o", "name"])?.is_empty());
        Ok(())
    })?;
    let said = kubectl.fails(&["scale", "deployment", "a", "--replicas=-1"], None)?;
    ensure!(said.contains("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"), "{said}");
    let autoscale = ["autoscale", "deployment", "a", "--min=2", "--max=5", "--cpu-percent=50"];
    kubectl.run(&autoscale)?;
    let scaler = kubectl.json(&["get", "hpa", "a"])?;
    ensure!(scaler["apiVersion"] == "autoscaling/v2" && scaler["spec"]["scaleTargetRef"]["name"] == "a", "{scaler}");
    ensure!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50, "{scaler}");
    Ok(())
}

fn e2e_set_changes_images_environment_resources_and_more(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "a", "--image=one", "--replicas=0"])?;
    kubectl.run(&["create", "configmap", "env", "--from-literal=FROM=map"])?;
    kubectl.run(&["create", "serviceaccount", "robot"])?;
    kubectl.run(&["set", "image", "deployment/a", "one=two:3"])?;
    kubectl.run(&["set", "env", "deployment/a", "A=1", "B=2"])?;
    kubectl.run(&["set", "env", "deployment/a", "B-", "--from=configmap/env"])?;
    kubectl.run(&["set", "resources", "deployment/a", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m"])?;
    kubectl.run(&["set", "serviceaccount", "deployment", "a", "robot"])?;
    let spec = kubectl.json(&["get", "deployment", "a"])?["spec"]["template"]["spec"].clone();
    let container = &spec["containers"][0];
    ensure!(container["image"] == "two:3" && spec["serviceAccountName"] == "robot", "{spec}");
    ensure!(container["resources"] == json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}), "{container}");
    let env: Vec<&str> = container["env"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    ensure!(env == ["A", "FROM"], "{env:?}");
    ensure!(kubectl.run(&["set", "env", "deployment/a", "--list"])?.contains("A=1\n"));
    kubectl.run(&["create", "service", "clusterip", "s", "--tcp=80"])?;
    kubectl.run(&["set", "selector", "service", "s", "x=y"])?;
    ensure!(kubectl.json(&["get", "service", "s"])?["spec"]["selector"] == json!({"x": "y"}));
    kubectl.run(&["create", "rolebinding", "b", "--clusterrole=view", "--user=x"])?;
    kubectl.run(&["set", "subject", "rolebinding", "b", "--user=y"])?;
    ensure!(kubectl.json(&["get", "rolebinding", "b"])?["subjects"].as_array().map(Vec::len) == Some(2));
    Ok(())
}

fn e2e_wait_waits_for_conditions_values_and_deletion(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a", "--from-literal=k=1"])?;
    let waiting = kubectl.start(&["wait", "configmap/a", "--for=jsonpath={.data.k}=2", "--timeout=180s"])?;
    kubectl.run(&["patch", "configmap", "a", "-p", r#"{"data":{"k":"2"}}"#])?;
    let done = waiting.wait_with_output()?;
    ensure!(done.status.success() && done.stdout == b"configmap/a condition met\n", "{done:?}");
    let waiting = kubectl.start(&["wait", "configmap/a", "--for=delete", "--timeout=180s"])?;
    kubectl.run(&["delete", "configmap", "a"])?;
    ensure!(waiting.wait_with_output()?.status.success());
    let waiting = kubectl.start(&["wait", "configmap/a", "--for=create", "--timeout=180s"])?;
    kubectl.run(&["create", "configmap", "a"])?;
    ensure!(waiting.wait_with_output()?.status.success());
    let said = kubectl.fails(&["wait", "configmap/a", "--for=condition=Ready", "--timeout=1s"], None)?;
    ensure!(said == "error: timed out waiting for the condition on configmaps/a\n", "{said}");
    pods::create(kubectl, "p", json!({"containers": [pods::shell("c", "sleep 3600")]}))?;
    for condition in ["condition=Ready", "condition=PodScheduled=True", "jsonpath={.status.phase}=Running", "jsonpath={.status.podIP}"] {
        kubectl.run(&["wait", "pod/p", &format!("--for={condition}"), "--timeout=180s"])?;
    }
    let nodes = kubectl.run(&["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=180s"])?;
    ensure!(nodes == "node/node1 condition met\nnode/node2 condition met\n", "{nodes}");
    Ok(())
}

fn e2e_run_and_expose_make_a_service_of_a_pod(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let said = kubectl.run(&[
        "run",
        "p",
        &format!("--image={IMAGE}"),
        "--labels=a=b,c=d",
        "--env=K=v",
        "--port=80",
        "--expose",
        "--",
        "sleep",
        "3600",
    ])?;
    ensure!(said == "service/p created\npod/p created\n", "{said}");
    let service = kubectl.json(&["get", "service", "p"])?;
    ensure!(service["spec"]["selector"] == json!({"a": "b", "c": "d"}) && service["spec"]["ports"][0]["targetPort"] == 80, "{service}");
    kubectl.run(&["wait", "pod/p", "--for=condition=Ready", "--timeout=180s"])?;
    ensure!(kubectl.run(&["exec", "p", "--", "sh", "-c", "echo $K"])? == "v\n");
    kubectl.run(&["expose", "pod", "p", "--name=q", "--port=8080", "--target-port=http", "--type=NodePort", "--selector=x=y"])?;
    ensure!(
        field(kubectl, "service/q", ".spec.type")? == "NodePort" && field(kubectl, "service/q", ".spec.ports[0].targetPort")? == "http"
    );
    // The command's output comes back, and the pod goes.
    let once = kubectl.output(
        &["run", "once", &format!("--image={IMAGE}"), "--rm", "-i", "--restart=Never", "--quiet", "--", "echo", "hello"],
        Some(""),
    )?;
    ensure!(once.code == 0 && once.stdout.starts_with("hello"), "{once:?}");
    eventually("the pod to be removed", || kubectl.fails(&["get", "pod", "once"], None)).map(drop)
}

fn e2e_status_and_scale_are_separate_from_the_object(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "a", "--image=i", "--replicas=0"])?;
    kubectl.run(&["wait", "deployment/a", "--for=jsonpath={.status.observedGeneration}=1", "--timeout=180s"])?;
    kubectl.run(&["patch", "deployment", "a", "--type=merge", "-p", r#"{"status":{"replicas":77}}"#])?;
    ensure!(field(kubectl, "deployment/a", ".status.replicas")?.is_empty(), "the status is not changed through the object");
    ensure!(field(kubectl, "deployment/a", ".metadata.generation")? == "1", "nor is that a new generation");
    let condition = r#"{"spec":{"replicas":9},"status":{"conditions":[{"type":"Odd","status":"True"}]}}"#;
    kubectl.run(&["patch", "deployment", "a", "--subresource=status", "--type=strategic", "-p", condition])?;
    ensure!(field(kubectl, "deployment/a", ".spec.replicas")? == "0", "the object is not changed through the status");
    let said = kubectl.run(&["patch", "deployment", "a", "--subresource=scale", "--type=merge", "-p", r#"{"spec":{"replicas":2}}"#])?;
    ensure!(said == "scale.autoscaling/a patched\n" && field(kubectl, "deployment/a", ".spec.replicas")? == "2", "{said}");
    ensure!(field(kubectl, "deployment/a", ".metadata.generation")? == "2");
    let scale = kubectl.json(&["get", "deployment", "a", "--subresource=scale"])?;
    ensure!(scale["kind"] == "Scale" && scale["status"]["selector"] == "app=a", "{scale}");
    let shown = kubectl.run(&["get", "deployment", "a", "--subresource=scale"])?;
    ensure!(shown.split_whitespace().take(4).eq(["NAME", "DESIRED", "AVAILABLE", "AGE"]), "{shown}");
    Ok(())
}

fn e2e_names_can_be_generated(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let manifest = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"gen-"}}"#;
    let (one, two) = (
        kubectl.run_with(&["create", "-f", "-", "-o", "name"], manifest)?,
        kubectl.run_with(&["create", "-f", "-", "-o", "name"], manifest)?,
    );
    let fits = |name: &str| name.strip_prefix("configmap/gen-").is_some_and(|rest| rest.trim_end().len() == 5);
    ensure!(one != two && fits(&one) && fits(&two), "{one} {two}");
    Ok(())
}
