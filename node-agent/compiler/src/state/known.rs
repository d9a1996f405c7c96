//! Changes that say nothing new.

use super::{Change, State};

impl State {
    /// Whether this is known already, so that nothing is to be planned for it. What seldom changes is taken for new.
    pub fn knows(&self, change: &Change) -> bool {
        match change {
            Change::Service(name, facts) => self.services.get(name).and_then(|entry| entry.service.as_ref()) == facts.as_ref(),
            Change::Slice(name, None) => !self.owner_of_slice.contains_key(name),
            Change::Slice(name, Some(facts)) => self.owner_of_slice.get(name).is_some_and(|service| {
                let owner = crate::facts::ObjectName { namespace: name.namespace.clone(), name: service.clone() };
                let slices = self.services.get(&owner).map(|entry| &entry.slices);
                slices.is_some_and(|slices| slices.iter().any(|(slice, known)| *slice == name.name && known == facts))
            }),
            Change::Node(facts) => *facts == self.node,
            Change::Ranges(ranges) => *ranges == self.ranges,
            Change::Options(options) => *options == self.options,
            Change::Attachment(..) | Change::Settings(_) => false,
            of_policies => self.policies.knows(of_policies),
        }
    }
}
