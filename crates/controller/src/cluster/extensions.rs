//! Which kinds of extensions this cluster has, as it was last found out: many namespaces that are opened at once ask
//! once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::core::ApiResource;
use tokio::time::Instant;

/// An answer is good for so long.
const FRESH: Duration = Duration::from_secs(10);

type Answer = Arc<tokio::sync::Mutex<Option<(Instant, Option<ApiResource>)>>>;

/// See the [module documentation](self).
#[derive(Default)]
pub struct Extensions(Mutex<BTreeMap<&'static str, Answer>>);

impl Extensions {
    /// How a kind is reached; `None`: it is not there. `ask` finds it out, for all who ask meanwhile.
    pub async fn find(
        &self,
        kind: &'static str,
        ask: impl Future<Output = Option<ApiResource>>,
    ) -> Option<ApiResource> {
        let answer = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default());
        let mut answer = answer.lock().await;
        if let Some((at, found)) = answer.as_ref()
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let found = ask.await;
        *answer = Some((Instant::now(), found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;
    use kube::core::GroupVersionKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_the_same_time_asks_once_and_a_kind_that_comes_is_found() {
        let (extensions, asked) = (Extensions::default(), Cell::new(0));
        let ask = |found: bool| {
            let asked = &asked;
            async move {
                asked.set(asked.get() + 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
                found.then(|| ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Kind")))
            }
        };
        let answers = join_all((0..50).map(|_| extensions.find("Kind", ask(false)))).await;
        assert!(answers.iter().all(Option::is_none) && asked.get() == 1);
        assert!(extensions.find("Other", ask(true)).await.is_some(), "of another kind nothing is known");
        assert!(extensions.find("Kind", ask(true)).await.is_none());
        tokio::time::advance(FRESH).await;
        assert!(extensions.find("Kind", ask(true)).await.is_some());
        assert_eq!(asked.get(), 3);
    }
}
