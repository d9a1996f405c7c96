//! Pure: the message of a pod that fits nowhere, in the words that users know from kube-scheduler.

use std::collections::BTreeMap;

use crate::filter::Rejection;
use crate::preemption::Verdict;

/// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`, and what preemption can do about it unless it does something.
pub(crate) fn message(nodes: usize, refused: &[Vec<Rejection>], preemption: &Verdict) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let reasons = refused.iter().flatten().map(|rejection| rejection.reason.as_ref());
    let refusal = counted(nodes, reasons);
    match preemption {
        Verdict::Displace(_) => refusal,
        Verdict::NoVictims => format!("{refusal} preemption: {}", no_victims(nodes, refused)),
        Verdict::NotEligible(why) => format!("{refusal} preemption: {why}"),
    }
}

fn no_victims(nodes: usize, refused: &[Vec<Rejection>]) -> String {
    let reasons = refused.iter().map(|rejections| {
        if rejections.iter().all(|rejection| rejection.preemptable) {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    });
    counted(nodes, reasons)
}

fn counted<'a>(nodes: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut texts: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    format!("0/{nodes} nodes are available: {}.", texts.join(", "))
}
