//! Who gets in, and who may do what? Certificates and tokens of every kind against the rules.

use anyhow::{Context, Result, ensure};
use orknet_tests::https::Api;
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::json;

tests![
    e2e_strangers_learn_nothing,
    e2e_a_user_certificate_may_do_what_its_bindings_say,
    e2e_a_service_account_may_do_exactly_its_one_thing,
    e2e_tokens_end_with_their_time_and_with_their_objects,
    e2e_access_can_be_asked_about,
    e2e_nobody_gives_what_he_has_not,
];

fn e2e_strangers_learn_nothing(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let stranger = Api::without_certificate(kubectl, None)?;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        ensure!(stranger.get(path)?.code == 200, "{path} is for everybody");
    }
    for path in ["/", "/api", "/apis", "/api/v1/namespaces", "/openapi/v3", "/metrics", "/api/v1/nodes?watch=1"] {
        let said = stranger.get(path)?.refused(403, "Forbidden").context(path)?;
        ensure!(said.contains("User \"system:anonymous\" cannot"), "{said}");
    }
    let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.";
    for token in ["nonsense", "a.b.c", forged, &"x".repeat(10_000)] {
        Api::without_certificate(kubectl, Some(token))?.get("/api/v1/namespaces")?.refused(401, "Unauthorized").context(token.len())?;
    }
    let named = [("x-remote-user", "admin"), ("x-remote-group", "system:masters"), ("impersonate-user", "admin")];
    stranger.send("GET", "/api/v1/namespaces", &named, &[])?.refused(403, "Forbidden")?;
    // As with Kubernetes, what is no bearer token shows nothing.
    Api::without_certificate(kubectl, Some(""))?.get("/api/v1/namespaces")?.refused(403, "Forbidden")?;
    let basic = [("authorization", "Basic YWRtaW46YWRtaW4=")];
    stranger.send("GET", "/api/v1/namespaces", &basic, &[])?.refused(403, "Forbidden")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("kubeconfig");
    let server = kubectl.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
    let content = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "x", "cluster": {"server": server,
        "insecure-skip-tls-verify": true}}], "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {"token": "no"}}]});
    std::fs::write(&path, content.to_string())?;
    let said = Kubectl::new(path).fails(&["get", "pods"], None)?;
    ensure!(said.contains("error: You must be logged in to the server"), "{said}");
    Ok(())
}

/// kubectl as a person with a certificate of the cluster's authority.
fn person(cluster: &Cluster, kubectl: &Kubectl, directory: &std::path::Path, user: &str, group: &str) -> Result<Kubectl> {
    let url = kubectl.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
    let pki = cluster.state_dir().join("server/pki");
    let mut command = orknet_tests::cluster::orknet();
    command.args(["credentials", "--server", &url, "--pki-dir"]).arg(pki).args(["user", user, "--group", group]);
    let path = directory.join(user);
    std::fs::write(&path, orknet_tests::cluster::run(&mut command)?)?;
    Ok(Kubectl::new(path).in_namespace(kubectl.namespace()))
}

