//! What the kernel says of a device, over netlink (rtnetlink(7)): whether it is an end of a virtual cable (veth), and in which form it has a
//! program for frames from the wire. Knows nothing of which it should have.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::{io, os::fd::AsRawFd as _};

/// `RTM_GETLINK`, `RTM_NEWLINK` and `NLM_F_REQUEST` (linux/rtnetlink.h, linux/netlink.h).
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const REQUEST: u16 = 1;
/// `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND` (linux/if_link.h).
const LINK_INFO: u16 = 18;
const KIND: u16 = 1;
/// `IFLA_XDP`, and in it `IFLA_XDP_ATTACHED`, with the values `XDP_ATTACHED_DRV` and `XDP_ATTACHED_SKB` (linux/if_link.h).
const XDP: u16 = 43;
const ATTACHED: u16 = 2;
const DRIVER: u8 = 1;
const GENERIC: u8 = 2;
/// Bytes before the attributes: a netlink header and `struct ifinfomsg`.
const HEADERS: usize = 32;
/// The kernel sends no larger datagrams to who does not ask for them.
const DATAGRAM: usize = 32 * 1024;

/// In which form a program is on a device's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The driver runs it.
    Driver,
    /// The kernel runs it after the driver.
    Generic,
}

/// Whether the device, by its index in the caller's network namespace, is an end of a veth pair.
///
/// # Errors
/// When the kernel can't be asked. A device that is not there is none.
pub(super) fn is_veth(ifindex: u32) -> io::Result<bool> {
    Ok(kind(&ask(ifindex)?) == Some(b"veth"))
}

/// In which form the device, by its index in the caller's network namespace, has a program for frames from the wire; `None` without one.
///
/// # Errors
/// When the kernel can't be asked.
pub(super) fn form(ifindex: u32) -> io::Result<Option<Form>> {
    Ok(attached(&ask(ifindex)?))
}

fn ask(ifindex: u32) -> io::Result<Vec<u8>> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut message = Vec::with_capacity(HEADERS);
    message.extend((HEADERS as u32).to_ne_bytes());
    message.extend([GET_LINK.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    message.extend([0; 12]);
    message.extend(ifindex.to_ne_bytes());
    message.extend([0; 8]);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = vec![0; DATAGRAM];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}

/// The kind of device that an answer is about; none of what is made of hardware, and of an error.
fn kind(message: &[u8]) -> Option<&[u8]> {
    let name = attribute(attribute(attributes(message)?, LINK_INFO)?, KIND)?;
    Some(name.strip_suffix(&[0]).unwrap_or(name))
}

fn attached(message: &[u8]) -> Option<Form> {
    match attribute(attribute(attributes(message)?, XDP)?, ATTACHED)? {
        [DRIVER, ..] => Some(Form::Driver),
        [GENERIC, ..] => Some(Form::Generic),
        _ => None,
    }
}

/// What an answer says of a device; `None` if it is about something else.
fn attributes(message: &[u8]) -> Option<&[u8]> {
    if message.get(4..6)? != NEW_LINK.to_ne_bytes() {
        return None;
    }
    message.get(HEADERS..)
}

/// The value of the first attribute of a type.
fn attribute(mut list: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some([a, b, c, d]) = list.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let value = list.get(4..length)?;
        if u16::from_ne_bytes([*c, *d]) == wanted {
            return Some(value);
        }
        list = list.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_form_are_read_where_they_are_and_nothing_is_read_from_what_is_cut() {
        let with = |kind: u16, value: &[u8]| {
            let mut bytes = [&((4 + value.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let info = [with(2, &[1, 2, 3]), with(KIND, b"veth\0")].concat();
        let mut message = vec![0; HEADERS];
        message[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
        message.extend([with(3, b"eth0\0"), with(LINK_INFO, &info)].concat());
        assert_eq!((kind(&message), attached(&message)), (Some(&b"veth"[..]), None));
        for length in 0..message.len() - 4 {
            assert_eq!(kind(&message[..length]), None);
        }
        for (value, form) in [(0, None), (1, Some(Form::Driver)), (2, Some(Form::Generic))] {
            let with_program = [&message[..], &with(XDP, &with(ATTACHED, &[value]))].concat();
            assert_eq!(attached(&with_program), form);
        }
        message[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(kind(&message), None, "an error");
    }
}
