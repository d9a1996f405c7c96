//! The same random numbers in every run, or others: `ORKNET_FUZZ_SEED`. More rounds: `ORKNET_FUZZ`.

/// xorshift.
pub struct Numbers(u64);

impl Numbers {
    /// Of the seed that the environment has, or of this one. Said, so that a run can come again.
    pub fn seeded(name: &str, seed: u64) -> Self {
        let given = std::env::var("ORKNET_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed).max(1);
        println!("{name}: ORKNET_FUZZ_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or_default()
    }

    pub fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// Any bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap_or_default()).collect()
    }

    /// A few changes: bytes replaced, taken away, doubled, cut off.
    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let from = self.below(bytes.len() + 1);
            let to = (from + self.below(9)).min(bytes.len());
            match self.below(6) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let part = bytes[from..to].to_vec();
                    drop(bytes.splice(from..from, part));
                }
                2 => bytes.truncate(from),
                3 => {
                    let length = self.below(9);
                    let any = self.bytes(length);
                    drop(bytes.splice(from..to, any));
                }
                _ if from < bytes.len() => bytes[from] ^= 1_u8 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}

/// So many rounds, or as many as the environment wants.
pub fn rounds(usual: usize) -> usize {
    std::env::var("ORKNET_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
