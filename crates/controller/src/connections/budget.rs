//! How much of what stores answer may be in memory at the same time, in the whole process.
//!
//! A round of a policy reads within a [`Room`]: a number of bytes that it has to itself from its first read until its
//! Secret is applied. The room is what the round needed the last time, and [`SMALL`] at first sight. A round that needs more
//! drops what it has read, gives its room back, takes one of [`ROUND`], the largest there is, and reads again; so nobody
//! waits for room while he holds some, and no two rounds can wait for each other. What does not fit into that is refused.
//!
//! # The numbers
//! The shipped limit is 512 MiB. All rooms and kept values together are 32 MiB of answers. Each byte of them can be in memory
//! three times (the body, its copy on the way through a client library, what is taken out of it), so that is 96 MiB; the rest
//! is for the tables, for rendering, and for what each worker holds by itself (below).
//! A Secret holds 1 MiB, so [`ROUND`] leaves room for the JSON around it and for several properties of large documents.
//!
//! # Guarantees
//! - Small rounds and large ones have parts of their own: who needs little does not wait for who needs much.
//! - No namespace gets more than half of a part, and in the line for it each has one place, in the order they came.
//! - Few workers wait, and not for long; the others are sent away and come again later. That is no failure of a store.
//! - Values that are kept for others (`reads`) have a part of their own, too; without room in it they are not kept.
//!
//! # Whose room a shared read takes
//! A call that several wait for takes the room of the one that began it, also when that one gives up. Whoever takes a value
//! out of another's call, or one that was kept, counts it as his own, too: together they can only count too much. A call that
//! ends because its owner's room is too small is made again by those who still have room for it.
//!
//! # What is bounded by the number of workers alone
//! One object or answer of 1 to 3 MiB for each worker at a time: `ConfigMap`s (their texts count in the room once they are
//! read), the Secret that a policy looks at or applies, credentials, an engine's answer while it is received, and the single
//! value that a rotation reads or writes. A store's probe reads no value.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rekey_core::store::Allowance;
use tokio::{sync::oneshot, time::timeout};

/// What a round may read at most.
pub const ROUND: usize = 4 * MIB;
/// The room of a round that never needed more: a hundred usual secrets.
pub const SMALL: usize = 256 * 1024;
/// A single value: the largest answer that is read.
const SINGLE: usize = MIB + 64 * 1024;

const MIB: usize = 1024 * 1024;
/// For rooms of [`SMALL`]: 32 of them, twice the usual number of workers.
const SMALL_ROOMS: usize = 8 * MIB;
/// For larger ones: five of the largest.
const LARGE_ROOMS: usize = 20 * MIB;
/// For values that are kept.
const KEPT: usize = 4 * MIB;

/// How long a worker waits for room. A round that holds one is faster, unless its store is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the [module documentation](self).
pub struct Budget {
    small: Arc<Part>,
    large: Arc<Part>,
    kept: Arc<Part>,
}

impl Default for Budget {
    fn default() -> Self {
        let part = |size| Arc::new(Part { size, state: Mutex::default() });
        Self { small: part(SMALL_ROOMS), large: part(LARGE_ROOMS), kept: part(KEPT) }
    }
}

impl Budget {
    /// Room for a round of `namespace` that needs so many bytes. `None`: others have it all, and enough of the `workers` wait
    /// already, or have waited in vain.
    pub async fn room(&self, namespace: &str, bytes: usize, workers: usize) -> Option<Room> {
        let (part, bytes) = if bytes <= SMALL { (&self.small, SMALL) } else { (&self.large, bytes.min(ROUND)) };
        let share = part.take(namespace, bytes, (workers / 4).max(1)).await?;
        Some(Room::new(namespace, bytes, Some(share)))
    }

    /// Room to keep a value, if there is some.
    #[must_use]
    pub fn keep(&self, namespace: &str, bytes: usize) -> Option<Share> {
        self.kept.try_take(namespace, bytes)
    }
}

/// Where a round reads into. Clones are the same room, which is free when the last of them is dropped.
#[derive(Clone)]
pub struct Room(Arc<Space>);

struct Space {
    namespace: String,
    allowance: Allowance,
    _share: Option<Share>,
}

