//! Links: a program at its attach point, held by a file descriptor or a pin.
#![allow(unsafe_code)]

use super::syscall::{Attributes, Command, bpf, bpf_fd};
use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_LINK_TYPE_CGROUP`, `BPF_LINK_TYPE_XDP` and `BPF_LINK_TYPE_TCX` in linux/bpf.h.
const CGROUP: u32 = 3;
const XDP: u32 = 6;
const TCX: u32 = 11;

/// Where a link sits; what was removed from under a link leaves zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkTarget {
    /// A cgroup v2 by its number, which is the inode number of its directory.
    Cgroup(u64),
    /// A device by its index, in the namespace of who asks.
    Device(u32),
    /// Another kind of link.
    Other,
}

/// An attached program. Dropping the last descriptor and pin detaches it.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Attaches a program to a cgroup, beside those that others attached.
    pub(crate) fn to_cgroup(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<Self> {
        Self::create(program, cgroup.as_raw_fd() as u32, attach_type)
    }

    /// Attaches a program to a device through tcx, after those that others attached.
    pub(crate) fn to_device(program: BorrowedFd<'_>, ifindex: u32, attach_type: u32) -> io::Result<Self> {
        Self::create(program, ifindex, attach_type)
    }

    /// Attaches a program to the frames that a device takes from its wire; `flags` are those of XDP (`XDP_FLAGS_` in linux/if_link.h).
    pub(crate) fn to_wire(program: BorrowedFd<'_>, ifindex: u32, attach_type: u32, flags: u32) -> io::Result<Self> {
        Self::create_with(program, ifindex, attach_type, flags)
    }

    fn create(program: BorrowedFd<'_>, target: u32, attach_type: u32) -> io::Result<Self> {
        Self::create_with(program, target, attach_type, 0)
    }

    fn create_with(program: BorrowedFd<'_>, target: u32, attach_type: u32, flags: u32) -> io::Result<Self> {
        let mut attributes = LinkCreate { program: program.as_raw_fd() as u32, target, attach_type, flags, ..LinkCreate::default() };
        bpf_fd(&mut attributes).map(Self)
    }

    /// Opens a pinned link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        open(path, 0).map(Self)
    }

    /// Pins the link, so that it outlives the process.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        pin(self.0.as_fd(), path)
    }

    /// Puts another program into the link, in one step.
    pub(crate) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attributes =
            LinkUpdate { link: self.0.as_raw_fd() as u32, new_program: program.as_raw_fd() as u32, flags: 0, old_program: 0 };
        bpf(&mut attributes).map(drop)
    }

    /// Detaches now, whoever else holds the link.
    pub(crate) fn detach(&self) -> io::Result<()> {
        bpf(&mut LinkDetach { link: self.0.as_raw_fd() as u32 }).map(drop)
    }

    /// Where the link sits now.
    pub(crate) fn target(&self) -> io::Result<LinkTarget> {
        let info: LinkInfo = info_of(self.0.as_fd())?;
        Ok(match info.kind {
            CGROUP => LinkTarget::Cgroup(info.target),
            TCX | XDP => LinkTarget::Device(info.first_word()),
            _ => LinkTarget::Other,
        })
    }
}

/// Pins an object.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    bpf(&mut ObjPin { path: path.as_ptr().expose_provenance() as u64, fd: object.as_raw_fd() as u32, flags: 0 }).map(drop)
}

/// Opens a pinned object.
pub(super) fn open(path: &Path, flags: u32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    bpf_fd(&mut ObjGet { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags })
}

/// The beginning of what the kernel tells of an object.
///
/// # Safety
/// `repr(C)`, laid out as the kernel's structure of the object begins, integers only.
pub(super) unsafe trait Info: Default {}

/// Asks the kernel about an object; a shorter answer leaves the rest 0.
pub(super) fn info_of<I: Info>(object: BorrowedFd<'_>) -> io::Result<I> {
    let mut info = I::default();
    let mut attributes = ObjInfo {
        object: object.as_raw_fd() as u32,
        length: size_of::<I>() as u32,
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    bpf(&mut attributes)?;
    Ok(info)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// `struct bpf_link_info`, as far as it is read.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    target: u64,
    attach_type: u64,
}

// SAFETY: as `struct bpf_link_info` begins: integers without padding.
unsafe impl Info for LinkInfo {}

impl LinkInfo {
    /// For devices, the first of two words in the place of a cgroup's number.
    fn first_word(&self) -> u32 {
        let [a, b, c, d, ..] = self.target.to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative: [u64; 2],
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct LinkDetach {
    link: u32,
}

#[repr(C)]
struct ObjPin {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct ObjInfo {
    object: u32,
    length: u32,
    info: u64,
}

// SAFETY: numbers only, laid out as `link_create` of the union.
unsafe impl Attributes for LinkCreate {
    const COMMAND: Command = Command::LinkCreate;
}

// SAFETY: numbers only, laid out as `link_update` of the union.
unsafe impl Attributes for LinkUpdate {
    const COMMAND: Command = Command::LinkUpdate;
}

// SAFETY: a number only, laid out as `link_detach` of the union.
unsafe impl Attributes for LinkDetach {
    const COMMAND: Command = Command::LinkDetach;
}

// SAFETY: laid out as the part of the union for pins; the path is a C string that its makers keep during the call.
unsafe impl Attributes for ObjPin {
    const COMMAND: Command = Command::ObjPin;
}

// SAFETY: laid out as the part of the union for pins; the path is a C string that its makers keep during the call.
unsafe impl Attributes for ObjGet {
    const COMMAND: Command = Command::ObjGet;
}

// SAFETY: laid out as `info` of the union; the only maker points at a value of integers ([`Info`]) with its own length.
unsafe impl Attributes for ObjInfo {
    const COMMAND: Command = Command::ObjGetInfoByFd;
}
