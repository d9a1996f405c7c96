//! netperf: the four tests, run by a closure that knows where, and two ways to the same server compared.

use crate::samples::median;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;

/// Where netserver listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub control: u16,
    pub data: u16,
}

/// netperf's own control port, and the next.
pub const PORTS: Ports = Ports { control: 12865, data: 12866 };
/// Request-response, connect-request-response, bulk, and request-response over UDP.
pub const TESTS: [&str; 4] = ["TCP_RR", "TCP_CRR", "TCP_STREAM", "UDP_RR"];
/// How [`compare`] measures, for the report.
pub const METHOD: &str = "netperf, client and server held on one CPU (across two, each run is as much a measure of where the scheduler put them), pairs of short runs of \
                          a fixed amount of work, the two ways taking turns in going first. Figures are medians; the ratio is the median of the pairs' ratios.";

/// What one run does: transactions, or bytes. A run that ends by time would have netserver wait for its own timer, four seconds more.
fn amount(test: &str) -> u32 {
    match test {
        "TCP_STREAM" => 200_000_000,
        "TCP_CRR" => 2_500,
        _ => 5_000,
    }
}

/// A shell command that runs `test` to both addresses in turns, `rounds` pairs: a line `ADDRESS FIGURE` each (transactions or 10^6
/// bits per second).
fn script(ports: Ports, rounds: usize, test: &str, direct: IpAddr, service: IpAddr) -> String {
    let Ports { control, data } = ports;
    let run = format!("netperf -H $address -p {control} -T 0,0 -t {test} -l -{} -P 0 -- -P ,{data} -o THROUGHPUT", amount(test));
    let turns = rounds.div_ceil(2);
    format!("for turn in $(seq {turns}); do for address in {direct} {service} {service} {direct}; do echo $address $({run}); done; done")
}

/// A command that succeeds if the server at the address answers.
pub fn probe(ports: Ports, address: IpAddr) -> Vec<String> {
    let Ports { control, data } = ports;
    format!("netperf -H {address} -p {control} -t TCP_RR -l -10 -P 0 -- -P ,{data} -o THROUGHPUT").split(' ').map(str::to_owned).collect()
}

/// Two ways to one server, or to two alike.
pub struct Comparison {
    pub direct: f64,
    pub service: f64,
    /// Service ÷ direct.
    pub ratio: f64,
}

/// Runs `test` to both addresses by a shell, which `run` starts where the client is.
pub fn compare(
    ports: Ports,
    rounds: usize,
    test: &str,
    direct: IpAddr,
    service: IpAddr,
    run: &dyn Fn(&[&str]) -> Result<String>,
) -> Result<Comparison> {
    let output = run(&["sh", "-c", &script(ports, rounds, test, direct, service)]).with_context(|| test.to_owned())?;
    let (mut directs, mut services) = (Vec::new(), Vec::new());
    for line in output.lines() {
        let (address, figure) = line.split_once(' ').with_context(|| format!("netperf printed no figure: {line:?}"))?;
        let figure: f64 = figure.trim().parse().with_context(|| format!("netperf printed {line:?}"))?;
        if address == direct.to_string() { directs.push(figure) } else { services.push(figure) }
    }
    ensure!(directs.len() == services.len() && directs.len() >= rounds, "runs are missing: {output}");
    let ratios: Vec<f64> = services.iter().zip(&directs).map(|(service, direct)| service / direct).collect();
    Ok(Comparison { direct: median(&directs), service: median(&services), ratio: median(&ratios) })
}

impl Comparison {
    /// Cells of a table: direct, through the Service, ratio.
    pub fn cells(&self, test: &str) -> [String; 3] {
        [show(test, self.direct), show(test, self.service), format!("{:.3}", self.ratio)]
    }
}

/// A figure with its unit.
pub fn show(test: &str, figure: f64) -> String {
    if test == "TCP_STREAM" { format!("{:.2} Gbit/s", figure / 1000.0) } else { format!("{figure:.0} /s") }
}
