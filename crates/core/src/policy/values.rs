//! From what was read, or is in the Secret already, to the data that the Secret should have.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    policy::{Decoding, SourceVersion},
    reference::StoreRef,
};

use super::{
    Content, Engine, Fetched, Item, Lookup, PolicySpec, Refresh, Remote, Request, Scope, Seen, SeenSecret, SetFrom,
    Source,
    dress::{Dressed, Texts},
    original::copied,
    salts::{Inputs, Salted, Salts},
    source::source_text,
    tags::Tags,
    versions::{source_version, versions},
};
use crate::{
    SecretBytes, SpecError,
    chance::Chance,
    digest::DigestKey,
    origin::Origin,
    password::Recipe,
    published::{Issue, MOST_KEYS, Rotated},
    render::{
        RenderError,
        keys::Rewrites,
        kinds,
        property::{self, Part},
        work::Work,
    },
    stop::Stop,
    store::{Answer, CallMethod, Locator, Pin, RemoteValue},
    time::{self, LONGEST_LIFE},
};

/// An answer that lasts is asked for again at least this often: it may be replaced before its time.
const LONGEST: TimeDelta = TimeDelta::minutes(5);
/// And at most this often.
const SHORTEST: TimeDelta = TimeDelta::seconds(10);
/// What a static role's answer counts down: no part of the credential, and another one in each answer
/// (<https://developer.hashicorp.com/vault/api-docs/secret/databases#get-static-credentials>).
const COUNTDOWN: &str = "ttl";

/// The data that a Secret should have.
#[derive(Default)]
pub struct Gathered {
    pub data: BTreeMap<String, SecretBytes>,
    /// The type of the Secret, where what was read decides it.
    pub kind: Option<String>,
    /// Labels and annotations that templates have made.
    pub tags: Tags,
    /// Versions of what was read.
    pub versions: Vec<SourceVersion>,
    /// What it was made from, as far as the store says when that was created.
    pub origins: Vec<Sourced>,
    /// Set when asking again would have made something else.
    pub issue: Option<Issue>,
    /// Set when the values of an open rotation are what was read.
    pub rotation: Option<Rotated>,
    /// What the templates were rendered with.
    pub salts: Salts,
    /// When an answer that lasts is asked for again.
    pub next: Option<DateTime<Utc>>,
    /// When it ends.
    pub expires: Option<DateTime<Utc>>,
}

/// The version of one remote key that is not pinned to it.
pub struct Sourced {
    /// Names it in the record: store and key, and the stage that was asked for.
    pub id: String,
    /// The key, for texts.
    pub text: String,
    pub origin: Origin,
}

/// What there is to publish.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Values {
    /// This.
    Here(Gathered),
    /// Everything the Secret is made from is gone, and it shall go too.
    Gone(String),
    /// Nothing was read: what is published stays.
    Unread,
}

/// What a decision is made with: all that is not in the policy or was not seen.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// For digests.
    pub key: &'a DigestKey,
    /// For generated values and seeds.
    pub chance: &'a dyn Chance,
    /// The current time.
    pub now: DateTime<Utc>,
    /// Ends the rendering of templates early.
    pub stop: &'a Stop,
}

