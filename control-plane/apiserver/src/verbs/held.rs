//! What the watches of one user at one address take of the server's memory: something each, what is there when they begin, and the events that wait for a
//! reader. One with slow readers, or with very many, is refused before the server's memory is his.
//!
//! Of a user alone it would be too little: the agents of all nodes may be one service account, each with a few watches.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a watch takes that has nothing to tell, in bytes: its place, its request, its connection's part.
pub const WATCH: usize = 8 << 10;

/// Who holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub user: String,
    /// `None`: this process.
    pub address: Option<IpAddr>,
}

/// Bytes by holder.
pub struct Holdings {
    /// Of one; 0: no bound.
    most: usize,
    by_holder: Mutex<HashMap<Arc<Holder>, usize>>,
}

/// Bytes that are held until this is dropped.
pub struct Hold {
    holdings: Arc<Holdings>,
    holder: Arc<Holder>,
    bytes: usize,
}

impl Holdings {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, by_holder: Mutex::default() })
    }

    /// Holds so many bytes for somebody; `None` when that would be too many.
    pub fn take(self: &Arc<Self>, holder: &Arc<Holder>, bytes: usize) -> Option<Hold> {
        let mut by_holder = self.by_holder.lock();
        let held = by_holder.get(holder).copied().unwrap_or_default().saturating_add(bytes);
        if self.most > 0 && held > self.most {
            return None;
        }
        by_holder.insert(holder.clone(), held);
        Some(Hold { holdings: self.clone(), holder: holder.clone(), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut by_holder = self.holdings.by_holder.lock();
        let left = by_holder.get(&self.holder).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            by_holder.remove(&self.holder);
        } else {
            by_holder.insert(self.holder.clone(), left);
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

    fn holder(user: &str, last: u8) -> Arc<Holder> {
        Arc::new(Holder { user: user.to_owned(), address: Some([192, 0, 2, last].into()) })
    }

    #[test]
    fn a_user_holds_so_much_and_others_are_not_asked() {
        let holdings = Holdings::new(100);
        let (anna, bob) = (holder("anna", 1), holder("bob", 1));
        let first = holdings.take(&anna, 60).expect("room");
        assert!(holdings.take(&anna, 41).is_none());
        assert!(holdings.take(&bob, 100).is_some());
        drop(first);
        assert!(holdings.take(&anna, 100).is_some());
        assert!(holdings.by_holder.lock().is_empty());
    }

    #[test]
    fn one_account_on_many_nodes_is_many() {
        let holdings = Holdings::new(100);
        let held: Vec<_> =
            (0..50).filter_map(|node| holdings.take(&holder("system:serviceaccount:kube-system:agent", node), 100)).collect();
        assert_eq!(held.len(), 50);
    }

    #[test]
    fn a_chunk_is_held_until_its_last_part_is_written() {
        let holdings = Holdings::new(8);
        let anna = holder("anna", 1);
        let hold = Arc::new(holdings.take(&anna, 8).expect("room"));
        let mut chunk = held(Bytes::from_static(b"12345678"), hold);
        let part = chunk.split_to(4);
        assert_eq!((&part[..], &chunk[..]), (&b"1234"[..], &b"5678"[..]));
        drop(chunk);
        assert!(holdings.take(&anna, 1).is_none());
        drop(part);
        assert!(holdings.take(&anna, 8).is_some());
    }

    #[test]
    fn nothing_is_no_bound() {
        let holdings = Holdings::new(0);
        assert!(holdings.take(&holder("anna", 1), usize::MAX).is_some());
    }
}
