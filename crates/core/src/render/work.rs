//! The budget of one rendering of a policy: for its values, expressions and templates together, so that many small ones
//! cannot do what one large one may not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::RenderError;
use crate::stop::Stop;

/// The resources, each with a count of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes that functions of templates read or return.
    Bytes,
    /// Bytes that functions of templates return: variables may keep all of them.
    Made,
    /// Steps of the template engine.
    Steps,
    /// Time of functions that are slow on purpose, in units of about a microsecond.
    Slow,
    /// Bytes of JSON that are read for properties and expressions, and of names that are rewritten.
    Parsed,
}

/// All resources, in the order of their declaration.
const RESOURCES: usize = 5;

impl Resource {
    /// The budget of one policy. Together the budgets keep a policy below two seconds and 16 MiB.
    #[must_use]
    pub const fn limit(self) -> u64 {
        match self {
            Self::Bytes => 32 << 20,
            Self::Made => 16 << 20,
            Self::Steps => 4_000_000,
            // About twenty times bcrypt.
            Self::Slow => 1_200_000,
            Self::Parsed => 128 << 20,
        }
    }

    /// The message when it is used up, with what to do.
    fn exhausted(self) -> &'static str {
        match self {
            Self::Bytes => {
                "the templates of the policy work on too much data: their functions take and return more than 32 MiB in all"
            }
            Self::Made => {
                "the templates of the policy work on too much data: their functions return more than 16 MiB in all"
            }
            Self::Steps => {
                "the templates of the policy do more than 4,000,000 steps in all; make their loops shorter, or make \
                 several policies"
            }
            Self::Slow => {
                "the policy calls slow functions too often: the limit is about 20 times bcrypt or htpasswd, 1,000,000 \
                 iterations of PKCS#12 files, or large regular expressions on large texts, also those of find and \
                 rewrite; make several policies"
            }
            Self::Parsed => {
                "the policy takes too many parts out of large values: more than 128 MiB are read in all; take all \
                 properties at once with dataFrom.extract, or keep them under several keys"
            }
        }
    }
}

/// Why a rendering cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The caller has stopped it.
    Stopped,
    /// There is not enough left.
    Exhausted(Resource),
}

impl Ended {
    /// In our words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Stopped => "it was stopped",
            Self::Exhausted(resource) => resource.exhausted(),
        }
    }
}

impl From<Ended> for RenderError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Stopped => Self::Stopped,
            Ended::Exhausted(resource) => Self::TooMuchWork { text: resource.exhausted() },
        }
    }
}

/// What one rendering has spent. All its parts and all clones share it.
#[derive(Clone, Debug, Default)]
pub struct Work {
    stop: Stop,
    spent: Arc<[AtomicU64; RESOURCES]>,
}

impl Work {
    /// A rendering that has spent nothing, and ends early when `stop` says so.
    #[must_use]
    pub fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..Self::default() }
    }

    /// The same, for sharing.
    #[must_use]
    pub fn shared(stop: &Stop) -> Arc<Self> {
        Arc::new(Self::new(stop))
    }

    /// Takes `amount` of a resource, before its use.
    ///
    /// # Errors
    /// When there is not as much left, or the rendering was stopped.
    pub fn spend(&self, resource: Resource, amount: usize) -> Result<(), Ended> {
        self.go_on()?;
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        let before = self.spent(resource).fetch_add(amount, Ordering::Relaxed);
        if before.saturating_add(amount) > resource.limit() { Err(Ended::Exhausted(resource)) } else { Ok(()) }
    }

    /// How much of a resource is left.
    #[must_use]
    pub fn left(&self, resource: Resource) -> usize {
        let left = resource.limit().saturating_sub(self.spent(resource).load(Ordering::Relaxed));
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Called wherever something takes long.
    ///
    /// # Errors
    /// When the rendering was stopped.
    pub fn go_on(&self) -> Result<(), Ended> {
        if self.stop.is_stopped() { Err(Ended::Stopped) } else { Ok(()) }
    }

    fn spent(&self, resource: Resource) -> &AtomicU64 {
        &self.spent[resource as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_ends_by_itself() {
        let work = Work::default();
        assert_eq!(work.spend(Resource::Made, 16 << 20), Ok(()));
        assert_eq!(work.spend(Resource::Made, 1), Err(Ended::Exhausted(Resource::Made)));
        assert_eq!(work.left(Resource::Made), 0);
        assert_eq!(work.spend(Resource::Slow, usize::MAX), Err(Ended::Exhausted(Resource::Slow)));
        assert_eq!(work.spend(Resource::Steps, 1), Ok(()));
    }

    #[test]
    fn what_was_stopped_spends_nothing_more() {
        let stop = Stop::default();
        let work = Work::new(&stop);
        stop.stop();
        assert_eq!(work.spend(Resource::Bytes, 1), Err(Ended::Stopped));
        assert_eq!(RenderError::from(Ended::Stopped), RenderError::Stopped);
    }
}
