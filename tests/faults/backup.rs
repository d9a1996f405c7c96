//! Is a cluster that was restored or migrated the one that it was, for whoever knew it, and does nobody meet half of one?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::cluster::{orknet, run};
use orknet_tests::etcd::Etcd;
use orknet_tests::server::Server;
use orknet_tests::{Kubectl, eventually, faults};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

faults![
    a_cluster_restored_from_embedded_to_embedded_is_the_one_that_it_was,
    a_cluster_restored_from_etcd_to_etcd_is_the_one_that_it_was,
    a_restore_killed_in_the_middle_is_no_cluster_until_it_is_done_again,
    a_cluster_migrates_to_etcd_and_back,
    a_server_that_was_stopped_while_its_etcd_was_restored_ends_and_serves_nobody,
];

const OBJECTS: usize = 150;
/// The kinds whose objects are compared: nobody writes them by himself.
const KINDS: &str = "configmaps,secrets,services,serviceaccounts,namespaces";

/// A place for a store: a directory, or an etcd.
enum Place {
    Directory(PathBuf),
    Etcd(Etcd),
}

impl Place {
    /// The flags that name it, with `to-` before each for the place that a migration leads to.
    fn flags(&self, to: &str) -> Vec<String> {
        match self {
            Self::Directory(path) => vec![format!("--{to}store-dir"), path.display().to_string()],
            Self::Etcd(etcd) => vec![format!("--{to}etcd"), etcd.url()],
        }
    }
}

fn a_cluster_restored_from_embedded_to_embedded_is_the_one_that_it_was() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| Place::Directory(directory.path().join(name));
    lives_on(&path("old-store"), &path("new-store"))
}

fn a_cluster_restored_from_etcd_to_etcd_is_the_one_that_it_was() -> Result<()> {
    lives_on(&Place::Etcd(Etcd::start()?), &Place::Etcd(Etcd::start()?))
}

fn lives_on(from: &Place, to: &Place) -> Result<()> {
    let (old, new, files) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let mut server = Server::start_on(old.path(), &from.flags(""))?;
    let kubectl = server.kubectl();
    fill(&kubectl)?;
    let token = kubectl.run(&["create", "token", "default", "--duration=1h"])?;
    let file = files.path().join("backup");
    let pki = |directory: &Path| directory.join("pki").display().to_string();
    let backup = |file: &Path| run(orknet().arg("backup").arg(file).args(from.flags("")).args(["--pki-dir", &pki(old.path())]));
    let said = backup(&file)?;
    ensure!(said.contains("objects and claims of cluster") && said.contains("with the cluster's keys"), "{said}");
    let expected = objects(&kubectl)?;
    kubectl.run(&["create", "configmap", "after-the-backup"])?;
    let last =
        kubectl.json(&["get", "configmap", "after-the-backup"])?["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();

    let restore =
        |again: &[&str]| orknet().arg("restore").arg(&file).args(to.flags("")).args(["--pki-dir", &pki(new.path())]).args(again).output();
    let into_itself = orknet().arg("restore").arg(&file).args(from.flags("")).args(["--pki-dir", &pki(old.path())]).output()?;
    let refused = String::from_utf8_lossy(&into_itself.stderr).into_owned();
    ensure!(!into_itself.status.success(), "a store that is in use was restored into");
    ensure!(refused.contains("is in use by process") || refused.contains("API servers run on"), "{refused}");
    server.kill()?;

    let done = restore(&[])?;
    ensure!(done.status.success(), "{done:?}");
    let mut server = Server::start_on(new.path(), &to.flags(""))?;
    // With the credentials of before: only where it is has changed.
    let kubeconfig = fs::read_to_string(old.path().join("kubeconfig"))?;
    let address = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: "))
        .context("a server's address")?
        .trim_matches('"')
        .to_owned();
    let moved = new.path().join("moved");
    fs::write(&moved, kubeconfig.replace(&address, &format!("https://127.0.0.1:{}", server.port())))?;
    let kubectl = Kubectl::new(moved);
    let found = objects(&kubectl)?;
    ensure!(found == expected, "{:?}", expected.iter().filter(|(name, uid)| found.get(*name) != Some(*uid)).collect::<Vec<_>>());
    let review = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()}});
    let review = kubectl.run_with(&["create", "-f", "-", "-o", "json"], &review.to_string())?;
    let review: Value = serde_json::from_str(&review)?;
    ensure!(review["status"]["authenticated"] == true, "{review}");

    goes_on_above(&kubectl, &last)?;
    let again = restore(&["--again"])?;
    let refused = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(!again.status.success() && (refused.contains("in use by process") || refused.contains("API servers run on")), "{refused}");
    server.stop()?;
    let again = restore(&["--again"])?;
    let refused = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(!again.status.success() && refused.contains("is not empty: there is a store with"), "{refused}");
    Ok(())
}

