//! What a `RotationSchedule` asks for, parsed once at the door, and the decisions about it.

mod begin;
mod due;
mod ends;
mod events;
mod gate;
mod overlap;
mod pending;
mod situation;
mod spec;
mod state;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod two_logins;

pub use begin::{Readiness, is_new, lasting, no_policy, readiness, refusal};
pub use due::{Due, due};
pub use events::notices;
pub use pending::{
    Leaving, Owner, Pending, Prepared, Stored, Trust, base_digest, candidates, current, first, lacks, members, merge,
    stored,
};
pub use situation::{failed, refused, stalled};
#[cfg(test)]
pub(crate) use spec::{ALPHA, UNBUILT};
pub use spec::{PolicySource, ScheduleSpec, Task};
pub use state::{
    Begun, Effect, Move, Open, PodsView, PolicyView, ProofView, Seen, State, StoreView, UsersView, Wait, Written,
};
pub use status::{Record, begun, ended, outcome_reason, record, state};
pub use step::{TRIES, pod_of_unseen_rollout, step};

pub use crate::rotation_proof::{Destination, Publication};
