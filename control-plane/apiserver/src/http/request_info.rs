//! What a request is about, read from its method and path (Kubernetes' "request info"): verb, group, version, namespace, resource, name.

use super::query::Query;
use crate::selector::FieldSelector;
use http::Method;
use percent_encoding::percent_decode_str;

/// A request's subject. For paths that are no resource only `path` and `verb` are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Decoded.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, … ; the method in lower case for paths that are no resource.
    pub verb: &'static str,
    pub query: Query,
    pub resource: Option<ResourcePath>,
    /// The one name that a list or watch without a name in its path is narrowed to by `fieldSelector=metadata.name=…`: rules about names
    /// hold for it.
    pub selected_name: Option<String>,
}

/// The parts of `/api/v1/namespaces/a/pods/b/log` and its like. Empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub plural: String,
    pub name: String,
    pub subresource: String,
    /// What follows the subresource as it is in the (decoded) path, with its slashes: `/a//b/` of `…/proxy/a//b/`.
    pub rest: String,
}

impl RequestInfo {
    /// Reads method, path and query. `None` when the path is not text. An encoded slash parts the path like any other.
    pub fn new(method: &Method, path: &str, query: &str) -> Option<Self> {
        let lower = match *method {
            Method::GET => "get",
            Method::HEAD => "head",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            Method::OPTIONS => "options",
            _ => "other",
        };
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let query = Query::parse(query);
        let path_info = || Some(Self { path: path.clone().into_owned(), verb: lower, query: query.clone(), ..Self::default() });
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let (group, version) = match parts.next().as_deref() {
            Some("api") => (String::new(), parts.next()),
            Some("apis") => match parts.next() {
                Some(group) => (group, parts.next()),
                None => return path_info(),
            },
            _ => return path_info(),
        };
        let Some(version) = version else { return path_info() };
        let mut parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            return path_info();
        }
        let mut resource = ResourcePath { group, version, ..ResourcePath::default() };
        // `/watch/…` is the old form of `?watch=1`.
        let old_watch = parts[0] == "watch" && parts.len() > 1;
        if old_watch {
            parts.remove(0);
        }
        // `namespaces/a/finalize` and `…/status` are subresources of the namespace, everything longer is inside of it.
        let inside = parts[0] == "namespaces" && parts.len() > 2 && !(parts.len() == 3 && ["finalize", "status"].contains(&&parts[2][..]));
        if inside {
            resource.namespace = parts.remove(1);
            parts.remove(0);
        }
        let mut parts = parts.into_iter();
        resource.plural = parts.next().unwrap_or_default();
        resource.name = parts.next().unwrap_or_default();
        resource.subresource = parts.next().unwrap_or_default();
        let after = parts.len();
        resource.rest = tail(&path, after).to_owned();
        if resource.plural == "namespaces" && !resource.name.is_empty() && resource.namespace.is_empty() {
            resource.namespace.clone_from(&resource.name);
        }
        // Without the old form, a request for one object is no watch whatever its query says.
        let watching = old_watch || (resource.name.is_empty() && query.first("watch").is_some_and(is_true));
        let verb = match (lower, resource.name.is_empty()) {
            ("get" | "head", _) if watching && resource.subresource.is_empty() => "watch",
            ("get" | "head", true) => "list",
            ("get" | "head", false) => "get",
            ("post", _) => "create",
            ("put", _) => "update",
            ("delete", true) => "deletecollection",
            (other, _) => other,
        };
        let narrows = matches!(verb, "list" | "watch") && resource.name.is_empty();
        let selected_name = narrows.then(|| selected_name(&query)).flatten();
        Some(Self { path: path.clone().into_owned(), verb, query, resource: Some(resource), selected_name })
    }

    /// The name that rules about names hold for: the path's, or the selector's, never both.
    pub fn name(&self) -> &str {
        let of_path = self.resource.as_ref().map(|path| &path.name[..]);
        self.selected_name.as_deref().or(of_path).unwrap_or_default()
    }

    /// Whether the request may take as long as the client likes.
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || self
                .resource
                .as_ref()
                .is_some_and(|resource| ["log", "exec", "attach", "portforward", "proxy"].contains(&&resource.subresource[..]))
    }
}

/// The path's end that has so many parts, with the slash before them and those behind; empty where there is nothing.
fn tail(path: &str, parts: usize) -> &str {
    let of = path.split('/').filter(|part| !part.is_empty()).count();
    let mut begin = 0;
    for _ in 0..of - parts {
        begin += path[begin..].find(|sign| sign != '/').unwrap_or_default();
        begin += path[begin..].find('/').unwrap_or(path.len() - begin);
    }
    &path[begin..]
}

