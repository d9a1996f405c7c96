//! The real kubectl, unmodified, against one cluster.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// kubectl with a kubeconfig and, usually, a namespace of the test's own.
#[derive(Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

/// What a finished kubectl said.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Kubectl {
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, namespace: None }
    }

    /// The same, in another namespace.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The command, to be started by the caller.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        // Discovery is kept between runs in the home directory otherwise, and clusters of tests share a port in turn.
        command.arg("--cache-dir").arg(self.kubeconfig.with_extension("cache")).args(arguments);
        command
    }

    /// Runs to the end, whatever the outcome.
    pub fn output(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = self.command(arguments);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl; remedy: cargo xtask setup")?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            // A kubectl that ends early closes the pipe; its outcome tells why.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs to the end; standard output, or an error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.finish(arguments, self.output(arguments, None)?)
    }

    /// The same with standard input, as for `apply -f -`.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.finish(arguments, self.output(arguments, Some(input))?)
    }

    /// Expects failure; what it said on standard error.
    pub fn fails(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let output = self.output(arguments, input)?;
        if output.code == 0 {
            bail!("kubectl {arguments:?} was expected to fail and said: {}", output.stdout);
        }
        Ok(output.stderr)
    }

    /// `apply -f -` of YAML, JSON included. kubectl 1.32 would take what begins with a brace for JSON alone.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.run_with(&["apply", "-f", "-"], &format!("---\n{manifest}"))
    }

    /// `get … -o json`, parsed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {arguments:?} printed no JSON"))
    }

    /// Started, with all three streams piped.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot run kubectl; remedy: cargo xtask setup")
    }

    fn finish(&self, arguments: &[&str], output: Output) -> Result<String> {
        if output.code != 0 {
            bail!("kubectl {arguments:?} in {}: exit {}\n{}{}", self.namespace(), output.code, output.stdout, output.stderr);
        }
        Ok(output.stdout)
    }
}

/// Whether kubectl's own log (`-v=7`) shows a request with this method to this path. 1.32 writes `GET https://…`, 1.33 `verb="GET" url="https://…"`.
pub fn asked(log: &str, method: &str, path: &str) -> bool {
    let forms = [format!("verb=\"{method}\""), format!("{method} https://")];
    log.lines().any(|line| line.contains(path) && forms.iter().any(|form| line.contains(form.as_str())))
}
