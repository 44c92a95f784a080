//! What the step machine of a rotation works with: its state, what it sees, and what it decides.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use rekey_api::{
    condition::Reason,
    rotation::{RotationOutcome, RotationReason},
};

use super::{Due, Pending, ScheduleSpec, Stored};
use crate::{
    published::Rotated,
    rotator::{Stage, users::Users},
};

/// Where a rotation is; by value, so that each arm names what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// None is open.
    Idle,
    /// A person has to approve it. Nothing is made yet.
    AwaitingApproval(Open),
    /// A window has to open. Nothing is made yet.
    AwaitingWindow(Open),
    /// The new value is being made durable.
    Preparing(Open),
    /// The new credential is being made valid beside the old one.
    Applying(Open),
    /// It has to work.
    Verifying(Open),
    /// It is being written to the store, and by the policy to the Secret.
    Publishing(Open),
    /// Consumers are being brought onto it.
    RollingOut(Open),
    /// No pod may still hold the old one.
    Settling(Open),
    /// The old one ends.
    Retiring(Open),
}

impl State {
    /// The rotation that is open, if one is.
    #[must_use]
    pub fn open(&self) -> Option<&Open> {
        match self {
            Self::Idle => None,
            Self::AwaitingApproval(open)
            | Self::AwaitingWindow(open)
            | Self::Preparing(open)
            | Self::Applying(open)
            | Self::Verifying(open)
            | Self::Publishing(open)
            | Self::RollingOut(open)
            | Self::Settling(open)
            | Self::Retiring(open) => Some(open),
        }
    }
}

/// An open rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its id, a UUID of version 7.
    pub id: String,
    /// Why it was started.
    pub reason: RotationReason,
    /// What is known to be in the store, once it was seen there.
    pub written: Option<Written>,
}

/// The new value as the store has it, for the policy, which reads it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that holds it.
    pub version: String,
    /// The properties that are rotated.
    pub properties: BTreeSet<String>,
    /// Keyed digest of their values: what is published from others is not this rotation's.
    pub digest: String,
}

impl Open {
    /// Whether what it replaces has leaked: no grace counts, and who is locked out by that does not either.
    pub(super) fn is_leaked(&self) -> bool {
        self.reason == RotationReason::Leaked
    }

    pub(super) fn written(self, version: &str, pending: &Pending) -> Self {
        let written = Written {
            version: version.to_owned(),
            properties: pending.values.keys().cloned().collect(),
            digest: pending.record.digest.clone(),
        };
        Self { written: Some(written), ..self }
    }
}

/// When an open rotation and its step started, as the status has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The rotation.
    pub rotation: DateTime<Utc>,
    /// The step.
    pub step: DateTime<Utc>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the schedule asks for.
    pub spec: Arc<ScheduleSpec>,
    /// Whether one starts, if none is open.
    pub due: Due,
    /// Id for a rotation that starts now.
    pub new_id: String,
    /// The pending Secret of the open rotation, by its name; when none is open, one of the schedule's own that is left.
    pub pending: Option<Pending>,
    /// Whether the rotation of that Secret has ended.
    pub pending_ended: bool,
    /// Whether the schedule still names every property that the Secret has a value for.
    pub is_named: bool,
    /// Whether the schedule holds the finalizer.
    pub finalizer: bool,
    /// The store's value against the pending one, freshly read; from `Applying` on.
    pub store: StoreView,
    /// The users of the database, freshly asked; where a step is decided by them.
    pub users: UsersView,
    /// Whether the new credential works, tried just now; before it is used.
    pub proof: ProofView,
    /// The policy.
    pub policy: PolicyView,
    /// Why no rotation can come to its end as things are, whether one is due or not; asked while none is open.
    pub hopeless: Option<Wait>,
    /// Live pods, from a fresh list; from `Settling` on, and before a user of a database gets another password.
    pub pods: Option<PodsView>,
    /// How often the step in progress has failed.
    pub attempts: u32,
    /// When the open rotation started.
    pub begun: Option<Begun>,
}

/// What a look at the store has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreView {
    /// It was not looked at.
    NotAsked,
    /// What it holds.
    Holds(Stored),
    /// The store object is gone, and so will be the schedule.
    Gone,
    /// It could not be read in as many tries as a schedule that is being deleted waits for.
    Refused,
}

