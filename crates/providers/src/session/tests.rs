use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const LEASE: Duration = Duration::from_secs(90);

/// Numbers its sessions; fails while `broken` is set. A session can be prolonged as often as `lasting` says, and is still
/// accepted when a call is refused if `accepts`.
#[derive(Default)]
struct Counter {
    logins: AtomicUsize,
    prolonged: Arc<AtomicUsize>,
    lasting: usize,
    accepts: bool,
    broken: Mutex<Option<StoreErrorKind>>,
}

impl Counter {
    async fn answer(&self) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match *self.broken.lock().unwrap() {
            Some(kind) => Err(StoreError::new(kind, "broken")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Login for Counter {
    type Session = usize;

    async fn login(&self) -> Result<Granted<usize>, StoreError> {
        self.answer().await?;
        let session = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Granted { session, renew_after: Some(LEASE * 2 / 3), ends_after: Some(LEASE) })
    }

    async fn prolong(&self, session: &usize) -> Result<Option<Lease>, StoreError> {
        self.answer().await?;
        if self.prolonged.load(Ordering::SeqCst) == session * self.lasting {
            return Ok(None);
        }
        self.prolonged.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Lease { renew_after: Some(LEASE * 2 / 3), ends_after: Some(LEASE) }))
    }

    async fn is_accepted(&self, _: &usize) -> bool {
        self.accepts
    }
}

/// How often it has logged in and prolonged, after some more seconds in which nobody calls.
async fn after_idling(shared: &Shared<Counter>, seconds: u64) -> (usize, usize) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let Counter { logins, prolonged, .. } = shared.login();
    (logins.load(Ordering::SeqCst), prolonged.load(Ordering::SeqCst))
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
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_prolonged_and_then_replaced() {
    let shared = Shared::kept(Counter { lasting: 2, ..Counter::default() });
    assert_eq!(after_idling(&shared, 300).await, (0, 0), "no call has asked for a session");
    use_it(&shared).await.unwrap();
    assert_eq!(after_idling(&shared, 58).await, (1, 0));
    assert_eq!(after_idling(&shared, 4).await, (1, 1), "at two thirds of the lease");
    assert_eq!(after_idling(&shared, 60).await, (1, 2));
    assert_eq!(after_idling(&shared, 62).await, (2, 2), "what cannot be prolonged any more is replaced");
    assert_eq!(after_idling(&shared, 62).await, (2, 3));
    assert_eq!(use_it(&shared).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_call_waits_for_a_renewal_in_the_background() {
    let shared = Shared::kept(Counter::default());
    use_it(&shared).await.unwrap();
    tokio::time::sleep(Duration::from_millis(59_500)).await; // the renewal is under way, which takes two seconds
    let start = Instant::now();
    assert_eq!(use_it(&shared).await.unwrap(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(use_it(&shared).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_background_is_survived_until_the_end() {
    let shared = Shared::kept(Counter::default());
    use_it(&shared).await.unwrap();
    *shared.login().broken.lock().unwrap() = Some(StoreErrorKind::Unavailable);
    tokio::time::sleep(Duration::from_secs(85)).await;
    assert_eq!(use_it(&shared).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(use_it(&shared).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    *shared.login().broken.lock().unwrap() = None;
    assert_eq!(use_it(&shared).await.unwrap(), 2);
    assert_eq!(after_idling(&shared, 62).await.0, 3, "renewed in the background again");
}

#[tokio::test(start_paused = true)]
async fn renewal_ends_with_the_store() {
    let shared = Shared::kept(Counter { lasting: usize::MAX, ..Counter::default() });
    use_it(&shared).await.unwrap();
    let (prolonged, core) = (Arc::clone(&shared.login().prolonged), Arc::downgrade(&shared.core));
    assert_eq!(after_idling(&shared, 62).await, (1, 1));
    drop(shared);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(prolonged.load(Ordering::SeqCst), 1);
    assert_eq!(core.strong_count(), 0);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "the task is gone");
}

#[tokio::test(start_paused = true)]
async fn calls_that_lack_a_right_share_the_logins_of_a_minute() {
    let shared = Shared::kept(Counter { accepts: true, lasting: 9, ..Counter::default() });
    use_it(&shared).await.unwrap();
    for _ in 0..10 {
        assert_eq!(refuse_before(&shared, 2).await.unwrap_err().kind, StoreErrorKind::Denied);
    }
    assert_eq!(after_idling(&shared, 65).await, (1, 1));
    assert_eq!(refuse_before(&shared, 2).await.unwrap(), 2, "the rights of the role may have changed meanwhile");
}