fn selected_name(query: &Query) -> Option<String> {
    FieldSelector::parse(query.first("fieldSelector")?).ok()?.exact("metadata.name").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// How booleans are written in queries: `?watch`, `?watch=1`, `?watch=true`.
pub fn is_true(value: &str) -> bool {
    !matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, path: &str) -> (&'static str, ResourcePath) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::new(&method.parse().expect("method"), path, query).expect("text");
        (info.verb, info.resource.expect("a resource"))
    }

    fn parts(resource: &ResourcePath) -> [&str; 6] {
        [&resource.group, &resource.version, &resource.namespace, &resource.plural, &resource.name, &resource.subresource]
            .map(|text| &text[..])
    }

    #[test]
    fn paths_are_taken_apart_as_kubernetes_does() {
        let (verb, resource) = read("GET", "/api/v1/namespaces/a/pods/b/log");
        assert_eq!((verb, parts(&resource)), ("get", ["", "v1", "a", "pods", "b", "log"]));
        let (verb, resource) = read("GET", "/apis/apps/v1/deployments?watch=1");
        assert_eq!((verb, parts(&resource)), ("watch", ["apps", "v1", "", "deployments", "", ""]));
        let (verb, resource) = read("PUT", "/api/v1/namespaces/a/finalize");
        assert_eq!((verb, parts(&resource)), ("update", ["", "v1", "a", "namespaces", "a", "finalize"]));
        let (verb, resource) = read("DELETE", "/api/v1/namespaces/a/pods");
        assert_eq!((verb, parts(&resource)), ("deletecollection", ["", "v1", "a", "pods", "", ""]));
        let (verb, resource) = read("GET", "/api/v1/watch/namespaces/a/pods");
        assert_eq!((verb, parts(&resource)), ("watch", ["", "v1", "a", "pods", "", ""]));
        assert_eq!(read("GET", "/api/v1/watch/namespaces/a/pods/b").0, "watch");
        assert_eq!(read("GET", "/api/v1/namespaces/a/pods/b?watch=1").0, "get");
        let (verb, resource) = read("GET", "/api/v1/namespaces");
        assert_eq!((verb, parts(&resource)), ("list", ["", "v1", "", "namespaces", "", ""]));
    }

    #[test]
    fn encoded_slashes_part_a_path_like_plain_ones() {
        let (_, resource) = read("GET", "/api/v1/namespaces/a%2Fpods/b");
        assert_eq!(parts(&resource), ["", "v1", "a", "pods", "b", ""]);
        assert_eq!(RequestInfo::new(&Method::GET, "/api/v1/%ff", ""), None);
    }

    #[test]
    fn what_follows_a_subresource_stays_as_it_is() {
        for (path, rest) in [
            ("/api/v1/namespaces/a/pods/b/proxy", ""),
            ("/api/v1/namespaces/a/pods/b/proxy/", "/"),
            ("/api/v1/namespaces/a/services/https:b:c/proxy/x//y/", "/x//y/"),
            ("//api/v1/nodes/n//proxy//pods/../x", "//pods/../x"),
            ("/api/v1/nodes/n", ""),
        ] {
            assert_eq!(read("GET", path).1.rest, rest, "{path}");
        }
    }

    #[test]
    fn a_list_of_one_name_is_about_that_name() {
        let name = |path: &str| {
            let (path, query) = path.split_once('?').expect("a query");
            RequestInfo::new(&Method::GET, path, query).expect("text").selected_name
        };
        assert_eq!(name("/api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Dx&watch=1").as_deref(), Some("x"));
        assert_eq!(name("/api/v1/namespaces/a/secrets?fieldSelector=metadata.name!%3Dx"), None);
        assert_eq!(name("/api/v1/namespaces/a/secrets?fieldSelector=&fieldSelector=metadata.name%3Dx"), None);
        for path in ["namespaces/a/secrets/y?", "namespaces/a/secrets/y?watch=1&", "watch/namespaces/a/secrets/y?"] {
            assert_eq!(name(&format!("/api/v1/{path}fieldSelector=metadata.name%3Dx")), None, "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_resource() {
        for path in ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3"] {
            let info = RequestInfo::new(&Method::GET, path, "").expect("text");
            assert_eq!((info.verb, info.resource), ("get", None), "{path}");
        }
    }
}
