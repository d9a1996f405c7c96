//! Every question that has the same answer whatever way packets take.

use crate::{bound, changes, health, host_ports, masquerade, matrix, outside, packets, refusals};
use orknet_tests::suite::Test;

/// The longest first: the others run beside it.
pub const GROUPS: &[&[Test]] = &[
    matrix::TESTS,
    outside::TESTS,
    refusals::TESTS,
    packets::TESTS,
    changes::TESTS,
    health::TESTS,
    masquerade::TESTS,
    host_ports::TESTS,
    bound::TESTS,
];
