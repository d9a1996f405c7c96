//! What a monitor wants to hear.

use super::line::{End, Happened, Verdict};
use serde::{Deserialize, Serialize};

/// All that is said must hold; an empty filter lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// A pod of one end is in this namespace, or the Service is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A pod of one end is called so; `namespace/name` is one pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// A port of one end, or of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// By name or number, in upper or lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

impl Filter {
    /// Whether flows that are opened can be of interest.
    pub fn wants_flows(&self) -> bool {
        self.verdict != Some(Verdict::Dropped)
    }

    /// Whether drops can be.
    pub fn wants_drops(&self) -> bool {
        self.verdict != Some(Verdict::Allowed)
    }

    /// Whether this is of interest.
    pub fn admits(&self, happened: &Happened) -> bool {
        let ends = [&happened.client, &happened.server];
        let has_pod = |is_meant: &dyn Fn(&str, &str) -> bool| {
            ends.iter().filter_map(|end| end.pod.as_ref()).any(|pod| is_meant(&pod.namespace, &pod.name))
        };
        let service = happened.service.as_ref();
        let in_namespace =
            |wanted: &String| has_pod(&|namespace, _| namespace == wanted) || service.is_some_and(|service| service.namespace == *wanted);
        let is_pod = |wanted: &String| match wanted.split_once('/') {
            Some(wanted) => has_pod(&|namespace, name| (namespace, name) == wanted),
            None => has_pod(&|_, name| name == wanted),
        };
        let has_port = |wanted: u16| {
            let of_end = |end: &&End| end.port == Some(wanted);
            ends.iter().any(of_end) || service.is_some_and(|service| service.port == Some(wanted))
        };
        self.namespace.as_ref().is_none_or(in_namespace)
            && self.pod.as_ref().is_none_or(is_pod)
            && self.verdict.is_none_or(|wanted| happened.verdict == wanted)
            && self.port.is_none_or(has_port)
            && self.protocol.as_ref().is_none_or(|wanted| is_protocol(wanted, &happened.protocol))
    }
}

/// By its name, or by its number (IANA).
fn is_protocol(wanted: &str, name: &str) -> bool {
    wanted.eq_ignore_ascii_case(name) || wanted.parse().is_ok_and(|number: u8| super::line::protocol_name(number) == name)
}

#[cfg(test)]
mod tests {
    use super::super::samples::dropped;
    use super::*;

    fn admits(change: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.admits(&dropped())
    }

    #[test]
    fn each_condition_lets_through_what_it_names_and_nothing_else() {
        assert!(admits(|_| {}));
        for (namespace, is_admitted) in [("shop", true), ("web", true), ("front", true), ("other", false)] {
            assert_eq!(admits(|filter| filter.namespace = Some(namespace.into())), is_admitted, "{namespace}");
        }
        for (pod, is_admitted) in
            [("client", true), ("shop/client", true), ("server", true), ("web/client", false), ("shop/server", false), ("cli", false)]
        {
            assert_eq!(admits(|filter| filter.pod = Some(pod.into())), is_admitted, "{pod}");
        }
        for (port, is_admitted) in [(40_000, true), (8_080, true), (80, true), (81, false)] {
            assert_eq!(admits(|filter| filter.port = Some(port)), is_admitted, "{port}");
        }
        for (protocol, is_admitted) in [("TCP", true), ("tcp", true), ("6", true), ("udp", false), ("17", false), ("6x", false)] {
            assert_eq!(admits(|filter| filter.protocol = Some(protocol.into())), is_admitted, "{protocol}");
        }
        assert!(admits(|filter| filter.verdict = Some(Verdict::Dropped)));
        assert!(!admits(|filter| filter.verdict = Some(Verdict::Allowed)));
    }

    #[test]
    fn all_conditions_must_hold() {
        assert!(!admits(|filter| (filter.port, filter.namespace) = (Some(80), Some("other".into()))));
        assert!(admits(|filter| (filter.port, filter.namespace) = (Some(80), Some("web".into()))));
    }

    #[test]
    fn a_condition_that_is_not_known_is_no_subscription() {
        assert!(serde_json::from_str::<Filter>(r#"{"verdict":"dropped","pod":"a"}"#).is_ok());
        assert!(serde_json::from_str::<Filter>(r#"{"pots":80}"#).is_err());
        assert!(serde_json::from_str::<Filter>("\"status\"").is_err());
    }
}
