//! Work on thousands of objects that leaves others their turn: a request that waits for nothing would hold its thread of the runtime for all of it,
//! and with few threads also the reading of every other connection.

/// Objects handled in one turn, about a millisecond where each is parsed.
const TURN: usize = 64;

/// Counts objects.
#[derive(Default)]
pub struct Turns(usize);

impl Turns {
    /// To be called before each object. Gives way now and then. Cancel-safe.
    pub async fn take(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn only_long_work_gives_way() {
        let work = |objects: usize| async move {
            let mut turns = Turns::default();
            for _ in 0..objects {
                turns.take().await;
            }
        };
        assert!(work(TURN - 1).now_or_never().is_some());
        assert!(work(TURN).now_or_never().is_none());
    }
}
