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
mod waits;

pub use begin::{Readiness, is_all_current, is_new, lasting, no_policy, readiness, refusal};
pub use due::{Due, due};
pub use events::{broken, notices};
pub use gate::{Gate, gate};
pub use pending::{
    Leaving, Owner, Pending, Prepared, Stored, Trust, base_digest, candidate, candidates, current, first, lacks,
    members, merge, stored,
};
pub use situation::{failed, refused, stalled};
#[cfg(test)]
pub(crate) use spec::{ALPHA, UNBUILT};
pub use spec::{PolicySource, ScheduleSpec, Task};
pub use state::{
    Begun, Effect, Move, Open, PodsView, PolicyView, ProofView, Seen, State, StoreView, UsersView, Wait, Written,
};
pub use status::{Record, begun, ended, outcome_reason, record, state};
pub use step::{TRIES, step};
pub use waits::{is_let_go, pod_of_unseen_rollout};

pub use crate::rotation_proof::{Destination, Publication};
