//! How long watches wait before they are tried again: about a second, always. A node has few watches, and pods that wait for a server which
//! is back already would be the higher price.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// A delay between one and one and a half seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reconnect;

impl Iterator for Reconnect {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(rand::random_range(1000..1500)))
    }
}

impl Backoff for Reconnect {
    fn reset(&mut self) {}
}
