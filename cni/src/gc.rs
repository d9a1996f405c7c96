//! GC: removes what no attachment in use needs (specification 1.1.0): records, devices and addresses of pods that are gone.

use crate::allocate::Addresses;
use crate::config::NetworkConfig;
use crate::delete::delete_attachment;
use crate::error::{CniError, Code};
use crate::protocol::AttachmentName;
use crate::state::Attachments;
use std::collections::BTreeSet;

/// Deletes every attachment that is not listed as valid; goes on after an error and reports the first.
pub fn gc(config: &NetworkConfig) -> Result<(), CniError> {
    let Some(valid) = &config.valid_attachments else {
        return Err(CniError::new(Code::InvalidConfig, "collecting garbage", "cni.dev/valid-attachments is missing"));
    };
    let names = valid.iter().map(|valid| AttachmentName { container_id: valid.container_id.clone(), ifname: valid.ifname.clone() });
    let valid: BTreeSet<_> = names.collect();
    let (records, unreadable) = Attachments::new(&config.state_dir).all()?;
    let of_addresses = Addresses::open(&config.state_dir)?.owned()?.into_iter().map(|(_, owner)| owner);
    let known: BTreeSet<_> = records.into_iter().map(|record| record.attachment).chain(of_addresses).collect();
    let failures = known.difference(&valid).filter_map(|name| delete_attachment(config, name).err());
    match failures.collect::<Vec<_>>().into_iter().chain(unreadable).next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
