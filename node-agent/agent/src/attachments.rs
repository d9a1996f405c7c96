//! The pods of this node at start, from the CNI plugin's records. A record counts only while its device is there.

use orknet_cni::protocol::Attachment;
use orknet_cni::state::Attachments;
use std::path::Path;

/// Reads the records; `device_index` finds a device by name. Devices of a former boot are gone, and an index may have been given to
/// another device since, so the name decides.
pub fn restore(state_dir: &Path, device_index: impl Fn(&str) -> Option<u32>) -> Vec<Attachment> {
    let (records, unreadable) = match Attachments::new(state_dir).all() {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot read the CNI plugin's records");
            return Vec::new();
        }
    };
    for error in unreadable {
        tracing::error!(%error, "a record of the CNI plugin is broken");
    }
    let present = records.into_iter().filter_map(|mut record| {
        let index = device_index(&record.host_ifname);
        if index.is_none() {
            tracing::info!(device = record.host_ifname, container = record.attachment.container_id, "the device of a record is gone");
        }
        record.host_ifindex = index?;
        Some(record)
    });
    present.collect()
}

/// The index of a device in our namespace.
pub fn device_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}
