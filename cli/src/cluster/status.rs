//! `orknet status`: what of a local cluster runs.

use super::layout::Cluster;
use super::{node, process, record, server};
use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};

/// Prints each daemon with its state.
pub fn status(cluster: &Cluster) -> Result<()> {
    let Some(record) = record::read(cluster)? else {
        println!("There is no cluster {:?}; `orknet up` makes one.", cluster.name());
        return Ok(());
    };
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["PLACE", "DAEMON", "STATE", "PID", "LOG"]);
    let mut row = |place: &super::layout::Place, daemon: &str| {
        let id = process::running(place, daemon);
        let state = if id.is_some() { "running" } else { "stopped" };
        let id = id.map_or("-".to_owned(), |id| id.to_string());
        table.add_row([place.name.clone(), daemon.to_owned(), state.to_owned(), id, place.log_path(daemon).display().to_string()]);
    };
    for place in cluster.servers(record.servers) {
        for daemon in server::daemons(&record, &place, cluster) {
            row(&place, daemon);
        }
    }
    for number in 1..=record.nodes {
        for daemon in node::daemons(&record) {
            row(&cluster.node(number), daemon);
        }
    }
    println!("{table}\n\nkubeconfig: {}", cluster.kubeconfig_path().display());
    Ok(())
}