fn e2e_a_user_certificate_may_do_what_its_bindings_say(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let ann = person(cluster, kubectl, directory.path(), "ann", "readers")?;
    let who = ann.run(&["auth", "whoami"])?;
    ensure!(who.contains("ann") && who.contains("[readers system:authenticated]"), "{who}");
    let namespace = kubectl.namespace();
    let said = ann.fails(&["get", "pods"], None)?;
    let expected = format!(
        "Error from server (Forbidden): pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"{namespace}\"\n"
    );
    ensure!(said == expected, "{said}");
    let said = ann.fails(&["get", "deployment", "x"], None)?;
    let expected = format!(
        "Error from server (Forbidden): deployments.apps \"x\" is forbidden: User \"ann\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"{namespace}\"\n"
    );
    ensure!(said == expected, "{said}");
    let said = ann.fails(&["get", "nodes"], None)?;
    ensure!(
        said.ends_with("nodes is forbidden: User \"ann\" cannot list resource \"nodes\" in API group \"\" at the cluster scope\n"),
        "{said}"
    );
    let said = ann.fails(&["get", "--raw", "/metrics"], None)?;
    ensure!(said.contains("forbidden: User \"ann\" cannot get path \"/metrics\""), "{said}");
    kubectl.run(&["create", "rolebinding", "readers", "--clusterrole=view", "--group=readers"])?;
    kubectl.run(&["create", "configmap", "a"])?;
    eventually("the binding to take effect", || ann.run(&["get", "configmap", "a"]))?;
    for refused in [
        &["get", "secrets"][..],
        &["delete", "configmap", "a"],
        &["get", "configmaps", "-A"],
        &["label", "configmap", "a", "x=y"],
        &["create", "configmap", "b"],
    ] {
        let said = ann.fails(refused, None)?;
        ensure!(said.contains("forbidden: User \"ann\" cannot "), "{refused:?}: {said}");
    }
    // No way around by the path: a namespace's list of namespaces is no list of the cluster's.
    let api = Api::of(&ann)?;
    for path in [format!("/api/v1/namespaces/{namespace}/namespaces"), format!("/api/v1/namespaces/{namespace}/nodes")] {
        let code = api.get(&path)?.code;
        ensure!(code == 403 || code == 404, "{path}: {code}");
    }
    kubectl.run(&["delete", "rolebinding", "readers"])?;
    eventually("the binding to end", || ann.fails(&["get", "configmap", "a"], None))?;
    Ok(())
}

fn e2e_a_service_account_may_do_exactly_its_one_thing(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "serviceaccount", "robot"])?;
    kubectl.run(&["create", "configmap", "mine", "--from-literal=k=v"])?;
    kubectl.run(&["create", "configmap", "other"])?;
    kubectl.run(&["create", "role", "one", "--verb=get", "--resource=configmaps", "--resource-name=mine"])?;
    kubectl.run(&["create", "rolebinding", "one", "--role=one", &format!("--serviceaccount={}:robot", kubectl.namespace())])?;
    let token = kubectl.run(&["create", "token", "robot"])?;
    let robot = Api::without_certificate(kubectl, Some(token.trim()))?;
    let namespace = kubectl.namespace();
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    eventually("the binding to take effect", || robot.get(&format!("{path}/mine"))?.expect(200))?;
    let said = robot.get(&format!("{path}/other"))?.refused(403, "Forbidden")?;
    let expected = format!(
        "configmaps \"other\" is forbidden: User \"system:serviceaccount:{namespace}:robot\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"{namespace}\""
    );
    ensure!(said == expected, "{said}");
    for (method, path, headers) in [
        ("GET", path.clone(), None),
        ("GET", format!("{path}?fieldSelector=metadata.name%3Dother"), None),
        ("GET", format!("{path}?watch=1"), None),
        ("DELETE", format!("{path}/mine"), None),
        ("PUT", format!("{path}/mine"), None),
        ("PATCH", format!("{path}/mine"), Some(("content-type", "application/merge-patch+json"))),
        ("GET", format!("/api/v1/namespaces/{namespace}/secrets"), None),
        ("GET", "/api/v1/namespaces/default/configmaps/mine".into(), None),
        ("GET", format!("{path}/mine"), Some(("impersonate-user", "admin"))),
    ] {
        let headers: Vec<_> = headers.into_iter().collect();
        robot.send(method, &path, &headers, b"{}")?.refused(403, "Forbidden").with_context(|| format!("{method} {path}"))?;
    }
    Ok(())
}

