//! What leads where: Services, their backends, tables and sources, and what ranges of addresses are.

use super::print::{
    Column::{Number, Text},
    View,
};
use orknet_abi::scope;
use orknet_compiler::MapImage;
use orknet_compiler::rows::{ServiceRow, scope_name};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Every front with its backends.
pub fn services(image: &MapImage) -> View {
    let mut view = View::default();
    view.table([
        Text("ADDRESS"),
        Number("PORT"),
        Text("PROTOCOL"),
        Text("SCOPE"),
        Text("BACKENDS"),
        Number("LIST"),
        Number("TABLE"),
        Number("SOURCES"),
        Number("AFFINITY (S)"),
        Text("FLAGS"),
    ]);
    for row in image.service_rows() {
        let is_port = !row.protocol.is_empty();
        let backends = match row.backends.as_slice() {
            _ if !is_port => "-".to_owned(),
            [] => "none".to_owned(),
            few if few.len() <= 3 => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        view.line([
            row.address.to_string(),
            or(is_port, row.port.to_string(), "*"),
            or(is_port, row.protocol.clone(), "*"),
            row.scope.to_owned(),
            backends,
            number(if row.count > 0 { row.list } else { 0 }),
            number(row.table),
            number(row.sources),
            number(row.affinity_seconds),
            or(!row.flags.is_empty(), row.flags.join(","), "-"),
        ]);
        view.value(json!(row));
    }
    view
}

/// The lists, and which fronts use them.
pub fn backends(image: &MapImage) -> View {
    let fronts = fronts_by(image, |row| if row.count > 0 { row.list } else { 0 });
    let mut view = View::default();
    view.table([Number("LIST"), Number("SLOT"), Text("BACKEND"), Text("SERVICES")]);
    for row in image.backend_rows() {
        let users = fronts.get(&row.list).map(Vec::as_slice).unwrap_or_default();
        view.line([row.list.to_string(), row.slot.to_string(), row.backend.to_string(), users.join(" ")]);
        view.value(json!({"list": row.list, "slot": row.slot, "backend": row.backend, "services": users}));
    }
    view
}

/// The look-up tables: how much of each leads to which backend, and which fronts use them.
pub fn tables(image: &MapImage) -> View {
    let fronts = fronts_by(image, |row| row.table);
    let mut view = View::default();
    view.table([
        Number("TABLE"),
        Number("POSITIONS"),
        Number("SLOT"),
        Text("BACKEND"),
        Number("SHARE (POSITIONS)"),
        Number("(%)"),
        Text("FINGERPRINT"),
        Text("SERVICES"),
    ]);
    for row in image.table_rows() {
        let users = fronts.get(&row.table).map(Vec::as_slice).unwrap_or_default();
        for (place, share) in row.shares.iter().enumerate() {
            let once = |text: String| or(place == 0, text, "");
            let percent = f64::from(share.positions) * 100.0 / f64::from(row.size.max(1));
            view.line([
                once(row.table.to_string()),
                once(row.size.to_string()),
                share.slot.to_string(),
                known(share.address),
                share.positions.to_string(),
                format!("{percent:.1}"),
                once(row.fingerprint.clone()),
                once(users.join(" ")),
            ]);
        }
        let mut value = json!(row);
        value["services"] = json!(users);
        view.value(value);
    }
    view
}

/// The sets of sources, and which fronts use them.
pub fn sources(image: &MapImage) -> View {
    let fronts = fronts_by(image, |row| row.sources);
    let mut view = View::default();
    view.table([Number("SET"), Text("RANGES"), Text("SERVICES")]);
    for row in image.sources_rows() {
        let users = fronts.get(&row.set).map(Vec::as_slice).unwrap_or_default();
        view.line([row.set.to_string(), row.ranges.join(" "), users.join(" ")]);
        view.value(json!({"set": row.set, "ranges": row.ranges, "services": users}));
    }
    view
}

/// What ranges of addresses are, and what programs know of the node.
pub fn ranges(image: &MapImage) -> View {
    let mut view = View::default();
    view.table([Text("RANGE"), Text("KINDS"), Text("NODE")]);
    for row in image.range_rows() {
        let is_own = row.node.is_none() && row.kinds.contains(&"pods");
        let node = if is_own { "this node".to_owned() } else { known(row.node) };
        view.line([row.range.clone(), row.kinds.join(","), node]);
        view.value(json!(row));
    }
    view.table([
        Text("THIS NODE'S IPV4"),
        Text("IPV6"),
        Text("PORTS FOR SOURCE NAT"),
        Text("FLAGS"),
        Number("TABLE SIZE"),
        Number("OVERLAY (INDEX)"),
    ]);
    if let Some(node) = image.node_row() {
        view.line([
            known(node.v4),
            known(node.v6),
            format!("{}-{}", node.first_port, node.last_port),
            or(!node.flags.is_empty(), node.flags.join(","), "-"),
            node.table_size.to_string(),
            number(node.overlay),
        ]);
        view.value(json!({"node": node}));
    }
    view
}

/// The fronts that use a part, by its number.
fn fronts_by(image: &MapImage, part: impl Fn(&ServiceRow) -> u32) -> BTreeMap<u32, Vec<String>> {
    let mut fronts: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in image.service_rows().iter().filter(|row| part(row) > 0) {
        let outside = if row.scope == scope_name(scope::OUTSIDE) { "/outside" } else { "" };
        let front = format!("{}/{}{outside}", SocketAddr::new(row.address, row.port), row.protocol);
        fronts.entry(part(row)).or_default().push(front);
    }
    fronts
}

fn or(is_shown: bool, text: String, other: &str) -> String {
    if is_shown { text } else { other.to_owned() }
}

/// 0 stands for none.
fn number(number: u32) -> String {
    or(number > 0, number.to_string(), "-")
}

fn known(address: Option<IpAddr>) -> String {
    address.map_or("-".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::print::Output;
    use super::*;
    use orknet_abi::{Address, Backend, BackendKey, Node, RangeKey, Service, ServiceKey, SourceKey, TableChunk, TableKey};
    use std::sync::Arc;

    /// A load-balancer address in both scopes, with two backends, a table of three positions and one source.
    fn image() -> MapImage {
        let key = ServiceKey { address: Address::from_v4([203, 0, 113, 10]), port_be: 80_u16.to_be(), protocol: 6, scope: scope::INSIDE };
        let service = Service { list: 1, count: 2, ..Service::default() };
        let outside = Service { table: 4, sources: 5, ..service };
        let backend = |last| Backend { address: Address::from_v4([10, 244, 1, last]), port_be: 8_080_u16.to_be(), reserved: 0 };
        let mut chunk = TableChunk::default();
        chunk.slots[1] = 1;
        MapImage {
            services: [(key, service), (ServiceKey { scope: scope::OUTSIDE, ..key }, outside)].into(),
            backends: (0..2).map(|slot| (BackendKey { list: 1, slot }, backend(slot as u8 + 2))).collect(),
            tables: [(TableKey { table: 4, chunk: 0 }, Arc::new(chunk))].into(),
            sources: [SourceKey::new(5, &RangeKey::new(IpAddr::from([172, 16, 0, 0]), 12))].into(),
            node: Some(Node { table_size: 3, ..Node::default() }),
            ..MapImage::default()
        }
    }

    #[test]
    fn what_is_outside_is_told_from_what_is_inside() {
        let text = services(&image()).text(Output::Table).unwrap();
        let line = |scope: &str| text.lines().find(|line| line.contains(scope)).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(line("inside"), ["203.0.113.10", "80", "TCP", "inside", "10.244.1.2:8080", "10.244.1.3:8080", "1", "-", "-", "-", "-"]);
        assert_eq!(line("outside")[6..9], ["1", "4", "5"]);
    }

    #[test]
    fn a_table_shows_the_share_of_each_backend() {
        let value: serde_json::Value = serde_json::from_str(&tables(&image()).text(Output::Json).unwrap()).unwrap();
        let share = |slot: u32, address: &str, positions: u32| json!({"slot": slot, "address": address, "positions": positions});
        assert_eq!(value[0]["shares"], json!([share(0, "10.244.1.2", 2), share(1, "10.244.1.3", 1)]));
        assert_eq!((&value[0]["size"], &value[0]["services"]), (&json!(3), &json!(["203.0.113.10:80/TCP/outside"])));
    }

    #[test]
    fn sources_name_the_fronts_that_they_are_for() {
        let text = sources(&image()).text(Output::Table).unwrap();
        assert_eq!(
            text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["5", "172.16.0.0/12", "203.0.113.10:80/TCP/outside"]
        );
    }
}
