//! Why a frame from the wire was left to the node's stack although it could have gone on at once. No drop: the stack's programs give the
//! same answer later.

/// One reason per frame that was left; the number indexes the `left` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftReason {
    /// Its sender left the checksum to a device, and none has computed it: the packet has not been on a wire. Only the stack knows that.
    OpenChecksum = 0,
}

impl LeftReason {
    /// Every reason, in the order of its number.
    pub const ALL: &'static [Self] = &[Self::OpenChecksum];

    /// The name in metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenChecksum => "open-checksum",
        }
    }
}
