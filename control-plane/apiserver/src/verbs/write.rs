//! The end of every write, the same for all verbs: admission, rules, allocation, and the commit that is all or nothing.

use crate::admission::form::Form;
use crate::admission::{self, Additions, Asked, Operation};
use crate::allocate::{self, Allocation};
use crate::call::Call;
use crate::companions;
use crate::custom::{self, convert};
use crate::error::ApiError;
use crate::in_place::ask_rules;
use crate::kinds::Kind;
use crate::life;
use crate::object;
use crate::ownership::{SERVER, Writer};
use crate::server::Server;
use crate::storage::{Stored, encode, keys};
use bytes::Bytes;
use orknet_store::{Commit, Compare, MAX_OPS, Op};
use serde_json::Value;
use std::time::Duration;

/// How often a write is tried when others are faster.
const ATTEMPTS: usize = 32;

/// What an update did.
pub enum Updated {
    /// The object as it is now, with its version.
    Object(Value),
    /// The last finalizer went, and the object with it: its last state.
    Removed(Value),
}

/// A change of one object.
pub struct Update<'a> {
    pub kind: &'a Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    pub subresource: Option<&'a str>,
    pub dry_run: bool,
    /// Who is named as owner of the changed fields; `None` when the change has told ownership itself.
    pub manager: Option<&'a str>,
    /// Whether the object's rules (`validate_update`) are asked. Not for the server's own bookkeeping.
    pub validate: bool,
    pub admission: Admission<'a>,
    pub options: Asked<'a>,
}

impl<'a> Update<'a> {
    /// The server's own bookkeeping: in its name, by none of the object's rules, and past all of admission. Webhooks and policies keep no server from
    /// getting ready, whatever they say and whether they answer: their pods need it first.
    pub fn own(kind: &'a Kind, namespace: &'a str, name: &'a str) -> Self {
        Self {
            kind,
            namespace,
            name,
            subresource: None,
            dry_run: false,
            manager: Some(SERVER),
            validate: false,
            admission: Admission::Asked,
            options: Asked::Nothing,
        }
    }
}

/// What admission is asked about a change.
#[derive(Clone, Copy)]
pub enum Admission<'a> {
    /// The object.
    Object,
    /// What the subresource shows of it.
    Facet(&'a Facet<'a>),
    /// Nothing more: it has been asked about what the change is made from.
    Asked,
}

/// An object as a subresource shows it.
pub struct Facet<'a> {
    pub form: &'static Form,
    pub show: &'a (dyn Fn(&Value) -> Value + Send + Sync),
    /// Brings the object into line with what it shall show.
    pub put: &'a (dyn Fn(&mut Value, &Value) + Send + Sync),
}

impl<'a> Update<'a> {
    /// What a call asks for that speaks for itself: its object, its manager, under the object's rules.
    pub fn of(call: &'a Call) -> Self {
        Self {
            kind: &call.kind,
            namespace: call.namespace(),
            name: &call.path.name,
            subresource: call.subresource(),
            dry_run: call.options.dry_run,
            manager: Some(call.field_manager()),
            validate: true,
            admission: Admission::Object,
            options: Asked::Write { verb: call.verb, options: &call.options },
        }
    }
}

/// Creates the object, whose metadata has a name or a `generateName`. Answers the object with its version.
///
/// `tracked`: whether the object tells its ownership already (server-side apply).
pub async fn create(call: &Call, object: Value, tracked: bool, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
    let prefix = object::meta_str(&object, "generateName").to_owned();
    let generate = object::name(&object).is_empty() && !prefix.is_empty();
    let mut name = String::new();
    for _ in 0..8 {
        let mut object = object.clone();
        if generate {
            name = life::generate_name(&prefix);
            object::set_meta(&mut object, "name", name.clone());
        }
        match create_named(call, object, tracked, warnings).await {
            Err(error) if generate && error.code() == 409 && error.reason() == "AlreadyExists" => {}
            other => return other,
        }
    }
    Err(ApiError::generated_name_taken(call.names(), &name))
}

