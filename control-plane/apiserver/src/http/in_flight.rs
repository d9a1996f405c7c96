//! How many requests may be worked on at a time; what is more is told to come back (429).

use crate::config::Config;
use crate::error::ApiError;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two pools, so that reads cannot starve writes.
pub struct InFlight {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl InFlight {
    pub fn new(config: &Config) -> Self {
        Self { reads: Arc::new(Semaphore::new(config.max_reads_in_flight)), writes: Arc::new(Semaphore::new(config.max_writes_in_flight)) }
    }

    /// A place for a request, given back when dropped. Never waits.
    pub fn enter(&self, verb: &str) -> Result<OwnedSemaphorePermit, ApiError> {
        let pool = if matches!(verb, "get" | "list" | "head") { &self.reads } else { &self.writes };
        pool.clone().try_acquire_owned().map_err(|_| ApiError::too_many_requests())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_have_their_own_places() {
        let pools = InFlight::new(&Config { max_reads_in_flight: 1, max_writes_in_flight: 1, ..Config::default() });
        let read = pools.enter("list").expect("free");
        assert_eq!(pools.enter("get").err().map(|error| error.code()), Some(429));
        assert!(pools.enter("create").is_ok());
        drop(read);
        assert!(pools.enter("get").is_ok());
    }
}
