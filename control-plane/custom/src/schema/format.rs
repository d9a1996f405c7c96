//! Formats of texts that schemas may ask for. Others are passed over, as in Kubernetes.

use super::{Type, Types};
use orknet_resources::quantity::Quantity;
use regex::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// A format that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    BsonObjectId,
    Byte,
    Cidr,
    CreditCard,
    Date,
    DateTime,
    Duration,
    Email,
    HexColor,
    Hostname,
    Ipv4,
    Ipv6,
    Isbn,
    Isbn10,
    Isbn13,
    Mac,
    Password,
    Quantity,
    RgbColor,
    Ssn,
    Uri,
    Uuid,
    Uuid3,
    Uuid4,
    Uuid5,
}

impl Format {
    /// What a schema's `format` asks of values of its type: its name, and the format of texts. `None`: it is not known, and asks nothing.
    pub fn supported(name: &str, types: Types) -> Option<(&str, Option<Self>)> {
        match types {
            Types::Any | Types::IntOrString | Types::One(Type::String) => Self::of(name).map(|format| (name, Some(format))),
            Types::One(Type::Integer) => matches!(name, "int32" | "int64").then_some((name, None)),
            Types::One(Type::Number) => matches!(name, "float" | "double").then_some((name, None)),
            Types::One(_) => None,
        }
    }

    /// Dashes in names do not matter.
    fn of(name: &str) -> Option<Self> {
        Some(match &name.replace('-', "")[..] {
            "bsonobjectid" => Self::BsonObjectId,
            "byte" => Self::Byte,
            "cidr" => Self::Cidr,
            "creditcard" => Self::CreditCard,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "duration" => Self::Duration,
            "email" => Self::Email,
            "hexcolor" => Self::HexColor,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "isbn" => Self::Isbn,
            "isbn10" => Self::Isbn10,
            "isbn13" => Self::Isbn13,
            "mac" => Self::Mac,
            "password" => Self::Password,
            "quantity" => Self::Quantity,
            "rgbcolor" => Self::RgbColor,
            "ssn" => Self::Ssn,
            "uri" => Self::Uri,
            "uuid" => Self::Uuid,
            "uuid3" => Self::Uuid3,
            "uuid4" => Self::Uuid4,
            "uuid5" => Self::Uuid5,
            _ => return None,
        })
    }

    /// Whether the text has the format.
    pub fn allows(self, text: &str) -> bool {
        match self {
            Self::BsonObjectId => text.len() == 24 && text.bytes().all(|digit| digit.is_ascii_hexdigit()),
            Self::Byte => BASE64.is_match(text),
            Self::Cidr => text.parse::<ipnet::IpNet>().is_ok(),
            Self::CreditCard => is_credit_card(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Duration => orknet_cel::parse_duration(text).is_some(),
            Self::Email => is_email(text),
            Self::HexColor => HEX_COLOR.is_match(text),
            Self::Hostname => text.len() <= 255 && HOSTNAME.is_match(text) && text.split('.').all(|label| label.len() <= 63),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok() || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok()),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Isbn => is_isbn_10(text) || is_isbn_13(text),
            Self::Isbn10 => is_isbn_10(text),
            Self::Isbn13 => is_isbn_13(text),
            Self::Mac => is_mac(text),
            Self::Password => true,
            Self::Quantity => Quantity::parse(text).is_ok(),
            Self::RgbColor => RGB_COLOR.is_match(text),
            Self::Ssn => text.len() == 11 && SSN.is_match(text),
            Self::Uri => orknet_cel::Url::parse(text).is_some(),
            Self::Uuid => UUID.is_match(text),
            Self::Uuid3 => UUID3.is_match(text),
            Self::Uuid4 => UUID4.is_match(text),
            Self::Uuid5 => UUID5.is_match(text),
        }
    }
}

macro_rules! expressions {
    ($($name:ident: $text:expr;)*) => {
        // Constants that a test compiles.
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a valid expression"));)*

        #[cfg(test)]
        fn compile_all() {
            $(LazyLock::force(&$name);)*
        }
    };
}

expressions! {
    BASE64: r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$";
    CREDIT_CARD: r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11}|6[27][0-9]{14})$";
    TIME: r"(?i)^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$";
    HEX_COLOR: r"^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$";
    HOSTNAME: r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z0-9\p{S}\p{L}])(-?[a-zA-Z0-9\p{S}\p{L}]){1,62})$";
    RGB_COLOR: r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$";
    SSN: r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$";
    UUID: r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    UUID3: r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    UUID4: r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
    UUID5: r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
    ADDRESS: r#"^(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x{80}-\x{10FFFF}]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x{80}-\x{10FFFF}]+)*|"(?:[^"\\\r\n]|\\.)*")@(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x{80}-\x{10FFFF}]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x{80}-\x{10FFFF}]+)*|\[[^\[\]\\]*\])$"#;
}

/// RFC 3339 `full-date`.
fn is_date(text: &str) -> bool {
    let number =
        |range: std::ops::Range<usize>| text.get(range).filter(|part| part.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok();
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else { return false };
    let year: u32 = year;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-' && (1..=days).contains(&day)
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else { return false };
    let Some(parts) = TIME.captures(time) else { return false };
    is_date(date) && &parts[1] <= "23" && &parts[2] <= "59" && &parts[3] <= "59"
}

/// An address, alone or as `Name <address>` (RFC 5322).
fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => !name.contains(['<', '>', '@', '\r', '\n']) && ADDRESS.is_match(address),
        None => ADDRESS.is_match(text),
    }
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|sign| sign.to_digit(10)).collect()
}

/// One of the known number ranges, with the right check digit (Luhn).
fn is_credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum: u32 = digits(&number)
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { *digit })
        .sum();
    CREDIT_CARD.is_match(&number) && sum.is_multiple_of(10)
}