async fn create_named(call: &Call, mut object: Value, tracked: bool, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
    let (server, kind, names) = (&call.server, &call.kind, call.names());
    // Before anything is filled in: what the server adds is nobody's.
    if !tracked {
        Writer { kind, manager: call.field_manager(), subresource: None }.track_in_all(server, None, &mut object).await;
    }
    life::before_create(kind, &mut object, call.namespace());
    let named = object::name(&object).to_owned();
    let (uid, created) = (object::uid(&object).to_owned(), object::meta_str(&object, "creationTimestamp").to_owned());
    let asked = admission::Request { subresource: None, name: &named, ..call.admission(Operation::Create) };
    if admission::mutate(asked, &mut object, None, warnings).await? {
        super::create::check_place(call, &object)?;
        life::still_before_create(kind, &mut object, call.namespace(), uid, created);
    } else {
        // What the kind derives follows from what was filled in (a pod's quality of service from its requests).
        kind.prepare_create(&mut object);
    }
    // A webhook may have given it another one.
    let name = object::name(&object).to_owned();
    let asked = admission::Request { name: &name, ..asked };
    let told = warnings.len();
    let key = call.key_of(&name);
    for _ in 0..ATTEMPTS {
        let mut new = object.clone();
        let allocation = allocate::plan(server, kind, None, &mut new).await?;
        let mut allocation = allocation.and(companions::follow(server, kind, None, &mut new).await?);
        validate_new(server, kind, &new)?;
        warnings.truncate(told);
        let admitted = admission::validate(asked, &mut new, None, warnings).await?;
        if call.options.dry_run {
            if server.storage.get(&key).await?.is_some() {
                return Err(ApiError::already_exists(names, &name));
            }
            warnings.extend(kind.warnings(&new));
            return Ok(new);
        }
        allocation.compares.extend(admission::must_be_open(server, kind, &new).await?);
        allocation.compares.extend(custom::must_be_open(server, kind)?);
        let allocation = allocation.and(admitted.allocation);
        must_fit(kind, &name, &allocation)?;
        let compare = Compare::Absent(key.clone().into());
        match commit(server, &key, compare, Some(put(server, kind, &key, &new).await?), allocation).await? {
            Outcome::Done(revision) => {
                warnings.extend(kind.warnings(&new));
                object::set_meta(&mut new, "resourceVersion", revision.to_string());
                return Ok(new);
            }
            Outcome::ObjectMoved => return Err(ApiError::already_exists(names, &name)),
            Outcome::OtherMoved => {}
        }
    }
    Err(ApiError::internal("addresses or ports, the namespace, its quotas, the definition or the companion kept being changed by others"))
}

/// 422 when a new object breaks its kind's rules.
pub fn validate_new(server: &Server, kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let errors = ask_rules(server, kind, || kind.validate_create(object));
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind.descriptor(), object::name(object), &errors)) }
}

/// The same for a call that speaks for itself, with admission's warnings.
pub async fn update_for(
    call: &Call,
    what: &Update<'_>,
    change: impl Fn(&Value, u64) -> Result<Value, ApiError>,
    warnings: &mut Vec<String>,
) -> Result<Updated, ApiError> {
    change_with(&call.server, &call.who, what, change, warnings).await
}

/// Changes an object: `change` gets the stored state and its revision and answers the wanted one. Tried anew while others are faster, unless the wanted
/// state names a version. An object whose last finalizer goes is removed.
pub async fn update(
    server: &Server,
    who: &orknet_auth::Identity,
    what: &Update<'_>,
    change: impl Fn(&Value, u64) -> Result<Value, ApiError>,
) -> Result<Updated, ApiError> {
    change_with(server, who, what, change, &mut Vec::new()).await
}

async fn change_with(
    server: &Server,
    who: &orknet_auth::Identity,
    what: &Update<'_>,
    change: impl Fn(&Value, u64) -> Result<Value, ApiError>,
    warnings: &mut Vec<String>,
) -> Result<Updated, ApiError> {
    let (kind, names) = (what.kind, what.kind.descriptor());
    let key = keys::object(names.stored_as, what.namespace, what.name);
    let asked = admission::Request {
        server,
        who,
        kind,
        subresource: what.subresource,
        operation: Operation::Update,
        namespace: what.namespace,
        name: what.name,
        dry_run: what.dry_run,
        form: None,
        revision: 0,
        options: what.options,
    };
    let told = warnings.len();
    for _ in 0..ATTEMPTS {
        let Some(stored) = server.storage.get(&key).await? else { return Err(ApiError::not_found(names, what.name)) };
        let is_stale = convert::is_stale(kind, &stored.object);
        let old = convert::read(server, kind, stored.object).await?;
        let mut new = change(&old, stored.revision)?;
        life::check_version(kind, &new, &old, stored.revision)?;
        if let Some(manager) = what.manager {
            Writer { kind, manager, subresource: what.subresource }.track_in_all(server, Some(&old), &mut new).await;
        }
        life::before_update(kind, &mut new, &old, what.subresource);
        warnings.truncate(told);
        let asked = admission::Request { revision: stored.revision, ..asked };
        if mutated(what.admission, asked, &mut new, &old, warnings).await? {
            life::before_update(kind, &mut new, &old, what.subresource);
        }
        let allocation = allocate::plan(server, kind, Some(&old), &mut new).await?;
        let allocation = allocation.and(companions::follow(server, kind, Some(&old), &mut new).await?);
        if what.validate {
            let errors = ask_rules(server, kind, || kind.validate_update(&new, &old, what.subresource));
            if !errors.is_empty() {
                return Err(ApiError::invalid(names, what.name, &errors));
            }
        }
        let admitted = validated(what.admission, asked, &mut new, &old, warnings).await?;
        let versioned = |mut object: Value, revision: u64| {
            object::set_meta(&mut object, "resourceVersion", revision.to_string());
            object
        };
        if life::is_finished(&new) {
            if what.dry_run {
                return Ok(Updated::Removed(versioned(new, stored.revision)));
            }
            let release = allocate::release(kind, &old).and(companions::release(server, kind, &old));
            let compare = Compare::ModRevision(key.clone().into(), stored.revision);
            match commit(server, &key, compare, None, release).await? {
                Outcome::Done(revision) => return Ok(Updated::Removed(versioned(new, revision))),
                _ => continue,
            }
        }
        if (new == old && !is_stale) || what.dry_run {
            return Ok(Updated::Object(versioned(new, stored.revision)));
        }
        let allocation = allocation.and(admitted.allocation);
        must_fit(kind, what.name, &allocation)?;
        let compare = Compare::ModRevision(key.clone().into(), stored.revision);
        match commit(server, &key, compare, Some(put(server, kind, &key, &new).await?), allocation).await? {
            Outcome::Done(revision) => return Ok(Updated::Object(versioned(new, revision))),
            Outcome::ObjectMoved | Outcome::OtherMoved => {}
        }
    }
    Err(ApiError::stale(names, what.name))
}

