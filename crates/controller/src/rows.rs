//! The rows of the tables: what is kept of each kind.

mod identity;
mod secret;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::{
    Resource,
    core::{DeserializeGuard, object::HasStatus},
};
use rekey_api::{SecretPolicy, bounds::TOKEN, names};
use rekey_core::{SpecError, bounds::Bounded, policy::Policy, workload::Workload};
use serde::Serialize;
use serde_json::json;

pub use self::{
    identity::{Uid, Version},
    secret::{Holder, Managed, Owner, SecretRow, other_annotations},
};
use crate::{
    error::Error,
    index::{References, Referent, Refers},
    table::Row,
};

/// The annotations by which people ask for something: of our own kinds only these are read.
const ASKED: [&str; 6] = [
    names::SYNC_REQUESTED,
    names::ROTATE_REQUESTED,
    names::ROTATE_REASON,
    names::ROTATION_APPROVED,
    names::UNLOCK,
    names::ROLLBACK_TO,
];

/// Characters that are kept of an annotation: one more than a token may have, so that a long one is seen to be too long.
const KEPT: usize = TOKEN as usize + 1;

/// Characters that are kept of what a parser says, which may quote what it has read.
const SAID: usize = 1024;

/// Bytes of all finalizers of an object. They are kept as they are, since ours is written together with the others.
const FINALIZERS: usize = 16 * 1024;

/// One of our own objects; of malformed ones the metadata is kept, so that their users can be told.
#[derive(Debug)]
pub struct Object<K> {
    /// The object, or why it could not be read.
    pub parsed: Result<K, Box<Malformed>>,
    /// What was found when its templates and expressions were looked at; that takes time, and is done once for each
    /// generation.
    verdict: OnceLock<Verdict>,
    /// Fingerprint of the status that we write, from before it is sent; 0: of none.
    written: AtomicU64,
}

/// Nothing, or what is wrong. Boxed: nearly always nothing is.
type Verdict = Result<(), Box<SpecError>>;

/// An object that could not be read as its kind, or is out of the bounds that its kind has today.
#[derive(Debug)]
pub struct Malformed {
    /// What is wrong.
    pub text: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
}

impl<K: Bounded> Object<K> {
    /// From what a watch delivers; `before`: what is known of the object.
    #[must_use]
    pub fn from_guard(guard: DeserializeGuard<K>, before: Option<&Self>) -> Self {
        match guard.0 {
            Ok(object) => Self::from_object(object, before),
            Err(mut invalid) => {
                let _ = slim(&mut invalid.metadata); // what it says is wrong stands behind what the parser says
                let text = invalid.error.chars().take(SAID).collect();
                let malformed = Malformed { text, metadata: invalid.metadata };
                Self { parsed: Err(Box::new(malformed)), verdict: OnceLock::new(), written: AtomicU64::new(0) }
            }
        }
    }

    /// From an object. A spec that was found within its bounds `before` is not looked at again: most news of an object
    /// are of its status, and our own.
    #[must_use]
    pub fn from_object(mut object: K, before: Option<&Self>) -> Self {
        let slimmed = slim(object.meta_mut());
        let is_known = before.is_some_and(|row| row.parsed.is_ok() && same_spec(row.metadata(), object.meta()));
        let bounded = |object: &K| if is_known { Ok(()) } else { object.within_bounds() };
        let parsed = match slimmed.and_then(|()| bounded(&object)) {
            Ok(()) => Ok(object),
            Err(error) => {
                let metadata = std::mem::take(object.meta_mut());
                Err(Box::new(Malformed { text: error.to_string(), metadata }))
            }
        };
        Self { parsed, verdict: OnceLock::new(), written: AtomicU64::new(0) }
    }
}

impl<K: Resource<DynamicType = ()>> Object<K> {
    /// The object.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn object(&self) -> Result<&K, Error> {
        self.parsed.as_ref().map_err(|malformed| Error::Malformed { text: malformed.text.clone() })
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match &self.parsed {
            Ok(object) => object.meta(),
            Err(malformed) => &malformed.metadata,
        }
    }

    /// What [`decide`](Self::decide) was told.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<(), SpecError>> {
        self.verdict.get().cloned().map(|verdict| verdict.map_err(|error| *error))
    }

    /// Keeps what was found when the object's templates and expressions were looked at.
    pub fn decide(&self, verdict: &Result<(), SpecError>) {
        let _ = self.verdict.set(verdict.clone().map_err(Box::new)); // whoever was first has found the same
    }
}

