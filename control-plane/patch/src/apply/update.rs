//! Ownership through creates, updates and patches other than apply: whoever changes a field owns it from then on, alone.

use super::managers::{self, Identity, Managers, Owned};
use super::{Gvk, Manager, compare, remove_path};
use crate::Schema;
use serde_json::{Value, json};

/// Sets `metadata.managedFields` of `new`, which is about to replace `old` (`None`: to be created).
///
/// The entries that the client sent back are the base if they can be read, else those of `old`. An object that was never tracked, or whose
/// ownership the client has just cleared, stays untracked until somebody applies to it.
pub fn track_update(schema: &Schema, gvk: Gvk<'_>, old: Option<&Value>, new: &mut Value, manager: &Manager<'_>) {
    let sent = Managers::read(new).ok().filter(|managers| !managers.0.is_empty());
    let stored = || old.and_then(|old| Managers::read(old).ok()).unwrap_or_default();
    let mut managers = match sent {
        _ if managers::is_reset(new) => Managers::default(),
        Some(managers) => managers,
        None => stored(),
    };
    let empty = json!({});
    let before = old.unwrap_or(&empty);
    if old.is_some() && managers.0.is_empty() {
        remove_path(new, "metadata.managedFields");
        return;
    }
    let place = schema.root_or_deduced(gvk.group, gvk.version, gvk.kind);
    let changes = compare::compare(place, before, new);
    let mine = managers::strip(&changes.set(), manager);
    managers.disown(&mine, None);
    managers.disown(&changes.removed, None);
    if !mine.is_empty() {
        let version = gvk.api_version();
        let me = Identity::updater(manager.name, &version, manager.subresource);
        let set = managers.0.get(&me).map_or_else(|| mine.clone(), |owned| owned.set.clone().union(&mine));
        managers.0.insert(me, Owned { version, set, time: Some(manager.time.to_owned()) });
    }
    managers.write(new);
}
