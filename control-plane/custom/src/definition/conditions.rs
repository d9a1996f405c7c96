//! The conditions in a definition's status, as JSON: what clients wait for. Pure.

use serde_json::{Value, json};

/// One condition, but for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `NamesAccepted`, `Established`, `Terminating`, …
    pub name: &'static str,
    pub holds: bool,
    pub reason: String,
    pub message: String,
}

impl Condition {
    pub fn new(name: &'static str, holds: bool, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name, holds, reason: reason.into(), message: message.into() }
    }

    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }

    /// Whether the object has it as it is.
    pub fn is_in(&self, object: &Value) -> bool {
        find(object, self.name)
            .is_some_and(|found| found["status"] == self.status() && found["reason"] == *self.reason && found["message"] == *self.message)
    }
}

/// The condition of a name.
pub fn find<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == name)
}

/// Whether the condition is there and true.
pub fn holds(object: &Value, name: &str) -> bool {
    find(object, name).is_some_and(|condition| condition["status"] == "True")
}

/// Sets it. `now` (RFC 3339) is its time if it changes sides.
pub fn set(object: &mut Value, condition: &Condition, now: &str) {
    let Some(list) = list(object) else { return };
    let wanted = json!({
        "type": condition.name, "status": condition.status(), "lastTransitionTime": now,
        "reason": condition.reason, "message": condition.message,
    });
    match list.iter_mut().find(|found| found["type"] == condition.name) {
        None => list.push(wanted),
        Some(found) => {
            let stays = found["status"] == wanted["status"] && found["lastTransitionTime"].is_string();
            let since = if stays { found["lastTransitionTime"].clone() } else { now.into() };
            *found = wanted;
            found["lastTransitionTime"] = since;
        }
    }
}

/// Takes it away.
pub fn remove(object: &mut Value, name: &str) {
    if let Some(list) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        list.retain(|condition| condition["type"] != name);
    }
}

/// The list, made where there is none; `None` where something else is in its place.
fn list(object: &mut Value) -> Option<&mut Vec<Value>> {
    let status = object.as_object_mut()?.entry("status").or_insert_with(|| json!({}));
    let list = status.as_object_mut()?.entry("conditions").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_it_changes_sides() {
        let mut object = json!({});
        set(&mut object, &Condition::new("A", false, "X", "x"), "1");
        set(&mut object, &Condition::new("A", false, "Y", "y"), "2");
        assert_eq!(
            find(&object, "A"),
            Some(&json!({ "type": "A", "status": "False", "lastTransitionTime": "1", "reason": "Y", "message": "y" }))
        );
        assert!(Condition::new("A", false, "Y", "y").is_in(&object) && !Condition::new("A", false, "Y", "").is_in(&object));
        set(&mut object, &Condition::new("A", true, "Y", "y"), "3");
        assert_eq!(find(&object, "A").map(|found| &found["lastTransitionTime"]), Some(&json!("3")));
        assert!(holds(&object, "A"));
        remove(&mut object, "A");
        assert!(find(&object, "A").is_none());
    }

    #[test]
    fn what_has_no_form_is_left_alone() {
        let mut object = json!({ "status": "x" });
        set(&mut object, &Condition::new("A", true, "", ""), "1");
        assert_eq!(object, json!({ "status": "x" }));
    }
}
