//! The Kubernetes API of Rekey, `rekey.dev/v1alpha1`: the four kinds, their schema and CEL rules, conditions and reasons, and the
//! names of labels, annotations and field managers. Types only: no I/O, no clock, no async.
//!
//! Each type mirrors what the API server accepts; bounds and cross-field rules live in the generated schema. An object may be older
//! than a rule, so whoever reads one checks again before acting on it.

pub mod bounds;
pub mod condition;
pub mod crds;
pub mod duration;
mod field;
pub mod names;
pub mod policy;
pub mod provider;
pub mod reference;
pub mod rotation;
pub mod rotator;
pub mod schedule;
mod schema;
pub mod store;

pub use condition::{ConditionType, Reason};
pub use duration::GoDuration;
pub use policy::{SecretPolicy, SecretPolicySpec, SecretPolicyStatus};
pub use rotation::{RotationSchedule, RotationScheduleSpec, RotationScheduleStatus};
pub use store::{ClusterRemoteStore, ClusterRemoteStoreSpec, RemoteStore, RemoteStoreSpec, RemoteStoreStatus};

/// Whether a status is about no generation at all: it is absent, or the CRD's default, so the operator has not looked at the object yet.
#[must_use]
pub fn is_unseen(observed_generation: Option<i64>) -> bool {
    observed_generation.is_none_or(|generation| generation < 0)
}
