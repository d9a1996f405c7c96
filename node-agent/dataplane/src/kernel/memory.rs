//! Memory that the process has for itself and does not need any more.
#![allow(unsafe_code)]

/// Gives what the allocator keeps free back to the kernel. Loading takes megabytes for a moment, on several threads, and each thread's
/// part of the heap would keep its share for the life of the process. Takes about a millisecond; elsewhere than with glibc it does nothing.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes the allocator's own locks and touches only memory that nobody has allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}
