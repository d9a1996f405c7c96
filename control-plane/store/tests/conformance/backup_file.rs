//! A backup's file, damaged in every way: nothing passes but what was written.

use crate::backend::Fixture;
use crate::{put, write};
use orknet_store::MAX_RESTORED;
use orknet_store::snapshot::{Begin, KeptFile, SnapshotError, backup, check, restore};
use std::path::Path;

/// A backup of an embedded store.
async fn sample(directory: &Path, keys: usize) -> Vec<u8> {
    let fixture = Fixture::embedded().await;
    for start in (0..keys).step_by(100) {
        let some = (start..keys.min(start + 100)).map(|at| put(format!("{at:04}"), "v".repeat(at * 13 % 200)));
        write(&*fixture.store, some.collect()).await;
    }
    let path = directory.join("sample");
    let files = [KeptFile { name: "ca.key".into(), mode: 0o600, contents: "secret".into() }];
    backup(&*fixture.source().await, &[], &files, "c", "t", &path).await.unwrap();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn no_damaged_cut_or_lengthened_backup_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged");
    let whole = sample(directory.path(), 60).await;
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = check(&path).err().unwrap_or_else(|| panic!("{what} passed"));
        assert!(matches!(error, SnapshotError::Damaged { .. }), "{what}: {error}");
        assert!(error.to_string().contains("damaged"), "{what}: {error}");
    };
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged, &format!("a flipped bit in byte {at}"));
    }
    for length in (0..whole.len()).step_by(3) {
        refused(&whole[..length], &format!("a file cut at {length}"));
    }
    refused(&[&whole[..], &[0]].concat(), "a byte too many");
    refused(&[&whole[..], &whole].concat(), "two in one file");
    std::fs::write(&path, &whole).unwrap();
    check(&path).unwrap();
}

/// A store of an earlier version may hold a value that no store takes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_an_earlier_version_is_restored_and_told_of_beforehand() {
    let (old, new) = (Fixture::embedded().await.ground.empty_like(), Fixture::embedded().await.ground.empty_like());
    let begin = Begin { above: 1, again: false, from: "a test".into() };
    let target = old.restore(&begin).await.unwrap();
    write(&*target.store(), vec![put("small", "v"), put("large", vec![b'x'; MAX_RESTORED])]).await;
    target.finish().await.unwrap();
    drop(target);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup");
    let source = old.source(false).await.unwrap();
    let largest = Some(("large".to_owned(), MAX_RESTORED));
    assert_eq!(source.largest().await.unwrap(), largest);
    backup(&*source, &[], &[], "c", "t", &path).await.unwrap();
    assert_eq!(check(&path).unwrap().largest, largest);
    let target = new.restore(&begin).await.unwrap();
    restore(&path, &*target).await.unwrap();
    drop(target);
    let store = new.open().await.unwrap();
    assert_eq!(crate::get(&*store, "large").await.unwrap().value.len(), MAX_RESTORED);
    assert!(store.commit(Vec::new(), vec![put("large", vec![b'y'; MAX_RESTORED])]).await.is_err(), "it is written anew");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Of whole parts each with its own good checksum: left out, doubled, in another order, or out of another backup.
    #[test]
    fn no_backup_with_its_parts_in_another_order_passes(order in proptest::collection::vec(0usize..8, 0..10)) {
        static SAMPLE: std::sync::OnceLock<(Vec<u8>, Vec<Vec<u8>>)> = std::sync::OnceLock::new();
        let (header, parts) = SAMPLE.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let (large, small) = runtime.block_on(async { (sample(directory.path(), 6000).await, sample(directory.path(), 5).await) });
            let ((header, mut parts), (_, others)) = (split(&large), split(&small));
            assert_eq!(parts.len(), 5, "a file, keys, the end");
            parts.extend(others);
            (header, parts)
        });
        let of = |order: &[usize]| order.iter().flat_map(|part| parts[*part].clone()).collect::<Vec<u8>>();
        let chosen = of(&order);
        // Two of the parts are the same in both.
        proptest::prop_assume!(chosen != of(&[0, 1, 2, 3, 4]));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mixed");
        std::fs::write(&path, [&header[..], &chosen].concat()).unwrap();
        proptest::prop_assert!(check(&path).is_err(), "{:?} passed", order);
    }
}

/// The header and the parts of a backup, by the lengths that they say.
fn split(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let length = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 16 + length(12) + 4;
    let header = bytes[..at].to_vec();
    let mut parts = Vec::new();
    while at < bytes.len() {
        let end = at + 9 + length(at + 5) + 4;
        parts.push(bytes[at..end].to_vec());
        at = end;
    }
    (header, parts)
}

#[tokio::test]
async fn a_newer_format_is_told_from_damage_and_a_failed_backup_leaves_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut newer = sample(directory.path(), 3).await;
    newer[8] = 2;
    let length = 16 + u32::from_le_bytes(newer[12..16].try_into().unwrap()) as usize;
    // CRC-32 as everybody has it (IEEE 802.3).
    let checksum = newer[..length].iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    });
    newer[length..length + 4].copy_from_slice(&(!checksum).to_le_bytes());
    let path = directory.path().join("newer");
    std::fs::write(&path, &newer).unwrap();
    assert!(matches!(check(&path).unwrap_err(), SnapshotError::Format { format: 2, .. }));

    let fixture = Fixture::etcd().await;
    write(&*fixture.store, vec![put("a", "1")]).await;
    let source = fixture.source().await;
    let newest = write(&*fixture.store, vec![put("a", "2")]).await;
    fixture.store.compact(newest).await.unwrap();
    let error = backup(&*source, &[], &[], "c", "t", &path).await.unwrap_err();
    assert!(error.to_string().contains("compacted"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), newer);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "something unfinished was left");
}
