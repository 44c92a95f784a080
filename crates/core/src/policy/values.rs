//! From what was read, or stands in the Secret already, to the data that the Secret should have.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::policy::{Decoding, SourceVersion};

use super::{Content, Engine, Fetched, Hold, Lookup, Policy, Remote, Request, Seen, SeenSecret, SetFrom, Source};
use crate::{
    SecretBytes, SpecError,
    chance::Chance,
    digest::DigestKey,
    password::Recipe,
    published::Issue,
    render::{
        RenderError,
        keys::{self, Rewrites},
        kinds, property, template,
    },
    store::{Answer, CallMethod, Locator, RemoteValue},
    time::{self, LONGEST_LIFE},
};

/// Versions that the status lists.
const VERSIONS: usize = 256;
/// An answer that lasts is asked for again at least this often: it may be replaced before its time.
const LONGEST: TimeDelta = TimeDelta::minutes(5);
/// And at most this often.
const SHORTEST: TimeDelta = TimeDelta::seconds(10);
/// What a static role's answer counts down: no part of the credential, and another one in each answer
/// (<https://developer.hashicorp.com/vault/api-docs/secret/databases#get-static-credentials>).
const COUNTDOWN: &str = "ttl";

/// The data that a Secret should have.
pub struct Gathered {
    pub data: BTreeMap<String, SecretBytes>,
    /// Versions of what was read.
    pub versions: Vec<SourceVersion>,
    /// Set when asking again would have made something else.
    pub issue: Option<Issue>,
    /// When an answer that lasts is asked for again.
    pub next: Option<DateTime<Utc>>,
    /// When it ends.
    pub expires: Option<DateTime<Utc>>,
}

/// What there is to publish.
pub enum Values {
    /// This.
    Here(Gathered),
    /// Everything the Secret is made from is gone, and it shall go too.
    Gone(String),
    /// Nothing was read: what is published stands.
    Unread,
}

/// What the values are made with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub key: &'a DigestKey,
    pub chance: &'a dyn Chance,
    pub now: DateTime<Utc>,
}

/// Makes the data of the Secret.
pub fn gather(policy: &Policy, seen: &Seen, fetched: Option<&Fetched>, tools: Tools<'_>) -> Result<Values, SpecError> {
    let content = content(&seen.secret);
    match (&policy.source, fetched, content) {
        (Source::Remote(remote), Some(fetched), _) => of_stores(policy, remote, fetched, tools),
        (Source::Engine(engine), Some(Fetched { answer: Some(answer), templates, .. }), _) => {
            of_engine(policy, engine, answer, templates, tools)
        }
        // Nothing is to be made anew; labels or the owner may have to be written, and that takes all of the data.
        (Source::Engine(_), _, Some(content)) => Ok(Values::Here(kept(policy, seen, content))),
        (Source::Existing, _, Some(content)) => Ok(Values::Here(Gathered::of(content.data.clone()))),
        (Source::Generated(recipes), fetched, content) => {
            if content.is_none() && !matches!(seen.secret, SeenSecret::Absent) {
                return Ok(Values::Unread);
            }
            let values = generated(recipes, content, tools.chance);
            let templates = fetched.map(|fetched| &fetched.templates);
            if templates.is_none() && !policy.template_refs.is_empty() {
                return Ok(Values::Unread);
            }
            policy.dress(&values, templates, tools).map(|data| Values::Here(Gathered::of(data)))
        }
        (Source::Remote(_), None, _) | (Source::Engine(_) | Source::Existing, _, None) => Ok(Values::Unread),
    }
}

fn content(secret: &SeenSecret) -> Option<&Content> {
    match secret {
        SeenSecret::Ours { content, .. } | SeenSecret::Foreign { content, .. } => content.as_ref(),
        SeenSecret::Absent | SeenSecret::Going => None,
    }
}

fn of_stores(policy: &Policy, remote: &Remote, fetched: &Fetched, tools: Tools<'_>) -> Result<Values, SpecError> {
    if let Some(first) = fetched.missing.first() {
        let key = &first.locator.key;
        let all = fetched.values.is_empty() && fetched.found.values().all(Vec::is_empty);
        return if all && remote.delete_when_gone {
            Ok(Values::Gone(format!("key {key:?} of {}", policy.source.text())))
        } else {
            Err(RenderError::KeyNotFound { key: key.clone() }.into())
        };
    }
    let values = mapped(remote, fetched)?;
    let data = policy.dress(&values, Some(&fetched.templates), tools)?;
    Ok(Values::Here(Gathered { versions: versions(fetched), ..Gathered::of(data) }))
}

/// The values by key: sets in their order, then single values over them.
fn mapped(remote: &Remote, fetched: &Fetched) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let mut values = BTreeMap::new();
    for set in &remote.sets {
        let set_values = match &set.from {
            SetFrom::Extract(locator, decoding) => {
                let value = fetched.value(&remote.store, locator)?;
                property::extract(&value.bytes, &locator.key, *decoding, &set.rewrites)?
            }
            SetFrom::Find(search) => {
                let lookup = Lookup { store: remote.store.clone(), search: search.clone() };
                let found = fetched.found.get(&lookup).map(Vec::as_slice).unwrap_or_default();
                if found.is_empty() {
                    return Err(RenderError::NothingFound.into());
                }
                let read = |key: &String| {
                    let locator = Locator { key: key.clone(), ..Locator::default() };
                    Ok((key.clone(), fetched.value(&remote.store, &locator)?.bytes.clone()))
                };
                keys::found(found.iter().map(read).collect::<Result<_, SpecError>>()?, &set.rewrites)?
            }
        };
        values.extend(set_values);
    }
    for item in &remote.items {
        let value = fetched.value(&item.store, &item.locator)?;
        let part = item.part.take(&value.bytes, &item.locator.key)?;
        values.insert(item.secret_key.clone(), property::decode(part, item.decoding, &item.secret_key)?);
    }
    Ok(values)
}

