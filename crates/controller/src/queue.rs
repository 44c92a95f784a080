//! The work queue of one kind of object.
//!
//! # Guarantees
//! - A key is worked on by one worker at a time; what arrives meanwhile leads to one more round afterwards.
//! - A key waits at most once, however often it is added.
//! - Urgent keys (changed objects, first sights) go before routine ones (periodic rounds), but for every fourth turn: a
//!   tenant who changes objects without end does not stop the rounds of others.
//! - Within a lane, namespaces take turns: one tenant's flood delays its own objects only.
//! - A namespace never has all the workers: of those that would be free without it, it has three of four at most, and
//!   leaves one at least. Whatever its objects wait for, a slow store or a turn to be rendered, others need not.
//! - A key that comes again and again is worked on twice a second ([`pace`]), whatever adds it.
//! - A delay ends late by at most a 64th of it and never by more than about a second, so that many end together: to
//!   wake up for each of a thousand rounds a minute costs as much as the rounds do.
//!
//! # Caveats
//! The queue forgets at the end of the process; every key comes again with the first list of its watch.

mod failures;
mod pace;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rekey_core::workload::WorkloadId;
use tokio::{sync::Notify, time::Instant};

use self::pace::Pace;
pub use self::worker::{Crew, Next, Reconcile, workers};
use crate::{
    cluster::{ObjectName, Users},
    fair::Fair,
};

/// Every so many turns a routine key goes first.
const ROUTINE_SHARE: u64 = 4;

/// A namespace may have so many workers for each that is free. More would leave others none when it is slow; fewer
/// would leave workers idle where there is only one namespace. So two namespaces have 6 of 16 each, and many one each.
const SHARE: usize = 3;

/// A delay may end late by this part of it, and by no more than [`LATEST`].
const SLACK: u32 = 64;
const LATEST: Duration = Duration::from_millis(1024);

/// A key of the queue, which belongs to a tenant.
pub trait Key: Clone + Eq + Hash + Send + 'static {
    /// Who shares a turn: the namespace.
    fn tenant(&self) -> &str;
}

impl Key for ObjectName {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

impl Key for WorkloadId {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

/// How soon a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Periodic work.
    Routine,
    /// Something changed.
    Urgent,
}

pub struct Queues {
    pub policies: Queue<ObjectName>,
    pub schedules: Queue<ObjectName>,
    pub stores: Queue<ObjectName>,
    pub cluster_stores: Queue<ObjectName>,
    pub workloads: Queue<WorkloadId>,
}

impl Queues {
    /// Empty ones, for so many workers each.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            policies: Queue::new(workers),
            schedules: Queue::new(workers),
            stores: Queue::new(workers),
            cluster_stores: Queue::new(workers),
            workloads: Queue::new(workers),
        }
    }

    /// Adds all of these.
    pub fn add_users(&self, users: Users) {
        users.policies.into_iter().for_each(|policy| self.policies.add(policy, Lane::Urgent));
        users.schedules.into_iter().for_each(|schedule| self.schedules.add(schedule, Lane::Urgent));
    }
}

/// See the [module documentation](self).
pub struct Queue<K> {
    state: Mutex<State<K>>,
    /// There is a key to take, or a turn as timekeeper.
    changed: Notify,
    /// The first delay ends earlier than it did.
    earlier: Notify,
}

/// The one idle worker that waits for the first delay to end. If all of them did, each key would wake all of them.
struct Timekeeper<'a, K: Key>(&'a Queue<K>);

impl<K: Key> Drop for Timekeeper<'_, K> {
    fn drop(&mut self) {
        self.0.state().timekeeper = false;
    }
}

struct State<K> {
    ready: [Fair<K>; 2],
    waiting: HashMap<K, Lane>,
    delayed: BTreeMap<(Instant, u64), K>,
    delays: HashMap<K, (Instant, u64)>,
    working: HashSet<K>,
    workers: usize,
    /// How many of them each tenant has.
    occupied: HashMap<String, usize>,
    again: HashMap<K, Lane>,
    pace: Pace<K>,
    sequence: u64,
    /// Delays of some length end at multiples of a power of two milliseconds after this.
    begun: Instant,
    taken: u64,
    /// Whether a worker waits for the first delay.
    timekeeper: bool,
}

