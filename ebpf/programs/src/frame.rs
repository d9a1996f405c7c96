//! The seam between the hooks of the traffic control layer and of XDP: how bytes of a frame are read and written, and how checksums
//! follow. Everything else has one form.
//!
//! Headers are read and written directly where they lie in one piece, and through the kernel's copying helpers where they do not.

use crate::{
    direct::{self, Bounds},
    global,
    steps::{packet::Ip, segment::Segment},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_csum_update, bpf_get_socket_cookie, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::{TcContext, XdpContext},
};
use core::{
    ffi::c_void,
    mem::{MaybeUninit, offset_of},
    ptr,
};

/// Which checksum a difference belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// That of an IPv4 header.
    Header,
    /// One that covers the changed bytes themselves.
    Payload,
    /// One that covers the changed bytes by its pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    Pseudo,
}

/// A frame, from its Ethernet header on.
pub trait Frame {
    /// Whether the hook translates ICMP errors, so that the packet inside must be read.
    const READS_ERRORS: bool;

    /// Where the first piece of the frame lies.
    fn bounds(&self) -> Bounds;

    /// Bytes.
    fn length(&self) -> u32;

    /// The protocol after the Ethernet header, native order.
    fn ethertype(&self) -> u16;

    /// The protocol after the Ethernet header, native order; anything where the frame ends before.
    fn near_ethertype(&self) -> u16;

    /// Bytes at an offset; none where the frame ends before.
    fn read<T: Copy>(&self, offset: u32) -> Option<T>;

    /// The same of what lies in the first piece of the frame, into `to`; false, and nothing is done, where they lie elsewhere.
    #[inline(always)]
    fn near<T: Copy>(&self, offset: u32, to: &mut T) -> bool {
        direct::read_into(self.bounds(), offset, to)
    }

    /// Replaces bytes in the first piece of the frame; false, and nothing is done, where they lie elsewhere.
    #[inline(always)]
    fn put_near<T: Copy>(&self, offset: u32, value: &T) -> bool {
        direct::write(self.bounds(), offset, value)
    }

    /// Replaces bytes at an offset; false where the frame ends before.
    fn write<T: Copy>(&self, offset: u32, value: &T) -> bool;

    /// Adds the difference that a change made (a checksum of new minus old bytes) to the checksum at the offset. With `may_be_absent`
    /// a checksum of 0 stands for none and stays (UDP over IPv4, RFC 768).
    fn mend(&self, offset: u32, difference: u32, kind: Checksum, may_be_absent: bool) -> bool;

    /// Adds the difference that a change made which no checksum of the packet's own makes up for to the sum of the whole packet that a
    /// device may have made.
    fn mend_sum(&self, difference: u32);

    /// Bytes of payload in each of the packets that some device will cut the frame into; 0 for a frame that is one.
    fn segment_size(&self) -> u32;

    /// Index of the device on which the hook runs.
    fn device(&self) -> u32;

    /// The number of the socket that sent the frame; 0 where that is not known.
    fn sender(&self) -> u64;

    /// Copies the first `bytes` bytes (one at least, no more than there is room for) of the frame; false where it ends before.
    fn copy<const N: usize>(&self, to: &mut [u8; N], bytes: u32) -> bool;

    /// The context, for helpers that take any.
    fn context(&self) -> *mut c_void;

    /// [`segment::read_segment`](crate::steps::segment::read_segment) as a function that is verified once.
    fn read_segment(&self, ip: &Ip, segment: &mut Segment) -> u32;
}

/// `BPF_F_PSEUDO_HDR`.
const PSEUDO_HEADER: u64 = 1 << 4;
/// `BPF_F_IPV6`: no header's checksum makes up for the change of addresses, so the sum of the whole packet that a device may have made
/// stays as it is. Kernels before 6.16 refuse it and take that sum for one of IPv4; such packets are summed up once more later.
const IPV6: u64 = 1 << 7;
const ETHERTYPE_V6: u16 = 0x86dd;
/// `BPF_F_MARK_MANGLED_0`.
const MANGLED_ZERO: u64 = 1 << 5;

impl Frame for TcContext {
    const READS_ERRORS: bool = true;

