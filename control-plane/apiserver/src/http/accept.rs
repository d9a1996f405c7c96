//! What the client wants back: the first alternative in `Accept` that this server can produce.

use crate::error::ApiError;

/// Which view of an object or list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    #[default]
    Whole,
    /// `metav1.Table`, with its version.
    Table(&'static str),
    /// `PartialObjectMetadata` or its list.
    Metadata,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub view: View,
    pub yaml: bool,
}

/// Which form of discovery is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryForm {
    Legacy,
    /// `apidiscovery.k8s.io` in this version.
    Aggregated(&'static str),
}

impl Accept {
    /// Reads the header; 406 when nothing in it can be produced. Protobuf is passed over for the next alternative.
    pub fn parse(header: Option<&str>) -> Result<Self, ApiError> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else { return Ok(Self::default()) };
        alternatives(header)
            .find_map(|(media, parameter)| {
                let view = match (parameter("as"), parameter("g"), parameter("v")) {
                    (None, ..) => View::Whole,
                    (Some("Table"), Some("meta.k8s.io"), Some("v1")) => View::Table("v1"),
                    (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => View::Table("v1beta1"),
                    (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => View::Metadata,
                    _ => return None,
                };
                match media {
                    "application/json" | "*/*" | "application/*" => Some(Self { view, yaml: false }),
                    "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Self { view, yaml: true }),
                    _ => None,
                }
            })
            .ok_or_else(ApiError::not_acceptable)
    }
}

impl DiscoveryForm {
    /// Reads the header; legacy when nothing else is asked for.
    pub fn parse(header: Option<&str>) -> Self {
        alternatives(header.unwrap_or_default())
            .find_map(|(media, parameter)| match (media, parameter("as"), parameter("g"), parameter("v")) {
                ("application/json", Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                    Some(Self::Aggregated("v2"))
                }
                ("application/json", Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                    Some(Self::Aggregated("v2beta1"))
                }
                ("application/json", None, ..) => Some(Self::Legacy),
                _ => None,
            })
            .unwrap_or(Self::Legacy)
    }
}

/// The alternatives of an `Accept` header with a way to ask for their parameters, in the client's order.
fn alternatives<'a>(header: &'a str) -> impl Iterator<Item = (&'a str, impl Fn(&'static str) -> Option<&'a str>)> {
    header.split(',').map(|alternative| {
        let (media, parameters) = alternative.split_once(';').unwrap_or((alternative, ""));
        let parameter = move |name: &'static str| {
            let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"'))
        };
        (media.trim(), parameter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_possible_alternative_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(Accept::parse(Some(kubectl)).ok(), Some(Accept { view: View::Table("v1"), yaml: false }));
        let client = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(Accept::parse(Some(client)).ok(), Some(Accept::default()));
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(Accept::parse(Some(metadata)).ok().map(|accept| accept.view), Some(View::Metadata));
        assert_eq!(Accept::parse(Some("application/vnd.kubernetes.protobuf")).err().map(|error| error.code()), Some(406));
        assert_eq!(Accept::parse(Some("application/yaml")).ok().map(|accept| accept.yaml), Some(true));
    }

    #[test]
    fn aggregated_discovery_is_given_to_who_asks() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(DiscoveryForm::parse(Some(kubectl)), DiscoveryForm::Aggregated("v2"));
        assert_eq!(DiscoveryForm::parse(Some("application/json, */*")), DiscoveryForm::Legacy);
        assert_eq!(DiscoveryForm::parse(None), DiscoveryForm::Legacy);
    }
}