/// Whoever comes with a version from before is sent away; everything is above it; what is written is told to new watches.
fn goes_on_above(kubectl: &Kubectl, last: &str) -> Result<()> {
    let number = |text: &Value| text.as_str().and_then(|text| text.parse::<u64>().ok()).context("a version");
    let list = kubectl.json(&["get", "configmaps"])?;
    let raw: Value = serde_json::from_str(&kubectl.run(&["get", "--raw", "/api/v1/namespaces/default/configmaps"])?)?;
    let (before, now) = (last.parse::<u64>()?, number(&raw["metadata"]["resourceVersion"])?);
    ensure!(now > before + 100_000_000, "{now} is not far above {before}");
    for object in list["items"].as_array().context("items")? {
        ensure!(number(&object["metadata"]["resourceVersion"])? > before, "{object}");
    }
    let path = |rest: &str| format!("/api/v1/namespaces/default/configmaps?resourceVersion={last}{rest}");
    let watched = kubectl.run(&["get", "--raw", &path("&watch=1&timeoutSeconds=10")])?;
    let event: Value = serde_json::from_str(watched.lines().next().context("the watch says nothing")?)?;
    ensure!(event["type"] == "ERROR" && event["object"]["code"] == 410, "{watched}");
    let refused = kubectl.fails(&["get", "--raw", &path("&resourceVersionMatch=Exact")], None)?;
    ensure!(refused.contains("too old") || refused.contains("compacted") || refused.contains("Expired"), "{refused}");
    // An update of what was read before the restore is a conflict, not a lost change.
    let mut stale = list["items"][0].clone();
    stale["metadata"]["resourceVersion"] = last.into();
    let refused = kubectl.fails(&["replace", "-f", "-"], Some(&stale.to_string()))?;
    ensure!(refused.contains("Conflict") || refused.contains("has been modified"), "{refused}");
    kubectl.run(&["create", "configmap", "after-the-restore"])?;
    let new = format!("/api/v1/namespaces/default/configmaps?resourceVersion={now}&watch=1&timeoutSeconds=3");
    let watched = kubectl.run(&["get", "--raw", &new])?;
    ensure!(watched.contains("\"ADDED\"") && watched.contains("after-the-restore"), "{watched}");
    Ok(())
}

fn a_restore_killed_in_the_middle_is_no_cluster_until_it_is_done_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("backup");
    let expected = {
        let old = tempfile::tempdir()?;
        let server = Server::start(old.path())?;
        fill(&server.kubectl())?;
        let expected = objects(&server.kubectl())?;
        let (store, pki) = (old.path().join("store"), old.path().join("pki"));
        run(orknet().arg("backup").arg(&file).arg("--store-dir").arg(store).arg("--pki-dir").arg(pki))?;
        expected
    };
    let etcd = Etcd::start()?;
    for kind in ["embedded", "etcd"] {
        let (place, store) = killed(directory.path(), &etcd, kind, &file)?;
        let restore = |rest: &[&str]| orknet().arg("restore").arg(&file).arg("--config").arg(place.join("config")).args(rest).output();
        let mut server = orknet();
        server.args(["server", "--listen", "127.0.0.1:0", "--advertise-address", "127.0.0.1", "--config"]).arg(place.join("config"));
        let started = server.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        ensure!(!started.status.success() && said.contains("a restore of"), "a server on half a store: {said}");
        let refused = restore(&[])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && said.contains("was not done; remedy:") && said.contains("--again"), "{said}");
        let done = restore(&["--again"])?;
        ensure!(done.status.success(), "{done:?}");
        let mut server = Server::start_on(&place, &["--config".to_owned(), store])?;
        ensure!(objects(&server.kubectl())? == expected, "{kind}: not what was backed up");
        server.stop()?;
    }
    Ok(())
}

