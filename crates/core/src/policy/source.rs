//! Where the value of a policy comes from, parsed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use rekey_api::{
    GoDuration, SecretPolicy,
    policy::{
        DataFrom, Decoding, EngineMethod, Find, Generated, KeyConversion, MaxStaleness, MetadataPolicy, OnMissing,
        RefreshPolicy, RemoteData, RemoteSource, Source as Spec, VaultEngineSource,
    },
    reference::StoreRef,
    store::GrantOperation,
};
use sha2::{Digest as _, Sha256};

use crate::{
    SpecError,
    grant::Wish,
    password::Recipe,
    render::{keys::Rewrites, kinds, property::Part},
    store::{Call, CallMethod, Locator, NamePattern, Pin, Search, engine_path},
};

/// Where the value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Keys of stores.
    Remote(Remote),
    /// Another tool makes the Secret; it is only governed.
    Existing,
    /// Made in the cluster, once: recipes by key.
    Generated(BTreeMap<String, Recipe>),
    /// An answer of a Vault engine.
    Engine(Engine),
}

/// Keys of stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The store that the status names.
    pub store: StoreRef,
    /// Single values.
    pub items: Box<[Item]>,
    /// Whole objects and searches, in their order.
    pub sets: Box<[Set]>,
    /// When the store is read.
    pub refresh: Refresh,
    /// How long the last known value may be served while the store does not give one; `None`: without end.
    pub max_staleness: Option<TimeDelta>,
    /// Whether the policy says that a key may be missing for as long as it likes.
    pub keeps_missing: bool,
    /// Whether the Secret goes when every key it is made from is gone.
    pub delete_when_gone: bool,
}

/// When a store is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Again after this time.
    Every(TimeDelta),
    /// When the spec changes, or on request.
    OnChange,
    /// Until the Secret exists.
    Once,
}

/// One key of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub secret_key: String,
    /// Where its value is.
    pub store: StoreRef,
    /// What is read there.
    pub locator: Locator,
    /// Which part of it.
    pub part: Part,
    /// How it is decoded.
    pub decoding: Decoding,
}

/// Many keys of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Where that is.
    pub store: StoreRef,
    /// What they are made from.
    pub from: SetFrom,
    /// How each of their values is decoded.
    pub decoding: Decoding,
    /// How their names become keys.
    pub rewrites: Rewrites,
}

/// What many keys are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetFrom {
    /// Every property of one object, or of a part of it.
    Extract(Locator, Part),
    /// Every value that fits.
    Find(Search),
}

/// An answer of a Vault engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The store: which server, and how to log in.
    pub store: StoreRef,
    /// The request.
    pub call: Call,
    /// Share of the lifetime, in percent, after which the value is replaced.
    pub renew_at_percent: u32,
}

impl Source {
    /// Parses the source of a policy.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(object: &SecretPolicy) -> Result<Self, SpecError> {
        match &object.spec.source {
            Spec { remote: Some(remote), existing: None, generated: None, vault_engine: None } => {
                Remote::parse(remote).map(Self::Remote)
            }
            Spec { remote: None, existing: Some(_), generated: None, vault_engine: None } => Ok(Self::Existing),
            Spec { remote: None, existing: None, generated: Some(generated), vault_engine: None } => {
                recipes(generated).map(Self::Generated)
            }
            Spec { remote: None, existing: None, generated: None, vault_engine: Some(engine) } => {
                Engine::parse(engine).map(Self::Engine)
            }
            _ => Err(SpecError::field("spec.source", "set exactly one of remote, existing, generated, vaultEngine")),
        }
    }

    /// What the source asks of stores by name: what searches find is another matter.
    #[must_use]
    pub fn wishes(&self) -> Vec<(&StoreRef, Wish<'_>)> {
        match self {
            Self::Remote(remote) => {
                remote.reads().map(|(store, at)| (store, Wish::key(&at.key, GrantOperation::Read))).collect()
            }
            Self::Engine(engine) => vec![(&engine.store, Wish::call(&engine.call.path, engine.call.method))],
            Self::Existing | Self::Generated(_) => Vec::new(),
        }
    }

    /// For the status: `RemoteStore/vault`, or what else it is.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Remote(Remote { store, .. }) | Self::Engine(Engine { store, .. }) => source_text(store),
            Self::Existing => "Existing".to_owned(),
            Self::Generated(_) => "Generated".to_owned(),
        }
    }
}

