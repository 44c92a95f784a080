//! What of a policy takes time and room that its size does not show: templates, `JMESPath`, regular expressions.
//! Parsing leaves them as they are written, so that it is cheap wherever it is done. They are proven once, before
//! anything is read, on a thread where a long computation holds nothing up, and read again when they are used.

use rekey_api::{policy::Decoding, reference::StoreRef};

use super::{EntryText, Fetched, Item, Lookup, PolicySpec, Set, SetFrom, Source, templates::AT};
use crate::{
    SpecError,
    render::{
        property::{self, Part},
        template::{self, Template},
        work::{Resource, Work},
    },
    stop::Stop,
    store::Locator,
};

/// Bytes that are read within about a millisecond, which is short enough for a thread that others need too; nearly all
/// policies read less.
const QUICK: usize = 64 * 1024;
/// What a key that was found takes beside its name.
const FOUND: usize = 64;

impl PolicySpec {
    /// Whether the data is made of what was read within about a millisecond. What is not is made on a thread of its
    /// own.
    #[must_use]
    pub fn is_quick(&self, fetched: Option<&Fetched>) -> bool {
        !self.has_expressions() && fetched.is_none_or(|fetched| self.bytes(fetched) <= QUICK)
    }

    /// Bytes that are looked at, about: each value, and again for each set and for each step of a property's path.
    fn bytes(&self, fetched: &Fetched) -> usize {
        let values = fetched.values.values().map(|value| value.bytes.len()).sum::<usize>();
        let answer = fetched.answer.as_ref().map_or(0, |answer| answer.value.bytes.len());
        let Source::Remote(remote) = &self.source else { return values + answer };
        let len =
            |store: &StoreRef, locator: &Locator| fetched.value(store, locator).map_or(0, |value| value.bytes.len());
        let item = |Item { store, locator, part, decoding, .. }: &Item| {
            let steps = match part {
                Part::Property(name) => property::steps(name),
                Part::Whole | Part::Expression(_) => 0,
            };
            match steps + usize::from(*decoding != Decoding::None) {
                0 => 0,
                passes => passes.saturating_mul(len(store, locator)),
            }
        };
        let set = |Set { store, from, decoding, .. }: &Set| match from {
            SetFrom::Extract(locator, Part::Property(name)) => {
                len(store, locator).saturating_mul(2 + property::steps(name))
            }
            SetFrom::Extract(locator, Part::Whole | Part::Expression(_)) => len(store, locator),
            SetFrom::Find(search) => {
                let lookup = Lookup { store: store.clone(), search: search.clone() };
                let decoded = |key: &String| match decoding {
                    Decoding::None => 0,
                    Decoding::Base64 | Decoding::Base64Url | Decoding::Auto => {
                        len(store, &Locator { key: key.clone(), ..Locator::default() })
                    }
                };
                fetched.found.get(&lookup).into_iter().flatten().map(|key| key.len() + FOUND + decoded(key)).sum()
            }
        };
        let sets = remote.sets.iter().map(set);
        sets.chain(remote.items.iter().map(item)).fold(values, usize::saturating_add)
    }

    /// Whether there is anything to prove, and to compute when the data is made.
    #[must_use]
    pub fn has_expressions(&self) -> bool {
        self.has_templates()
            || match &self.source {
                Source::Remote(remote) => {
                    let is_pattern = |from: &SetFrom| matches!(from, SetFrom::Find(search) if search.name.is_some());
                    remote.items.iter().any(|item| matches!(item.part, Part::Expression(_)))
                        || remote.sets.iter().any(|set| !set.rewrites.is_empty() || is_pattern(&set.from))
                }
                Source::Existing | Source::Generated(_) | Source::Engine(_) => false,
            }
    }

    /// Looks at templates and expressions, one after the other, so that what is wrong with them is found before
    /// anything is read.
    ///
    /// # Errors
    /// What is wrong with the first wrong one; `RenderError::Stopped`.
    pub fn prove(&self, stop: &Stop) -> Result<(), SpecError> {
        let work = Work::new(stop);
        if let Source::Remote(remote) = &self.source {
            for item in &remote.items {
                work.go_on()?;
                item.part.prove(&format!("spec.source.remote.data[{}].remoteRef", item.secret_key))?;
            }
            for (index, set) in remote.sets.iter().enumerate() {
                work.go_on()?;
                let at = format!("spec.source.remote.dataFrom[{index}]");
                if let SetFrom::Find(search) = &set.from
                    && let Some(name) = &search.name
                {
                    work.spend(Resource::Slow, name.price())?;
                    name.prove(&format!("{at}.find.nameRegexp"))?;
                }
                set.rewrites.prove(&work)?;
            }
        }
        let check = |at: String, name: &str, text: &str| {
            work.go_on()?;
            Ok::<_, SpecError>(template::check(&Template { at: &at, ..Template::new(name, text) })?)
        };
        for (index, entry) in self.entries.iter().enumerate() {
            if let EntryText::Literal(text) = &entry.text {
                check(format!("{AT}.from[{index}]"), "from", text)?;
            }
        }
        for (kind, templates) in [
            ("data", &self.templates),
            ("metadata.labels", &self.tags.labels),
            ("metadata.annotations", &self.tags.annotations),
        ] {
            for (name, text) in templates {
                check(format!("{AT}.{kind} {name:?}"), name, text)?;
            }
        }
        Ok(())
    }
}
