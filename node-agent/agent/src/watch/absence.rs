//! A kind that a server may not know, such as one that a cluster's administrator can install. Nobody has an object of such a kind; but a
//! server that has served it before may only have lost sight of it.

use kube::runtime::watcher;
use tokio::sync::oneshot;

/// Refusals in a row after which a kind that was served is taken for gone.
const GONE: u32 = 3;

/// What the server has said of a kind.
#[derive(Debug)]
pub(super) struct Absence {
    was_served: bool,
    refusals: u32,
    /// Who says whether it was served to a former agent, until that has been asked.
    before: Option<oneshot::Receiver<bool>>,
}

impl Absence {
    /// Nothing has been said yet; whether the kind was served to a former agent may become known later.
    pub(super) fn new(before: oneshot::Receiver<bool>) -> Self {
        Self { was_served: false, refusals: 0, before: Some(before) }
    }

    /// It served the kind.
    pub(super) fn served(&mut self) {
        *self = Self { was_served: true, refusals: 0, before: None };
    }

    /// It does not know the kind. Whether that is news: from now on there are no objects of it. Waits until it is known whether there were.
    pub(super) async fn refused(&mut self) -> bool {
        if let Some(before) = self.before.take() {
            // Whoever knows has gone, and the agent with it.
            self.was_served = before.await.unwrap_or(true);
        }
        self.refusals = self.refusals.saturating_add(1);
        self.refusals == if self.was_served { GONE } else { 1 }
    }

    /// Whether the kind was served and is not taken for gone yet: there may be objects of it that nobody shows.
    pub(super) fn is_doubtful(&self) -> bool {
        self.was_served && self.refusals < GONE
    }
}

/// Whether the server does not know what it was asked for.
pub(super) fn is_absence(error: &watcher::Error) -> bool {
    super::code(error) == Some(404)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(was_served: bool) -> Absence {
        let (say, before) = oneshot::channel();
        say.send(was_served).unwrap();
        Absence::new(before)
    }

    async fn refusals(absence: &mut Absence) -> Vec<bool> {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(absence.refused().await);
        }
        all
    }

    #[tokio::test]
    async fn what_was_served_to_a_former_agent_is_not_gone_at_once() {
        let mut absence = new(true);
        assert!(!absence.refused().await && absence.is_doubtful());
        assert_eq!(refusals(&mut absence).await, [false, true, false, false]);
        assert!(!absence.is_doubtful());
    }

    #[tokio::test]
    async fn a_kind_that_was_never_served_is_absent_at_once_and_one_that_was_after_some_refusals() {
        let mut absence = new(false);
        assert!(!absence.is_doubtful());
        assert_eq!(refusals(&mut absence).await, [true, false, false, false]);
        assert!(!absence.is_doubtful());
        absence.served();
        assert!(!absence.refused().await && absence.is_doubtful());
        absence.served();
        assert_eq!(refusals(&mut absence).await, [false, false, true, false]);
        assert!(!absence.is_doubtful());
        absence.served();
        assert!(!absence.refused().await);
        absence.served();
        assert_eq!(refusals(&mut absence).await, [false, false, true, false], "refusals count in a row");
    }
}
