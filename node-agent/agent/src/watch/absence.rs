//! A kind that a server may not know, such as one that a cluster's administrator can install. Nobody has an object of such a kind; but a
//! server that has served it before may only have lost sight of it.

use kube::runtime::watcher;

/// Refusals in a row after which a kind that was served is taken for gone.
const GONE: u32 = 3;

/// What the server has said of a kind.
#[derive(Debug, Default)]
pub(super) struct Absence {
    was_served: bool,
    refusals: u32,
}

impl Absence {
    /// It served the kind.
    pub(super) fn served(&mut self) {
        *self = Self { was_served: true, refusals: 0 };
    }

    /// It does not know the kind. Whether that is news: from now on there are no objects of it.
    pub(super) fn refused(&mut self) -> bool {
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

    #[test]
    fn a_kind_that_was_never_served_is_absent_at_once_and_one_that_was_after_some_refusals() {
        let mut absence = Absence::default();
        let refusals = |absence: &mut Absence| [(); 4].map(|()| absence.refused());
        assert!(!absence.is_doubtful());
        assert_eq!(refusals(&mut absence), [true, false, false, false]);
        assert!(!absence.is_doubtful());
        absence.served();
        assert!(!absence.refused() && absence.is_doubtful());
        absence.served();
        assert_eq!(refusals(&mut absence), [false, false, true, false]);
        assert!(!absence.is_doubtful());
        absence.served();
        assert!(!absence.refused());
        absence.served();
        assert_eq!(refusals(&mut absence), [false, false, true, false], "refusals count in a row");
    }
}
