//! An etcd of three members: with one of them down it is a store like every other, and what was acknowledged outlives the leader.

use crate::backend::{Fixture, Ground, Release, free_port};
use crate::crash::{Acknowledged, write_until_nobody_listens};
use crate::tls::Authority;
use crate::{PATIENCE, events, everything, get, put};
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use orknet_store::etcd::{Etcd, EtcdConfig};
use orknet_store::{Commit, Revision, Store};
use std::collections::HashMap;
use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Three real etcds on the loopback, ended and removed by drop.
pub struct Members {
    release: Release,
    members: Vec<Member>,
    /// Where nobody is let in without a certificate of it, neither clients nor members.
    authority: Option<Box<Authority>>,
    directory: TempDir,
}

struct Member {
    /// Another one each time that it is replaced; also that of its data.
    name: String,
    /// Of which it is told that it joins an etcd that is there.
    joins: bool,
    client: u16,
    peer: u16,
    /// `None` while it is down.
    child: Option<Child>,
}

impl Members {
    /// Starts them and waits until they have a leader.
    pub async fn start(release: Release) -> Self {
        Self::start_with(release, || None).await
    }

    async fn start_with(release: Release, authority: impl Fn() -> Option<Box<Authority>>) -> Self {
        // A port may be taken by somebody else between looking and using: that member ends at once then, and all are tried again.
        for _ in 0..10 {
            let directory = tempfile::tempdir().expect("a directory");
            let member = |number| Member { name: format!("m{number}"), joins: false, client: free_port(), peer: free_port(), child: None };
            let mut members = Self { release, members: (0..3).map(member).collect(), authority: authority(), directory };
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
        let config = EtcdConfig::new(self.members.iter().map(|member| self.url(member.client)));
        let Some(authority) = &self.authority else { return config };
        let (certificate, key) = authority.issue("client");
        EtcdConfig { ca_file: Some(authority.file.clone()), certificate_file: Some(certificate), key_file: Some(key), ..config }
    }

    fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", if self.authority.is_some() { "https" } else { "http" })
    }

    /// A client of one member alone, past the store.
    async fn client(&self, number: usize) -> Result<etcd_client::Client, etcd_client::Error> {
        let mut options = ConnectOptions::new();
        if let Some(authority) = &self.authority {
            let read = |path: &PathBuf| std::fs::read(path).expect("a file");
            let (certificate, key) = authority.issue("operator");
            let identity = Identity::from_pem(read(&certificate), read(&key));
            options = options.with_tls(TlsOptions::new().ca_certificate(Certificate::from_pem(read(&authority.file))).identity(identity));
        }
        etcd_client::Client::connect([self.url(self.members[number].client)], Some(options)).await
    }

    /// The number of the member that leads, as those say that live.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for number in (0..self.members.len()).filter(|number| self.members[*number].child.is_some()) {
                let ask = async {
                    let mut client = self.client(number).await?;
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

    /// A member whose data are lost is taken out by what another says, and one with a new id takes its place and its addresses.
    async fn replace(&mut self, number: usize, by: usize) {
        assert!(self.members[number].child.is_none(), "it is down");
        let peer = self.url(self.members[number].peer);
        let mut client = self.client(by).await.expect("a client");
        let listed = client.member_list().await.expect("a list");
        let lost = listed.members().iter().find(|member| member.peer_urls() == [peer.clone()]).expect("the member").id();
        client.member_remove(lost).await.expect("it goes");
        // etcd takes none before the others have been connected for some seconds.
        let deadline = Instant::now() + PATIENCE;
        let added = loop {
            match client.member_add([peer.clone()], None).await {
                Ok(added) => break added.member().expect("the new one").id(),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_ne!(added, lost);
        let member = &mut self.members[number];
        (member.name, member.joins) = (format!("{}-again", member.name), true);
        self.start_again(number);
    }

    /// Kills all of them, and starts all three.
    pub fn restart(&mut self) {
        (0..3).for_each(|number| self.kill(number));
        // One alone has no majority, so that it may listen without being ready.
        (0..3).for_each(|number| self.spawn(number));
        (0..3).for_each(|number| assert!(self.listens(number), "a member did not start again"));
    }

    fn spawn(&mut self, number: usize) {
        let all: Vec<_> = self.members.iter().map(|member| format!("{}={}", member.name, self.url(member.peer))).collect();
        let place: PathBuf = self.directory.path().join(&self.members[number].name);
        let log = File::options().create(true).append(true).open(place.with_extension("log")).expect("a log");
        let (client, peer) = (self.url(self.members[number].client), self.url(self.members[number].peer));
        let mut command = self.release.command();
        if let Some(authority) = &self.authority {
            let issued = authority.issue(&self.members[number].name);
            command.args(authority.arguments("", &issued)).args(authority.arguments("peer-", &issued));
        }
        let member = &mut self.members[number];
        command.args(["--initial-cluster-state", if member.joins { "existing" } else { "new" }]);
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
    pub async fn two_of_three(release: Release) -> Self {
        let mut members = Members::start(release).await;
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
    let mut members = Members::start(Release::Debian).await;
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
    let mut members = Members::start(Release::Next).await;
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

/// With certificates asked of everybody: the store goes on at the same addresses when a member that lost its data comes back as another, and the new one
/// counts: with it there is a majority when another is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_may_be_replaced_by_another_under_tls_and_nothing_is_missed() {
    let mut members = Members::start_with(Release::Next, || Some(Box::new(Authority::new()))).await;
    let stranger = EtcdConfig { certificate_file: None, key_file: None, connect_timeout_seconds: 2, ..members.config() };
    assert!(Etcd::connect(stranger).await.is_err(), "they let in somebody without a certificate");
    let store = members.connect().await;
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(everything(), start).await.unwrap();
    let mut written = vec![put_in_time(&*store, "before").await];
    let lost = members.leader().await;
    members.kill(lost);
    let leads = members.leader().await;
    written.push(put_in_time(&*store, "without").await);
    members.replace(lost, leads).await;
    written.push(put_in_time(&*store, "replaced").await);
    members.kill(leads);
    written.push(put_in_time(&*store, "by the new one").await);
    let mut seen = Vec::new();
    while seen.last() < written.last() {
        seen.extend(events(&mut watch).await.into_iter().map(|event| event.revision));
    }
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "{seen:?}");
    assert!(written.iter().all(|revision| seen.contains(revision)), "{written:?} were written, {seen:?} seen");
    assert_eq!(get(&*store, "before").await.unwrap().value, "before");
}

/// Writes until it is acknowledged, as a client does that is told to try again; answers the revision.
async fn put_in_time(store: &dyn Store, key: &'static str) -> Revision {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.commit(Vec::new(), vec![put(key, key)]).await {
            Ok(Commit::Done(revision)) => return revision,
            other => assert!(Instant::now() < deadline, "{key}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
