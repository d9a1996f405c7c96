//! What the programs say, as events of the agent's own log.

use crate::{Error, ProgramLog};
use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use log::{Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orknet_abi::DropReason;
use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// The map in which the library's lines wait; its own matter, and none of the ABI's.
pub(crate) const MAP: &str = "AYA_LOGS";
/// How soon the reader sees that it should end, in milliseconds.
const ATTENTION: u8 = 200;

/// The level up to which the programs speak; 0 is below every level.
pub(crate) fn level(wanted: ProgramLog) -> u8 {
    match wanted {
        ProgramLog::Off => 0,
        ProgramLog::Drops => Level::Debug.into(),
        ProgramLog::All => Level::Trace.into(),
    }
}

/// A thread that reads what loaded programs say; ends when dropped.
pub(crate) struct Reading {
    ended: Arc<AtomicBool>,
}

impl Reading {
    /// Begins.
    pub(crate) fn start(object: &mut Ebpf) -> Result<Self, Error> {
        let mut lines = EbpfLogger::init_with_logger(object, Events).map_err(|error| Error::Load(Box::new(error)))?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let read = move || {
            while !seen.load(Ordering::Relaxed) {
                let waited = poll(&mut [PollFd::new(lines.as_fd(), PollFlags::POLLIN)], PollTimeout::from(ATTENTION));
                if waited.is_ok_and(|ready| ready > 0) {
                    lines.flush();
                }
            }
        };
        thread::Builder::new().name("program-log".to_owned()).spawn(read).map_err(|error| Error::Load(Box::new(error)))?;
        Ok(Self { ended })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Turns lines into events.
struct Events;

impl Log for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        tracing::info!(program = record.target(), "{}", named(&record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Programs give a reason's number, because a text would be a pointer, which their data can't hold.
fn named(line: &str) -> String {
    let reason = line.rsplit_once(" reason ").and_then(|(said, number)| {
        let number: u32 = number.parse().ok()?;
        let reason = DropReason::ALL.iter().find(|reason| **reason as u32 == number)?;
        Some(format!("{said} {}", reason.name()))
    });
    reason.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_gets_its_name() {
        assert_eq!(named("::ffff:10.96.0.1 port 80 refused: reason 2"), "::ffff:10.96.0.1 port 80 refused: no-endpoints");
        assert_eq!(named("packet refused: reason 4711"), "packet refused: reason 4711");
        assert_eq!(named("10.96.0.1 leads to 10.244.0.2"), "10.96.0.1 leads to 10.244.0.2");
    }
}
