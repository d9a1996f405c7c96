//! Numbers for lists of backends. A list never changes, so a number stands for one content as long as a program may read it.

use crate::image::MapImage;

/// Gives out list ids. 0 is never given out: it stands for "no list".
#[derive(Debug, Default)]
pub(crate) struct ListIds {
    last: u32,
}

impl ListIds {
    /// Goes on after the highest id of an image that a former process left in the kernel.
    pub fn resume(&mut self, image: &MapImage) {
        self.last = image.lists().last().copied().unwrap_or(0).max(self.last);
    }

    /// An id that `image` does not hold. Ids go round through all 32 bits, so the one that was freed last comes back last.
    pub fn next(&mut self, image: &MapImage) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && image.list(self.last).next().is_none() {
                return self.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Backend, BackendKey};

    #[test]
    fn ids_wrap_around_zero_and_ids_in_use() {
        let mut image = MapImage::default();
        for list in [1, 2, u32::MAX] {
            image.backends.insert(BackendKey { list, slot: 0 }, Backend::default());
        }
        let mut ids = ListIds::default();
        ids.resume(&image);
        assert_eq!(ids.next(&image), 3);
        assert_eq!(ids.next(&image), 4);
    }
}
