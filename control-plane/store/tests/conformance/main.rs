//! The conformance suite: every test listed here runs once on each backend, as `embedded::…` and `etcd::…` (3.4, as Debian 12 has it), and as `restored::…`
//! on an etcd 3.5 whose revisions are not the store's, since it was restored; some run as `two_of_three::…` and `two_of_three_next::…` (3.5) on an etcd
//! that has lost a member. Faults differ by backend: those are in `backup_file`, `crash`, `damage`, `disk_full`, `members` and `outage`.

mod backend;
mod backup_file;
mod compaction;
mod crash;
mod damage;
mod disk_full;
mod expiry;
mod history;
mod members;
mod outage;
mod snapshot;
mod tls;
mod transactions;
mod watches;

use backend::Fixture;
use bytes::Bytes;
use futures::StreamExt;
use orknet_store::{Commit, Compare, Entry, Event, KeyRange, Op, Revision, Store, StoreError, Watch, WatchItem};
use std::time::Duration;

/// What anything here may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! conformance {
    ($($module:ident :: $name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name(crate::Fixture::embedded().await).await;
            })*
        }
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name(crate::Fixture::etcd().await).await;
            })*
        }
        mod restored {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name(crate::Fixture::restored_etcd().await).await;
            })*
        }
    };
}

conformance! {
    transactions::a_key_written_is_read_back,
    transactions::concurrent_writers_take_distinct_revisions,
    transactions::of_concurrent_compare_and_swaps_one_wins,
    transactions::a_failed_compare_returns_the_current_entries_and_changes_nothing,
    transactions::a_revision_of_zero_is_not_absence,
    transactions::deleting_nothing_takes_no_revision,
    transactions::a_range_is_in_key_order_with_limit_more_and_count,
    transactions::an_old_revision_reads_as_it_was_and_a_future_one_is_refused,
    transactions::a_large_range_is_read_whole,
    transactions::a_value_over_the_limit_is_refused_and_one_below_is_kept,
    transactions::what_was_acknowledged_is_there_after_a_restart,
    watches::a_watch_sees_every_change_with_what_was_before,
    watches::a_transaction_reaches_a_watch_as_one_item,
    watches::a_watch_has_no_gap_and_no_duplicate_under_concurrent_writes,
    watches::a_watch_resumes_after_the_last_revision_seen,
    watches::a_watch_sees_only_its_range,
    watches::progress_comes_when_asked_for_and_after_all_events,
    watches::a_watch_from_the_future_waits_for_it,
    compaction::a_compacted_revision_is_refused_by_range_and_watch,
    compaction::what_is_current_survives_compaction_and_a_restart,
    compaction::a_watch_that_fell_behind_a_compaction_ends_with_an_error,
    compaction::compacting_backwards_does_nothing_and_into_the_future_is_refused,
    compaction::writers_and_watches_go_on_during_compactions,
    expiry::a_key_with_a_ttl_is_deleted_by_an_ordinary_event,
    expiry::a_key_written_again_lives_on,
    expiry::a_ttl_outlives_a_restart,
    history::random_histories_agree_with_a_model,
    snapshot::a_backup_under_write_load_is_the_store_at_its_revision,
    snapshot::a_restored_store_has_every_key_and_no_past,
    snapshot::keys_that_expire_have_the_time_that_they_had_left,
    snapshot::a_restore_into_a_store_that_has_keys_is_refused_and_changes_nothing,
    snapshot::a_restore_that_was_not_done_is_no_store_until_it_is_done_again,
    snapshot::a_store_is_migrated_to_the_other_backend_and_back,
    snapshot::a_store_that_went_takes_no_writes_until_it_stays,
    snapshot::a_store_that_is_written_to_while_it_is_migrated_is_refused,
}

/// What depends on who answers: on three members, the leader of which was killed just before.
macro_rules! with_a_member_down {
    ($suite:ident on $release:ident: $($module:ident :: $name:ident),* $(,)?) => {
        mod $suite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name(crate::Fixture::two_of_three(crate::backend::Release::$release).await).await;
            })*
        }
    };
}

with_a_member_down! {
    two_of_three on Debian:
    transactions::concurrent_writers_take_distinct_revisions,
    transactions::of_concurrent_compare_and_swaps_one_wins,
    transactions::an_old_revision_reads_as_it_was_and_a_future_one_is_refused,
    transactions::what_was_acknowledged_is_there_after_a_restart,
    watches::a_watch_has_no_gap_and_no_duplicate_under_concurrent_writes,
    watches::progress_comes_when_asked_for_and_after_all_events,
    compaction::writers_and_watches_go_on_during_compactions,
    expiry::a_key_with_a_ttl_is_deleted_by_an_ordinary_event,
    history::random_histories_agree_with_a_model,
    snapshot::a_backup_under_write_load_is_the_store_at_its_revision,
}

// What takes another way on 3.5.
with_a_member_down! {
    two_of_three_next on Next:
    watches::a_watch_has_no_gap_and_no_duplicate_under_concurrent_writes,
    watches::progress_comes_when_asked_for_and_after_all_events,
    compaction::writers_and_watches_go_on_during_compactions,
}

pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key.into(), value: value.into(), ttl: None }
}

pub fn delete(key: impl Into<Bytes>) -> Op {
    Op::Delete { key: key.into() }
}

pub fn everything() -> KeyRange {
    KeyRange::prefix("")
}

/// Commits without compares and answers the revision.
pub async fn write(store: &dyn Store, ops: Vec<Op>) -> Revision {
    match store.commit(Vec::new(), ops).await.expect("the commit succeeds") {
        Commit::Done(revision) => revision,
        failed => panic!("nothing was compared: {failed:?}"),
    }
}

pub async fn get(store: &dyn Store, key: &str) -> Option<Entry> {
    store.range(KeyRange::single(key.to_owned()), None, 0).await.expect("the read succeeds").entries.pop()
}

/// The next item of a watch, in time.
pub async fn item(watch: &mut Watch) -> Result<WatchItem, StoreError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch says something in time").expect("the watch goes on")
}

/// The next events, progress skipped.
pub async fn events(watch: &mut Watch) -> Vec<Event> {
    loop {
        if let WatchItem::Events(events) = item(watch).await.expect("the watch goes on") {
            return events;
        }
    }
}

pub fn absent(key: impl Into<Bytes>) -> Compare {
    Compare::Absent(key.into())
}
