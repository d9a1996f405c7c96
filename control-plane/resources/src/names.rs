//! Formats of names, keys, ports and addresses with the API's wording. Hand-written scanners: nothing is compiled or allocated for a
//! value that is right. What is checked where is the kinds' business.

use std::net::IpAddr;

/// What `metadata.name` must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Anything that can be one segment of a URL path.
    PathSegment,
    /// An IP address in the one form that names it.
    Address,
}

const LABEL_FORM: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORM: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const NAME_FORM: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const NAME_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

impl NameRule {
    /// Complaints about `name`; with `prefix`, a trailing dash is taken for the part that the server generates.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let name = if prefix && name.len() > 1 && name.ends_with('-') {
            masked = format!("{}a", &name[..name.len() - 1]);
            &masked
        } else {
            name
        };
        match self {
            Self::Subdomain => subdomain(name),
            Self::Label => label(name),
            Self::Label1035 => label_1035(name),
            Self::PathSegment => path_segment(name, prefix),
            // The server makes up no part of an address.
            Self::Address => address(name),
        }
    }
}

/// RFC 1123 label: at most 63 characters.
pub fn label(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 63);
    if !is_label(value) {
        found.push(form(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            LABEL_FORM,
            &["my-name", "123-abc"],
        ));
    }
    found
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub fn subdomain(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 253);
    if !value.split('.').all(is_label) {
        found.push(form(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FORM,
            &["example.com"],
        ));
    }
    found
}

/// `*.` and a subdomain.
pub fn wildcard_subdomain(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 253);
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        found.push(form(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{SUBDOMAIN_FORM}"),
            &["*.example.com"],
        ));
    }
    found
}

/// RFC 1035 label: starts with a letter.
pub fn label_1035(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 63);
    if !is_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        found.push(form(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    found
}

/// Name that can stand between slashes of a URL.
pub fn path_segment(value: &str, prefix: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !prefix && matches!(value, "." | "..") {
        found.push(format!("may not be '{value}'"));
    }
    for c in ['/', '%'] {
        if value.contains(c) {
            found.push(format!("may not contain '{c}'"));
        }
    }
    found
}

/// Keys of labels, annotations and the like: `[prefix/]name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    let (prefix, name) = match value.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            let examples = &["MyName", "my.name", "123-abc"];
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                form(NAME_TEXT, NAME_FORM, examples)
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, value),
    };
    let mut found = Vec::new();
    match prefix {
        Some("") => found.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => found.extend(subdomain(prefix).into_iter().map(|text| format!("prefix part {text}"))),
        None => {}
    }
    if name.is_empty() {
        found.push("name part must be non-empty".to_owned());
    } else {
        found.extend(longer_than(name, 63).into_iter().map(|text| format!("name part {text}")));
    }
    if !is_name(name) {
        found.push(format!("name part {}", form(NAME_TEXT, NAME_FORM, &["MyName", "my.name", "123-abc"])));
    }
    found
}

/// Values of labels.
pub fn label_value(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 63);
    if !value.is_empty() && !is_name(value) {
        found.push(form(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    found
}

/// Keys of ConfigMaps and Secrets, which become file names.
pub fn config_key(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 253);
    if value.is_empty() || !value.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')) {
        found.push(form(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." => found.push("must not be '.'".to_owned()),
        ".." => found.push("must not be '..'".to_owned()),
        _ if value.starts_with("..") => found.push("must not start with '..'".to_owned()),
        _ => {}
    }
    found
}

/// Names of environment variables (the relaxed rule: printable ASCII without `=`).
pub fn env_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        return Vec::new();
    }
    vec![format!(
        "a valid environment variable name must consist only of printable ASCII characters other than '=' (regex used for validation is '{}')",
        "^[ -<>-~]+$"
    )]
}

/// Names of ports (RFC 6335 service names).
pub fn port_name(value: &str) -> Vec<String> {
    let mut found = longer_than(value, 15);
    if !value.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|c| c.is_ascii_lowercase()) {
        found.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        found.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        found.push("must not begin or end with a hyphen".to_owned());
    }
    found
}

