//! Lines that a program writes, each waited for with a deadline: a program that says nothing fails a test, and does not hang it.

use crate::wait::PATIENCE;
use anyhow::{Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What is read so far of a program's output. A thread reads on, so that the program never waits for its reader.
pub struct Lines(Receiver<std::io::Result<String>>);

impl Lines {
    /// The lines of a pipe. The thread ends with it.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let failed = line.is_err();
                if sender.send(line).is_err() || failed {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next line; `None` when the output has ended. Fails when neither comes within three minutes.
    pub fn next(&self) -> Result<Option<String>> {
        self.next_within(PATIENCE)
    }

    /// All lines that have come and were not taken yet. Does not wait.
    pub fn come(&self) -> Result<Vec<String>> {
        self.0.try_iter().map(|line| line.map_err(Into::into)).collect()
    }

    /// All lines up to the end of the output. Fails when that does not come within three minutes.
    pub fn rest(&self) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        while let Some(line) = self.next_within(end.saturating_duration_since(Instant::now()))? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn next_within(&self, time: Duration) -> Result<Option<String>> {
        match self.0.recv_timeout(time) {
            Ok(line) => Ok(Some(line?)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("waited {time:?} for a line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_come_as_they_are_written_and_silence_is_an_error() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let lines = Lines::of(reader);
        writer.write_all(b"one\ntwo\nth").unwrap();
        assert_eq!(lines.next().unwrap().as_deref(), Some("one"));
        assert_eq!(lines.next().unwrap().as_deref(), Some("two"));
        assert!(lines.next_within(Duration::from_millis(10)).is_err());
        writer.write_all(b"ree\nend").unwrap();
        drop(writer);
        assert_eq!(lines.rest().unwrap(), ["three", "end"]);
        assert!(lines.come().unwrap().is_empty());
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn what_has_come_is_taken_at_once_and_once() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let lines = Lines::of(reader);
        assert!(lines.come().unwrap().is_empty());
        writer.write_all(b"one\ntwo\nthree\n").unwrap();
        let mut all = vec![lines.next().unwrap().unwrap()];
        crate::eventually("all lines", || {
            all.extend(lines.come()?);
            anyhow::ensure!(all == ["one", "two", "three"], "{all:?}");
            Ok(())
        })
        .unwrap();
    }
}
