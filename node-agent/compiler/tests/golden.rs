//! Golden tests: each file in tests/golden is YAML objects, a line `==>`, and the maps that they must give.
//!
//! Objects are fed one at a time, in the file's order and in reverse; each plan is played step by step on a model of the maps,
//! which must be sound after every step. Then they are removed, in both orders, until the maps are empty.
//! The first Node of a file is the node that the maps are for. `ORKNET_BLESS=1` writes what came out into the files.

mod feed;

use feed::{Document, documents};
use orknet_compiler::{Change, Inputs, MapImage, NodeFacts, State, compile};
use std::path::PathBuf;

const ARROW: &str = "\n==>\n";

fn play(maps: &mut MapImage, state: &mut State, change: Change, file: &str) {
    for step in state.apply([change]).steps {
        maps.apply(step.clone());
        assert_eq!(maps.flaw(), None, "{file}: after {step:?}");
    }
    assert_eq!(maps, state.image(), "{file}: the plan does not lead to the image");
    assert_eq!(maps.orphans(), [], "{file}: parts that nobody uses");
}

/// The documents, from the first on or from the last.
fn ordered(documents: &[Document], is_backward: bool) -> Vec<&Document> {
    if is_backward { documents.iter().rev().collect() } else { documents.iter().collect() }
}

fn check(file: &str, node: &NodeFacts, documents: &[Document], [added, removed]: [bool; 2]) -> String {
    let (mut maps, mut state) = (MapImage::default(), State::new(node.clone()));
    state.policies_known();
    for document in ordered(documents, added) {
        play(&mut maps, &mut state, document.added(), file);
    }
    let mut inputs = Inputs { node: node.clone(), ..Inputs::default() };
    inputs.policy.known = true;
    documents.iter().for_each(|document| document.put(&mut inputs));
    let full = compile(&inputs);
    assert_eq!(maps.canonical(), full, "{file}: step by step is not the same as at once");
    for document in ordered(documents, removed) {
        play(&mut maps, &mut state, document.removed(), file);
    }
    assert!(maps.is_empty(), "{file}: left over\n{maps}");
    full.to_string()
}

/// A restart on the full maps rewrites nothing.
fn again_from(file: &str, node: &NodeFacts, documents: &[Document]) {
    let (mut first, mut second) = (State::new(node.clone()), State::new(node.clone()));
    [&mut first, &mut second].into_iter().for_each(State::policies_known);
    first.apply(documents.iter().map(Document::added));
    second.adopt(first.image().clone());
    let plan = second.apply(documents.iter().map(Document::added));
    assert_eq!(plan.steps, [], "{file}: a restart rewrites");
}

#[test]
fn objects_give_the_expected_maps_in_any_order() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let (yaml, expected) = text.split_once(ARROW).unwrap_or_else(|| panic!("{file} has no line ==>"));
        let (node, documents) = documents(yaml);
        again_from(&file, &node, &documents);
        let orders = [[false, false], [false, true], [true, false], [true, true]];
        let [forward, others @ ..] = orders.map(|order| check(&file, &node, &documents, order));
        assert!(others.iter().all(|other| *other == forward), "{file}: the order of events shows in the maps");
        if std::env::var_os("ORKNET_BLESS").is_some() {
            std::fs::write(&path, format!("{yaml}{ARROW}{forward}")).unwrap();
        } else {
            assert_eq!(forward, expected, "{file}: got\n{forward}");
        }
    }
}
