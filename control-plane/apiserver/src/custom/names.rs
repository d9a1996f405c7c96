//! Names within a group: each plural, singular and short name, and each kind, belongs to one definition, to the first that asked. Pure; the reasons
//! are those of upstream's naming controller.

use orknet_custom::definition::conditions::Condition;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// `CustomResourceDefinitionNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    pub plural: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub singular: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// The names of a group that somebody has.
#[derive(Default)]
pub struct Taken<'a> {
    resources: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    /// Adds those of one owner.
    pub fn add(&mut self, resources: impl IntoIterator<Item = &'a str>, kinds: impl IntoIterator<Item = &'a str>) {
        self.resources.extend(resources);
        self.kinds.extend(kinds);
    }

    /// Adds those that a definition has.
    pub fn add_names(&mut self, names: &'a Names) {
        let resources = [&names.plural, &names.singular].into_iter().chain(&names.short_names);
        self.add(resources.map(String::as_str), [&names.kind[..], &names.list_kind]);
    }
}

/// The names that a definition gets of those that it wants, and the condition `NamesAccepted`. `taken`: those of all others. What it cannot have, it
/// keeps as it had it.
pub fn accept(wanted: &Names, had: &Names, taken: &Taken<'_>) -> (Names, Condition) {
    let mut names = had.clone();
    let mut refused: Option<(&str, String)> = None;
    let mut try_name = |wanted: &str, had: &mut String, taken: &HashSet<&str>, reason: &'static str| {
        if wanted != had && taken.contains(wanted) {
            refused = Some((reason, in_use(wanted)));
        } else {
            wanted.clone_into(had);
        }
    };
    try_name(&wanted.plural, &mut names.plural, &taken.resources, "PluralConflict");
    try_name(&wanted.singular, &mut names.singular, &taken.resources, "SingularConflict");
    let short: Vec<String> = (wanted.short_names.iter())
        .filter(|name| !had.short_names.contains(name) && taken.resources.contains(&name[..]))
        .map(|name| in_use(name))
        .collect();
    let short = match &short[..] {
        [] => {
            names.short_names.clone_from(&wanted.short_names);
            None
        }
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    };
    // The last complaint is told, in upstream's order.
    if let Some(message) = short {
        refused = Some(("ShortNamesConflict", message));
    }
    let mut try_kind = |wanted: &str, had: &mut String, reason: &'static str| {
        if wanted != had && taken.kinds.contains(wanted) {
            refused = Some((reason, in_use(wanted)));
        } else {
            wanted.clone_into(had);
        }
    };
    try_kind(&wanted.kind, &mut names.kind, "KindConflict");
    try_kind(&wanted.list_kind, &mut names.list_kind, "ListKindConflict");
    names.categories.clone_from(&wanted.categories);
    let condition = match refused {
        None => Condition::new("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, message)) => Condition::new("NamesAccepted", false, reason, message),
    };
    (names, condition)
}

fn in_use(name: &str) -> String {
    format!("{name:?} is already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, singular: &str, short: &[&str], kind: &str) -> Names {
        let short_names = short.iter().map(|name| (*name).to_owned()).collect();
        let (plural, singular, list_kind) = (plural.to_owned(), singular.to_owned(), format!("{kind}List"));
        Names { plural, singular, short_names, kind: kind.to_owned(), list_kind, categories: Vec::new() }
    }

    #[test]
    fn each_name_has_one_owner() {
        let other = names("widgets", "widget", &["wd"], "Widget");
        let mut taken = Taken::default();
        taken.add_names(&other);
        let none = Names::default();
        for (wanted, reason) in [
            (names("gadgets", "gadget", &["gd"], "Gadget"), "NoConflicts"),
            (names("widgets", "gadget", &[], "Gadget"), "PluralConflict"),
            (names("gadgets", "wd", &[], "Gadget"), "SingularConflict"),
            (names("gadgets", "gadget", &["widget"], "Gadget"), "ShortNamesConflict"),
            (names("gadgets", "gadget", &[], "WidgetList"), "KindConflict"),
            (Names { list_kind: "Widget".into(), ..names("gadgets", "gadget", &[], "Gadget") }, "ListKindConflict"),
        ] {
            let (accepted, condition) = accept(&wanted, &none, &taken);
            assert_eq!((&condition.reason[..], condition.holds), (reason, reason == "NoConflicts"));
            assert_eq!(accepted == wanted, condition.holds, "{accepted:?}");
        }
    }

    #[test]
    fn what_cannot_be_had_stays_as_it_was() {
        let other = names("widgets", "widget", &["wd", "w"], "Widget");
        let mut taken = Taken::default();
        taken.add_names(&other);
        let had = names("gadgets", "gadget", &["gd"], "Gadget");
        let (accepted, condition) = accept(&names("gadgets", "gizmo", &["wd", "gd", "w"], "Gadget"), &had, &taken);
        assert_eq!(accepted, names("gadgets", "gizmo", &["gd"], "Gadget"));
        assert_eq!(condition.message, "[\"wd\" is already in use, \"w\" is already in use]");
    }
}
