//! The settings from the environment. Nothing else of the demo reads it.

use std::{io::IsTerminal as _, path::PathBuf};

use anyhow::{Result, bail};

use super::background;

/// What the consumer runs in a cluster that is not ours.
const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// What happens at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything is removed.
    Not,
    /// Everything is left running until Ctrl-C.
    Foreground,
    /// As [`Keep::Background`], in another process, which this one starts and shows.
    InBackground,
    /// Everything is left running until this process gets a signal; this is its log.
    Background(PathBuf),
}

/// See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Settings {
    /// What happens at the end (`REKEY_DEMO_KEEP`: `1` or `background`).
    pub keep: Keep,
    /// Use the cluster of the current kubeconfig (`REKEY_DEMO_CLUSTER=current`).
    pub current: bool,
    /// Do not ask (`REKEY_DEMO_YES`).
    pub yes: bool,
    /// What the consumer runs in the current cluster (`REKEY_DEMO_IMAGE`).
    pub image: String,
    /// Colour: standard output is a terminal, and `NO_COLOR` is not set.
    pub colour: bool,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When it asks for something that does not exist.
    pub fn read() -> Result<Self> {
        let current = match variable("REKEY_DEMO_CLUSTER").as_deref() {
            None => false,
            Some("current") => true,
            Some(other) => bail!("CLUSTER={other} is unknown: leave it out, or use CLUSTER=current"),
        };
        let keep = match variable("REKEY_DEMO_KEEP").as_deref() {
            None | Some("0") => Keep::Not,
            Some("1") => Keep::Foreground,
            Some("background") => {
                variable(background::LOG).map_or(Keep::InBackground, |log| Keep::Background(log.into()))
            }
            Some(other) => bail!("KEEP={other} is unknown: use KEEP=1 or KEEP=background"),
        };
        let on = |name: &str| variable(name).is_some_and(|value| value != "0");
        Ok(Self {
            keep,
            current,
            yes: on("REKEY_DEMO_YES"),
            image: variable("REKEY_DEMO_IMAGE").unwrap_or_else(|| PAUSE.to_owned()),
            colour: variable(background::COLOUR).is_some()
                || std::io::stdout().is_terminal() && variable("NO_COLOR").is_none(),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo has no command line: make passes its settings on as environment variables, read here only"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
