//! What of a policy takes time and room that its size does not show: templates, `JMESPath`, regular expressions. Parsing
//! leaves them as they are written, so that it is cheap wherever it is done. They are proven once, before anything is read,
//! where a long computation disturbs nobody, and read again when they are used.

use super::{Policy, SetFrom, Source};
use crate::{
    SpecError,
    render::{RenderError, property::Part, template},
    stop::Stop,
};

impl Policy {
    /// Whether there is anything to prove, and to compute when the data is made.
    #[must_use]
    pub fn has_expressions(&self) -> bool {
        let templates = !self.templates.is_empty() || !self.template_refs.is_empty();
        templates
            || match &self.source {
                Source::Remote(remote) => {
                    let is_pattern = |from: &SetFrom| matches!(from, SetFrom::Find(search) if search.name.is_some());
                    remote.items.iter().any(|item| matches!(item.part, Part::Expression(_)))
                        || remote.sets.iter().any(|set| !set.rewrites.is_empty() || is_pattern(&set.from))
                }
                Source::Existing | Source::Generated(_) | Source::Engine(_) => false,
            }
    }

    /// Looks at templates and expressions, one after the other, so that what is wrong with them is found before anything is
    /// read.
    ///
    /// # Errors
    /// What is wrong with the first wrong one; `RenderError::Stopped`.
    pub fn prove(&self, stop: &Stop) -> Result<(), SpecError> {
        let go_on = || if stop.is_stopped() { Err(SpecError::from(RenderError::Stopped)) } else { Ok(()) };
        if let Source::Remote(remote) = &self.source {
            for item in &remote.items {
                go_on()?;
                item.part.prove(&format!("spec.source.remote.data[{}].remoteRef", item.secret_key))?;
            }
            for (index, set) in remote.sets.iter().enumerate() {
                go_on()?;
                let at = format!("spec.source.remote.dataFrom[{index}]");
                if let SetFrom::Find(search) = &set.from
                    && let Some(name) = &search.name
                {
                    name.prove(&format!("{at}.find.nameRegexp"))?;
                }
                set.rewrites.prove(&format!("{at}.rewrite"))?;
            }
        }
        for (name, source) in &self.templates {
            go_on()?;
            template::check(name, source)?;
        }
        Ok(())
    }
}
