//! From the definitions to the kinds that are served: what came, changed or went since the last look, in one change.

use super::Follower;
use super::outline::Outline;
use crate::in_place::in_place;
use crate::kinds::{ChangeError, Path};
use crate::serving;
use orknet_resources::Resource;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is served of one definition.
pub struct Served {
    /// The definition's, as of when this was made.
    pub shape: String,
    pub paths: Vec<Path>,
    /// Why nothing is.
    pub refused: Option<String>,
}

/// What a definition defines now, made and not served yet.
struct Made {
    outline: Arc<Outline>,
    kinds: Vec<Arc<dyn Resource>>,
}

impl Made {
    fn paths(&self) -> Vec<Path> {
        self.kinds.iter().map(|kind| (kind.descriptor().group, kind.descriptor().version, kind.descriptor().plural)).collect()
    }
}

impl Follower {
    /// Serves what the definitions define, no more and no less. Answers whether that is done.
    pub(super) async fn serve(&mut self, definitions: &[Arc<Outline>]) -> bool {
        let wanted: Vec<&Arc<Outline>> = definitions.iter().filter(|definition| definition.is_served()).collect();
        let names: HashSet<&str> = wanted.iter().map(|definition| &definition.head.name[..]).collect();
        let gone: Vec<String> = self.served.keys().filter(|name| !names.contains(&name[..])).cloned().collect();
        let mut remove: Vec<Path> = gone.iter().flat_map(|name| self.served[name].paths.iter().copied()).collect();
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        for definition in &wanted {
            if self.served.get(&definition.head.name).is_some_and(|served| served.shape == definition.shape) {
                continue;
            }
            match in_place(|| kinds(definition)) {
                Ok(kinds) => made.push(Made { outline: (*definition).clone(), kinds }),
                Err(why) => refused.push(((*definition).clone(), why)),
            }
        }
        for definition in made.iter().map(|made| &made.outline).chain(refused.iter().map(|(definition, _)| definition)) {
            remove.extend(self.served.get(&definition.head.name).into_iter().flat_map(|served| served.paths.iter().copied()));
        }
        self.know(&wanted, &made);
        let done = self.change(made, remove, &mut refused).await;
        for (definition, why) in refused {
            tracing::warn!(definition = definition.head.name, why, "a definition cannot be served");
            let served = Served { shape: definition.shape.clone(), paths: Vec::new(), refused: Some(why) };
            self.served.insert(definition.head.name.clone(), served);
        }
        if done {
            gone.iter().for_each(|name| drop(self.served.remove(name)));
            self.server.custom.defined.write().retain(|_, known| names.contains(&known.head.name[..]));
        }
        done
    }

    /// Before requests see a kind, they know whose it is.
    fn know(&self, wanted: &[&Arc<Outline>], made: &[Made]) {
        let places: HashMap<&str, _> =
            made.iter().filter_map(|made| Some((&made.outline.head.name[..], made.kinds.first()?.descriptor().stored_as))).collect();
        let by_name: HashMap<&str, &Arc<Outline>> = wanted.iter().map(|outline| (&outline.head.name[..], *outline)).collect();
        let mut defined = self.server.custom.defined.write();
        for (name, place) in places {
            if let Some(outline) = by_name.get(name) {
                defined.insert(place, (*outline).clone());
            }
        }
        for known in defined.values_mut() {
            if let Some(now) = by_name.get(&known.head.name[..]).filter(|now| now.head.uid == known.head.uid) {
                *known = (*now).clone();
            }
        }
    }

    /// Makes the change as a whole; where one of the definitions cannot be served, one by one, and notes which.
    async fn change(&mut self, made: Vec<Made>, remove: Vec<Path>, refused: &mut Vec<(Arc<Outline>, String)>) -> bool {
        if made.is_empty() && remove.is_empty() {
            return true;
        }
        let stays: HashSet<Path> = made.iter().flat_map(Made::paths).collect();
        let gone = |remove: &[Path], stays: &HashSet<Path>| remove.iter().copied().filter(|path| !stays.contains(path)).collect::<Vec<_>>();
        let add = made.iter().flat_map(|made| made.kinds.iter().cloned()).collect();
        match serving::change(self.server.clone(), add, gone(&remove, &stays)).await {
            Ok(()) => {
                made.iter().for_each(|made| self.is_served(made));
                return true;
            }
            Err(ChangeError::Stopping) => return false,
            Err(error) => tracing::debug!(%error, "not all definitions can be served together"),
        }
        if serving::change(self.server.clone(), Vec::new(), remove).await.is_err() {
            return false;
        }
        for made in made {
            match serving::change(self.server.clone(), made.kinds.clone(), Vec::new()).await {
                Ok(()) => self.is_served(&made),
                Err(ChangeError::Stopping) => return false,
                Err(error) => refused.push((made.outline, words(&error))),
            }
        }
        true
    }

    fn is_served(&mut self, made: &Made) {
        let served = Served { shape: made.outline.shape.clone(), paths: made.paths(), refused: None };
        self.served.insert(made.outline.head.name.clone(), served);
    }
}

/// The kinds of a definition, under the names that it has.
fn kinds(outline: &Outline) -> Result<Vec<Arc<dyn Resource>>, String> {
    let mut definition = outline.object.value();
    definition["spec"]["names"] = json!(outline.accepted);
    made(&definition)
}

/// The kind in whose form a definition's objects are stored, whether it is served or not. `converts`: whether a webhook that converts objects is asked
/// about those of other versions.
pub(super) fn stored_kind(outline: &Outline, converts: bool) -> Result<Arc<dyn Resource>, String> {
    let mut definition = outline.object.value();
    definition["spec"]["names"] = json!(outline.accepted);
    for version in versions(&mut definition) {
        version["served"] = version["storage"].clone();
    }
    if !converts {
        definition["spec"]["conversion"] = json!({ "strategy": "None" });
    }
    made(&definition)?.into_iter().next().ok_or_else(|| "no version is the one that objects are stored in".to_owned())
}

fn versions(definition: &mut Value) -> impl Iterator<Item = &mut Value> {
    definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten()
}

fn made(definition: &Value) -> Result<Vec<Arc<dyn Resource>>, String> {
    let definition = orknet_custom::Definition::read(definition).map_err(|error| words(&error))?;
    orknet_custom::kinds(&definition).map_err(|error| words(&error))
}

/// An error with its sources.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
