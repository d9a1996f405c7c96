//! Does trying the host out find what is there, both ways onto devices, and leave nothing?

use orknet_dataplane::{DeviceAttach, try_host};
use std::{fs, path::Path};

#[test]
fn root_a_host_that_has_everything_passes_and_is_as_before() {
    let state = || {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        (mounts.matches(" /run ").count(), fs::read_link("/proc/thread-self/ns/net").unwrap(), Path::new("/run/trial").exists())
    };
    let before = state();
    for how in [DeviceAttach::Tcx, DeviceAttach::Clsact, DeviceAttach::Auto] {
        try_host(how).unwrap_or_else(|error| panic!("{how:?}: {error}"));
    }
    assert_eq!(state(), before);
}
