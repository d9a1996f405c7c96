//! Sets of fields: which places of an object somebody owns (`metadata.managedFields[].fieldsV1`). Reading and writing that form is in `v1`.

mod v1;

pub use v1::FieldsError;

use crate::Place;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field of a struct or an entry of a map.
    Field(Box<str>),
    /// An item of a list, by its key fields: a JSON object, keys sorted, no spaces.
    Key(Box<str>),
    /// An item of a set, by its value: JSON.
    Value(Box<str>),
    /// An item of a list, by position.
    Index(u64),
}

/// A set of paths. A path may be in the set without the paths below it, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    entries: BTreeMap<Segment, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Whether the path that ends here is in the set.
    member: bool,
    below: FieldSet,
}

/// A path, printed as Kubernetes does: `.spec.containers[name="a"].args[0]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Segment>);

impl Segment {
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The segment of a list item by its key fields, in any order.
    pub fn key(mut fields: Vec<(&str, Value)>) -> Self {
        fields.sort_by_key(|(name, _)| *name);
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{}", Value::from(*name), canonical(value))).collect();
        Self::Key(format!("{{{}}}", fields.join(",")).into())
    }

    /// The segment of a set's item.
    pub fn value(value: &Value) -> Self {
        Self::Value(canonical(value).into())
    }
}

impl FieldSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a path. The empty path (the object itself) is in no set.
    pub fn insert(&mut self, path: &[Segment]) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut set = self;
        for segment in parents {
            set = &mut set.entries.entry(segment.clone()).or_default().below;
        }
        set.entries.entry(last.clone()).or_default().member = true;
    }

    /// Whether the path of one segment is in the set.
    pub fn has(&self, segment: &Segment) -> bool {
        self.entries.get(segment).is_some_and(|entry| entry.member)
    }

    /// What the set holds below a segment.
    pub fn below(&self, segment: &Segment) -> Option<&FieldSet> {
        self.entries.get(segment).map(|entry| &entry.below).filter(|below| !below.is_empty())
    }

    /// Paths in either set.
    pub fn union(mut self, other: &FieldSet) -> Self {
        for (segment, theirs) in &other.entries {
            let ours = self.entries.entry(segment.clone()).or_default();
            ours.member |= theirs.member;
            ours.below = std::mem::take(&mut ours.below).union(&theirs.below);
        }
        self
    }

    /// Paths in both sets.
    pub fn intersection(&self, other: &FieldSet) -> Self {
        self.filter(|segment, entry| {
            let theirs = other.entries.get(segment)?;
            Some(Entry { member: entry.member && theirs.member, below: entry.below.intersection(&theirs.below) })
        })
    }

    /// Paths in this set that the other does not have.
    pub fn difference(&self, other: &FieldSet) -> Self {
        self.filter(|segment, entry| match other.entries.get(segment) {
            None => Some(entry.clone()),
            Some(theirs) => Some(Entry { member: entry.member && !theirs.member, below: entry.below.difference(&theirs.below) }),
        })
    }

    /// The set without a path and all paths below it.
    pub fn without(&self, path: &[Segment]) -> Self {
        let Some((first, rest)) = path.split_first() else { return Self::new() };
        self.filter(|segment, entry| match (segment == first, rest.is_empty()) {
            (false, _) => Some(entry.clone()),
            (true, true) => None,
            (true, false) => Some(Entry { member: entry.member, below: entry.below.without(rest) }),
        })
    }

    /// The set with every declared field that has something below it made a member: whoever owns a part of a struct holds the struct.
    pub fn with_structs(&self, place: Place<'_>) -> Self {
        self.filter(|segment, entry| {
            let (declared, next) = match segment {
                Segment::Field(name) => (place.declares(name), place.field(name)),
                _ => (false, place.item()),
            };
            Some(Entry { member: entry.member || declared, below: entry.below.with_structs(next) })
        })
    }

    /// All paths, in order.
    pub fn paths(&self) -> Vec<FieldPath> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Segment>, paths: &mut Vec<FieldPath>) {
        for (segment, entry) in &self.entries {
            prefix.push(segment.clone());
            if entry.member {
                paths.push(FieldPath(prefix.clone()));
            }
            entry.below.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// Keeps what `keep` answers, and no entry without a member.
    fn filter(&self, keep: impl Fn(&Segment, &Entry) -> Option<Entry>) -> Self {
        let kept = self.entries.iter().filter_map(|(segment, entry)| Some((segment.clone(), keep(segment, entry)?)));
        Self { entries: kept.filter(|(_, entry)| entry.member || !entry.below.is_empty()).collect() }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Value(value) => write!(f, "[={value}]")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    let fields = serde_json::from_str::<BTreeMap<String, Value>>(key).unwrap_or_default();
                    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    write!(f, "[{}]", fields.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// JSON with sorted names, and whole numbers without a fraction, so that equal values have equal text.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Whole numbers up to 2^53 are exact in both forms.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => format!("{}", float as i64),
            _ => number.to_string(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
