//! Does kubectl get people their certificates: a request is made, looked at, approved or denied, and what comes of it lets its holder in?

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_tests::server::Server;
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::json;
use std::path::Path;
use std::process::Command;

tests![e2e_a_certificate_is_asked_for_approved_and_used, e2e_a_certificate_is_denied];

/// A new key in `directory/NAME.key`, and the request for a certificate of the client `name` in `group`, as kubectl is given it.
fn request(directory: &Path, name: &str, group: &str) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-subj", &format!("/O={group}/CN={name}")]).arg("-keyout").arg(directory.join(format!("{name}.key")));
    let made = command.output().context("cannot run openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let spec = json!({"request": STANDARD.encode(&made.stdout), "signerName": "kubernetes.io/kube-apiserver-client",
        "expirationSeconds": 3600, "usages": ["client auth"]});
    let request =
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec});
    Ok(format!("---\n{request}"))
}

/// The row of a request without its age.
fn row(kubectl: &Kubectl, name: &str) -> Result<Vec<String>> {
    let shown = kubectl.run(&["get", "csr", name, "--no-headers"])?;
    let mut words: Vec<String> = shown.split_whitespace().map(str::to_owned).collect();
    ensure!(words.len() > 2, "{shown}");
    words.remove(1);
    Ok(words)
}

fn e2e_a_certificate_is_asked_for_approved_and_used(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    let said = kubectl.run_with(&["create", "-f", "-"], &request(directory.path(), "cara", "readers")?)?;
    ensure!(said == "certificatesigningrequest.certificates.k8s.io/cara created\n", "{said}");
    let signer = "kubernetes.io/kube-apiserver-client";
    let pending = row(kubectl, "cara")?;
    ensure!(pending == ["cara", signer, "admin", "60m", "Pending"], "{pending:?}");
    let described = kubectl.run(&["describe", "csr", "cara"])?;
    let words = described.split_whitespace().collect::<Vec<_>>().join(" ");
    let signed_by = format!("Signer: {signer}");
    for part in ["Requesting User: admin", &signed_by, "Requested Duration: 60m", "Common Name: cara", "Organization: readers"] {
        ensure!(words.contains(part), "{part}: {described}");
    }

    // Who may change the approval may not approve for every signer.
    let verbs = ["create", "clusterrole", "approver", "--verb=get,update"];
    kubectl.run(&[&verbs[..], &["--resource=certificatesigningrequests,certificatesigningrequests/approval"]].concat())?;
    kubectl.run(&["create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=ann"])?;
    let ann = ["--as=ann", "certificate", "approve", "cara"];
    let refused = eventually("what binds ann to be known", || {
        let said = kubectl.fails(&ann, None)?;
        ensure!(!said.contains("cannot get resource"), "{said}");
        Ok(said)
    })?;
    ensure!(refused.contains(&format!("user not permitted to approve requests with signerName \"{signer}\"")), "{refused}");

    let said = kubectl.run(&["certificate", "approve", "cara"])?;
    ensure!(said == "certificatesigningrequest.certificates.k8s.io/cara approved\n", "{said}");
    kubectl.run(&["wait", "--for=jsonpath={.status.certificate}", "csr/cara", "--timeout=60s"])?;
    let issued = row(kubectl, "cara")?;
    ensure!(issued.last().is_some_and(|condition| condition == "Approved,Issued"), "{issued:?}");

    // Cara gets in with it.
    let configured = kubectl.run(&["config", "view", "--raw", "-o", "json"])?;
    let mut configured: serde_json::Value = serde_json::from_str(&configured)?;
    let certificate = kubectl.run(&["get", "csr", "cara", "-o", "jsonpath={.status.certificate}"])?;
    let key = std::fs::read(directory.path().join("cara.key"))?;
    configured["users"][0]["user"] = json!({"client-certificate-data": certificate, "client-key-data": STANDARD.encode(key)});
    let path = directory.path().join("cara");
    std::fs::write(&path, configured.to_string())?;
    let cara = Kubectl::new(path);
    let who = cara.run(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}"])?;
    ensure!(who == r#"cara ["readers","system:authenticated"]"#, "{who}");
    let refused = cara.fails(&["get", "pods"], None)?;
    ensure!(refused.contains("User \"cara\" cannot list resource \"pods\""), "{refused}");
    kubectl.run(&["create", "clusterrolebinding", "readers", "--clusterrole=view", "--group=readers"])?;
    eventually("what binds readers to be known", || cara.run(&["get", "pods"])).map(drop)
}

fn e2e_a_certificate_is_denied(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    kubectl.run_with(&["create", "-f", "-"], &request(directory.path(), "dora", "writers")?)?;
    let said = kubectl.run(&["certificate", "deny", "dora"])?;
    ensure!(said == "certificatesigningrequest.certificates.k8s.io/dora denied\n", "{said}");
    let denied = row(kubectl, "dora")?;
    ensure!(denied.last().is_some_and(|condition| condition == "Denied"), "{denied:?}");
    // What was decided stays so, and nothing is signed.
    let refused = kubectl.fails(&["certificate", "approve", "dora"], None)?;
    ensure!(refused.contains("certificate signing request \"dora\" is already Denied"), "{refused}");
    // So says kubectl by itself; the server does of a patch.
    let both = r#"[{"op": "add", "path": "/status/conditions/-", "value": {"type": "Approved", "status": "True"}}]"#;
    let refused = kubectl.fails(&["patch", "csr", "dora", "--subresource=approval", "--type=json", "-p", both], None)?;
    ensure!(refused.contains("Approved and Denied conditions are mutually exclusive"), "{refused}");
    ensure!(kubectl.run(&["get", "csr", "dora", "-o", "jsonpath={.status.certificate}"])?.is_empty(), "a certificate");
    // Nobody else's to sign, and nothing that the signer signs.
    let other = request(directory.path(), "emil", "writers")?.replace("client auth", "server auth");
    kubectl.run_with(&["create", "-f", "-"], &other)?;
    kubectl.run(&["certificate", "approve", "emil"])?;
    eventually("the signer to refuse", || {
        let failed = row(kubectl, "emil")?;
        ensure!(failed.last().is_some_and(|condition| condition == "Approved,Failed"), "{failed:?}");
        Ok(())
    })?;
    let said = kubectl.run(&["delete", "csr", "dora", "emil"])?;
    ensure!(said.lines().count() == 2, "{said}");
    Ok(())
}
