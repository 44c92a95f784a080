//! Renders templates with Rekey and with Go, and counts.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use anyhow::{Result, ensure};
use rekey_core::{
    SecretBytes,
    digest::DigestKey,
    render::template::{Renderer, Seed, Template},
};
use rekey_testkit::oracle::{Answer, Oracle};

use crate::allowed::{self, Marked as _, Ours};

/// What a template sees as `.name`.
type Data = BTreeMap<String, Vec<u8>>;

/// The counts.
#[derive(Default)]
pub struct Counts {
    compared: usize,
    equal: usize,
    refused: usize,
    allowed: BTreeMap<&'static str, usize>,
    different: Vec<String>,
    /// Of a thousand, so many may be refused by only one of the two; `None`: none.
    alone_at_most: Option<usize>,
    alone: usize,
}

/// How many differences to print in full.
const SHOWN: usize = 40;

/// What Rekey makes of a template.
pub fn ours(template: &str, data: &Data) -> Ours {
    let values = data.iter().map(|(name, value)| (name.clone(), SecretBytes::new(value.clone()))).collect();
    let seed = Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", "db");
    let run = || Renderer::new(&values, &seed, &Arc::default()).render(&Template::new("t", template));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map(|bytes| bytes.expose().to_vec()).map_err(|error| error.to_string()),
        Err(_) => Ok(b"PANIC".to_vec()),
    }
}

impl Counts {
    /// Counts for a notation that has versions: only one of the two may read few texts, and no text may mean something
    /// else in the other.
    pub fn of_versions(alone_at_most: usize) -> Self {
        Self { alone_at_most: Some(alone_at_most), ..Self::default() }
    }

    /// Compares what both make of each template.
    pub fn compare(&mut self, oracle: &Oracle, templates: &[String], data: &Data) -> Result<()> {
        let answers = oracle.render(templates, data)?;
        ensure!(answers.len() == templates.len(), "{} answers to {} templates", answers.len(), templates.len());
        for (template, theirs) in templates.iter().zip(answers) {
            let ours = ours(template, data);
            self.count(template, &ours, &theirs, data);
        }
        Ok(())
    }

    fn count(&mut self, template: &str, ours: &Ours, theirs: &Answer, data: &Data) {
        self.compared += 1;
        match (ours, &theirs.result) {
            (Err(text), _) if text.contains("report it as a bug") => self.differ(template, ours, theirs, data),
            (Ok(ours), Ok(theirs)) if ours == theirs => self.equal += 1,
            (Err(_), Err(_)) => self.refused += 1,
            _ => match allowed::kind(ours, theirs) {
                None if self.alone_at_most.is_some() && ours.is_err() != theirs.has("swallowed") => self.alone += 1,
                Some(allowed) => *self.allowed.entry(allowed.kind).or_default() += 1,
                None => self.differ(template, ours, theirs, data),
            },
        }
    }

    fn differ(&mut self, template: &str, ours: &Ours, theirs: &Answer, data: &Data) {
        let show = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
        let theirs = match &theirs.result {
            Ok(bytes) => show(bytes),
            Err(why) => format!("{why:?}"),
        };
        let ours = ours.as_ref().map_or_else(|why| format!("refused: {why}"), show);
        let used = data.iter().filter(|(name, _)| template.contains(&format!(".{name}")));
        let used: Vec<String> = used.map(|(name, value)| format!("\n    .{name} = {}", show(value))).collect();
        self.different.push(format!("{template:?}\n    ours   {ours}\n    theirs {theirs}{}", used.concat()));
    }

    /// Prints the counts, and fails for each difference.
    pub fn end(self, name: &str) -> Result<()> {
        println!(
            "templates, {name}: {} compared, {} equal, {} refused by both, {} different, {} as allowed",
            self.compared,
            self.equal,
            self.refused,
            self.different.len(),
            self.allowed.values().sum::<usize>()
        );
        if let Some(most) = self.alone_at_most {
            println!("    {} that only one of both reads", self.alone);
            ensure!(self.alone * 1_000 <= most * self.compared, "more than {most} of a thousand");
        }
        for (kind, count) in &self.allowed {
            let reason = allowed::ALL.iter().find(|allowed| allowed.kind == *kind).map_or("", |allowed| allowed.reason);
            println!("    {count} {kind}: {reason}");
        }
        let shown: Vec<&str> = self.different.iter().take(SHOWN).map(String::as_str).collect();
        ensure!(
            self.different.is_empty(),
            "{} templates render in another way:\n{}",
            self.different.len(),
            shown.join("\n")
        );
        ensure!(self.equal > 0, "nothing rendered");
        Ok(())
    }
}
