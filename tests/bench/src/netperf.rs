//! netperf: the four tests, run by a closure that knows where, interleaved between ways to the same server.

use crate::samples::median;
use anyhow::{Context, Result};
use std::net::IpAddr;

/// The control connection's port; the data connection's is the next.
pub const PORT: u16 = 12865;
/// See [`PORT`].
pub const DATA_PORT: u16 = 12866;
/// Request-response, connect-request-response, bulk, and request-response over UDP.
pub const TESTS: [&str; 4] = ["TCP_RR", "TCP_CRR", "TCP_STREAM", "UDP_RR"];
/// Seconds of one run.
const SECONDS: &str = "1";

/// The arguments of one run: the throughput alone on standard output (transactions or 10^6 bits per second).
pub fn arguments(address: IpAddr, test: &str) -> Vec<String> {
    let words = format!("netperf -H {address} -p {PORT} -t {test} -l {SECONDS} -P 0 -- -P ,{DATA_PORT} -o THROUGHPUT");
    words.split(' ').map(str::to_owned).collect()
}

/// Reads a run's output.
pub fn parse(output: &str) -> Result<f64> {
    let last = output.split_whitespace().last().context("netperf printed nothing")?;
    last.parse().with_context(|| format!("netperf printed {output:?}"))
}

/// The medians of `rounds` runs for every way, interleaved: one run of each way, then again.
pub fn interleave(ways: &[&dyn Fn() -> Result<f64>], rounds: usize) -> Result<Vec<f64>> {
    let mut samples = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, samples) in ways.iter().zip(&mut samples) {
            samples.push(way()?);
        }
    }
    Ok(samples.iter().map(|samples| median(samples)).collect())
}

/// A figure with its unit.
pub fn show(test: &str, figure: f64) -> String {
    if test == "TCP_STREAM" { format!("{:.2} Gbit/s", figure / 1000.0) } else { format!("{figure:.0} /s") }
}
