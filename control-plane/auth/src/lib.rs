//! Who is asking, and what they may do: the cluster's certificate authority, tokens, identities, the rules of RBAC and of nodes.
//!
//! Pure but for [`pki`], which keeps keys in files, and [`renewed`], which reads the clock. Knows no HTTP and no store.

pub mod account_keys;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod bootstrap_tokens;
pub mod carried;
pub mod escalation;
pub mod jws;
pub mod kubeconfig;
pub mod node;
pub mod pki;
pub mod renewed;
mod signing;
pub mod tokens;

pub use authn::Identity;
