//! Which of etcd's members is asked. All requests go to one, for as long as it answers: all members are asked for the newest revision again and again,
//! and one that says nothing while another does (it is stopped, cut off, or without a majority) is left for the other. A connection alone tells too
//! little: that of a process that is stopped stays open, and can even be made anew.

use super::client::Clients;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Between two questions to all members.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// One that has not answered by then says nothing.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What was asked of a member that was left may still be answered for so long.
const GRACE: Duration = Duration::from_secs(1);

/// The members, and the one that is asked.
pub struct Members {
    shared: Arc<Shared>,
    asking: JoinHandle<()>,
}

struct Shared {
    members: Vec<Clients>,
    /// Whether each answered last.
    answers: Vec<AtomicBool>,
    current: watch::Sender<usize>,
}

impl Members {
    /// One at least. `key` is read to see whether a member answers.
    pub fn new(members: Vec<Clients>, key: Vec<u8>) -> Self {
        // Servers that are started alike shall not all ask the same.
        let first = std::process::id() as usize % members.len().max(1);
        let answers = members.iter().map(|_| AtomicBool::new(true)).collect();
        let shared = Arc::new(Shared { members, answers, current: watch::Sender::new(first) });
        Self { asking: tokio::spawn(shared.clone().ask(key)), shared }
    }

    /// Whom to ask now, with his number.
    pub fn current(&self) -> (usize, Clients) {
        let number = *self.shared.current.borrow();
        (number, self.shared.members[number].clone())
    }

    /// Asks another one from now on, unless that is done already.
    pub fn leave(&self, number: usize) {
        self.shared.leave(number);
    }

    /// Completes when this one was left, and has had time to answer what it was asked before.
    pub async fn left(&self, number: usize) {
        // The sender lives as long as this value.
        let _ = self.shared.current.subscribe().wait_for(|current| *current != number).await;
        sleep(GRACE).await;
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<usize> {
        self.shared.current.subscribe()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Shared {
    /// For ever.
    async fn ask(self: Arc<Self>, key: Vec<u8>) {
        if self.members.len() < 2 {
            return;
        }
        loop {
            let asked = self.members.iter().cloned().map(|mut clients| {
                let key = key.clone();
                async move { timeout(PATIENCE, clients.kv.get(key, None)).await.is_ok_and(|answer| answer.is_ok()) }
            });
            for (answers, said) in self.answers.iter().zip(join_all(asked).await) {
                answers.store(said, Ordering::Relaxed);
            }
            let current = *self.current.borrow();
            // During an election nobody answers, and nobody is left.
            if !self.answers(current) && (0..self.members.len()).any(|number| self.answers(number)) {
                tracing::info!(member = current, "a member of etcd does not answer, and another one is asked");
                self.leave(current);
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn answers(&self, number: usize) -> bool {
        self.answers[number].load(Ordering::Relaxed)
    }

    fn leave(&self, number: usize) {
        let next = next(number, self.members.len(), |number| self.answers(number));
        self.current.send_if_modified(|current| {
            let is_moved = *current == number && next != number;
            if is_moved {
                *current = next;
            }
            is_moved
        });
    }
}

/// The next one that answers, or simply the next one.
fn next(number: usize, count: usize, answers: impl Fn(usize) -> bool) -> usize {
    let others = (1..count).map(|step| (number + step) % count);
    others.clone().find(|other| answers(*other)).or(others.clone().next()).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_one_is_another_that_answers_if_one_does() {
        assert_eq!(next(0, 3, |number| number == 2), 2);
        assert_eq!(next(2, 3, |_| true), 0);
        // Nobody does: all are tried in turn.
        assert_eq!((next(0, 3, |_| false), next(1, 3, |_| false), next(2, 3, |_| false)), (1, 2, 0));
        assert_eq!(next(0, 1, |_| false), 0);
    }
}
