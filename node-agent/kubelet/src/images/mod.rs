//! Images: `name` reads references, `credentials` finds pull secrets for a registry, `pull` brings an image to the node by its policy, `garbage`
//! removes what nobody uses when the disk is nearly full.

mod credentials;
pub mod garbage;
pub mod name;
mod pull;

pub use pull::{Ensured, Puller};