/// The source of a policy that may not be valid, for its status.
#[must_use]
pub fn shown(object: &SecretPolicy) -> Option<String> {
    Source::parse(object).ok().map(|source| source.text()).or_else(|| {
        let spec = &object.spec.source;
        let remote = spec.remote.as_ref().map(|remote| &remote.store_ref);
        remote.or(spec.vault_engine.as_ref().map(|engine| &engine.store_ref)).map(source_text)
    })
}

/// A store as the status shows it: `RemoteStore/vault`.
pub(super) fn source_text(store: &StoreRef) -> String {
    format!("{}/{}", store.kind.as_str(), store.name)
}

impl Remote {
    fn parse(spec: &RemoteSource) -> Result<Self, SpecError> {
        let items = spec.data.iter().map(|data| item(data, &spec.store_ref)).collect::<Result<Box<[_]>, _>>()?;
        let sets = spec.data_from.iter().enumerate().map(|(index, from)| set(index, from, &spec.store_ref));
        let sets = sets.collect::<Result<Box<[_]>, _>>()?;
        if items.is_empty() && sets.is_empty() {
            return Err(SpecError::field("spec.source.remote", "add an entry to data or dataFrom"));
        }
        let delta = |duration: GoDuration| TimeDelta::from_std(duration.get()).unwrap_or(TimeDelta::hours(1));
        let interval = delta(spec.refresh_interval);
        if interval < TimeDelta::seconds(10) {
            return Err(SpecError::field("spec.source.remote.refreshInterval", "write at least 10s"));
        }
        Ok(Self {
            store: spec.store_ref.clone(),
            items,
            sets,
            refresh: match spec.refresh_policy {
                RefreshPolicy::Periodic => Refresh::Every(interval),
                RefreshPolicy::OnChange => Refresh::OnChange,
                RefreshPolicy::CreatedOnce => Refresh::Once,
            },
            max_staleness: match spec.max_staleness {
                MaxStaleness::For(duration) => Some(delta(duration)),
                MaxStaleness::Unlimited => None,
            },
            keeps_missing: spec.on_missing == Some(OnMissing::Keep),
            delete_when_gone: spec.on_missing == Some(OnMissing::Delete),
        })
    }

    /// Store and key that are read first: by them the rounds of equal intervals are shifted.
    #[must_use]
    pub fn identity(&self) -> String {
        let first = self.items.first().map(|item| (&item.store, &item.locator.key));
        let first = first.or_else(|| match self.sets.first()? {
            Set { store, from: SetFrom::Extract(locator, _), .. } => Some((store, &locator.key)),
            Set { store, from: SetFrom::Find(search), .. } => Some((store, search.path.as_ref()?)),
        });
        first.map(|(store, key)| format!("{store:?}\0{key}")).unwrap_or_default()
    }

    /// What is read by name.
    pub(super) fn reads(&self) -> impl Iterator<Item = (&StoreRef, &Locator)> {
        let items = self.items.iter().map(|item| (&item.store, &item.locator));
        let sets = self.sets.iter().filter_map(|set| match &set.from {
            SetFrom::Extract(locator, _) => Some((&set.store, locator)),
            SetFrom::Find(_) => None,
        });
        items.chain(sets)
    }

    /// What is read by name of values, not of what is known about them.
    fn value_reads(&self) -> impl Iterator<Item = (&StoreRef, &Locator)> {
        self.reads().filter(|(_, locator)| locator.pin != Pin::Metadata)
    }

