//! Exec probes: a command in the container; exit code 0 is success.

use std::time::Duration;

use crate::cri::Cri;

/// Longest output in a message, in bytes.
const OUTPUT_MAX: usize = 10 << 10;

/// Runs the command.
///
/// # Errors
/// What to tell people.
pub(super) async fn ask(cri: &Cri, id: &str, command: Vec<String>, limit: Duration) -> Result<(), String> {
    let shown = command.join(" ");
    // containerd kills the command at the limit; the margin lets its answer arrive.
    let call = tokio::time::timeout(limit + Duration::from_secs(2), cri.exec_sync(id, command, limit)).await;
    let timed_out = || format!("command timed out: \"{shown}\" timed out after {}s", limit.as_secs());
    match call {
        Err(_) => Err(timed_out()),
        Ok(Err(crate::Error::Cri { source, .. }))
            if source.code() == tonic::Code::DeadlineExceeded || source.message().contains("timeout") =>
        {
            Err(timed_out())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(done)) if done.exit_code == 0 => Ok(()),
        Ok(Ok(done)) => {
            let mut output = done.stdout;
            output.extend(done.stderr);
            output.truncate(OUTPUT_MAX);
            Err(String::from_utf8_lossy(&output).into_owned())
        }
    }
}
