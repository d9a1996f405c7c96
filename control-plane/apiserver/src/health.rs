//! `/healthz`, `/livez`, `/readyz` and `/version`: what anybody may ask.

use crate::discovery;
use crate::http::request_info::RequestInfo;
use crate::present;
use crate::server::Server;
use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use std::sync::atomic::Ordering;

type Check = (&'static str, fn(&Server) -> Result<(), String>);

const LIVE: &[Check] = &[("ping", |_| Ok(()))];
const READY: &[Check] = &[
    ("ping", |_| Ok(())),
    ("store", store),
    ("watch-cache", watch_cache),
    ("custom-resources", custom_resources),
    ("bootstrap", bootstrap),
    ("shutdown", shutdown),
];

/// Answers the paths that need no identity; `None` for all others.
pub fn public(server: &Server, info: &RequestInfo, query: &str) -> Option<Response<Body>> {
    if !matches!(info.verb, "get" | "head") {
        return None;
    }
    let mut parts = info.path.trim_matches('/').splitn(2, '/');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let checks = match first {
        "version" if rest.is_empty() => return Some(present::json(StatusCode::OK, &discovery::version())),
        "livez" => LIVE,
        "readyz" | "healthz" => READY,
        _ => return None,
    };
    let option = |name: &str| {
        form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
    };
    if rest.is_empty() {
        return Some(all(server, first, checks, !option("verbose").is_empty(), &option("exclude")));
    }
    let (_, check) = checks.iter().find(|(name, _)| *name == rest)?;
    Some(match check(server) {
        Ok(()) => text(StatusCode::OK, "ok".into()),
        Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
    })
}

fn all(server: &Server, path: &str, checks: &[Check], verbose: bool, exclude: &[String]) -> Response<Body> {
    let mut lines = String::new();
    let mut failed = false;
    for (name, check) in checks {
        let line = match check(server) {
            _ if exclude.iter().any(|excluded| excluded == name) => format!("[+]{name} excluded: ok\n"),
            Ok(()) => format!("[+]{name} ok\n"),
            Err(why) => {
                failed = true;
                format!("[-]{name} failed: {why}\n")
            }
        };
        lines.push_str(&line);
    }
    match (failed, verbose) {
        (true, _) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{path} check failed\n")),
        (false, true) => text(StatusCode::OK, format!("{lines}{path} check passed\n")),
        (false, false) => text(StatusCode::OK, "ok".into()),
    }
}

fn store(server: &Server) -> Result<(), String> {
    let progress = server.storage.caches.progress();
    if progress.connected { Ok(()) } else { Err("the store cannot be reached".into()) }
}

fn watch_cache(server: &Server) -> Result<(), String> {
    if server.storage.caches.progress().revision > 0 { Ok(()) } else { Err("not filled yet".into()) }
}

fn custom_resources(server: &Server) -> Result<(), String> {
    if server.custom.is_ready() { Ok(()) } else { Err("the custom resources that are defined are not served yet".into()) }
}

fn bootstrap(server: &Server) -> Result<(), String> {
    if server.bootstrapped.load(Ordering::Acquire) { Ok(()) } else { Err("the first objects are not there yet".into()) }
}

fn shutdown(server: &Server) -> Result<(), String> {
    if server.shutdown.is_cancelled() { Err("the server is going down".into()) } else { Ok(()) }
}

fn text(code: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
