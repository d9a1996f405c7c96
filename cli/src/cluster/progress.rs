//! What `up` and `down` show: a spinner with the step's name on a terminal, plain lines otherwise.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The steps of one command.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    step_started: Instant,
    step: Option<String>,
}

impl Progress {
    /// For a command with about `steps` steps. Writes to standard error.
    pub fn new(steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, started: Instant::now(), step_started: Instant::now(), step: None }
    }

    /// Ends the step before and begins this one.
    pub fn step(&mut self, name: impl Into<String>) {
        if self.step.is_some() {
            self.finish_step();
        }
        let name = name.into();
        match &self.bar {
            Some(bar) => bar.set_message(name.clone()),
            None => eprintln!("… {name}"),
        }
        self.step_started = Instant::now();
        self.step = Some(name);
    }

    /// Ends the last step; the time it all took.
    pub fn finish(mut self) -> Duration {
        self.finish_step();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }

    fn finish_step(&mut self) {
        self.end_step('✓');
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn end_step(&mut self, sign: char) {
        let Some(name) = self.step.take() else { return };
        let line = format!("{sign} {name} ({:.1} s)", self.step_started.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    /// After an error: says where, and leaves a clean line for what is said about it.
    fn drop(&mut self) {
        self.end_step('✗');
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
