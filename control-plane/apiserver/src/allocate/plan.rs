//! Which addresses and ports a Service gets, keeps and gives back: a pure function of its old and new state and of what is taken.
//!
//! Rules: KEP-563 (dual-stack), `ServiceSpec.clusterIPs`, `ipFamilies`, `ipFamilyPolicy`, `ports[].nodePort`, `healthCheckNodePort`.

use super::pool;
use super::service::{self, Held};
use crate::object;
use ipnet::IpNet;
use orknet_resources::{Cause, FieldError};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What can be given out.
pub struct Ranges<'a> {
    /// Of the server's settings: they say which families there are, and which is the first.
    pub configured: &'a [IpNet],
    /// Those from which addresses are given now, of any family, the first to be used first.
    pub cidrs: &'a [IpNet],
    pub node_ports: RangeInclusive<u16>,
}

/// What the transaction of the Service must claim and release.
#[derive(Debug, PartialEq, Eq)]
pub struct Delta {
    pub claimed: Held,
    pub released: Held,
}

/// Why a Service gets nothing.
#[derive(Debug)]
pub enum Refused {
    /// It asks for what it cannot have.
    Invalid(Vec<FieldError>),
    /// There is nothing left, or the port for health is not to be had: no fault of a field, says the API.
    Internal(String),
}

impl From<Vec<FieldError>> for Refused {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors)
    }
}

/// Fills in `new` and tells the difference to what `old` holds. `taken…` answer whether anybody holds a thing; `seed` decides which free one is chosen.
pub fn plan(
    old: Option<&Value>,
    new: &mut Value,
    ranges: &Ranges<'_>,
    address_taken: &dyn Fn(IpAddr) -> bool,
    port_taken: &dyn Fn(u16) -> bool,
    seed: u64,
) -> Result<Delta, Refused> {
    let holds = old.map(service::held).unwrap_or_default();
    if let Some(old) = old {
        keep_addresses(old, new);
    }
    addresses(old, new, ranges, address_taken, &holds, seed)?;
    ports(new, ranges, &|port| port_taken(port) && !holds.ports.contains(&port), seed)?;
    let wants = service::held(new);
    Ok(Delta { claimed: wants.without(&holds), released: holds.without(&wants) })
}

/// A client that replaces a Service without the addresses it was given keeps them; the kind has done so for its ports.
fn keep_addresses(old: &Value, new: &mut Value) {
    let (was, is) = (service::kind(old).to_owned(), service::kind(new).to_owned());
    if was != "ExternalName" && is != "ExternalName" {
        let old_ips: Vec<String> = service::cluster_ips(old).into_iter().map(str::to_owned).collect();
        let list = object::strings(new.pointer("/spec/clusterIPs")).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let one = object::text(new, "/spec/clusterIP").to_owned();
        let old_one = old_ips.first().cloned().unwrap_or_default();
        if one.is_empty() && list.is_empty() {
            set_ips(new, &old_ips);
        } else if !one.is_empty() && list == old_ips && one != old_one {
            // Only the old field was changed: the list follows.
            set_ips(new, &[one]);
        } else if one == old_one && !list.is_empty() && list.first() != Some(&one) {
            set_ips(new, &list);
        }
    }
}

