//! Images: `name` reads references, `credentials` finds pull secrets for a registry, `pull` brings an image to the node by its policy.

mod credentials;
pub mod name;
mod pull;

pub use pull::{Ensured, Puller};