    /// Store and key, if no other value is read, in whatever version: where the values of a rotation go by default.
    #[must_use]
    pub fn only_key(&self) -> Option<(&StoreRef, &str)> {
        let keys: BTreeSet<(&StoreRef, &str)> =
            self.value_reads().map(|(store, at)| (store, at.key.as_str())).collect();
        let searches = self.sets.iter().any(|set| matches!(set.from, SetFrom::Find(_)));
        keys.first().copied().filter(|_| keys.len() == 1 && !searches)
    }

    /// Whether this property of `key` of `store` is among what is read: by its name, or with all others.
    #[must_use]
    pub fn reads_property(&self, store: &StoreRef, key: &str, property: &str) -> bool {
        let is_there = |of: &StoreRef, locator: &Locator| of == store && locator.key == key;
        let item = |item: &Item| {
            is_there(&item.store, &item.locator)
                && match &item.part {
                    Part::Property(name) => name == property,
                    Part::Whole | Part::Expression(_) => true, // what an expression reads nobody knows before it has run
                }
        };
        let set = |set: &Set| match &set.from {
            SetFrom::Extract(locator, Part::Whole | Part::Expression(_)) => is_there(&set.store, locator),
            SetFrom::Extract(_, Part::Property(_)) => false,
            SetFrom::Find(_) => set.store == *store,
        };
        self.items.iter().any(item) || self.sets.iter().any(set)
    }

    /// Whether the value of `key` of `store` is read, and if so, whether always in its current version.
    #[must_use]
    pub fn follows(&self, store: &StoreRef, key: &str) -> Option<bool> {
        let mut reads = self.value_reads().filter(|(of, locator)| *of == store && locator.key == key).peekable();
        reads.peek()?;
        Some(reads.all(|(_, locator)| locator.pin == Pin::Current))
    }
}

impl Engine {
    fn parse(spec: &VaultEngineSource) -> Result<Self, SpecError> {
        Ok(Self {
            store: spec.store_ref.clone(),
            call: Call {
                path: engine_path(&spec.path)?,
                method: match spec.method {
                    EngineMethod::Get => CallMethod::Get,
                    EngineMethod::Post => CallMethod::Post,
                },
                parameters: spec.parameters.clone(),
            },
            renew_at_percent: spec.renew_at_percent.clamp(10, 95),
        })
    }

