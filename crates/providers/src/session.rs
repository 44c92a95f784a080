//! One login shared by all callers of a store.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use rekey_core::store::{StoreError, StoreErrorKind};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// How long to go on with a session whose early renewal failed before the next attempt.
pub(crate) const RETRY: Duration = Duration::from_secs(30);

/// How long a login counts as new, so that a missing right causes no other one.
const RECENT: Duration = Duration::from_mins(1);

/// Obtains a session with credentials that are read afresh.
#[async_trait]
pub(crate) trait Login: Send + Sync {
    /// What a login gives.
    type Session: Send + Sync;

    /// Logs in.
    async fn login(&self) -> Result<Granted<Self::Session>, StoreError>;

    /// Makes a session last longer; `None`: it cannot, a new login is needed.
    async fn prolong(&self, _session: &Self::Session) -> Result<Option<Lease>, StoreError> {
        Ok(None)
    }

    /// Whether a session that a call was refused with is still accepted, so that it is a right that is missing.
    async fn is_accepted(&self, _session: &Self::Session) -> bool {
        false
    }
}

/// The result of a login.
pub(crate) struct Granted<S> {
    /// What to make calls with.
    pub session: S,
    /// When to renew it, counted from the start of the login; `None`: only when it is refused.
    pub renew_after: Option<Duration>,
    /// How long it can be used; `None`: without end.
    pub ends_after: Option<Duration>,
}

/// How long a prolonged session is good, counted from the start of the request.
pub(crate) struct Lease {
    /// As [`Granted::renew_after`].
    pub renew_after: Option<Duration>,
    /// As [`Granted::ends_after`].
    pub ends_after: Option<Duration>,
}

struct Held<S> {
    session: Arc<S>,
    since: Instant,
    renew: Option<Instant>,
    end: Option<Instant>,
}

/// The shared session: logs in when first needed, renews before it ends, and logs in once more when it is refused.
///
/// Callers that need a login at the same time share one. A caller that gives up meanwhile leaves it to the next one.
pub(crate) struct Shared<L: Login> {
    core: Arc<Core<L>>,
}

/// Who renews a session.
#[derive(Clone, Copy)]
enum Renewal {
    /// The call that finds it due.
    AtUse,
    /// A task, so that no call has to wait for it, and a session that is not used does not run out.
    InBackground,
}

struct Core<L: Login> {
    login: L,
    renewal: Renewal,
    held: Mutex<Option<Held<L::Session>>>,
    /// Held while logging in or renewing.
    turn: tokio::sync::Mutex<()>,
    /// When to renew the session.
    due: watch::Sender<Option<Instant>>,
}

impl<L: Login> Shared<L> {
    /// Not logged in yet; the first call after a session became due renews it.
    pub(crate) fn new(login: L) -> Self {
        Self::renewing(login, Renewal::AtUse)
    }

    /// Not logged in yet; sessions are renewed in the background from the first login on, until `self` is dropped.
    ///
    /// To be called inside a tokio runtime.
    pub(crate) fn kept(login: L) -> Self
    where
        L: 'static,
    {
        let shared = Self::renewing(login, Renewal::InBackground);
        let due = shared.core.due.subscribe();
        tokio::spawn(keep(Arc::downgrade(&shared.core), due));
        shared
    }

    fn renewing(login: L, renewal: Renewal) -> Self {
        let (held, turn, due) = (Mutex::default(), tokio::sync::Mutex::default(), watch::Sender::new(None));
        Self { core: Arc::new(Core { login, renewal, held, turn, due }) }
    }

    /// How it logs in.
    pub(crate) fn login(&self) -> &L {
        &self.core.login
    }

    /// Makes a call with the session. If the call is refused with an earlier session, logs in once more and repeats it:
    /// the credential, or its rights, may have been fixed meanwhile. A recent session that the server still accepts
    /// stays, so that many calls that lack a right do not log in again and again.
    pub(crate) async fn call<T, F, R>(&self, call: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<L::Session>) -> R + Send + Sync,
        R: Future<Output = Result<T, StoreError>> + Send,
    {
        let (session, fresh) = self.core.current().await?;
        match call(Arc::clone(&session)).await {
            Err(error) if error.kind == StoreErrorKind::Denied && !fresh => {
                if self.core.is_recent(&session) && self.core.login.is_accepted(&session).await {
                    return Err(error);
                }
                let renewed = self.core.replace(&session).await?;
                call(renewed).await
            }
            result => result,
        }
    }
}

