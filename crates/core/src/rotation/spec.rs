//! What a `RotationSchedule` asks for.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{RotationSchedule, RotationScheduleSpec, names, rotation::Approval};

use super::Owner;
use crate::{
    SpecError,
    policy::Source,
    request,
    rotation_proof::Destination,
    rotator::Rotator,
    schedule::{Schedule, Windows},
    time,
    unbuilt::{self, Unbuilt},
};

/// A parsed schedule.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent settings of the user")]
pub struct ScheduleSpec {
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
    /// When a rotation may start.
    pub windows: Windows,
    /// Whether each waits for an approval.
    pub approval: Approval,
    /// The rotation that is approved.
    pub approved: Option<String>,
    /// The rotation whose retirement is given up.
    pub let_go: Option<String>,
    /// Whether to rotate at first sight.
    pub rotate_on_create: bool,
    /// Where the new value goes; `None`: to the one key that the policy reads.
    pub write_to: Option<Destination>,
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
    /// Why it is refused, unless the operator allows what is not yet proven safe.
    pub alpha: Option<SpecError>,
}

/// A schedule whose destination is known.
#[derive(Clone, Debug)]
pub struct Task {
    /// What the schedule asks for.
    pub spec: Arc<ScheduleSpec>,
    /// Where the new value goes.
    pub to: Destination,
}

/// The source of the policy that a schedule names, as far as it can be known.
#[derive(Clone, Copy, Debug)]
pub enum PolicySource<'a> {
    /// The policy does not exist, or cannot be read.
    Missing,
    /// Its source is refused.
    Invalid,
    /// It takes its values from here.
    Known(&'a Source),
}

impl ScheduleSpec {
    /// Who the pending Secrets of its rotations belong to.
    #[must_use]
    pub fn owner(&self) -> Owner<'_> {
        Owner { namespace: &self.namespace, uid: &self.uid }
    }

    /// The schedule with its destination: where the new value goes may follow from what its policy reads.
    ///
    /// # Errors
    /// When the destination is not given and does not follow.
    pub fn task(self: &Arc<Self>, source: PolicySource<'_>) -> Result<Task, SpecError> {
        let to = match &self.write_to {
            Some(to) => to.clone(),
            None => default_target(&self.policy, source)?,
        };
        Ok(Task { spec: Arc::clone(self), to })
    }
}

impl TryFrom<&RotationSchedule> for ScheduleSpec {
    type Error = SpecError;

    fn try_from(object: &RotationSchedule) -> Result<Self, SpecError> {
        unbuilt::refuse(&UNBUILT, &object.spec)?;
        let spec = &object.spec;
        let metadata = &object.metadata;
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        let (schedule, schedule_text) = schedule(object)?;
        let timing = spec.schedule.as_ref();
        let delta = |duration: rekey_api::GoDuration| TimeDelta::from_std(duration.get()).unwrap_or(TimeDelta::MAX);
        let write_to =
            spec.write_to.as_ref().map(|to| Destination { store: to.store_ref.clone(), key: to.key.clone() });
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
            windows: Windows::parse("spec.windows", &spec.windows)?,
            approval: spec.approval,
            approved: annotation(names::ROTATION_APPROVED),
            let_go: annotation(names::LET_GO),
            rotate_on_create: timing.is_some_and(|timing| timing.rotate_on_create),
            write_to,
            rotator: Rotator::parse(&spec.rotator)?,
            retire_after: delta(spec.retire_after),
            overdue_after: delta(spec.overdue_after),
            suspended: spec.suspend,
            requested: request::token(metadata, names::ROTATE_REQUESTED)?,
            leaked: annotation(names::ROTATE_REASON).as_deref() == Some(names::ROTATE_REASON_LEAKED),
            requested_by: requested_by(object),
            deleted: metadata.deletion_timestamp.is_some(),
            alpha: unbuilt::refuse(&ALPHA, &object.spec).err(),
        })
    }
}

/// What is refused unless the operator runs with `--allow-alpha`: it is built, and not yet proven safe.
pub(crate) static ALPHA: [Unbuilt<RotationScheduleSpec>; 1] =
    [Unbuilt::field("spec.rotator.postgres", ALPHA_FLAG, |spec| spec.rotator.postgres.is_some())];

const ALPHA_FLAG: &str =
    "it is not proven safe yet; to try it where no login matters, run the operator with --allow-alpha";

/// What this version does not act on.
pub(crate) static UNBUILT: [Unbuilt<RotationScheduleSpec>; 11] = [
    Unbuilt::field("spec.rotator.postgres.users.single", "use alternating", |spec| {
        spec.rotator.postgres.as_ref().is_some_and(|postgres| postgres.users.single.is_some())
    }),
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
];

const GENERATE: &str = "use generate or sshKeyPair";

/// Where the new value goes when the schedule does not say: the one key that its policy reads.
fn default_target(name: &str, source: PolicySource<'_>) -> Result<Destination, SpecError> {
    let why = match source {
        PolicySource::Missing => "does not exist",
        PolicySource::Invalid => "is not valid",
        PolicySource::Known(Source::Remote(remote)) => match remote.only_key() {
            Some((store, key)) => return Ok(Destination { store: store.clone(), key: key.to_owned() }),
            None => "reads more than one key",
        },
        PolicySource::Known(Source::Existing | Source::Generated(_) | Source::Engine(_)) => "reads no key of a store",
    };
    let fix = format!(
        "name the store and key that get the new value; there is no default, since SecretPolicy {name:?} {why}"
    );
    Err(SpecError::field("spec.writeTo", fix))
}

fn schedule(object: &RotationSchedule) -> Result<(Schedule, Option<String>), SpecError> {
    let Some(spec) = &object.spec.schedule else {
        return Ok((Schedule::OnRequest, None));
    };
    match (&spec.cron, spec.every) {
        (Some(cron), None) => {
            Ok((Schedule::cron("spec.schedule", cron, &spec.time_zone)?, Some(format!("{cron} {}", spec.time_zone))))
        }
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
