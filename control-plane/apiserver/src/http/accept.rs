//! What the client wants back: the first alternative in `Accept`, by weight, that can be given.

use super::query::Query;
use crate::error::ApiError;
use std::cmp::Reverse;

/// Which view of an object or list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    #[default]
    Whole,
    /// `metav1.Table`, with its version.
    Table(&'static str),
    /// `PartialObjectMetadata` or its list, with its version.
    Metadata(&'static str),
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Json,
    /// JSON for people to read.
    Pretty,
    Yaml,
    /// Kubernetes' own.
    Protobuf,
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub view: View,
    pub encoding: Encoding,
    /// Whether the events of a stream are messages by themselves (of a WebSocket).
    pub messages: bool,
}

/// What can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whether the kind has a protobuf form: those that came at run time have none.
    pub protobuf: bool,
    /// Whether the answer is a stream of events, which YAML cannot be.
    pub stream: bool,
}

/// Which form of discovery is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryForm {
    Legacy,
    /// `apidiscovery.k8s.io` in this version.
    Aggregated(&'static str),
}

impl Accept {
    /// Reads the header; 406 when nothing in it can be given.
    pub fn parse(header: Option<&str>, offer: Offer) -> Result<Self, ApiError> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else { return Ok(Self::default()) };
        by_weight(header)
            .into_iter()
            .find_map(|(media, parameter)| {
                let view = match (parameter("as"), parameter("g"), parameter("v")) {
                    (None, ..) => View::Whole,
                    (Some("Table"), Some("meta.k8s.io"), version) => View::Table(meta_version(version)?),
                    (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), version) => {
                        View::Metadata(meta_version(version)?)
                    }
                    _ => return None,
                };
                if parameter("stream").is_some_and(|stream| stream != "watch" && !stream.is_empty()) {
                    return None;
                }
                let encoding = match media {
                    "application/json" | "*/*" | "application/*" if parameter("pretty") == Some("1") => Encoding::Pretty,
                    "application/json" | "*/*" | "application/*" => Encoding::Json,
                    "application/yaml" | "application/x-yaml" | "text/yaml" if !offer.stream && parameter("stream").is_none() => {
                        Encoding::Yaml
                    }
                    // Every kind's metadata has this form; tables have none.
                    "application/vnd.kubernetes.protobuf" => match view {
                        View::Whole if offer.protobuf => Encoding::Protobuf,
                        View::Metadata(_) => Encoding::Protobuf,
                        View::Whole | View::Table(_) => return None,
                    },
                    _ => return None,
                };
                Some(Self { view, encoding, messages: false })
            })
            .ok_or_else(|| ApiError::not_acceptable(offer))
    }

    /// How a `Status` is written that is no answer about a kind: as it is, in JSON where nothing else is asked for that can be given.
    pub fn of_status(header: Option<&str>) -> Self {
        Self::parse(header, Offer { protobuf: true, stream: false })
            .ok()
            .filter(|accept| accept.view == View::Whole)
            .or_else(|| {
                // An alternative without a view, as the negotiation of errors passes over the others.
                let plain: Vec<&str> = header?.split(',').filter(|alternative| !alternative.contains("as=")).collect();
                Self::parse(Some(&plain.join(",")), Offer { protobuf: true, stream: false }).ok()
            })
            .unwrap_or_default()
    }

    /// For people: JSON that is asked for with `pretty`, or by a program that shows it to them.
    #[must_use]
    pub fn for_reader(self, query: &Query, user_agent: &str) -> Self {
        let pretty = match query.first("pretty").filter(|value| !value.is_empty()) {
            Some(value) => matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE"),
            None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|program| user_agent.starts_with(program)),
        };
        let encoding = if pretty && self.encoding == Encoding::Json { Encoding::Pretty } else { self.encoding };
        Self { encoding, ..self }
    }
}

fn meta_version(version: Option<&str>) -> Option<&'static str> {
    ["v1", "v1beta1"].into_iter().find(|known| version == Some(*known))
}