fn e2e_tokens_end_with_their_time_and_with_their_objects(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "serviceaccount", "robot"])?;
    let said = kubectl.fails(&["create", "token", "robot", "--duration=1m"], None)?;
    ensure!(said.contains("may not specify a duration less than 10 minutes"), "{said}");
    kubectl.run(&["create", "secret", "generic", "holder"])?;
    let token = kubectl.run(&["create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=holder", "--duration=20m"])?;
    let robot = Api::without_certificate(kubectl, Some(token.trim()))?;
    robot.get("/api")?.expect(200)?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()}});
    let review = Api::of(kubectl)?.post("/apis/authentication.k8s.io/v1/tokenreviews", &review.to_string())?.expect(201)?;
    let name = format!("system:serviceaccount:{}:robot", kubectl.namespace());
    ensure!(review["status"]["authenticated"] == true && review["status"]["user"]["username"] == name.as_str(), "{review}");
    kubectl.run(&["delete", "secret", "holder"])?;
    eventually("the token to end with what it is bound to", || robot.get("/api")?.refused(401, "Unauthorized"))?;
    let other = kubectl.run(&["create", "token", "robot", "--audience=elsewhere"])?;
    Api::without_certificate(kubectl, Some(other.trim()))?.get("/api")?.refused(401, "Unauthorized")?;
    let token = kubectl.run(&["create", "token", "robot"])?;
    let robot = Api::without_certificate(kubectl, Some(token.trim()))?;
    robot.get("/api")?.expect(200)?;
    let mut cut = token.trim().to_owned();
    cut.pop();
    Api::without_certificate(kubectl, Some(&cut))?.get("/api")?.refused(401, "Unauthorized")?;
    kubectl.run(&["delete", "serviceaccount", "robot"])?;
    eventually("the token to end with its account", || robot.get("/api")?.refused(401, "Unauthorized"))?;
    // A namesake is another account.
    kubectl.run(&["create", "serviceaccount", "robot"])?;
    robot.get("/api")?.refused(401, "Unauthorized").map(drop)
}

fn e2e_access_can_be_asked_about(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "role", "r", "--verb=get,list", "--resource=pods,deployments.apps/scale"])?;
    kubectl.run(&["create", "rolebinding", "b", "--role=r", "--user=bob"])?;
    let ask = |arguments: &[&str]| kubectl.output(&[&["auth", "can-i", "--as=bob"], arguments].concat(), None);
    eventually("the binding to take effect", || {
        let answer = ask(&["list", "pods"])?;
        ensure!(answer.stdout == "yes\n", "{answer:?}");
        Ok(())
    })?;
    for (question, answer) in [
        (&["get", "pods"][..], "yes\n"),
        (&["get", "deployments.apps", "--subresource=scale"], "yes\n"),
        (&["get", "deployments.apps"], "no\n"),
        (&["delete", "pods"], "no\n"),
        (&["get", "pods", "-A"], "no\n"),
        (&["get", "/metrics"], "no\n"),
        (&["get", "/version"], "yes\n"),
    ] {
        let found = ask(question)?;
        ensure!(found.stdout == answer && (found.code == 0) == (answer == "yes\n"), "{question:?}: {found:?}");
    }
    let listed = ask(&["--list"])?.stdout;
    ensure!(listed.lines().any(|line| line.starts_with("pods ") && line.contains("[get list]")), "{listed}");
    ensure!(kubectl.run(&["auth", "can-i", "*", "*"])? == "yes\n", "the administrator may do everything");
    let namespace = kubectl.namespace();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["watch"]}]});
    let said = kubectl.run_with(&["auth", "reconcile", "-f", "-"], &role.to_string())?;
    ensure!(said.contains("role.rbac.authorization.k8s.io/r reconciled"), "{said}");
    let rules = kubectl.json(&["get", "role", "r"])?["rules"].clone();
    ensure!(rules.to_string().contains("watch") && rules.to_string().contains("scale"), "reconciling adds and removes nothing: {rules}");
    Ok(())
}

fn e2e_nobody_gives_what_he_has_not(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let eve = person(cluster, kubectl, directory.path(), "eve", "climbers")?;
    kubectl.run(&[
        "create",
        "role",
        "roles",
        "--verb=create,update,get",
        "--resource=roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io",
    ])?;
    kubectl.run(&["create", "rolebinding", "roles", "--role=roles", "--user=eve"])?;
    eventually("the binding to take effect", || {
        eve.fails(&["get", "role", "none"], None).and_then(|said| {
            ensure!(said.contains("NotFound"), "{said}");
            Ok(())
        })
    })?;
    let said = eve.fails(&["create", "role", "more", "--verb=*", "--resource=secrets"], None)?;
    ensure!(
        said.contains(
            "user \"eve\" (groups=[\"climbers\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held"
        ),
        "{said}"
    );
    let said = eve.fails(&["create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=eve"], None)?;
    ensure!(said.contains("is attempting to grant RBAC permissions not currently held"), "{said}");
    // What he has, he may give.
    eve.run(&["create", "role", "same", "--verb=get", "--resource=roles.rbac.authorization.k8s.io"])?;
    eve.run(&["create", "rolebinding", "same", "--role=same", "--user=bob"]).map(drop)
}
