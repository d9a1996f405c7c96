//! Traffic that must not notice a fault: a connection that is held, and new connections one after the other, both through a
//! ClusterIP from a pod on one node to a pod on the other; with a record of all pods, to see whether any was touched.

use crate::talk::{self, Client, TOOLS, at};
use crate::{Cluster, Kubectl, eventually};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// As many questions as no test waits for.
const ENDLESS: &str = "100000";
const PAUSE_MS: &str = "10";
const ASKERS: [(&str, &str); 2] = [("holds", "hold-tcp"), ("streams", "log-tcp")];

/// Traffic of a cluster with at least two nodes.
pub struct Traffic {
    kubectl: Kubectl,
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
        let probe = Client::on_node(&kubectl, "probe", "node1")?;
        eventually("the Service to answer", 20, || probe.attempt(talk::How::Tcp, &address)?.answer().map(drop))?;
        for (pod, mode) in ASKERS {
            kubectl.apply(&format!(
                r#"
apiVersion: v1
kind: Pod
metadata: {{name: {pod}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: node1}}
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers: [{{name: asks, image: "{TOOLS}", command: [nettool, {mode}, "{address}", "{ENDLESS}", "{PAUSE_MS}"]}}]
"#
            ))?;
            talk::wait_ready(&kubectl, pod)?;
        }
        let mut traffic = Self { kubectl, pods: BTreeMap::new(), address };
        traffic.flows(1)?;
        traffic.pods = traffic.containers()?;
        Ok(traffic)
    }

    /// Answers that both askers have had up to now; every single question was answered.
    pub fn answers(&self) -> Result<usize> {
        let mut least = usize::MAX;
        for (pod, _) in ASKERS {
            let log = self.kubectl.run(&["logs", pod])?;
            let failed: Vec<&str> = log.lines().filter(|line| line.contains("error") || line.starts_with("nettool:")).collect();
            ensure!(failed.is_empty(), "{pod}: {} of {} questions failed: {failed:?}", failed.len(), log.lines().count());
            least = least.min(log.lines().count());
        }
        Ok(least)
    }

    /// Waits until both askers have had `more` answers more, and checks that nothing failed and that no container was touched.
    pub fn flows(&self, more: usize) -> Result<()> {
        let before = self.answers()?;
        eventually("more answers", 20, || {
            let now = self.answers()?;
            ensure!(now >= before + more, "{now} answers, {before} before");
            Ok(())
        })?;
        if !self.pods.is_empty() {
            let now = self.containers()?;
            for (container, id) in &self.pods {
                ensure!(now.get(container) == Some(id), "{container} was {id} and is {:?}", now.get(container));
            }
        }
        Ok(())
    }

    /// A new pod can be made on each node, and reaches the Service.
    pub fn new_pods_join(&self) -> Result<()> {
        for node in ["node1", "node2"] {
            let pod = format!("late-{node}");
            let client = Client::on_node(&self.kubectl, &pod, node)?;
            eventually("the new pod to be answered", 20, || client.attempt(talk::How::Tcp, &self.address)?.answer().map(drop))?;
            self.kubectl.run(&["delete", "pod", &pod, "--now"])?;
        }
        Ok(())
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
