//! Plans of a template's history.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use super::{Observed, Plan, plan, template_of};

fn template(image: &str) -> PodTemplateSpec {
    serde_json::from_value(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": image}]}})).unwrap()
}

fn planned(image: &str, revisions: &[Arc<ControllerRevision>], limit: i32, in_use: &[&str]) -> Plan {
    let owner = ObjectMeta { name: Some("a".into()), namespace: Some("d".into()), uid: Some("u".into()), ..ObjectMeta::default() };
    plan(Observed {
        owner: &owner,
        reference: OwnerReference { uid: "u".into(), ..OwnerReference::default() },
        template: &template(image),
        collisions: None,
        limit: Some(limit),
        revisions: revisions.to_vec(),
        in_use: in_use.iter().map(|text| text.to_string()).collect::<BTreeSet<_>>(),
    })
}

#[test]
fn a_new_template_is_a_new_revision_that_gives_the_template_back() {
    let first = planned("one", &[], 10, &[]);
    assert_eq!((first.create, first.current.revision), (true, 1));
    assert_eq!(template_of(&first.current), Some(template("one")));
    let again = planned("one", std::slice::from_ref(&first.current), 10, &[]);
    assert!(!again.create && again.renumber.is_none());
    let second = planned("two", std::slice::from_ref(&first.current), 10, &[]);
    assert_eq!((second.create, second.current.revision), (true, 2));
    assert_ne!(second.current.metadata.name, first.current.metadata.name);
}

#[test]
fn a_template_that_comes_back_gets_the_newest_number() {
    let first = planned("one", &[], 10, &[]).current;
    let second = planned("two", std::slice::from_ref(&first), 10, &[]).current;
    let back = planned("one", &[second, first.clone()], 10, &[]);
    assert_eq!((back.create, back.renumber, &back.current.metadata.name), (false, Some(3), &first.metadata.name));
}

#[test]
fn the_oldest_unused_beyond_the_limit_are_forgotten() {
    let mut revisions: Vec<Arc<ControllerRevision>> = Vec::new();
    for image in ["one", "two", "three", "four"] {
        revisions.push(planned(image, &revisions, 10, &[]).current);
    }
    let name = |index: usize| revisions[index].metadata.name.clone().unwrap();
    let forgotten = |limit, in_use: &[&str]| -> Vec<String> {
        planned("four", &revisions, limit, in_use).forget.iter().filter_map(|revision| revision.metadata.name.clone()).collect()
    };
    assert_eq!(forgotten(2, &[]), [name(0)]);
    assert_eq!(forgotten(0, &[&name(0)]), [name(1), name(2)]);
    assert_eq!(forgotten(10, &[]), Vec::<String>::new());
}
