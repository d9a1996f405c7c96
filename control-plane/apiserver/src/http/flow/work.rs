//! What a request costs, in seats. Source: `apiserver/pkg/util/flowcontrol/request`: a list takes a seat for each hundred objects that it goes through,
//! everything else takes one.

use crate::http::request_info::{RequestInfo, is_true};
use crate::server::Server;

const OBJECTS_PER_SEAT: usize = 100;

/// The seats of a request.
pub fn seats(server: &Server, info: &RequestInfo) -> u32 {
    let Some(path) = info.resource.as_ref().filter(|_| lists(info)) else { return 1 };
    let kind = server.kinds().find(&path.group, &path.version, &path.plural);
    let count = kind.and_then(|kind| server.storage.caches.of(kind.descriptor().stored_as)).map_or(0, |cache| cache.count());
    estimate(info, count)
}

/// Whether the request goes through all objects of a kind: lists, what lists before it acts, and watches that begin with what is there.
fn lists(info: &RequestInfo) -> bool {
    match info.verb {
        "list" | "deletecollection" => true,
        "watch" => match info.query.first("sendInitialEvents") {
            Some(wanted) => is_true(wanted),
            None => matches!(info.query.first("resourceVersion"), None | Some("" | "0")),
        },
        _ => false,
    }
}

fn estimate(info: &RequestInfo, count: usize) -> u32 {
    let selects = ["labelSelector", "fieldSelector"].iter().any(|name| info.query.first(name).is_some_and(|text| !text.is_empty()));
    let limit = info.query.first("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0 && info.verb == "list");
    let objects = match limit {
        _ if !info.name().is_empty() => 1,
        // With a selector those are gone through that it does not select.
        Some(limit) if !selects => count.min(limit),
        _ => count,
    };
    u32::try_from(objects.div_ceil(OBJECTS_PER_SEAT)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn lists_cost_by_what_they_go_through() {
        let cost = |method: Method, path: &str| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let info = RequestInfo::new(&method, path, query).expect("text");
            if lists(&info) { estimate(&info, 1050) } else { 1 }
        };
        for (path, seats) in [
            ("/api/v1/pods", 11),
            ("/api/v1/pods?limit=500", 5),
            ("/api/v1/pods?limit=500&labelSelector=a", 11),
            ("/api/v1/pods?fieldSelector=metadata.name%3Da", 1),
            ("/api/v1/namespaces/a/pods/b", 1),
            ("/api/v1/pods?watch=1", 11),
            ("/api/v1/pods?watch=1&resourceVersion=7", 1),
            ("/api/v1/pods?watch=1&resourceVersion=7&sendInitialEvents=true", 11),
        ] {
            assert_eq!(cost(Method::GET, path), seats, "{path}");
        }
        assert_eq!((cost(Method::POST, "/api/v1/pods"), cost(Method::DELETE, "/api/v1/namespaces/a/pods")), (1, 11));
    }
}
