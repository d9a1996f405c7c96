//! netperf over several ways in turns, round by round, and how one way compares with another inside of the rounds.
//!
//! No run meets what an earlier one left behind (connections in TIME_WAIT, at the servers and in connection tracking): clients outside
//! have an address of their own for every run, and those in pods, which have one address, ports of their own for every run.

use crate::netperf::Ports;
use crate::samples::{median, percentile};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

/// Rounds; see [`PORTS_OF_A_RUN`].
pub const ROUNDS: usize = 24;
/// Client ports of one run, more than it makes connections. All rounds together stay below 65536.
const PORTS_OF_A_RUN: usize = 2_500;
const FIRST_CLIENT_PORT: usize = 5_000;
/// Where fresh addresses of clients are taken from, as a route has it.
pub const FRESH: &str = "10.225.0.0/16";
/// How [`contest`] measures, for the report.
pub const METHOD: &str = "netperf, client and server held on one CPU, short runs of a fixed amount of work (1,200 connections, 5,000 requests, 200 MB). In \
                          every round each way has one run, the order changes from round to round; every run has client addresses or ports that no run before it had, so \
                          that nobody meets connections in TIME_WAIT. Every way has its own server, the same program, started alike. Figures are medians, ratios are medians \
                          of the rounds' ratios, with their quartiles.";

/// Runs a command where a client is.
pub type Run<'a> = Box<dyn Fn(&[&str]) -> Result<String> + 'a>;

/// One way to a server.
pub struct Way<'a> {
    pub address: IpAddr,
    /// Whether every run takes a fresh address from [`FRESH`].
    pub is_fresh: bool,
    pub run: Run<'a>,
}

/// What every way did in every round (transactions or 10^6 bits per second).
#[derive(Default)]
pub struct Outcome(Vec<Vec<f64>>);

/// A median between quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// Lets all ways have their turn in every round.
pub fn contest(ports: Ports, test: &str, ways: &[Way<'_>]) -> Result<Outcome> {
    let mut outcome = Outcome(vec![Vec::with_capacity(ROUNDS); ways.len()]);
    for round in 0..ROUNDS {
        for index in order(round, ways.len()) {
            outcome.0[index].push(run(ports, test, round, &ways[index]).with_context(|| format!("{test}, way {index}, round {round}"))?);
        }
    }
    Ok(outcome)
}

/// In which order `count` ways have their turn.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(round / 2 % count.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// One run: its figure.
fn run(ports: Ports, test: &str, round: usize, way: &Way<'_>) -> Result<f64> {
    let arguments = arguments(ports, test, round, way.address, way.is_fresh.then(fresh));
    let output = (way.run)(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    output.trim().parse().with_context(|| format!("netperf printed {output:?}"))
}

fn arguments(ports: Ports, test: &str, round: usize, to: IpAddr, from: Option<IpAddr>) -> Vec<String> {
    let local = from.map(|address| format!("-L {address} ")).unwrap_or_default();
    let first = FIRST_CLIENT_PORT + round * PORTS_OF_A_RUN;
    let window = if test == "TCP_CRR" { format!("-p {first},{} ", first + PORTS_OF_A_RUN - 1) } else { String::new() };
    let (amount, Ports { control, data }) = (amount(test), ports);
    format!("netperf -H {to} {local}-p {control} -T 0,0 -t {test} -l -{amount} -P 0 -- {local}{window}-P ,{data} -o THROUGHPUT")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

/// An address that no run had.
fn fresh() -> IpAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let number = TAKEN.fetch_add(1, Ordering::Relaxed) % 0xfff0;
    Ipv4Addr::from(0x0ae1_0001 + number).into()
}

/// What one run does: transactions, or bytes.
fn amount(test: &str) -> usize {
    match test {
        "TCP_STREAM" => 200_000_000,
        "TCP_CRR" => 1_200,
        _ => 5_000,
    }
}

impl Outcome {
    /// The median of a way.
    pub fn median(&self, way: usize) -> f64 {
        median(&self.0[way])
    }

    /// A way ÷ another one, round by round.
    pub fn ratio(&self, way: usize, to: usize) -> Spread {
        let ratios: Vec<f64> = self.0[way].iter().zip(&self.0[to]).map(|(one, other)| one / other).collect();
        Spread { low: percentile(&ratios, 25.0), median: median(&ratios), high: percentile(&ratios, 75.0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_every_turn_equally_often() {
        for count in [2, 3, 4] {
            let mut turns = vec![vec![0; count]; count];
            for round in 0..ROUNDS {
                order(round, count).iter().enumerate().for_each(|(turn, way)| turns[*way][turn] += 1);
            }
            assert!(turns.iter().flatten().all(|times| *times == ROUNDS / count), "{turns:?}");
        }
    }

    #[test]
    fn no_two_rounds_share_client_ports_and_no_run_wants_more_than_it_has() {
        const { assert!(FIRST_CLIENT_PORT + ROUNDS * PORTS_OF_A_RUN <= 65_536) };
        assert!(amount("TCP_CRR") < PORTS_OF_A_RUN);
        let text = |round| arguments(Ports { control: 1, data: 2 }, "TCP_CRR", round, Ipv4Addr::LOCALHOST.into(), None).join(" ");
        assert!(text(0).contains("-p 5000,7499 ") && text(1).contains("-p 7500,9999 "), "{}", text(1));
    }

    #[test]
    fn ratios_are_taken_inside_of_rounds() {
        let outcome = Outcome(vec![vec![10.0, 40.0, 90.0], vec![10.0, 20.0, 30.0]]);
        assert_eq!(outcome.ratio(0, 1), Spread { low: 1.0, median: 2.0, high: 3.0 });
        assert_eq!(outcome.median(0), 40.0);
    }
}