/// The alternatives with the greatest weight (`q`) first, otherwise in the client's order.
fn by_weight<'a>(header: &'a str) -> Vec<(&'a str, impl Fn(&'static str) -> Option<&'a str>)> {
    let mut sorted: Vec<_> = alternatives(header).collect();
    // Thousandths, as RFC 9110 has them.
    let weight = |given: Option<&str>| given.and_then(|weight| weight.parse::<f64>().ok()).map_or(1000, |weight| (weight * 1000.0) as u32);
    sorted.sort_by_key(|(_, parameter)| Reverse(weight(parameter("q"))));
    sorted
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

    const OBJECTS: Offer = Offer { protobuf: true, stream: false };

    fn read(header: &str, offer: Offer) -> Option<(View, Encoding)> {
        Accept::parse(Some(header), offer).ok().map(|accept| (accept.view, accept.encoding))
    }

    #[test]
    fn the_first_possible_alternative_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(read(kubectl, OBJECTS), Some((View::Table("v1"), Encoding::Json)));
        let client = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(read(client, OBJECTS), Some((View::Whole, Encoding::Protobuf)));
        assert_eq!(read(client, Offer { protobuf: false, ..OBJECTS }), Some((View::Whole, Encoding::Json)));
        assert_eq!(read("application/yaml", OBJECTS), Some((View::Whole, Encoding::Yaml)));
        assert_eq!(read("application/json;q=0.5, application/yaml", OBJECTS), Some((View::Whole, Encoding::Yaml)));
        assert_eq!(read("text/html, */*;q=0.1", OBJECTS), Some((View::Whole, Encoding::Json)));
    }

    #[test]
    fn what_has_no_form_is_passed_over_or_refused() {
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(read(metadata, Offer { protobuf: false, stream: true }), Some((View::Metadata("v1"), Encoding::Protobuf)));
        assert_eq!(read("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", OBJECTS), None);
        let code = |header: &str, offer| Accept::parse(Some(header), offer).err().map(|error| error.code());
        assert_eq!(code("application/vnd.kubernetes.protobuf", Offer { protobuf: false, ..OBJECTS }), Some(406));
        assert_eq!(code("application/yaml", Offer { stream: true, ..OBJECTS }), Some(406));
        assert_eq!(code("application/json;as=Table;g=meta.k8s.io;v=v2", OBJECTS), Some(406));
    }

    #[test]
    fn a_status_has_no_view() {
        let tables = "application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml";
        assert_eq!(Accept::of_status(Some(tables)).encoding, Encoding::Yaml);
        assert_eq!(Accept::of_status(Some("text/html")), Accept::default());
        assert_eq!(Accept::of_status(Some("application/vnd.kubernetes.protobuf")).encoding, Encoding::Protobuf);
    }

    #[test]
    fn people_get_json_that_is_pretty() {
        let shown = |query: &str, agent: &str| Accept::default().for_reader(&Query::parse(query), agent).encoding;
        assert_eq!((shown("pretty=true", "x"), shown("", "curl/8.0")), (Encoding::Pretty, Encoding::Pretty));
        assert_eq!((shown("", "kubectl/v1.33"), shown("pretty=false", "Wget/1"), shown("pretty", "x")), Default::default());
        let yaml = Accept { encoding: Encoding::Yaml, ..Accept::default() };
        assert_eq!(yaml.for_reader(&Query::parse("pretty=1"), "").encoding, Encoding::Yaml);
    }

    #[test]
    fn aggregated_discovery_is_given_to_who_asks() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(DiscoveryForm::parse(Some(kubectl)), DiscoveryForm::Aggregated("v2"));
        assert_eq!(DiscoveryForm::parse(Some("application/json, */*")), DiscoveryForm::Legacy);
        assert_eq!(DiscoveryForm::parse(None), DiscoveryForm::Legacy);
    }
}