impl Room {
    pub(super) fn new(namespace: &str, bytes: usize, share: Option<Share>) -> Self {
        Self(Arc::new(Space { namespace: namespace.to_owned(), allowance: Allowance::new(bytes), _share: share }))
    }

    /// For one value, which each worker may hold beside the budget.
    #[must_use]
    pub fn single(namespace: &str) -> Self {
        Self::new(namespace, SINGLE, None)
    }

    /// Whose it is.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// What can be read into it.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.0.allowance
    }
}

struct Part {
    size: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    namespaces: HashMap<String, usize>,
    line: VecDeque<Waiter>,
}

struct Waiter {
    namespace: String,
    bytes: usize,
    turn: oneshot::Sender<Share>,
}

/// A part of the budget that is taken until this is dropped.
#[derive(Debug)]
pub struct Share {
    part: Arc<Part>,
    namespace: String,
    bytes: usize,
}

impl Part {
    async fn take(self: &Arc<Self>, namespace: &str, bytes: usize, waiters: usize) -> Option<Share> {
        let turn = {
            let mut state = self.state();
            state.line.retain(|waiter| !waiter.turn.is_closed());
            if !state.line.iter().any(|waiter| state.is_entitled(self.size, &waiter.namespace, waiter.bytes))
                && state.take(self.size, namespace, bytes)
            {
                return Some(self.share(namespace.to_owned(), bytes));
            }
            if state.line.len() >= waiters || state.line.iter().any(|waiter| waiter.namespace == namespace) {
                return None;
            }
            let (turn, wait) = oneshot::channel();
            state.line.push_back(Waiter { namespace: namespace.to_owned(), bytes, turn });
            wait
        };
        let share = timeout(PATIENCE, turn).await.ok().and_then(Result::ok);
        if share.is_none() {
            self.serve(); // those behind may have waited for us alone
        }
        share
    }

    fn try_take(self: &Arc<Self>, namespace: &str, bytes: usize) -> Option<Share> {
        self.state().take(self.size, namespace, bytes).then(|| self.share(namespace.to_owned(), bytes))
    }

    fn share(self: &Arc<Self>, namespace: String, bytes: usize) -> Share {
        Share { part: Arc::clone(self), namespace, bytes }
    }

    /// Gives those in line what is there for them.
    fn serve(self: &Arc<Self>) {
        let served = self.state().serve(self.size);
        for Waiter { namespace, bytes, turn } in served {
            // Who has given up gives it back here, which serves the next one.
            turn.send(self.share(namespace, bytes)).ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the namespace may have so much beside what it has.
    fn is_entitled(&self, size: usize, namespace: &str, bytes: usize) -> bool {
        self.namespaces.get(namespace).copied().unwrap_or_default().saturating_add(bytes) <= size / 2
    }

    fn take(&mut self, size: usize, namespace: &str, bytes: usize) -> bool {
        let fits = self.taken.saturating_add(bytes) <= size && self.is_entitled(size, namespace, bytes);
        if fits {
            self.taken += bytes;
            match self.namespaces.get_mut(namespace) {
                Some(taken) => *taken += bytes,
                None => drop(self.namespaces.insert(namespace.to_owned(), bytes)),
            }
        }
        fits
    }

    fn give_back(&mut self, namespace: &str, bytes: usize) {
        self.taken -= bytes;
        if let Some(taken) = self.namespaces.get_mut(namespace) {
            *taken -= bytes;
            if *taken == 0 {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// Takes out of the line who can have what he waits for. Nobody passes one who only waits for others to finish, or
    /// whoever needs much would never get it.
    fn serve(&mut self, size: usize) -> Vec<Waiter> {
        let mut served = Vec::new();
        let mut position = 0;
        while let Some(Waiter { namespace, bytes, turn }) = self.line.get(position) {
            let (namespace, bytes, gone) = (namespace.clone(), *bytes, turn.is_closed());
            if gone {
                self.line.remove(position);
            } else if !self.is_entitled(size, &namespace, bytes) {
                position += 1;
            } else if self.take(size, &namespace, bytes) {
                served.extend(self.line.remove(position));
            } else {
                break;
            }
        }
        served
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.part.state().give_back(&self.namespace, self.bytes);
        self.part.serve();
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Part({})", self.size)
    }
}

#[cfg(test)]
mod tests;
