//! How much of what stores answer may be in memory at the same time, in the whole process.
//!
//! A round of a policy reads within a [`Room`]: a number of bytes that it has to itself from its first read until its
//! Secret is applied. The room is what the round needed the last time, and [`SMALL`] at first sight. A round that needs
//! more drops what it has read, gives its room back, takes one of [`ROUND`], the largest there is, and reads again; so
//! no round waits for room while it holds some, and no two rounds can wait for each other. What does not fit into that
//! is refused.
//!
//! # The numbers
//! The shipped limit is 512 MiB. All rooms and kept values together are 36 MiB of answers. Each byte of them can be in
//! memory three times (the body, its copy on the way through a client library, what is taken out of it), so that is 108
//! MiB; the rest is for the tables, for rendering, and for what each worker holds by itself (below). A Secret holds 1
//! MiB, so [`ROUND`] leaves room for the JSON around it and for several properties of large documents.
//!
//! # Guarantees
//! - Small rounds and large ones have parts of their own: one that needs little does not wait for one that needs much.
//! - No namespace gets more than half of a part, and in the line for it each has one place, in the order they came; one
//!   that leaves in vain has it still when it comes again ([`pool`](crate::pool)).
//! - Few workers wait, and not for long; the others are sent away and come again later. That is no failure of a store.
//! - Values that are kept for others (`reads`) for a moment have a part of their own, too; without room in it they are
//!   not kept. So have answers of engines that are kept until they are published: one without room is asked for again.
//!
//! # Whose room a shared read takes
//! A call that several wait for takes the room of the one that started it, also when that one gives up. One that takes
//! a value out of another's call, or one that was kept, counts it as its own, too: together they can only count too
//! much. A call that ends because its owner's room is too small is made again by those who still have room for it.
//!
//! # What is bounded by the number of workers alone
//! One object or answer of 1 to 3 MiB for each worker at a time: `ConfigMap`s (their texts count in the room once they
//! are read), the Secret that a policy looks at or applies, credentials, an engine's answer while it is received, and
//! the single value that a rotation reads or writes. A store's probe reads no value.

use std::{sync::Arc, time::Duration};

use rekey_core::store::Allowance;

use crate::pool::{Pool, Rules, Share};

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
/// For values that are kept for others.
const KEPT: usize = 4 * MIB;
/// For answers of engines that are not published yet. Few wait for that, but they may do so for long: a namespace gets
/// room for one of the largest.
const ISSUED: usize = 4 * MIB;

/// How long a worker waits for room. A round that holds one is faster, unless its store is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the [module documentation](self).
pub struct Budget {
    small: Arc<Pool>,
    large: Arc<Pool>,
    kept: Arc<Pool>,
    issued: Arc<Pool>,
}

impl Default for Budget {
    fn default() -> Self {
        let (rest, hold) = (Duration::ZERO, Duration::ZERO);
        let part = |size, share| Pool::new(Rules { size, share, waiters: 1, patience: PATIENCE, rest, hold });
        let half = |size| part(size, size / 2);
        let (small, large, kept) = (half(SMALL_ROOMS), half(LARGE_ROOMS), half(KEPT));
        Self { small, large, kept, issued: part(ISSUED, SINGLE) }
    }
}

impl Budget {
    /// Room for a round of `namespace` that needs so many bytes. `None`: others have it all, and enough of the
    /// `workers` wait already, or have waited in vain.
    pub async fn room(&self, namespace: &str, bytes: usize, workers: usize) -> Option<Room> {
        let (part, bytes) = if bytes <= SMALL { (&self.small, SMALL) } else { (&self.large, bytes.min(ROUND)) };
        let share = part.take(namespace, bytes, (workers / 4).max(1)).await?;
        Some(Room::new(namespace, bytes, Some(share)))
    }

    /// Room to keep a value for others, if there is some.
    #[must_use]
    pub fn keep(&self, namespace: &str, bytes: usize) -> Option<Share> {
        self.kept.try_take(namespace, bytes)
    }

    /// Room to keep an engine's answer until it is published, if there is some.
    #[must_use]
    pub fn keep_issued(&self, namespace: &str, bytes: usize) -> Option<Share> {
        self.issued.try_take(namespace, bytes)
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

#[cfg(test)]
mod tests;
