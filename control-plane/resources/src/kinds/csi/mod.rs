//! The kinds of storage.k8s.io by which drivers of volumes (CSI) and what attaches volumes tell of themselves. Kept for clients; nothing here
//! provisions or attaches.

pub mod attachment;
pub mod capacity;
pub mod driver;
pub mod node;
