//! What the nodes of a VXLAN overlay must agree on (RFC 7348), so that nobody has to ask anybody.

use crate::Address;

/// The network identifier (VNI) of the overlay: there is one.
pub const OVERLAY_ID: u32 = 1;

/// The MAC address of a node's overlay device, which inner frames to it must carry. `node` is the address by which the other nodes
/// reach it, its first InternalIP. Locally administered; two IPv4 addresses never give the same.
#[inline(always)]
pub const fn overlay_mac(node: &Address) -> [u8; 6] {
    let mut mixed = 0u32;
    let mut word = 0;
    while word < 4 {
        let at = word * 4;
        let value = u32::from_be_bytes([node.0[at], node.0[at + 1], node.0[at + 2], node.0[at + 3]]);
        // The prime of FNV-1a: as an odd number it loses nothing of the last word.
        mixed = mixed.wrapping_mul(0x0100_0193).wrapping_add(value);
        word += 1;
    }
    let [a, b, c, d] = mixed.to_be_bytes();
    [0x02, 0x4f, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn neighbours_have_macs_of_their_own() {
        let mac = |text: &str| overlay_mac(&Address::from(text.parse::<IpAddr>().unwrap()));
        let addresses =
            ["10.0.0.1", "10.0.0.2", "10.0.1.0", "fd00::1", "fd00::2", "fd00::1:0", "fd00::1:0:0", "fd00:0:0:1::", "fd00::1:0:0:1"];
        for (at, one) in addresses.iter().enumerate() {
            assert_eq!(mac(one)[0] & 3, 2, "unicast, locally administered");
            assert!(addresses[at + 1..].iter().all(|other| mac(one) != mac(other)), "{one}");
        }
    }
}
