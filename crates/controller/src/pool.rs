//! What tenants share and stand in line for: room for answers, turns at a store, threads.
//!
//! # Guarantees
//! - No tenant has more than its share.
//! - Tenants come in the order in which they started to wait, and each goes behind the others when it got something.
//! - A tenant that leaves the line in vain keeps its place for [`PLACE`]: when it comes again, those who came later are
//!   behind it. So no tenant leaves in vain for ever, whatever others do.
//! - No one passes a tenant that only waits for others to finish, or one that needs much would never get it.
//! - Where as many wait as may, the last one in line is sent away.
//! - One that gives up, or is dropped, leaves the line at once.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// How long a tenant that left in vain keeps its place: longer than any tenant takes to come again.
const PLACE: Duration = Duration::from_mins(2);

/// How a pool is shared out.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How much there is.
    pub size: usize,
    /// How much of it one tenant may have.
    pub share: usize,
    /// How many may wait for one tenant.
    pub waiters: usize,
    /// How long one waits.
    pub patience: Duration,
    /// After one waited in vain, no other of its tenant waits for so long.
    pub rest: Duration,
    /// How long what a tenant left in vain for is kept free of those behind it. For short waits: it would hardly ever
    /// become free while the tenant is in line.
    pub hold: Duration,
}

/// See the [module documentation](self).
pub struct Pool {
    rules: Rules,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// What each has.
    tenants: HashMap<String, usize>,
    /// Of those who wait, and of those who left in vain.
    places: HashMap<String, Place>,
    /// In the order they came.
    line: Vec<Waiter>,
    sequence: u64,
}

struct Place {
    /// Lower comes first.
    rank: u64,
    left: Option<Left>,
}

/// A wait in vain.
#[derive(Clone, Copy)]
struct Left {
    at: Instant,
    wanted: usize,
}

struct Waiter {
    number: u64,
    tenant: String,
    amount: usize,
    turn: oneshot::Sender<Share>,
}

/// A part of a pool that is taken until this is dropped.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    tenant: String,
    amount: usize,
}

/// A place in the line, which is left when this is dropped.
struct Waiting<'p> {
    pool: &'p Arc<Pool>,
    number: u64,
}

