//! A client that goes on asking beside a test: each of its lines is an answer, or says what went wrong.

use crate::wait::PATIENCE;
use crate::{Kubectl, Lines, Outside};
use anyhow::{Context, Result, bail, ensure};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// As many questions as no test waits for, and the pause between two, or between two bursts, in milliseconds.
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
        self.are_answers(&self.hear(more)?)
    }

    /// The same of all of them at the same time.
    pub fn all_flow(streams: &[Self], more: usize) -> Result<()> {
        streams.iter().try_for_each(|stream| stream.flows(0))?;
        // What the later ones say while an earlier one is waited for comes after now, too.
        streams.iter().try_for_each(|stream| {
            let lines = (0..more).map(|_| stream.next()).collect::<Result<Vec<_>>>()?;
            stream.are_answers(&lines)
        })
    }

    fn are_answers(&self, lines: &[String]) -> Result<()> {
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
