//! Values by words, as they lie in memory, a flow's key above all: the target moves bytes one by one, and what the ABI has in bytes at that.

use core::{mem::MaybeUninit, ptr};
use orknet_abi::{Address, FlowKey};

/// The same as [`FlowKey`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Words {
    pub source: [u32; 4],
    pub destination: [u32; 4],
    /// Both ports at once, as they lie in memory and on the wire.
    pub ports: u32,
    /// The protocol, and what is reserved after it.
    pub protocol: u32,
}

const _: () = assert!(size_of::<Words>() == size_of::<FlowKey>() && align_of::<Words>() == align_of::<FlowKey>());

impl Words {
    #[inline(always)]
    pub fn of(key: &FlowKey) -> &Self {
        // SAFETY: both are forty plain bytes with the same alignment.
        unsafe { &*core::ptr::from_ref(key).cast() }
    }

    #[inline(always)]
    pub fn key(&self) -> &FlowKey {
        // SAFETY: as above.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The same seen from the other end.
    #[inline(always)]
    pub fn reversed(&self) -> Self {
        Self { source: self.destination, destination: self.source, ports: self.ports.rotate_left(16), protocol: self.protocol }
    }
}

/// An address by words.
#[inline(always)]
pub fn to_words(address: &Address) -> &[u32; 4] {
    // SAFETY: both are sixteen plain bytes, and an address is aligned to words.
    unsafe { &*core::ptr::from_ref(address).cast() }
}

/// A value of plain numbers that are all zero, word by word: the library's way is byte by byte.
///
/// # Panics
/// Never; at compile time where the value is not made of words.
#[inline(always)]
pub fn clear<T>(place: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(size_of::<T>() % 4 == 0 && align_of::<T>() % 4 == 0) };
    // SAFETY: every word of the place is written, which lies at whole words; callers ask for structures of numbers, of which all zero is a value.
    // Volatile, or the compiler would call the library after all.
    unsafe {
        if align_of::<T>() % 8 == 0 {
            for word in 0..size_of::<T>() / 8 {
                place.as_mut_ptr().cast::<u64>().add(word).write_volatile(0);
            }
        } else {
            for word in 0..size_of::<T>() / 4 {
                place.as_mut_ptr().cast::<u32>().add(word).write_volatile(0);
            }
        }
        place.assume_init_mut()
    }
}

/// The same of a value that was used before.
#[inline(always)]
pub fn wipe<T>(value: &mut T) {
    // SAFETY: a value is a place for another one of the same type, and all of it is written before the reference is used again.
    clear(unsafe { &mut *ptr::from_mut(value).cast::<MaybeUninit<T>>() });
}

/// Copies a value word by word, as it lies in memory: what the compiler copies as a whole it may hold in registers, and those on the stack.
///
/// # Panics
/// Never; at compile time where the value is not made of words.
#[inline(always)]
pub fn copy<T: Copy>(from: &T, to: &mut T) {
    const { assert!(size_of::<T>() % 4 == 0 && align_of::<T>() % 4 == 0) };
    let (from, to) = (ptr::from_ref(from).cast::<u32>(), ptr::from_mut(to).cast::<u32>());
    for word in 0..size_of::<T>() / 4 {
        // SAFETY: both are values of so many words.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}
