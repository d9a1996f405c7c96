//! Address management against a real folder: crashes are played by leaving behind what a process that died would.

use super::*;

fn owner(container_id: &str) -> AttachmentName {
    AttachmentName { container_id: container_id.into(), ifname: "eth0".into() }
}

fn prefixes(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn open() -> (tempfile::TempDir, Addresses) {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::open(folder.path()).unwrap();
    (folder, addresses)
}

#[test]
fn one_address_of_every_prefix_is_given() {
    let (_folder, addresses) = open();
    let given = addresses.allocate(&prefixes(&["10.244.1.0/24", "fd00:10:244:1::/64"]), &owner("a")).unwrap();
    assert_eq!(given, ["10.244.1.2".parse::<IpAddr>().unwrap(), "fd00:10:244:1::2".parse().unwrap()]);
}

#[test]
fn a_freed_address_rests_until_the_others_were_used() {
    let (_folder, addresses) = open();
    let prefix = prefixes(&["10.0.0.0/29"]);
    let first = addresses.allocate(&prefix, &owner("a")).unwrap();
    assert_eq!(addresses.free(&owner("a")).unwrap(), first);
    let next: Vec<_> = ["b", "c", "d", "e"].iter().flat_map(|name| addresses.allocate(&prefix, &owner(name)).unwrap()).collect();
    assert!(!next.contains(&first[0]), "{next:?}");
    assert_eq!(addresses.allocate(&prefix, &owner("f")).unwrap(), first);
}

#[test]
fn a_full_prefix_is_an_error_and_gives_nothing_of_the_other() {
    let (_folder, addresses) = open();
    let both = prefixes(&["fd00::/64", "10.0.0.0/30"]);
    assert_eq!(addresses.allocate(&both, &owner("a")).unwrap().len(), 2);
    let error = addresses.allocate(&both, &owner("b")).unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert_eq!(addresses.owned().unwrap().len(), 2);
}

#[test]
fn prefixes_without_room_are_full_and_do_not_panic() {
    let (_folder, addresses) = open();
    for prefix in ["10.0.0.0/32", "10.0.0.0/31", "fd00::/128", "fd00::/127"] {
        assert!(addresses.allocate(&prefixes(&[prefix]), &owner("a")).is_err(), "{prefix}");
    }
    assert!(addresses.allocate(&prefixes(&["::/0"]), &owner("a")).is_ok());
}

#[test]
fn concurrent_processes_never_share_an_address() {
    let (folder, _) = open();
    let prefix = prefixes(&["10.0.0.0/24"]);
    let given: Vec<IpAddr> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (folder, prefix) = (folder.path(), &prefix);
                // Each opens the folder and so the lock file by itself, as processes do.
                scope.spawn(move || {
                    let addresses = Addresses::open(folder).unwrap();
                    let one = |n: u32| addresses.allocate(prefix, &owner(&format!("c{thread}-{n}"))).unwrap()[0];
                    (0..20).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(given.len(), 160);
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 160);
}

#[test]
fn files_of_a_process_that_died_while_choosing_are_used_again() {
    let (folder, addresses) = open();
    fs::write(folder.path().join("addresses/10.0.0.2"), "").unwrap();
    fs::write(folder.path().join("addresses/10.0.0.3"), "half-an-own").unwrap();
    let prefix = prefixes(&["10.0.0.0/29"]);
    assert_eq!(addresses.owned().unwrap(), []);
    let given: Vec<_> = ["a", "b"].iter().flat_map(|name| addresses.allocate(&prefix, &owner(name)).unwrap()).collect();
    assert_eq!(given, ["10.0.0.2".parse::<IpAddr>().unwrap(), "10.0.0.3".parse().unwrap()]);
    assert_eq!(addresses.owned().unwrap().len(), 2);
}

#[test]
fn freeing_twice_and_freeing_nothing_are_fine() {
    let (_folder, addresses) = open();
    addresses.allocate(&prefixes(&["10.0.0.0/24"]), &owner("a")).unwrap();
    assert_eq!(addresses.free(&owner("other")).unwrap(), Vec::<IpAddr>::new());
    assert_eq!(addresses.free(&owner("a")).unwrap().len(), 1);
    assert_eq!(addresses.free(&owner("a")).unwrap(), Vec::<IpAddr>::new());
}
