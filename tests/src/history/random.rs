//! Numbers that are the same for the same seed.

/// xorshift64.
pub struct Random(pub u64);

impl Random {
    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
