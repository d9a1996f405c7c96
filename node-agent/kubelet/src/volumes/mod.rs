//! Volumes: made ready on the node before containers start (`setup`), turned into mounts (`mounts`), taken away when the pod is gone
//! (`remove`). `payload` decides what files a ConfigMap, Secret, downwardAPI or projected volume has (pure); `atomic` puts them on disk.
//! `mount_table` reads where something is mounted.

mod atomic;
mod empty_dir;
pub mod host_path;
pub mod hosts;
pub mod mount_table;
pub mod mounts;
pub mod ownership;
pub mod payload;
mod remove;
pub mod setup;
mod sub_path;
pub mod tokens;

pub use remove::remove;
pub use setup::setup;
