//! How big the bench is, from the command line.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// What can be left out.
const PARTS: [&str; 7] = ["sync", "same", "memory", "restarts", "budget", "versions", "namespaces"];

/// See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Policies, each with a key of its own.
    pub policies: usize,
    /// Secrets of others in the same namespaces.
    pub unmanaged: usize,
    /// Secrets that change at once, each with a Deployment.
    pub restarts: usize,
    /// Deployments that are due at once, where few may roll at the same time.
    pub rollouts: usize,
    /// Namespaces with a few policies each.
    pub namespaces: usize,
    /// `refreshInterval` of the policies, in seconds.
    pub interval: u64,
    /// The operator's binary; `None`: it is built from this checkout, for release.
    pub operator: Option<PathBuf>,
    /// What is measured.
    pub parts: BTreeSet<String>,
}

impl Settings {
    /// Reads the arguments.
    ///
    /// # Errors
    /// When one is not known.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let parts = PARTS.map(str::to_owned).into();
        let mut settings = Self {
            policies: 1000,
            unmanaged: 20_000,
            restarts: 300,
            rollouts: 200,
            namespaces: 200,
            interval: 60,
            operator: None,
            parts,
        };
        for argument in arguments {
            let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
            let number = || value.parse().with_context(|| format!("{name} wants a number, as in {name}=100"));
            match name {
                "--policies" => settings.policies = number()?,
                "--unmanaged" => settings.unmanaged = number()?,
                "--restarts" => settings.restarts = number()?,
                "--rollouts" => settings.rollouts = number()?,
                "--namespaces" => settings.namespaces = number()?,
                "--interval" => settings.interval = u64::try_from(number()?)?,
                // Ten times as many policies: what 1,000 cannot show is what grows faster than their number.
                "--prove" => settings.policies = 10_000,
                "--operator" => {
                    let program = PathBuf::from(value).canonicalize();
                    settings.operator = Some(program.with_context(|| format!("there is no program {value}"))?);
                }
                "--only" => settings.parts = value.split(',').map(str::to_owned).collect(),
                _ => bail!(
                    "{argument} is not known: use --policies=N, --unmanaged=N, --restarts=N, --rollouts=N, --namespaces=N, \
                     --interval=SECONDS, --operator=BINARY, --only={} or --prove",
                    PARTS.join(",")
                ),
            }
        }
        for part in &settings.parts {
            ensure!(PARTS.contains(&part.as_str()), "--only={part} is not known: {}", PARTS.join(", "));
        }
        ensure!(settings.interval >= 10, "--interval must be at least 10, as for any policy");
        let sizes = [settings.policies, settings.restarts, settings.rollouts, settings.namespaces];
        ensure!(sizes.iter().all(|size| *size > 0), "nothing is measured with none");
        Ok(settings)
    }

    /// Whether to run this part.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        self.parts.contains(part)
    }
}
