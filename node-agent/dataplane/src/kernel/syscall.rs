//! The one place that calls bpf(2).
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

/// Commands, `enum bpf_cmd` in linux/bpf.h.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    #[cfg(test)]
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgTestRun = 10,
    ObjGetInfoByFd = 15,
    MapLookupAndDeleteElem = 21,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// The attributes of one command: its part of `union bpf_attr`.
///
/// # Safety
/// The type is `repr(C)`, laid out as the command's part of the union, without padding, and every address in it is valid for
/// what the kernel does there for as long as the value is passed to [`bpf`].
pub(super) unsafe trait Attributes {
    const COMMAND: Command;
}

/// Runs a command; the answer is what the kernel returned, never negative.
pub(super) fn bpf<A: Attributes>(attributes: &mut A) -> io::Result<i64> {
    loop {
        // SAFETY: `Attributes` promises the layout and the validity of all addresses; the size is the type's.
        let answer = unsafe { libc::syscall(libc::SYS_bpf, A::COMMAND as i32, std::ptr::from_mut(attributes), size_of::<A>()) };
        if answer >= 0 {
            return Ok(answer);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Runs a command that answers a file descriptor, which the caller then owns.
pub(super) fn bpf_fd<A: Attributes>(attributes: &mut A) -> io::Result<OwnedFd> {
    let answer = bpf(attributes)?;
    let fd = i32::try_from(answer).map_err(|_| io::Error::other("not a file descriptor"))?;
    // SAFETY: the commands that this is used for answer a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
