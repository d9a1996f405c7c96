//! Questions to the kernel over netlink (netlink(7)), one message there and one back, and the attributes of what it answers.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::{io, os::fd::AsRawFd as _};

/// `NLM_F_REQUEST` and `NLMSG_ERROR` (linux/netlink.h).
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The kernel sends no larger datagrams to who does not ask for them.
const DATAGRAM: usize = 32 * 1024;

/// Asks one question of a netlink protocol; the answer's bytes after its header.
///
/// # Errors
/// What the kernel answers, as "no such device", and when it can't be asked.
pub(super) fn ask(protocol: SockProtocol, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend([kind.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    // Number and sender of the question, which the kernel fills in or gives back.
    message.extend([0; 8]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = vec![0; DATAGRAM];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(length);
    body_of(&answer).map(<[u8]>::to_vec)
}

/// An attribute, padded as the next one wants it.
pub(super) fn with(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [&((4 + value.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a type.
pub(super) fn attribute(mut list: &[u8], wanted: u16) -> Option<&[u8]> {
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

fn body_of(answer: &[u8]) -> io::Result<&[u8]> {
    let cut = || io::Error::other("a netlink message is cut off");
    let [.., kind_a, kind_b] = *answer.first_chunk::<6>().ok_or_else(cut)?;
    let body = answer.get(HEADER..).ok_or_else(cut)?;
    if u16::from_ne_bytes([kind_a, kind_b]) == ERROR {
        let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_kernels_own_and_what_is_cut_off_is_one() {
        let mut answer = vec![0; HEADER];
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        answer.extend((-libc::ENODEV).to_ne_bytes());
        assert_eq!(body_of(&answer).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        answer[4..6].copy_from_slice(&16_u16.to_ne_bytes());
        assert_eq!(body_of(&answer).unwrap().len(), 4);
        assert!((0..HEADER).all(|length| body_of(&answer[..length]).is_err()));
    }

    #[test]
    fn attributes_are_found_behind_others_and_none_in_what_is_cut() {
        let list = [with(1, b"odd"), with(2, &[7; 8])].concat();
        assert_eq!((attribute(&list, 1), attribute(&list, 2), attribute(&list, 3)), (Some(&b"odd"[..]), Some(&[7; 8][..]), None));
        assert!((0..list.len()).all(|length| attribute(&list[..length], 2).is_none()));
        assert_eq!(attribute(&[0; 8], 2), None, "a length of 0 leads nowhere");
    }
}
