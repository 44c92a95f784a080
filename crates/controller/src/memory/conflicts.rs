//! Objects whose change has met a conflict: what is known of them is old, and what it would be decided on again is the same.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A watch that is open brings what has changed long before. After this the API server is asked again: a webhook may have
/// said so, too.
const STALE: Duration = Duration::from_mins(1);

/// By kind, namespace and name: the resourceVersion that the API server does not have any more, and when it has said so.
#[derive(Debug, Default)]
pub struct Conflicts(Mutex<HashMap<String, (String, Instant)>>);

impl Conflicts {
    /// Remembers a conflict over this version.
    pub fn set(&self, object: &str, version: &str) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, at)| now.duration_since(*at) < STALE);
        all.insert(object.to_owned(), (version.to_owned(), now));
    }

    /// How long a change of the object over this version is not requested again, if it has met a conflict just now.
    #[must_use]
    pub fn pause(&self, object: &str, version: &str) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, at) = all.get(object).filter(|(of, _)| of == version)?;
        STALE.checked_sub(at.elapsed()).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_version_that_met_it_is_old_and_not_for_ever() {
        let conflicts = Conflicts::default();
        conflicts.set("Secret shop/db", "1");
        assert_eq!(conflicts.pause("Secret shop/db", "1"), Some(STALE));
        assert_eq!(conflicts.pause("Secret shop/db", "2"), None, "the watch has brought another");
        assert_eq!(conflicts.pause("Secret shop/other", "1"), None);
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(conflicts.pause("Secret shop/db", "1"), None);
        conflicts.set("Secret shop/other", "1");
        assert_eq!(conflicts.0.lock().unwrap().len(), 1, "old ones are let go");
    }
}
