//! PATCH of an object, in the four forms that Kubernetes has. What a patch does to JSON is `orknet-patch`'s; here is what is patched, and the retry.

use super::create::{check_place, must_be_allowed};
use super::write::{self, Update, Updated, update_for};
use crate::call::Call;
use crate::codec::{self, BodyFormat, PatchFormat};
use crate::custom::convert::{Forms, ROUNDS};
use crate::error::ApiError;
use crate::object;
use crate::ownership::Writer;
use crate::present;
use axum::body::Body;
use http::{Response, StatusCode};
use orknet_resources::{Cause, FieldError};
use parking_lot::Mutex;
use serde_json::Value;

/// Patches the object; apply creates it when it is not there. Conflicts with other writers are resolved here by patching the newer object, unless the
/// patch names a version.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let format = PatchFormat::of(call.content_type.as_deref(), call.kind.merges_strategically())?;
    let body = if format == PatchFormat::Apply { BodyFormat::Yaml } else { BodyFormat::Json };
    let document = codec::parse(body, &call.body)?;
    if format == PatchFormat::Apply {
        if call.options.field_manager.is_empty() {
            return Err(patch_option(Cause::Required, "fieldManager", "is required for apply patch"));
        }
        check_place(call, &document.value)?;
    } else if call.options.force {
        return Err(patch_option(Cause::Forbidden, "force", "may not be specified for non-apply patch"));
    }
    let forms = Forms::of(&call.server, &call.kind);
    let patch = Patch { call, format, value: document.value, duplicates: document.duplicates, forms, warnings: Mutex::default() };
    match patch.change().await {
        Err(error) if format == PatchFormat::Apply && error.code() == 404 && call.subresource().is_none() => match patch.create().await {
            // Somebody else was faster to create it.
            Err(error) if error.reason() == "AlreadyExists" => patch.answer(StatusCode::OK, patch.change().await?),
            created => patch.answer(StatusCode::CREATED, created?),
        },
        changed => patch.answer(StatusCode::OK, changed?),
    }
}

/// An option that does not go with the form of the patch.
pub fn patch_option(cause: Cause, field: &str, why: &str) -> ApiError {
    let error = FieldError { cause, field: field.to_owned(), value: None, detail: why.to_owned() };
    ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", &[error])
}

struct Patch<'a> {
    call: &'a Call,
    format: PatchFormat,
    value: Value,
    duplicates: Vec<String>,
    /// What apply needs of the kind's other versions.
    forms: Forms<'a>,
    /// Of the last attempt.
    warnings: Mutex<Vec<String>>,
}

impl Patch<'_> {
    async fn change(&self) -> Result<Value, ApiError> {
        let call = self.call;
        // Apply tells ownership itself.
        let manager = (self.format != PatchFormat::Apply).then(|| call.field_manager());
        let what = Update { manager, ..Update::of(call) };
        let mut warnings = Vec::new();
        let mut updated = update_for(call, &what, |old, revision| self.applied(old, revision), &mut warnings).await;
        // An outcome that waits for conversions is none, and nothing was written.
        for _ in 0..ROUNDS {
            if !self.forms.fetch().await {
                break;
            }
            updated = update_for(call, &what, |old, revision| self.applied(old, revision), &mut warnings).await;
        }
        let updated = updated?;
        self.warnings.lock().append(&mut warnings);
        let (Updated::Object(object) | Updated::Removed(object)) = updated;
        Ok(object)
    }

    async fn create(&self) -> Result<Value, ApiError> {
        let call = self.call;
        if !object::resource_version(&self.value).is_empty() || !object::uid(&self.value).is_empty() {
            return Err(call.not_found());
        }
        must_be_allowed(call)?;
        let object = self.writer().apply(&self.forms, None, &self.value, call.options.force);
        let object = object.map_err(|error| ApiError::apply(&error))?;
        let mut warnings = Vec::new();
        let mut object = call.decode_value(object, self.duplicates.clone(), &mut warnings)?;
        object::set_meta(&mut object, "name", call.path.name.clone());
        let created = write::create(call, object, true, &mut warnings).await;
        *self.warnings.lock() = warnings;
        created
    }

    /// The object after the patch, decoded.
    fn applied(&self, old: &Value, revision: u64) -> Result<Value, ApiError> {
        let (call, names) = (self.call, self.call.names());
        let fail = |error: orknet_patch::PatchError| ApiError::patch(&error);
        let mut live = old.clone();
        object::set_meta(&mut live, "resourceVersion", revision.to_string());
        let patched = match self.format {
            PatchFormat::Json => orknet_patch::json::apply(&live, &self.value).map_err(fail)?,
            PatchFormat::Merge => {
                let mut patched = live;
                orknet_patch::merge::apply(&mut patched, &self.value);
                patched
            }
            PatchFormat::Strategic => {
                let place = call.server.structure(&call.kind).root_or_deduced(names.group, names.version, names.kind);
                orknet_patch::strategic::apply(place, &live, &self.value).map_err(fail)?
            }
            PatchFormat::Apply => {
                let applied = self.writer().apply(&self.forms, Some(&live), &self.value, call.options.force);
                applied.map_err(|error| ApiError::apply(&error))?
            }
        };
        let mut warnings = Vec::new();
        let decoded = call.decode_value(patched, self.duplicates.clone(), &mut warnings)?;
        check_place(call, &decoded)?;
        *self.warnings.lock() = warnings;
        Ok(decoded)
    }

    fn writer(&self) -> Writer<'_> {
        Writer { kind: &self.call.kind, manager: self.call.field_manager(), subresource: self.call.subresource() }
    }

    fn answer(&self, code: StatusCode, object: Value) -> Result<Response<Body>, ApiError> {
        let mut warnings = std::mem::take(&mut *self.warnings.lock());
        warnings.extend(self.call.kind.warnings(&object));
        warnings.dedup();
        Ok(present::object(self.call, code, object, &warnings))
    }
}
