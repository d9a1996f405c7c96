//! A client that goes on asking beside a test: each of its lines is an answer, or says what went wrong.

use crate::wait::PATIENCE;
use crate::{Kubectl, Lines, Outside};
use anyhow::{Context, Result, bail, ensure};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// As many questions as no test waits for, those without a pause either, and the pause between two in milliseconds.
const ENDLESS: [&str; 2] = ["1000000000", "10"];

/// Killed when dropped.
pub struct Stream {
    name: String,
    child: Child,
    said: Lines,
    complained: Lines,
}

impl Stream {
    /// `nettool MODE ADDRESS` outside of the cluster.
    pub fn outside(outside: &Outside, mode: &str, address: &str) -> Result<Self> {
        let command = outside.command(&["nettool", mode, address, ENDLESS[0], ENDLESS[1]]);
        Self::start(format!("{mode} from outside to {address}"), command)
    }

    /// The same in a pod.
    pub fn pod(kubectl: &Kubectl, pod: &str, mode: &str, address: &str) -> Result<Self> {
        let command = kubectl.command(&["exec", pod, "--", "nettool", mode, address, ENDLESS[0], ENDLESS[1]]);
        Self::start(format!("{mode} from {pod} to {address}"), command)
    }

    fn start(name: String, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let said = Lines::of(child.stdout.take().context("there is no output")?);
        let complained = Lines::of(child.stderr.take().context("there is no output")?);
        Ok(Self { name, child, said, complained })
    }

    /// Who asks what.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next line.
    pub fn next(&self) -> Result<String> {
        match self.said.next()? {
            Some(line) => Ok(line),
            None => Err(anyhow::anyhow!("{} ended: {}", self.name, self.complained.rest()?.join("\n"))),
        }
    }

    /// All that was said since it was last listened to, and so many lines that are said from now on.
    pub fn hear(&self, more: usize) -> Result<Vec<String>> {
        let mut lines = self.said.come()?;
        for _ in 0..more {
            lines.push(self.next()?);
        }
        Ok(lines)
    }

    /// Waits for so many answers more from now on. Neither they nor what was said before is an error.
    pub fn flows(&self, more: usize) -> Result<()> {
        let lines = self.hear(more)?;
        match lines.iter().position(|line| line.starts_with("error")) {
            Some(at) => bail!("{}: {} as number {at} of {} lines since it was listened to", self.name, lines[at], lines.len()),
            None => Ok(()),
        }
    }

    /// It goes on, and nothing that it said since it was last listened to is an error.
    pub fn is_unharmed(&mut self) -> Result<()> {
        self.flows(1)?;
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended, {status}: {}", self.name, self.complained.rest()?.join("\n")),
            None => Ok(()),
        }
    }

    /// Reads on until a line is as wanted; what was said before is passed over.
    pub fn until(&self, wanted: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.next()?;
            if line == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{}: waited {PATIENCE:?} for {wanted}, and {line} came", self.name);
        }
    }

    /// Waits until it has failed; what it complained of.
    pub fn fails(&mut self) -> Result<String> {
        let why = self.complained.rest()?.join("\n");
        ensure!(!self.child.wait()?.success(), "{} came to an end", self.name);
        Ok(why)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