fn of_engine(
    policy: &Policy,
    engine: &Engine,
    answer: &Answer,
    templates: &BTreeMap<String, String>,
    tools: Tools<'_>,
) -> Result<Values, SpecError> {
    let now = tools.now;
    let mut values = property::extract(&answer.value.bytes, &engine.call.path, Decoding::None, &Rewrites::default())?;
    if answer.is_stable {
        values.remove(COUNTDOWN);
    }
    let data = policy.dress(&values, Some(templates), tools)?;
    let lifetime = answer.lifetime.map(|lifetime| time::end(now, lifetime) - now);
    let share = |lifetime: TimeDelta| lifetime / 100 * i32::try_from(engine.renew_at_percent).unwrap_or(67);
    let renew = lifetime.map(|lifetime| share(lifetime).max(SHORTEST));
    // A `Get` without a lifetime reads what stands there.
    let lasts = answer.is_stable || (engine.call.method == CallMethod::Get && lifetime.is_none());
    // What claims to live longer than anything does has no end that could be told: its end would also be another one at
    // each read.
    let expires = answer.lifetime.filter(|lifetime| *lifetime < LONGEST_LIFE).map(|lifetime| time::end(now, lifetime));
    let version = SourceVersion { key: engine.call.path.clone(), version: answer.value.version.clone() };
    let gathered = Gathered { versions: vec![version], expires, ..Gathered::of(data) };
    Ok(Values::Here(if lasts {
        let after = renew.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
        Gathered { next: Some(time::later(now, after)), ..gathered }
    } else {
        let issue = Issue {
            request: policy.fingerprint(engine),
            renew: renew.map(|renew| time::text(time::later(now, renew))),
            expires: expires.map(time::text),
        };
        Gathered { issue: Some(issue), ..gathered }
    }))
}

/// What of ours stands in the Secret, with all that is known of it.
fn kept(policy: &Policy, seen: &Seen, content: &Content) -> Gathered {
    let published = match &seen.secret {
        SeenSecret::Ours { published, .. } => Some(published),
        SeenSecret::Absent | SeenSecret::Going | SeenSecret::Foreign { .. } => None,
    };
    let is_ours = |name: &String| match policy.hold {
        Hold::Whole | Hold::Record => true,
        Hold::Keys => published.is_some_and(|published| published.digests.by_key.contains_key(name)),
    };
    let data = content.data.iter().filter(|(name, _)| is_ours(name));
    let data = data.map(|(name, value)| (name.clone(), value.clone())).collect();
    let issue = published.and_then(|published| published.changes.issue.clone());
    let expires = issue.as_ref().and_then(|issue| time::parse(issue.expires.as_deref()?));
    Gathered { versions: seen.status.source_versions.clone(), issue, expires, ..Gathered::of(data) }
}

/// What stands in the Secret already stays: it is the only copy.
fn generated(
    recipes: &BTreeMap<String, Recipe>,
    content: Option<&Content>,
    chance: &dyn Chance,
) -> BTreeMap<String, SecretBytes> {
    let present = |key: &String| content?.data.get(key).filter(|value| !value.is_empty()).cloned();
    recipes.iter().map(|(key, recipe)| (key.clone(), present(key).unwrap_or_else(|| recipe.make(chance)))).collect()
}

impl Gathered {
    fn of(data: BTreeMap<String, SecretBytes>) -> Self {
        Self { data, versions: Vec::new(), issue: None, next: None, expires: None }
    }
}

impl Policy {
    /// Adds what templates make of the values, and checks that the whole can be a Secret of its type.
    fn dress(
        &self,
        values: &BTreeMap<String, SecretBytes>,
        more: Option<&BTreeMap<String, String>>,
        tools: Tools<'_>,
    ) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
        let mut data = if self.replace { BTreeMap::new() } else { values.clone() };
        let seed = template::Seed::new(tools.key, &self.namespace, &self.secret);
        for (name, source) in self.templates.iter().chain(more.into_iter().flatten()) {
            data.insert(name.clone(), template::render(name, source, values, &seed)?);
        }
        match self.hold {
            Hold::Whole => kinds::check(&self.kind, &data)?,
            Hold::Keys | Hold::Record => kinds::check("Opaque", &data)?,
        }
        Ok(data)
    }
}

impl Fetched {
    fn value(&self, store: &rekey_api::reference::StoreRef, locator: &Locator) -> Result<&RemoteValue, RenderError> {
        let request = Request { store: store.clone(), locator: locator.clone() };
        self.values.get(&request).ok_or_else(|| RenderError::KeyNotFound { key: locator.key.clone() })
    }
}

/// The versions that were read, one line per key.
pub fn versions(fetched: &Fetched) -> Vec<SourceVersion> {
    let line = |(request, value): (&Request, &RemoteValue)| SourceVersion {
        key: request.locator.key.clone(),
        version: value.version.clone(),
    };
    let mut all: Vec<SourceVersion> = fetched.values.iter().map(line).collect();
    all.sort();
    all.dedup();
    all.truncate(VERSIONS);
    all
}
