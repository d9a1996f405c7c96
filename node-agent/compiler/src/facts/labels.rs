//! Labels and selectors of them, as `metav1.LabelSelector` defines them.

use std::sync::Arc;

/// Labels of one object, ascending by key. Objects with equal labels share them: see [`Names::labels`](crate::Names::labels).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// What labels must be; of several requirements, all. Without any, everything is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Box<[Requirement]>);

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// It is there, and its value is one of these. A `matchLabels` entry is this with one value.
    In(Arc<str>, Box<[Arc<str>]>),
    /// Its value is none of these, or it is not there.
    NotIn(Arc<str>, Box<[Arc<str>]>),
    Exists(Arc<str>),
    DoesNotExist(Arc<str>),
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// Of pairs in any order; of a key that is there twice, the last counts.
    pub fn new(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        Self(sorted.into_iter().collect())
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        Some(&self.0[place].1)
    }

    /// In the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The same, as shared texts.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> + '_ {
        self.0.iter().cloned()
    }

    /// How many share them.
    pub(crate) fn sharers(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Selector {
    /// Of requirements in any order.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let mut all: Vec<_> = requirements.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// Whether it selects what has these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether it selects whatever has these labels and others that are not known.
    pub fn selects_all_with(&self, known: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(known) && known.get(requirement.key()).is_some())
    }

    /// Its requirements, ascending.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }
}

impl Requirement {
    fn key(&self) -> &str {
        match self {
            Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::DoesNotExist(key) => key,
        }
    }

    fn holds(&self, labels: &Labels) -> bool {
        let is_among = |key: &str, values: &[Arc<str>]| labels.get(key).is_some_and(|value| values.iter().any(|listed| **listed == *value));
        match self {
            Self::In(key, values) => is_among(key, values),
            Self::NotIn(key, values) => !is_among(key, values),
            Self::Exists(key) => labels.get(key).is_some(),
            Self::DoesNotExist(key) => labels.get(key).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())))
    }

    #[test]
    fn each_requirement_holds_as_the_api_says() {
        let (web, none) = (labels(&[("tier", "b"), ("app", "web")]), labels(&[]));
        let values = |all: &[&str]| all.iter().map(|value| Arc::from(*value)).collect::<Box<[_]>>();
        let one = |requirement| Selector::new([requirement]);
        for (selector, of_web, of_none) in [
            (Selector::default(), true, true),
            (one(Requirement::In("app".into(), values(&["db", "web"]))), true, false),
            (one(Requirement::In("app".into(), values(&["db"]))), false, false),
            (one(Requirement::NotIn("app".into(), values(&["db"]))), true, true),
            (one(Requirement::NotIn("app".into(), values(&["web"]))), false, true),
            (one(Requirement::Exists("tier".into())), true, false),
            (one(Requirement::DoesNotExist("tier".into())), false, true),
            (Selector::new([Requirement::Exists("tier".into()), Requirement::Exists("zone".into())]), false, false),
        ] {
            assert_eq!((selector.selects(&web), selector.selects(&none)), (of_web, of_none), "{selector:?}");
        }
    }
}
