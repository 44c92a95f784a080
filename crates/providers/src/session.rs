//! One login shared by all callers of a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rekey_core::store::{StoreError, StoreErrorKind};
use tokio::{sync::Mutex, time::Instant};

/// How long to go on with a session whose early renewal failed before trying again.
pub(crate) const RETRY: Duration = Duration::from_secs(30);

/// Obtains a session with credentials that are read afresh.
#[async_trait]
pub(crate) trait Login: Send + Sync {
    /// What a login gives.
    type Session: Send + Sync;

    /// Logs in.
    async fn login(&self) -> Result<Granted<Self::Session>, StoreError>;
}

/// The result of a login.
pub(crate) struct Granted<S> {
    /// What to make calls with.
    pub session: S,
    /// When to log in again, counted from the start of the login; `None`: only when it is refused.
    pub renew_after: Option<Duration>,
    /// How long it can be used; `None`: without end.
    pub ends_after: Option<Duration>,
}

struct Held<S> {
    session: Arc<S>,
    renew: Option<Instant>,
    end: Option<Instant>,
}

/// The shared session: logs in when first needed, before it ends, and once more when it is refused.
///
/// The lock is held while logging in, so that concurrent callers share one login. A caller that gives up meanwhile
/// releases it, and the next one logs in.
pub(crate) struct Shared<L: Login> {
    login: L,
    held: Mutex<Option<Held<L::Session>>>,
}

impl<L: Login> Shared<L> {
    /// Not logged in yet.
    pub(crate) fn new(login: L) -> Self {
        Self { login, held: Mutex::new(None) }
    }

    /// How it logs in.
    pub(crate) fn login(&self) -> &L {
        &self.login
    }

    /// Makes a call with the session. If the call is refused with a session from before, logs in once more and
    /// repeats it: the credential, or what it may do, may have been mended.
    pub(crate) async fn call<T, F, R>(&self, call: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<L::Session>) -> R + Send + Sync,
        R: Future<Output = Result<T, StoreError>> + Send,
    {
        let (session, fresh) = self.current().await?;
        match call(Arc::clone(&session)).await {
            Err(error) if error.kind == StoreErrorKind::Denied && !fresh => {
                let renewed = self.replace(&session).await?;
                call(renewed).await
            }
            result => result,
        }
    }

    /// The session, and whether it was made just now.
    async fn current(&self) -> Result<(Arc<L::Session>, bool), StoreError> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        let Some(known) = held.as_mut() else {
            return Ok((self.fresh(&mut held, now).await?, true));
        };
        if known.renew.is_none_or(|renew| now < renew) {
            return Ok((Arc::clone(&known.session), false));
        }
        let (session, end) = (Arc::clone(&known.session), known.end);
        match self.login.login().await {
            Ok(granted) => Ok((keep(&mut held, granted, now), true)),
            Err(error) if is_passing(error.kind) && end.is_some_and(|end| Instant::now() < end) => {
                known.renew = Some(Instant::now() + RETRY).min(end);
                Ok((session, false))
            }
            Err(error) => {
                *held = None;
                Err(error)
            }
        }
    }

    /// A session other than `refused`: the one somebody else made meanwhile, or a new one.
    async fn replace(&self, refused: &Arc<L::Session>) -> Result<Arc<L::Session>, StoreError> {
        let mut held = self.held.lock().await;
        match held.as_ref() {
            Some(other) if !Arc::ptr_eq(&other.session, refused) => Ok(Arc::clone(&other.session)),
            _ => {
                *held = None;
                self.fresh(&mut held, Instant::now()).await
            }
        }
    }

    async fn fresh(&self, held: &mut Option<Held<L::Session>>, now: Instant) -> Result<Arc<L::Session>, StoreError> {
        let granted = self.login.login().await?;
        Ok(keep(held, granted, now))
    }
}

fn keep<S>(held: &mut Option<Held<S>>, granted: Granted<S>, now: Instant) -> Arc<S> {
    let session = Arc::new(granted.session);
    *held = Some(Held {
        session: Arc::clone(&session),
        renew: granted.renew_after.map(|wait| now + wait),
        end: granted.ends_after.map(|wait| now + wait),
    });
    session
}

/// Whether a login that failed so says nothing about the session we have.
pub(crate) fn is_passing(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Throttled | StoreErrorKind::Unavailable | StoreErrorKind::Malformed => true,
        StoreErrorKind::NotFound | StoreErrorKind::Denied | StoreErrorKind::Conflict | StoreErrorKind::Invalid => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LEASE: Duration = Duration::from_secs(90);

    /// Numbers its sessions; fails while `broken` is set.
    #[derive(Default)]
    struct Counter {
        logins: AtomicUsize,
        broken: std::sync::Mutex<Option<StoreErrorKind>>,
    }

    #[async_trait]
    impl Login for Counter {
        type Session = usize;

        async fn login(&self) -> Result<Granted<usize>, StoreError> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(kind) = *self.broken.lock().unwrap() {
                return Err(StoreError::new(kind, "broken"));
            }
            let session = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(Granted { session, renew_after: Some(LEASE * 2 / 3), ends_after: Some(LEASE) })
        }
    }

    async fn use_it(shared: &Shared<Counter>) -> Result<usize, StoreError> {
        shared.call(|session| async move { Ok(*session) }).await
    }

    async fn refuse_before(shared: &Shared<Counter>, least: usize) -> Result<usize, StoreError> {
        let check = |session: Arc<usize>| async move {
            if *session < least { Err(StoreError::new(StoreErrorKind::Denied, "refused")) } else { Ok(*session) }
        };
        shared.call(check).await
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_a_login() {
        let shared = Shared::new(Counter::default());
        let (a, b, c) = tokio::join!(use_it(&shared), use_it(&shared), use_it(&shared));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (1, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_refusals_share_a_login() {
        let shared = Shared::new(Counter::default());
        use_it(&shared).await.unwrap();
        let (a, b) = tokio::join!(refuse_before(&shared, 2), refuse_before(&shared, 2));
        assert_eq!((a.unwrap(), b.unwrap()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn logs_in_again_at_two_thirds_of_the_lease() {
        let shared = Shared::new(Counter::default());
        assert_eq!(use_it(&shared).await.unwrap(), 1);
        tokio::time::advance(Duration::from_secs(58)).await;
        assert_eq!(use_it(&shared).await.unwrap(), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(use_it(&shared).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_is_repeated_once() {
        let shared = Shared::new(Counter::default());
        assert_eq!(refuse_before(&shared, 9).await.unwrap_err().kind, StoreErrorKind::Denied);
        assert_eq!(shared.login().logins.load(Ordering::SeqCst), 1, "a fresh session is not replaced");
        assert_eq!(refuse_before(&shared, 9).await.unwrap_err().kind, StoreErrorKind::Denied);
        assert_eq!(shared.login().logins.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_at_renewal_is_survived_until_the_end() {
        let shared = Shared::new(Counter::default());
        use_it(&shared).await.unwrap();
        *shared.login().broken.lock().unwrap() = Some(StoreErrorKind::Unavailable);
        tokio::time::advance(Duration::from_secs(65)).await;
        assert_eq!(use_it(&shared).await.unwrap(), 1);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(use_it(&shared).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_at_renewal_ends_the_session() {
        let shared = Shared::new(Counter::default());
        use_it(&shared).await.unwrap();
        *shared.login().broken.lock().unwrap() = Some(StoreErrorKind::Denied);
        tokio::time::advance(Duration::from_secs(65)).await;
        assert_eq!(use_it(&shared).await.unwrap_err().kind, StoreErrorKind::Denied);
    }
}
