//! How far the rollout of a workload is.

use std::fmt::{self, Display, Formatter};

/// How far a workload's pods follow its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every wanted pod is of the current template and available.
    Complete,
    /// Not yet.
    Underway(String),
    /// Its own controller has given it up.
    Stuck(String),
    /// It will not go on by itself.
    Waiting(Waiting),
}

/// Whether a workload wants pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// It does, or has none of its own.
    #[default]
    Up,
    /// It wants none now: it is scaled to 0, or no node takes one of a `DaemonSet`.
    Zero,
}

impl Scale {
    /// That of so many pods that are wanted.
    #[must_use]
    pub fn of(wanted: Option<i64>) -> Self {
        if wanted == Some(0) { Self::Zero } else { Self::Up }
    }
}

/// Why a workload does not replace its pods by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Its rollout is paused. A restart would start when it goes on, so it waits, too.
    Paused,
    /// Its update strategy is `OnDelete`: pods are new when a user deletes the old ones.
    ByHand(Replaced),
    /// Its update strategy leaves the pods below this ordinal alone.
    Partition(i32, Replaced),
}

/// How many pods of a workload are of its current template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// So many are.
    pub new: i32,
    /// Of so many that are wanted.
    pub wanted: i32,
}

impl Display for Waiting {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => formatter.write_str("its rollout is paused; resume it"),
            Self::ByHand(pods) => write!(formatter, "updateStrategy OnDelete: {pods}; delete the old ones"),
            Self::Partition(partition, pods) => {
                write!(formatter, "updateStrategy partition {partition}: {pods}; lower the partition")
            }
        }
    }
}

impl Display for Replaced {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} pods are new", self.new, self.wanted)
    }
}
