//! Answers about tokens, kept for a while. Tokens themselves are not: answers are found by a digest that nobody else can make.

use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Most answers that are kept.
const MOST: usize = 4096;

type Key = [u8; 32];

/// See the module. `T`: what is answered when nothing went wrong.
pub struct Cache<T> {
    ttl: Duration,
    salt: Key,
    slots: Mutex<HashMap<Key, Arc<Slot<T>>>>,
}

/// One answer, or the question while nobody has answered.
struct Slot<T> {
    since: Instant,
    answer: OnceCell<Result<T, String>>,
}

impl<T> Slot<T> {
    fn is_good(&self, ttl: Duration, now: Instant) -> bool {
        !self.answer.initialized() || now.saturating_duration_since(self.since) < ttl
    }
}

impl<T: Clone> Cache<T> {
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, salt: rand::random(), slots: Mutex::default() }
    }

    /// The answer that is known, or else `ask`'s, for which all wait who have the same question. Faults are told to those and not kept.
    pub async fn get(&self, token: &str, audiences: &[String], ask: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let key = self.key(token, audiences);
        let slot = self.slot(key, Instant::now());
        let answer = slot.answer.get_or_init(|| ask).await.clone();
        if answer.is_err() {
            let mut slots = self.slots.lock();
            if slots.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, &slot)) {
                slots.remove(&key);
            }
        }
        answer
    }

    fn key(&self, token: &str, audiences: &[String]) -> Key {
        let mut context = Context::new(&SHA256);
        context.update(&self.salt);
        for part in audiences.iter().map(String::as_str).chain([token]) {
            // With its length before it no text can look like two.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut key = Key::default();
        key.copy_from_slice(context.finish().as_ref());
        key
    }

    /// The slot of a question at this time. Where there are too many, those that are over go, or else the oldest.
    fn slot(&self, key: Key, now: Instant) -> Arc<Slot<T>> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&key).filter(|slot| slot.is_good(self.ttl, now)) {
            return slot.clone();
        }
        if slots.len() >= MOST {
            slots.retain(|_, slot| slot.is_good(self.ttl, now));
        }
        if slots.len() >= MOST
            && let Some(oldest) = slots.iter().min_by_key(|(_, slot)| slot.since).map(|(key, _)| *key)
        {
            slots.remove(&oldest);
        }
        let slot = Arc::new(Slot { since: now, answer: OnceCell::new() });
        slots.insert(key, slot.clone());
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);

    async fn ask(cache: &Cache<u8>, token: &str, audiences: &[&str], answer: Result<u8, String>) -> Result<u8, String> {
        let audiences: Vec<String> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        cache.get(token, &audiences, async move { answer }).await
    }

    #[tokio::test]
    async fn answers_are_kept_by_token_and_audiences_and_faults_are_not() {
        let cache = Cache::new(HOUR);
        assert_eq!(ask(&cache, "t", &["a"], Ok(1)).await, Ok(1));
        assert_eq!(ask(&cache, "t", &["a"], Ok(2)).await, Ok(1));
        let others: [(&str, &[&str]); 5] = [("u", &["a"]), ("t", &["a", "b"]), ("t", &["b"]), ("t", &[]), ("at", &[])];
        for (number, (token, audiences)) in others.into_iter().enumerate() {
            let number = u8::try_from(number).expect("a few") + 10;
            assert_eq!(ask(&cache, token, audiences, Ok(number)).await, Ok(number), "{token} {audiences:?}");
        }
        assert_eq!(ask(&cache, "v", &[], Err("away".into())).await, Err("away".into()));
        assert_eq!(ask(&cache, "v", &[], Ok(3)).await, Ok(3));
        let none = Cache::new(Duration::ZERO);
        assert_eq!(ask(&none, "t", &[], Ok(1)).await, Ok(1));
        assert_eq!(ask(&none, "t", &[], Ok(2)).await, Ok(2));
    }

    #[tokio::test]
    async fn who_has_the_same_question_waits_for_the_same_answer() {
        let (cache, asked) = (Cache::new(HOUR), AtomicUsize::new(0));
        let question = || {
            cache.get("t", &[], async {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(7)
            })
        };
        let (one, two, three) = tokio::join!(question(), question(), question());
        assert_eq!((one, two, three, asked.load(Ordering::SeqCst)), (Ok(7), Ok(7), Ok(7), 1));
    }

    #[test]
    fn there_are_never_too_many_and_old_ones_go_first() {
        let cache: Cache<u8> = Cache::new(HOUR);
        let begin = Instant::now();
        let keys: Vec<Key> = (0..=MOST).map(|number| cache.key(&number.to_string(), &[])).collect();
        for (number, key) in keys.iter().enumerate() {
            let slot = cache.slot(*key, begin + Duration::from_millis(number as u64));
            slot.answer.set(Ok(0)).expect("is new");
        }
        let slots = cache.slots.lock();
        assert_eq!(slots.len(), MOST);
        assert!(!slots.contains_key(&keys[0]) && slots.contains_key(&keys[MOST]));
        drop(slots);
        // All of them are over by then.
        let _ = cache.slot(cache.key("late", &[]), begin + 2 * HOUR);
        assert_eq!(cache.slots.lock().len(), 1);
    }
}
