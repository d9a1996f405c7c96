//! Who asks the same many again and again, whatever comes of it: each question with its times.

use crate::clients::way;
use crate::questions::said;
use orknet_tests::probes::now;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Asks all targets, `count` times with a pause between two, without waiting for what came of the last question. A line for each, once it is over:
/// `BEGAN ENDED HOW@ADDRESS NAME PEER` or `BEGAN ENDED HOW@ADDRESS error KIND`, times in milliseconds of the host's clock that never steps.
pub fn probe(count: &str, pause_ms: &str, targets: &[&str]) -> io::Result<()> {
    let count: u32 = count.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let ways = targets.iter().map(|target| {
        let (how, address) = target.split_once('@').ok_or_else(|| io::Error::other("a target is HOW@ADDRESS"))?;
        Ok((*target, way(how)?, address.parse().map_err(io::Error::other)?))
    });
    let ways: Vec<(&str, _, SocketAddr)> = ways.collect::<io::Result<_>>()?;
    std::thread::scope(|scope| {
        for _ in 0..count {
            for (target, one, address) in &ways {
                scope.spawn(move || {
                    let began = now();
                    let outcome = said(one(*address, 0));
                    // Nobody reads any more: the pod goes.
                    let _ = writeln!(io::stdout(), "{began} {} {target} {outcome}", now());
                });
            }
            std::thread::sleep(pause);
        }
    });
    Ok(())
}
