//! Names that users and other tools see: group, labels, annotations, field managers.

/// API group of every kind.
pub const GROUP: &str = "rekey.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Label on a Secret: who manages it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on Secrets that Rekey writes.
pub const MANAGED_BY_VALUE: &str = "rekey";

/// On a Secret: publication number, the revision before, when each key last changed, and the rotation whose values were
/// published last. Decisions about restarts and rotations read it.
pub const CHANGES: &str = "rekey.dev/changes";
/// What the name of a rotation's pending Secret starts with; its id follows.
pub const PENDING_PREFIX: &str = "rekey-pending-";
/// On a rotation's pending Secret: keyed digest over schedule, rotation, target, base and values. Without it Rekey uses
/// nothing of the Secret.
pub const PROOF: &str = "rekey.dev/proof";
/// On a rotation's pending Secret: the rotation's id.
pub const ROTATION: &str = "rekey.dev/rotation";
/// On a rotation's pending Secret: uid of its schedule (label, so that a schedule finds it).
pub const SCHEDULE_UID: &str = "rekey.dev/schedule-uid";
/// On a rotation's pending Secret: the store's version that was current when the rotation started.
pub const BASE_VERSION: &str = "rekey.dev/base-version";
/// On a rotation's pending Secret: digests of the rotated properties as they were when the rotation started.
pub const BASE_DIGESTS: &str = "rekey.dev/base-digests";
/// Annotation on the pending Secret of a rotation: the users of a database when it started.
pub const BASE_USERS: &str = "rekey.dev/base-users";
/// On a rotation's pending Secret: the store and key that the value is meant for.
pub const WRITES_TO: &str = "rekey.dev/writes-to";
/// Finalizer of a schedule while a rotation is open.
pub const FINALIZER: &str = "rekey.dev/rotation-open";

/// Annotation on a Secret: name of the policy that publishes it.
pub const POLICY: &str = "rekey.dev/policy";
/// Annotation on a Secret: id of the published content.
pub const REVISION: &str = "rekey.dev/revision";
/// Annotation on a Secret: per key a keyed digest (HMAC, truncated, bound to namespace, name and key).
pub const DIGESTS: &str = "rekey.dev/digests";
/// Annotation on a Secret: random seed of the salts of its templates, 32 bytes in base64.
pub const SEED: &str = "rekey.dev/seed";
/// Annotation on a version of a Secret: what becomes of the versions that nothing refers to when the policy is deleted.
/// Without it they stay.
pub const ON_POLICY_DELETE: &str = "rekey.dev/on-policy-delete";
/// The only value of [`ON_POLICY_DELETE`].
pub const ON_POLICY_DELETE_DELETE: &str = "Delete";
/// Annotation on a version, or on the copy of an earlier value: what became of it.
pub const HELD: &str = "rekey.dev/held";
/// Value of [`HELD`]: a consumer did not become healthy on it.
pub const HELD_ROLLED_BACK: &str = "RolledBack";
/// Value of [`HELD`]: [`ROLLBACK_TO`] named an earlier one.
pub const HELD_ROLLBACK_TO: &str = "RollbackTo";
/// Value of [`HELD`]: another value replaced it before all consumers ran on it.
pub const HELD_UNTRIED: &str = "Untried";
/// Annotation on the private copy of an earlier value: it is no version, and nothing is moved to it.
pub const COPY: &str = "rekey.dev/copy";
/// The only value of [`COPY`].
pub const COPY_TRUE: &str = "true";
/// Annotation on a pod template: per secret a digest of the keys the workload consumes; the restart marker.
pub const CONSUMED: &str = "rekey.dev/consumed";

/// Annotation on a custom resource: opaque token that asks for one synchronisation.
pub const SYNC_REQUESTED: &str = "rekey.dev/sync-requested";
/// Annotation on a custom resource: opaque token that asks for one rotation.
pub const ROTATE_REQUESTED: &str = "rekey.dev/rotate-requested";
/// Annotation on a schedule, with [`ROTATE_REQUESTED`]: why.
pub const ROTATE_REASON: &str = "rekey.dev/rotate-reason";
/// Value of [`ROTATE_REASON`]: the next rotation starts at once, also while another one still rolls out.
pub const ROTATE_REASON_LEAKED: &str = "Leaked";
/// Annotation on a schedule: id of the rotation that may go on.
pub const ROTATION_APPROVED: &str = "rekey.dev/rotation-approved";
/// Annotation on a schedule: id of the rotation whose retirement is given up; what it would end stays as it is.
pub const LET_GO: &str = "rekey.dev/let-go";
/// Annotation on a policy: opaque token that allows Rekey to replace a locked Secret once, when no pod refers to it.
pub const UNLOCK: &str = "rekey.dev/unlock";
/// Annotation on a policy: revision to publish again.
pub const ROLLBACK_TO: &str = "rekey.dev/rollback-to";

/// Annotation on a Secret of another tool: the policy that may take it over.
pub const ADOPT_BY: &str = "rekey.dev/adopt-by";
/// Annotation on a credential Secret: who may use it and where Rekey may send it, as
/// `RemoteStore/vault@bao.infra:8200, RotationSchedule/orders-db@db.shop:5432|replica.shop:5432`.
pub const USABLE_BY: &str = "rekey.dev/usable-by";
/// Annotation on a workload: `"true"` when it reads mounted files again by itself.
pub const LIVE_RELOAD: &str = "rekey.dev/live-reload";
/// Annotation on a workload: `Never` when Rekey must not restart it.
pub const RESTART: &str = "rekey.dev/restart";

/// Field manager of Secrets.
pub const MANAGER: &str = "rekey";
/// Field manager of status.
pub const MANAGER_STATUS: &str = "rekey-status";
/// Field manager of pod template markers.
pub const MANAGER_RESTART: &str = "rekey-restart";

/// Prefixes of labels and annotations that are never copied from a custom resource to a Secret: they steer other tools.
pub const NEVER_COPIED: [&str; 6] = [
    "argocd.argoproj.io/",
    "app.kubernetes.io/instance",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/",
];

/// The `ClusterRole` whose binding opens a namespace to the operator.
pub const ROLE_NAMESPACE: &str = "rekey-namespace";
/// The one that shows the operator the Argo Rollouts of a namespace, and lets it restart them.
pub const ROLE_ROLLOUTS: &str = "rekey-namespace-argo-rollouts";
