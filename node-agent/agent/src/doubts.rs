//! A reset cannot be taken back. So a TCP connection's backend must be gone twice in a row, a second apart: an endpoint that moves from
//! one slice to another may be in none for a moment. Everything else only chooses another backend, and does so at once.

use orknet_abi::protocol;
use orknet_dataplane::Use;
use std::collections::BTreeSet;

/// What seems to be gone and is not believed yet.
#[derive(Debug, Default)]
pub struct Doubts {
    before: BTreeSet<Use>,
    now: BTreeSet<Use>,
}

impl Doubts {
    /// Of what seems to be gone in this pass, what is.
    pub fn believed(&mut self, seeming: BTreeSet<Use>) -> BTreeSet<Use> {
        self.now.extend(seeming.iter().filter(|used| used.protocol == protocol::TCP));
        seeming.into_iter().filter(|used| used.protocol != protocol::TCP || self.before.contains(used)).collect()
    }

    /// The pass is over. Whether it left doubts, so that another should follow soon.
    pub fn end_pass(&mut self) -> bool {
        let are_new = !self.now.is_subset(&self.before);
        self.before = std::mem::take(&mut self.now);
        are_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Address, Backend};

    fn used(protocol: u8, port: u16) -> Use {
        Use { front: Address::default(), front_port_be: port, protocol, backend: Backend::default() }
    }

    #[test]
    fn connections_must_be_lost_twice_in_a_row_and_everything_else_once() {
        let (udp, first, second) = (used(protocol::UDP, 1), used(protocol::TCP, 1), used(protocol::TCP, 2));
        let mut doubts = Doubts::default();
        let mut pass = |seeming: &[Use]| {
            let believed: Vec<_> = doubts.believed(seeming.iter().copied().collect()).into_iter().collect();
            (believed, doubts.end_pass())
        };
        assert_eq!(pass(&[udp, first]), (vec![udp], true));
        assert_eq!(pass(&[first, second]), (vec![first], true));
        // It came back, and goes again.
        assert_eq!(pass(&[]), (vec![], false));
        assert_eq!(pass(&[second]), (vec![], true));
        assert_eq!(pass(&[second]), (vec![second], false));
    }
}