/// The first stage of admission of a change; answers whether a webhook has changed the object.
async fn mutated(
    admission: Admission<'_>,
    asked: admission::Request<'_>,
    new: &mut Value,
    old: &Value,
    warnings: &mut Vec<String>,
) -> Result<bool, ApiError> {
    let facet = match admission {
        Admission::Asked => return Ok(false),
        Admission::Object => return admission::mutate(asked, new, Some(old), warnings).await,
        Admission::Facet(facet) => facet,
    };
    let (mut shown, before) = ((facet.show)(new), (facet.show)(old));
    let asked = admission::Request { form: Some(facet.form), ..asked };
    let changed = admission::mutate(asked, &mut shown, Some(&before), warnings).await?;
    if changed {
        (facet.put)(new, &shown);
    }
    Ok(changed)
}

/// The second stage.
async fn validated(
    admission: Admission<'_>,
    asked: admission::Request<'_>,
    new: &mut Value,
    old: &Value,
    warnings: &mut Vec<String>,
) -> Result<Additions, ApiError> {
    let facet = match admission {
        Admission::Asked => return Ok(Additions::default()),
        Admission::Object => return admission::validate(asked, new, Some(old), warnings).await,
        Admission::Facet(facet) => facet,
    };
    let asked = admission::Request { form: Some(facet.form), ..asked };
    admission::validate(asked, &mut (facet.show)(new), Some(&(facet.show)(old)), warnings).await
}

/// Removes a stored object if it is still of that revision; its claims and its companion go with it. `None`: somebody was faster.
pub async fn remove(server: &Server, kind: &Kind, key: &str, stored: &Stored) -> Result<Option<u64>, ApiError> {
    let object = kind.from_stored(stored.object.clone());
    let release = allocate::release(kind, &object).and(companions::release(server, kind, &object));
    let compare = Compare::ModRevision(key.to_owned().into(), stored.revision);
    match commit(server, key, compare, None, release).await? {
        Outcome::Done(revision) => Ok(Some(revision)),
        _ => Ok(None),
    }
}

/// 403 when more is to be written and compared with the object than a transaction has room for: its addresses and ports, and the quotas that it is
/// charged to.
fn must_fit(kind: &Kind, name: &str, allocation: &Allocation) -> Result<(), ApiError> {
    // The object's own.
    let most = MAX_OPS - 1;
    if allocation.ops.len() <= most && allocation.compares.len() <= most {
        return Ok(());
    }
    let why = format!(
        "it is charged to too many quotas, for the ports that it has: all that is written with an object may be {most} further writes"
    );
    Err(ApiError::forbidden(kind.descriptor(), name, why))
}

enum Outcome {
    Done(u64),
    /// The object is not of the version compared with.
    ObjectMoved,
    /// The object is, but an address or port has been claimed by another, or its namespace, a quota or its companion has changed.
    OtherMoved,
}

async fn put(server: &Server, kind: &Kind, key: &str, object: &Value) -> Result<Op, ApiError> {
    let names = kind.descriptor();
    let ttl: Option<Duration> = keys::expires(names.stored_as).then_some(server.config.event_ttl);
    Ok(Op::Put { key: Bytes::from(key.to_owned()), value: encode(&convert::written(server, kind, object.clone()).await?), ttl })
}

async fn commit(server: &Server, key: &str, compare: Compare, write: Option<Op>, allocation: Allocation) -> Result<Outcome, ApiError> {
    let mut compares = vec![compare];
    compares.extend(allocation.compares);
    let mut ops = vec![write.unwrap_or_else(|| Op::Delete { key: Bytes::from(key.to_owned()) })];
    ops.extend(allocation.ops);
    let first = compares[0].clone();
    match server.storage.commit(compares, ops).await? {
        Commit::Done(revision) => Ok(Outcome::Done(revision)),
        Commit::Failed { current, revision } => {
            let found = current.first().and_then(Option::as_ref).map(|entry| entry.mod_revision);
            let holds = match first {
                Compare::Absent(_) => found.is_none(),
                Compare::ModRevision(_, wanted) => found == Some(wanted),
            };
            if !holds {
                return Ok(Outcome::ObjectMoved);
            }
            // The plan was made from claims and other objects in memory: see the others' before planning anew.
            server.storage.reach(revision).await?;
            Ok(Outcome::OtherMoved)
        }
    }
}
