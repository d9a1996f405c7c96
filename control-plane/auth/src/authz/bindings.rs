//! The bindings of one namespace (or of the cluster) by whom they name: a question touches those of the one who asks, however many others there are.

use super::names;
use crate::Identity;
use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

const ACCOUNT: &str = "system:serviceaccount:";

/// A binding: the role, and to whom it is given.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub name: Arc<str>,
    pub role: RoleRef,
    pub subjects: Vec<Subject>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    by_name: HashMap<Arc<str>, Binding>,
    /// By user name, which service accounts have as well.
    users: HashMap<String, BTreeSet<Arc<str>>>,
    groups: HashMap<String, BTreeSet<Arc<str>>>,
}

/// Where a subject is found.
enum Key {
    User(String),
    Group(String),
}

impl Bindings {
    /// States what the binding of this name is now; `None`: gone. `home` is the namespace, empty for a cluster's.
    pub fn set(&mut self, home: &str, name: &str, now: Option<(RoleRef, Vec<Subject>)>) {
        if let Some(old) = self.by_name.remove(name) {
            for key in old.subjects.iter().filter_map(|subject| key(subject, home)) {
                let (index, who) = self.index(key);
                if let Some(names) = index.get_mut(&who) {
                    names.remove(name);
                    if names.is_empty() {
                        index.remove(&who);
                    }
                }
            }
        }
        let Some((role, subjects)) = now else { return };
        let name: Arc<str> = name.into();
        for key in subjects.iter().filter_map(|subject| key(subject, home)) {
            let (index, who) = self.index(key);
            index.entry(who).or_default().insert(name.clone());
        }
        self.by_name.insert(name.clone(), Binding { name, role, subjects });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Those that name `who`, each once, by name, with the first subject that is `who`.
    pub fn of<'a>(&'a self, who: &'a Identity, home: &'a str) -> impl Iterator<Item = (&'a Binding, &'a Subject)> {
        let user = self.users.get(&who.username);
        let groups = who.groups.iter().filter_map(|group| self.groups.get(group));
        let mut lists: Vec<_> = user.into_iter().chain(groups).map(|names| names.iter().peekable()).collect();
        let each = std::iter::from_fn(move || {
            let first = lists.iter_mut().filter_map(|list| list.peek().copied()).min()?;
            for list in &mut lists {
                list.next_if_eq(&first);
            }
            Some(first)
        });
        each.filter_map(move |name| {
            let binding = self.by_name.get(name)?;
            let subject = binding.subjects.iter().find(|subject| names(subject, who, home))?;
            Some((binding, subject))
        })
    }

    fn index(&mut self, key: Key) -> (&mut HashMap<String, BTreeSet<Arc<str>>>, String) {
        match key {
            Key::User(name) => (&mut self.users, name),
            Key::Group(name) => (&mut self.groups, name),
        }
    }
}

/// `None` for a subject that nobody is.
fn key(subject: &Subject, home: &str) -> Option<Key> {
    match subject.kind.as_str() {
        "User" => Some(Key::User(subject.name.clone())),
        "Group" => Some(Key::Group(subject.name.clone())),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(home);
            Some(Key::User(format!("{ACCOUNT}{namespace}:{}", subject.name)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{Attributes, Rbac, Target};
    use k8s_openapi::api::rbac::v1::PolicyRule;
    use serde_json::json;

    fn role() -> RoleRef {
        serde_json::from_value(json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"})).unwrap()
    }

    fn subject(kind: &str, name: &str) -> Subject {
        serde_json::from_value(json!({"kind": kind, "name": name})).unwrap()
    }

    #[test]
    fn of_ten_thousand_bindings_a_question_touches_those_of_who_asks() {
        let mut all = Bindings::default();
        for number in 0..10_000 {
            all.set("home", &format!("b{number:05}"), Some((role(), vec![subject("User", &format!("u{}", number / 2))])));
        }
        all.set("home", "twice", Some((role(), vec![subject("User", "u7"), subject("Group", "g"), subject("Group", "g")])));
        let who = Identity::authenticated("u7", ["g".to_owned(), "g".to_owned()]);
        let found: Vec<_> = all.of(&who, "home").map(|(binding, subject)| (&*binding.name, &subject.kind[..])).collect();
        assert_eq!(found, [("b00014", "User"), ("b00015", "User"), ("twice", "User")]);
        assert_eq!((all.users.len(), all.groups.len()), (5_000, 1));
        all.set("home", "b00014", None);
        all.set("home", "b00015", Some((role(), vec![subject("ServiceAccount", "sa")])));
        all.set("home", "twice", Some((role(), Vec::new())));
        assert_eq!(all.of(&who, "home").count(), 0);
        assert_eq!(all.of(&Identity::authenticated("system:serviceaccount:home:sa", []), "home").count(), 1);
        // What names nobody any more is not kept.
        assert_eq!((all.users.len(), all.groups.len()), (5_000, 0));
    }

    /// After any changes the answers are those of a look through all bindings.
    #[test]
    fn changes_one_by_one_leave_what_a_look_through_everything_finds() {
        let subjects =
            [subject("User", "a"), subject("User", "b"), subject("Group", "g"), subject("ServiceAccount", "sa"), subject("Robot", "a")];
        let people = [
            Identity::authenticated("a", []),
            Identity::authenticated("b", ["g".to_owned()]),
            Identity::authenticated("system:serviceaccount:n:sa", []),
            Identity::authenticated("system:serviceaccount:m:sa", ["g".to_owned()]),
        ];
        // A generator with a full period (Knuth's MMIX constants): the same steps at every run.
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut all = Bindings::default();
        let mut plain: std::collections::BTreeMap<String, Vec<Subject>> = std::collections::BTreeMap::new();
        for _ in 0..2_000 {
            let name = format!("b{}", next(12));
            if next(4) == 0 {
                all.set("n", &name, None);
                plain.remove(&name);
            } else {
                let chosen: Vec<_> = subjects.iter().filter(|_| next(3) == 0).cloned().collect();
                all.set("n", &name, Some((role(), chosen.clone())));
                plain.insert(name, chosen);
            }
            for who in &people {
                let found: Vec<_> = all.of(who, "n").map(|(binding, _)| binding.name.to_string()).collect();
                let names_him = |subjects: &[Subject]| subjects.iter().any(|subject| names(subject, who, "n"));
                let wanted: Vec<_> = plain.iter().filter(|(_, subjects)| names_him(subjects)).map(|(name, _)| name.clone()).collect();
                assert_eq!(found, wanted, "{}", who.username);
            }
        }
    }

    #[test]
    fn a_role_or_binding_that_goes_takes_its_rights_with_it() {
        let rule: PolicyRule = serde_json::from_value(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})).unwrap();
        let who = Identity::authenticated("a", []);
        let target = Target::Resource { group: "", resource: "pods", subresource: "", namespace: "n", name: "p" };
        let asked = Attributes { verb: "get", target };
        let mut rbac = Rbac::default();
        let bound = || Some((role(), vec![subject("User", "a")]));
        rbac.set_cluster_role("r", Some(vec![rule.clone()]));
        rbac.set_binding("n", "b", bound());
        assert!(rbac.allows(&who, &asked));
        rbac.set_cluster_role("r", None);
        assert!(!rbac.allows(&who, &asked));
        rbac.set_cluster_role("r", Some(vec![rule]));
        rbac.set_binding("n", "b", None);
        assert!(!rbac.allows(&who, &asked));
        rbac.set_binding("", "b", bound());
        assert!(rbac.allows(&who, &asked));
    }
}
