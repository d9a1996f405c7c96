//! Property tests of policies: any sequence of changes ends in the image of one full compile, every prefix of every plan is sound, nothing
//! that a pod has is rewritten under it, and a restart that finds the kernel as it was left rewrites nothing.

mod course;
mod policies;

use course::Course;
use orknet_abi::{PodKey, direction};
use orknet_compiler::{Change, State, compile};
use policies::{ask, change, note_all, put};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Nothing is there, and that is known.
fn known() -> Course {
    let mut course = Course::new(put);
    course.inputs.policy.known = true;
    course.state.policies_known();
    course
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_in_the_image_of_one_compile_and_every_step_is_sound(bursts in vec(vec(change(), 1..6), 1..20)) {
        let mut course = known();
        for burst in bursts {
            course.go_soundly(burst)?;
            course.is_one_compile()?;
        }
    }

    #[test]
    fn one_change_never_shows_what_neither_before_nor_after_holds(before in vec(change(), 5..40), after in vec(change(), 1..8)) {
        let mut course = known();
        course.go(before);
        for change in after {
            let old = course.maps.clone();
            let own_before = policies::addresses_of(&course.inputs, &change);
            let steps = course.steps(vec![change.clone()]);
            let own = [own_before, policies::addresses_of(&course.inputs, &change)];
            let new = course.state.image().clone();
            // Of a pod that comes or goes, the address is new to all.
            let stays: Vec<PodKey> = old.pods.keys().filter(|key| new.pods.contains_key(key)).copied().collect();
            for step in steps {
                course.maps.apply(step);
                for pod in &stays {
                    for way in [direction::INGRESS, direction::EGRESS] {
                        // Who an end is, and which rules the other has, are two writes. They come together where the labels or the owner of both
                        // change: of a pod that sends to itself, and of two of a namespace whose labels change. That is said where policy is
                        // decided (docs/adr/0010-policy.md). Nothing more is left out: what a change takes from a pod and what it gives it, or
                        // another in its place, are judged as any.
                        let is_own = |end| own.iter().any(|own| own.contains(&end) && own.contains(&pod.address));
                        for (question, said) in ask(&course.maps, pod, way).into_iter().filter(|((end, ..), _)| !is_own(*end)) {
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
        let mut course = known();
        course.go(before);
        let Course { inputs, maps, .. } = &mut course;
        inputs.policy.former.clear();
        policies::know_pods(inputs);
        let expected = compile(inputs);
        let mut second = State::default();
        second.adopt(maps.clone());
        for (name, facts) in &inputs.attachments {
            second.note(Change::Attachment(name.clone(), Some(facts.clone())));
        }
        prop_assert_eq!(second.plan_attachments().steps, vec![], "before policies are known");
        note_all(inputs, |change| second.note(change));
        second.policies_known();
        let steps = second.plan().steps;
        // Pods that are gone from the API keep what they had.
        if maps.pods.len() == expected.pods.len() {
            prop_assert_eq!(steps, vec![]);
            course.state = second;
            course.go(after);
            course.is_one_compile()?;
        }
    }

    #[test]
    fn whatever_the_maps_hold_becomes_what_is_wanted(found in policies::leftovers(), changes in vec(change(), 0..30)) {
        let mut course = known();
        course.go_over(changes, found);
        course.is_one_compile()?;
    }

    #[test]
    fn what_a_number_stands_for_never_changes(bursts in vec(vec(change(), 1..4), 1..15)) {
        let Course { mut state, mut maps, .. } = known();
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
