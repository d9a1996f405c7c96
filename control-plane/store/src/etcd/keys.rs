//! Where the store's keys are in etcd: below the prefix, so that several stores share one etcd. Pure.

use crate::KeyRange;

/// Translates keys.
pub struct Keys {
    base: Vec<u8>,
    data: Vec<u8>,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        let base = format!("{}/", prefix.trim_end_matches('/')).into_bytes();
        let data = [&base[..], b"data/"].concat();
        Self { base, data }
    }

    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        [&self.data[..], key].concat()
    }

    /// The store's key; what is not below the prefix stays as it is.
    pub fn decode<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.strip_prefix(&self.data[..]).unwrap_or(key)
    }

    /// First key and end of a range.
    pub fn range(&self, range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
        let end = if range.end.is_empty() { KeyRange::prefix(self.data.clone()).end.to_vec() } else { self.encode(&range.end) };
        (self.encode(&range.start), end)
    }

    /// First key and end of everything below the prefix, marker included.
    pub fn everything(&self) -> (Vec<u8>, Vec<u8>) {
        let KeyRange { start, end } = KeyRange::prefix(self.base.clone());
        (start.to_vec(), end.to_vec())
    }

    /// The key that is written to see how far watches are.
    pub fn marker(&self) -> Vec<u8> {
        [&self.base[..], b"progress"].concat()
    }

    /// The key of the store's [`super::origin::Origin`].
    pub fn origin(&self) -> Vec<u8> {
        [&self.base[..], b"origin"].concat()
    }

    /// Whether this is one of the store's keys, as etcd has it.
    pub fn is_data(&self, key: &[u8]) -> bool {
        key.starts_with(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went() {
        let keys = Keys::new("/orknet/");
        assert_eq!(keys.encode(b"pods/a"), b"/orknet/data/pods/a");
        assert_eq!(keys.decode(&keys.encode(b"pods/a")), b"pods/a");
    }

    #[test]
    fn a_range_without_end_stays_below_the_prefix() {
        let keys = Keys::new("/a");
        let (start, end) = keys.range(&KeyRange { start: "x".into(), end: "".into() });
        assert_eq!((&start[..], &end[..]), (&b"/a/data/x"[..], &b"/a/data0"[..]));
        assert!(keys.marker() > end, "the marker is not data");
        let (first, last) = keys.everything();
        assert!(first < start && end < last && keys.marker() < last);
    }
}
