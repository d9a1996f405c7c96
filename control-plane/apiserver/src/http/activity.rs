//! What goes on on one connection: whether it is idle, whether its requests are given up faster than answered, whether it is to end.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A client that gives up so many more requests at once than it lets be answered is cut ("rapid reset", CVE-2023-44487): each costs what it takes to begin.
const GIVEN_UP: usize = 500;
/// Who waits for so long before he gives up is patient: a server that is slow for a while does not cut the watches of a controller besides, whose other
/// requests run out of time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Activity {
    state: Mutex<State>,
    /// Told when the connection is to end in good order.
    pub ends: Notify,
    /// Told when it is to end at once.
    pub cut: Notify,
}

struct State {
    /// Requests whose answers have not ended.
    open: usize,
    /// When the last of them ended.
    since: Instant,
    /// Requests given up at once, before their answer began, less those that were answered.
    given_up: usize,
}

/// A request, from its head to the last byte of its answer.
pub struct Open {
    activity: Arc<Activity>,
    began: Instant,
    answered: bool,
}

impl Activity {
    pub fn new(now: Instant) -> Arc<Self> {
        let state = State { open: 0, since: now, given_up: 0 };
        Arc::new(Self { state: Mutex::new(state), ends: Notify::new(), cut: Notify::new() })
    }

    /// A request begins.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Open {
        self.state.lock().open += 1;
        Open { activity: self.clone(), began: now, answered: false }
    }

    /// How long it may be idle yet, of `most`; `None`: not any longer.
    pub fn patience(&self, now: Instant, most: Duration) -> Option<Duration> {
        let state = self.state.lock();
        if state.open > 0 {
            return Some(most);
        }
        most.checked_sub(now.saturating_duration_since(state.since)).filter(|left| !left.is_zero())
    }
}

impl Open {
    /// Its answer's head is there; it stays open as long as the body.
    pub fn answer(mut self, body: Body) -> Body {
        self.answered = true;
        let mut state = self.activity.state.lock();
        state.given_up = state.given_up.saturating_sub(1);
        drop(state);
        Body::new(Answer { body, _open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.open = state.open.saturating_sub(1);
        state.since = Instant::now();
        if !self.answered && state.since.saturating_duration_since(self.began) < AT_ONCE {
            state.given_up += 1;
            if state.given_up > GIVEN_UP {
                self.activity.cut.notify_one();
            }
        }
    }
}

/// An answer's body that counts as open.
struct Answer {
    body: Body,
    _open: Open,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const IDLE: Duration = Duration::from_secs(90);

    #[test]
    fn a_connection_is_idle_while_no_answer_is_open() {
        let begin = Instant::now();
        let activity = Activity::new(begin);
        assert_eq!(activity.patience(begin + Duration::from_secs(60), IDLE), Some(Duration::from_secs(30)));
        assert_eq!(activity.patience(begin + IDLE, IDLE), None);
        let body = activity.begin(Instant::now()).answer(Body::from("a watch, say"));
        assert_eq!(activity.patience(begin + IDLE * 100, IDLE), Some(IDLE));
        drop(body);
        assert_eq!(activity.patience(Instant::now() + IDLE * 2, IDLE), None);
    }

    #[test]
    fn who_gives_up_more_than_is_answered_is_cut_and_others_are_not() {
        let activity = Activity::new(Instant::now());
        for _ in 0..GIVEN_UP * 4 {
            drop(activity.begin(Instant::now()));
            drop(activity.begin(Instant::now()).answer(Body::empty()));
        }
        assert!(activity.cut.notified().now_or_never().is_none());
        let long_ago = Instant::now().checked_sub(AT_ONCE * 2).expect("the machine runs for longer");
        for _ in 0..GIVEN_UP * 4 {
            drop(activity.begin(long_ago));
        }
        assert!(activity.cut.notified().now_or_never().is_none());
        for _ in 0..=GIVEN_UP {
            drop(activity.begin(Instant::now()));
        }
        assert!(activity.cut.notified().now_or_never().is_some());
    }
}
