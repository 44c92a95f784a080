//! The operator's requests to the API server during a measurement.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use rekey_testkit::plane::{Asked, Counts, Mark};
use tokio::time::sleep;

use super::ground::Ground;
use crate::{Operator, world::OPERATOR};

/// Nothing takes longer, at any size.
const PATIENCE: Duration = Duration::from_mins(20);
const LOOK: Duration = Duration::from_millis(100);

/// Follows the requests of one operator from a moment on.
pub struct Traffic<'a> {
    ground: &'a Ground,
    mark: Mark,
    /// The requests until now.
    pub asked: Vec<Asked>,
}

impl<'a> Traffic<'a> {
    /// Starts now.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub async fn from_now(ground: &'a Ground) -> Result<Self> {
        Ok(Self { ground, mark: ground.audit.mark().await?, asked: Vec::new() })
    }

    /// Reads on.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn read(&mut self) -> Result<()> {
        let (asked, mark) = self.ground.audit.follow(&self.mark, OPERATOR)?;
        self.mark = mark;
        // The Lease is renewed by time, whatever the work.
        self.asked.extend(asked.into_iter().filter(|asked| asked.subject != "leases"));
        Ok(())
    }

    /// Requests with this verb for this resource until now.
    #[must_use]
    pub fn of(&self, verb: &str, subject: &str) -> usize {
        self.asked.iter().filter(|asked| asked.verb == verb && asked.subject == subject).count()
    }

    /// Reads on until there are so many of each.
    ///
    /// # Errors
    /// When they do not come, or the operator ends.
    pub async fn until(&mut self, operator: &mut Operator, wanted: &[(&str, &str, usize)]) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.read()?;
            if wanted.iter().all(|(verb, subject, count)| self.of(verb, subject) >= *count) {
                return Ok(());
            }
            operator.alive()?;
            ensure!(Instant::now() < end, "wanted {wanted:?}, and after {PATIENCE:?} there are\n{}", self.counts());
            sleep(LOOK).await;
        }
    }

    /// Reads on until there were no requests for this long.
    ///
    /// # Errors
    /// When it never rests, or the operator ends.
    pub async fn until_rest(&mut self, operator: &mut Operator, rest: Duration) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let (mut seen, mut since) = (self.asked.len(), Instant::now());
        while since.elapsed() < rest {
            sleep(LOOK).await;
            operator.alive()?;
            self.read()?;
            if self.asked.len() != seen {
                (seen, since) = (self.asked.len(), Instant::now());
            }
            ensure!(Instant::now() < end, "the operator does not come to rest:\n{}", self.counts());
        }
        Ok(())
    }

    /// The requests, counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.asked.iter().for_each(|asked| counts.add(&asked.verb, &asked.subject));
        counts
    }

    /// When the last request that is a write was answered.
    #[must_use]
    pub fn last_write(&self) -> Option<Timestamp> {
        let writes = self.asked.iter().filter(|asked| matches!(asked.verb.as_str(), "patch" | "create"));
        writes.map(|asked| asked.at).max()
    }
}

/// Seconds from one moment to a later one.
#[must_use]
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).total(k8s_openapi::jiff::Unit::Second).unwrap_or_default()
}
