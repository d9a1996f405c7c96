//! Whole HTTP answers from values.

use super::{IncludeObject, partial_metadata, table};
use crate::call::Call;
use crate::error::ApiError;
use crate::http::accept::View;
use crate::object;
use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// One object as the answer to a call, in the view asked for.
pub fn object(call: &Call, code: StatusCode, object: Value, warnings: &[String]) -> Response<Body> {
    let shown = match call.accept.view {
        View::Whole => object,
        View::Metadata => partial_metadata(&object),
        View::Table(version) => {
            let meta = json!({ "resourceVersion": object::resource_version(&object) });
            table(version, call.kind, &[object], meta, IncludeObject::of(call), true)
        }
    };
    let mut response = body(code, &shown, call.accept.yaml, call.options.pretty);
    add_warnings(&mut response, warnings);
    response
}

/// Any value as JSON.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    body(code, value, false, false)
}

/// A failure as a `Status`.
pub fn error(error: &ApiError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &error.to_status());
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The `Status` of an operation that leaves no object to show.
pub fn status_success(details: Value) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// Warnings as clients print them (RFC 7234, 5.5: code 299).
pub fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for text in warnings {
        let quoted: String = text
            .chars()
            .filter(|sign| !sign.is_control())
            .flat_map(|sign| match sign {
                '"' | '\\' => vec!['\\', sign],
                _ => vec![sign],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

fn body(code: StatusCode, value: &Value, yaml: bool, pretty: bool) -> Response<Body> {
    let (media, text) = if yaml {
        ("application/yaml", serde_yaml_ng::to_string(value).unwrap_or_default().into_bytes())
    } else if pretty {
        ("application/json", serde_json::to_vec_pretty(value).unwrap_or_default())
    } else {
        ("application/json", serde_json::to_vec(value).unwrap_or_default())
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
