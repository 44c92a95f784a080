//! How often the rounds of a key have failed in a row, and where that is reported.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Key;
use crate::error::Error;

/// What passes by itself, a crowd at a store for example, and has not for so many attempts in a row, is reported like
/// any other failure: with the pauses between them that is about a minute.
const LASTING: u32 = 15;

/// Failures in a row, by key.
pub struct Failures<K>(Mutex<HashMap<K, u32>>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Key> Failures<K> {
    /// One more; how many there are now.
    pub fn count(&self, key: &K) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// A round went well.
    pub fn clear(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Where a failure is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// In the log, at debug: it passes by itself.
    Log,
    /// In status and Event, too.
    Status,
}

impl Word {
    /// About a failure that came so often in a row.
    pub fn about(error: &Error, count: u32) -> Self {
        if error.is_quiet() && count < LASTING { Self::Log } else { Self::Status }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_should_pass_and_does_not_is_reported() {
        let busy = Error::StoreBusy { store: "RemoteStore/vault".to_owned() };
        let words: Vec<Word> = (1..=LASTING).map(|count| Word::about(&busy, count)).collect();
        assert_eq!(words.iter().filter(|word| **word == Word::Log).count(), 14);
        assert_eq!(words.last(), Some(&Word::Status));
        let waited: Duration = (1..LASTING).filter_map(|count| busy.delay(count)).sum();
        assert!((Duration::from_secs(30)..Duration::from_mins(2)).contains(&waited), "{waited:?}");
        assert_eq!(Word::about(&Error::Panic, 1), Word::Status);
    }
}