    #[inline(always)]
    fn bounds(&self) -> Bounds {
        direct::bounds::<{ offset_of!(__sk_buff, data) }, { offset_of!(__sk_buff, data_end) }>(self.as_ptr())
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn ethertype(&self) -> u16 {
        u16::from_be(self.skb.protocol() as u16)
    }

    #[inline(always)]
    fn near_ethertype(&self) -> u16 {
        self.ethertype()
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: u32) -> Option<T> {
        direct::read(self.bounds(), offset).or_else(|| self.load(offset as usize).ok())
    }

    #[inline(always)]
    fn write<T: Copy>(&self, offset: u32, value: &T) -> bool {
        self.put_near(offset, value) || self.store(offset as usize, value, 0).is_ok()
    }

    #[inline(always)]
    fn mend(&self, offset: u32, difference: u32, kind: Checksum, may_be_absent: bool) -> bool {
        let (offset, difference) = (offset as usize, u64::from(difference));
        let absent = if may_be_absent { MANGLED_ZERO } else { 0 };
        match kind {
            Checksum::Header => return mend_header(self, offset as u32, difference as u32),
            Checksum::Payload => self.l4_csum_replace(offset, 0, difference, absent),
            Checksum::Pseudo if self.ethertype() == ETHERTYPE_V6 => {
                return self.l4_csum_replace(offset, 0, difference, absent | PSEUDO_HEADER | IPV6).is_ok()
                    || self.l4_csum_replace(offset, 0, difference, absent | PSEUDO_HEADER).is_ok();
            }
            Checksum::Pseudo => self.l4_csum_replace(offset, 0, difference, absent | PSEUDO_HEADER),
        }
        .is_ok()
    }

    #[inline(always)]
    fn mend_sum(&self, difference: u32) {
        // SAFETY: the helper takes the context of this program type and a number. It does nothing where there is no such sum.
        let _ = unsafe { bpf_csum_update(self.skb.skb, difference) };
    }

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        // SAFETY: the kernel hands a valid context to the program; the word may be read.
        unsafe { (*self.skb.skb).gso_size }
    }

    #[inline(always)]
    fn device(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn sender(&self) -> u64 {
        // SAFETY: the helper takes the context of this program type.
        unsafe { bpf_get_socket_cookie(self.as_ptr()) }
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, to: &mut [u8; N], bytes: u32) -> bool {
        // SAFETY: the helper writes as many bytes as it is told, for which callers see that there is room.
        (unsafe { bpf_skb_load_bytes(self.as_ptr(), 0, to.as_mut_ptr().cast(), bytes) }) == 0
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.as_ptr()
    }

    #[inline(always)]
    fn read_segment(&self, ip: &Ip, segment: &mut Segment) -> u32 {
        global::read_segment(self.skb.skb, ip, segment)
    }
}

impl Frame for XdpContext {
    const READS_ERRORS: bool = false;

    #[inline(always)]
    fn bounds(&self) -> Bounds {
        direct::bounds::<{ offset_of!(xdp_md, data) }, { offset_of!(xdp_md, data_end) }>(self.as_ptr())
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the helper takes the context of this program type.
        (unsafe { bpf_xdp_get_buff_len(self.ctx) }) as u32
    }

    #[inline(always)]
    fn ethertype(&self) -> u16 {
        u16::from_be(self.read(12).unwrap_or(0))
    }

    #[inline(always)]
    fn near_ethertype(&self) -> u16 {
        u16::from_be(direct::read(self.bounds(), 12).unwrap_or(0))
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: u32) -> Option<T> {
        if let Some(value) = direct::read(self.bounds(), offset) {
            return Some(value);
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the buffer is as long as the helper is told; it fills it or answers an error.
        let outcome = unsafe { bpf_xdp_load_bytes(self.ctx, offset, value.as_mut_ptr().cast(), size_of::<T>() as u32) };
        // SAFETY: filled, and every bit pattern is a value of the plain types that callers ask for.
        (outcome == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn write<T: Copy>(&self, offset: u32, value: &T) -> bool {
        if self.put_near(offset, value) {
            return true;
        }
        // SAFETY: the helper only reads the value, which is as long as it is told.
        (unsafe { bpf_xdp_store_bytes(self.ctx, offset, ptr::from_ref(value).cast_mut().cast(), size_of::<T>() as u32) }) == 0
    }

    #[inline(always)]
    fn mend(&self, offset: u32, difference: u32, _: Checksum, may_be_absent: bool) -> bool {
        let Some(before) = self.read::<u16>(offset) else { return false };
        if may_be_absent && before == 0 {
            return true;
        }
        let after = !fold(u64::from(!before) + u64::from(difference));
        // Of the two forms of zero UDP reads one as "no checksum".
        self.write(offset, &if may_be_absent && after == 0 { u16::MAX } else { after })
    }

    /// A frame from the wire has none yet.
    #[inline(always)]
    fn mend_sum(&self, _: u32) {}

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn device(&self) -> u32 {
        // SAFETY: the kernel hands a valid context to the program; the word may be read.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    /// A frame from the wire has none here.
    #[inline(always)]
    fn sender(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, to: &mut [u8; N], bytes: u32) -> bool {
        // SAFETY: as above.
        (unsafe { bpf_xdp_load_bytes(self.ctx, 0, to.as_mut_ptr().cast(), bytes) }) == 0
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.as_ptr()
    }

    #[inline(always)]
    fn read_segment(&self, ip: &Ip, segment: &mut Segment) -> u32 {
        global::read_segment_on_wire(self.ctx, ip, segment)
    }
}

/// Mends a checksum that is complete where it stands.
#[inline(always)]
fn mend_header(frame: &impl Frame, offset: u32, difference: u32) -> bool {
    let Some(before) = frame.read::<u16>(offset) else { return false };
    frame.write(offset, &!fold(u64::from(!before) + u64::from(difference)))
}

/// A sum of 16-bit words in ones' complement (RFC 1071).
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