/// Kills restores, each a little later than the one before, until one was in the middle. Answers its directory, and its configuration file.
fn killed(directory: &Path, etcd: &Etcd, kind: &str, file: &Path) -> Result<(PathBuf, String)> {
    for attempt in 0..400u64 {
        let name = format!("{kind}{attempt}");
        let place = directory.join(&name);
        fs::create_dir(&place)?;
        let store = match kind {
            "embedded" => serde_json::json!({"embedded": {"directory": place.join("store")}}),
            _ => serde_json::json!({"etcd": {"endpoints": [etcd.url()], "prefix": format!("/{name}")}}),
        };
        let config = serde_json::json!({"store": store, "pkiDir": place.join("pki")});
        fs::write(place.join("config"), config.to_string())?;
        let mut command = orknet();
        command.arg("restore").arg(file).arg("--config").arg(place.join("config"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(10 + attempt * 3 % 400));
        child.kill()?;
        let was_done = child.wait()?.success();
        // Reading it tells whether it is half a store.
        let probe =
            orknet().arg("backup").arg(place.join("probe")).arg("--without-keys").arg("--config").arg(place.join("config")).output()?;
        let said = String::from_utf8_lossy(&probe.stderr).into_owned();
        if !was_done && said.contains("a restore") {
            return Ok((place.clone(), place.join("config").display().to_string()));
        }
        let is_none = said.contains("there is no such directory") || said.contains("there is no store in it");
        let is_whole_or_none = was_done || probe.status.success() || is_none;
        ensure!(is_whole_or_none, "{said}");
        fs::remove_dir_all(&place)?;
    }
    anyhow::bail!("no restore was killed in the middle")
}

fn a_cluster_migrates_to_etcd_and_back() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let places =
        [Place::Directory(directory.path().join("first")), Place::Etcd(Etcd::start()?), Place::Directory(directory.path().join("third"))];
    let home = tempfile::tempdir()?;
    let mut server = Server::start_on(home.path(), &places[0].flags(""))?;
    fill(&server.kubectl())?;
    let expected = objects(&server.kubectl())?;
    let mut version = 0;
    for step in places.windows(2) {
        let migrate = || orknet().arg("migrate").args(step[0].flags("")).args(step[1].flags("to-")).output();
        let refused = migrate()?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && (said.contains("is in use by process") || said.contains("API servers run on")), "{said}");
        server.stop()?;
        let done = migrate()?;
        ensure!(done.status.success(), "{done:?}");
        // Nobody goes on with the first one by mistake.
        let mut mistaken = orknet();
        mistaken.args(["server", "--listen", "127.0.0.1:0", "--pki-dir"]).arg(home.path().join("pki")).args(step[0].flags(""));
        let mistaken = mistaken.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&mistaken.stderr).into_owned();
        ensure!(!mistaken.status.success() && said.contains("was migrated to"), "{said}");
        server = Server::start_on(home.path(), &step[1].flags(""))?;
        let kubectl = server.kubectl();
        ensure!(objects(&kubectl)? == expected, "not what was migrated");
        let raw: Value = serde_json::from_str(&kubectl.run(&["get", "--raw", "/api/v1/namespaces/default/configmaps"])?)?;
        let now: u64 = raw["metadata"]["resourceVersion"].as_str().context("a version")?.parse()?;
        ensure!(now > version, "{now} after {version}");
        version = now;
    }
    server.stop()
}

/// Its revisions are of the time before: whoever is told of one in between goes backwards.
fn a_server_that_was_stopped_while_its_etcd_was_restored_ends_and_serves_nobody() -> Result<()> {
    let (directory, etcd) = (tempfile::tempdir()?, Etcd::start()?);
    let mut server = Server::start_on(directory.path(), &["--etcd".to_owned(), etcd.url()])?;
    let file = directory.path().join("backup");
    let backup = || orknet().arg("backup").arg(&file).args(["--etcd", &etcd.url(), "--without-keys"]).output();
    ensure!(backup()?.status.success(), "there is no backup");
    server.signal(Signal::SIGSTOP)?;
    // Its sign of life as well, for which one would have to wait otherwise.
    run(Command::new("etcdctl").env("ETCDCTL_API", "3").args(["--endpoints", &etcd.url(), "del", "--prefix", "/orknet/data/"]))?;
    let done = orknet().arg("restore").arg(&file).args(["--etcd", &etcd.url(), "--without-keys"]).output()?;
    ensure!(done.status.success(), "{done:?}");
    server.signal(Signal::SIGCONT)?;
    ensure!(!server.ended()?, "that is no success");
    let log = server.log();
    ensure!(log.contains("the store was restored meanwhile"), "{log}");
    // It is one of the restored cluster when it is started anew.
    server.start_again()
}

/// Makes objects, and waits for those that the controllers make.
fn fill(kubectl: &Kubectl) -> Result<()> {
    eventually("the service account of the namespace", || kubectl.run(&["get", "serviceaccount", "default"]))?;
    let value = "x".repeat(4000);
    let manifests: String = (0..OBJECTS)
        .map(|number| {
            let metadata = serde_json::json!({"name": format!("object{number}")});
            format!(
                "---\n{}\n",
                serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}})
            )
        })
        .collect();
    kubectl.run_with(&["create", "-f", "-", "--validate=false"], &manifests)?;
    kubectl.run(&["create", "secret", "generic", "secret", "--from-literal=key=value"])?;
    kubectl.run(&["create", "service", "clusterip", "service", "--tcp=80:80"])?;
    Ok(())
}

/// The uids of what nobody writes by himself, by kind, namespace and name; of ConfigMaps and Secrets with what they hold.
fn objects(kubectl: &Kubectl) -> Result<BTreeMap<String, String>> {
    eventually("the namespaces to have their objects", || {
        let found = kubectl.json(&["get", KINDS, "--all-namespaces"])?;
        let mut objects = BTreeMap::new();
        for object in found["items"].as_array().context("a list")? {
            let of = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
            let name = format!("{} {}/{}", object["kind"].as_str().unwrap_or_default(), of("namespace"), of("name"));
            // A server that starts on other keys adds its own authority of front proxies there.
            let data = if of("name") == "extension-apiserver-authentication" { &Value::Null } else { &object["data"] };
            objects.insert(name, format!("{} {} {data}", of("uid"), of("creationTimestamp")));
        }
        let roots = objects.keys().filter(|name| name.ends_with("/kube-root-ca.crt")).count();
        ensure!(roots == 4, "{roots} of 4 namespaces have the authority's certificate");
        let accounts = objects.keys().filter(|name| name.ends_with("/default") && name.starts_with("ServiceAccount")).count();
        ensure!(accounts == 4, "{accounts} of 4 namespaces have a service account");
        Ok(objects)
    })
}
