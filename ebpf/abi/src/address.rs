//! The one address form that maps and programs use.

/// An IP address as 16 bytes in network order; IPv4 is mapped into IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
///
/// Aligned to words, so that programs move it in words.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "both go by all bytes")]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The mapped form of an IPv4 address given in network order, as it stands in a packet.
    #[inline(always)]
    pub const fn from_v4(octets: [u8; 4]) -> Self {
        // As one number, which the target moves by words.
        Self((0xffff_0000_0000 | u32::from_be_bytes(octets) as u128).to_be_bytes())
    }

    /// Whether this is an IPv4 address in mapped form.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        u128::from_be_bytes(self.0) >> 32 == 0xffff
    }

    /// Whether this is the unspecified address of IPv6, `::`.
    #[inline(always)]
    pub const fn is_unspecified_v6(&self) -> bool {
        u128::from_ne_bytes(self.0) == 0
    }

    /// Whether this is an IPv6 link-local unicast address, `fe80::/10` (RFC 4291 section 2.5.6).
    #[inline(always)]
    pub const fn is_link_local_v6(&self) -> bool {
        self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80
    }

    /// Whether this is an IPv6 multicast address, `ff00::/8` (RFC 4291 section 2.7).
    #[inline(always)]
    pub const fn is_multicast_v6(&self) -> bool {
        self.0[0] == 0xff
    }

    /// The last four bytes: the IPv4 address, if [`Self::is_v4`].
    #[inline(always)]
    pub const fn v4_octets(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }
}

impl PartialEq for Address {
    /// By words, as the derived one would not: that goes byte by byte on the target.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        u128::from_ne_bytes(self.0) == u128::from_ne_bytes(other.0)
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::from_v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() { Self::from(address.v4_octets()) } else { Self::from(address.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn addresses_of_both_families_come_back() {
        for text in ["10.1.2.3", "::", "fd00::1", "255.255.255.255", "0.0.0.0"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
    }

    #[test]
    fn scopes_of_ipv6_are_told_apart() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert!(address("::").is_unspecified_v6() && !address("0.0.0.0").is_unspecified_v6());
        assert!(address("fe80::1").is_link_local_v6() && address("febf::1").is_link_local_v6());
        assert!(!address("fec0::1").is_link_local_v6() && !address("169.254.1.1").is_link_local_v6());
        assert!(address("ff02::1").is_multicast_v6() && !address("224.0.0.1").is_multicast_v6());
    }
}
