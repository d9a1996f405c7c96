//! The plugin as a program of its own; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    orknet_cni::main()
}
