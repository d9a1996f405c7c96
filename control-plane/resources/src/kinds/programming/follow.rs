//! How a companion follows its object: it is written in the same transaction as the object, so whoever sees a generation of the object sees no
//! companion that says `Programmed` of another one.

use super::PROGRAMMED;
use crate::json;
use serde_json::{Value, json};

/// Makes the companion one of `object` (an `S`) at its present generation. What it says of a former generation, or of a former object of the
/// name, is not known any more: `Programmed` is Unknown until the controller has looked.
pub(super) fn follow<S: k8s_openapi::Resource>(companion: &mut Value, object: &Value, now: &str) {
    let name = json::text(object, &["metadata", "name"]);
    let uid = json::text(object, &["metadata", "uid"]);
    let generation = json::get(object, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default();
    let owners = json::get(companion, &["metadata", "ownerReferences"]).and_then(Value::as_array);
    if !owners.into_iter().flatten().any(|owner| owner["uid"] == uid.as_str()) {
        json::put(companion, &["status"], json!({}));
    }
    let owner = json!({ "apiVersion": S::API_VERSION, "kind": S::KIND, "name": name, "uid": uid, "controller": true,
        "blockOwnerDeletion": true });
    json::put(companion, &["metadata", "ownerReferences"], json!([owner]));
    json::put(companion, &["metadata", "generation"], generation.into());
    let observed = json::get(companion, &["status", "observedGeneration"]).and_then(Value::as_i64);
    let mut conditions = json::get(companion, &["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let place = conditions.iter().position(|condition| condition["type"] == PROGRAMMED);
    let is_of_it = |condition: &Value| condition["observedGeneration"].as_i64() == Some(generation);
    if observed == Some(generation) && place.is_some_and(|place| is_of_it(&conditions[place])) {
        return;
    }
    let reason = if observed.is_some() { "Outdated" } else { "Pending" };
    let since = place.map(|place| &conditions[place]).filter(|condition| condition["status"] == "Unknown");
    let since = since.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(now);
    let mut condition = json!({ "type": PROGRAMMED, "status": "Unknown", "reason": reason,
        "message": format!("generation {generation} is awaited"), "lastTransitionTime": since });
    if let Some(observed) = observed {
        condition["observedGeneration"] = observed.into();
    }
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
    json::put(companion, &["status", "conditions"], conditions.into());
    if let Some(status) = companion.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("nodes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use proptest::prelude::*;

    fn policy(uid: &str, generation: i64) -> Value {
        json!({ "metadata": { "name": "p", "namespace": "d", "uid": uid, "generation": generation } })
    }

    fn companion(uid: &str, observed: i64, of_condition: i64, status: &str) -> Value {
        let audited = json!({ "type": "Audited", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "a" });
        let programmed = json!({ "type": "Programmed", "status": status, "reason": "R", "message": "m", "lastTransitionTime": "before",
            "observedGeneration": of_condition });
        json!({ "metadata": { "name": "p", "namespace": "d", "generation": observed,
                "ownerReferences": [{ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "name": "p", "uid": uid,
                    "controller": true, "blockOwnerDeletion": true }] },
            "status": { "observedGeneration": observed, "observedResourceVersion": "7", "nodes": "2/2", "conditions": [audited, programmed] } })
    }

    fn followed(mut companion: Value, policy: &Value) -> Value {
        follow::<NetworkPolicy>(&mut companion, policy, "now");
        companion
    }

    fn programmed(companion: &Value) -> &Value {
        let conditions = companion["status"]["conditions"].as_array().expect("conditions");
        conditions.iter().find(|condition| condition["type"] == PROGRAMMED).expect("Programmed")
    }

    #[test]
    fn what_is_of_the_present_generation_stays() {
        let companion = companion("u", 3, 3, "True");
        assert_eq!(followed(companion.clone(), &policy("u", 3)), companion);
    }

    #[test]
    fn of_a_former_generation_nothing_is_said_but_that_the_next_is_awaited() {
        let now = followed(companion("u", 3, 3, "True"), &policy("u", 4));
        let expected = json!({ "type": "Programmed", "status": "Unknown", "reason": "Outdated", "message": "generation 4 is awaited",
            "lastTransitionTime": "now", "observedGeneration": 3 });
        assert_eq!((programmed(&now), &now["metadata"]["generation"]), (&expected, &json!(4)));
        assert_eq!(now["status"].get("nodes"), None);
        assert_eq!(now["status"]["conditions"][0]["type"], "Audited", "others' conditions stay");
        // What the controller noted stays, and the time of a status that stays.
        assert_eq!((&now["status"]["observedGeneration"], &now["status"]["observedResourceVersion"]), (&json!(3), &json!("7")));
        let mut again = now.clone();
        follow::<NetworkPolicy>(&mut again, &policy("u", 5), "later");
        assert_eq!(programmed(&again)["lastTransitionTime"], "now");
    }

    #[test]
    fn of_a_former_object_of_the_name_nothing_stays() {
        let expected = json!({ "conditions": [{ "type": "Programmed", "status": "Unknown", "reason": "Pending",
            "message": "generation 1 is awaited", "lastTransitionTime": "now" }] });
        let other = followed(companion("u", 1, 1, "True"), &policy("v", 1));
        assert_eq!((&other["status"], &other["metadata"]["ownerReferences"][0]["uid"]), (&expected, &json!("v")));
        let fresh = followed(json!({ "metadata": { "name": "p", "namespace": "d" } }), &policy("v", 1));
        assert_eq!((&fresh["status"], &fresh["metadata"]), (&expected, &other["metadata"]));
    }

    #[test]
    fn values_of_any_form_are_taken() {
        for strange in
            [json!(null), json!([]), json!({ "metadata": 1, "status": [] }), json!({ "status": { "conditions": [1, null, []] } })]
        {
            followed(strange.clone(), &policy("u", 1));
            followed(companion("u", 1, 1, "True"), &strange);
        }
    }

    proptest! {
        /// True is said of the object and generation that there are, or not at all.
        #[test]
        fn true_is_only_said_of_the_present_generation(
            own in any::<bool>(), observed in 0i64..4, of_condition in 0i64..4, generation in 0i64..4, status in "True|False|Unknown",
        ) {
            let uid = if own { "u" } else { "before" };
            let now = followed(companion(uid, observed, of_condition, &status), &policy("u", generation));
            let holds = own && observed == generation && of_condition == generation;
            prop_assert_eq!(&programmed(&now)["status"], if holds { &status[..] } else { "Unknown" });
            prop_assert_eq!(&now["metadata"]["generation"], generation);
            prop_assert_eq!(followed(now.clone(), &policy("u", generation)), now, "following twice changes nothing");
        }
    }
}