impl<K: HasStatus<Status: Serialize>> Object<K> {
    /// Keeps which status we are about to write: the watch may bring it before the answer does.
    pub fn writes(&self, status: &K::Status) {
        self.written.store(fingerprint(status), Ordering::Relaxed);
    }

    /// Whether this is the status that we wrote last.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let status = self.parsed.as_ref().ok().and_then(HasStatus::status);
        status.is_some_and(|status| fingerprint(status) == self.written.load(Ordering::Relaxed))
    }
}

fn fingerprint(status: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(status).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

impl Object<SecretPolicy> {
    /// The policy, unless it is known to be invalid.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        let parsed = Policy::try_from(self.parsed.as_ref().ok()?).ok()?;
        self.verdict.get().is_none_or(Result::is_ok).then_some(parsed)
    }
}

/// Whether two versions of an object have the same spec.
fn same_spec(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation.is_some() && (&one.uid, one.generation) == (&other.uid, other.generation)
}

/// Drops what nobody asks the rows for. Tenants write into metadata what they like, up to 1.5 MiB in each object, and our
/// kinds are watched in namespaces that are not opened too.
///
/// # Errors
/// When what has to be kept is larger than it may be.
fn slim(metadata: &mut ObjectMeta) -> Result<(), SpecError> {
    (metadata.labels, metadata.owner_references, metadata.generate_name) = (None, None, None);
    let entries = metadata.managed_fields.take().into_iter().flatten();
    metadata.managed_fields = entries.into_iter().find_map(asked).map(|asker| vec![asker]);
    let annotations = metadata.annotations.take().into_iter().flatten();
    let kept = annotations.filter(|(name, _)| ASKED.contains(&name.as_str()));
    let kept: BTreeMap<String, String> = kept.map(|(name, text)| (name, text.chars().take(KEPT).collect())).collect();
    metadata.annotations = Some(kept).filter(|kept| !kept.is_empty());
    if metadata.finalizers.iter().flatten().map(String::len).sum::<usize>() > FINALIZERS {
        metadata.finalizers = None; // nothing is written to an object that is out of bounds but its status
        let fix = format!("they take more than {FINALIZERS} bytes; remove those that nobody needs");
        return Err(SpecError::field("metadata.finalizers", fix));
    }
    Ok(())
}

/// Whether our own field manager has written this annotation.
#[must_use]
pub fn owns_annotation(entries: &[ManagedFieldsEntry], name: &str) -> bool {
    secret::Ours::read(entries).owns("f:annotations", name)
}

/// What an entry says about who asked for a rotation; nothing if it says nothing.
fn asked(mut entry: ManagedFieldsEntry) -> Option<ManagedFieldsEntry> {
    let fields = entry.fields_v1.take()?;
    let field = format!("f:{}", names::ROTATE_REQUESTED);
    let is_of_object = entry.subresource.as_deref().unwrap_or_default().is_empty();
    fields.0.get("f:metadata")?.get("f:annotations")?.get(&field).filter(|_| is_of_object)?;
    entry.fields_v1 = Some(FieldsV1(json!({"f:metadata": {"f:annotations": {field: {}}}})));
    Some(entry)
}

impl<K: Refers + Send + Sync + 'static> Row for Object<K> {
    fn version(&self) -> Version {
        Version::new(self.metadata().resource_version.as_deref().unwrap_or_default())
    }

    fn references(&self) -> References {
        self.parsed.as_ref().map(Refers::references).unwrap_or_default()
    }

    fn follow(&mut self, before: &Self) {
        *self.written.get_mut() = before.written.load(Ordering::Relaxed);
        if same_spec(self.metadata(), before.metadata()) {
            self.verdict.clone_from(&before.verdict);
        }
    }
}