/// Makes the data of the Secret.
pub fn gather(
    policy: &PolicySpec,
    seen: &Seen,
    fetched: Option<&Fetched>,
    tools: Tools<'_>,
) -> Result<Values, SpecError> {
    if policy.has_original() {
        return copied(policy, seen);
    }
    let content = content(&seen.secret);
    match (&policy.source, fetched, content) {
        (Source::Remote(remote), Some(fetched), _) => of_stores(policy, remote, seen, fetched, tools),
        (Source::Engine(engine), Some(Fetched { answer: Some(answer), templates, .. }), _) => {
            of_engine(policy, engine, seen, Material { answer, templates }, tools)
        }
        // Nothing is made again; labels or the owner may have to be written, and that takes all of the data.
        (Source::Engine(_), _, Some(content)) => Ok(Values::Here(kept(policy, seen, content))),
        // What is read once is not read for a Secret of another mode.
        (Source::Remote(Remote { refresh: Refresh::Once, .. }), None, Some(content)) if seen.is_elsewhere => {
            Ok(Values::Here(kept(policy, seen, content)))
        }
        (Source::Existing, _, Some(content)) => Ok(Values::Here(Gathered::of(content.data.clone()))),
        (Source::Generated(recipes), fetched, content) => {
            if content.is_none() && !matches!(seen.secret, SeenSecret::Absent) {
                return Ok(Values::Unread);
            }
            let values = generated(recipes, content, tools.chance);
            let templates = fetched.map(|fetched| &fetched.templates);
            if templates.is_none() && !policy.template_refs().is_empty() {
                return Ok(Values::Unread);
            }
            let is_same_source = seen.status.observed_generation == Some(policy.generation);
            let inputs = Inputs { values: &values, more: templates, is_same_source };
            let salted = policy.salted(seen, inputs, &Work::shared(tools.stop), tools)?;
            Ok(salted.map_or(Values::Unread, |salted| Values::Here(Gathered::made(salted))))
        }
        (Source::Remote(_), None, _) | (Source::Engine(_) | Source::Existing, _, None) => Ok(Values::Unread),
    }
}

pub(super) fn content(secret: &SeenSecret) -> Option<&Content> {
    match secret {
        SeenSecret::Ours { content, .. } | SeenSecret::Foreign { content, .. } => content.as_ref(),
        SeenSecret::Absent | SeenSecret::Going => None,
    }
}

fn of_stores(
    policy: &PolicySpec,
    remote: &Remote,
    seen: &Seen,
    fetched: &Fetched,
    tools: Tools<'_>,
) -> Result<Values, SpecError> {
    if let Some(first) = fetched.missing.first() {
        let key = &first.locator.key;
        let all = fetched.values.is_empty() && fetched.found.values().all(Vec::is_empty);
        return if all && remote.delete_when_gone {
            Ok(Values::Gone(format!("key {key:?} of {}", policy.source.text())))
        } else {
            Err(RenderError::KeyNotFound { key: key.clone() }.into())
        };
    }
    let work = Work::shared(tools.stop);
    let values = mapped(remote, fetched, &work)?;
    let versions = versions(fetched);
    let inputs = Inputs {
        values: &values,
        more: Some(&fetched.templates),
        is_same_source: is_same_source(policy, seen, &versions),
    };
    let Some(salted) = policy.salted(seen, inputs, &work, tools)? else { return Ok(Values::Unread) };
    let rotation = seen.rotation.as_ref().and_then(|open| open.found(policy, fetched, tools.key));
    Ok(Values::Here(Gathered { versions, origins: origins(fetched), rotation, ..Gathered::made(salted) }))
}

/// Whether the source gives the versions that were published, for the same spec. Without versions nothing is known.
fn is_same_source(policy: &PolicySpec, seen: &Seen, versions: &[SourceVersion]) -> bool {
    let is_known = !versions.is_empty() && versions.iter().all(|at| !at.version.is_empty());
    is_known && seen.status.source_versions == versions && seen.status.observed_generation == Some(policy.generation)
}

fn origins(fetched: &Fetched) -> Vec<Sourced> {
    let origin = |(Request { store, locator }, value): (&Request, &RemoteValue)| {
        let stage = match &locator.pin {
            // A named version is meant, however old; and metadata has no version that could go back.
            Pin::Version(_) | Pin::Metadata => return None,
            Pin::Current => "",
            Pin::Stage(stage) => stage.as_str(),
        };
        let store = source_text(store);
        Some(Sourced {
            id: format!("{store}\0{}\0{stage}", locator.key),
            text: format!("{:?} of {store}", locator.key),
            origin: Origin::new(&value.version, value.created?),
        })
    };
    fetched.values.iter().filter_map(origin).collect()
}

