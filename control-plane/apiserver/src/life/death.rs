//! The end of an object: at once, after its grace period, or when its finalizers are done.

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use serde_json::Value;

/// What becomes of dependants (`DeleteOptions.propagationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What the object must be for the deletion to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub preconditions: Preconditions,
    pub propagation: Option<Propagation>,
    pub dry_run: bool,
    /// Whether the client asked for `orphanDependents: false`: then an answer before the end is 202.
    pub cascades_by_flag: bool,
}

/// What a deletion does to the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It goes now.
    Remove,
    /// It stays, in this new state, until it may go.
    Mark(Box<Value>),
    /// It is going already and nothing new was asked for.
    Nothing,
}

impl Preconditions {
    /// 409 when the object is another one.
    pub fn check(&self, kind: &Kind, object: &Value, revision: u64) -> Result<(), ApiError> {
        let fail = |what: &str, wanted: &str, found: &str| {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            Err(ApiError::conflict(kind.descriptor(), object::name(object), why))
        };
        match (&self.uid, &self.resource_version) {
            (Some(uid), _) if uid != object::uid(object) => fail("UID", uid, object::uid(object)),
            (_, Some(version)) if *version != revision.to_string() => fail("ResourceVersion", version, &revision.to_string()),
            _ => Ok(()),
        }
    }
}

/// Decides a deletion. A negative period of grace is one second, as in Kubernetes. `default_grace`: the kind's own period of grace, 0 for kinds without.
pub fn decide(object: &Value, options: &DeleteOptions, default_grace: i64, now_seconds: i64) -> Decision {
    let deleting = object::is_deleting(object);
    let mut marked = object.clone();
    let before: Vec<String> = object::finalizers(object).into_iter().map(str::to_owned).collect();
    let after = finalizers_for(&before, options.propagation);
    object::set_finalizers(&mut marked, &after);
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds }).unwrap_or(default_grace);
    let grace = if default_grace == 0 { 0 } else { asked };
    if deleting {
        let current = object::deletion_grace(object).unwrap_or_default();
        // Grace can only be shortened.
        if grace < current && options.grace_period_seconds.is_some() {
            shorten(&mut marked, current, grace, now_seconds);
        }
        let left = object::deletion_grace(&marked).unwrap_or_default();
        if left == 0 && is_finished(&marked) {
            return Decision::Remove;
        }
        return if marked == *object { Decision::Nothing } else { Decision::Mark(Box::new(marked)) };
    }
    if grace == 0 && after.is_empty() && spec_finalizers(object) == 0 {
        return Decision::Remove;
    }
    object::set_meta(&mut marked, "deletionTimestamp", object::timestamp(grace));
    object::set_meta(&mut marked, "deletionGracePeriodSeconds", grace);
    if let Some(generation) = object::generation(object).filter(|generation| *generation > 0) {
        object::set_meta(&mut marked, "generation", generation + 1);
    }
    if spec_finalizers(object) > 0 {
        object::map_at(&mut marked, "status").insert("phase".into(), "Terminating".into());
    }
    Decision::Mark(Box::new(marked))
}

/// Whether an object that is being deleted has nothing left that holds it.
pub fn is_finished(object: &Value) -> bool {
    object::is_deleting(object)
        && object::deletion_grace(object).unwrap_or_default() == 0
        && object::finalizers(object).is_empty()
        && spec_finalizers(object) == 0
}

fn shorten(marked: &mut Value, current: i64, grace: i64, now_seconds: i64) {
    let ends = object::unix_seconds(object::meta_str(marked, "deletionTimestamp")).unwrap_or(now_seconds) - current + grace;
    object::set_meta(marked, "deletionTimestamp", object::timestamp(ends - object::now_seconds()));
    object::set_meta(marked, "deletionGracePeriodSeconds", grace);
}

/// Namespaces are held by `spec.finalizers` until their content is gone.
fn spec_finalizers(object: &Value) -> usize {
    object::strings(object.pointer("/spec/finalizers")).len()
}

fn finalizers_for(before: &[String], propagation: Option<Propagation>) -> Vec<String> {
    let mut after = before.to_vec();
    let Some(propagation) = propagation else { return after };
    let wanted = match propagation {
        Propagation::Orphan => Some("orphan"),
        Propagation::Foreground => Some("foregroundDeletion"),
        Propagation::Background => None,
    };
    after.retain(|name| Some(&name[..]) == wanted || (name != "orphan" && name != "foregroundDeletion"));
    if let Some(wanted) = wanted.filter(|wanted| !after.iter().any(|name| name == wanted)) {
        after.push(wanted.to_owned());
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(grace: Option<i64>, propagation: Option<Propagation>) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: grace, propagation, ..DeleteOptions::default() }
    }

    fn mark(decision: Decision) -> Value {
        match decision {
            Decision::Mark(object) => *object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nothing_holds_goes_at_once() {
        let object = json!({ "metadata": { "name": "a" } });
        assert_eq!(decide(&object, &options(Some(30), None), 0, 0), Decision::Remove);
        assert_eq!(decide(&object, &options(Some(0), None), 30, 0), Decision::Remove);
    }

    #[test]
    fn grace_is_given_once_and_only_shortened() {
        let object = json!({ "metadata": { "name": "a", "generation": 1 } });
        let marked = mark(decide(&object, &options(None, None), 30, 0));
        assert_eq!((object::deletion_grace(&marked), object::generation(&marked)), (Some(30), Some(2)));
        assert_eq!(decide(&marked, &options(None, None), 30, 0), Decision::Nothing);
        assert_eq!(decide(&marked, &options(Some(60), None), 30, 0), Decision::Nothing);
        assert_eq!(object::deletion_grace(&mark(decide(&marked, &options(Some(5), None), 30, 0))), Some(5));
        assert_eq!(decide(&marked, &options(Some(0), None), 30, 0), Decision::Remove);
        assert_eq!(object::deletion_grace(&mark(decide(&object, &options(Some(-5), None), 30, 0))), Some(1));
    }

    #[test]
    fn finalizers_hold_an_object() {
        let object = json!({ "metadata": { "name": "a", "finalizers": ["a.b/c"] } });
        let marked = mark(decide(&object, &options(None, Some(Propagation::Foreground)), 0, 0));
        assert_eq!(object::finalizers(&marked), ["a.b/c", "foregroundDeletion"]);
        assert!(object::is_deleting(&marked) && !is_finished(&marked));
        let background = mark(decide(&marked, &options(None, Some(Propagation::Background)), 0, 0));
        assert_eq!(object::finalizers(&background), ["a.b/c"]);
    }

    #[test]
    fn a_namespace_stays_until_its_own_finalizers_are_done() {
        let namespace = json!({ "metadata": { "name": "a" }, "spec": { "finalizers": ["kubernetes"] } });
        let marked = mark(decide(&namespace, &options(None, None), 0, 0));
        assert_eq!(object::text(&marked, "/status/phase"), "Terminating");
        assert_eq!(decide(&marked, &options(None, None), 0, 0), Decision::Nothing);
    }
}
