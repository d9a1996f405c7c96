//! Which server says that it leads, asked of all of them again and again.

use crate::site::{COUNT, Site};
use anyhow::{Context, Result};
use orknet_tests::https::Api;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What controllers and scheduler are elected by.
pub const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);

/// One server's answer: when it was asked, and of each Lease whether it leads; `None` when it did not answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub server: usize,
    pub at: Instant,
    pub leads: Option<[bool; 2]>,
}

/// Asks until it ends.
pub struct Leaders {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    thread: Option<JoinHandle<()>>,
}

impl Leaders {
    pub fn start(site: &Site) -> Result<Self> {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Answer>>>::default());
        let apis: Vec<Api> = (0..COUNT).map(|server| Ok(site.api(server)?.within(PATIENCE))).collect::<Result<_>>()?;
        let (told, kept) = (stop.clone(), answers.clone());
        let thread = std::thread::spawn(move || {
            let mut connections: Vec<_> = apis.iter().map(|_| None).collect();
            while !told.load(Ordering::Acquire) {
                for (server, api) in apis.iter().enumerate() {
                    let at = Instant::now();
                    let connection = connections[server].take().or_else(|| api.connect().ok());
                    let answer = connection.and_then(|mut connection| {
                        let answer = connection.send("GET", "/metrics", &[], &[]).ok()?;
                        connections[server] = Some(connection);
                        Some(answer.text())
                    });
                    let leads = answer.map(|text| LEASES.map(|lease| leads(&text, lease)));
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(Answer { server, at, leads });
                }
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Self { stop, answers, thread: Some(thread) })
    }

    /// Who led last, of those that were asked after `since`.
    pub fn now(&self, lease: usize, since: Instant) -> Option<(usize, Instant)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            answers.iter().rev().take_while(|answer| answer.at >= since).find(|answer| answer.leads.is_some_and(|leads| leads[lease]));
        found.map(|answer| (answer.server, answer.at))
    }

    pub fn finish(mut self) -> Result<Vec<Answer>> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("it was finished")?;
        thread.join().ok().context("who asks for leaders panicked")?;
        Ok(std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Leaders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn leads(metrics: &str, lease: &str) -> bool {
    let name = format!("name=\"{lease}\"");
    metrics.lines().any(|line| line.starts_with("leader_election_master_status{") && line.contains(&name) && line.ends_with(" 1"))
}

/// Two servers that led at the same time: one said so between two answers of the other that followed each other. Once is enough: the answer is asked of
/// the term's end, also in a process that was stopped for longer than its Lease.
pub fn two_at_once(answers: &[Answer], lease: usize) -> Option<(Answer, Answer)> {
    let leads = |answer: &Answer| answer.leads.is_some_and(|leads| leads[lease]);
    (0..answers.len()).filter(|&at| leads(&answers[at])).find_map(|at| {
        // The next answer of the same server.
        let again = at + 1 + answers[at + 1..].iter().position(|answer| answer.server == answers[at].server)?;
        let other = answers[at + 1..again].iter().find(|answer| leads(answer)).filter(|_| leads(&answers[again]))?;
        Some((answers[at], *other))
    })
}
