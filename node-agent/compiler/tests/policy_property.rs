//! Property tests of policies: any sequence of changes ends in the image of one full compile, every prefix of every plan is sound, nothing
//! that a pod has is rewritten under it, and a restart that finds the kernel as it was left rewrites nothing.

mod policies;

use orknet_abi::{PodKey, direction};
use orknet_compiler::{Change, Inputs, MapImage, State, Step, compile};
use policies::{ask, change, note_all, put};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The steps of a plan, after which nothing is left to do.
fn settle(state: &mut State, changes: Vec<Change>) -> Vec<Step> {
    let steps = state.apply(changes).steps;
    assert_eq!(state.plan().steps, []);
    steps
}

fn known() -> (Inputs, State) {
    let (mut inputs, mut state) = (Inputs::default(), State::default());
    inputs.policy.known = true;
    state.policies_known();
    (inputs, state)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_in_the_image_of_one_compile_and_every_step_is_sound(bursts in vec(vec(change(), 1..6), 1..20)) {
        let ((mut inputs, mut state), mut maps) = (known(), MapImage::default());
        for burst in bursts {
            burst.iter().cloned().for_each(|change| put(&mut inputs, change));
            for step in settle(&mut state, burst) {
                maps.apply(step);
                prop_assert_eq!(maps.flaw(), None);
            }
            prop_assert_eq!(&maps, state.image());
            prop_assert_eq!(maps.orphans(), vec![]);
            prop_assert_eq!(maps.canonical(), compile(&inputs));
        }
    }

    #[test]
    fn one_change_never_shows_what_neither_before_nor_after_holds(before in vec(change(), 5..40), after in vec(change(), 1..8)) {
        let ((mut inputs, mut state), mut maps) = (known(), MapImage::default());
        before.iter().cloned().for_each(|change| put(&mut inputs, change));
        settle(&mut state, before).into_iter().for_each(|step| maps.apply(step));
        for change in after {
            let old = maps.clone();
            let mut own = policies::addresses_of(&inputs, &change);
            put(&mut inputs, change.clone());
            own.extend(policies::addresses_of(&inputs, &change));
            let steps = settle(&mut state, vec![change.clone()]);
            let new = state.image().clone();
            // Of a pod that comes or goes, the address is new to all.
            let stays: Vec<PodKey> = old.pods.keys().filter(|key| new.pods.contains_key(key)).copied().collect();
            for step in steps {
                maps.apply(step.clone());
                for pod in &stays {
                    for way in [direction::INGRESS, direction::EGRESS] {
                        // A pod that changes is both ends of what it sends to itself: these are two writes.
                        let is_own = |end| own.contains(&end) && own.contains(&pod.address);
                        for (question, said) in ask(&maps, pod, way).into_iter().filter(|((end, ..), _)| !is_own(*end)) {
                            let allowed = [policies::answer(&old, pod, way, question), policies::answer(&new, pod, way, question)];
                            prop_assert!(allowed.contains(&said), "{:?}: {:?} {:?} says {:?} of {:?}, not {:?}", change, pod, way, said, question, allowed);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_restart_rewrites_nothing_and_goes_on(before in vec(change(), 1..40), after in vec(change(), 1..10)) {
        let ((mut inputs, mut first), mut maps) = (known(), MapImage::default());
        before.iter().cloned().for_each(|change| put(&mut inputs, change));
        settle(&mut first, before).into_iter().for_each(|step| maps.apply(step));
        inputs.policy.former.clear();
        policies::know_pods(&mut inputs);
        let expected = compile(&inputs);
        let mut second = State::default();
        second.adopt(maps.clone());
        for (name, facts) in &inputs.attachments {
            second.note(Change::Attachment(name.clone(), Some(facts.clone())));
        }
        prop_assert_eq!(second.plan_attachments().steps, vec![], "before policies are known");
        note_all(&inputs, |change| second.note(change));
        second.policies_known();
        let steps = second.plan().steps;
        // Pods that are gone from the API keep what they had.
        if maps.pods.len() == expected.pods.len() {
            prop_assert_eq!(steps, vec![]);
            after.iter().cloned().for_each(|change| put(&mut inputs, change));
            settle(&mut second, after).into_iter().for_each(|step| maps.apply(step));
            prop_assert_eq!(maps.canonical(), compile(&inputs));
        }
    }

    #[test]
    fn whatever_the_maps_hold_becomes_what_is_wanted(found in policies::leftovers(), changes in vec(change(), 0..30)) {
        let ((mut inputs, mut state), mut maps) = (known(), found.clone());
        changes.iter().cloned().for_each(|change| put(&mut inputs, change));
        changes.into_iter().for_each(|change| state.note(change));
        state.adopt(found);
        settle(&mut state, Vec::new()).into_iter().for_each(|step| maps.apply(step));
        prop_assert_eq!(&maps, state.image());
        prop_assert_eq!(maps.flaw(), None);
        prop_assert_eq!(maps.orphans(), vec![]);
        prop_assert_eq!(maps.canonical(), compile(&inputs));
    }

    #[test]
    fn what_a_number_stands_for_never_changes(bursts in vec(vec(change(), 1..4), 1..15)) {
        let ((_, mut state), mut maps) = (known(), MapImage::default());
        for burst in bursts {
            let before = maps.clone();
            state.apply(burst).steps.into_iter().for_each(|step| maps.apply(step));
            for (key, verdict) in maps.verdicts.iter().filter(|(key, _)| before.verdicts.contains_key(key)) {
                prop_assert_eq!(before.verdicts.get(key), Some(verdict));
            }
            for (number, rule) in maps.rules.iter().filter(|(number, _)| before.rules.contains_key(number)) {
                prop_assert_eq!(before.rules.get(number), Some(rule));
            }
            let tables: BTreeMap<u32, ()> = before.ports.keys().map(|key| (key.table, ())).collect();
            for (key, judgement) in maps.ports.iter().filter(|(key, _)| tables.contains_key(&key.table)) {
                prop_assert_eq!(before.ports.get(key), Some(judgement));
            }
        }
    }
}
