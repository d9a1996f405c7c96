//! Is a host that lacks something told so in a line with a remedy, before anything is made?

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, cluster, faults, traces};
use std::fs;
use std::path::Path;
use std::process::Command;

faults![
    root_a_missing_program_is_named_with_its_package,
    root_a_missing_etcd_is_named_when_it_is_asked_for,
    root_a_missing_cgroup2_is_named_with_its_remedy,
    root_a_missing_bpf_file_system_is_named_with_its_remedy,
    root_several_missing_things_are_told_at_once,
];

fn root_a_missing_program_is_named_with_its_package() -> Result<()> {
    let programs = path_without("containerd")?;
    let cluster = Cluster::named("hp");
    let mut up = cluster.command(&["up", "--bare"]);
    up.env("PATH", programs.path());
    is_told(&cluster, &mut up, &["containerd", "apt-get install containerd"])
}

fn root_a_missing_etcd_is_named_when_it_is_asked_for() -> Result<()> {
    let programs = path_without("etcd")?;
    let cluster = Cluster::named("he");
    let mut up = cluster.command(&["up", "--bare", "--store", "etcd"]);
    up.env("PATH", programs.path());
    is_told(&cluster, &mut up, &["etcd", "apt-get install etcd-server"])
}

fn root_a_missing_cgroup2_is_named_with_its_remedy() -> Result<()> {
    let cluster = Cluster::named("hc");
    let mount = if Path::new("/sys/fs/cgroup/unified").exists() { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
    is_told(&cluster, &mut in_own_mounts(&cluster, &format!("umount -l {mount}")), &["cgroup2", "mount -t cgroup2"])
}

fn root_a_missing_bpf_file_system_is_named_with_its_remedy() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let known = directory.path().join("filesystems");
    let without: String = fs::read_to_string("/proc/filesystems")?
        .lines()
        .filter(|line| !line.ends_with("\tbpf"))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(&known, without)?;
    let cluster = Cluster::named("hb");
    let hide = format!("mount --bind {} /proc/filesystems", known.display());
    is_told(&cluster, &mut in_own_mounts(&cluster, &hide), &["bpf", "CONFIG_BPF_SYSCALL"])
}

fn root_several_missing_things_are_told_at_once() -> Result<()> {
    let nothing = tempfile::tempdir()?;
    let cluster = Cluster::named("hs");
    let mut up = cluster.command(&["up", "--bare"]);
    up.env("PATH", nothing.path());
    // What is in /usr/sbin is found without PATH.
    let said = refusal(&cluster, &mut up)?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 3 && lines[0].contains("lacks 2 things"), "{said}");
    ensure!(lines[1].contains("apt-get install busybox-static") && lines[2].contains("apt-get install containerd"), "{said}");
    Ok(())
}

/// `up` in a mount namespace of its own, in which `change` was run first.
fn in_own_mounts(cluster: &Cluster, change: &str) -> Command {
    let mut command = Command::new("unshare");
    let binary = cluster::orknet().get_program().to_owned();
    command.args(["--mount", "sh", "-c", &format!("{change} && exec \"$0\" up --bare --name {}", cluster.name())]).arg(binary);
    command
}

fn is_told(cluster: &Cluster, up: &mut Command, words: &[&str]) -> Result<()> {
    let said = refusal(cluster, up)?;
    ensure!(said.lines().count() == 1 && said.contains("remedy"), "{said}");
    ensure!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
    Ok(())
}

/// What `up` says when it fails without having made anything.
fn refusal(cluster: &Cluster, up: &mut Command) -> Result<String> {
    let output = up.output().context("cannot run orknet up")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "`up` did not fail: {said}");
    traces::none(cluster)?;
    Ok(said)
}

/// A directory for PATH with links to everything that a cluster needs but one.
fn path_without(missing: &str) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["containerd", "containerd-shim-runc-v2", "ctr", "runc", "busybox", "etcd"].into_iter().filter(|name| *name != missing) {
        let found = std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|place| place.join(program)).find(|file| file.is_file());
        let found = found.with_context(|| format!("{program} is not installed; remedy: cargo xtask setup"))?;
        std::os::unix::fs::symlink(found, directory.path().join(program))?;
    }
    Ok(directory)
}
