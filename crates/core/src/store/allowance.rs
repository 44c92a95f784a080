//! How much one round may read, counted while it arrives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{StoreError, StoreErrorKind};

/// How many bytes of answers one round may hold at the same time: what is arriving, and the values that were read. All
/// reads of the round share it (clones are the same allowance), and all stop as soon as it is used up.
///
/// It also counts requests, since a call of a store may take several.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Count>);

#[derive(Debug)]
struct Count {
    limit: usize,
    taken: AtomicUsize,
    most: AtomicUsize,
    over: AtomicBool,
    requests: AtomicUsize,
}

/// Bytes of an allowance that are in use until this is dropped.
#[derive(Debug)]
pub struct Taken {
    allowance: Allowance,
    bytes: usize,
}

impl Allowance {
    /// For so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (taken, most, requests) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Count { limit, taken, most, over: AtomicBool::new(false), requests }))
    }

    /// Nothing is in use yet.
    #[must_use]
    pub fn taken(&self) -> Taken {
        Taken { allowance: self.clone(), bytes: 0 }
    }

    /// Takes bytes for good, for a value that was read.
    ///
    /// # Errors
    /// `TooMuch` when it is more than is left. From then on it gives nothing.
    pub fn keep(&self, bytes: usize) -> Result<(), StoreError> {
        let mut taken = self.taken();
        taken.add(bytes)?;
        taken.bytes = 0; // keep it
        Ok(())
    }

    /// Fails once a read needed more than was left: then no more reads make sense.
    ///
    /// # Errors
    /// `TooMuch`.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.is_over() { Err(self.too_much()) } else { Ok(()) }
    }

    /// Whether a read needed more than was left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }

    /// The most bytes that were in use at the same time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::Acquire)
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.limit.saturating_sub(self.0.taken.load(Ordering::Acquire))
    }

    /// Counts a request to the store's server.
    pub fn count_request(&self) {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// How many requests were counted.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }

    fn too_much(&self) -> StoreError {
        let text = format!("the answers are larger than the {} KiB that one round may read", self.0.limit / 1024);
        StoreError::new(StoreErrorKind::TooMuch, text)
    }
}

impl Taken {
    /// Takes more bytes.
    ///
    /// # Errors
    /// `TooMuch` when it is more than is left. From then on it gives nothing.
    pub fn add(&mut self, bytes: usize) -> Result<(), StoreError> {
        let Allowance(count) = &self.allowance;
        self.allowance.check()?;
        let wanted = count.taken.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        self.bytes += bytes;
        if wanted > count.limit {
            count.over.store(true, Ordering::Release);
            return Err(self.allowance.too_much());
        }
        count.most.fetch_max(wanted, Ordering::AcqRel);
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.allowance.0.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_stays_over() {
        let allowance = Allowance::new(10);
        let mut first = allowance.taken();
        first.add(6).unwrap();
        allowance.keep(4).unwrap();
        assert_eq!((allowance.left(), allowance.most()), (0, 10));
        drop(first);
        assert_eq!(allowance.left(), 6, "a kept value stays counted");
        let error = allowance.keep(7).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::TooMuch);
        assert_eq!(allowance.keep(1).unwrap_err(), error);
        assert_eq!((allowance.most(), allowance.left()), (10, 6), "a refused value is not counted");
        assert!(allowance.is_over() && allowance.clone().is_over());
    }

    #[test]
    fn requests_are_counted() {
        let allowance = Allowance::new(0);
        allowance.clone().count_request();
        assert_eq!(allowance.requests(), 1);
    }
}