/// What is known of a namespace: its labels, which grants go by.
#[derive(Debug)]
pub struct NamespaceRow {
    /// Its resourceVersion.
    pub version: Version,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl NamespaceRow {
    /// From metadata.
    #[must_use]
    pub fn project(metadata: ObjectMeta) -> Self {
        Self {
            version: Version::new(metadata.resource_version.as_deref().unwrap_or_default()),
            labels: metadata.labels.unwrap_or_default(),
        }
    }
}

impl Row for NamespaceRow {
    fn version(&self) -> Version {
        self.version.clone()
    }
}

/// A workload's row.
#[derive(Debug)]
pub struct WorkloadRow(pub Workload);

impl Row for WorkloadRow {
    fn version(&self) -> Version {
        Version::new(&self.0.resource_version)
    }

    fn references(&self) -> References {
        self.0.uses.keys().map(|secret| (Referent::Secret, secret.clone())).collect()
    }

    fn follow(&mut self, before: &Self) {
        self.0.follow(&before.0);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSet;
    use rekey_core::workload::Project as _;

    use super::*;
    use crate::table::{ObjectName, Table};

    fn policy(metadata: &serde_json::Value) -> Object<SecretPolicy> {
        let policy = json!({"metadata": metadata, "spec": {"source": {}}});
        Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), None)
    }

