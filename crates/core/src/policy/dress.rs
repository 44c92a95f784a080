//! What templates make of the values: data, labels and annotations of the Secret, in the order of External Secrets.
//! Entries of `from` come first, each over those before it, then `data` and `metadata` over them.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::policy::TemplateInto;

use super::{
    PolicySpec, Scope, Source, refuse,
    tags::{MOST, MadeName, Tags},
    templates::{AT, Entry, EntryText, TemplateKind, TemplateRef},
    values::Growing,
};
use crate::{
    SecretBytes, SpecError,
    digest::DigestKey,
    render::{
        RenderError, kinds, mapping,
        template::{Renderer, Seed, Template},
        work::Work,
    },
};

/// In place of a name that a template has made from a Secret or a store.
const HIDDEN_NAME: &str = "a name that it makes cannot be used; the name is not quoted, since it may be a value";

/// Templates that were read.
pub type Texts = BTreeMap<TemplateRef, SecretBytes>;

/// What templates have made.
#[derive(Default, PartialEq, Eq)]
pub struct Dressed {
    pub data: BTreeMap<String, SecretBytes>,
    pub tags: Tags,
}

/// What has been made so far.
struct Making<'a> {
    policy: &'a PolicySpec,
    renderer: Renderer<'a>,
    work: &'a Work,
    data: Growing,
    tags: Tags,
}

impl PolicySpec {
    /// Adds what templates make of the values, and checks that the whole can be a Secret of its type.
    pub(super) fn dress(
        &self,
        values: &BTreeMap<String, SecretBytes>,
        texts: Option<&Texts>,
        seed: &DigestKey,
        work: &Arc<Work>,
    ) -> Result<Dressed, SpecError> {
        let mut data = Growing::default();
        for (name, value) in values.iter().filter(|_| !self.replace) {
            data.insert(name.clone(), value.clone())?;
        }
        let seed = Seed::new(seed, &self.namespace, self.names.base());
        let renderer = Renderer::new(values, &seed, work);
        let mut making = Making { policy: self, renderer, work, data, tags: Tags::default() };
        for (index, entry) in self.entries.iter().enumerate() {
            making.entry(&format!("{AT}.from[{index}]"), &format!("from[{index}]"), entry, texts)?;
        }
        for (name, text) in &self.templates {
            let template = Template { at: &format!("{AT}.data {name:?}"), ..Template::new(name, text) };
            let made = making.renderer.render(&template)?;
            making.data.insert(name.clone(), made)?;
        }
        for (into, kind) in [(TemplateInto::Labels, "labels"), (TemplateInto::Annotations, "annotations")] {
            for (name, text) in self.tags.of(into) {
                let (at, seed) = (format!("{AT}.metadata.{kind} {name:?}"), format!("{kind}/{name}"));
                let made = making.renderer.render(&Template { at: &at, ..Template::new(&seed, text) })?;
                making.tags.insert(&at, into, MadeName { name, shown: &format!("{name:?}") }, &made)?;
            }
        }
        let Making { data, tags, .. } = making;
        // What the policy writes as it is wins over what templates make.
        let tags = self.made_of(&tags);
        for (fixed, made) in [(&self.labels, &tags.labels), (&self.annotations, &tags.annotations)] {
            if fixed.len() + made.len() > MOST {
                let text = format!("it comes to more than {MOST} labels or annotations");
                return Err(RenderError::WrongTag { at: AT.to_owned(), text }.into());
            }
        }
        match self.scope {
            Scope::Whole => kinds::check(&self.kind, &data.data)?,
            Scope::Keys | Scope::Record => kinds::check("Opaque", &data.data)?,
        }
        Ok(Dressed { data: data.data, tags })
    }
}

impl Making<'_> {
    /// A mistake in a template of another object may be fixed there at any time.
    fn entry(&mut self, at: &str, seed: &str, entry: &Entry, texts: Option<&Texts>) -> Result<(), SpecError> {
        let added = self.added(at, seed, entry, texts);
        added.map_err(|error| match (&entry.text, error) {
            (EntryText::Elsewhere(_), SpecError::Render(error)) => error.elsewhere().into(),
            (_, error) => error,
        })
    }

    fn added(&mut self, at: &str, seed: &str, entry: &Entry, texts: Option<&Texts>) -> Result<(), SpecError> {
        let (text, is_secret) = match &entry.text {
            EntryText::Literal(text) => (Some(text.as_str()), false),
            EntryText::Elsewhere(reference) => {
                let text = texts.and_then(|texts| texts.get(reference));
                (text.and_then(SecretBytes::expose_text), reference.kind == TemplateKind::Secret)
            }
        };
        let Some(text) = text else {
            let text = "the template is not UTF-8 text".to_owned();
            return Err(RenderError::TemplateFailed { at: at.to_owned(), text }.into());
        };
        let name = entry.name.as_deref().unwrap_or(seed);
        let made = self.renderer.render(&Template { name, at, text, is_secret })?;
        if let Some(name) = &entry.name {
            return self.insert(at, entry.into, MadeName { name, shown: &format!("{name:?}") }, made);
        }
        let failed = |text| RenderError::TemplateFailed { at: at.to_owned(), text };
        for (name, value) in mapping::read(&made, self.work)?.map_err(failed)? {
            // The name may be a value of the store: it is quoted only if the template has it, and the template is not
            // in a Secret.
            let is_known = !is_secret && text.contains(&name);
            self.usable(at, entry.into, &name)
                .map_err(|error| if is_known { error } else { failed(HIDDEN_NAME.to_owned()) })?;
            let shown = if is_known { format!("{name:?}") } else { "a name that it makes".to_owned() };
            self.insert(at, entry.into, MadeName { name: &name, shown: &shown }, value)?;
        }
        Ok(())
    }

    /// Whether a name that a template has made can be used. One that is written in the policy was checked with it.
    fn usable(&self, at: &str, into: TemplateInto, name: &str) -> Result<(), RenderError> {
        match into {
            TemplateInto::Data if is_generated(self.policy, name) => {
                // Generated values are in the Secret only.
                let text = format!("{name:?} is a generated key; use another name");
                Err(RenderError::TemplateFailed { at: at.to_owned(), text })
            }
            TemplateInto::Data if kinds::valid_key(name) => Ok(()),
            TemplateInto::Data => Err(RenderError::InvalidKey { key: name.chars().take(253).collect() }),
            TemplateInto::Labels | TemplateInto::Annotations => {
                let named = refuse::steering(name).and_then(|()| refuse::tag_name(into, name));
                named.map_err(|text| RenderError::WrongTag { at: at.to_owned(), text })
            }
        }
    }

    /// Adds a value under a name that can be used.
    fn insert(
        &mut self,
        at: &str,
        into: TemplateInto,
        made: MadeName<'_>,
        value: SecretBytes,
    ) -> Result<(), SpecError> {
        match into {
            TemplateInto::Data => Ok(self.data.insert(made.name.to_owned(), value)?),
            TemplateInto::Labels | TemplateInto::Annotations => Ok(self.tags.insert(at, into, made, &value)?),
        }
    }
}

fn is_generated(policy: &PolicySpec, name: &str) -> bool {
    matches!(&policy.source, Source::Generated(recipes) if recipes.contains_key(name))
}
