//! Waiting for something, with a limit and a name for the error.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(50);

/// Repeats an attempt until it has an answer. `Ok(None)` means not yet.
///
/// # Errors
/// The error of an attempt, or that there is no answer within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = attempt().await? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("not seen within {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
