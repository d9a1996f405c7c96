//! Pure: which recorded occurrence becomes a new Event, which raises the count of one, and which is dropped as spam.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;

/// How many distinct series, and how many objects' budgets, are remembered; beyond it the oldest half is forgotten: the next occurrence
/// makes a new Event, and the object has a full budget.
const REMEMBERED: usize = 2048;
/// Events one object may cause at once, and the seconds in which it earns one more; the figures of client-go's spam filter.
const BURST: f64 = 25.0;
const SECONDS_PER_EVENT: f64 = 300.0;

/// The `type` of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened to one object.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    pub object: ObjectReference,
    pub kind: EventType,
    pub reason: String,
    pub message: String,
    pub action: String,
    pub at: Timestamp,
}

/// What to write for an occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Create { name: String },
    Repeat { name: String, count: i32 },
    Drop,
}

/// What has been recorded so far.
#[derive(Default)]
pub(crate) struct Memory {
    series: HashMap<u64, Series>,
    budgets: HashMap<u64, Budget>,
}

struct Series {
    name: String,
    count: i32,
    last: Timestamp,
}

struct Budget {
    tokens: f64,
    at: Timestamp,
}

impl Memory {
    pub fn judge(&mut self, occurrence: &Occurrence) -> Verdict {
        if !self.spend(occurrence) {
            return Verdict::Drop;
        }
        let id = series_id(occurrence);
        if let Some(series) = self.series.get_mut(&id) {
            series.count += 1;
            series.last = occurrence.at;
            return Verdict::Repeat { name: series.name.clone(), count: series.count };
        }
        make_room(&mut self.series, |series| series.last);
        let name = format!("{}.{:x}", occurrence.object.name.as_deref().unwrap_or_default(), occurrence.at.as_nanosecond());
        self.series.insert(id, Series { name: name.clone(), count: 1, last: occurrence.at });
        Verdict::Create { name }
    }

    /// The Event of this series is gone from the server: the next occurrence starts a new one.
    pub fn forget(&mut self, occurrence: &Occurrence) {
        self.series.remove(&series_id(occurrence));
    }

    fn spend(&mut self, occurrence: &Occurrence) -> bool {
        if self.budgets.len() >= REMEMBERED {
            self.budgets.retain(|_, budget| refilled(budget, occurrence.at) < BURST);
        }
        make_room(&mut self.budgets, |budget| budget.at);
        let budget = self.budgets.entry(object_id(&occurrence.object)).or_insert(Budget { tokens: BURST, at: occurrence.at });
        budget.tokens = refilled(budget, occurrence.at);
        budget.at = occurrence.at;
        if budget.tokens < 1.0 {
            return false;
        }
        budget.tokens -= 1.0;
        true
    }
}

/// Forgets the older half of a map that is full.
fn make_room<V>(map: &mut HashMap<u64, V>, time: impl Fn(&V) -> Timestamp) {
    if map.len() < REMEMBERED {
        return;
    }
    let mut by_age: Vec<_> = map.iter().map(|(id, value)| (time(value), *id)).collect();
    by_age.sort_unstable();
    for (_, id) in &by_age[..by_age.len() / 2] {
        map.remove(id);
    }
}

fn refilled(budget: &Budget, now: Timestamp) -> f64 {
    let passed = now.duration_since(budget.at).as_secs_f64().max(0.0);
    (budget.tokens + passed / SECONDS_PER_EVENT).min(BURST)
}

fn object_id(object: &ObjectReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&object.kind, &object.namespace, &object.name, &object.uid).hash(&mut hasher);
    hasher.finish()
}

fn series_id(occurrence: &Occurrence) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object_id(&occurrence.object), &occurrence.object.field_path, occurrence.kind, &occurrence.reason, &occurrence.message)
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::ToSpan;

    use super::*;

    fn occurrence(name: &str, message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference { kind: Some("Pod".into()), name: Some(name.into()), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "Reason".into(),
            message: message.into(),
            action: String::new(),
            at: Timestamp::UNIX_EPOCH + second.seconds(),
        }
    }

    #[test]
    fn a_repeat_raises_the_count_of_the_first_event() {
        let mut memory = Memory::default();
        let Verdict::Create { name } = memory.judge(&occurrence("a", "x", 0)) else { panic!("the first one is new") };
        assert_eq!(memory.judge(&occurrence("a", "x", 5)), Verdict::Repeat { name: name.clone(), count: 2 });
        assert_eq!(memory.judge(&occurrence("a", "x", 6)), Verdict::Repeat { name, count: 3 });
        assert!(matches!(memory.judge(&occurrence("a", "y", 7)), Verdict::Create { .. }));
    }

    #[test]
    fn an_event_that_vanished_is_made_anew() {
        let mut memory = Memory::default();
        memory.judge(&occurrence("a", "x", 0));
        memory.forget(&occurrence("a", "x", 0));
        assert!(matches!(memory.judge(&occurrence("a", "x", 9)), Verdict::Create { .. }));
    }

    #[test]
    fn one_noisy_object_is_silenced_and_others_are_not() {
        let mut memory = Memory::default();
        let verdicts: Vec<_> = (0..40).map(|second| memory.judge(&occurrence("noisy", "x", second))).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Drop).count(), 15);
        assert_ne!(memory.judge(&occurrence("calm", "x", 40)), Verdict::Drop);
        assert_ne!(memory.judge(&occurrence("noisy", "x", 400)), Verdict::Drop);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::default();
        for second in 0..3 * REMEMBERED as i64 {
            memory.judge(&occurrence(&format!("pod-{second}"), "x", second));
        }
        assert!(memory.series.len() <= REMEMBERED && memory.budgets.len() <= REMEMBERED);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay_also_when_all_happens_at_once() {
        let mut memory = Memory::default();
        for index in 0..3 * REMEMBERED {
            memory.judge(&occurrence(&format!("pod-{index}"), "x", 0));
        }
        assert!(memory.series.len() <= REMEMBERED && memory.budgets.len() <= REMEMBERED);
        memory.judge(&occurrence("noisy", "x", 1));
        for index in 0..REMEMBERED {
            memory.judge(&occurrence(&format!("other-{index}"), "x", 0));
        }
        assert!(matches!(memory.judge(&occurrence("noisy", "x", 2)), Verdict::Repeat { .. }));
        assert!(memory.budgets[&object_id(&occurrence("noisy", "x", 2).object)].tokens < BURST - 1.0);
    }
}
