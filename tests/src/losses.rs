//! Segments that TCP had to send again: packets that were lost on the way, of which no program learns.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Sent once more, whatever the reason.
const AGAIN: &str = "RetransSegs";
/// Those of them of which the receiver told that it has had them already (RFC 2883): late, as on a host with too little time, and not lost.
const LATE: [&str; 2] = ["TCPDSACKRecv", "TCPDSACKOfoRecv"];
/// In the names of counters that tell why.
const TROUBLE: [&str; 8] = ["Retrans", "DSACK", "Timeouts", "Probe", "Recovery", "Abort", "Drop", "Lost"];

/// What TCP of a network namespace has counted since that began: counters of `/proc/net/snmp` and `/proc/net/netstat` by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments(BTreeMap<String, u64>);

impl Segments {
    /// Reads the counters by a command that is run in the namespace.
    pub fn of(run: impl FnOnce(&[&str]) -> Result<String>) -> Result<Self> {
        Self::parse(&run(&["cat", "/proc/net/snmp", "/proc/net/netstat"])?)
    }

    /// Pairs of lines, `GROUP: NAME…` and `GROUP: NUMBER…`.
    fn parse(text: &str) -> Result<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let mut counters = BTreeMap::new();
        for pair in lines.chunks(2) {
            let [names, numbers] = pair else { continue };
            if !names.starts_with("Tcp") {
                continue;
            }
            let (names, numbers) = (names.split_whitespace().skip(1), numbers.split_whitespace().skip(1));
            // Some are no counts: -1 stands for no limit.
            counters.extend(names.zip(numbers).filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))));
        }
        for name in [AGAIN].iter().chain(&LATE) {
            ensure!(counters.contains_key(*name), "the kernel does not count {name}");
        }
        Ok(Self(counters))
    }

    /// How many were lost since then.
    pub fn lost_since(&self, before: &Self) -> u64 {
        let more = |name: &str| self.get(name).saturating_sub(before.get(name));
        more(AGAIN).saturating_sub(LATE.iter().map(|name| more(name)).sum())
    }

    /// The counters of what went wrong that have grown since then.
    pub fn since(&self, before: &Self) -> BTreeMap<&str, u64> {
        let is_trouble = |name: &str| TROUBLE.iter().any(|part| name.contains(part));
        let troubles = self.0.iter().filter(|(name, _)| is_trouble(name));
        troubles.map(|(name, now)| (name.as_str(), now.saturating_sub(before.get(name)))).filter(|(_, more)| *more > 0).collect()
    }

    fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_again_is_lost_unless_it_had_come() {
        let text = |again: u64, late: u64| {
            format!(
                "Ip: Forwarding InReceives\nIp: 1 7\nTcp: RtoAlgorithm MaxConn RetransSegs\nTcp: 1 -1 {again}\n\
                 TcpExt: TCPTimeouts TCPDSACKRecv TCPDSACKOfoRecv\nTcpExt: 3 {late} 0\n"
            )
        };
        let before = Segments::parse(&text(2, 1)).unwrap();
        let after = Segments::parse(&text(7, 3)).unwrap();
        assert_eq!((after.lost_since(&before), after.lost_since(&after)), (3, 0));
        assert_eq!(after.since(&before), BTreeMap::from([("RetransSegs", 5), ("TCPDSACKRecv", 2)]));
        assert_eq!(Segments::parse(&text(4, 3)).unwrap().lost_since(&before), 0);
        assert!(Segments::parse("Tcp: MaxConn\nTcp: -1\n").is_err());
    }

    #[test]
    fn this_kernel_counts_them() {
        let here = Segments::of(|words| Ok(words[1..].iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()));
        here.unwrap();
    }
}
