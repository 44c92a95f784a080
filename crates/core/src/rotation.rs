//! What a `RotationSchedule` asks for, parsed once at the door, and the decisions about it.

mod begin;
mod due;
mod events;
mod overlap;
mod pending;
mod state;
mod status;
mod step;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{RotationSchedule, RotationScheduleSpec, SecretPolicy, names, reference::StoreRef, rotation::Approval};

pub use crate::rotation_proof::{Values, target};
pub use begin::{Readiness, readiness, refusal};
pub use due::{Due, due};
pub use events::notices;
pub use pending::{
    Leaving, Owner, Pending, Prepared, Stored, Trust, base_digest, candidates, current, first, lacks, members, merge,
    stored,
};
pub use state::{Begun, Effect, Move, Open, PolicyView, ProofView, Seen, State, StoreView, Wait, Written};
pub use status::{Record, begun, ended, failed, outcome_reason, record, refused, stalled, state};
pub use step::{TRIES, pod_of_unseen_rollout, step};

use crate::{
    SpecError,
    policy::Source,
    request,
    rotator::Rotator,
    schedule::Schedule,
    time,
    unbuilt::{self, Unbuilt},
};

/// A parsed schedule.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes of the user")]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The policy whose credential it rotates.
    pub policy: String,
    /// When.
    pub schedule: Schedule,
    /// For the status: the schedule as one line.
    pub schedule_text: Option<String>,
    /// At most this much later than due.
    pub jitter: TimeDelta,
    /// Whether to rotate at first sight.
    pub rotate_on_create: bool,
    /// Where the new value goes.
    pub store: StoreRef,
    /// Under which key.
    pub key: String,
    /// How the credential is made and retired.
    pub rotator: Rotator,
    /// How long the old credential stays valid after the last consumer has left it.
    pub retire_after: TimeDelta,
    /// How late a rotation may be before the schedule is no longer ready.
    pub overdue_after: TimeDelta,
    /// Whether everything rests.
    pub suspended: bool,
    /// The token of `rekey.dev/rotate-requested`.
    pub requested: Option<String>,
    /// Whether the request says that the value has leaked.
    pub leaked: bool,
    /// Who wrote the request: its field manager.
    pub requested_by: Option<String>,
    /// Whether the object is being deleted.
    pub deleted: bool,
}

impl Plan {
    /// The store and key that are written, as one text.
    #[must_use]
    pub fn target(&self) -> String {
        target(&self.store, &self.key)
    }

    /// Who the pending Secrets of its rotations belong to.
    #[must_use]
    pub fn owner(&self) -> Owner<'_> {
        Owner { namespace: &self.namespace, uid: &self.uid }
    }
}

impl Plan {
    /// Parses a schedule. `policy` is the one that it names, if that is there: where the new value goes may follow from it.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(object: &RotationSchedule, policy: Option<&SecretPolicy>) -> Result<Self, SpecError> {
        unbuilt::refuse(&UNBUILT, &object.spec)?;
        let spec = &object.spec;
        let metadata = &object.metadata;
        let (store, key) = match &spec.write_to {
            Some(to) => (to.store_ref.clone(), to.key.clone()),
            None => default_target(&spec.policy_ref.name, policy)?,
        };
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        let (schedule, schedule_text) = schedule(object)?;
        let timing = spec.schedule.as_ref();
        let delta = |duration: rekey_api::GoDuration| TimeDelta::from_std(duration.get()).unwrap_or(TimeDelta::MAX);
        Ok(Self {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(time::chrono).unwrap_or_default(),
            policy: spec.policy_ref.name.clone(),
            schedule,
            schedule_text,
            jitter: timing.and_then(|timing| timing.jitter).map_or(TimeDelta::zero(), delta),
            rotate_on_create: timing.is_some_and(|timing| timing.rotate_on_create),
            store,
            key,
            rotator: Rotator::parse(&spec.rotator)?,
            retire_after: delta(spec.retire_after),
            overdue_after: delta(spec.overdue_after),
            suspended: spec.suspend,
            requested: request::token(metadata, names::ROTATE_REQUESTED)?,
            leaked: annotation(names::ROTATE_REASON).as_deref() == Some(names::ROTATE_REASON_LEAKED),
            requested_by: requested_by(object),
            deleted: metadata.deletion_timestamp.is_some(),
        })
    }
}

