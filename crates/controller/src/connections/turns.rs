//! How many workers may wait for stores, so that what hangs leaves the others to the rest.
//!
//! Half of them may wait for one store on behalf of one namespace, and a few more for one store, or on behalf of one
//! namespace: whoever has a store that hangs can still use his others, others can still use a store that they share with
//! him, and workers are left for the rest.

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

/// What workers take turns at.
#[derive(Debug)]
pub struct Turns {
    permits: Arc<Semaphore>,
    stuck: Mutex<Option<Instant>>,
}

/// Where one namespace takes its turns at one store.
#[derive(Clone, Debug)]
pub struct Line {
    /// Of both.
    pub both: Arc<Turns>,
    /// Of the namespace at any store.
    pub namespace: Arc<Turns>,
    /// Of the store for any namespace.
    pub store: Arc<Turns>,
}

/// The right of one worker to wait for a store.
#[derive(Debug)]
pub struct Turn {
    _permits: [OwnedSemaphorePermit; 3],
}

impl Line {
    /// The right to wait for the store; `None`: others do already, and they do not get on.
    pub async fn take(&self) -> Option<Turn> {
        let both = self.both.take().await?;
        let namespace = self.namespace.take().await?;
        Some(Turn { _permits: [both, namespace, self.store.take().await?] })
    }
}

impl Turns {
    /// For half of the workers.
    #[must_use]
    pub fn half(workers: usize) -> Self {
        Self::new((workers / 2).max(1))
    }

    /// For some more than half of them.
    #[must_use]
    pub fn most(workers: usize) -> Self {
        Self::new((workers / 2 + (workers / 8).max(1)).min(workers).max(1))
    }

    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), stuck: Mutex::new(None) }
    }

    async fn take(&self) -> Option<OwnedSemaphorePermit> {
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
        let turns = Turns::half(5);
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

    fn line(workers: usize) -> Line {
        let [namespace, store] = [(); 2].map(|()| Arc::new(Turns::most(workers)));
        Line { both: Arc::new(Turns::half(workers)), namespace, store }
    }

    async fn take_all(line: &Line) -> Vec<Turn> {
        let mut held = Vec::new();
        while let Some(turn) = line.take().await {
            held.push(turn);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_leaves_turns_to_others_and_to_his_other_stores() {
        for workers in [4, 5, 8, 16, 256] {
            let here = line(workers);
            let held = take_all(&here).await;
            assert_eq!(held.len(), workers / 2, "{workers}");
            let others_here = Line { store: Arc::clone(&here.store), ..line(workers) };
            assert!(others_here.take().await.is_some(), "{workers}");
            let elsewhere = Line { namespace: Arc::clone(&here.namespace), ..line(workers) };
            let more = take_all(&elsewhere).await;
            assert!(!more.is_empty() && held.len() + more.len() < workers, "{workers}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_in_line_comes_next() {
        let turns = Turns::half(1);
        let held = turns.take().await;
        let (next, ()) = tokio::join!(turns.take(), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(held);
        });
        assert!(next.is_some());
    }
}
