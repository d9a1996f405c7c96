//! One line per entry: the form of dumps and golden files.

use super::{BackendRow, NodeRow, PeerRow, PodRow, RangeRow, RuleRow, SaidRow, ServiceRow, SourcesRow, TableRow, VerdictRow};
use crate::image::MapImage;
use orknet_abi::{RangeKey, scope};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A range as people write it: `10.96.0.0/16`.
pub fn range_text(range: &RangeKey) -> String {
    let before = if range.address.is_v4() { 96 } else { 0 };
    format!("{}/{}", IpAddr::from(range.address), range.prefix_bits.saturating_sub(before))
}

/// The name of a Service's scope.
pub fn scope_name(scope: u8) -> &'static str {
    match scope {
        scope::INSIDE => "inside",
        scope::OUTSIDE => "outside",
        _ => "nowhere",
    }
}

/// An empty image says so.
impl fmt::Display for MapImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "maps empty");
        }
        self.node_row().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.range_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.service_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.backend_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.table_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.sources_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.pod_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.peer_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.verdict_rows().iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.rule_rows().iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl fmt::Display for NodeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("node")?;
        for address in self.v4.iter().chain(&self.v6) {
            write!(f, " {address}")?;
        }
        write!(f, " ports {}-{}", self.first_port, self.last_port)?;
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        if self.overlay > 0 {
            write!(f, " overlay device {}", self.overlay)?;
        }
        write!(f, " tables of {}", self.table_size)
    }
}

impl fmt::Display for RangeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range {}", self.range)?;
        for kind in &self.kinds {
            write!(f, " {kind}")?;
        }
        self.node.iter().try_for_each(|node| write!(f, " on {node}"))
    }
}

impl fmt::Display for ServiceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol.is_empty() {
            write!(f, "service {}", self.address)?;
        } else {
            write!(f, "service {}/{}", SocketAddr::new(self.address, self.port), self.protocol)?;
        }
        if self.scope != scope_name(scope::INSIDE) {
            write!(f, " {}", self.scope)?;
        }
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        if self.affinity_seconds > 0 {
            write!(f, " {}s", self.affinity_seconds)?;
        }
        match self.count {
            0 if self.protocol.is_empty() => {}
            0 => write!(f, " -> nobody")?,
            count => write!(f, " -> list {} of {count}", self.list)?,
        }
        if self.table > 0 {
            write!(f, " by table {}", self.table)?;
        }
        if self.sources > 0 { write!(f, " from sources {}", self.sources) } else { Ok(()) }
    }
}

impl fmt::Display for BackendRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}/{} {}", self.list, self.slot, self.backend)
    }
}

impl fmt::Display for TableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} of {} {}", self.table, self.size, self.fingerprint)?;
        for share in &self.shares {
            match share.address {
                Some(address) => write!(f, ", {} {address} {}", share.slot, share.positions)?,
                None => write!(f, ", {} {}", share.slot, share.positions)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for SourcesRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sources {} {}", self.set, self.ranges.join(" "))
    }
}

impl fmt::Display for PodRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {} device {} pod-mac {} host-mac {}", self.address, self.ifindex, self.pod_mac, self.host_mac)?;
        let mut sets = ["ingress", "egress", "own-ingress", "own-egress"].into_iter().zip(self.sets).filter(|(_, set)| *set != 0);
        sets.try_for_each(|(name, set)| write!(f, " {name} {set}"))
    }
}

impl fmt::Display for PeerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {} peers {}", self.range, self.peers)
    }
}

impl fmt::Display for VerdictRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set {} peers {}", self.set, self.peers)?;
        self.ports.iter().try_for_each(|port| write!(f, " {port} {},", port.said))?;
        write!(f, " {}", self.otherwise)?;
        if self.table > 0 { write!(f, " by ports {}", self.table) } else { Ok(()) }
    }
}

impl fmt::Display for SaidRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action)?;
        if self.rule > 0 { write!(f, " rule {}", self.rule) } else { Ok(()) }
    }
}

impl fmt::Display for RuleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} {} {} {} {}", self.rule, self.kind, self.uid, self.direction, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_they_were_written() {
        for (address, bits, text) in [("10.96.0.0", 16, "10.96.0.0/16"), ("fd00:10:96::", 112, "fd00:10:96::/112"), ("::", 0, "::/0")] {
            assert_eq!(range_text(&RangeKey::new(address.parse().unwrap(), bits)), text);
        }
    }
}
