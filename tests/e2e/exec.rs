//! Do `kubectl exec`, `attach`, `run -it`, `cp` and `debug` carry every byte and the right outcome?

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, BUSYBOX, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

tests![
    e2e_exec_passes_input_outputs_and_exit_codes,
    e2e_streams_work_in_every_protocol_of_kubectl,
    e2e_exec_carries_megabytes_both_ways,
    e2e_exec_on_a_terminal_is_a_terminal,
    e2e_exec_that_cannot_be_done_says_why,
    e2e_attach_joins_the_main_process,
    e2e_run_shows_what_a_short_process_says,
    e2e_run_on_a_terminal_talks_and_cleans_up,
    e2e_cp_copies_files_and_directories_both_ways,
];

fn idle(kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "idle", json!({"containers": [shell("main", "exec sleep 3600"), shell("second", "exec sleep 3600")]}))
}

fn e2e_exec_passes_input_outputs_and_exit_codes(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let output = kubectl.output(&["exec", "idle", "-c", "second", "--", "sh", "-c", "echo out; echo err >&2; exit 42"], None)?;
    ensure!(output.code == 42 && output.stdout == "out\n", "{output:?}");
    ensure!(output.stderr == "err\ncommand terminated with exit code 42\n", "{output:?}");
    ensure!(kubectl.run_with(&["exec", "-i", "idle", "--", "cat"], "a\nb")? == "a\nb");
    ensure!(kubectl.run_with(&["exec", "-i", "idle", "--", "wc", "-c"], "")?.trim() == "0", "an empty input ends");
    ensure!(kubectl.run(&["exec", "idle", "--", "echo", "a b", "$HOME", "ü", "&"])? == "a b $HOME ü &\n", "no shell in between");
    ensure!(kubectl.run(&["exec", "idle", "--", "true"])?.is_empty());
    // Twenty at once do not disturb each other.
    let all: Vec<_> = (0..20).map(|n| kubectl.start(&["exec", "idle", "--", "echo", &n.to_string()])).collect::<Result<_>>()?;
    for (n, one) in all.into_iter().enumerate() {
        let said = one.wait_with_output()?;
        ensure!(said.status.success() && said.stdout == format!("{n}\n").as_bytes(), "{said:?}");
    }
    Ok(())
}

fn e2e_streams_work_in_every_protocol_of_kubectl(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let with_switch = |websockets: &str, arguments: &[&str], input: &str| -> Result<Output> {
        let mut command = kubectl.command(arguments);
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
        child.wait_with_output().context("cannot wait for kubectl")
    };
    for (websockets, verb) in [("true", "GET"), ("false", "POST")] {
        let said = with_switch(websockets, &["exec", "-v=7", "-i", "idle", "--", "sh", "-c", "cat; echo err >&2; exit 6"], "in")?;
        let errors = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.code() == Some(6) && said.stdout == b"in" && errors.contains("err\n"), "{said:?}");
        ensure!(!errors.contains("fallback") && orknet_tests::kubectl::asked(&errors, verb, "/exec?"), "{errors}");
        let killed = with_switch(websockets, &["exec", "idle", "--", "sh", "-c", "kill -9 $$"], "")?;
        ensure!(killed.status.code() == Some(137), "{killed:?}");
    }
    Ok(())
}

fn e2e_exec_carries_megabytes_both_ways(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let megabytes: String = (0..10 * 1024 * 1024 / 8).map(|n| format!("{n:07}\n")).collect();
    let back = kubectl.run_with(&["exec", "-i", "idle", "--", "tee", "/copy"], &megabytes)?;
    ensure!(back == megabytes, "{} bytes of {} came back", back.len(), megabytes.len());
    ensure!(kubectl.run(&["exec", "idle", "--", "cat", "/copy"])? == megabytes);
    Ok(())
}

fn e2e_exec_on_a_terminal_is_a_terminal(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let said =
        on_terminal(kubectl, &["exec", "-it", "idle", "--", "sh"], "stty size; test -t 0 && test -t 1 && echo ter''minal; exit 3\n")?;
    let text = String::from_utf8_lossy(&said.stdout);
    ensure!(text.contains("terminal\r\n") && text.contains("33 77\r\n"), "{text:?}");
    ensure!(said.status.code() == Some(3), "{said:?}");
    Ok(())
}

/// Runs kubectl with a terminal of 33 lines and 77 columns of its own, and types the input.
fn on_terminal(kubectl: &Kubectl, arguments: &[&str], input: &str) -> Result<Output> {
    let command = kubectl.command(arguments);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
    let line: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty rows 33 cols 77; {}", line.join(" ")), "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run script")?;
    let mut stdin = child.stdin.take().context("script has no input")?;
    stdin.write_all(input.as_bytes()).context("cannot type")?;
    // An end of the input would hang up; the command ends by itself.
    let output = child.wait_with_output().context("cannot wait for script");
    drop(stdin);
    output
}

