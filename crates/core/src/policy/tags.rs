//! Labels and annotations that templates make. They are known only when the values are, so the record on the Secret
//! says which ones were made last: a look at the Secret shows that they are still there without rendering anything.

use std::collections::BTreeMap;

use rekey_api::policy::TemplateInto;
use uuid::Uuid;

use super::refuse;
use crate::{SecretBytes, render::RenderError};

/// Labels, or annotations, that a policy gives a Secret at most: as many as its template may name.
pub const MOST: usize = 64;

/// A name that a template has made, and what messages call it: it may be a value, which messages never show.
#[derive(Clone, Copy)]
pub(super) struct MadeName<'a> {
    pub name: &'a str,
    pub shown: &'a str,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Tags {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// Those of one kind.
    pub(super) fn of(&self, into: TemplateInto) -> &BTreeMap<String, String> {
        match into {
            TemplateInto::Labels => &self.labels,
            TemplateInto::Data | TemplateInto::Annotations => &self.annotations,
        }
    }

    /// Those whose values are so, and the rest.
    pub(super) fn apart(self, is_so: impl Fn(&str) -> bool) -> (Self, Self) {
        let part = |all: BTreeMap<String, String>| all.into_iter().partition(|(_, value)| is_so(value));
        let ((labels, other_labels), (annotations, other_annotations)) = (part(self.labels), part(self.annotations));
        (Self { labels, annotations }, Self { labels: other_labels, annotations: other_annotations })
    }

    /// Those that pass.
    pub(super) fn filtered(&self, passes: impl Fn(TemplateInto, &str) -> bool) -> Self {
        let part = |into, all: &BTreeMap<String, String>| {
            let all = all.iter().filter(|(name, _)| passes(into, name));
            all.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Self {
            labels: part(TemplateInto::Labels, &self.labels),
            annotations: part(TemplateInto::Annotations, &self.annotations),
        }
    }

    /// Adds what a template has made, under a name that can be used. `at` is where the template is.
    ///
    /// # Errors
    /// `WrongTag`, which never says its value.
    pub(super) fn insert(
        &mut self,
        at: &str,
        into: TemplateInto,
        made: MadeName<'_>,
        value: &SecretBytes,
    ) -> Result<(), RenderError> {
        let MadeName { name, shown } = made;
        let wrong = |text: String| RenderError::WrongTag { at: at.to_owned(), text };
        let Some(value) = value.expose_text() else {
            return Err(wrong(format!("the value of {shown} is not UTF-8 text")));
        };
        refuse::tag_value(into, shown, value).map_err(wrong)?;
        let tags = match into {
            TemplateInto::Labels => &mut self.labels,
            TemplateInto::Data | TemplateInto::Annotations => &mut self.annotations,
        };
        tags.insert(name.to_owned(), value.to_owned());
        if tags.len() > MOST { Err(wrong(format!("more than {MOST} are made"))) } else { Ok(()) }
    }

    /// A mark of all of them, for the record of the Secret; `None`: there is none.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        let each = |all: &BTreeMap<String, String>| -> Vec<(String, Uuid)> {
            all.iter().map(|(name, value)| (name.clone(), value_mark(value))).collect()
        };
        let (labels, annotations) = (each(&self.labels), each(&self.annotations));
        let pair = |(name, value): &(String, Uuid)| (name.clone(), *value);
        mark(labels.iter().map(pair), annotations.iter().map(pair))
    }
}

/// A mark of labels and annotations whose values are [marks](value_mark), each in the order of their names. It reveals
/// no more than they do, which are beside it.
#[must_use]
pub fn mark(
    labels: impl Iterator<Item = (String, Uuid)>,
    annotations: impl Iterator<Item = (String, Uuid)>,
) -> Option<String> {
    let mut text = String::new();
    for (kind, (name, value)) in labels.map(|tag| ("label", tag)).chain(annotations.map(|tag| ("annotation", tag))) {
        text.extend([kind, "\0", &name, "\0", &value.to_string(), "\0"]);
    }
    (!text.is_empty()).then(|| value_mark(&text).to_string())
}

/// A mark of a value, in 16 bytes however long it is. A tenant who makes two values with the same mark deceives only
/// himself: the policy and its Secret are both his.
#[must_use]
pub fn value_mark(text: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
}
