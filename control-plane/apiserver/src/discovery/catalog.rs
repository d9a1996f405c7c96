//! All that clients can ask for, by group and version: this server's kinds, and what extension servers serve, in the order of discovery. Pure.

use crate::aggregation::{self, Discovered, GroupVersion, Table};
use crate::kinds::Kinds;
use std::collections::HashMap;

/// See the module.
pub struct Catalog<'a> {
    pub kinds: &'a Kinds,
    groups: Vec<(String, Vec<(String, Source)>)>,
}

/// Who serves a group version.
pub enum Source {
    Here,
    /// An extension server, and what it has told so far.
    There(Discovered),
}

impl<'a> Catalog<'a> {
    /// Who serves a group version elsewhere takes the place of what is here.
    pub fn new(kinds: &'a Kinds, table: &Table, discovered: &HashMap<GroupVersion, Discovered>) -> Self {
        let mut groups: Vec<(String, Vec<(String, Source)>)> = Vec::new();
        let mut add = |group: &str, version: &str, source: Source| {
            let at = groups.iter().position(|(known, _)| known == group).unwrap_or_else(|| {
                groups.push((group.to_owned(), Vec::new()));
                groups.len() - 1
            });
            groups[at].1.push((version.to_owned(), source));
        };
        for (group, versions) in kinds.groups() {
            for version in versions {
                if table.remote(group, version).is_none() {
                    add(group, version, Source::Here);
                }
            }
        }
        for remote in table.remotes() {
            let told = discovered.get(&(remote.group.clone(), remote.version.clone()));
            let mut told = told.cloned().unwrap_or_else(|| Discovered { stale: true, ..Discovered::default() });
            told.stale |= !remote.available;
            add(&remote.group, &remote.version, Source::There(told));
        }
        aggregation::sort(&mut groups, |group, version| table.priority(group, version));
        Self { kinds, groups }
    }

    /// This server's kinds alone.
    #[cfg(test)]
    pub fn of(kinds: &'a Kinds) -> Self {
        Self::new(kinds, &Table::default(), &HashMap::new())
    }

    /// Groups with their versions.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &[(String, Source)])> {
        self.groups.iter().map(|(group, versions)| (&group[..], &versions[..]))
    }
}