impl Pool {
    /// Nothing of it is taken.
    #[must_use]
    pub fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self { rules, state: Mutex::default() })
    }

    /// Takes so much for a tenant. `None`: others have it all, and `waiters` wait already, or it waited in vain.
    pub async fn take(self: &Arc<Self>, tenant: &str, amount: usize, waiters: usize) -> Option<Share> {
        let (number, mut turn) = self.join(tenant, amount, waiters);
        let waiting = Waiting { pool: self, number };
        let share = timeout(self.rules.patience, &mut turn).await.ok().and_then(Result::ok);
        drop(waiting);
        share.or_else(|| turn.try_recv().ok())
    }

    /// Takes so much if it is there.
    pub fn try_take(self: &Arc<Self>, tenant: &str, amount: usize) -> Option<Share> {
        let mut state = self.state();
        let fits = state.is_entitled(&self.rules, tenant, amount) && state.taken + amount <= self.rules.size;
        fits.then(|| {
            state.give(tenant, amount);
            self.share(tenant.to_owned(), amount)
        })
    }

    fn join(self: &Arc<Self>, tenant: &str, amount: usize, waiters: usize) -> (u64, oneshot::Receiver<Share>) {
        let (now, (turn, wait)) = (Instant::now(), oneshot::channel());
        let mut state = self.state();
        let number = state.push(tenant, amount, turn, now);
        let served = state.serve(&self.rules, now);
        let sent_away = state.send_away(&self.rules, number, waiters, now);
        drop(state);
        drop(sent_away);
        self.hand_out(served);
        (number, wait)
    }

    fn leave(self: &Arc<Self>, number: u64) {
        let now = Instant::now();
        let mut state = self.state();
        let gone = state.remove(&self.rules, number, now);
        // Those behind may have waited for this one alone.
        let served = if gone.is_some() { state.serve(&self.rules, now) } else { Vec::new() };
        drop(state);
        self.hand_out(served);
    }

    fn give_back(self: &Arc<Self>, tenant: &str, amount: usize) {
        let mut state = self.state();
        state.give_back(tenant, amount);
        let served = state.serve(&self.rules, Instant::now());
        drop(state);
        self.hand_out(served);
    }

    /// Without the lock: one that has given up gives it back here, which serves the next one.
    fn hand_out(self: &Arc<Self>, served: Vec<Waiter>) {
        for Waiter { tenant, amount, turn, .. } in served {
            turn.send(self.share(tenant, amount)).ok();
        }
    }

    fn share(self: &Arc<Self>, tenant: String, amount: usize) -> Share {
        Share { pool: Arc::clone(self), tenant, amount }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is taken, and how many wait.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        assert_eq!(state.tenants.values().sum::<usize>(), state.taken);
        (state.taken, state.line.len())
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Whether the tenant may have so much beside what it has.
    fn is_entitled(&self, rules: &Rules, tenant: &str, amount: usize) -> bool {
        self.tenants.get(tenant).copied().unwrap_or_default().saturating_add(amount) <= rules.share
    }

    fn waits(&self, tenant: &str) -> bool {
        self.line.iter().any(|waiter| waiter.tenant == tenant)
    }

    /// The place of a waiter in the line.
    fn rank(&self, waiter: &Waiter) -> (u64, u64) {
        (self.places.get(&waiter.tenant).map_or(waiter.number, |place| place.rank), waiter.number)
    }

    fn push(&mut self, tenant: &str, amount: usize, turn: oneshot::Sender<Share>, now: Instant) -> u64 {
        let State { places, line, .. } = self;
        places.retain(|tenant, place| {
            place.left.is_some_and(|left| now < left.at + PLACE) || line.iter().any(|waiter| waiter.tenant == *tenant)
        });
        let number = self.next();
        self.places.entry(tenant.to_owned()).or_insert(Place { rank: number, left: None });
        self.line.push(Waiter { number, tenant: tenant.to_owned(), amount, turn });
        number
    }

    /// Takes out of the line those who can have what they wait for.
    fn serve(&mut self, rules: &Rules, now: Instant) -> Vec<Waiter> {
        let mut served = Vec::new();
        loop {
            let entitled = self.line.iter().enumerate();
            let entitled = entitled.filter(|(_, waiter)| self.is_entitled(rules, &waiter.tenant, waiter.amount));
            let Some((position, first)) = entitled.min_by_key(|(_, waiter)| self.rank(waiter)) else { break };
            let held = self.held(rules, self.rank(first).0, now);
            if self.taken.saturating_add(held).saturating_add(first.amount) > rules.size {
                break;
            }
            let waiter = self.line.remove(position);
            self.give(&waiter.tenant, waiter.amount);
            served.push(waiter);
        }
        served
    }

    /// What is kept free for those who left in vain and come before this rank.
    fn held(&self, rules: &Rules, rank: u64, now: Instant) -> usize {
        let held = self.places.iter().filter_map(|(tenant, place)| {
            let left = place.left.filter(|left| place.rank < rank && now < left.at + rules.hold)?;
            (self.is_entitled(rules, tenant, left.wanted) && !self.waits(tenant)).then_some(left.wanted)
        });
        held.sum()
    }

    fn give(&mut self, tenant: &str, amount: usize) {
        self.taken += amount;
        match self.tenants.get_mut(tenant) {
            Some(taken) => *taken += amount,
            None => drop(self.tenants.insert(tenant.to_owned(), amount)),
        }
        let next = self.next();
        if self.waits(tenant) {
            self.places.insert(tenant.to_owned(), Place { rank: next, left: None });
        } else {
            self.places.remove(tenant);
        }
    }

    fn give_back(&mut self, tenant: &str, amount: usize) {
        self.taken -= amount;
        if let Some(taken) = self.tenants.get_mut(tenant) {
            *taken -= amount;
            if *taken == 0 {
                self.tenants.remove(tenant);
            }
        }
    }

    /// Sends away the one that has just come and may not wait, or the last one in line.
    fn send_away(&mut self, rules: &Rules, number: u64, waiters: usize, now: Instant) -> Option<Waiter> {
        let waiter = self.line.iter().find(|waiter| waiter.number == number)?;
        let left = self.places.get(&waiter.tenant).and_then(|place| place.left);
        if left.is_some_and(|left| now < left.at + rules.rest) {
            let position = self.line.iter().position(|waiter| waiter.number == number)?;
            return Some(self.line.remove(position)); // it has not waited
        }
        if self.line.iter().filter(|other| other.tenant == waiter.tenant).count() > rules.waiters {
            return self.remove(rules, number, now);
        }
        if self.line.len() <= waiters {
            return None;
        }
        let last = self.line.iter().max_by_key(|waiter| self.rank(waiter))?.number;
        self.remove(rules, last, now)
    }

    /// Takes one out of the line that leaves it in vain.
    fn remove(&mut self, rules: &Rules, number: u64, now: Instant) -> Option<Waiter> {
        let position = self.line.iter().position(|waiter| waiter.number == number)?;
        let waiter = self.line.remove(position);
        // Who has its share waited for itself, and has no claim on others.
        let waited_for_others = self.is_entitled(rules, &waiter.tenant, waiter.amount);
        let next = self.next();
        if let Some(place) = self.places.get_mut(&waiter.tenant) {
            place.left = Some(Left { at: now, wanted: waiter.amount });
            if !waited_for_others {
                place.rank = next;
            }
        }
        Some(waiter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.leave(self.number);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.give_back(&self.tenant, self.amount);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pool({})", self.rules.size)
    }
}

#[cfg(test)]
mod tests;
