//! Whole HTTP answers from values.

use super::encode::encoder;
use super::{IncludeObject, partial_metadata, table};
use crate::call::Call;
use crate::error::ApiError;
use crate::http::accept::{Encoding, View};
use crate::object;
use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// One object as the answer to a call, in the view asked for.
pub fn object(call: &Call, code: StatusCode, object: Value, warnings: &[String]) -> Response<Body> {
    let shown = match call.accept.view {
        View::Whole => object,
        View::Metadata(version) => partial_metadata(version, &object),
        View::Table(version) => {
            let meta = json!({ "resourceVersion": object::resource_version(&object) });
            table(version, &call.kind, &[object], meta, IncludeObject::of(call), true)
        }
    };
    let mut response = body(code, &shown, call.accept.encoding);
    add_warnings(&mut response, warnings);
    response
}

/// A `Status` as the answer to a call, whatever view is asked for.
pub fn status(call: &Call, code: StatusCode, status: &Value) -> Response<Body> {
    body(code, status, call.accept.encoding)
}

/// Any value as JSON.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    body(code, value, Encoding::Json)
}

/// A failure as a `Status`.
pub fn error(error: &ApiError, encoding: Encoding) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = body(code, &error.to_status(), encoding);
    add_warnings(&mut response, error.warnings());
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// An answer of bytes that are there.
pub fn answer(code: StatusCode, media_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The `Status` of an operation that leaves no object to show.
pub fn status_success(details: Value) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// All warnings of one answer have at most so many bytes, as with Kubernetes: clients refuse longer heads.
const WARNING_BYTES: usize = 4096;

/// Warnings as clients print them (RFC 7234, 5.5: code 299). What is too much is left out.
pub fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    let mut left = WARNING_BYTES;
    for text in warnings {
        let Some(rest) = left.checked_sub(text.len()) else { return };
        left = rest;
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

fn body(code: StatusCode, value: &Value, encoding: Encoding) -> Response<Body> {
    let encoder = encoder(encoding);
    match encoder.object(value) {
        Ok(bytes) => answer(code, encoder.media_type(), bytes),
        // Of a kind that has no such form; a Status has every form.
        Err(failure) => error(&failure, encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_do_not_outgrow_a_head() {
        let mut response = Response::new(Body::empty());
        add_warnings(&mut response, &vec!["unknown field \"x\"".to_owned(); 10_000]);
        let sent: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(sent[0], r#"299 - "unknown field \"x\"""#);
        assert!(sent.len() > 100 && sent.iter().map(|value| value.len()).sum::<usize>() < 4 * WARNING_BYTES);
    }
}
