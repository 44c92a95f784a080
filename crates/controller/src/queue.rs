//! The work queue of one kind of object.
//!
//! # Guarantees
//! - A key is worked on by one worker at a time; what arrives meanwhile leads to one more round afterwards.
//! - A key waits at most once, however often it is added.
//! - Urgent keys (changed objects, first sights) go before routine ones (periodic rounds), but for every fourth turn: who
//!   changes objects without end does not stop the rounds of others.
//! - Within a lane, namespaces take turns: one tenant's flood delays its own objects only.
//!
//! # Caveats
//! The queue forgets at the end of the process; every key comes again with the first list of its watch.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Every so many turns a routine key goes first.
const ROUTINE_SHARE: u64 = 4;

/// A key of the queue, which belongs to a tenant.
pub trait Key: Clone + Eq + Hash + Send + 'static {
    /// Who shares a turn: the namespace.
    fn tenant(&self) -> &str;
}

/// How soon a key is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Periodic work.
    Routine,
    /// Something changed.
    Urgent,
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
    ready: [Turns<K>; 2],
    waiting: HashMap<K, Lane>,
    delayed: BTreeMap<(Instant, u64), K>,
    delays: HashMap<K, (Instant, u64)>,
    working: HashSet<K>,
    again: HashMap<K, Lane>,
    sequence: u64,
    taken: u64,
    /// Whether somebody waits for the first delay.
    timekeeper: bool,
}

/// Keys of one lane; tenants take turns.
struct Turns<K> {
    tenants: VecDeque<String>,
    keys: HashMap<String, VecDeque<K>>,
}

impl<K: Key> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        let turns = || Turns { tenants: VecDeque::new(), keys: HashMap::new() };
        let state = State {
            ready: [turns(), turns()],
            waiting: HashMap::new(),
            delayed: BTreeMap::new(),
            delays: HashMap::new(),
            working: HashSet::new(),
            again: HashMap::new(),
            sequence: 0,
            taken: 0,
            timekeeper: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), earlier: Notify::new() }
    }

    /// Wants `key` as soon as possible.
    pub fn add(&self, key: K, lane: Lane) {
        self.state().add(key, lane);
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

    /// Ends the work on `key` and wants it again after `delay`, if one is given. A delay replaces an earlier one.
    pub fn done(&self, key: &K, delay: Option<Duration>) {
        let mut state = self.state();
        let first = state.first_delay();
        state.working.remove(key);
        if let Some(at) = state.delays.remove(key) {
            state.delayed.remove(&at);
        }
        if let Some(lane) = state.again.remove(key) {
            state.add(key.clone(), lane);
        } else if let Some(delay) = delay {
            state.sequence += 1;
            let at = (Instant::now() + delay, state.sequence);
            state.delays.insert(key.clone(), at);
            state.delayed.insert(at, key.clone());
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
    #[must_use]
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
        match self.waiting.get(&key) {
            Some(present) if *present >= lane => return,
            Some(present) => self.ready[*present as usize].remove(&key),
            None => {}
        }
        self.waiting.insert(key.clone(), lane);
        self.ready[lane as usize].push(key);
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
        let key = lanes.into_iter().find_map(|lane| self.ready[lane as usize].pop())?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn has_ready(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn first_delay(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(at, _)| *at)
    }

    fn lacks_timekeeper(&self) -> bool {
        !self.timekeeper && !self.delayed.is_empty()
    }
}

impl<K: Key> Turns<K> {
    fn push(&mut self, key: K) {
        let tenant = key.tenant().to_owned();
        let keys = self.keys.entry(tenant.clone()).or_default();
        if keys.is_empty() {
            self.tenants.push_back(tenant);
        }
        keys.push_back(key);
    }

    fn pop(&mut self) -> Option<K> {
        let tenant = self.tenants.pop_front()?;
        let keys = self.keys.get_mut(&tenant)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.keys.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        key
    }

    fn remove(&mut self, key: &K) {
        let tenant = key.tenant();
        let Some(keys) = self.keys.get_mut(tenant) else {
            return;
        };
        keys.retain(|other| other != key);
        if keys.is_empty() {
            self.keys.remove(tenant);
            self.tenants.retain(|other| other != tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Item(&'static str, u32);

    impl Key for Item {
        fn tenant(&self) -> &str {
            self.0
        }
    }

    async fn drain(queue: &Queue<Item>, count: usize) -> Vec<Item> {
        let mut seen = Vec::new();
        for _ in 0..count {
            let key = queue.next().await;
            queue.done(&key, None);
            seen.push(key);
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_take_turns_and_urgent_goes_first() {
        let queue = Queue::new();
        for number in 0..3 {
            queue.add(Item("flood", number), Lane::Routine);
        }
        queue.add(Item("small", 0), Lane::Routine);
        queue.add(Item("flood", 2), Lane::Urgent);
        let seen = drain(&queue, 4).await;
        assert_eq!(seen, [Item("flood", 2), Item("flood", 0), Item("small", 0), Item("flood", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_in_work_comes_once_more_however_often_it_is_added() {
        let queue = Queue::new();
        queue.add(Item("a", 1), Lane::Urgent);
        let key = queue.next().await;
        queue.add(Item("a", 1), Lane::Routine);
        queue.add(Item("a", 1), Lane::Urgent);
        assert_eq!(queue.depth(), 0);
        queue.done(&key, Some(Duration::from_mins(1)));
        assert_eq!(drain(&queue, 1).await, [Item("a", 1)]);
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_workers_take_delayed_keys_in_time_also_while_others_work() {
        let queue = std::sync::Arc::new(Queue::new());
        let start = Instant::now();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..3 {
            queue.add(Item("a", number), Lane::Urgent);
            let key = queue.next().await;
            queue.done(&key, Some(Duration::from_secs(30 - 10 * u64::from(number))));
        }
        for _ in 0..4 {
            let (queue, tell) = (std::sync::Arc::clone(&queue), tell.clone());
            tokio::spawn(async move {
                loop {
                    let Item(_, number) = queue.next().await;
                    tell.send((number, start.elapsed().as_secs())).unwrap();
                    tokio::time::sleep(Duration::from_secs(100)).await; // the work
                    queue.done(&Item("a", number), None);
                }
            });
        }
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(told.recv().await.unwrap());
        }
        assert_eq!(seen, [(2, 10), (1, 20), (0, 30)], "each when its delay ends, though those before are in work");
        // A key that is added meanwhile is taken by who waits for the time, and the next delay still counts.
        queue.add(Item("b", 7), Lane::Urgent);
        assert_eq!(told.recv().await, Some((7, 30)));
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_kept_replaced_and_cut_short() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add(Item("a", 1), Lane::Urgent);
        queue.add(Item("b", 1), Lane::Urgent);
        for delay in [60, 30] {
            let key = queue.next().await;
            queue.done(&key, Some(Duration::from_secs(delay)));
        }
        assert_eq!(queue.next().await, Item("b", 1));
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        queue.add(Item("a", 1), Lane::Urgent);
        assert_eq!(queue.next().await, Item("a", 1));
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }
}
