//! Waiting for a condition, with a deadline and an error that says what was seen last.

use std::{fmt::Debug, future::Future, time::Duration};

use anyhow::{Result, bail};
use rekey_testkit::wait;
use tokio::time::{Instant, sleep};

/// How long a test waits for something that should come soon: also for a dozen pods that start one after the other on two
/// busy cores. What has to come within a time is measured by the test itself.
pub const SOON: Duration = Duration::from_mins(2);

/// Looks until `look` finds something, and returns it.
///
/// # Errors
/// When `look` fails, or finds nothing within [`SOON`]; the message says what it waited for.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    wait::until(what, SOON, look).await
}

/// Looks until what `look` returns equals `wanted`.
///
/// # Errors
/// As [`until`]; the message shows what was seen last.
pub async fn until_equal<T, F, L>(what: &str, wanted: T, mut look: L) -> Result<()>
where
    T: PartialEq + Debug,
    L: FnMut() -> F,
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + SOON;
    loop {
        let seen = look().await?;
        if seen == wanted {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("{what}: wanted {wanted:?}, but after {} s saw {seen:?}", SOON.as_secs());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Checks that something stays as it is for a while; there is no condition to wait for when something must *not*
/// happen.
///
/// # Errors
/// When it changes; the message shows to what.
pub async fn stays<T, F, L>(what: &str, wanted: T, span: Duration, mut look: L) -> Result<()>
where
    T: PartialEq + Debug,
    L: FnMut() -> F,
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + span;
    while Instant::now() < end {
        let seen = look().await?;
        if seen != wanted {
            bail!("{what}: should have stayed {wanted:?}, but became {seen:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
