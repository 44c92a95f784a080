//! Where the salts of a policy's templates come from. The same inputs render the same bytes, or every round would look
//! like a change: salts follow from a seed that was drawn once and is kept on the Secret. Where it is lost, what is
//! published stays for as long as what it was made from has not changed.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Content, PolicySpec, Seen, SeenSecret,
    dress::{Dressed, Texts},
    values::{Tools, kept},
};
use crate::{SecretBytes, SpecError, digest::DigestKey, published::Published, render::work::Work, seed::Seed};

/// What the data was made with and from.
#[derive(Clone, Debug, Default)]
pub struct Salts {
    /// The seed; `None`: there are no templates, or the digest key has served as seed, as it did once.
    pub seed: Option<Seed>,
    /// Digest of templates and values; its first part names the digest key.
    pub inputs: Option<String>,
    /// Whether the data holds salts of a seed that is lost. Asked only where a Secret has to come back as it was.
    pub are_lost: bool,
}

/// Values, and templates of other objects, that the Secret is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub values: &'a BTreeMap<String, SecretBytes>,
    pub more: Option<&'a Texts>,
    /// Whether the source is known to give what was published, by its versions and not by its bytes.
    pub is_same_source: bool,
}

/// What a Secret holds, and what it was made with.
pub type Salted = (Dressed, Salts);

impl PolicySpec {
    /// Makes the data. `None`: what is published stays, and has not been read.
    pub(super) fn salted(
        &self,
        seen: &Seen,
        inputs: Inputs<'_>,
        work: &Arc<Work>,
        tools: Tools<'_>,
    ) -> Result<Option<Salted>, SpecError> {
        let Inputs { values, more, is_same_source } = inputs;
        if !self.has_templates() {
            return Ok(Some((self.dress(values, more, tools.key, work)?, Salts::default())));
        }
        let digest = self.inputs(values, more, tools.key);
        let salts = |seed| Salts { seed, inputs: Some(digest.clone()), are_lost: false };
        // What is only tried has work of its own: it must not be what makes the policy too much.
        let attempt = |key: &DigestKey| self.dress(values, more, key, &Work::shared(tools.stop));
        let (published, known) = last(seen, tools.key);
        if let Some(known) = known {
            let dressed = self.dress(values, more, &key_of(known), work)?;
            return Ok(Some((dressed, salts(Some(known.clone())))));
        }
        // Whoever may write the Secret could have written all that a record of another key says.
        let is_proven = published.is_some_and(|published| published.is_by(tools.key));
        let is_believed = |published: &&Published| {
            is_proven
                || published.may_be_ours(seen.last.as_deref(), tools.key) && Self::is_made_of(seen, tools, attempt)
        };
        if let Some(published) = published.filter(is_believed) {
            match published.changes.inputs.as_deref() {
                Some(before) if by(before) == by(&digest) && before != digest => {}
                Some(before) if before == digest || is_same_source => {
                    if let Some(stays) = self.stays(seen, salts(None)) {
                        return Ok(stays);
                    }
                }
                Some(_) => {}
                // Published before there were seeds: nothing has to be written for them.
                None => {
                    let dressed = attempt(tools.key)?;
                    if tools.key.of_secret(&self.namespace, self.names.base(), &dressed.data) == published.digests {
                        return Ok(Some((dressed, salts(None))));
                    }
                    if let Some(stays) = self.stays(seen, salts(None)).filter(|_| !is_proven && is_same_source) {
                        return Ok(stays);
                    }
                }
            }
        }
        let drawn = Seed::make(tools.chance);
        let dressed = self.dress(values, more, &key_of(&drawn), work)?;
        let are_lost = self.locked
            && matches!(seen.secret, SeenSecret::Absent)
            && seen.status.revision.is_some()
            && dressed != attempt(&key_of(&Seed::make(tools.chance)))?;
        Ok(Some((dressed, Salts { are_lost, ..salts(Some(drawn)) })))
    }

    /// Whether the content, if it was read, holds what templates make the same with any seed.
    fn is_made_of(seen: &Seen, tools: Tools<'_>, attempt: impl Fn(&DigestKey) -> Result<Dressed, SpecError>) -> bool {
        let SeenSecret::Ours { content: Some(content), .. } = &seen.secret else { return true };
        let [one, other] = [(); 2].map(|()| attempt(&key_of(&Seed::make(tools.chance))));
        // What cannot be made is reported where it is made.
        let (Ok(one), Ok(other)) = (one, other) else { return true };
        one.data.iter().all(|(name, value)| {
            let stands = content.data.get(name);
            stands == Some(value) || stands.is_some() && other.data.get(name) != Some(value)
        })
    }

    /// What is published, unless another tool has changed it or a rotation waits for a new value.
    #[expect(clippy::option_option, reason = "whether it stays, and what it is if it was read")]
    fn stays(&self, seen: &Seen, salts: Salts) -> Option<Option<Salted>> {
        let SeenSecret::Ours { published, content, .. } = &seen.secret else { return None };
        if seen.rotation.as_ref().is_some_and(|rotation| !rotation.is_published(Some(published))) {
            return None;
        }
        match content {
            None => Some(None),
            Some(content @ Content { is_intact: true, .. }) => {
                let kept = kept(self, seen, content);
                Some(Some((Dressed { data: kept.data, tags: kept.tags }, salts)))
            }
            Some(_) => None,
        }
    }

    /// Digest of all that templates are rendered from.
    fn inputs(&self, values: &BTreeMap<String, SecretBytes>, more: Option<&Texts>, key: &DigestKey) -> String {
        let mut all = vec![u8::from(self.replace)];
        let mut add = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), value] {
                all.extend((part.len() as u64).to_be_bytes());
                all.extend(part);
            }
        };
        for (name, value) in values {
            add(name, value.expose());
        }
        add("", b"");
        add("", self.templates_text().as_bytes());
        for (reference, template) in more.into_iter().flatten() {
            add(&reference.name, reference.key.as_bytes());
            add("", template.expose());
        }
        let digest = key.of(&["inputs", &self.namespace, self.names.base()], &SecretBytes::new(all));
        format!("{}.{digest}", key.id())
    }
}

/// What is published, and the seed of it, or of what was published last if that is no longer there.
fn last<'a>(seen: &'a Seen, key: &DigestKey) -> (Option<&'a Published>, Option<&'a Seed>) {
    let (published, before) = (seen.secret.published(), seen.last.as_deref());
    let ours = published.filter(|published| published.may_be_ours(before, key)).or(before);
    (published, ours.and_then(|published| published.seed.as_ref()))
}

/// The digest key that inputs were digested with.
fn by(inputs: &str) -> &str {
    inputs.split_once('.').map_or("", |(key, _)| key)
}

/// Templates derive their salts as digests are derived.
fn key_of(seed: &Seed) -> DigestKey {
    DigestKey::new(seed.bytes())
}
