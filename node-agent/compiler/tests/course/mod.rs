//! A course of changes, taken by a state, by the inputs of one full compile, and by maps to which the state's steps are applied: what property tests
//! compare.

use orknet_compiler::{Change, Inputs, MapImage, State, Step, compile};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// The steps of a plan, after which nothing is left to do.
pub fn settle(state: &mut State, changes: Vec<Change>) -> Vec<Step> {
    let steps = state.apply(changes).steps;
    assert_eq!(state.plan().steps, []);
    steps
}

/// Where a course has led to.
pub struct Course {
    pub inputs: Inputs,
    pub state: State,
    pub maps: MapImage,
    /// How inputs take a change.
    put: fn(&mut Inputs, Change),
}

impl Course {
    /// Nothing is known, the maps are empty.
    pub fn new(put: fn(&mut Inputs, Change)) -> Self {
        Self { inputs: Inputs::default(), state: State::default(), maps: MapImage::default(), put }
    }

    /// Takes changes; the steps that follow are still to be applied.
    pub fn steps(&mut self, changes: Vec<Change>) -> Vec<Step> {
        self.note(&changes);
        settle(&mut self.state, changes)
    }

    /// Takes changes, and applies what follows.
    pub fn go(&mut self, changes: Vec<Change>) {
        for step in self.steps(changes) {
            self.maps.apply(step);
        }
    }

    /// The same, and nothing is wrong with the maps after any step.
    pub fn go_soundly(&mut self, changes: Vec<Change>) -> TestCaseResult {
        for step in self.steps(changes) {
            self.maps.apply(step);
            prop_assert_eq!(self.maps.flaw(), None);
        }
        Ok(())
    }

    /// Takes changes, and finds these maps then.
    pub fn go_over(&mut self, changes: Vec<Change>, found: MapImage) {
        self.note(&changes);
        changes.into_iter().for_each(|change| self.state.note(change));
        self.maps = found.clone();
        self.state.adopt(found);
        self.go(Vec::new());
    }

    fn note(&mut self, changes: &[Change]) {
        changes.iter().cloned().for_each(|change| (self.put)(&mut self.inputs, change));
    }

    /// The maps are what the state takes them for, whole, and what one compile of everything makes.
    pub fn is_one_compile(&self) -> TestCaseResult {
        prop_assert_eq!(&self.maps, self.state.image());
        prop_assert_eq!(self.maps.flaw(), None);
        prop_assert_eq!(self.maps.orphans(), vec![]);
        prop_assert_eq!(self.maps.canonical(), compile(&self.inputs));
        Ok(())
    }
}
