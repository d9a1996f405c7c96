//! The Go names of the types that k8s-openapi has in Rust: what the API's own messages call them.

/// `v1.Container`, `[]v1.Container`, `map[string]string`, `int32`, … Told from the name that the compiler gives the type, which is for people alone:
/// another compiler's would change the words of a message and nothing else.
pub fn go_type<T>() -> String {
    of(std::any::type_name::<T>())
}

fn of(name: &str) -> String {
    let inner = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(item) = inner("alloc::vec::Vec<") {
        return format!("[]{}", of(item));
    }
    if let Some(item) = inner("core::option::Option<").or_else(|| inner("alloc::boxed::Box<")) {
        return of(item);
    }
    if let Some((_, value)) = inner("alloc::collections::btree::map::BTreeMap<").and_then(|entry| entry.split_once(", ")) {
        return format!("map[string]{}", of(value));
    }
    match name.rsplit("::").next().unwrap_or(name) {
        "String" | "str" => "string".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "f64" => "float64".to_owned(),
        "ByteString" => "[]uint8".to_owned(),
        // `…::core::v1::container::Container`: the package in Go is the version.
        own => match name.rsplit("::").find(|part| is_version(part)) {
            Some(version) => format!("{version}.{own}"),
            None => own.to_owned(),
        },
    }
}

/// `v1`, `v2beta1`; not `v1_33`, which is k8s-openapi's own.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|sign: char| sign.is_ascii_digit()) && !rest.contains('_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Container, PodSpec};
    use std::collections::BTreeMap;

    #[test]
    fn types_have_their_go_names() {
        assert_eq!(go_type::<PodSpec>(), "v1.PodSpec");
        assert_eq!(go_type::<Option<Vec<Container>>>(), "[]v1.Container");
        assert_eq!(go_type::<BTreeMap<String, Vec<String>>>(), "map[string][]string");
        assert_eq!(go_type::<BTreeMap<String, k8s_openapi::ByteString>>(), "map[string][]uint8");
        assert_eq!((go_type::<i32>(), go_type::<bool>()), ("int32".to_owned(), "bool".to_owned()));
    }
}
