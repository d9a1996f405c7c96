//! Exec probes: a command in the container; exit code 0 is success.

use std::time::Duration;

use super::tracker::Outcome;
use crate::cri::Cri;

/// Longest output in a message, in bytes.
const OUTPUT_MAX: usize = 10 << 10;

/// Runs the command.
pub(super) async fn ask(cri: &Cri, id: &str, command: Vec<String>, limit: Duration) -> Outcome {
    let shown = command.join(" ");
    // containerd kills the command at the limit; the margin lets its answer arrive.
    let call = tokio::time::timeout(limit + Duration::from_secs(2), cri.exec_sync(id, command, limit)).await;
    let timed_out = || Outcome::Failure(format!("command timed out: \"{shown}\" timed out after {}s", limit.as_secs()));
    match call {
        Err(_) => timed_out(),
        Ok(Err(crate::Error::Cri { source, .. }))
            if source.code() == tonic::Code::DeadlineExceeded || source.message().contains("timeout") =>
        {
            timed_out()
        }
        Ok(Err(error)) => Outcome::Unknown(error.to_string()),
        Ok(Ok(done)) if done.exit_code == 0 => Outcome::Success,
        Ok(Ok(done)) => {
            let mut output = done.stdout;
            output.extend(done.stderr);
            output.truncate(OUTPUT_MAX);
            Outcome::Failure(String::from_utf8_lossy(&output).into_owned())
        }
    }
}