/// The values by key: sets in their order, then single values over them. It ends where they become too large.
fn mapped(remote: &Remote, fetched: &Fetched, work: &Work) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let mut values = Growing::default();
    for set in &remote.sets {
        let set_values = match &set.from {
            SetFrom::Extract(locator, part) => {
                let value = fetched.value(&set.store, locator)?;
                let taken;
                let (bytes, key) = match part {
                    Part::Whole => (&value.bytes, locator.key.clone()),
                    Part::Property(name) | Part::Expression(name) => {
                        taken = part.take(&mut property::Source::new(&value.bytes, &locator.key), work)?;
                        (&taken, format!("{}, property {name}", locator.key))
                    }
                };
                // A part that is `null`.
                if bytes.is_empty() && *part != Part::Whole {
                    return Err(RenderError::EmptyAnswer { key }.into());
                }
                property::extract(bytes, &key, set.decoding, &set.rewrites, work)?
            }
            SetFrom::Find(search) => {
                let lookup = Lookup { store: set.store.clone(), search: search.clone() };
                let found = fetched.found.get(&lookup).map(Vec::as_slice).unwrap_or_default();
                if found.is_empty() {
                    return Err(RenderError::NothingFound.into());
                }
                let mut read = BTreeMap::new();
                for key in found {
                    let locator = Locator { key: key.clone(), ..Locator::default() };
                    read.insert(key.clone(), fetched.value(&set.store, &locator)?.bytes.clone());
                }
                let mut named = set.rewrites.apply(read, work)?;
                for (key, value) in &mut named {
                    *value = property::decode(std::mem::take(value), set.decoding, key, work)?;
                }
                named
            }
        };
        for (key, value) in set_values {
            values.insert(key, value)?;
        }
    }
    let mut sources: BTreeMap<(&StoreRef, &Locator), property::Source<'_>> = BTreeMap::new();
    for Item { store, locator, part, .. } in &remote.items {
        let value = fetched.value(store, locator)?;
        let source = || property::Source::new(&value.bytes, &locator.key);
        sources.entry((store, locator)).or_insert_with(source).want(part);
    }
    for Item { secret_key, store, locator, part, decoding } in &remote.items {
        if let Some(source) = sources.get_mut(&(store, locator)) {
            let value = property::decode(part.take(source, work)?, *decoding, secret_key, work)?;
            values.insert(secret_key.clone(), value)?;
        }
    }
    Ok(values.data)
}

/// Data that grows no further than a Secret may: in values, and in keys, each of which takes room also if it is empty.
#[derive(Default)]
pub struct Growing {
    pub data: BTreeMap<String, SecretBytes>,
    size: usize,
}

impl Growing {
    pub fn insert(&mut self, key: String, value: SecretBytes) -> Result<(), RenderError> {
        self.size += value.len();
        let before = self.data.insert(key, value);
        self.size -= before.map_or(0, |before| before.len());
        if self.data.len() > MOST_KEYS {
            return Err(RenderError::TooManyKeys { keys: self.data.len() });
        }
        if self.size > kinds::MAX_SIZE { Err(RenderError::TooLarge { size: self.size }) } else { Ok(()) }
    }
}

/// What the data of an engine's Secret is made from.
#[derive(Clone, Copy)]
struct Material<'a> {
    answer: &'a Answer,
    templates: &'a Texts,
}

