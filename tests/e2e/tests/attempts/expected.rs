//! What comes of each attempt, in each mode.

use super::other_tool::Attempt;

/// Which Secret of a policy is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that keeps its name, mutable.
    Mutable,
    /// The same with `Locked`.
    Locked,
    /// The current version, with `Publish`.
    Published,
    /// The current version, with `Move`.
    Moved,
    /// The plain Secret beside it.
    Plain,
    /// A version before it that is kept.
    Superseded,
    /// A private copy of an earlier value.
    Copy,
}

impl Which {
    /// Whether it is immutable.
    pub fn is_immutable(self) -> bool {
        !matches!(self, Self::Mutable | Self::Plain)
    }

    /// Whether it holds an earlier value.
    pub fn is_earlier(self) -> bool {
        matches!(self, Self::Superseded | Self::Copy)
    }
}

/// What comes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The Secret is as it was, and an Event with this reason says so.
    Repaired(&'static str),
    /// The API server refuses it.
    Refused,
    /// It is the other tool's right, and takes nothing from us.
    Stays,
    /// What the other tool has made stays, and the policy is stalled with this reason; when it is gone, all is as it was.
    Stalled(&'static str),
    /// The same, but pods have to be gone first: nodes may serve other bytes under the name.
    Frozen,
    /// The same of what is not published itself: the policy's message says what to do, and an Event with this reason.
    Told(&'static str),
    /// The value has another name from here on, and an Event says why.
    Renamed,
    /// The value is gone for good, and an Event says so.
    Lost,
}

pub fn end(which: Which, attempt: Attempt) -> End {
    use Attempt as A;
    use Which as W;
    let is_owned = matches!(which, W::Mutable | W::Locked | W::Plain);
    match attempt {
        A::ForceApply | A::Edit | A::AddKey | A::RemoveKey | A::Thaw | A::FreezeTheirs if which.is_immutable() => {
            End::Refused
        }
        A::Delete | A::Recreate(_) if which.is_earlier() => End::Lost,
        A::Delete => End::Repaired("Synced"),
        A::Recreate(_) if matches!(which, W::Published | W::Moved) => End::Renamed,
        A::Recreate(_) if which == W::Plain => End::Told("NoConsent"),
        A::Recreate(_) => End::Stalled("NoConsent"),
        A::ForceApply | A::Edit | A::AddKey | A::RemoveKey | A::TakeLabel | A::Take(_) | A::TakeAll => {
            End::Repaired("Drifted")
        }
        A::AddController if is_owned => End::Refused, // there is one already
        A::AddMarks | A::AddOwner | A::AddController | A::AddFinalizer | A::Thaw => End::Stays,
        A::Freeze if which.is_immutable() => End::Stays,
        A::Freeze | A::FreezeTheirs if which == W::Plain => End::Told("LockedAndChanged"),
        A::Freeze | A::FreezeTheirs => End::Frozen,
    }
}
