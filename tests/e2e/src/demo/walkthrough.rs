//! What the chapters have in common: a stage, an output, and checks.

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use super::{
    output::Output,
    stage::{NAMESPACE, Stage},
};

/// How long a check waits. A cluster that is not ours may have to fetch an image.
const PATIENCE: Duration = Duration::from_secs(90);

/// See the [module documentation](self).
pub struct Walkthrough<'a> {
    /// Where it happens.
    pub stage: &'a Stage,
    /// Where it prints.
    pub out: &'a mut Output,
}

impl<'a> Walkthrough<'a> {
    /// Checks a claim, and prints the result and how long it took. The claim gets the text of the check, and the caller
    /// gets its value if it passed.
    pub async fn check<T>(&mut self, claim: &str, check: impl Future<Output = Result<(String, T)>>) -> Option<T> {
        let began = Instant::now();
        let result = tokio::select! {
            result = check => result,
            gone = self.stage.operator_gone() => Err(gone),
        };
        match result {
            Ok((detail, value)) => {
                self.out.passed(&joined(claim, &detail), began.elapsed());
                Some(value)
            }
            Err(error) => {
                let logs = self.stage.logs();
                self.out.failed(claim, began.elapsed(), &format!("{error:#}"), logs.as_deref());
                None
            }
        }
    }

    /// Shows a manifest and applies it in the namespace of the demo.
    pub async fn apply(&mut self, introduction: &str, manifest: &str) -> Option<()> {
        self.out.say(introduction);
        self.out.block(manifest);
        match self.stage.apply(manifest).await {
            Ok(()) => Some(()),
            Err(error) => self.check("the API server takes it", async { Err(error) }).await,
        }
    }

    /// Shows a kubectl command and runs it.
    pub async fn kubectl(&mut self, arguments: &[&str]) -> Option<String> {
        let stage: &'a Stage = self.stage;
        let shown = format!("kubectl {} -n {}", arguments.join(" "), NAMESPACE);
        match stage.kubectl(arguments).await {
            Ok(printed) => {
                self.out.command(&shown, &printed);
                Some(printed)
            }
            Err(error) => self.check(&shown, async { Err(error) }).await,
        }
    }
}

/// The result of one look.
pub enum Seen<T> {
    /// The awaited state.
    Wanted(T),
    /// Another state; the error names it when the patience ends.
    Other(String),
}

/// Looks until it sees the awaited state. An error counts as another state: the next look may be better.
///
/// # Errors
/// When that does not come; the message says what was seen last.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Result<Seen<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let last = match look().await {
            Ok(Seen::Wanted(found)) => return Ok(found),
            Ok(Seen::Other(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!("seen instead after {} s: {last}", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn joined(claim: &str, detail: &str) -> String {
    if detail.is_empty() { claim.to_owned() } else { format!("{claim}: {detail}") }
}
