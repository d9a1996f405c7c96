//! Work in the kernel's maps and namespaces that must not take a processor for itself: it is cut into pieces, and whoever wants it done is
//! told after each how long that took, may wait, and may end it.

use crate::{
    Error,
    kernel::{Plain, Walk},
    table::Table,
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// Is told how long the work took since it was told last; may wait, and may end the work.
pub type Pace<'a> = dyn FnMut(Duration) -> ControlFlow<()> + 'a;

/// Is called between two pieces of work; whether to go on. Once it has said no, it always does.
pub(crate) type Rest<'a> = dyn FnMut() -> bool + 'a;

/// Entries of a map in one piece of work: well under a millisecond.
pub(crate) const BATCH: usize = 1_024;

/// Runs work that rests between its pieces at a pace. The last piece is told, too. `None` if the work was ended.
pub(crate) fn paced<T>(pace: &mut Pace<'_>, work: impl FnOnce(&mut Rest<'_>) -> T) -> Option<T> {
    let (mut since, mut is_over) = (Instant::now(), false);
    let mut rest = || {
        is_over = is_over || pace(since.elapsed()).is_break();
        since = Instant::now();
        !is_over
    };
    let done = work(&mut rest);
    rest().then_some(done)
}

/// Every entry of a map, in no order, with its only or first value. Ended work leaves the rest out.
pub(crate) fn read<K: Plain, V: Plain>(table: &Table<K, V>, rest: &mut Rest<'_>, mut entry: impl FnMut(K, V)) -> Result<(), Error> {
    let mut walk = Walk::new(BATCH);
    while let Some((keys, values)) = table.next_batch(&mut walk)? {
        keys.iter().zip(values).for_each(|(key, value)| entry(*key, *value));
        if !rest() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{BACKENDS, Backend, BackendKey};

    #[test]
    fn root_a_map_is_read_in_pieces_and_no_further_than_wanted() {
        let entries = 4 * BATCH as u32;
        let table: Table<BackendKey, Backend> = Table::create(&BACKENDS, 2 * entries);
        let keys: Vec<_> = (0..entries).map(|slot| BackendKey { list: 1, slot }).collect();
        table.put(&keys, &vec![Backend::default(); keys.len()], |_, error| panic!("{error}"));
        let read_until = |pieces: usize| {
            let (mut seen, mut asked) = (0, 0);
            let mut pace = |_| {
                asked += 1;
                if asked < pieces { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let outcome = paced(&mut pace, |rest| read(&table, rest, |_, _| seen += 1));
            (seen, asked, outcome.is_some())
        };
        let (seen, asked, is_whole) = read_until(usize::MAX);
        assert!(seen == entries && asked > 4 && is_whole, "{seen} {asked}");
        let (seen, asked, is_whole) = read_until(2);
        assert!(seen < entries && asked == 2 && !is_whole, "{seen} {asked}: nobody is asked again who has said no");
    }
}