    #[test]
    fn of_managed_fields_only_who_asked_for_a_rotation_is_kept() {
        let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "fieldsV1": fields});
        let asked = json!({"f:metadata": {"f:annotations": {"f:rekey.dev/rotate-requested": {}, "f:team": {}}}});
        let mut status = entry("rekey-status", asked.clone());
        status["subresource"] = json!("status");
        let row = policy(&json!({"name": "db", "managedFields": [
            entry("kubectl", json!({"f:metadata": {"f:annotations": {"f:team": {}}}})),
            status,
            entry("alice", asked.clone()),
            entry("bob", asked),
        ]}));
        let kept = json!({"f:metadata": {"f:annotations": {"f:rekey.dev/rotate-requested": {}}}});
        assert_eq!(serde_json::to_value(&row.metadata().managed_fields).unwrap(), json!([entry("alice", kept)]));
    }

    #[test]
    fn of_metadata_only_what_is_read_is_kept_however_much_there_is() {
        let large = "ü".repeat(120 * 1024);
        let mut annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": large});
        for name in ASKED {
            annotations[name] = json!(large);
        }
        let many: serde_json::Map<_, _> = (0..5_000).map(|at| (format!("rekey.dev/label-{at}"), json!("x"))).collect();
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"});
        let row = policy(&json!({
            "name": "db", "uid": "u", "resourceVersion": "7", "generation": 3, "annotations": annotations,
            "labels": many, "ownerReferences": vec![owner; 1_000],
            "finalizers": ["example.com/a", names::FINALIZER],
        }));
        let kept = row.metadata();
        assert!(row.object().is_ok());
        let size = serde_json::to_vec(kept).unwrap().len();
        assert!(size < 4 * 1024, "{size}");
        assert_eq!(kept.finalizers.as_ref().map(Vec::len), Some(2), "ours is written together with the others");
        let kept = kept.annotations.as_ref().unwrap();
        assert!(kept.keys().map(String::as_str).eq(std::collections::BTreeSet::from(ASKED)), "{:?}", kept.keys());
        assert!(kept.values().all(|text| text.chars().count() == 257), "still seen to be longer than a token may be");
    }

    #[test]
    fn an_object_with_more_finalizers_than_can_be_kept_is_refused_and_none_is_taken_off() {
        let finalizers: Vec<String> = (0..2_000).map(|at| format!("example.com/{at}")).collect();
        let row = policy(&json!({"name": "db", "finalizers": finalizers}));
        let said = row.object().unwrap_err().to_string();
        assert!(said.starts_with("metadata.finalizers: they take more than 16384 bytes"), "{said}");
        assert_eq!(row.metadata().finalizers, None);
    }

    #[test]
    fn an_object_out_of_bounds_is_told_of_and_not_worked_on() {
        let store = |server: &str| {
            let auth = json!({"token": {"secretRef": {"name": "token", "key": "token"}}});
            let spec = json!({"provider": {"vault": {"server": server, "auth": auth}}});
            let store = json!({"metadata": {"name": "vault", "uid": "u"}, "spec": spec});
            Object::<rekey_api::RemoteStore>::from_object(serde_json::from_value(store).unwrap(), None)
        };
        assert!(store("https://vault:8200").object().is_ok());
        let older = store("https://user@vault:8200");
        let said = older.object().unwrap_err().to_string();
        assert!(said.starts_with("spec.provider.vault.server: it should match"), "{said}");
        assert_eq!(older.metadata().uid.as_deref(), Some("u"), "whom to tell");
        assert!(older.references().is_empty());
    }

    #[test]
    fn a_spec_that_was_within_its_bounds_is_looked_at_again_when_it_changes() {
        let row = |generation: i64, name: &str, before: Option<&Object<SecretPolicy>>| {
            let metadata = json!({"name": "db", "uid": "u", "generation": generation});
            let policy = json!({"metadata": metadata, "spec": {"source": {}, "target": {"name": name}}});
            Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), before)
        };
        let first = row(1, "db", None);
        assert!(first.object().is_ok());
        assert!(row(1, "No name", Some(&first)).object().is_ok(), "the API server says that nothing has changed");
        let wrong = row(2, "No name", Some(&first));
        assert!(wrong.object().is_err());
        assert!(row(2, "No name", Some(&wrong)).object().is_err(), "what was wrong stays so");
    }

    #[test]
    fn what_was_found_of_expressions_holds_as_long_as_the_spec() {
        let row = |version: &str, uid: &str, generation: i64| {
            let metadata = json!({"name": "db", "resourceVersion": version, "uid": uid, "generation": generation});
            let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
            let policy = json!({"metadata": metadata, "spec": {"source": source}});
            Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), None)
        };
        let (table, name) = (Table::default(), ObjectName::new("shop", "db"));
        let set = |row| table.set(&name, row).unwrap().now.unwrap();
        let first = set(row("1", "a", 1));
        assert_eq!((first.verdict(), first.policy().is_some()), (None, true), "nobody has looked yet");
        let wrong = Err(SpecError::field("spec.x", "fix it"));
        first.decide(&wrong);
        let status = set(row("2", "a", 1));
        assert_eq!((status.verdict(), status.policy().is_some()), (Some(wrong), false), "only its status has changed");
        assert_eq!(set(row("3", "a", 2)).verdict(), None, "an edit");
        set(row("4", "a", 2)).decide(&Ok(()));
        assert_eq!(set(row("5", "b", 2)).verdict(), None, "another object of the same name");
    }

    #[test]
    fn a_daemon_set_that_was_complete_stays_so_until_its_template_changes() {
        let set = |version: &str, generation: i64, available: i32| {
            let set: DaemonSet = serde_json::from_value(json!({
                "metadata": {"name": "agent", "namespace": "shop", "uid": "u", "resourceVersion": version,
                             "generation": generation},
                "spec": {"selector": {}, "template": {}},
                "status": {"observedGeneration": generation, "currentNumberScheduled": 3, "desiredNumberScheduled": 3,
                           "numberMisscheduled": 0, "numberReady": available, "updatedNumberScheduled": 3,
                           "numberAvailable": available, "numberUnavailable": 3 - available},
            }))
            .unwrap();
            WorkloadRow(set.project())
        };
        let table = Table::default();
        let name = ObjectName::new("shop", "DaemonSet/agent");
        let completed = |row: WorkloadRow| table.set(&name, row).unwrap().now.unwrap().0.completed;
        assert!(!completed(set("1", 1, 1)), "two pods are not there yet");
        assert!(completed(set("2", 1, 3)));
        assert!(completed(set("3", 1, 2)), "a pod that fails later is no failure of the rollout");
        let deployed = table.set(&name, set("4", 2, 2)).unwrap().now.unwrap();
        assert!(!deployed.0.completed && deployed.0.outlived, "another template, and the same restart marker");
    }
}
