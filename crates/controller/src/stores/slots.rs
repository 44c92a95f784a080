//! How many workers may wait for stores, so that what hangs leaves the others to the rest.
//!
//! Half of them may wait for one store on behalf of one namespace, and a few more for one store, or on behalf of one
//! namespace: a namespace with a store that hangs can still use its others, others can still use a store that they
//! share with it, and workers are left for the rest. Those who share a store come in the order in which they started to
//! wait ([`pool`](crate::pool)), also when it is slow for all of them.

use std::{sync::Arc, time::Duration};

use crate::pool::{Pool, Rules, Share};

/// A worker waits in line for so long. A store that answers is faster.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a worker waited in line in vain, none does for its namespace for so long.
const STUCK: Duration = Duration::from_secs(1);
/// A slot that becomes free is kept for so long for a namespace whose worker waited in line for it before others came.
/// It comes again sooner (`Error::delay`).
const HOLD: Duration = Duration::from_secs(5);

/// Where one namespace takes its slots at one store.
#[derive(Clone, Debug)]
pub struct StoreSlots {
    /// Whose slots they are.
    pub tenant: String,
    /// Of the namespace at the store.
    pub both: Arc<Pool>,
    /// Of the namespace at any store.
    pub namespace: Arc<Pool>,
    /// Of the store for any namespace.
    pub store: Arc<Pool>,
}

/// The right of one worker to wait for a store.
#[derive(Debug)]
pub struct Slot {
    _shares: [Share; 3],
}

impl StoreSlots {
    /// The right to wait for the store; `None`: others wait already, and get no further.
    pub async fn take(&self) -> Option<Slot> {
        let (both, namespace) = (one(&self.both, &self.tenant).await?, one(&self.namespace, &self.tenant).await?);
        Some(Slot { _shares: [both, namespace, one(&self.store, &self.tenant).await?] })
    }
}

async fn one(slots: &Arc<Pool>, tenant: &str) -> Option<Share> {
    slots.take(tenant, 1, usize::MAX).await
}

/// Slots for half of the workers.
#[must_use]
pub fn half(workers: usize) -> Arc<Pool> {
    slots((workers / 2).max(1))
}

/// Slots for some more than half of them.
#[must_use]
pub fn most(workers: usize) -> Arc<Pool> {
    slots((workers / 2 + (workers / 8).max(1)).min(workers).max(1))
}

fn slots(size: usize) -> Arc<Pool> {
    Pool::new(Rules { size, share: size, waiters: usize::MAX, patience: PATIENCE, rest: STUCK, hold: HOLD })
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_of_the_workers_wait_and_the_others_go_on() {
        let slots = half(5);
        let (first, second) = (one(&slots, "a").await, one(&slots, "a").await);
        assert!(first.is_some() && second.is_some());
        let start = Instant::now();
        assert!(one(&slots, "a").await.is_none());
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(one(&slots, "a").await.is_none());
        assert_eq!(start.elapsed(), PATIENCE, "none waits in line again at once");
        drop(first);
        assert!(one(&slots, "a").await.is_some());
    }

    fn line(tenant: &str, workers: usize) -> StoreSlots {
        let [namespace, store] = [(); 2].map(|()| most(workers));
        StoreSlots { tenant: tenant.to_owned(), both: half(workers), namespace, store }
    }

    async fn take_all(line: &StoreSlots) -> Vec<Slot> {
        let mut held = Vec::new();
        while let Some(slot) = line.take().await {
            held.push(slot);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_leaves_turns_to_others_and_to_his_other_stores() {
        for workers in [4, 5, 8, 16, 256] {
            let here = line("hangs", workers);
            let held = take_all(&here).await;
            assert_eq!(held.len(), workers / 2, "{workers}");
            let others_here = StoreSlots { store: Arc::clone(&here.store), ..line("other", workers) };
            assert!(others_here.take().await.is_some(), "{workers}");
            let elsewhere = StoreSlots { namespace: Arc::clone(&here.namespace), ..line("hangs", workers) };
            let more = take_all(&elsewhere).await;
            assert!(!more.is_empty() && held.len() + more.len() < workers, "{workers}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_in_line_comes_next() {
        let slots = half(1);
        let held = one(&slots, "a").await;
        let (next, ()) = tokio::join!(one(&slots, "a"), async {
            sleep(PATIENCE / 2).await;
            drop(held);
        });
        assert!(next.is_some());
    }

    /// Two namespaces hang at a store with all of its slots, again and again, and wait in line for more. A third one
    /// comes every second.
    #[tokio::test(start_paused = true)]
    async fn who_stood_in_line_in_vain_has_the_next_turn_when_it_comes_again() {
        const HANGS: Duration = Duration::from_secs(15);
        let store = most(16);
        let flood = ["a", "b"].map(|tenant| {
            let line = StoreSlots { store: Arc::clone(&store), ..line(tenant, 16) };
            futures::future::join_all((0..8).map(move |_| {
                let line = line.clone();
                async move {
                    loop {
                        if let Some(slot) = line.take().await {
                            sleep(HANGS).await;
                            drop(slot);
                        } else {
                            sleep(Duration::from_millis(50)).await;
                        }
                    }
                }
            }))
        });
        let third = async {
            sleep(Duration::from_secs(1)).await;
            let (line, start) = (StoreSlots { store: Arc::clone(&store), ..line("third", 16) }, Instant::now());
            while line.take().await.is_none() {
                sleep(Duration::from_secs(4)).await;
            }
            start.elapsed()
        };
        let waited = tokio::select! {
            waited = third => waited,
            _ = futures::future::join_all(flood) => unreachable!(),
        };
        assert!(waited < HANGS + HOLD, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stood_in_line_in_vain_sends_nobody_else_away() {
        let (store, start) = (most(4), Instant::now());
        let held = [one(&store, "a").await, one(&store, "a").await, one(&store, "a").await];
        assert!(held.iter().all(Option::is_some));
        assert!(one(&store, "b").await.is_none());
        let (mine, ()) = tokio::join!(one(&store, "c"), async {
            sleep(PATIENCE / 2).await;
            assert_eq!(store.counts(), (3, 1), "it waits in line, whatever has happened to others");
        });
        assert!(mine.is_none());
        assert_eq!(start.elapsed(), PATIENCE * 2);
    }
}
