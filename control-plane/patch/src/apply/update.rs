//! Ownership through creates, updates and patches other than apply: whoever changes a field owns it from then on, alone.

use super::managers::{self, Identity, Managers, Owned};
use super::versions::Kin;
use super::{ApplyError, Gvk, Manager, SameFields, Versions, remove_path};
use crate::Schema;
use serde_json::Value;

/// Nothing was done: a conversion is to be waited for ([`super::ConvertError::Pending`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending;

/// [`track_update_across`] for kinds whose versions have the same fields.
pub fn track_update(schema: &Schema, gvk: Gvk<'_>, old: Option<&Value>, new: &mut Value, manager: &Manager<'_>) {
    // `SameFields` has everything at hand.
    let _ = track_update_across(schema, &SameFields, gvk, old, new, manager);
}

/// Sets `metadata.managedFields` of `new`, which is about to replace `old` (`None`: to be created). Both are of the version that `gvk` tells.
///
/// The entries that the client sent back are the base if they can be read, else those of `old`. An object that was never tracked, or whose
/// ownership the client has just cleared, stays untracked until somebody applies to it. Where an object cannot be converted, nobody owns it: no owners
/// are better than wrong ones (so kube-apiserver does).
pub fn track_update_across(
    schema: &Schema,
    versions: &dyn Versions,
    gvk: Gvk<'_>,
    old: Option<&Value>,
    new: &mut Value,
    manager: &Manager<'_>,
) -> Result<(), Pending> {
    let sent = Managers::read(new).ok().filter(|managers| !managers.0.is_empty());
    let stored = || old.and_then(|old| Managers::read(old).ok()).unwrap_or_default();
    let mut managers = match sent {
        _ if managers::is_reset(new) => Managers::default(),
        Some(managers) => managers,
        None => stored(),
    };
    if old.is_some() && managers.0.is_empty() {
        remove_path(new, "metadata.managedFields");
        return Ok(());
    }
    let version = gvk.api_version();
    let kin = Kin::new(schema, versions, gvk, &version);
    let changes = match kin.changes(old, new, &managers, manager) {
        Ok(changes) => changes,
        Err(ApplyError::Pending) => return Err(Pending),
        Err(_) => {
            remove_path(new, "metadata.managedFields");
            return Ok(());
        }
    };
    managers.disown_changes(&changes);
    if let Some(changed) = changes.get(&version).filter(|changed| !changed.set.is_empty()) {
        let me = Identity::updater(manager.name, &version, manager.subresource);
        let set = managers.0.get(&me).map_or_else(|| changed.set.clone(), |owned| owned.set.clone().union(&changed.set));
        managers.0.insert(me, Owned { version: version.clone(), set, time: Some(manager.time.to_owned()) });
    }
    managers.write(new);
    Ok(())
}
