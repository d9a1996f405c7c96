//! The client of one term: reads pass always; a write begins only while the term lasts, and whoever ends the term can wait for those on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The end of a candidate's term, which every write asks: a process that slept over it begins no write when it wakes.
#[derive(Debug)]
pub(super) struct Deadline {
    start: Instant,
    /// Nanoseconds after `start`; 0: no term.
    end: AtomicU64,
}

impl Deadline {
    pub fn new() -> Self {
        Self { start: Instant::now(), end: AtomicU64::new(0) }
    }

    /// The candidate's clock. It stands still while the machine sleeps (CLOCK_MONOTONIC).
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn set(&self, end: Option<Duration>) {
        let nanoseconds = end.map_or(0, |end| u64::try_from(end.as_nanos()).unwrap_or(u64::MAX));
        self.end.store(nanoseconds, Ordering::SeqCst);
    }

    /// What is left of the term.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.end.load(Ordering::SeqCst)).saturating_sub(self.now())
    }
}

/// Whether a candidate leads, by the clock as it is asked: a process that slept over the end of its term does not say once that it does, however long it
/// takes to find out. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Leadership {
    pub(super) deadline: Arc<Deadline>,
}

impl Default for Leadership {
    /// Of one that does not lead.
    fn default() -> Self {
        Self { deadline: Arc::new(Deadline::new()) }
    }
}

impl Leadership {
    /// From when the Lease was taken until the term is given back or over.
    pub fn leads(&self) -> bool {
        !self.deadline.left().is_zero()
    }
}

/// Why a write was not begun, or not waited for.
#[derive(Debug, thiserror::Error)]
#[error("this process does not lead any more")]
struct NotLeading;

/// See the module. Clones are handles to the same gate.
#[derive(Clone)]
pub(super) struct Gate {
    deadline: Arc<Deadline>,
    is_open: Arc<AtomicBool>,
    /// Cancelled: the writes on their way are given up.
    lost: CancellationToken,
    writes: TaskTracker,
}

impl Gate {
    pub fn new(deadline: Arc<Deadline>) -> Self {
        Self { deadline, is_open: Arc::new(AtomicBool::new(true)), lost: CancellationToken::new(), writes: TaskTracker::new() }
    }

    /// A client whose writes go through the gate. Must be called inside a tokio runtime.
    pub fn client(&self, client: &Client) -> Client {
        let (gate, inner, namespace) = (self.clone(), client.clone(), client.default_namespace().to_owned());
        Client::new(tower::service_fn(move |request| gate.clone().pass(inner.clone(), request)), namespace)
    }

    async fn pass(self, client: Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        if request.method().is_safe() {
            return Ok(client.send(request).await?);
        }
        // Counted before the question: who closes the gate first and then waits misses none.
        let counted = self.writes.token();
        if !self.is_open.load(Ordering::SeqCst) || self.deadline.left().is_zero() {
            return Err(NotLeading.into());
        }
        // A task of its own: a caller that goes away does not make the write unknown.
        let write = tokio::spawn(self.lost.run_until_cancelled_owned(async move {
            let answer = client.send(request).await;
            drop(counted);
            answer
        }));
        Ok(write.await?.ok_or(NotLeading)??)
    }

    /// No write begins any more.
    pub fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.writes.close();
    }

    /// Writes on their way are given up: they may still be carried out, by a server that has them already.
    pub fn give_up(&self) {
        self.lost.cancel();
    }

    /// Ends when no write is on its way any more, after [`Gate::close`].
    pub async fn drained(&self) {
        self.writes.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use kube::api::{DeleteParams, PostParams};
    use tokio::sync::Semaphore;

    use super::*;

    /// A server that answers as many requests as it is told to.
    fn server() -> (Client, Arc<Semaphore>) {
        let answers = Arc::new(Semaphore::new(0));
        let given = answers.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            let given = given.clone();
            async move {
                given.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Response::new(r#"{"metadata":{"name":"n"}}"#.to_owned()))
            }
        });
        (Client::new(service, "default"), answers)
    }

    fn gate(term: Duration) -> Gate {
        let deadline = Arc::new(Deadline::new());
        deadline.set(Some(deadline.now() + term));
        Gate::new(deadline)
    }

    #[tokio::test]
    async fn a_closed_gate_lets_reads_pass_and_writes_on_their_way_end() {
        let (client, answers) = server();
        let gate = gate(Duration::from_secs(600));
        let api = Api::<Namespace>::all(gate.client(&client));
        let (writing, namespace) = (api.clone(), Namespace::default());
        let write = tokio::spawn(async move { writing.create(&PostParams::default(), &namespace).await });
        while gate.writes.is_empty() {
            tokio::task::yield_now().await;
        }
        gate.close();
        // The caller goes, its write does not.
        write.abort();
        assert!(write.await.unwrap_err().is_cancelled());
        let refused = api.delete("n", &DeleteParams::default()).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Service(error) if error.is::<NotLeading>()), "{refused:?}");
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.drained()).await.is_err(), "one is on its way");
        answers.add_permits(2);
        gate.drained().await;
        api.get("n").await.unwrap();
    }

    #[tokio::test]
    async fn no_write_begins_after_the_deadline_though_nobody_closed_the_gate() {
        let (client, answers) = server();
        answers.add_permits(2);
        let gate = gate(Duration::ZERO);
        let api = Api::<Namespace>::all(gate.client(&client));
        assert!(api.delete("n", &DeleteParams::default()).await.is_err());
        gate.deadline.set(Some(Duration::MAX));
        api.create(&PostParams::default(), &Namespace::default()).await.unwrap();
    }

    #[test]
    fn who_leads_is_asked_of_the_clock() {
        let leadership = Leadership::default();
        assert!(!leadership.leads(), "before the first term");
        let deadline = leadership.clone().deadline;
        deadline.set(Some(deadline.now() + Duration::from_secs(600)));
        assert!(leadership.leads());
        // The end comes, and nobody says so.
        deadline.set(Some(deadline.now()));
        assert!(!leadership.leads());
        deadline.set(Some(Duration::MAX));
        assert!(leadership.leads());
        deadline.set(None);
        assert!(!leadership.leads(), "given back");
    }

    #[tokio::test]
    async fn a_lost_term_waits_for_no_answer() {
        let (client, _answers) = server();
        let gate = gate(Duration::from_secs(600));
        let api = Api::<Namespace>::all(gate.client(&client));
        let write = tokio::spawn(async move { api.create(&PostParams::default(), &Namespace::default()).await });
        while gate.writes.is_empty() {
            tokio::task::yield_now().await;
        }
        gate.close();
        gate.give_up();
        gate.drained().await;
        assert!(matches!(write.await.unwrap(), Err(kube::Error::Service(_))));
    }
}
