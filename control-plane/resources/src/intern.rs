//! Names that come at run time, such as those of custom resources, as `'static` text: each distinct one is kept once, for good.
//!
//! What names are used for (maps, keys, fields of every cached object) wants them small and free to copy, and takes most of them from constants.
//! The price is bounded: only who may define kinds brings names, each of them (a group, version, plural, short name, path of a field) is at most a few
//! hundred bytes, and one that comes back costs nothing. Ten thousand kinds that never had a name in common keep about two megabytes. Nothing that grows
//! with a definition's content (schemas, descriptions, messages) goes in here.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{LazyLock, Mutex, PoisonError};

static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
static LISTS: LazyLock<Mutex<HashSet<&'static [&'static str]>>> = LazyLock::new(Mutex::default);

/// The name, as one that stays.
pub fn name(name: &str) -> &'static str {
    kept(&NAMES, name, |name| Box::leak(Box::from(name)))
}

/// A list of names (short names, categories, verbs, subresources), as one that stays.
pub fn names<T: AsRef<str>>(list: &[T]) -> &'static [&'static str] {
    let list: Vec<&'static str> = list.iter().map(|item| name(item.as_ref())).collect();
    kept(&LISTS, &list[..], |list| Box::leak(Box::from(list)))
}

fn kept<T: ?Sized + Eq + Hash>(known: &Mutex<HashSet<&'static T>>, wanted: &T, keep: impl FnOnce(&T) -> &'static T) -> &'static T
where
    &'static T: Borrow<T>,
{
    // A set is whole also after a panic elsewhere.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(wanted) {
        return known;
    }
    let new = keep(wanted);
    known.insert(new);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_back_is_the_one_that_was_kept() {
        let first = name(&format!("{}.example.org", "intern-test"));
        assert!(std::ptr::eq(first, name(&String::from("intern-test.example.org"))));
        let list = names(&["a".to_owned(), "b".to_owned()]);
        assert!(std::ptr::eq(list, names(&["a", "b"])));
        assert_eq!((list, names(&["b", "a"])), (&["a", "b"][..], &["b", "a"][..]));
    }
}
