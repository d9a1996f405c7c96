//! Numbers for what never changes once it is in a map: lists of backends, look-up tables, sets of sources. One number stands for one
//! content as long as a program may read it; what is equal is there once, however many Services use it.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The numbers of one map. 0 is never given out: it stands for "none".
#[derive(Debug)]
pub(crate) struct Pool<C> {
    by_content: HashMap<C, u32>,
    numbers: HashMap<u32, Number<C>>,
    /// Numbers that lost their last user in the plan that is being made.
    idle: BTreeSet<u32>,
    /// What was forgotten in that plan: its removal may fail.
    retired: HashMap<u32, Option<C>>,
    last: u32,
}

#[derive(Debug)]
struct Number<C> {
    /// `None` if the map holds something under it that cannot be used.
    content: Option<C>,
    users: u32,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { by_content: HashMap::new(), numbers: HashMap::new(), idle: BTreeSet::new(), retired: HashMap::new(), last: 0 }
    }
}

impl<C: Clone + Eq + Hash> Pool<C> {
    /// Takes over what the map holds already: all its numbers, with their contents where these are whole. Nobody uses them yet.
    pub fn adopt(&mut self, found: impl Iterator<Item = (u32, Option<C>)>) {
        let last = self.last;
        *self = Self::default();
        for (number, content) in found {
            let content = content.filter(|_| number != 0);
            if let Some(content) = &content {
                self.by_content.entry(content.clone()).or_insert(number);
            }
            self.numbers.insert(number, Number { content, users: 0 });
            self.idle.insert(number);
        }
        // A number that was freed last comes back last.
        self.last = self.numbers.keys().copied().max().unwrap_or(0).max(last);
    }

    /// How many numbers are given out.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The content under a number, if it is whole.
    pub fn content(&self, number: u32) -> Option<&C> {
        self.numbers.get(&number)?.content.as_ref()
    }

    /// What is under the number can't be used by anybody else.
    pub fn spoil(&mut self, number: u32) {
        let content = self.numbers.get_mut(&number).and_then(|found| found.content.take());
        if let Some(content) = content.filter(|content| self.by_content.get(content) == Some(&number)) {
            self.by_content.remove(&content);
        }
    }

    /// What is there can't be used by anybody else.
    pub fn spoil_all(&mut self) {
        self.by_content.clear();
        self.numbers.values_mut().for_each(|number| number.content = None);
    }

    /// The number under which this content is, if it is.
    pub fn number<Q: Eq + Hash + ?Sized>(&self, content: &Q) -> Option<u32>
    where
        C: Borrow<Q>,
    {
        self.by_content.get(content).copied()
    }

