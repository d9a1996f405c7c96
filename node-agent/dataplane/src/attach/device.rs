//! What the kernel says of a device: of which kind it is, how large its packets may be, in which form it has a program for frames from the
//! wire (rtnetlink(7)), and what its driver can do for such programs (the generic netlink family `netdev`, Linux 6.3). Knows nothing of
//! what it should have.

use super::netlink::{ask, attribute, with};
use nix::sys::socket::SockProtocol;
use std::io;

/// `RTM_GETLINK` (linux/rtnetlink.h).
const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg` before the attributes.
const LINK_HEADER: usize = 16;
/// `IFLA_MTU`; `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND` (linux/if_link.h).
const MTU: u16 = 4;
const LINK_INFO: u16 = 18;
const KIND: u16 = 1;
/// `IFLA_XDP`, and in it `IFLA_XDP_ATTACHED`, with the values `XDP_ATTACHED_DRV` and `XDP_ATTACHED_SKB` (linux/if_link.h).
const XDP: u16 = 43;
const ATTACHED: u16 = 2;
const DRIVER: u8 = 1;
const GENERIC: u8 = 2;

/// `GENL_ID_CTRL`; its command `CTRL_CMD_GETFAMILY` with `CTRL_ATTR_FAMILY_NAME`, and `CTRL_ATTR_FAMILY_ID` in the answer
/// (linux/genetlink.h).
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_NAME: u16 = 2;
const FAMILY_ID: u16 = 1;
/// `NETDEV_CMD_DEV_GET` with `NETDEV_A_DEV_IFINDEX`, and `NETDEV_A_DEV_XDP_FEATURES` in the answer (linux/netdev.h).
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const FEATURES: u16 = 3;
/// Bytes of `struct genlmsghdr` before the attributes.
const GENERIC_HEADER: usize = 4;

/// In which form a program is on a device's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The driver runs it.
    Driver,
    /// The kernel runs it after the driver.
    Generic,
}

/// A device as far as it matters to programs for frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// An end of a veth pair.
    pub(crate) is_veth: bool,
    /// An end of tunnels: it has no driver that could run a program, and no wire.
    pub(crate) is_tunnel: bool,
    /// The largest packet, in bytes from the IP header on.
    pub(crate) mtu: u32,
    /// `None` without a program.
    pub(crate) form: Option<Form>,
}

/// What a driver can do for programs, by the bits of `enum netdev_xdp_act` (linux/netdev.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u64);

impl Features {
    const RECEIVES_PIECES: u64 = 1 << 5;
    const TAKES_FRAMES: u64 = 1 << 2;
    const TAKES_PIECES: u64 = 1 << 6;

    /// Runs programs on frames of several pieces.
    pub(crate) fn receives_pieces(self) -> bool {
        self.0 & Self::RECEIVES_PIECES != 0
    }

    /// Sends frames that came from another device's program.
    pub(crate) fn takes_frames(self) -> bool {
        self.0 & Self::TAKES_FRAMES != 0
    }

    /// The same of frames of several pieces.
    pub(crate) fn takes_pieces(self) -> bool {
        self.0 & Self::TAKES_PIECES != 0
    }
}

/// Looks at a device by its index in the caller's network namespace.
///
/// # Errors
/// When the kernel can't be asked, and for a device that is not there.
pub(crate) fn look(ifindex: u32) -> io::Result<Device> {
    let mut body = [0; LINK_HEADER];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let answer = ask(SockProtocol::NetlinkRoute, GET_LINK, &body)?;
    Ok(read(answer.get(LINK_HEADER..).unwrap_or_default()))
}

/// What the device's driver can do now: some can more once a program is there. `None` if the kernel does not say.
pub(crate) fn features(ifindex: u32) -> Option<Features> {
    let generic = |family, command: u8, attribute: Vec<u8>| {
        let body = [vec![command, 1, 0, 0], attribute].concat();
        Some(ask(SockProtocol::NetlinkGeneric, family, &body).ok()?.get(GENERIC_HEADER..)?.to_vec())
    };
    let family = generic(CONTROLLER, GET_FAMILY, with(FAMILY_NAME, b"netdev\0"))?;
    let family = u16::from_ne_bytes(*attribute(&family, FAMILY_ID)?.first_chunk()?);
    let device = generic(family, GET_DEVICE, with(DEVICE_INDEX, &ifindex.to_ne_bytes()))?;
    Some(Features(u64::from_ne_bytes(*attribute(&device, FEATURES)?.first_chunk()?)))
}

fn read(attributes: &[u8]) -> Device {
    let kind = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, KIND));
    let kind = kind.map_or(&[][..], |name| name.strip_suffix(&[0]).unwrap_or(name));
    let mtu = attribute(attributes, MTU).and_then(|value| value.first_chunk());
    let form = match attribute(attributes, XDP).and_then(|xdp| attribute(xdp, ATTACHED)) {
        Some([DRIVER, ..]) => Some(Form::Driver),
        Some([GENERIC, ..]) => Some(Form::Generic),
        _ => None,
    };
    Device { is_veth: kind == b"veth", is_tunnel: kind == b"vxlan", mtu: mtu.map_or(0, |bytes| u32::from_ne_bytes(*bytes)), form }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_measure_and_form_are_read_where_they_are_and_nothing_is_read_from_what_is_cut() {
        let info = |kind: &[u8]| with(LINK_INFO, &[with(2, &[1, 2, 3]), with(KIND, kind)].concat());
        let list = [with(3, b"eth0\0"), with(MTU, &9_000_u32.to_ne_bytes()), info(b"veth\0")].concat();
        assert_eq!(read(&list), Device { is_veth: true, mtu: 9_000, ..Device::default() });
        assert!((0..list.len() - 4).all(|length| !read(&list[..length]).is_veth));
        assert!(read(&info(b"vxlan\0")).is_tunnel && !read(&info(b"bridge\0")).is_tunnel);
        for (value, form) in [(0, None), (1, Some(Form::Driver)), (2, Some(Form::Generic))] {
            assert_eq!(read(&with(XDP, &with(ATTACHED, &[value]))).form, form);
        }
    }

    #[test]
    fn root_the_loopback_device_is_seen_as_it_is() {
        let loopback = look(1).unwrap();
        assert!(loopback.mtu > 60_000 && !loopback.is_veth && !loopback.is_tunnel, "{loopback:?}");
        // It runs no programs in a driver. A kernel before 6.3 says nothing.
        assert!(features(1).is_none_or(|features| !features.takes_frames() && !features.receives_pieces()));
        assert_eq!(look(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
