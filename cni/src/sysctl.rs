//! Settings of one device. `/proc/sys/net` shows the namespace of the thread that opens it.

use crate::error::{CniError, Code};
use std::io::ErrorKind;

/// Writes `net.{family}.conf.{device}.{name}`. Kernels without the family or the setting are fine: there is nothing to set then.
pub fn set(family: Family, device: &str, name: &str, value: &str) -> Result<(), CniError> {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let path = format!("/proc/sys/net/{family}/conf/{device}/{name}");
    match std::fs::write(&path, value) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CniError::new(Code::Network, format!("writing {value} to {path}"), error)),
        _ => Ok(()),
    }
}

/// Which stack.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    V4,
    V6,
}