    /// A number for a content that has none. It has no user yet.
    pub fn insert(&mut self, content: C) -> u32 {
        let number = loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.numbers.contains_key(&self.last) {
                break self.last;
            }
        };
        self.by_content.insert(content.clone(), number);
        self.numbers.insert(number, Number { content: Some(content), users: 0 });
        self.idle.insert(number);
        number
    }

    /// A number that was taken over without knowing its content turns out to have this one. Whether it has now.
    pub fn recognise(&mut self, number: u32, content: &C) -> bool {
        let Some(found) = self.numbers.get_mut(&number).filter(|found| number != 0 && found.content.is_none()) else { return false };
        if self.by_content.contains_key(content) {
            return false;
        }
        found.content = Some(content.clone());
        self.by_content.insert(content.clone(), number);
        true
    }

    /// The number stands for this content from now on. Another that has it is not found by it any more.
    pub fn change(&mut self, number: u32, content: C) {
        self.spoil(number);
        if let Some(found) = self.numbers.get_mut(&number) {
            found.content = Some(content.clone());
            self.by_content.insert(content, number);
        }
    }

    /// How many use a number.
    pub fn users(&self, number: u32) -> usize {
        self.numbers.get(&number).map_or(0, |found| found.users as usize)
    }

    /// The content of a number that was retired in the plan that is being made.
    pub fn retired(&self, number: u32) -> Option<&C> {
        self.retired.get(&number)?.as_ref()
    }

    /// Whether the number is given out.
    pub fn is_known(&self, number: u32) -> bool {
        self.numbers.contains_key(&number)
    }

    /// Whether the number has lost its last user, and got no other.
    pub fn is_idle(&self, number: u32) -> bool {
        self.idle.contains(&number)
    }

    /// One user more.
    pub fn hold(&mut self, number: u32) {
        let found = self.numbers.entry(number).or_insert(Number { content: None, users: 0 });
        found.users += 1;
        self.idle.remove(&number);
    }

    /// One user less.
    pub fn release(&mut self, number: u32) {
        if let Some(found) = self.numbers.get_mut(&number) {
            found.users = found.users.saturating_sub(1);
            if found.users == 0 {
                self.idle.insert(number);
            }
        }
    }

    /// The numbers that nobody uses; they are forgotten, and what the map holds under them is to be removed.
    pub fn retire(&mut self) -> BTreeSet<u32> {
        let idle = std::mem::take(&mut self.idle);
        self.forget(&idle);
        idle
    }

    /// The same of those alone whose content nobody can use.
    pub fn retire_spoiled(&mut self) -> BTreeSet<u32> {
        let is_spoiled = |number: &u32| self.content(*number).is_none();
        let spoiled: BTreeSet<u32> = self.idle.iter().copied().filter(is_spoiled).collect();
        self.idle.retain(|number| !spoiled.contains(number));
        self.forget(&spoiled);
        spoiled
    }

    fn forget(&mut self, numbers: &BTreeSet<u32>) {
        for &number in numbers {
            let content = self.content(number).cloned();
            self.spoil(number);
            self.numbers.remove(&number);
            self.retired.insert(number, content);
        }
    }

    /// What was retired is gone from the map.
    pub fn forget_retired(&mut self) {
        self.retired.clear();
    }

    /// What was retired is still in the map, with its content. It has no user. Whether the number is known by now.
    pub fn take_back(&mut self, number: u32) -> bool {
        if let Some(content) = self.retired.remove(&number) {
            if let Some(content) = &content {
                self.by_content.entry(content.clone()).or_insert(number);
            }
            self.numbers.insert(number, Number { content, users: 0 });
            self.idle.insert(number);
        }
        self.numbers.contains_key(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_share_a_number_until_the_last_user_goes() {
        let mut pool = Pool::<&str>::default();
        let number = pool.insert("a");
        pool.hold(number);
        pool.hold(number);
        assert_eq!(pool.number("a"), Some(number));
        pool.release(number);
        assert!(pool.retire().is_empty());
        pool.release(number);
        assert_eq!((pool.retire(), pool.number("a"), pool.len()), ([number].into(), None, 0));
    }

    #[test]
    fn numbers_wrap_around_zero_and_numbers_in_use() {
        let mut pool = Pool::<&str>::default();
        pool.adopt([(0, Some("z")), (1, Some("a")), (2, None), (u32::MAX, Some("b"))].into_iter());
        assert_eq!((pool.insert("c"), pool.insert("d")), (3, 4));
        assert_eq!((pool.number("b"), pool.number("z")), (Some(u32::MAX), None));
        assert_eq!(pool.retire(), [0, 1, 2, 3, 4, u32::MAX].into());
    }

    #[test]
    fn what_could_not_be_removed_is_there_again_with_its_content() {
        let mut pool = Pool::<&str>::default();
        let (number, broken) = (pool.insert("a"), pool.insert("b"));
        pool.spoil(broken);
        assert_eq!((pool.retire_spoiled(), pool.retire()), ([broken].into(), [number].into()));
        assert!(pool.take_back(number) && pool.take_back(broken) && !pool.take_back(9));
        assert_eq!((pool.number("a"), pool.number("b")), (Some(number), None));
        assert_eq!(pool.retire(), [number, broken].into());
        pool.forget_retired();
        assert!(!pool.take_back(number));
    }

    #[test]
    fn a_spoiled_number_is_not_given_to_others() {
        let mut pool = Pool::<&str>::default();
        pool.adopt([(1, Some("a"))].into_iter());
        pool.hold(1);
        pool.spoil(1);
        assert_eq!((pool.number("a"), pool.content(1)), (None, None));
        pool.release(1);
        assert_eq!(pool.retire(), [1].into());
    }
}
