//! From API objects to what the kernel should know. Pure: no I/O, no clock, no tokio, no aya, no Kubernetes client.

mod image;

pub use image::{MapImage, Plan, Step};
