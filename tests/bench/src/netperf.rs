//! netperf: the four tests, run by a closure that knows where, and two ways to the same server compared.

use crate::samples::median;
use anyhow::{Context, Result};
use std::net::IpAddr;

/// The control connection's port; the data connection's is the next.
pub const PORT: u16 = 12865;
/// See [`PORT`].
pub const DATA_PORT: u16 = 12866;
/// Request-response, connect-request-response, bulk, and request-response over UDP.
pub const TESTS: [&str; 4] = ["TCP_RR", "TCP_CRR", "TCP_STREAM", "UDP_RR"];
/// How [`compare`] measures, for the report.
pub const METHOD: &str = "netperf, pairs of runs of about 1 s (TCP_CRR: 10,000 transactions), the two ways interleaved and taking turns in going first. Figures are \
                          medians; the ratio is the median of the pairs' ratios.";

/// The arguments of one run: the throughput alone on standard output (transactions or 10^6 bits per second).
pub fn arguments(address: IpAddr, test: &str) -> Vec<String> {
    // A TCP_CRR that ends by time has netserver wait four seconds more for its own timer.
    let length = if test == "TCP_CRR" { "-10000" } else { "1" };
    let words = format!("netperf -H {address} -p {PORT} -t {test} -l {length} -P 0 -- -P ,{DATA_PORT} -o THROUGHPUT");
    words.split(' ').map(str::to_owned).collect()
}

/// Reads a run's output.
pub fn parse(output: &str) -> Result<f64> {
    let last = output.split_whitespace().last().context("netperf printed nothing")?;
    last.parse().with_context(|| format!("netperf printed {output:?}"))
}

/// Two ways to one server.
pub struct Comparison {
    pub direct: f64,
    pub service: f64,
    /// Service ÷ direct.
    pub ratio: f64,
}

/// Runs `test` to both addresses in turns, `rounds` times.
pub fn compare(rounds: usize, test: &str, direct: IpAddr, service: IpAddr, run: &dyn Fn(&[&str]) -> Result<String>) -> Result<Comparison> {
    let once = |address| {
        let arguments = arguments(address, test);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&words).and_then(|output| parse(&output)).with_context(|| format!("{test} to {address}"))
    };
    let (mut directs, mut services, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (first, second) = if round % 2 == 0 { (direct, service) } else { (service, direct) };
        let (first, second) = (once(first)?, once(second)?);
        let (one, other) = if round % 2 == 0 { (first, second) } else { (second, first) };
        directs.push(one);
        services.push(other);
        ratios.push(other / one);
    }
    Ok(Comparison { direct: median(&directs), service: median(&services), ratio: median(&ratios) })
}

impl Comparison {
    /// Cells of a table: direct, through the Service, ratio.
    pub fn cells(&self, test: &str) -> [String; 3] {
        [show(test, self.direct), show(test, self.service), format!("{:.3}", self.ratio)]
    }
}

/// A figure with its unit.
fn show(test: &str, figure: f64) -> String {
    if test == "TCP_STREAM" { format!("{:.2} Gbit/s", figure / 1000.0) } else { format!("{figure:.0} /s") }
}
