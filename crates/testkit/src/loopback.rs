//! How the tests themselves talk to the servers that they start.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// Servers need a few seconds; the rest is for a machine that is compiling at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client with a deadline that ignores the machine's proxy settings.
pub(crate) fn client() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
    builder.build().context("make the tests' HTTP client")
}

/// Waits until `url` answers with one of `statuses`.
pub(crate) async fn ready(client: &reqwest::Client, process: &mut Process, url: &str, statuses: &[u16]) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        process.alive()?;
        let answer = client.get(url).send().await;
        if answer.is_ok_and(|answer| statuses.contains(&answer.status().as_u16())) {
            return Ok(());
        }
        if Instant::now() > end {
            let log = process.log().display();
            bail!("{url} is not ready after {PATIENCE:?}; the end of {log}:\n{}", process.tail(30));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
