//! The outside world: clock, chance, files, standard output. The only place that touches them.

use std::{io::Write as _, process::ExitCode};

use chrono::{DateTime, Utc};
use rand::Rng as _;
use rekey_core::{SecretBytes, account, chance::Chance, time::Clock};

/// The wall clock.
#[derive(Debug)]
pub struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// The operating system's randomness, through a generator that is safe for keys.
#[derive(Debug)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// The namespace of the pod we run in.
pub fn pod_namespace() -> Option<String> {
    let text = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Audiences of the API server, from the token of the pod we run in.
pub fn api_audiences() -> Vec<String> {
    let token = std::fs::read("/var/run/secrets/kubernetes.io/serviceaccount/token").map(SecretBytes::new);
    token.map(|token| account::audiences(&token)).unwrap_or_default()
}

/// A name for this process: the host's (in a pod, the pod's) and something random.
pub fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), rekey_core::chance::revision(&SystemChance))
}

/// Keeps values from core dumps and from debuggers of other users.
pub fn seal() {
    use nix::sys::{
        prctl::set_dumpable,
        resource::{Resource, setrlimit},
    };
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0).and_then(|()| set_dumpable(false)) {
        tracing::warn!("cannot switch off core dumps: {error}");
    }
}

pub fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints why the program ends.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    writeln!(std::io::stderr(), "rekey: {error:#}").ok();
    ExitCode::FAILURE
}
