//! What webhooks have done to the object of one request, and which of them are to be asked once more (`reinvocationPolicy`). Pure.

use serde_json::Value;
use std::collections::BTreeSet;

/// See the module. Webhooks are named by their ids.
#[derive(Debug, Default)]
pub struct Reinvocation {
    /// Whether this is the second round.
    again: bool,
    /// Whether a webhook has changed the object in the first round.
    changed: bool,
    ever_changed: bool,
    /// The object after the last webhook.
    last: Option<Value>,
    /// Those that want to be asked again if somebody changes the object after them.
    waiting: BTreeSet<String>,
    /// Those that are to be asked in the second round.
    chosen: BTreeSet<String>,
}

impl Reinvocation {
    /// Whether a second round begins now.
    pub fn begin(&mut self) -> bool {
        let begins = self.changed && !self.again;
        self.again |= begins;
        begins
    }

    /// 0 for the first round, 1 for the second.
    pub fn round(&self) -> usize {
        self.again.into()
    }

    /// Whether a webhook has changed the object.
    pub fn has_changed(&self) -> bool {
        self.ever_changed
    }

    /// The webhooks' turn. When other plug-ins have changed the object since their last one, all that wait are asked again.
    pub fn enter(&mut self, object: Option<&Value>) {
        if self.again && self.last.as_ref() != object {
            self.choose();
        }
    }

    /// Whether a webhook that the request is for is asked.
    pub fn wants(&self, id: &str) -> bool {
        !self.again || self.chosen.contains(id)
    }

    /// A webhook has been asked. `changed`: whether it changed the object.
    pub fn asked(&mut self, id: &str, changed: bool, reinvoked: bool) {
        if changed {
            self.choose();
            self.changed = true;
            self.ever_changed = true;
        }
        if reinvoked {
            self.waiting.insert(id.to_owned());
        }
    }

    /// The end of the webhooks' turn.
    pub fn leave(&mut self, object: Option<&Value>) {
        self.last = object.cloned();
    }

    fn choose(&mut self) {
        self.chosen.append(&mut self.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn those_before_a_change_are_asked_once_more() {
        let mut state = Reinvocation::default();
        let object = json!({ "a": 1 });
        state.enter(Some(&object));
        state.asked("first", false, true);
        state.asked("never", false, false);
        state.asked("changes", true, true);
        state.asked("last", false, true);
        state.leave(Some(&object));
        assert!(state.begin() && state.has_changed());
        state.enter(Some(&object));
        let wants = |state: &Reinvocation| ["first", "never", "changes", "last"].map(|id| state.wants(id));
        assert_eq!(wants(&state), [true, false, false, false]);
        // What built-in plug-ins change between the rounds concerns all that wait.
        state.enter(Some(&json!({ "a": 2 })));
        assert_eq!(wants(&state), [true, false, true, true]);
        assert!(!state.begin());
    }

    #[test]
    fn where_nothing_changes_there_is_one_round() {
        let mut state = Reinvocation::default();
        state.enter(None);
        state.asked("a", false, true);
        state.leave(None);
        assert!(!state.begin() && !state.has_changed());
    }
}
