//! Pods that ask others again and again from their start on, and what came of each question, with its times. It is read from where kubelets keep
//! what pods say: it is there also while no server and no agent is.

use crate::talk::{Outcome, TOOLS, Target};
use crate::{Cluster, Kubectl, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// As many rounds as no test waits for, and the milliseconds between two.
const ENDLESS: &str = "100000";
const PAUSE_MS: &str = "200";

/// Milliseconds of the host's clock that never steps: the same in every namespace.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// One question, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub target: Target,
    pub outcome: Outcome,
    /// See [`now`].
    pub began: u64,
    pub ended: u64,
}

/// A pod that asks.
pub struct Prober {
    pub name: String,
    log: PathBuf,
}

impl Probe {
    /// A line of `nettool probe`.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [began, ended, rest] = words.as_slice() else { anyhow::bail!("nettool said {line:?}") };
        let (target, rest) = Target::parse(rest)?;
        let (first, second) = rest.split_once(' ').with_context(|| format!("nettool said {line:?}"))?;
        Ok(Self { target, outcome: Outcome::of(first, second), began: began.parse()?, ended: ended.parse()? })
    }

    /// Whether somebody answered; an error if it failed in another way than by silence.
    pub fn is_answered(&self) -> Result<bool> {
        self.outcome.is_answer().with_context(|| format!("{:?}", self.target))
    }
}

impl Prober {
    /// The manifest of one, on a node.
    pub fn manifest(name: &str, node: &str, labels: Value, targets: &[Target]) -> Value {
        let mut command = vec!["nettool".to_owned(), "probe".to_owned(), ENDLESS.to_owned(), PAUSE_MS.to_owned()];
        command.extend(targets.iter().map(Target::to_string));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {
            "nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "asks", "image": TOOLS, "command": command}]}})
    }

    /// One that there is in kubectl's namespace.
    pub fn find(cluster: &Cluster, kubectl: &Kubectl, name: &str) -> Result<Self> {
        let pod = kubectl.json(&["get", "pod", name])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (node, uid) = (text(&pod["spec"]["nodeName"]), text(&pod["metadata"]["uid"]));
        let folder = format!("{node}/kubelet/pods-logs/{}_{name}_{uid}/asks/0.log", kubectl.namespace());
        Ok(Self { name: name.to_owned(), log: cluster.state_dir().join(folder) })
    }

    /// All that is over.
    pub fn probes(&self) -> Result<Vec<Probe>> {
        let text = std::fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Probe::parse(line.splitn(4, ' ').last().unwrap_or_default())).collect()
    }

    /// Waits until it has asked each of its targets so often after this time, and knows what came of all that it asked before the last of them.
    pub fn asks_on(&self, targets: &[Target], since: u64, times: usize) -> Result<()> {
        eventually(&format!("{} to ask on", self.name), || {
            let mut counts: BTreeMap<Target, usize> = BTreeMap::new();
            let later = self.probes()?.into_iter().filter(|probe| probe.began >= since);
            later.for_each(|probe| *counts.entry(probe.target).or_default() += 1);
            for target in targets {
                let count = counts.get(target).copied().unwrap_or(0);
                ensure!(count >= times, "{target} was asked {count} times");
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::How;

    #[test]
    fn lines_of_a_container_are_questions_with_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("0.log");
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout F 5 9 tcp@10.0.0.1:80 web 10.0.0.2\n\
             2026-01-01T00:00:00Z stdout F 6 2006 udp@[fd00::1]:80 error TimedOut\n\
             2026-01-01T00:00:00Z stdout F 7 20",
        )
        .unwrap();
        let probes = Prober { name: "asks".into(), log }.probes().unwrap();
        let answered: Vec<_> = probes.iter().map(|probe| (probe.began, probe.ended, probe.is_answered().unwrap())).collect();
        assert_eq!(answered, [(5, 9, true), (6, 2006, false)]);
        assert_eq!(probes[1].target, Target::new(How::Udp, "fd00::1", 80));
        assert!(Probe::parse("1 2 tcp@10.0.0.1:80 error Refused").unwrap().is_answered().is_err());
        assert!(Probe::parse("1 2 what").is_err());
    }

    #[test]
    fn the_clock_goes_on() {
        let before = now();
        assert!(before > 0 && now() >= before);
    }
}
