//! Container logs in the CRI format: `line` reads one line (pure), `tail` finds the end of a file, `follow` streams, `rotate` keeps files
//! small. containerd writes them.

pub mod follow;
pub mod line;
pub mod rotate;
pub mod select;
pub mod tail;
