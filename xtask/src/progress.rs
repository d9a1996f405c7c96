//! Showing what is at work: on a terminal a turning sign with the step's name and its seconds, plain lines otherwise. The look is
//! that of `orknet up`, without its library: this program must build fast.

use anyhow::Result;
use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{panic, thread};

const SIGNS: [char; 4] = ['◐', '◓', '◑', '◒'];

/// Does quiet work, showing that it is at work, and says how long it took.
pub fn step<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let (started, terminal) = (Instant::now(), stderr().is_terminal());
    let (done, wait) = channel::<()>();
    let result = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let result = work();
            drop(done);
            result
        });
        if !terminal {
            eprintln!("… {name}");
        }
        let mut signs = SIGNS.iter().cycle();
        while terminal && wait.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
            eprint!("\r{} {name} ({} s)\x1b[K", signs.next().unwrap_or(&'…'), started.elapsed().as_secs());
            let _ = stderr().flush();
        }
        worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    });
    let clear = if terminal { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{}", ended(&result, name, started));
    result
}

/// Does work that shows its own output, between a line before and a line after it.
pub fn stage<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    eprintln!("… {name}");
    let result = work();
    eprintln!("{}", ended(&result, name, started));
    result
}

fn ended<T>(result: &Result<T>, name: &str, started: Instant) -> String {
    let sign = if result.is_ok() { '✓' } else { '✗' };
    format!("{sign} {name} ({:.1} s)", started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_gives_what_its_work_gives() {
        assert_eq!(step("a test's step that works", || Ok(7)).unwrap(), 7);
        let error = step("a test's step that fails", || Err::<(), _>(anyhow::anyhow!("no"))).unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
