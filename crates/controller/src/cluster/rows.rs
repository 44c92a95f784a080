//! The rows of the tables: what is kept of each kind.

mod secret;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::core::{DeserializeGuard, object::HasStatus};
use rekey_api::{SecretPolicy, bounds::TOKEN, names};
use rekey_core::{
    Parse, SpecError,
    policy::{PolicySpec, Source},
    workload::Workload,
};
use serde::Serialize;
use serde_json::json;

pub use self::secret::{Holder, Managed, Owner, SecretRow, other_annotations, own_tags, values};
use super::{References, Referent, Refers, Row, Uid, Version};
use crate::error::Error;

/// The annotations by which people ask for something: of our own kinds only these are read.
const ASKED: [&str; 7] = [
    names::SYNC_REQUESTED,
    names::ROTATE_REQUESTED,
    names::ROTATE_REASON,
    names::ROTATION_APPROVED,
    names::LET_GO,
    names::UNLOCK,
    names::ROLLBACK_TO,
];

/// Characters that are kept of an annotation: one more than a token may have, so that a long one is seen to be too
/// long.
const KEPT: usize = TOKEN as usize + 1;

/// Characters that are kept of what a parser says, which may quote what it has read.
const SAID: usize = 1024;

/// Bytes of all finalizers of an object. They are kept as they are, since ours is written together with the others.
const FINALIZERS: usize = 16 * 1024;

/// One of our own objects, with what it asks for; of malformed ones the metadata is kept, so that their users learn of
/// it.
#[derive(Debug)]
pub struct Object<K: Parse> {
    state: Result<Parsed<K>, Box<Malformed>>,
    /// What was found when its templates and expressions were looked at; that takes time, and is done once for each
    /// generation.
    verdict: OnceLock<Verdict>,
    /// Fingerprint of the status that we write, from before it is sent; 0: of none.
    written: AtomicU64,
}

/// An object that could be read.
#[derive(Debug)]
struct Parsed<K: Parse> {
    object: K,
    /// What it asks for, or why that is refused. Parsed here and nowhere else, when it is first asked for: in namespaces that are
    /// not opened nobody asks, and tenants can have large specs there.
    spec: OnceLock<Result<Arc<K::Spec>, Box<SpecError>>>,
}

impl<K: Parse> Parsed<K> {
    fn spec(&self) -> &Result<Arc<K::Spec>, Box<SpecError>> {
        self.spec.get_or_init(|| self.object.parse().map(Arc::new).map_err(Box::new))
    }
}

/// Nothing, or what is wrong. Boxed: nearly always nothing is.
type Verdict = Result<(), Box<SpecError>>;

/// An object that could not be read as its kind, or is out of the bounds that its kind has today.
#[derive(Debug)]
pub struct Malformed {
    pub text: String,
    pub metadata: ObjectMeta,
}

impl<K: Parse> Object<K> {
    /// From what a watch delivers; `before`: what is known of the object.
    #[must_use]
    pub fn from_guard(guard: DeserializeGuard<K>, before: Option<&Self>) -> Self {
        match guard.0 {
            Ok(object) => Self::from_object(object, before),
            Err(mut invalid) => {
                let _ = slim(&mut invalid.metadata); // what it says is wrong counts less than what the parser says
                let text = invalid.error.chars().take(SAID).collect();
                let malformed = Malformed { text, metadata: invalid.metadata };
                Self::new(Err(Box::new(malformed)))
            }
        }
    }

    /// From an object. A spec that was found within its bounds `before` is neither looked at nor parsed again: most
    /// news of an object are of its status, and our own.
    #[must_use]
    pub fn from_object(mut object: K, before: Option<&Self>) -> Self {
        let slimmed = slim(object.meta_mut());
        let known = before.and_then(|row| row.state.as_ref().ok());
        let known = known.filter(|known| same_spec(known.object.meta(), object.meta()));
        let bounded = |object: &K| if known.is_some() { Ok(()) } else { object.within_bounds() };
        Self::new(match slimmed.and_then(|()| bounded(&object)) {
            Ok(()) => {
                let known = known.filter(|known| same_requests(known.object.meta(), object.meta()));
                let spec = known.map(|known| known.spec.clone()).unwrap_or_default();
                // A copy has no spare room, which lists that were read from JSON have, for three more of their items.
                Ok(Parsed { object: object.clone(), spec })
            }
            Err(error) => {
                let metadata = std::mem::take(object.meta_mut());
                Err(Box::new(Malformed { text: error.to_string(), metadata }))
            }
        })
    }

