//! The record on the Secret beside its content: whether it fits there, and how it compares with what was read.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use rekey_api::{condition::Reason, names};

use super::{
    Scope,
    publish::{Decided, Publishing, Wait},
    seen::Content,
};
use crate::{
    SpecError,
    digest::Digests,
    notice::Notice,
    origin::Origin,
    published::{ANNOTATIONS, Published},
    time,
};

/// What etcd takes of one object (<https://etcd.io/docs/v3.6/dev-guide/limit/>).
const OBJECT: usize = 1536 * 1024;
/// Of an object beside its data and annotations, at most: labels, owner, the managed fields of these.
const FRAME: usize = 32 * 1024;
/// Of a key beside its name, which is in the data and in the managed fields.
const KEY: usize = 24;
/// Names that an Event lists.
const NAMES: usize = 8;
/// Sources that a message lists.
const SOURCES: usize = 3;

impl Publishing<'_> {
    /// All annotations of the Secret.
    ///
    /// # Errors
    /// When they do not fit on it, now or once each of its keys has changed, or the whole does not fit into etcd.
    pub(super) fn annotations(&self, published: &Published) -> Result<BTreeMap<String, String>, SpecError> {
        let mut annotations = self.policy.secret_annotations(published);
        annotations.extend(self.gathered.tags.annotations.clone());
        let theirs: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (others, name) = (self.seen.other_annotations + theirs, self.policy.names.base().to_owned());
        let needed = names::DIGESTS.len() + names::CHANGES.len() + published.room();
        if others + needed > ANNOTATIONS {
            let keys = published.digests.len();
            return Err(SpecError::TooManyKeys { name, keys, needed, others });
        }
        let data = self.gathered.data.iter().map(|(key, value)| value.len() + 2 * key.len() + KEY).sum::<usize>();
        let size = data + others + needed + FRAME;
        if self.policy.scope != Scope::Record && size > OBJECT {
            return Err(SpecError::ObjectTooLarge { name, keys: self.gathered.data.len(), size });
        }
        annotations.insert(names::DIGESTS.to_owned(), published.digests.to_string());
        annotations.insert(names::CHANGES.to_owned(), published.changes.to_string());
        Ok(annotations)
    }

    /// Whether a user asks for what the source holds. A request on an object that Rekey has not looked at yet may be an old
    /// one: it was restored with the object.
    pub(super) fn is_asked(&self) -> bool {
        let (asked, status) = (&self.policy.sync_requested, &self.seen.status);
        asked.is_some() && asked.as_deref() != status.handled_sync() && status.revision.is_some()
    }

    /// What is decided when the store gives something from before what is published, and no user has asked for it.
    pub(super) fn went_back(&self, published: &Arc<Published>) -> Option<Decided> {
        let (policy, status) = (self.policy, &self.seen.status);
        if self.is_asked() {
            return None;
        }
        let back = self.gathered.origins.iter().filter_map(|source| {
            let before = published.changes.origins.of(&source.id).filter(|before| source.origin.is_before(*before))?;
            Some(format!("key {} went back from {} to {}", source.text, shown(before), shown(source.origin)))
        });
        let back: Vec<String> = back.collect();
        if back.is_empty() {
            return None;
        }
        let text = format!(
            "{}; a store that was restored or lags behind gives old values, so Secret {} keeps the newer ones. To \
             publish what the store holds now: {}",
            list(&back, SOURCES, "; "),
            self.seen.secret_name(policy),
            policy.sync_command(),
        );
        let told = status.conditions.iter().any(|at| at.reason == Reason::StoreWentBack.as_str() && at.message == text);
        let notice = Notice::new(Reason::StoreWentBack, "Sync", text.as_str());
        let events = if told { Vec::new() } else { vec![notice] };
        let stale = Some(Wait { reason: Reason::StoreWentBack, text });
        Some(Decided { events, stale, ..Decided::unchanged(Arc::clone(published)) })
    }

    /// Which keys come and go with this publication: a changed set of keys is worth a look, whoever changed it. A
    /// removed key has a name only where the record or the content has it.
    pub(super) fn key_changes(&self, before: &Digests, content: Option<&Content>) -> String {
        let data = &self.gathered.data;
        let added: Vec<&String> = data.keys().filter(|key| !before.contains(key)).collect();
        let gone = |key: &&String| !data.contains_key(*key) && before.contains(key);
        let removed: Option<Vec<&String>> = match (before.named(), content) {
            (Some(named), _) => Some(named.filter(gone).collect()),
            (None, Some(content)) => Some(content.data.keys().filter(gone).collect()),
            (None, None) => None,
        };
        let mut text = String::new();
        if !added.is_empty() {
            text.extend(["; new keys: ", &list(&added, NAMES, ", ")]);
        }
        match removed {
            Some(removed) if removed.is_empty() => {}
            Some(removed) => text.extend(["; removed keys: ", &list(&removed, NAMES, ", ")]),
            None => {
                let count = (before.len() + added.len()).saturating_sub(data.len());
                if count > 0 {
                    write!(text, "; {count} keys removed").ok();
                }
            }
        }
        text
    }
}

fn shown(origin: Origin) -> String {
    let time = time::text(origin.created);
    origin.version.map_or_else(|| format!("a version of {time}"), |version| format!("version {version} of {time}"))
}

fn list<T: AsRef<str>>(all: &[T], most: usize, between: &str) -> String {
    let listed = all.iter().take(most).map(AsRef::as_ref).collect::<Vec<&str>>().join(between);
    match all.len().saturating_sub(most) {
        0 => listed,
        more => format!("{listed}{between}and {more} more"),
    }
}
