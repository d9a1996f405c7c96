//! Direct access to the first bytes of a frame, where they lie in one piece: a few instructions instead of a call.
//!
//! Loads and stores are instructions of our own, because words of a frame stand at any address: the compiler, which does not know that
//! the kernel allows that in frames (and only there), would take them apart into bytes.

use core::{arch::asm, mem::MaybeUninit};

/// How far into a frame headers are looked for directly; beyond, the kernel's helpers do it.
const NEAR: u32 = 256;

/// The bytes at `offset` of a frame that lies from `data` to `end`; none if they are not all there.
#[inline(always)]
pub fn read<T: Copy>(data: usize, end: usize, offset: u32) -> Option<T> {
    let at = place::<T>(data, end, offset)?;
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr();
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
        Some(value.assume_init())
    }
}

/// Replaces the bytes at `offset`; false if they are not all there.
#[inline(always)]
pub fn write<T: Copy>(data: usize, end: usize, offset: u32, value: &T) -> bool {
    let Some(at) = place::<T>(data, end, offset) else { return false };
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
fn place<T>(data: usize, end: usize, offset: u32) -> Option<usize> {
    if offset > NEAR {
        return None;
    }
    let mut at = data + offset as usize;
    // SAFETY: a register is copied to itself.
    unsafe { asm!("{at} = {at}", at = inout(reg) at, options(nomem, nostack, preserves_flags)) };
    (at + size_of::<T>() <= end).then_some(at)
}
