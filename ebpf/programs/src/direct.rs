//! Direct access to the first bytes of a frame, where they lie in one piece: a few instructions instead of a call.
//!
//! Loads and stores are instructions of our own, because words of a frame stand at any address: the compiler, which does not know that
//! the kernel allows that in frames (and only there), would take them apart into bytes.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

/// How far into a frame headers are looked for directly; beyond, the kernel's helpers do it.
const NEAR: u32 = 256;

/// Where the first piece of a frame begins and ends.
#[derive(Clone, Copy)]
pub struct Bounds {
    data: usize,
    end: usize,
}

/// The bounds from a context that has them at these offsets. The context's words are halves of pointers, and the kernel makes pointers of
/// them as they are loaded; the compiler, which does not know that, might widen them to registers only later.
#[inline(always)]
pub fn bounds<const DATA: usize, const END: usize>(context: *mut c_void) -> Bounds {
    let (data, end): (u64, u64);
    // SAFETY: callers name two words of their context.
    unsafe {
        asm!("{word} = *(u32 *)({context} + {at})", word = out(reg) data, context = in(reg) context, at = const DATA, options(pure, readonly, nostack));
        asm!("{word} = *(u32 *)({context} + {at})", word = out(reg) end, context = in(reg) context, at = const END, options(pure, readonly, nostack));
    }
    Bounds { data: data as usize, end: end as usize }
}

/// Bytes of the first piece. Two pointers are taken from each other in whole registers, which the compiler might not do.
#[inline(always)]
pub fn length(bounds: Bounds) -> u64 {
    let mut length = bounds.end as u64;
    // SAFETY: arithmetic on two registers.
    unsafe { asm!("{length} -= {data}", length = inout(reg) length, data = in(reg) bounds.data as u64, options(pure, nomem, nostack)) };
    length
}

/// The bytes at `offset` of a frame; none if they are not all there.
#[inline(always)]
pub fn read<T: Copy>(bounds: Bounds, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: every byte is written where the answer is true.
    read_into(bounds, offset, value.as_mut_ptr()).then(|| unsafe { value.assume_init() })
}

/// The same into a place that the caller has: a large value is not moved about. False, and nothing is done, if they are not all there.
#[inline(always)]
pub fn read_into<T: Copy>(bounds: Bounds, offset: u32, to: *mut T) -> bool {
    let Some(at) = place::<T>(bounds, offset) else { return false };
    // SAFETY: `at` to `at` + the size lies inside of the frame, and the value is as large; pieces are no larger than its alignment.
    unsafe {
        if align_of::<T>() >= 4 {
            for index in 0..size_of::<T>() / 4 {
                let word: u64;
                asm!("{word} = *(u32 *)({at} + 0)", word = out(reg) word, at = in(reg) at + index * 4, options(readonly, nostack));
                to.cast::<u32>().add(index).write(word as u32);
            }
        } else if align_of::<T>() == 2 {
            for index in 0..size_of::<T>() / 2 {
                let half: u64;
                asm!("{half} = *(u16 *)({at} + 0)", half = out(reg) half, at = in(reg) at + index * 2, options(readonly, nostack));
                to.cast::<u16>().add(index).write(half as u16);
            }
        } else {
            for index in 0..size_of::<T>() {
                let byte: u64;
                asm!("{byte} = *(u8 *)({at} + 0)", byte = out(reg) byte, at = in(reg) at + index, options(readonly, nostack));
                to.cast::<u8>().add(index).write(byte as u8);
            }
        }
    }
    true
}

/// Replaces the bytes at `offset`; false if they are not all there.
#[inline(always)]
pub fn write<T: Copy>(bounds: Bounds, offset: u32, value: &T) -> bool {
    let Some(at) = place::<T>(bounds, offset) else { return false };
    let from = core::ptr::from_ref(value);
    // SAFETY: as in `read`.
    unsafe {
        if align_of::<T>() >= 4 {
            for index in 0..size_of::<T>() / 4 {
                let word = u64::from(from.cast::<u32>().add(index).read());
                asm!("*(u32 *)({at} + 0) = {word}", word = in(reg) word, at = in(reg) at + index * 4, options(nostack));
            }
        } else if align_of::<T>() == 2 {
            for index in 0..size_of::<T>() / 2 {
                let half = u64::from(from.cast::<u16>().add(index).read());
                asm!("*(u16 *)({at} + 0) = {half}", half = in(reg) half, at = in(reg) at + index * 2, options(nostack));
            }
        } else {
            for index in 0..size_of::<T>() {
                let byte = u64::from(from.cast::<u8>().add(index).read());
                asm!("*(u8 *)({at} + 0) = {byte}", byte = in(reg) byte, at = in(reg) at + index, options(nostack));
            }
        }
    }
    true
}

/// Where the bytes are. The sum passes through a register that the compiler knows nothing of, so that the comparison with the end stays
/// one of the same pointer that is used: the verifier learns the bounds from it.
#[inline(always)]
fn place<T>(bounds: Bounds, offset: u32) -> Option<usize> {
    if offset > NEAR {
        return None;
    }
    let mut at = bounds.data + offset as usize;
    // SAFETY: a register is copied to itself.
    unsafe { asm!("{at} = {at}", at = inout(reg) at, options(nomem, nostack, preserves_flags)) };
    (at + size_of::<T>() <= bounds.end).then_some(at)
}
