//! `cargo xtask tidy`: the rules of the tree that a compiler does not check, each in a file.

mod architecture;
mod sources;

use crate::root;
use anyhow::{Result, bail};

/// Prints every complaint and fails if there is one.
pub fn tidy() -> Result<()> {
    let root = root()?;
    let mut complaints = sources::check(&root)?;
    complaints.extend(architecture::check(&root)?);
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} complaint(s) about the tree", complaints.len());
    }
    Ok(())
}
