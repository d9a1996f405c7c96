//! Property tests of policies: any sequence of changes ends in the image of one full compile, every prefix of every plan is sound, nothing
//! that a pod has is rewritten under it, and a restart that finds the kernel as it was left rewrites nothing.

mod course;
mod policies;

use course::Course;
use orknet_abi::{PodKey, direction};
use orknet_compiler::{Change, State, compile};
use policies::{ask, change, note_all, populated, put};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Nothing is there, and that is known.
fn known() -> Course {
    let mut course = Course::new(put);
    course.inputs.policy.known = true;
    course.state.policies_known();
    course
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

/// As `proptest!` does, where who asks counts beside what the cases were about.
fn holds<S: Strategy>(cases: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    TestRunner::new(config()).run(cases, property).unwrap_or_else(|error| panic!("{error}"));
}

/// How many of so many there were.
#[derive(Default)]
struct Share {
    of: Cell<u32>,
    all: Cell<u32>,
}

impl Share {
    fn count(&self, is_one: bool) {
        self.of.update(|of| of + u32::from(is_one));
        self.all.update(|all| all + 1);
    }

    fn per_cent(&self) -> u32 {
        100 * self.of.get() / self.all.get()
    }
}

#[test]
fn one_change_never_shows_what_neither_before_nor_after_holds() {
    let switching = Share::default();
    holds(&(populated(), vec(change(), 0..12), vec(change(), 1..8)), |(given, before, after)| {
        let mut course = known();
        course.go(given);
        course.go(before);
        for change in after {
            let old = course.maps.clone();
            let own_before = policies::addresses_of(&course.inputs, &change);
            let steps = course.steps(vec![change.clone()]);
            let own = [own_before, policies::addresses_of(&course.inputs, &change)];
            let new = course.state.image().clone();
            // Of a pod that comes or goes, the address is new to all.
            let stays: Vec<PodKey> = old.pods.keys().filter(|key| new.pods.contains_key(key)).copied().collect();
            let ways = || stays.iter().flat_map(|pod| [direction::INGRESS, direction::EGRESS].map(|way| (pod, way)));
            let verdicts = |maps| ways().map(|(pod, way)| ask(maps, pod, way)).collect::<Vec<_>>();
            let [said_before, said_after] = [&old, &new].map(verdicts);
            switching.count(said_before != said_after);
            for step in steps {
                course.maps.apply(step);
                for (((pod, way), of_old), of_new) in ways().zip(&said_before).zip(&said_after) {
                    // Who an end is, and which rules the other has, are two writes. They come together where the labels or the owner of both
                    // change: of a pod that sends to itself, and of two of a namespace whose labels change. That is said where policy is
                    // decided (docs/adr/0010-policy.md). Nothing more is left out: what a change takes from a pod and what it gives it, or
                    // another in its place, are judged as any.
                    let is_own = |end| own.iter().any(|own| own.contains(&end) && own.contains(&pod.address));
                    for (((question, said), (_, old)), (_, new)) in ask(&course.maps, pod, way).into_iter().zip(of_old).zip(of_new) {
                        prop_assert!(
                            [*old, *new].contains(&said) || is_own(question.0),
                            "{:?}: {:?} {:?} says {:?} of {:?}, not {:?} or {:?}",
                            change,
                            pod,
                            way,
                            said,
                            question,
                            old,
                            new
                        );
                    }
                }
            }
        }
        Ok(())
    });
    let share = switching.per_cent();
    assert!(share > 10, "{share} per cent of the changes switch a verdict of a pod that stays");
}

#[test]
fn a_restart_rewrites_nothing_and_goes_on() {
    let policed = Share::default();
    holds(&(populated(), vec(change(), 0..20), vec(change(), 1..10)), |(given, before, after)| {
        let mut course = known();
        course.go(given);
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
        let is_all_known = maps.pods.len() == expected.pods.len();
        policed.count(is_all_known && maps.pods.values().any(|pod| pod.ingress != 0 || pod.egress != 0));
        if is_all_known {
            prop_assert_eq!(steps, vec![]);
            course.state = second;
            course.go(after);
            course.is_one_compile()?;
        }
        Ok(())
    });
    let share = policed.per_cent();
    assert!(share > 50, "pods have rules in {share} per cent of the cases");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_sequence_ends_in_the_image_of_one_compile_and_every_step_is_sound(bursts in vec(vec(change(), 1..6), 1..20)) {
        let mut course = known();
        for burst in bursts {
            course.go_soundly(burst)?;
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
