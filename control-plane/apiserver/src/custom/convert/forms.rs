//! An object of a kind in the other versions of the kind, for ownership of fields (`managedFields` has the paths of several versions). What the kinds convert
//! themselves is there at once; what a webhook converts is noted down, asked for all together ([`Forms::fetch`]), and there when it is asked for again.

use crate::kinds::Kind;
use crate::object;
use crate::server::Server;
use orknet_patch::Place;
use orknet_patch::apply::{ConvertError, Versions};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;

/// How often one decision may wait for conversions. Each step of it needs what came of the last one: objects in the version of each entry, then what was
/// pruned of them, there and back.
pub const ROUNDS: usize = 32;

/// The forms of the objects of one kind, for one request.
pub struct Forms<'a> {
    pub server: &'a Server,
    pub kind: &'a Kind,
    /// The kinds that are served from the same place, this one too.
    all: Vec<Kind>,
    known: Mutex<Vec<Known>>,
}

/// An object that a webhook converts.
struct Known {
    object: Value,
    version: String,
    /// `None`: to be asked for.
    outcome: Option<Result<Value, ConvertError>>,
}

impl<'a> Forms<'a> {
    pub fn of(server: &'a Server, kind: &'a Kind) -> Self {
        let place = kind.descriptor().stored_as;
        let all = server.kinds().iter().filter(|other| other.descriptor().stored_as == place).cloned().collect();
        Self { server, kind, all, known: Mutex::default() }
    }

    /// Gets what was missing; whether anything was. Then what was decided without it is to be decided again.
    pub async fn fetch(&self) -> bool {
        let mut missing: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for known in self.known.lock().iter().filter(|known| known.outcome.is_none()) {
            missing.entry(known.version.clone()).or_default().push(known.object.clone());
        }
        let any = !missing.is_empty();
        for (version, objects) in missing {
            let answers = self.ask(&version, &objects).await;
            let mut known = self.known.lock();
            for (object, answer) in objects.iter().zip(answers) {
                let asked = known.iter_mut().find(|known| known.outcome.is_none() && known.version == version && known.object == *object);
                if let Some(asked) = asked {
                    asked.outcome = Some(answer);
                }
            }
        }
        any
    }

    /// As many answers as objects.
    async fn ask(&self, version: &str, objects: &[Value]) -> Vec<Result<Value, ConvertError>> {
        let Some(kind) = self.in_version(version) else { return vec![Err(ConvertError::Gone); objects.len()] };
        let Some(conversion) = kind.conversion() else { return vec![Err(ConvertError::Gone); objects.len()] };
        match super::all(self.server, conversion, objects.to_vec(), version).await {
            Ok(converted) => converted.into_iter().map(|object| Ok(kind.from_stored(object))).collect(),
            Err(error) => vec![Err(ConvertError::Failed(error.message().to_owned())); objects.len()],
        }
    }

    fn in_version(&self, version: &str) -> Option<&Kind> {
        self.all.iter().find(|kind| kind.descriptor().api_version() == version)
    }
}

impl Versions for Forms<'_> {
    fn place<'s>(&'s self, version: &str, own: Place<'s>) -> Place<'s> {
        let Some(kind) = self.in_version(version) else { return own };
        let names = kind.descriptor();
        self.server.structure(kind).root_or_deduced(names.group, names.version, names.kind)
    }

    fn convert(&self, object: &Value, version: &str) -> Result<Value, ConvertError> {
        let kind = self.in_version(version).ok_or(ConvertError::Gone)?;
        if kind.conversion().is_none() {
            let from = self.in_version(object::text(object, "/apiVersion")).unwrap_or(self.kind);
            return Ok(kind.from_stored(from.to_stored(object.clone())));
        }
        let mut known = self.known.lock();
        if let Some(known) = known.iter().find(|known| known.version == version && known.object == *object) {
            return known.outcome.clone().unwrap_or(Err(ConvertError::Pending));
        }
        known.push(Known { object: object.clone(), version: version.to_owned(), outcome: None });
        Err(ConvertError::Pending)
    }
}
