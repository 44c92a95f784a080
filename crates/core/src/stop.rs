//! Stops a long computation early.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Lets the caller of a long computation stop it. All clones share one state: the computation checks it often, and
/// gives up once it is stopped.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the computation to stop, for good.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_are_one() {
        let stop = Stop::default();
        let other = stop.clone();
        assert!(!other.is_stopped());
        stop.stop();
        assert!(other.is_stopped());
    }
}
