//! How many workers may wait for one store: half of them, so that a store that hangs leaves the others to the rest.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// A worker stands in line for so long. A store that answers is faster.
const PATIENCE: Duration = Duration::from_millis(200);
/// After somebody stood in line in vain, nobody does for so long.
const STUCK: Duration = Duration::from_secs(1);

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Turns {
    permits: Arc<Semaphore>,
    stuck: Mutex<Option<Instant>>,
}

impl Turns {
    /// For so many workers of a kind.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new((workers / 2).max(1))), stuck: Mutex::new(None) }
    }

    /// The right to wait for the store; `None`: others do already, and they do not get on.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        if self.stuck.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if let Ok(permit) = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await {
            return permit.ok();
        }
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + STUCK);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_of_the_workers_wait_and_the_others_go_on() {
        let turns = Turns::new(5);
        let (one, two) = (turns.take().await, turns.take().await);
        assert!(one.is_some() && two.is_some());
        let start = Instant::now();
        assert!(turns.take().await.is_none());
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(turns.take().await.is_none());
        assert_eq!(start.elapsed(), PATIENCE, "nobody stands in line again at once");
        drop(one);
        assert!(turns.take().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_in_line_comes_next() {
        let turns = Turns::new(1);
        let held = turns.take().await;
        let (next, ()) = tokio::join!(turns.take(), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(held);
        });
        assert!(next.is_some());
    }
}
