//! Devices to the network that do not do what the configuration wants of them: what the node and its events say of it. What is wrong the
//! data plane finds, at each comparison anew; so it ends when the trouble does.

use crate::notice::{Condition, Matter, Warning, about_node};
use orknet_dataplane::Trouble;
use std::collections::BTreeMap;

/// The condition's type in the node's status.
pub const CONDITION: &str = "NetworkDevicesDegraded";
/// The condition's reason where nothing is wrong.
const WHOLE: &str = "DevicesServe";

/// What is wrong, by the device's index.
pub type Troubles = BTreeMap<u32, Trouble>;

impl Matter for Troubles {
    fn condition(&self) -> Condition {
        let worst = self.values().map(|trouble| trouble.kind).min();
        let mut messages: Vec<_> = self.values().map(ToString::to_string).collect();
        if messages.is_empty() {
            messages.push("the devices that lead to the network do what the configuration wants of them".to_owned());
        }
        Condition {
            kind: CONDITION,
            is_true: worst.is_some(),
            reason: worst.map_or(WHOLE, |kind| kind.name()),
            message: messages.join(". "),
        }
    }

    fn warnings(&self, node: &str, told: &Self) -> Vec<Warning> {
        let is_new = |(index, trouble): &(&u32, &Trouble)| told.get(index).is_none_or(|told| told.kind != trouble.kind);
        self.iter().filter(is_new).map(|(_, trouble)| about_node(node, trouble.kind.name(), trouble.to_string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_dataplane::TroubleKind;

    fn trouble(device: &str, kind: TroubleKind) -> Trouble {
        Trouble { device: device.into(), kind, why: "it is so".into(), remedy: "do something".into() }
    }

    #[test]
    fn the_worst_gives_the_reason_and_every_device_its_sentence() {
        let troubles = Troubles::from([(2, trouble("eth0", TroubleKind::Generic)), (3, trouble("eth1", TroubleKind::NotBeforeStack))]);
        let condition = troubles.condition();
        assert_eq!((condition.is_true, condition.reason), (true, "NoXdp"));
        let expected = "eth0: XDP takes the kernel's generic way, since it is so; do something. \
            eth1: frames are served by the stack's programs, not by XDP, since it is so; do something";
        assert_eq!(condition.message, expected);
        let none = Troubles::new().condition();
        assert_eq!((none.is_true, none.reason), (false, WHOLE));
    }

    #[test]
    fn a_trouble_is_an_event_once_and_again_when_it_is_another() {
        let generic = Troubles::from([(2, trouble("eth0", TroubleKind::Generic))]);
        let first = generic.warnings("here", &Troubles::new());
        assert_eq!((first.len(), first[0].reason, &first[0].about["kind"]), (1, "GenericXdp", &"Node".into()));
        assert!(first[0].message.starts_with("eth0: ") && first[0].message.ends_with("; do something"), "{}", first[0].message);
        assert_eq!(generic.warnings("here", &generic), []);
        let worse = Troubles::from([(2, trouble("eth0", TroubleKind::NotServed))]);
        assert_eq!(worse.warnings("here", &generic)[0].reason, "DeviceNotServed");
        assert_eq!(Troubles::new().warnings("here", &worse), []);
    }
}
