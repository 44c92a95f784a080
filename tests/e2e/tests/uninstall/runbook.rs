//! The commands of `docs/uninstall.md`, by their headings, run unchanged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{
    World, document,
    shell::{Said, Shell},
};
use rekey_testkit::{checkout::repository, python};

const DOCUMENT: &str = "docs/uninstall.md";

/// The headings of the commands that run in the same way with the operator and without it.
pub const EITHER_WAY: [&str; 12] = [
    "1. Start no more rotations",
    "2. See which rotations are open",
    "4. Let the Secrets stay",
    "5. See which Secrets would go",
    "6. Let the rest stay, too",
    "7. Delete policies and stores",
    "By Helm",
    "9. Close the namespaces",
    "See what hangs",
    "Free what hangs",
    "Look for pending Secrets",
    "Delete pending Secrets",
];

/// The commands by heading: one block under each, and no block that is no command.
///
/// # Errors
/// When the document has another form.
pub fn blocks() -> Result<BTreeMap<String, String>> {
    let sections = document::sections(DOCUMENT)?;
    let text = fs::read_to_string(repository().join(DOCUMENT)).context(DOCUMENT)?;
    let fences = text.lines().filter(|line| line.trim_start().starts_with("```")).count();
    ensure!(fences == 2 * sections.len(), "{DOCUMENT}: a block that is no `sh`, or a second one under its heading");
    Ok(sections.into_iter().map(|section| (section.heading, section.blocks.concat())).collect())
}

/// An administrator with the document, `kubectl` and one Helm.
pub struct Admin {
    blocks: BTreeMap<String, String>,
    wanted: BTreeSet<&'static str>,
    run: Mutex<BTreeSet<String>>,
    shell: Shell,
    kubeconfig: PathBuf,
}

impl Admin {
    /// With all rights in this world. `wanted`: the headings that the test runs, all of them and no others.
    pub fn new(world: &World, helm: &Path, wanted: &[&'static str]) -> Result<Self> {
        let tools = python::tools()?;
        let home = world.plane.directory().join("administrator");
        Ok(Self {
            blocks: blocks()?,
            wanted: wanted.iter().copied().collect(),
            run: Mutex::default(),
            shell: Shell::new(home, &[("kubectl", &tools.kubectl), ("helm", helm)])?,
            kubeconfig: world.plane.kubeconfig().to_owned(),
        })
    }

    /// Runs the block under a heading; no part of it may fail.
    pub async fn run(&self, heading: &str) -> Result<Said> {
        ensure!(self.wanted.contains(heading), "{heading:?} is not among the blocks that this test runs");
        let block = self.blocks.get(heading).with_context(|| format!("{DOCUMENT} has no block {heading:?}"))?;
        if let Ok(mut run) = self.run.lock() {
            run.insert(heading.to_owned());
        }
        let said = self.bash(block).await.with_context(|| heading.to_owned())?;
        eprintln!("--- {heading}\n{}{}", said.out, said.err);
        Ok(said)
    }

    /// The lines that the block under a heading prints; it complains about nothing.
    pub async fn lines(&self, heading: &str) -> Result<Vec<String>> {
        let said = self.run(heading).await?;
        ensure!(said.err.is_empty(), "{heading}: {}", said.err);
        Ok(said.out.lines().map(str::to_owned).collect())
    }

    /// Runs other commands.
    pub async fn bash(&self, commands: &str) -> Result<Said> {
        self.shell.run(&self.kubeconfig, commands).await
    }

    /// Checks that all wanted blocks have run.
    pub fn done(&self) -> Result<()> {
        let run = self.run.lock().map(|run| run.clone()).unwrap_or_default();
        let left: Vec<_> = self.wanted.iter().filter(|heading| !run.contains(**heading)).collect();
        ensure!(left.is_empty(), "not run: {left:?}");
        Ok(())
    }
}