    fn new(state: Result<Parsed<K>, Box<Malformed>>) -> Self {
        Self { state, verdict: OnceLock::new(), written: AtomicU64::new(0) }
    }

    /// The object, unless it is malformed.
    #[must_use]
    pub fn readable(&self) -> Option<&K> {
        self.state.as_ref().ok().map(|parsed| &parsed.object)
    }

    /// The object.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn object(&self) -> Result<&K, Error> {
        Ok(&self.parsed()?.object)
    }

    /// What it asks for.
    ///
    /// # Errors
    /// When it is malformed, or its spec is refused.
    pub fn spec(&self) -> Result<&Arc<K::Spec>, Error> {
        self.parsed()?.spec().as_ref().map_err(|refused| Error::Spec(SpecError::clone(refused)))
    }

    fn parsed(&self) -> Result<&Parsed<K>, Error> {
        self.state.as_ref().map_err(|malformed| Error::Malformed { text: malformed.text.clone() })
    }

    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match &self.state {
            Ok(parsed) => parsed.object.meta(),
            Err(malformed) => &malformed.metadata,
        }
    }

    /// What [`decide`](Self::decide) has kept.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<(), SpecError>> {
        self.verdict.get().cloned().map(|verdict| verdict.map_err(|error| *error))
    }

    /// Keeps what was found when the object's templates and expressions were looked at.
    pub fn decide(&self, verdict: &Result<(), SpecError>) {
        let _ = self.verdict.set(verdict.clone().map_err(Box::new)); // the first look has found the same
    }
}

impl<K: Parse + HasStatus<Status: Serialize>> Object<K> {
    /// Keeps which status we are about to write: the watch may bring it before the answer does.
    pub fn writes(&self, status: &K::Status) {
        self.written.store(fingerprint(status), Ordering::Relaxed);
    }

    /// Whether this is the status that we wrote last.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let status = self.readable().and_then(HasStatus::status);
        status.is_some_and(|status| fingerprint(status) == self.written.load(Ordering::Relaxed))
    }
}

fn fingerprint(status: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(status).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

impl Object<SecretPolicy> {
    /// What the policy asks for, unless it is known to be invalid.
    #[must_use]
    pub fn policy(&self) -> Option<Arc<PolicySpec>> {
        let is_proven = self.verdict.get().is_none_or(Result::is_ok);
        self.spec().ok().filter(|_| is_proven).map(Arc::clone)
    }

    /// Where the policy's values come from, as far as that can be known: other parts of its spec may be refused.
    #[must_use]
    pub fn source(&self) -> Option<Cow<'_, Source>> {
        let parsed = self.state.as_ref().ok()?;
        match parsed.spec() {
            Ok(spec) => Some(Cow::Borrowed(&spec.source)),
            Err(_) => Source::parse(&parsed.object).ok().map(Cow::Owned),
        }
    }
}

/// Whether two versions of an object have the same spec.
fn same_spec(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation.is_some() && (&one.uid, one.generation) == (&other.uid, other.generation)
}

/// Whether two versions of an object with the same spec ask for the same by their annotations, and in the same life.
fn same_requests(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let is_going = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_some();
    one.annotations == other.annotations
        && one.managed_fields == other.managed_fields
        && is_going(one) == is_going(other)
}

/// Drops what no code reads from rows. Tenants write into metadata what they like, up to 1.5 MiB in each object, and
/// our kinds are watched in namespaces that are not opened too.
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
        let fix = format!("they take more than {FINALIZERS} bytes; remove those that are not needed");
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

impl<K: Parse + Refers + Send + Sync + 'static> Row for Object<K> {
    fn version(&self) -> Version {
        Version::new(self.metadata().resource_version.as_deref().unwrap_or_default())
    }

    fn references(&self) -> References {
        self.readable().map(Refers::references).unwrap_or_default()
    }

    fn follow(&mut self, before: &Self) {
        *self.written.get_mut() = before.written.load(Ordering::Relaxed);
        if same_spec(self.metadata(), before.metadata()) {
            self.verdict.clone_from(&before.verdict);
        }
    }
}

/// What is known of a namespace: its labels, by which grants select.
#[derive(Debug)]
pub struct NamespaceRow {
    pub version: Version,
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

impl Row for Workload {
    fn version(&self) -> Version {
        Version::new(&self.resource_version)
    }

    fn references(&self) -> References {
        let mountable = self.mountable.iter().flatten();
        let mountable = mountable.map(|at| (Referent::Mountable, at.name.to_string()));
        self.uses.keys().map(|secret| (Referent::Secret, secret.clone())).chain(mountable).collect()
    }
}
