//! Since when no pod was seen to refer to a Secret that is replaced under its name.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::ObjectName;

/// Looks follow each other within 5 s. After a longer time without one, a pod may have come and gone.
const LAPSE: Duration = Duration::from_secs(15);

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Clearings(Mutex<HashMap<ObjectName, Clearing>>);

#[derive(Clone, Copy, Debug)]
struct Clearing {
    since: Instant,
    looked: Instant,
}

impl Clearings {
    /// No look since then has shown a pod; this one has shown none either.
    #[must_use]
    pub fn clear(&self, secret: &ObjectName, now: Instant) -> Instant {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clearing = state.entry(secret.clone()).or_insert(Clearing { since: now, looked: now });
        if now - clearing.looked > LAPSE {
            clearing.since = now;
        }
        clearing.looked = now;
        clearing.since
    }

    /// A look has shown one, or nobody looks any more.
    pub fn forget(&self, secret: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_are_far_apart_show_nothing_of_the_time_between() {
        let (clearings, name, start) = (Clearings::default(), ObjectName::new("shop", "db"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let since = |seconds| clearings.clear(&name, at(seconds)) - start;
        assert_eq!([0, 5, 10].map(since), [Duration::ZERO; 3]);
        assert_eq!([30, 35].map(since), [Duration::from_secs(30); 2]);
        clearings.forget(&name);
        assert_eq!(since(36), Duration::from_secs(36));
    }
}