impl<L: Login> Core<L> {
    /// The session, and whether it was made just now.
    async fn current(&self) -> Result<(Arc<L::Session>, bool), StoreError> {
        if let Some(session) = self.usable() {
            return Ok((session, false));
        }
        let _turn = self.turn.lock().await;
        match self.usable() {
            Some(session) => Ok((session, false)),
            None => self.renewed().await,
        }
    }

    /// A session other than `refused`: the one that another caller made meanwhile, or a new one.
    async fn replace(&self, refused: &Arc<L::Session>) -> Result<Arc<L::Session>, StoreError> {
        let _turn = self.turn.lock().await;
        if let Some((session, ..)) = self.held()
            && !Arc::ptr_eq(&session, refused)
        {
            return Ok(session);
        }
        self.hold(None);
        Ok(self.fresh().await?.0)
    }

    /// Whether this is the session, and it is recent.
    fn is_recent(&self, session: &Arc<L::Session>) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|known| Arc::ptr_eq(&known.session, session) && known.since.elapsed() < RECENT)
    }

    /// The session, if a call may use it as it is.
    fn usable(&self) -> Option<Arc<L::Session>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.as_ref()?;
        let until = match self.renewal {
            Renewal::AtUse => known.renew,
            Renewal::InBackground => known.end,
        };
        until.is_none_or(|until| Instant::now() < until).then(|| Arc::clone(&known.session))
    }

    /// Renews the session if it is still due.
    async fn renew(&self) {
        let _turn = self.turn.lock().await;
        if self.due.borrow().is_some_and(|due| due <= Instant::now()) {
            // The next call reports a failure.
            drop(self.renewed().await);
        }
    }

    /// The session prolonged or replaced, and whether it was made just now. If that fails, the session serves until it
    /// ends.
    async fn renewed(&self) -> Result<(Arc<L::Session>, bool), StoreError> {
        let Some((session, since, end)) = self.held() else {
            return self.fresh().await;
        };
        let start = Instant::now();
        let is_over = || end.is_some_and(|end| end <= Instant::now());
        let prolonged = if is_over() { Ok(None) } else { self.login.prolong(&session).await };
        let failed = match prolonged {
            Ok(Some(Lease { renew_after, ends_after })) => {
                let (renew, end) = (after(start, renew_after), after(start, ends_after));
                self.hold(Some(Held { session: Arc::clone(&session), since, renew, end }));
                return Ok((session, false));
            }
            Err(error) if is_passing(error.kind) => error,
            Ok(None) | Err(_) => match self.fresh().await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            },
        };
        if is_passing(failed.kind) && !is_over() {
            let again = Instant::now() + RETRY;
            let renew = Some(end.map_or(again, |end| end.min(again)));
            self.hold(Some(Held { session: Arc::clone(&session), since, renew, end }));
            return Ok((session, false));
        }
        self.hold(None);
        Err(failed)
    }

    async fn fresh(&self) -> Result<(Arc<L::Session>, bool), StoreError> {
        let since = Instant::now();
        let Granted { session, renew_after, ends_after } = self.login.login().await?;
        let session = Arc::new(session);
        let (renew, end) = (after(since, renew_after), after(since, ends_after));
        self.hold(Some(Held { session: Arc::clone(&session), since, renew, end }));
        Ok((session, true))
    }

    /// The session, when it was made, and when it ends.
    fn held(&self) -> Option<(Arc<L::Session>, Instant, Option<Instant>)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|known| (Arc::clone(&known.session), known.since, known.end))
    }

    fn hold(&self, held: Option<Held<L::Session>>) {
        let due = held.as_ref().and_then(|known| known.renew);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.due.send_replace(due);
    }
}

fn after(start: Instant, wait: Option<Duration>) -> Option<Instant> {
    wait.map(|wait| start + wait)
}

/// Renews a session whenever it is due. It does not keep the session alive: the sender of `due` goes with it, which
/// ends this.
async fn keep<L: Login>(core: Weak<Core<L>>, mut due: watch::Receiver<Option<Instant>>) {
    loop {
        let at = *due.borrow_and_update();
        let changed = match at {
            None => Ok(due.changed().await),
            Some(at) => timeout_at(at, due.changed()).await,
        };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let Some(core) = core.upgrade() else { return };
                core.renew().await;
            }
        }
    }
}

/// Whether a login that failed so says nothing about the session we have.
pub(crate) fn is_passing(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Throttled
        | StoreErrorKind::Unavailable
        | StoreErrorKind::Malformed
        | StoreErrorKind::TooMuch => true,
        StoreErrorKind::NotFound
        | StoreErrorKind::Denied
        | StoreErrorKind::Conflict
        | StoreErrorKind::Invalid
        | StoreErrorKind::InvalidKey
        | StoreErrorKind::NotSupported { .. } => false,
    }
}

#[cfg(test)]
mod tests;