    /// Names what is asked for, so that an edit of the policy that asks for the same makes nothing new.
    #[must_use]
    pub fn fingerprint(&self, rest: &str) -> String {
        let method = match self.call.method {
            CallMethod::Get => "Get",
            CallMethod::Post => "Post",
        };
        let mut text = format!("1\0{}\0{method} {}", source_text(&self.store), self.call.path);
        for (name, value) in &self.call.parameters {
            text.extend(["\0", name, "=", value]);
        }
        let hash = Sha256::digest(format!("{text}\0\0{rest}"));
        hash.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

fn item(data: &RemoteData, default_store: &StoreRef) -> Result<Item, SpecError> {
    let at = "spec.source.remote.data";
    if !kinds::valid_key(&data.secret_key) {
        let fix = format!("{:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`", data.secret_key);
        return Err(SpecError::field(&format!("{at}.secretKey"), fix));
    }
    let reference = &data.remote_ref;
    let part = Part::parse(reference, &format!("{at}[{}].remoteRef", data.secret_key))?;
    Ok(Item {
        secret_key: data.secret_key.clone(),
        store: data.store_ref.clone().unwrap_or_else(|| default_store.clone()),
        locator: Locator {
            key: reference.key.clone(),
            pin: Pinned { version: reference.version.as_ref(), stage: reference.stage.as_ref() }
                .pin(&format!("{at}[{}].remoteRef", data.secret_key), reference.metadata_policy)?,
        },
        part,
        decoding: reference.decoding,
    })
}

fn set(index: usize, spec: &DataFrom, default_store: &StoreRef) -> Result<Set, SpecError> {
    let at = format!("spec.source.remote.dataFrom[{index}]");
    let (from, decoding, conversion) = match (&spec.extract, &spec.find) {
        (Some(extract), None) => {
            let pinned = Pinned { version: extract.version.as_ref(), stage: extract.stage.as_ref() };
            let pin = pinned.pin(&format!("{at}.extract"), extract.metadata_policy.unwrap_or_default())?;
            let part = extract.property.clone().map_or(Part::Whole, Part::Property);
            let from = SetFrom::Extract(Locator { key: extract.key.clone(), pin }, part);
            (from, extract.decoding, extract.key_conversion.unwrap_or(KeyConversion::None))
        }
        (None, Some(find)) => {
            let from = SetFrom::Find(search(&format!("{at}.find"), find)?);
            (from, find.decoding, find.key_conversion.unwrap_or(KeyConversion::Underscore))
        }
        (None, None) | (Some(_), Some(_)) => return Err(SpecError::field(&at, "set exactly one of extract, find")),
    };
    Ok(Set {
        store: spec.store_ref.as_ref().map_or_else(|| default_store.clone(), StoreRef::from),
        from,
        decoding: decoding.unwrap_or_default(),
        rewrites: Rewrites::parse(&format!("{at}.rewrite"), &spec.rewrite, conversion)?,
    })
}

fn search(at: &str, spec: &Find) -> Result<Search, SpecError> {
    if spec.path.is_none() && spec.name_regexp.is_none() && spec.tags.is_none() {
        return Err(SpecError::field(at, "set path, nameRegexp or tags; an empty search would read the whole store"));
    }
    Ok(Search {
        path: spec.path.clone(),
        name: spec.name_regexp.as_deref().map(NamePattern::new),
        tags: spec.tags.clone().unwrap_or_default(),
    })
}

/// Which revision of a remote value a reference asks for.
struct Pinned<'a> {
    version: Option<&'a String>,
    stage: Option<&'a String>,
}

impl Pinned<'_> {
    fn pin(&self, at: &str, metadata: MetadataPolicy) -> Result<Pin, SpecError> {
        match (metadata, self.version, self.stage) {
            (MetadataPolicy::None, None, None) => Ok(Pin::Current),
            (MetadataPolicy::None, Some(version), None) => Ok(Pin::Version(version.clone())),
            (MetadataPolicy::None, None, Some(stage)) => Ok(Pin::Stage(stage.clone())),
            (MetadataPolicy::Fetch, None, None) => Ok(Pin::Metadata),
            (MetadataPolicy::Fetch, ..) => {
                let fix = "metadata has no versions: remove version and stage, or write metadataPolicy: None";
                Err(SpecError::field(at, fix))
            }
            (MetadataPolicy::None, Some(_), Some(_)) => Err(SpecError::field(at, "set at most one of version, stage")),
        }
    }
}

fn recipes(generated: &Generated) -> Result<BTreeMap<String, Recipe>, SpecError> {
    let mut recipes = BTreeMap::new();
    for field in &generated.fields {
        let at = format!("spec.source.generated.fields[{}]", field.key);
        if !kinds::valid_key(&field.key) {
            let fix = format!("{:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`", field.key);
            return Err(SpecError::field(&at, fix));
        }
        let recipe = Recipe::parse(&field.password, &format!("{at}.password"))?;
        if recipes.insert(field.key.clone(), recipe).is_some() {
            return Err(SpecError::field(
                "spec.source.generated.fields",
                format!("the key {:?} is listed twice; remove one", field.key),
            ));
        }
    }
    if recipes.is_empty() {
        return Err(SpecError::field("spec.source.generated.fields", "name at least one field"));
    }
    Ok(recipes)
}
