//! The number of a network namespace, which programs see of every socket.
#![allow(unsafe_code)]

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::{io, os::fd::AsRawFd as _, ptr};

/// The kernel's number of the caller's network namespace, never used again for another (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn namespace_cookie() -> io::Result<u64> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option is 8 bytes long, as the value is; value and size are writable and outlive the call.
    let answer = unsafe {
        let (value, size) = (ptr::from_mut(&mut cookie).cast(), ptr::from_mut(&mut size));
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, value, size)
    };
    if answer == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// asm-generic/socket.h.
const SO_NETNS_COOKIE: libc::c_int = 71;

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::thread;

    #[test]
    fn root_namespaces_have_numbers_of_their_own() {
        let here = namespace_cookie().unwrap();
        assert_eq!(namespace_cookie().unwrap(), here);
        let there = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            namespace_cookie().unwrap()
        });
        assert_ne!(there.join().unwrap(), here);
    }
}