fn e2e_exec_that_cannot_be_done_says_why(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let output = kubectl.output(&["exec", "idle", "--", "no-such-program"], None)?;
    ensure!(output.code != 0 && output.stderr.contains("no-such-program") && output.stderr.contains("not found"), "{output:?}");
    let output = kubectl.output(&["exec", "idle", "-c", "nobody", "--", "true"], None)?;
    ensure!(
        output.code == 1 && output.stderr == "Error from server (BadRequest): container nobody is not valid for pod idle\n",
        "{output:?}"
    );
    let output = kubectl.output(&["exec", "nobody", "--", "true"], None)?;
    ensure!(output.stderr == "Error from server (NotFound): pods \"nobody\" not found\n", "{output:?}");
    pods::run(kubectl, "over", json!({"containers": [shell("main", "true")]}))?;
    let output = kubectl.output(&["exec", "over", "--", "true"], None)?;
    ensure!(
        output.code == 1 && output.stderr.contains("cannot exec into a container in a completed pod; current phase is Succeeded"),
        "{output:?}"
    );
    Ok(())
}

fn e2e_attach_joins_the_main_process(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let script = "while read line; do echo got $line; done; echo ended; sleep 3600";
    let main = with(shell("main", script), json!({"stdin": true, "stdinOnce": true}));
    pods::start(kubectl, "reader", json!({"containers": [main]}))?;
    let mut attached = kubectl.start(&["attach", "-i", "reader"])?;
    let mut input = attached.stdin.take().context("kubectl has no input")?;
    input.write_all(b"one\ntwo\n")?;
    eventually("the lines to arrive", || {
        ensure!(kubectl.run(&["logs", "reader"])? == "got one\ngot two\n", "not yet");
        Ok(())
    })?;
    // With stdinOnce the end of the first client's input is the end of the process's.
    drop(input);
    eventually("the end to arrive", || {
        ensure!(kubectl.run(&["logs", "reader"])?.ends_with("ended\n"), "not yet");
        Ok(())
    })?;
    kubectl.run(&["delete", "pod", "reader"])?;
    let said = attached.wait_with_output()?;
    ensure!(String::from_utf8_lossy(&said.stdout) == "got one\ngot two\nended\n", "{said:?}");
    Ok(())
}

fn e2e_run_shows_what_a_short_process_says(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for n in 0..8 {
        let name = format!("short-{n}");
        let output =
            kubectl.output(&["run", &name, "-i", "--rm", "--restart=Never", "--image", BUSYBOX, "--", "echo", "hello"], Some(""))?;
        ensure!(output.code == 0 && output.stdout.lines().filter(|line| *line == "hello").count() == 1, "{n}: {output:?}");
        ensure!(output.stdout.contains(&format!("pod \"{name}\" deleted")), "{output:?}");
    }
    let output =
        kubectl.output(&["run", "bad", "-i", "--rm", "--restart=Never", "--image", BUSYBOX, "--", "sh", "-c", "exit 9"], Some(""))?;
    ensure!(output.code == 9, "the outcome is the process's: {output:?}");
    Ok(())
}

fn e2e_run_on_a_terminal_talks_and_cleans_up(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let output = kubectl.output(
        &["run", "asks", "-i", "--rm", "--restart=Never", "--image", BUSYBOX, "--", "sh", "-c", "read a; echo got $a"],
        Some("words\n"),
    )?;
    ensure!(output.code == 0 && output.stdout.starts_with("got words\n"), "{output:?}");
    let said = on_terminal(
        kubectl,
        &["run", "typed", "-it", "--rm", "--restart=Never", "--image", BUSYBOX, "--", "sh"],
        "tty; echo an''swer; exit\n",
    )?;
    let text = String::from_utf8_lossy(&said.stdout);
    ensure!(text.contains("/dev/") && text.contains("answer\r\n") && text.contains("pod \"typed\" deleted"), "{text:?}");
    let left = kubectl.run(&["get", "pods", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

fn e2e_cp_copies_files_and_directories_both_ways(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    idle(kubectl)?;
    let root = std::env::temp_dir().join(format!("orknet-cp-{}", std::process::id()));
    let there = root.join("there");
    let copied = (|| {
        fs::create_dir_all(there.join("deep/er"))?;
        let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(there.join("big"), &big)?;
        fs::write(there.join("deep/er/small file"), "text")?;
        let (from, back) = (there.display().to_string(), root.join("back").display().to_string());
        kubectl.run(&["cp", &from, "idle:/copy"])?;
        ensure!(pods::sh(kubectl, "idle", "cat '/copy/deep/er/small file'; wc -c < /copy/big")? == "text3000000\n");
        kubectl.run(&["cp", "idle:/copy", &back])?;
        ensure!(fs::read(root.join("back/big"))? == big && fs::read_to_string(root.join("back/deep/er/small file"))? == "text");
        kubectl.run(&["cp", "-c", "second", &there.join("deep/er/small file").display().to_string(), "idle:/tmp-file"])?;
        ensure!(kubectl.run(&["exec", "idle", "-c", "second", "--", "cat", "/tmp-file"])? == "text");
        Ok(())
    })();
    let _ = fs::remove_dir_all(&root);
    copied
}
