//! Services of a store that a server wrote which did not know IPAddresses: each of their addresses gets its object.

use super::{record, service};
use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::object;
use crate::server::Server;
use crate::storage::keys;
use crate::turns::Turns;
use orknet_resources::kinds::ip_address;
use orknet_store::{Commit, Compare, MAX_OPS, Op};
use std::sync::Arc;

/// Most addresses of one commit: each is written once and compared with twice.
const TOGETHER: usize = MAX_OPS / 2;

/// Writes the objects that are missing; answers how many. What changes meanwhile is left to the controllers, who see to it all the time.
pub async fn adopt(server: &Server) -> Result<usize, ApiError> {
    let Some(services) = server.storage.caches.of(super::SERVICES) else { return Ok(0) };
    let (mut missing, mut turns, mut adopted) = (Vec::new(), Turns::default(), 0);
    for service in &services.snapshot("").objects {
        turns.take().await;
        missing.extend(missing_of(server, service));
        if missing.len() >= TOGETHER - 1 {
            adopted += write(server, std::mem::take(&mut missing)).await?;
        }
    }
    Ok(adopted + write(server, missing).await?)
}

/// What one object that is missing is written by.
type Missing = (Vec<Compare>, Op);

fn missing_of(server: &Server, service: &Arc<CachedObject>) -> Vec<Missing> {
    let (object, kinds) = (service.value(), server.kinds());
    let Ok(revision) = object::resource_version(&object).parse::<u64>() else { return Vec::new() };
    let place = keys::object(super::SERVICES, object::namespace(&object), object::name(&object));
    let is_missing = |address: &std::net::IpAddr| server.storage.caches.get(ip_address::PLACE, "", &address.to_string()).is_none();
    let held = service::held(&object).addresses;
    let write = held.iter().filter(|address| is_missing(address)).filter_map(|address| {
        let key = record::key(*address);
        let value = record::stored(&kinds, *address, &object)?;
        let compares = vec![Compare::Absent(key.clone()), Compare::ModRevision(place.clone().into(), revision)];
        Some((compares, Op::Put { key, value, ttl: None }))
    });
    write.collect()
}

/// All in one commit, or where one cannot be written, each for itself.
async fn write(server: &Server, missing: Vec<Missing>) -> Result<usize, ApiError> {
    if missing.is_empty() {
        return Ok(0);
    }
    let (compares, ops): (Vec<Vec<Compare>>, Vec<Op>) = missing.iter().cloned().unzip();
    if let Commit::Done(_) = server.storage.commit(compares.concat(), ops).await? {
        return Ok(missing.len());
    }
    let mut written = 0;
    for (compares, op) in missing {
        if let Commit::Done(_) = server.storage.commit(compares, vec![op]).await? {
            written += 1;
        }
    }
    Ok(written)
}
