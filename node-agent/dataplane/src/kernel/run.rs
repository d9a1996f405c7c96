//! Test runs: the real program on a packet that somebody made, `BPF_PROG_TEST_RUN`.
#![allow(unsafe_code)]

use super::syscall::{Attributes, Command, bpf};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Room for what a program may add to a frame.
const HEADROOM: usize = 256;

/// How a frame comes to a program, beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the device in the caller's network namespace; 0 and 1 are the loopback device.
    pub device: u32,
    /// Index of the device where the packet came into the node, for programs that see it leave; 0 for one that the node itself sends.
    pub came_in: u32,
    /// The packet's mark.
    pub mark: u32,
    /// Into how many packets some device will cut it, and how large; 0 for a packet that is one.
    pub segments: u32,
    /// Bytes of payload in each of them.
    pub segment_size: u32,
    /// A device has summed it up (`CHECKSUM_COMPLETE`): then the run fails if the packet's sum is wrong afterwards.
    pub is_summed: bool,
}

/// What a program made of a frame.
pub(crate) struct Outcome {
    pub verdict: u32,
    pub frame: Vec<u8>,
    pub mark: u32,
    /// Mean duration of one run.
    pub nanoseconds: u32,
}

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE`.
const SUMMED: u32 = 1 << 2;

/// `struct __sk_buff` as words; these are the ones that a test run takes.
type SkBuff = [u32; 48];
const MARK: usize = 2;
const INGRESS_IFINDEX: usize = 9;
const IFINDEX: usize = 10;
const GSO_SEGS: usize = 41;
const GSO_SIZE: usize = 44;

/// Runs a program for devices `repeat` times on a frame. A program for frames from the wire is told nothing of how one arrives
/// (`arrival`): for it that is always the loopback device.
pub(crate) fn test_run(program: BorrowedFd<'_>, frame: &[u8], arrival: Option<&Arrival>, repeat: u32) -> io::Result<Outcome> {
    let mut out = vec![0; frame.len() + HEADROOM];
    let mut before: SkBuff = [0; 48];
    if let Some(arrival) = arrival {
        before[MARK] = arrival.mark;
        before[INGRESS_IFINDEX] = arrival.came_in;
        before[IFINDEX] = arrival.device;
        before[GSO_SEGS] = arrival.segments;
        before[GSO_SIZE] = arrival.segment_size;
    }
    let mut after: SkBuff = [0; 48];
    let size_of_context = if arrival.is_some() { size_of::<SkBuff>() as u32 } else { 0 };
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
        size_out: u32::try_from(out.len()).map_err(io::Error::other)?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        data_out: out.as_mut_ptr().expose_provenance() as u64,
        repeat,
        context_size_in: size_of_context,
        context_size_out: size_of_context,
        context_in: arrival.map_or(0, |_| before.as_ptr().expose_provenance() as u64),
        context_out: arrival.map_or(0, |_| after.as_mut_ptr().expose_provenance() as u64),
        flags: if arrival.is_some_and(|arrival| arrival.is_summed) { SUMMED } else { 0 },
        ..TestRun::default()
    };
    bpf(&mut attributes)?;
    out.truncate(attributes.size_out as usize);
    Ok(Outcome { verdict: attributes.verdict, frame: out, mark: after[MARK], nanoseconds: attributes.duration })
}

/// `test` of `union bpf_attr`, without what other kinds of programs need.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
}

// SAFETY: laid out as `test`; all four buffers have the sizes that stand beside them and outlive the call.
unsafe impl Attributes for TestRun {
    const COMMAND: Command = Command::ProgTestRun;
}
