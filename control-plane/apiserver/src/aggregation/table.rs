//! The APIServices as the server uses them: who serves which group version. Pure but for the TLS that it sets up.

use super::priority::{self, Priority};
use super::trust::{FrontProxy, RENEWAL};
use crate::admission::webhooks::connect::{Connector, verifying};
use crate::admission::webhooks::destination::{Destination, Place};
use crate::cache::{CachedObject, Caches};
use crate::object;
use crate::proxy::wire;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Group and version.
pub type GroupVersion = (String, String);

/// See the module. Does not change: another takes its place.
#[derive(Default)]
pub struct Table {
    remotes: HashMap<GroupVersion, Arc<Remote>>,
    priorities: HashMap<GroupVersion, Priority>,
}

/// A group version that an extension server serves.
pub struct Remote {
    pub group: String,
    pub version: String,
    /// The APIService as it was read.
    pub object: Arc<CachedObject>,
    /// Namespace, name and port of the Service.
    pub service: (String, String, u16),
    pub available: bool,
    /// When its TLS was set up: certificates do not last.
    made: Instant,
    /// The way there; the error says what is wrong with the APIService's certificates.
    pub connector: Result<Connector, String>,
}

impl Remote {
    /// `VERSION.GROUP`.
    pub fn name(&self) -> &str {
        self.object.place().1
    }
}

impl Table {
    /// Reads the APIServices. What has not changed since `before` is kept.
    pub fn read(objects: &[Arc<CachedObject>], before: &Self, front: &FrontProxy, caches: &Arc<Caches>) -> Self {
        let mut table = Self::default();
        for stored in objects {
            let known = before.remotes.values().find(|remote| Arc::ptr_eq(&remote.object, stored) && remote.made.elapsed() < RENEWAL);
            let value = stored.value();
            let spec = |field: &str| value["spec"].get(field).cloned().unwrap_or_default();
            let key = (object::text(&value, "/spec/group").to_owned(), object::text(&value, "/spec/version").to_owned());
            let number = |field: &str| spec(field).as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or_default();
            table.priorities.insert(key.clone(), (number("groupPriorityMinimum"), number("versionPriority")));
            if !spec("service").is_object() {
                continue;
            }
            let remote = known.cloned().unwrap_or_else(|| Arc::new(remote(stored, &value, front, caches)));
            table.remotes.insert(key, remote);
        }
        table
    }

    /// Who serves a group version, if it is not this server.
    pub fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        // There are none, usually, and every request asks.
        if self.remotes.is_empty() {
            return None;
        }
        self.remotes.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.remotes.values()
    }

    /// How much a group version is to be preferred.
    pub fn priority(&self, group: &str, version: &str) -> Priority {
        let known = self.priorities.get(&(group.to_owned(), version.to_owned()));
        known.copied().unwrap_or_else(|| priority::own(group, version))
    }
}

fn remote(stored: &Arc<CachedObject>, value: &Value, front: &FrontProxy, caches: &Arc<Caches>) -> Remote {
    let text = |pointer: &str| object::text(value, pointer).to_owned();
    let port = value.pointer("/spec/service/port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
    let service = (text("/spec/service/namespace"), text("/spec/service/name"), port);
    Remote {
        group: text("/spec/group"),
        version: text("/spec/version"),
        object: stored.clone(),
        made: Instant::now(),
        available: condition(value).is_some_and(|condition| condition["status"] == "True"),
        connector: connector(value, &service, front, caches),
        service,
    }
}

/// The condition `Available`.
pub fn condition(value: &Value) -> Option<&Value> {
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition["type"] == "Available")
}

fn connector(value: &Value, service: &(String, String, u16), front: &FrontProxy, caches: &Arc<Caches>) -> Result<Connector, String> {
    let client = front.certificate()?;
    let bundle = object::text(value, "/spec/caBundle");
    let config = if value.pointer("/spec/insecureSkipTLSVerify").and_then(Value::as_bool) == Some(true) {
        wire::trusting(Some(&client)).map_err(|error| error.to_string())?
    } else {
        let ca_pem = (!bundle.is_empty()).then(|| STANDARD.decode(bundle)).transpose();
        let ca_pem = ca_pem.map_err(|error| format!("unable to load root certificates: {error}"))?;
        verifying(ca_pem.as_deref(), Some(&client))?
    };
    Connector::with_tls(destination(service), caches.clone(), config)
}

/// To the Service, whoever it is certified by.
pub fn destination((namespace, name, port): &(String, String, u16)) -> Destination {
    let place = Place::Service { namespace: namespace.clone(), name: name.clone(), port: *port };
    Destination { place, ca_pem: None, path: "/".to_owned() }
}