/// What a look at the users of a database has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersView {
    /// It was not looked at.
    NotAsked,
    /// What they are like.
    Seen(Users),
    /// It could not be asked in as many tries as a schedule that is being deleted waits for, and why.
    Refused(String),
}

/// What a try of the new credential has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofView {
    /// It was not tried.
    NotAsked,
    /// It works, or nothing has to be proven.
    Proven,
    /// It does not work, and why.
    Refused(String),
}

/// Live pods that keep the old credential needed, by name, as many as a text has room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodsView {
    /// They hold an older value.
    pub old: Vec<String>,
    /// Nobody knows which value they hold.
    pub unknown: Vec<String>,
    /// They hold the new value and do not run steadily on it.
    pub unsteady: Vec<String>,
}

/// What matters of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyView {
    /// Why a new value could not be written and published now.
    pub unable: Option<Wait>,
    /// What its Secret's own record says of the rotation that it was published from.
    pub record: Option<Rotated>,
    /// Consumers that are not current and healthy yet; `None` when its status is behind its spec.
    pub behind: Option<Vec<String>>,
    /// Other policies of the namespace that read the same key, and that do not show that all of their consumers are current.
    pub others: Vec<String>,
    /// How many there are of them in other namespaces.
    pub elsewhere: usize,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In a word.
    pub reason: Reason,
    /// For people, with what they can do.
    pub text: String,
}

impl Wait {
    /// A wait.
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// A change of the world. Each can be done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the values and keep them in the pending Secret of this rotation.
    MakePending {
        /// Rotation id.
        id: String,
    },
    /// Bring the stored value to this stage, over this version.
    WriteStore {
        /// The version to replace.
        base: Option<String>,
        /// Which stage.
        stage: Stage,
    },
    /// Give the new user of the database its password.
    Grant,
    /// End this user of the database.
    Revoke {
        /// Its name.
        user: String,
    },
    /// Make the server forget the password of this user, which has ended.
    Forget {
        /// Its name.
        user: String,
    },
    /// Add the finalizer to the schedule.
    AddFinalizer,
    /// Remove the finalizer from the schedule.
    RemoveFinalizer,
    /// Delete the pending Secret.
    DropPending {
        /// Name of the Secret.
        name: String,
        /// Its uid.
        uid: String,
    },
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The next state; persisted before the effect.
    pub state: State,
    /// What to do in it.
    pub effect: Option<Effect>,
    /// What is waited for, if there is nothing to do.
    pub waits: Option<Wait>,
    /// How an open rotation ended, and why if it was not completed.
    pub ended: Option<(RotationOutcome, Option<String>)>,
    /// What is still to be reported while no rotation is open.
    pub note: Option<String>,
    /// Why no rotation can come to its end as things are.
    pub stalled: Option<Wait>,
    /// What the effect breaks, since a value that has leaked waits for nobody.
    pub broke: Option<String>,
}

impl Move {
    pub(super) fn to(state: State) -> Self {
        Self { state, effect: None, waits: None, ended: None, note: None, stalled: None, broke: None }
    }

    pub(super) fn doing(state: State, effect: Effect) -> Self {
        Self { effect: Some(effect), ..Self::to(state) }
    }

    pub(super) fn waiting(state: State, text: impl Into<String>) -> Self {
        Self { waits: Some(Wait::new(Reason::Rotating, text)), ..Self::to(state) }
    }

    pub(super) fn end(outcome: RotationOutcome, why: impl Into<String>) -> Self {
        Self { ended: Some((outcome, Some(why.into()))), ..Self::to(State::Idle) }
    }

    /// The same, with more to report: beside what is waited for, or beside how the rotation ended.
    #[must_use]
    pub fn adding(mut self, text: &str) -> Self {
        let said = self.waits.as_mut().map(|wait| &mut wait.text);
        if let Some(said) = said.or_else(|| self.ended.as_mut().and_then(|(_, why)| why.as_mut())) {
            *said = format!("{said}; {text}");
        } else if let Some((_, why)) = &mut self.ended {
            *why = Some(text.to_owned());
        }
        self
    }
}
