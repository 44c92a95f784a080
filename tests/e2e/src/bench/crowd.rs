//! Many calls over a fixed number of connections.

use std::future::Future;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};

/// As many as the operator has workers by default, and as many connections as the bare client has.
pub const CONNECTIONS: usize = 16;

/// Calls `make` for each number below `count`, as many at a time as there are connections.
///
/// # Errors
/// The first failure.
pub async fn each<T, F, M>(count: usize, make: M) -> Result<Vec<T>>
where
    M: Fn(usize) -> F,
    F: Future<Output = Result<T>>,
{
    futures::stream::iter(0..count).map(make).buffered(CONNECTIONS).try_collect().await
}
