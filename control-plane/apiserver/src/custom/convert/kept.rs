//! Converted objects that are kept, so that lists and watches do not ask the webhook for the same object again. Bounded in bytes: what has not been asked
//! for goes. They belong to one kind and go with it.

use crate::cache::CachedObject;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Bytes of each half; both together are what a kind keeps at most.
const HALF: usize = 8 << 20;

/// See the module. Two halves: what is asked for moves to the younger one, and when that is full, the older one goes.
#[derive(Default)]
pub struct Kept(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<usize, Pair>,
    old: HashMap<usize, Pair>,
    /// Of the younger half.
    bytes: usize,
}

/// What was converted, and into what. The weak side keeps the address from being used again.
type Pair = (Weak<CachedObject>, Arc<CachedObject>);

impl Kept {
    pub fn get(&self, source: &Arc<CachedObject>) -> Option<Arc<CachedObject>> {
        let mut halves = self.0.lock();
        let address = Arc::as_ptr(source) as usize;
        if let Some((_, converted)) = halves.young.get(&address) {
            return Some(converted.clone());
        }
        let pair = halves.old.remove(&address)?;
        let converted = pair.1.clone();
        halves.insert(address, pair);
        Some(converted)
    }

    pub fn keep(&self, source: &Arc<CachedObject>, converted: &Arc<CachedObject>) {
        self.0.lock().insert(Arc::as_ptr(source) as usize, (Arc::downgrade(source), converted.clone()));
    }
}

impl Halves {
    fn insert(&mut self, address: usize, pair: Pair) {
        self.bytes += pair.1.size();
        if self.bytes > HALF {
            self.bytes = pair.1.size();
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(address, pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, bytes: usize) -> Arc<CachedObject> {
        Arc::new(CachedObject::new(&[], json!({ "metadata": { "name": name }, "spec": "x".repeat(bytes) }), 1))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let kept = Kept::default();
        let wanted = object("wanted", 1);
        kept.keep(&wanted, &object("converted", 1));
        let mut sources = Vec::new();
        for _ in 0..100 {
            let source = object("a", 1);
            kept.keep(&source, &object("b", 1 << 20));
            sources.push(source);
            assert!(kept.get(&wanted).is_some());
        }
        assert!(kept.get(&object("wanted", 1)).is_none());
        let halves = kept.0.lock();
        let bytes: usize = halves.young.values().chain(halves.old.values()).map(|(_, converted)| converted.size()).sum();
        assert!(bytes <= 2 * HALF, "{bytes}");
    }
}
