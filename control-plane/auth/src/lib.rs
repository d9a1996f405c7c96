//! Who is asking, and what they may do: the cluster's certificate authority, tokens, identities and the rules of RBAC.
//!
//! Pure but for [`pki`], which keeps keys in files. Knows no HTTP and no store.

pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod escalation;
pub mod kubeconfig;
pub mod pki;
pub mod tokens;

pub use authn::Identity;