fn without_breaks(text: &str) -> String {
    text.chars().filter(|sign| !matches!(sign, '-' | ' ' | '\t')).collect()
}

fn is_isbn_10(text: &str) -> bool {
    let number = without_breaks(text);
    let Some((body, check)) = number.split_at_checked(9) else { return false };
    let check = match check {
        "X" => 10,
        check => match check.parse::<u32>() {
            Ok(digit) if check.len() == 1 => digit,
            _ => return false,
        },
    };
    let sum: u32 = digits(body).iter().zip(1..).map(|(digit, place)| digit * place).sum::<u32>() + check * 10;
    body.bytes().all(|digit| digit.is_ascii_digit()) && sum.is_multiple_of(11)
}

fn is_isbn_13(text: &str) -> bool {
    let number = without_breaks(text);
    let sum: u32 = digits(&number).iter().enumerate().map(|(place, digit)| digit * if place % 2 == 0 { 1 } else { 3 }).sum();
    number.len() == 13 && number.bytes().all(|digit| digit.is_ascii_digit()) && sum.is_multiple_of(10)
}

/// 6, 8 or 20 bytes, as `00:00:5e:00:53:01`, `00-00-5e-00-53-01` or `0000.5e00.5301`.
fn is_mac(text: &str) -> bool {
    let (separator, width) = match text {
        _ if text.contains(':') => (':', 2),
        _ if text.contains('-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let right = |group: &&str| group.len() == width && group.bytes().all(|digit| digit.is_ascii_hexdigit());
    groups.iter().all(right) && matches!(groups.len() * width / 2, 6 | 8 | 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_texts_that_it_allows_and_others_that_it_does_not() {
        compile_all();
        for (name, right, wrong) in [
            ("bsonobjectid", &["507f1f77bcf86cd799439011"][..], &["507f1f77bcf86cd79943901", "507f1f77bcf86cd79943901z"][..]),
            ("byte", &["Zm9v", "Zm8="], &["", "Zm8", "Z m9"]),
            ("cidr", &["10.0.0.0/8", "10.1.2.3/8", "fd00::/8"], &["10.0.0.0", "10.0.0.0/33"]),
            ("credit-card", &["4111-1111-1111-1111"], &["4111-1111-1111-1112", "1"]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-13-01", "24-1-1", "2024-02-291"]),
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
                &["2014-12-15", "2014-12-15T24:30:20Z", "2014-12-15T19:30:20"],
            ),
            ("duration", &["1h30m", "22 ns", "-1.5s", "3 days", "0"], &["", "1", "fast", "3 parsecs"]),
            ("email", &["a@b.c", "Ann <a@b>", "\"a b\"@c"], &["a", "a@", "@b", "a b@c", "Ann <a>"]),
            ("hexcolor", &["#FFFFFF", "abc"], &["#FFFF", "#ggg"]),
            ("hostname", &["a.example.org", "localhost", "1a.bc"], &["-a", "a_b.org", "a..b", ""]),
            ("ipv4", &["1.2.3.4"], &["1.2.3", "1.2.3.04", "::1"]),
            ("ipv6", &["::1", "::ffff:1.2.3.4"], &["1.2.3.4", "::g"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044", "978-0321751042"]),
            ("isbn10", &["0-321-75104-3", "080442957X"], &["978-0321751041"]),
            ("isbn13", &["978-0321751041"], &["0321751043"]),
            ("mac", &["00:00:5e:00:53:01", "0000.5e00.5301", "02-00-5e-10-00-00-00-01"], &["00:00:5e:00:53", "00:00-5e:00:53:01", "x"]),
            ("password", &["", "anything"], &[]),
            ("quantity", &["10Gi", "0.5"], &["ten", ""]),
            ("rgbcolor", &["rgb(0,31,255)"], &["rgb(0,31,256)", "0,31,255"]),
            ("ssn", &["111-22-3333", "111 22 3333"], &["111-22-333", "111223333"]),
            ("uri", &["https://a.b:80/c?d", "/a", "mailto:x", "http://[::1]:8/"], &["", "a", "http://a b", "http://a:b/", "/%zz"]),
            ("uuid", &["a8098c1a-f86e-11da-bd1a-00112444be1e", "A8098C1AF86E11DABD1A00112444BE1E"], &["a8098c1a"]),
            ("uuid3", &["6fa459ea-ee8a-3ca4-894e-db77e160355e"], &["6fa459ea-ee8a-4ca4-894e-db77e160355e"]),
            ("uuid4", &["16fd2706-8baf-433b-82eb-8c7fada847da"], &["16fd2706-8baf-333b-82eb-8c7fada847da"]),
            ("uuid5", &["886313e1-3b8a-5372-9b90-0c9aee199e5d"], &["886313e1-3b8a-4372-9b90-0c9aee199e5d"]),
        ] {
            let (_, format) = Format::supported(name, Types::One(Type::String)).expect("known");
            let format = format.expect("of texts");
            right.iter().for_each(|text| assert!(format.allows(text), "{name}: {text}"));
            wrong.iter().for_each(|text| assert!(!format.allows(text), "{name}: {text}"));
        }
    }

    #[test]
    fn formats_that_are_not_known_or_not_of_the_type_ask_nothing() {
        assert_eq!(Format::supported("int32", Types::One(Type::Integer)), Some(("int32", None)));
        for (name, types) in [
            ("int32", Types::One(Type::String)),
            ("date", Types::One(Type::Integer)),
            ("k8s-short-name", Types::One(Type::String)),
            ("x", Types::Any),
        ] {
            assert_eq!(Format::supported(name, types), None, "{name}");
        }
    }
}