fn addresses(
    old: Option<&Value>,
    new: &mut Value,
    ranges: &Ranges<'_>,
    taken: &dyn Fn(IpAddr) -> bool,
    holds: &Held,
    seed: u64,
) -> Result<(), Refused> {
    if service::kind(new) == "ExternalName" {
        let was_other = old.is_some_and(|old| service::kind(old) != "ExternalName");
        let spec = object::map_at(new, "spec");
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        if was_other {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        return Ok(());
    }
    let families = families(new, ranges)?;
    object::map_at(new, "spec").insert("ipFamilies".into(), json!(families));
    if service::is_headless(new) {
        set_ips(new, &["None".to_owned()]);
        return Ok(());
    }
    let mut ips: Vec<String> = service::cluster_ips(new).into_iter().map(str::to_owned).collect();
    // A Service that is no longer dual-stack gives its second address back.
    ips.truncate(families.len());
    for (index, text) in ips.iter().enumerate() {
        let field = if index == 0 && object::strings(new.pointer("/spec/clusterIPs")).is_empty() {
            "spec.clusterIP".to_owned()
        } else {
            format!("spec.clusterIPs[{index}]")
        };
        let address: IpAddr = text.parse().map_err(|_| vec![invalid(&field, json!(text), "must be a valid IP address")])?;
        // What it has it keeps, whatever became of the range.
        if holds.addresses.contains(&address) {
            continue;
        }
        let fail = |why: String| {
            Err(Refused::Invalid(vec![invalid("spec.clusterIPs", json!([text]), format!("failed to allocate IP {text}: {why}"))]))
        };
        if !ranges.cidrs.iter().any(|cidr| pool::contains(*cidr, address)) {
            // So Kubernetes says as well of a network's own address, and of its last.
            return fail("the provided network does not match the current range".to_owned());
        }
        if taken(address) {
            return fail("provided IP is already allocated".into());
        }
    }
    for family in &families[ips.len()..] {
        let found = of_family(ranges, family).find_map(|cidr| pool::address(cidr, taken, seed));
        let none = || Refused::Internal("failed to allocate a serviceIP: range is full".to_owned());
        ips.push(found.map(|address| address.to_string()).ok_or_else(none)?);
    }
    set_ips(new, &ips);
    Ok(())
}

/// The families of the Service's addresses, by its policy, its list and its addresses. Sets the policy.
fn families(new: &mut Value, ranges: &Ranges<'_>) -> Result<Vec<String>, Vec<FieldError>> {
    let configured: Vec<&str> = ranges.configured.iter().map(|cidr| family(cidr.addr())).collect();
    let ips: Vec<IpAddr> = service::cluster_ips(new).into_iter().filter_map(|address| address.parse().ok()).collect();
    let mut families: Vec<String> = object::strings(new.pointer("/spec/ipFamilies")).into_iter().map(str::to_owned).collect();
    let selectorless = new.pointer("/spec/selector").and_then(Value::as_object).is_none_or(|selector| selector.is_empty());
    let free_choice = service::is_headless(new) && selectorless && families.is_empty();
    let policy = match object::text(new, "/spec/ipFamilyPolicy") {
        "" if free_choice => "RequireDualStack".to_owned(),
        "" if families.len() == 2 || ips.len() == 2 => "RequireDualStack".to_owned(),
        "" => "SingleStack".to_owned(),
        policy => policy.to_owned(),
    };
    object::map_at(new, "spec").insert("ipFamilyPolicy".into(), json!(policy));
    for (index, name) in families.iter().enumerate() {
        if !configured.contains(&&name[..]) && !free_choice {
            return Err(vec![invalid(&format!("spec.ipFamilies[{index}]"), json!(name), "not configured on this cluster")]);
        }
    }
    for (index, address) in ips.iter().enumerate() {
        let of_address = family(*address);
        match families.get(index) {
            Some(name) if name != of_address => {
                let why = format!("expected an {name} value as indicated by `ipFamilies[{index}]`");
                return Err(vec![invalid(&format!("spec.clusterIPs[{index}]"), json!(address.to_string()), why)]);
            }
            Some(_) => {}
            None if !configured.contains(&of_address) => {
                return Err(vec![invalid(
                    &format!("spec.clusterIPs[{index}]"),
                    json!(address.to_string()),
                    format!("{of_address} is not configured on this cluster"),
                )]);
            }
            None => families.push(of_address.to_owned()),
        }
    }
    if policy == "SingleStack" {
        families.truncate(1);
    }
    if policy == "RequireDualStack" && configured.len() < 2 && !free_choice {
        return Err(vec![invalid("spec.ipFamilyPolicy", json!(policy), "this cluster is not configured for dual-stack services")]);
    }
    if families.is_empty() {
        families.push(configured.first().copied().unwrap_or("IPv4").to_owned());
    }
    let both = policy != "SingleStack" && (configured.len() > 1 || free_choice);
    if both && families.len() == 1 {
        families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
    }
    Ok(families)
}

fn ports(new: &mut Value, ranges: &Ranges<'_>, taken: &dyn Fn(u16) -> bool, seed: u64) -> Result<(), Refused> {
    let mut used = Vec::new();
    // Why a certain port is not to be had, if it is not.
    let refusal = |number: u16| {
        let (first, last) = (ranges.node_ports.start(), ranges.node_ports.end());
        if !ranges.node_ports.contains(&number) {
            return Some(format!("provided port is not in the valid range. The range of valid ports is {first}-{last}"));
        }
        taken(number).then(|| "provided port is already allocated".to_owned())
    };
    let wanted = service::needs_node_ports(new);
    let health = service::needs_health_port(new);
    if wanted || service::kind(new) == "LoadBalancer" {
        for (index, port) in service::ports(new).enumerate() {
            if let Some(number) = service::node_port(port, "nodePort") {
                if let Some(why) = refusal(number) {
                    return Err(vec![invalid(&format!("spec.ports[{index}].nodePort"), json!(number), why)].into());
                }
                used.push(number);
            }
        }
    }
    if wanted {
        // The same port in several protocols has one node port.
        let mut chosen: Vec<(u64, String, u16)> = service::ports(new)
            .filter_map(|port| service::node_port(port, "nodePort").map(|number| (service::port_key(port), number)))
            .map(|((protocol, port), number)| (port, protocol, number))
            .collect();
        for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten().filter(|port| port.is_object()) {
            if service::node_port(port, "nodePort").is_some() {
                continue;
            }
            let (protocol, key) = service::port_key(port);
            let sibling = chosen.iter().find(|(of, other, number)| {
                *of == key && *other != protocol && !chosen.iter().any(|(_, own, taken)| *own == protocol && taken == number)
            });
            let number = match sibling {
                Some((_, _, number)) => *number,
                None => pool::port(
                    &ranges.node_ports,
                    &|number| taken(number) || used.contains(&number),
                    seed.wrapping_add(chosen.len() as u64),
                )
                .ok_or_else(|| Refused::Internal("failed to allocate a nodePort: range is full".to_owned()))?,
            };
            port["nodePort"] = json!(number);
            used.push(number);
            chosen.push((key, protocol, number));
        }
    }
    if health {
        match service::node_port(&new["spec"], "healthCheckNodePort") {
            Some(number) => {
                let own = || used.contains(&number).then(|| "provided port is already allocated".to_owned());
                if let Some(why) = refusal(number).or_else(own) {
                    return Err(Refused::Internal(format!("failed to allocate requested HealthCheck NodePort {number}: {why}")));
                }
            }
            None => {
                let number = pool::port(&ranges.node_ports, &|number| taken(number) || used.contains(&number), seed.wrapping_add(97))
                    .ok_or_else(|| Refused::Internal("failed to allocate a HealthCheck NodePort 0: range is full".to_owned()))?;
                new["spec"]["healthCheckNodePort"] = json!(number);
            }
        }
    }
    Ok(())
}

fn set_ips(service: &mut Value, ips: &[String]) {
    let spec = object::map_at(service, "spec");
    match ips.first() {
        Some(first) => {
            spec.insert("clusterIP".into(), json!(first));
            spec.insert("clusterIPs".into(), json!(ips));
        }
        None => {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
    }
}

fn of_family<'a>(ranges: &'a Ranges<'_>, name: &'a str) -> impl Iterator<Item = IpNet> + 'a {
    ranges.cidrs.iter().copied().filter(move |cidr| family(cidr.addr()) == name)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn invalid(field: &str, value: Value, detail: impl Into<String>) -> FieldError {
    FieldError { cause: Cause::Invalid, field: field.into(), value: Some(value), detail: detail.into() }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
