//! What the watches of one user take of the server's memory: something each, and the events that wait for a reader. Counted by user, so that one with
//! slow readers, or with very many, is refused before the server's memory is his.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What a watch takes that has nothing to tell, in bytes: its place, its request, its connection's part.
pub const WATCH: usize = 8 << 10;

/// Bytes by user.
pub struct Holdings {
    /// Of one user; 0: no bound.
    most: usize,
    by_user: Mutex<HashMap<Arc<str>, usize>>,
}

/// Bytes that are held until this is dropped.
pub struct Hold {
    holdings: Arc<Holdings>,
    user: Arc<str>,
    bytes: usize,
}

impl Holdings {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, by_user: Mutex::default() })
    }

    /// Holds so many bytes for a user; `None` when that would be too many.
    pub fn take(self: &Arc<Self>, user: &Arc<str>, bytes: usize) -> Option<Hold> {
        let mut by_user = self.by_user.lock();
        let held = by_user.get(user).copied().unwrap_or_default().saturating_add(bytes);
        if self.most > 0 && held > self.most {
            return None;
        }
        by_user.insert(user.clone(), held);
        Some(Hold { holdings: self.clone(), user: user.clone(), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut by_user = self.holdings.by_user.lock();
        let left = by_user.get(&self.user).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            by_user.remove(&self.user);
        } else {
            by_user.insert(self.user.clone(), left);
        }
    }
}

/// A chunk of an answer that counts as held until it was written.
pub fn held(bytes: Bytes, hold: Arc<Hold>) -> Bytes {
    Bytes::from_owner(Chunk { bytes, _hold: hold })
}

struct Chunk {
    bytes: Bytes,
    _hold: Arc<Hold>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_holds_so_much_and_others_are_not_asked() {
        let holdings = Holdings::new(100);
        let (anna, bob): (Arc<str>, Arc<str>) = ("anna".into(), "bob".into());
        let first = holdings.take(&anna, 60).expect("room");
        assert!(holdings.take(&anna, 41).is_none());
        assert!(holdings.take(&bob, 100).is_some());
        drop(first);
        assert!(holdings.take(&anna, 100).is_some());
        assert!(holdings.by_user.lock().is_empty());
    }

    #[test]
    fn a_chunk_is_held_until_its_last_part_is_written() {
        let holdings = Holdings::new(8);
        let user: Arc<str> = "anna".into();
        let hold = Arc::new(holdings.take(&user, 8).expect("room"));
        let mut chunk = held(Bytes::from_static(b"12345678"), hold);
        let part = chunk.split_to(4);
        assert_eq!((&part[..], &chunk[..]), (&b"1234"[..], &b"5678"[..]));
        drop(chunk);
        assert!(holdings.take(&user, 1).is_none());
        drop(part);
        assert!(holdings.take(&user, 8).is_some());
    }

    #[test]
    fn nothing_is_no_bound() {
        let holdings = Holdings::new(0);
        assert!(holdings.take(&"anna".into(), usize::MAX).is_some());
    }
}
