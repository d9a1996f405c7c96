//! Traffic that must not notice a fault: a connection that is held, and new connections one after the other, both through a
//! ClusterIP from a pod on one node to a pod on the other; with a record of all pods, to see whether any was touched.

use crate::talk::{self, Attempt, Client, How, TOOLS, at};
use crate::{Cluster, Kubectl, eventually};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// As many questions as no test waits for.
const ENDLESS: &str = "100000";
const PAUSE_MS: &str = "10";
const ASKERS: [(&str, &str); 2] = [("holds", "hold-tcp"), ("streams", "log-tcp")];

/// Traffic of a cluster with at least two nodes.
pub struct Traffic {
    kubectl: Kubectl,
    /// Where node1's kubelet keeps the logs of pods: read there, they tell also while nobody answers kubectl.
    logs: PathBuf,
    pods: BTreeMap<String, String>,
    address: String,
}

impl Traffic {
    /// Gives the cluster the tests' image, starts servers and askers, and waits until both askers have had answers.
    pub fn start(cluster: &Cluster, nettool: &str) -> Result<Self> {
        cluster.orknet(&["add-image", TOOLS, nettool])?;
        let kubectl = cluster.kubectl();
        talk::pod(&kubectl, "far", "nodeSelector: {kubernetes.io/hostname: node2}")?;
        talk::wait_ready(&kubectl, "far")?;
        let address = at(&talk::serve(&kubectl, "far", "far", "")?, 80);
        eventually("the Service to answer", || {
            Attempt::parse(&cluster.inside("node1", &[nettool, "try-tcp", &address])?)?.answer().map(drop)
        })?;
        let askers: String = ASKERS.iter().map(|(pod, mode)| asker(pod, mode, &address)).collect();
        kubectl.apply(&askers)?;
        kubectl.run(&["wait", "pod/holds", "pod/streams", "--for=condition=Ready", "--timeout=180s"])?;
        let logs = cluster.state_dir().join("node1/kubelet/pods-logs");
        let mut traffic = Self { kubectl, logs, pods: BTreeMap::new(), address };
        traffic.flows(1)?;
        traffic.pods = traffic.containers()?;
        Ok(traffic)
    }

    /// Where the questions go: the Service's address and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until both askers have had `more` answers more. Not one question may have failed, ever.
    pub fn flows(&self, more: usize) -> Result<()> {
        for (pod, _) in ASKERS {
            let before = self.answers(pod)?;
            eventually("more answers", || {
                let now = self.answers(pod)?;
                ensure!(now >= before + more, "{pod}: {now} answers, {before} before");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until the server tells of every container that there was at the start as it was then: same id, ready, no restart.
    pub fn no_container_was_touched(&self) -> Result<()> {
        eventually("all containers to be told of as they were", || {
            let now = self.containers()?;
            for (container, id) in &self.pods {
                ensure!(now.get(container) == Some(id), "{container} was {id} and is {:?}", now.get(container));
            }
            Ok(())
        })
    }

    fn answers(&self, pod: &str) -> Result<usize> {
        let mut directories = std::fs::read_dir(&self.logs)?.flatten().map(|entry| entry.path());
        let prefix = format!("default_{pod}_");
        let directory = directories.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)));
        let path = directory.with_context(|| format!("{pod} has no log"))?.join("asks/0.log");
        let log = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let failed: Vec<&str> = log.lines().filter(|line| line.contains("error") || line.contains("nettool:")).collect();
        ensure!(failed.is_empty(), "{pod}: {} of {} questions failed: {failed:?}", failed.len(), log.lines().count());
        Ok(log.lines().count())
    }

    /// A new pod can be made on each node, and reaches the Service.
    pub fn new_pods_join(&self) -> Result<()> {
        let pods = ["node1", "node2"].map(|node| (node, format!("late-{node}")));
        let manifests: String = pods.iter().map(|(node, pod)| sleeper(pod, node)).collect();
        self.kubectl.apply(&manifests)?;
        for (_, pod) in &pods {
            talk::wait_ready(&self.kubectl, pod)?;
            let client = Client::of(&self.kubectl, pod);
            eventually("the new pod to be answered", || client.attempt(How::Tcp, &self.address)?.answer().map(drop))?;
        }
        self.kubectl.run(&["delete", "pod", &pods[0].1, &pods[1].1, "--now", "--wait=false"]).map(drop)
    }

    /// Every container's id and how often it was started again.
    fn containers(&self) -> Result<BTreeMap<String, String>> {
        let list = self.kubectl.json(&["get", "pods"])?;
        let mut all = BTreeMap::new();
        for pod in list["items"].as_array().context("there is no list of pods")? {
            for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
                let name = format!("{}/{}", pod["metadata"]["name"], status["name"]);
                all.insert(name, format!("{} ready {} restarts {}", status["containerID"], status["ready"], status["restartCount"]));
            }
        }
        Ok(all)
    }
}

/// The node's condition Ready: its status, reason and message.
pub fn readiness(kubectl: &Kubectl, node: &str) -> Result<(String, String)> {
    let node = kubectl.json(&["get", "node", node])?;
    let conditions = node["status"]["conditions"].as_array().context("the node has no conditions")?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("the node does not say whether it is ready")?;
    Ok((ready["status"].as_str().unwrap_or_default().to_owned(), format!("{}: {}", ready["reason"], ready["message"])))
}

/// A pod on node1 that asks without end.
fn asker(pod: &str, mode: &str, address: &str) -> String {
    manifest(pod, "node1", &["nettool", mode, address, ENDLESS, PAUSE_MS])
}

/// A pod to ask from.
fn sleeper(pod: &str, node: &str) -> String {
    manifest(pod, node, &["sleep", "3600"])
}

fn manifest(pod: &str, node: &str, command: &[&str]) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers: [{{name: asks, image: "{TOOLS}", command: {command:?}}}]
"#
    )
}
