//! How often one key may be worked on. What makes a key come again and again (a tenant who edits an object without end,
//! another tool that undoes what we write, a fault of ours) costs two rounds a second and not a whole worker.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// Rounds that may follow each other at once: a rotation takes some 20, a policy with many consumers a round for each
/// of their changes.
const BURST: u32 = 60;
/// After that, a round in this time.
const INTERVAL: Duration = Duration::from_millis(500);
/// Keys that are remembered before those whose time is over are forgotten.
const KEPT: usize = 64;

/// For each key that was worked on lately, when all of its rounds are paid for (the generic cell rate algorithm, ITU-T
/// I.371).
pub struct Pace<K> {
    paid: HashMap<K, Instant>,
    /// How many keys were left when the last were forgotten.
    left: usize,
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self { paid: HashMap::new(), left: 0 }
    }
}

impl<K: Clone + Eq + Hash> Pace<K> {
    /// When the key may be worked on next, if not now.
    pub fn wait(&self, key: &K, now: Instant) -> Option<Instant> {
        let free = self.paid.get(key)?.checked_sub(INTERVAL * BURST)?;
        (free > now).then_some(free)
    }

    /// Counts a round.
    pub fn count(&mut self, key: &K, now: Instant) {
        let paid = self.paid.entry(key.clone()).or_insert(now);
        *paid = (*paid).max(now) + INTERVAL;
        if self.paid.len() > KEPT + 2 * self.left {
            self.paid.retain(|_, paid| *paid > now);
            self.paid.shrink_to(2 * self.paid.len());
            self.left = self.paid.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_burst_and_then_a_round_in_each_interval() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut rounds = 0;
        let mut now = start;
        while now < start + Duration::from_secs(20) {
            match pace.wait(&"hot", now) {
                None => {
                    pace.count(&"hot", now);
                    rounds += 1;
                }
                Some(free) => {
                    assert!(free - now <= INTERVAL, "{:?}", free - now);
                    now = free;
                }
            }
            assert_eq!(pace.wait(&"calm", now), None);
        }
        assert!((98..=102).contains(&rounds), "{rounds}: 60 at once, and two in each of 20 seconds");
        let later = now + INTERVAL * (BURST + 1);
        (0..BURST).for_each(|_| pace.count(&"hot", later));
        assert_eq!(pace.wait(&"hot", later), None, "who rests has the whole burst again");
    }

    #[test]
    fn keys_that_rest_are_forgotten() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for number in 0..10_000u32 {
            pace.count(&number, start + Duration::from_millis(10 * u64::from(number)));
        }
        assert!(pace.paid.len() < 4 * KEPT, "{}", pace.paid.len());
    }
}