/// Ports 1 to 65535.
pub fn port_number(value: i32) -> Option<String> {
    (!(1..=65535).contains(&value)).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

/// Names of HTTP headers.
pub fn http_header(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    vec![form("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// `25%`
pub fn percent(value: &str) -> Option<String> {
    let right = value.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
    (!right).then(|| form("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"]))
}

/// The address, or what is wrong with it.
pub fn ip(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned())
}

/// An IP address in its canonical form (RFC 5952 for IPv6), as fields that never took another form ask for it.
pub fn address(value: &str) -> Vec<String> {
    match value.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => vec!["must not be an IPv4-mapped IPv6 address".to_owned()],
        Ok(address) => not_canonical(value, &address.to_string()),
        Err(_) if has_leading_zeros(value) => vec!["must not have leading 0s".to_owned()],
        Err(_) => ip(value).err().into_iter().collect(),
    }
}

/// A network in its canonical form, as fields that never took another form ask for it.
pub fn network(value: &str) -> Vec<String> {
    let Some((address, length)) = value.split_once('/') else { return cidr(value).err().into_iter().collect() };
    let is_padded = length.len() > 1 && length.starts_with('0') && length.bytes().all(|digit| digit.is_ascii_digit());
    if is_padded || has_leading_zeros(address) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    let network = match cidr(value) {
        Ok(network) => network,
        Err(why) => return vec![why],
    };
    if matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    if network != network.trunc() {
        return vec!["must not have bits set beyond the prefix length".to_owned()];
    }
    not_canonical(value, &network.to_string())
}

fn not_canonical(value: &str, canonical: &str) -> Vec<String> {
    if value == canonical { Vec::new() } else { vec![format!("must be in canonical form ({canonical:?})")] }
}

/// Whether it would be an IPv4 address but for zeros before its numbers.
fn has_leading_zeros(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let is_byte = |part: &&str| part.trim_start_matches('0').parse::<u8>().is_ok() || part.trim_start_matches('0').is_empty();
    let is_padded = |part: &&str| part.len() > 1 && part.starts_with('0');
    parts.len() == 4 && parts.iter().all(|part| is_number(part) && is_byte(part)) && parts.iter().any(is_padded)
}

/// The network, or what is wrong with it.
pub fn cidr(value: &str) -> Result<ipnet::IpNet, String> {
    value.parse().map_err(|_| "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned())
}

/// The network in a form that nobody reads in two ways, or what is wrong with it: no leading zeros, no zone, no IPv4 address as an IPv6 one
/// (CEL's `isCIDR`). Bits beyond the prefix may be set.
pub fn canonical_cidr(value: &str) -> Result<ipnet::IpNet, String> {
    let network = cidr(value)?;
    let (address, length) = value.split_once('/').unwrap_or((value, ""));
    // The standard library's parser takes no leading zeros, ipnet's does.
    let two_ways = match address.parse() {
        Ok(IpAddr::V4(_)) => false,
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().is_some(),
        Err(_) => true,
    };
    if two_ways || length != network.prefix_len().to_string() {
        return Err("must be a valid CIDR value without leading zeros, and not of an IPv4 address in IPv6 form".to_owned());
    }
    Ok(network)
}

/// What to tell of a range that [`cidr`] takes and that is not in the one form that everybody reads alike (KEP-4858).
pub fn cidr_warnings(at: &str, value: &str) -> Vec<String> {
    let Ok(network) = cidr(value) else { return Vec::new() };
    // An IPv4 range in IPv6 form is meant as what it is.
    let network = match network {
        ipnet::IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(network, ipnet::IpNet::V4),
            None => network,
        },
        _ => network,
    };
    let whole = network.trunc();
    let mut found = Vec::new();
    if network != whole {
        let single = format!("{}/{}", network.addr(), network.max_prefix_len());
        found.push(format!("{at}: CIDR value {value:?} is ambiguous in this context (should be \"{whole}\" or {single:?}?)"));
    }
    if canonical_cidr(value).is_err() {
        found.push(format!(
            "{at}: non-standard CIDR value {value:?} will be considered invalid in a future Kubernetes release: use \"{whole}\""
        ));
    }
    if found.is_empty() && network.to_string() != value {
        found.push(format!("{at}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format (\"{network}\")"));
    }
    found
}

/// A complaint about a form: text, examples, the expression that defines it.
pub fn form(text: &str, expression: &str, examples: &[&str]) -> String {
    let mut shown = String::new();
    for (i, example) in examples.iter().enumerate() {
        shown.push_str(if i == 0 { "e.g. " } else { " or " });
        shown.push_str(&format!("'{example}', "));
    }
    format!("{text} ({shown}regex used for validation is '{expression}')")
}

/// A complaint when `value` has more than `max` bytes.
pub fn longer_than(value: &str, max: usize) -> Vec<String> {
    if value.len() > max { vec![format!("must be no more than {max} bytes")] } else { Vec::new() }
}

fn is_label(value: &str) -> bool {
    let bytes = value.as_bytes();
    let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && bytes.iter().all(|c| plain(c) || *c == b'-')
}

fn is_name(value: &str) -> bool {
    let bytes = value.as_bytes();
    let plain = u8::is_ascii_alphanumeric;
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && bytes.iter().all(|c| plain(c) || matches!(c, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_names_pass_and_wrong_ones_do_not() {
        type Check = fn(&str) -> Vec<String>;
        let cases: &[(Check, &[&str], &[&str])] = &[
            (label, &["a", "a-b", "0", "x1"], &["", "-a", "a-", "A", "a.b", "a_b", "ä"]),
            (subdomain, &["a", "a.b", "a-b.c1"], &["", ".", "a.", ".a", "a..b", "A.b", "a.-b"]),
            (label_1035, &["a", "a1", "a-b"], &["", "1a", "-a", "a-", "a.b"]),
            (qualified_name, &["a", "A_b.c", "example.com/x"], &["", "/a", "a/", "a/b/c", "-a", "Ex.com/x", "a b"]),
            (label_value, &["", "a", "A_1.x"], &["-a", "a-", "a/b", "a b"]),
            (config_key, &["a", ".a", "a.B_c-1", "b"], &["", ".", "..", "..a", "a/b"]),
            (env_name, &["A", "a.b", "with space"], &["", "A=B", "\n"]),
            (port_name, &["http", "a-1", "1a"], &["", "1", "-a", "a-", "a--b", "HTTP", "sixteen-letters-"]),
            (http_header, &["X-A", "a1"], &["", "a b", "a_b"]),
            (wildcard_subdomain, &["*.a", "*.a.b"], &["*", "a", "*.", "*.*.a"]),
        ];
        for (i, (check, right, wrong)) in cases.iter().enumerate() {
            for value in *right {
                assert_eq!(check(value), Vec::<String>::new(), "case {i}: {value:?}");
            }
            for value in *wrong {
                assert!(!check(value).is_empty(), "case {i}: {value:?}");
            }
        }
    }

    #[test]
    fn complaints_are_worded_as_the_api_does() {
        assert_eq!(
            label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(port_number(0).as_deref(), Some("must be between 1 and 65535, inclusive"));
    }

    #[test]
    fn addresses_and_networks_have_one_form() {
        for (value, expected) in [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            ("", Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")),
            ("a", Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")),
            ("10.0.0.256", Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")),
            ("10.0.0.01", Some("must not have leading 0s")),
            ("::ffff:10.0.0.1", Some("must not be an IPv4-mapped IPv6 address")),
            ("2001:DB8::1", Some("must be in canonical form (\"2001:db8::1\")")),
            ("2001:db8:0:0:0:0:0:1", Some("must be in canonical form (\"2001:db8::1\")")),
        ] {
            assert_eq!(address(value), expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{value}");
        }
        for (value, expected) in [
            ("10.0.0.0/16", None),
            ("2001:db8::/64", None),
            ("10.0.0.0", Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")),
            ("10.0.0.0/33", Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")),
            ("10.0.0.0/016", Some("must not have leading 0s in IP or prefix length")),
            ("010.0.0.0/16", Some("must not have leading 0s in IP or prefix length")),
            ("10.0.0.1/16", Some("must not have bits set beyond the prefix length")),
            ("::ffff:10.0.0.0/112", Some("must not have an IPv4-mapped IPv6 address")),
            ("2001:DB8::/64", Some("must be in canonical form (\"2001:db8::/64\")")),
        ] {
            assert_eq!(network(value), expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{value}");
        }
    }

    #[test]
    fn ranges_in_odd_forms_are_warned_of() {
        for (value, warnings) in [
            ("10.0.0.0/8", &[][..]),
            ("2001:db8::/64", &[]),
            ("nonsense", &[]),
            (
                "192.12.2.8/24",
                &["a: CIDR value \"192.12.2.8/24\" is ambiguous in this context (should be \"192.12.2.0/24\" or \"192.12.2.8/32\"?)"],
            ),
            (
                "10.0.0.0/08",
                &[
                    "a: non-standard CIDR value \"10.0.0.0/08\" will be considered invalid in a future Kubernetes release: use \"10.0.0.0/8\"",
                ],
            ),
            (
                "192.012.2.8/24",
                &[
                    "a: CIDR value \"192.012.2.8/24\" is ambiguous in this context (should be \"192.12.2.0/24\" or \"192.12.2.8/32\"?)",
                    "a: non-standard CIDR value \"192.012.2.8/24\" will be considered invalid in a future Kubernetes release: use \"192.12.2.0/24\"",
                ],
            ),
            (
                "::ffff:192.12.2.0/120",
                &[
                    "a: non-standard CIDR value \"::ffff:192.12.2.0/120\" will be considered invalid in a future Kubernetes release: use \"192.12.2.0/24\"",
                ],
            ),
            ("2001:db8:0:0::/64", &["a: IPv6 CIDR value \"2001:db8:0:0::/64\" should be in RFC 5952 canonical format (\"2001:db8::/64\")"]),
        ] {
            assert_eq!(cidr_warnings("a", value), warnings);
        }
    }

    #[test]
    fn a_generated_name_may_end_in_a_dash() {
        assert!(NameRule::Label.check("web-", true).is_empty());
        assert!(!NameRule::Label.check("web-", false).is_empty());
    }
}