impl<K: Key> Queue<K> {
    /// An empty queue for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let state = State {
            ready: [Fair::default(), Fair::default()],
            waiting: HashMap::new(),
            delayed: BTreeMap::new(),
            delays: HashMap::new(),
            working: HashSet::new(),
            workers,
            occupied: HashMap::new(),
            again: HashMap::new(),
            pace: Pace::default(),
            sequence: 0,
            begun: Instant::now(),
            taken: 0,
            timekeeper: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), earlier: Notify::new() }
    }

    /// Adds `key`, which is due as soon as possible.
    pub fn add(&self, key: K, lane: Lane) {
        let mut state = self.state();
        let first = state.first_delay();
        state.add(key, lane);
        let earlier = state.first_delay() != first && state.timekeeper;
        drop(state);
        if earlier {
            self.earlier.notify_one();
        }
        self.changed.notify_one();
    }

    /// Waits for the next key. Its worker must call [`Queue::done`] afterwards.
    pub async fn next(&self) -> K {
        loop {
            let wait = {
                let mut state = self.state();
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if state.has_ready() || state.lacks_timekeeper() {
                        self.changed.notify_one(); // wake another worker
                    }
                    return key;
                }
                let first = state.first_delay().filter(|_| state.lacks_timekeeper());
                state.timekeeper |= first.is_some();
                first
            };
            let Some(at) = wait else {
                self.changed.notified().await;
                continue;
            };
            let _timekeeper = Timekeeper(self);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.changed.notified() => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Ends the work on `key` and adds it again after `delay`, if one is given. A delay replaces an earlier one.
    pub fn done(&self, key: &K, delay: Option<Duration>) {
        let mut state = self.state();
        let first = state.first_delay();
        state.release(key);
        if let Some(at) = state.delays.remove(key) {
            state.delayed.remove(&at);
        }
        if let Some(lane) = state.again.remove(key) {
            state.add(key.clone(), lane);
        } else if let Some(delay) = delay {
            let end = state.end(delay);
            state.delay(key.clone(), end);
        }
        let earlier = state.first_delay() != first && state.timekeeper;
        let ready = state.has_ready() || state.lacks_timekeeper();
        drop(state);
        if earlier {
            self.earlier.notify_one();
        }
        if ready {
            self.changed.notify_one();
        }
    }

    /// Keys that are ready and not yet worked on.
    #[cfg(test)]
    pub fn depth(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> State<K> {
    fn add(&mut self, key: K, lane: Lane) {
        if self.working.contains(&key) {
            let again = self.again.entry(key).or_insert(lane);
            *again = (*again).max(lane);
            return;
        }
        if let Some(at) = self.delays.remove(&key) {
            self.delayed.remove(&at);
        }
        if let Some(free) = self.pace.wait(&key, Instant::now()) {
            self.delay(key, free);
            return;
        }
        match self.waiting.get(&key) {
            Some(present) if *present >= lane => return,
            Some(present) => drop(self.ready[*present as usize].remove(key.tenant(), |other| *other == key)),
            None => {}
        }
        self.waiting.insert(key.clone(), lane);
        let tenant = key.tenant().to_owned();
        self.ready[lane as usize].push(&tenant, key);
    }

    fn delay(&mut self, key: K, end: Instant) {
        self.sequence += 1;
        let at = (end, self.sequence);
        self.delays.insert(key.clone(), at);
        self.delayed.insert(at, key);
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.delays.remove(&key);
            self.add(key, Lane::Routine);
        }
    }

    fn take(&mut self) -> Option<K> {
        self.taken = self.taken.wrapping_add(1);
        let mut lanes = [Lane::Urgent, Lane::Routine];
        if self.taken.is_multiple_of(ROUTINE_SHARE) {
            lanes.reverse();
        }
        let free = self.workers.saturating_sub(self.working.len());
        let (ready, occupied) = (&mut self.ready, &self.occupied);
        let may = |tenant: &str| occupied.get(tenant).map_or(free > 0, |own| free > 1 && *own < SHARE * free);
        let key = lanes.into_iter().find_map(|lane| ready[lane as usize].pop(may))?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        self.pace.count(&key, Instant::now());
        *self.occupied.entry(key.tenant().to_owned()).or_default() += 1;
        Some(key)
    }

    /// Its worker is free again.
    fn release(&mut self, key: &K) {
        if !self.working.remove(key) {
            return;
        }
        if let Some(own) = self.occupied.get_mut(key.tenant()) {
            *own -= 1;
            if *own == 0 {
                self.occupied.remove(key.tenant());
            }
        }
    }

    fn has_ready(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When a delay that starts now ends.
    fn end(&self, delay: Duration) -> Instant {
        let at = Instant::now() + delay;
        let Some(slack) = (delay / SLACK).min(LATEST).as_millis().checked_ilog2() else {
            return at;
        };
        let tick = Duration::from_millis(1 << slack).as_nanos();
        let ticks = (at - self.begun).as_nanos().div_ceil(tick);
        u64::try_from(ticks * tick).map_or(at, |end| self.begun + Duration::from_nanos(end))
    }

    fn first_delay(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(at, _)| *at)
    }

    fn lacks_timekeeper(&self) -> bool {
        !self.timekeeper && !self.delayed.is_empty()
    }
}
