//! Who has an address or a port when several Services want it: the one whose name comes first, whatever was seen first.
//!
//! Cluster addresses are unique, but for a moment when one event of a replacement has been seen and the other has not. Load-balancer
//! and external addresses may be shared by Services with different ports.

use crate::facts::{ObjectName, ServiceFacts};
use orknet_abi::Address;
use std::collections::{BTreeSet, HashMap};

/// Something that only one Service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A cluster address with all its ports.
    Cluster(Address),
    /// The entry of a load-balancer or external address as a whole.
    External(Address),
    /// A port (native byte order) of a load-balancer or external address, for one protocol.
    Port(Address, u16, u8),
    /// A port of all of the node's addresses, for one protocol.
    NodePort(u16, u8),
}

/// Everything that a Service claims, each once.
pub fn claims_of(service: &ServiceFacts) -> BTreeSet<Claim> {
    let mut claims: BTreeSet<_> = service.cluster_addresses.iter().map(|address| Claim::Cluster(*address)).collect();
    let Some(external) = &service.external else { return claims };
    for &address in external.balancer_addresses.iter().chain(&external.addresses) {
        claims.insert(Claim::External(address));
        claims.extend(service.ports.iter().map(|port| Claim::Port(address, port.port, port.protocol)));
    }
    let with_node_port = service.ports.iter().filter(|port| port.node_port != 0);
    claims.extend(with_node_port.map(|port| Claim::NodePort(port.node_port, port.protocol)));
    claims
}

/// The claims of all Services.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claimants: HashMap<Claim, Claimants>,
}

/// Nearly always there is one.
#[derive(Debug)]
enum Claimants {
    One(ObjectName),
    Many(BTreeSet<ObjectName>),
}

impl Claims {
    /// Who has it.
    pub fn owner(&self, claim: &Claim) -> Option<&ObjectName> {
        self.claimants.get(claim).and_then(Claimants::first)
    }

    /// All who want it.
    pub fn claimants(&self, claim: &Claim) -> Vec<ObjectName> {
        match self.claimants.get(claim) {
            None => Vec::new(),
            Some(Claimants::One(name)) => vec![name.clone()],
            Some(Claimants::Many(names)) => names.iter().cloned().collect(),
        }
    }

    /// Adds a claim. Whether that gives the thing to another owner.
    pub fn add(&mut self, claim: Claim, name: &ObjectName) -> bool {
        let before = self.owner(&claim).cloned();
        match self.claimants.get_mut(&claim) {
            None => drop(self.claimants.insert(claim, Claimants::One(name.clone()))),
            Some(Claimants::Many(names)) => _ = names.insert(name.clone()),
            Some(one) => *one = Claimants::Many(one.first().into_iter().chain([name]).cloned().collect()),
        }
        before.as_ref() != self.owner(&claim)
    }

    /// Takes a claim back. Whether the thing has another owner now, or none.
    pub fn remove(&mut self, claim: Claim, name: &ObjectName) -> bool {
        let was_owner = self.owner(&claim) == Some(name);
        match self.claimants.get_mut(&claim) {
            None => {}
            Some(Claimants::One(one)) if one == name => drop(self.claimants.remove(&claim)),
            Some(Claimants::One(_)) => {}
            Some(Claimants::Many(names)) => {
                names.remove(name);
                if names.is_empty() {
                    self.claimants.remove(&claim);
                }
            }
        }
        was_owner
    }
}

impl Claimants {
    fn first(&self) -> Option<&ObjectName> {
        match self {
            Self::One(name) => Some(name),
            Self::Many(names) => names.first(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectName {
        ObjectName { namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn the_first_name_has_it_and_the_next_one_follows() {
        let (mut claims, claim) = (Claims::default(), Claim::NodePort(30_080, 6));
        assert!(claims.add(claim, &object("b")));
        assert!(!claims.add(claim, &object("c")));
        assert!(claims.add(claim, &object("a")));
        assert_eq!(claims.claimants(&claim), [object("a"), object("b"), object("c")]);
        assert!(!claims.remove(claim, &object("b")));
        assert!(claims.remove(claim, &object("a")));
        assert_eq!(claims.owner(&claim), Some(&object("c")));
        assert!(claims.remove(claim, &object("c")));
        assert!(claims.claimants.is_empty());
    }
}
