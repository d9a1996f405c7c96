//! IP addresses and prefixes: Kubernetes' own libraries (`apiserver/pkg/cel/library/{ip,cidr}.go`). Addresses are written strictly: no leading zeros,
//! no zone, no IPv4 in IPv6.

use super::{Evaluated, Library, text};
use crate::budget::{Budget, tenth};
use crate::error::EvalError;
use crate::value::Value;
use std::fmt;
use std::net::IpAddr;

pub const LIBRARY: Library = &[
    ("ip", "(string) -> net.IP; net.CIDR.() -> net.IP", ip),
    ("isIP", "(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(parse_ip(text(args, 0)?).is_ok()))
    }),
    ("ip.isCanonical", "(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len() * 2)?;
        let of = text(args, 0)?;
        Ok(Value::Bool(parse_ip(of).map_err(EvalError::Other)?.to_string() == of))
    }),
    ("family", "net.IP.() -> int", |budget, args| of_ip(budget, args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 }))),
    ("isUnspecified", "net.IP.() -> bool", |budget, args| of_ip(budget, args, |ip| Value::Bool(ip.is_unspecified()))),
    ("isLoopback", "net.IP.() -> bool", |budget, args| of_ip(budget, args, |ip| Value::Bool(ip.is_loopback()))),
    ("isLinkLocalMulticast", "net.IP.() -> bool", |budget, args| of_ip(budget, args, |ip| Value::Bool(link_local_multicast(ip)))),
    ("isLinkLocalUnicast", "net.IP.() -> bool", |budget, args| of_ip(budget, args, |ip| Value::Bool(link_local_unicast(ip)))),
    ("isGlobalUnicast", "net.IP.() -> bool", |budget, args| {
        of_ip(budget, args, |ip| {
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            Value::Bool(!(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local_unicast(ip)))
        })
    }),
    ("cidr", "(string) -> net.CIDR", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Cidr::parse(text(args, 0)?).map(Value::Cidr).map_err(EvalError::Other)
    }),
    ("isCIDR", "(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(Cidr::parse(text(args, 0)?).is_ok()))
    }),
    ("prefixLength", "net.CIDR.() -> int", |budget, args| of_cidr(budget, args, |cidr| Value::Int(cidr.length.into()))),
    ("masked", "net.CIDR.() -> net.CIDR", |budget, args| of_cidr(budget, args, |cidr| Value::Cidr(cidr.masked()))),
    ("containsIP", "net.CIDR.(net.IP) -> bool; net.CIDR.(string) -> bool", contains_ip),
    ("containsCIDR", "net.CIDR.(net.CIDR) -> bool; net.CIDR.(string) -> bool", contains_cidr),
];

/// An address with the length of its prefix; bits after the prefix may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let wrong = |why: &str| format!("IP Address {text:.64?} parse error during conversion from string: {why}");
    match text.parse() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => Err(wrong("IPv4-mapped IPv6 address is not allowed")),
        Ok(ip) => Ok(ip),
        Err(_) if text.contains('%') => Err(wrong("IP address with zone value is not allowed")),
        Err(_) => Err(wrong("unable to parse IP")),
    }
}

impl Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("network address parse error during conversion from string: {text:.64?}: {why}");
        let (address, length) = text.split_once('/').ok_or_else(|| wrong("no '/'"))?;
        let address = parse_ip(address)?;
        let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.parse().ok().filter(|length: &u8| plain && *length <= most).ok_or_else(|| wrong("bad prefix length"))?;
        Ok(Self { address, length })
    }

    fn masked(self) -> Self {
        Self { address: mask(self.address, self.length), ..self }
    }

    fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.address.is_ipv4() && mask(ip, self.length) == mask(self.address, self.length)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The address with all bits after the prefix cleared.
fn mask(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).into()),
    }
}

fn link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn ip<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::Cidr(cidr)] => {
            budget.charge(1)?;
            Ok(Value::Ip(cidr.address))
        }
        [Value::String(of)] => {
            budget.traverse(of.len())?;
            parse_ip(of).map(Value::Ip).map_err(EvalError::Other)
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn of_ip<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(IpAddr) -> Value<'a>) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Ip(ip)] => Ok(of(*ip)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn of_cidr<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(Cidr) -> Value<'a>) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Cidr(cidr)] => Ok(of(*cidr)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn contains_ip<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(4)?;
    match args {
        [Value::Cidr(cidr), Value::Ip(ip)] => Ok(Value::Bool(cidr.contains(*ip))),
        [Value::Cidr(cidr), Value::String(of)] => {
            budget.charge(tenth(of.len()))?;
            Ok(Value::Bool(cidr.contains(parse_ip(of).map_err(EvalError::Other)?)))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn contains_cidr<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(7)?;
    let within = |outer: &Cidr, inner: Cidr| Value::Bool(outer.length <= inner.length && outer.contains(inner.address));
    match args {
        [Value::Cidr(outer), Value::Cidr(inner)] => Ok(within(outer, *inner)),
        [Value::Cidr(outer), Value::String(of)] => {
            budget.charge(tenth(of.len()))?;
            Ok(within(outer, Cidr::parse(of).map_err(EvalError::Other)?))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}
