//! Policies made up at random, by the real compiler's plans, on real maps that have no room: whatever fails, nothing is let through that
//! neither what was there nor what is wanted lets through.

#[path = "../../../compiler/tests/policies/mod.rs"]
#[allow(dead_code, reason = "the compiler's own tests use more of it")]
mod policies;

use super::*;
use crate::Reader;
use orknet_abi::{MapSpec, PEERS, PODS, PORTS, RULE_COUNTS, RULES, VERDICTS, direction};
use orknet_compiler::{Flaw, State};
use policies::{ask, change};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Maps that find no room in turn, each with so many entries.
const FULL: [(&MapSpec, u32); 6] = [(&PEERS, 3), (&VERDICTS, 5), (&PORTS, 4), (&RULES, 2), (&RULE_COUNTS, 2), (&PODS, 2)];

/// The same sixty cases each time, or as many at random as `ORKNET_FUZZ` says.
fn config() -> ProptestConfig {
    let cases = std::env::var("ORKNET_FUZZ").ok().map(|text| text.parse().expect("ORKNET_FUZZ is a number of cases"));
    let rng_seed = if cases.is_some() { RngSeed::Random } else { RngSeed::Fixed(7) };
    ProptestConfig { cases: cases.unwrap_or(60), rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn root_whatever_finds_no_room_opens_nothing(full in 0..FULL.len(), changes in vec(change(), 1..40)) {
        let (map, capacity) = FULL[full];
        let reader = Reader::over(Tables::create(|spec| if spec == map { capacity } else { 4_096 }));
        let (mut state, mut ideal) = (State::default(), State::default());
        state.policies_known();
        ideal.policies_known();
        for change in changes {
            let before = reader.image().unwrap();
            let plan = state.apply([change.clone()]);
            let wanted = state.image().clone();
            ideal.apply([change.clone()]);
            prop_assert_eq!(wanted.canonical(), ideal.image().canonical(), "what found no room is tried again");
            let failures = apply(reader.tables(), &plan).failures;
            let after = reader.image().unwrap();
            prop_assert!(failures.is_empty() || failures.iter().any(|failure| failure.map == map.name), "{:?}", failures);
            prop_assert!(matches!(after.flaw(), None | Some(Flaw::MissingRule(_))), "{:?}", after.flaw());
            for pod in after.pods.keys() {
                for way in [direction::INGRESS, direction::EGRESS] {
                    // A pod that is not there is let nothing.
                    let [was, is, may] = [&before, &after, &wanted].map(|maps| ask(maps, pod, way));
                    for (((question, is_allowed), (_, was)), (_, may)) in is.into_iter().zip(was).zip(may) {
                        prop_assert!(!is_allowed || was || may, "{} full, {:?}: {:?} {} {:?}\n{:?}", map.name, change, pod, way, question, failures);
                    }
                }
            }
            if !failures.is_empty() && !state.take_back(failures.iter().map(|failure| &failure.step)) {
                state.adopt(after);
            } else {
                prop_assert_eq!(state.image(), &after, "{:?}", failures);
            }
        }
    }
}