fn of_engine(
    policy: &PolicySpec,
    engine: &Engine,
    seen: &Seen,
    Material { answer, templates }: Material<'_>,
    tools: Tools<'_>,
) -> Result<Values, SpecError> {
    let (now, work) = (tools.now, Work::shared(tools.stop));
    let mut values =
        property::extract(&answer.value.bytes, &engine.call.path, Decoding::None, &Rewrites::default(), &work)?;
    if answer.is_stable {
        values.remove(COUNTDOWN);
    }
    let version = source_version(&engine.call.path, &answer.value.version);
    let is_same_source = is_same_source(policy, seen, std::slice::from_ref(&version));
    let inputs = Inputs { values: &values, more: Some(templates), is_same_source };
    let Some(salted) = policy.salted(seen, inputs, &work, tools)? else { return Ok(Values::Unread) };
    let lifetime = answer.lifetime.map(|lifetime| time::end(now, lifetime) - now);
    let share = |lifetime: TimeDelta| lifetime / 100 * i32::try_from(engine.renew_at_percent).unwrap_or(67);
    let renew = lifetime.map(|lifetime| share(lifetime).max(SHORTEST));
    // A `Get` without a lifetime reads what is there.
    let lasts = answer.is_stable || (engine.call.method == CallMethod::Get && lifetime.is_none());
    // What claims to live longer than anything does has no end that could be shown: it would be another one at each
    // read.
    let expires = answer.lifetime.filter(|lifetime| *lifetime < LONGEST_LIFE).map(|lifetime| time::end(now, lifetime));
    let gathered = Gathered { versions: vec![version], expires, ..Gathered::made(salted) };
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

/// Our part of the Secret, with all that is known of it.
pub(super) fn kept(policy: &PolicySpec, seen: &Seen, content: &Content) -> Gathered {
    let published = match &seen.secret {
        SeenSecret::Ours { published, .. } => Some(published),
        SeenSecret::Absent | SeenSecret::Going | SeenSecret::Foreign { .. } => None,
    };
    let is_ours = |name: &String| match policy.scope {
        Scope::Whole | Scope::Record => true,
        Scope::Keys => published.is_some_and(|published| published.digests.contains(name)),
    };
    let data = content.data.iter().filter(|(name, _)| is_ours(name));
    let data = data.map(|(name, value)| (name.clone(), value.clone())).collect();
    let issue = published.and_then(|published| published.changes.issue.clone());
    let expires = issue.as_ref().and_then(|issue| time::parse(issue.expires.as_deref()?));
    let salts = Salts { seed: published.and_then(|published| published.seed.clone()), ..Salts::default() };
    let tags = policy.made_of(&content.tags);
    let dressed = Dressed { data, tags };
    let kind = policy.has_original().then(|| content.kind.clone());
    Gathered { kind, versions: seen.status.source_versions.clone(), issue, expires, salts, ..Gathered::from(dressed) }
}

/// What is in the Secret already stays: it is the only copy.
fn generated(
    recipes: &BTreeMap<String, Recipe>,
    content: Option<&Content>,
    chance: &dyn Chance,
) -> BTreeMap<String, SecretBytes> {
    let present = |key: &String| content?.data.get(key).filter(|value| !value.is_empty()).cloned();
    recipes.iter().map(|(key, recipe)| (key.clone(), present(key).unwrap_or_else(|| recipe.make(chance)))).collect()
}

impl Gathered {
    pub(super) fn of(data: BTreeMap<String, SecretBytes>) -> Self {
        Self::from(Dressed { data, tags: Tags::default() })
    }

    fn made((dressed, salts): Salted) -> Self {
        Self { salts, ..Self::from(dressed) }
    }
}

impl From<Dressed> for Gathered {
    fn from(Dressed { data, tags }: Dressed) -> Self {
        let (versions, origins) = (Vec::new(), Vec::new());
        let salts = Salts::default();
        Self {
            data,
            kind: None,
            tags,
            versions,
            origins,
            issue: None,
            rotation: None,
            salts,
            next: None,
            expires: None,
        }
    }
}

impl Fetched {
    pub(super) fn value(&self, store: &StoreRef, locator: &Locator) -> Result<&RemoteValue, RenderError> {
        let request = Request { store: store.clone(), locator: locator.clone() };
        self.values.get(&request).ok_or_else(|| RenderError::KeyNotFound { key: locator.key.clone() })
    }
}