/// What this version does not act on.
pub(crate) static UNBUILT: [Unbuilt<RotationScheduleSpec>; 13] = [
    Unbuilt::field("spec.rotator.postgres", GENERATE, |spec| spec.rotator.postgres.is_some()),
    Unbuilt::field("spec.rotator.mysql", GENERATE, |spec| spec.rotator.mysql.is_some()),
    Unbuilt::field("spec.rotator.redis", GENERATE, |spec| spec.rotator.redis.is_some()),
    Unbuilt::field("spec.rotator.certificate", GENERATE, |spec| spec.rotator.certificate.is_some()),
    Unbuilt::field("spec.rotator.awsAccessKey", GENERATE, |spec| spec.rotator.aws_access_key.is_some()),
    Unbuilt::field("spec.rotator.awsRotation", GENERATE, |spec| spec.rotator.aws_rotation.is_some()),
    Unbuilt::field("spec.rotator.vaultStaticRole", GENERATE, |spec| spec.rotator.vault_static_role.is_some()),
    Unbuilt::field("spec.rotator.job", GENERATE, |spec| spec.rotator.job.is_some()),
    Unbuilt::field("spec.rotator.webhook", GENERATE, |spec| spec.rotator.webhook.is_some()),
    Unbuilt::using(("spec.rotator.generate.fields", "to leave it out"), "name the fields", |spec| {
        spec.rotator.generate.as_ref().is_some_and(|generate| generate.fields.is_none())
    }),
    Unbuilt::field("spec.schedule.renewBefore", "use cron or every", |spec| {
        spec.schedule.as_ref().is_some_and(|schedule| schedule.renew_before.is_some())
    }),
    Unbuilt::field("spec.windows", "remove it; put the time into spec.schedule.cron", |spec| !spec.windows.is_empty()),
    Unbuilt::choice(("spec.approval", "Manual"), "use Automatic", |spec| spec.approval == Approval::Manual),
];

const GENERATE: &str = "use generate or sshKeyPair";

/// Where the new value goes when the schedule does not say: the one key that its policy reads.
fn default_target(name: &str, policy: Option<&SecretPolicy>) -> Result<(StoreRef, String), SpecError> {
    let no_default = |why: &str| {
        let fix = format!(
            "name the store and key that get the new value; there is no default, since SecretPolicy {name:?} {why}"
        );
        Err(SpecError::field("spec.writeTo", fix))
    };
    let Some(policy) = policy else { return no_default("does not exist") };
    match Source::parse(policy) {
        Ok(Source::Remote(remote)) => match remote.only_key() {
            Some((store, key)) => Ok((store.clone(), key.to_owned())),
            None => no_default("reads more than one key"),
        },
        Ok(Source::Existing | Source::Generated(_) | Source::Engine(_)) => no_default("reads no key of a store"),
        Err(_) => no_default("is not valid"),
    }
}

fn schedule(object: &RotationSchedule) -> Result<(Schedule, Option<String>), SpecError> {
    let Some(spec) = &object.spec.schedule else {
        return Ok((Schedule::OnRequest, None));
    };
    match (&spec.cron, spec.every) {
        (Some(cron), None) => Ok((Schedule::cron(cron, &spec.time_zone)?, Some(format!("{cron} {}", spec.time_zone)))),
        (None, Some(every)) => {
            let period = TimeDelta::from_std(every.get()).unwrap_or(TimeDelta::MAX);
            if period < TimeDelta::seconds(1) {
                return Err(SpecError::field("spec.schedule.every", "write at least 1s"));
            }
            Ok((Schedule::Every(period), Some(format!("every {every}"))))
        }
        _ => Err(SpecError::field("spec.schedule", "set exactly one of cron, every, renewBefore")),
    }
}

/// The field manager that owns the request annotation: who asked.
fn requested_by(object: &RotationSchedule) -> Option<String> {
    let field = format!("f:{}", names::ROTATE_REQUESTED);
    let entries = object.metadata.managed_fields.as_ref()?;
    let owner =
        entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()).find(|entry| {
            entry.fields_v1.as_ref().is_some_and(|fields| {
                fields
                    .0
                    .get("f:metadata")
                    .and_then(|at| at.get("f:annotations"))
                    .is_some_and(|at| at.get(&field).is_some())
            })
        })?;
    owner.manager.clone()
}
