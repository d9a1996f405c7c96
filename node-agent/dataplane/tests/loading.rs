//! Programs are loaded when they are needed. (Alone in its file: it looks at what the whole process has open.)

mod harness;

use harness::Node;
use orknet_dataplane::{Hook, Xdp};
use std::fs;

/// How many programs for frames from the wire this process has open.
fn programs_for_the_wire() -> usize {
    // `BPF_PROG_TYPE_XDP` in linux/bpf.h.
    const XDP: &str = "prog_type:\t6\n";
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap();
    descriptors.filter_map(|descriptor| fs::read_to_string(descriptor.ok()?.path()).ok()).filter(|text| text.contains(XDP)).count()
}

#[test]
fn root_the_program_for_frames_from_the_wire_is_loaded_for_those_who_use_it() {
    let mut node = Node::new("loading");
    let dataplane = node.dataplane();
    assert_eq!(programs_for_the_wire(), 0, "XDP is off");
    dataplane.run(Hook::FromWire, &[0; 64], 1).unwrap();
    let needed = programs_for_the_wire();
    assert_ne!(needed, 0);
    dataplane.run(Hook::FromWire, &[0; 64], 1).unwrap();
    assert_eq!(programs_for_the_wire(), needed, "once is enough");
    drop(dataplane);
    assert_eq!(programs_for_the_wire(), 0);
    node.config.xdp = Xdp::Generic;
    let _dataplane = node.dataplane();
    assert_ne!(programs_for_the_wire(), 0, "XDP is on");
}
