//! An etcd of three members: with one of them down it is a store like every other, and what was acknowledged outlives the leader.

use crate::backend::{Fixture, Ground, free_port};
use crate::crash::{Acknowledged, write_until_nobody_listens};
use crate::{PATIENCE, events, everything, get};
use orknet_store::Store;
use orknet_store::etcd::{Etcd, EtcdConfig};
use std::collections::HashMap;
use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Three real etcds on the loopback, ended and removed by drop.
pub struct Members {
    members: Vec<Member>,
    directory: TempDir,
}

struct Member {
    name: String,
    client: u16,
    peer: u16,
    /// `None` while it is down.
    child: Option<Child>,
}

impl Members {
    /// Starts them and waits until they have a leader.
    pub async fn start() -> Self {
        // A port may be taken by somebody else between looking and using: that member ends at once then, and all are tried again.
        for _ in 0..10 {
            let directory = tempfile::tempdir().expect("a directory");
            let member = |number| Member { name: format!("m{number}"), client: free_port(), peer: free_port(), child: None };
            let mut members = Self { members: (0..3).map(member).collect(), directory };
            (0..3).for_each(|number| members.spawn(number));
            if (0..3).all(|number| members.listens(number)) {
                members.leader().await;
                return members;
            }
        }
        panic!("etcd did not start");
    }

    pub async fn connect(&self) -> Arc<dyn Store> {
        Etcd::connect(self.config()).await.expect("etcd answers")
    }

    pub fn config(&self) -> EtcdConfig {
        EtcdConfig::new(self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.client)))
    }

    /// The number of the member that leads, as those say that live.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (number, member) in self.members.iter().enumerate().filter(|(_, member)| member.child.is_some()) {
                let ask = async {
                    let mut client = etcd_client::Client::connect([format!("127.0.0.1:{}", member.client)], None).await?;
                    client.status().await
                };
                if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_secs(2), ask).await
                    && status.leader() != 0
                    && status.header().is_some_and(|header| header.member_id() == status.leader())
                {
                    return number;
                }
            }
            assert!(Instant::now() < deadline, "there is no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9, and waits for its end.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again with its data.
    pub fn start_again(&mut self, number: usize) {
        self.spawn(number);
        assert!(self.listens(number), "a member did not start again");
    }

    /// Kills all of them, and starts all three.
    pub fn restart(&mut self) {
        (0..3).for_each(|number| self.kill(number));
        // One alone has no majority, so that it may listen without being ready.
        (0..3).for_each(|number| self.spawn(number));
        (0..3).for_each(|number| assert!(self.listens(number), "a member did not start again"));
    }

    fn spawn(&mut self, number: usize) {
        let url = |port| format!("http://127.0.0.1:{port}");
        let all: Vec<_> = self.members.iter().map(|member| format!("{}={}", member.name, url(member.peer))).collect();
        let place: PathBuf = self.directory.path().join(&self.members[number].name);
        let log = File::options().create(true).append(true).open(place.with_extension("log")).expect("a log");
        let member = &mut self.members[number];
        let (client, peer) = (url(member.client), url(member.peer));
        let mut command = Command::new("etcd");
        command.args(["--name", &member.name, "--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &all.join(",")]);
        command.arg("--data-dir").arg(place).stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        member.child = Some(command.spawn().expect("etcd is installed (Debian package etcd-server)"));
    }

    /// Waits until it listens; false when it ended.
    fn listens(&mut self, number: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let member = &mut self.members[number];
            if member.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some()) {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", member.client)).is_ok() {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("a member does not listen");
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
    }
}

impl Fixture {
    /// Three members, the leader of which has just been killed.
    pub async fn two_of_three() -> Self {
        let mut members = Members::start().await;
        let store = members.connect().await;
        let leader = members.leader().await;
        members.kill(leader);
        members.leader().await;
        Self { store, ground: Ground::Members { members } }
    }
}

/// Kills the leader under write load, and returns it, three times: each time another one is likely to lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_no_acknowledged_write_and_the_open_watch_no_event() {
    let mut members = Members::start().await;
    let store = members.connect().await;
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(everything(), start).await.unwrap();
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
    let writers: Vec<_> =
        (0..4).map(|writer| tokio::spawn(write_until_nobody_listens(store.clone(), writer, acknowledge.clone()))).collect();
    drop(acknowledge);
    let mut all: Vec<Acknowledged> = Vec::new();
    for round in 1..=3 {
        receive(&mut acknowledged, &mut all, round * 300 - 150).await;
        let leader = members.leader().await;
        members.kill(leader);
        // The other two go on before it returns.
        receive(&mut acknowledged, &mut all, round * 300).await;
        members.start_again(leader);
    }
    receive(&mut acknowledged, &mut all, 1000).await;
    acknowledged.close();
    for writer in writers {
        writer.await.unwrap();
    }
    let newest = all.iter().map(|(revision, _)| *revision).max().unwrap();
    let mut seen = HashMap::new();
    let mut last = start;
    while last < newest {
        for event in events(&mut watch).await {
            assert!(event.revision > last, "revision {} came after {last}", event.revision);
            last = event.revision;
            seen.insert(event.revision, event.key);
        }
    }
    for (revision, key) in &all {
        assert_eq!(seen.get(revision).map(|key| &key[..]), Some(key.as_bytes()), "the event of revision {revision}");
        assert_eq!(get(&*store, key).await.expect("what was acknowledged").mod_revision, *revision);
    }
    // The watch told all that is there, whether it was acknowledged or not.
    let there = store.range(everything(), Some(last), 0).await.unwrap().entries;
    assert_eq!(there.len(), seen.len());
    assert!(there.iter().all(|entry| seen.get(&entry.mod_revision) == Some(&entry.key)));
}

/// Waits until `count` writes were acknowledged.
async fn receive(from: &mut mpsc::UnboundedReceiver<Acknowledged>, all: &mut Vec<Acknowledged>, count: usize) {
    while all.len() < count {
        let next = tokio::time::timeout(PATIENCE, from.recv()).await.expect("writes go on in time");
        all.push(next.expect("writers write"));
    }
}

/// A store without a majority says so in time, and goes on when there is one again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_requests_fail_in_time_and_with_it_they_go_on() {
    let mut members = Members::start().await;
    let config = EtcdConfig { request_timeout_seconds: 2, ..members.config() };
    let store = Etcd::connect(config).await.unwrap();
    let before = crate::write(&*store, vec![crate::put("a", "1")]).await;
    let mut watch = store.watch(everything(), before).await.unwrap();
    members.kill(0);
    members.kill(1);
    let began = Instant::now();
    let refused = store.commit(Vec::new(), vec![crate::put("b", "1")]).await;
    assert!(matches!(refused, Err(orknet_store::StoreError::Unavailable(_))), "{refused:?}");
    assert!(store.range(everything(), None, 0).await.is_err(), "a read that may be out of date was answered");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    members.start_again(0);
    let deadline = Instant::now() + PATIENCE;
    let after = loop {
        match store.commit(Vec::new(), vec![crate::put("c", "1")]).await {
            Ok(orknet_store::Commit::Done(revision)) => break revision,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    let mut last = before;
    while last < after {
        let event = events(&mut watch).await.remove(0);
        assert!(event.revision > last && (event.key == "b" || event.key == "c"), "{event:?}");
        last = event.revision;
    }
}
