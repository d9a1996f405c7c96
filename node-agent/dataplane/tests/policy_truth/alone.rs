//! The compiler against the model, without a kernel.

use crate::cluster;
use crate::interpret::{Judged, agrees, judge, uids};
use orknet_compiler::{MapImage, compile};
use orknet_tests::policy::{NODES, Question, Said, Scene, Spread, World, any_set, sets};
use proptest::prelude::*;
use serde_json::Value;

pub const SPREADS: [Spread; 2] = [Spread::OneNode, Spread::TwoNodes];

/// What of the scene's questions is answered wrongly by what is compiled for these policies.
fn mistakes(scene: &Scene, policies: &[Value]) -> Vec<String> {
    let world = World::of(scene.objects().iter().chain(policies));
    let images: Vec<(&str, MapImage)> = NODES.iter().map(|(node, _)| (*node, compile(&cluster::inputs(scene, node, policies)))).collect();
    let (known, nowhere) = (uids(policies), MapImage::default());
    let on = |node: Option<&str>| images.iter().find(|(name, _)| Some(*name) == node).map_or(&nowhere, |(_, image)| image);
    let mut mistakes = Vec::new();
    for (client, server, question) in scene.questions().into_iter().chain(scene.questions_through_services()) {
        let answer = world.answer(&question);
        // By its own address a pod talks to itself inside of itself, and between a pod and its node nobody is asked.
        if client == server && !question.through_service {
            continue;
        }
        let (client_side, server_side) = (on(client.node), on(server.node));
        let judged = Judged { egress: judge(client_side, &question).egress, ingress: judge(server_side, &question).ingress };
        for (image, judged, said) in [(client_side, judged.egress, &answer.egress), (server_side, judged.ingress, &answer.ingress)] {
            if let Err(wrong) = agrees(image, &known, judged, said) {
                mistakes.push(mistake(&client.name, &server.name, &question, said, &wrong));
            }
        }
    }
    mistakes
}

fn mistake(client: &str, server: &str, question: &Question, said: &Said, wrong: &str) -> String {
    let way = if question.through_service { " through its Service" } else { "" };
    let family = if question.client.is_ipv4() { "IPv4" } else { "IPv6" };
    format!("{client} to {server}{way}, {:?} {} over {family}: {wrong}, but {said:?}", question.protocol, question.port)
}

/// The first few, a line each.
pub fn told(mistakes: &[String]) -> String {
    let shown = mistakes.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    format!("{} mistakes\n{shown}", mistakes.len())
}

#[test]
fn written_policies_are_compiled_to_what_they_mean() {
    let mut all = Vec::new();
    for set in sets() {
        for spread in SPREADS {
            let found = mistakes(&Scene::new(spread), &set.objects());
            if !found.is_empty() {
                all.push(format!("{} ({spread:?}): {}", set.name, told(&found)));
            }
        }
    }
    assert!(all.is_empty(), "{} sets\n{}", all.len(), all.join("\n"));
}

proptest! {
    // As many as the environment asks for (PROPTEST_CASES), and never fewer.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn made_up_policies_are_compiled_to_what_they_mean(policies in any_set(), is_spread in any::<bool>()) {
        let found = mistakes(&Scene::new(SPREADS[usize::from(is_spread)]), &policies);
        prop_assert!(found.is_empty(), "{}", told(&found));
    }
}
