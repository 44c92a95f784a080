//! The gate, by a clock that the tests move.

use super::*;

const A: Caller<'static> = Caller::User("a");
const B: Caller<'static> = Caller::User("b");

fn gate(requests_per_second: u32, burst: u32) -> Gate {
    Gate::new(&Limits { requests_per_second, burst })
}

async fn call(gate: &Gate, caller: Caller<'static>, failure: Option<StoreError>) -> Result<bool, StoreError> {
    let pass = gate.enter(1, caller).await?;
    Ok(pass.leave(failure.as_ref()))
}

fn away() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "nobody answers")
}

fn throttled(wait: Option<u64>) -> StoreError {
    let error = StoreError::new(StoreErrorKind::Throttled, "429");
    error.retry_after(wait.map(Duration::from_secs))
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once_and_then_the_rate_holds() {
    let (gate, start) = (gate(10, 5), Instant::now());
    for _ in 0..5 {
        call(&gate, A, None).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for _ in 0..20 {
        call(&gate, A, None).await.unwrap();
    }
    assert_eq!(start.elapsed().as_millis() / 10, 200);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_longer_than_a_call_is_sent_away() {
    let gate = gate(1, 1);
    let waits = futures::future::join_all((0..20).map(|_| call(&gate, A, None))).await;
    let refused: Vec<&StoreError> = waits.iter().filter_map(|wait| wait.as_ref().err()).collect();
    assert_eq!(refused.len(), 4, "one at once and fifteen in fifteen seconds");
    assert_eq!(refused[0].kind, StoreErrorKind::Throttled);
    assert!(refused[0].text.contains("spec.limits"), "{}", refused[0]);
    assert!(gate.closed().is_none(), "our own limit says nothing about the store");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_namespace_is_sent_away_and_others_go_on_at_once() {
    let (gate, start) = (gate(2, 1), Instant::now());
    let flood = futures::future::join_all((0..100).map(|_| call(&gate, A, None)));
    let others = async {
        for _ in 0..5 {
            let asked = Instant::now();
            call(&gate, B, None).await.unwrap();
            assert!(asked.elapsed() <= Duration::from_secs(1), "one turn of the flood, and its own");
        }
    };
    let (flood, ()) = tokio::join!(flood, others);
    assert!(start.elapsed() <= LONGEST_WAIT);
    let sent_away = flood.iter().filter_map(|call| call.as_ref().err()).count();
    assert!((70..75).contains(&sent_away), "{sent_away}");
}

/// Makes requests one after the other, each of which takes so long.
async fn requests(allowance: &Allowance, number: usize, each: Duration) -> Result<(), StoreError> {
    for _ in 0..number {
        allowance.count_request();
        tokio::time::sleep(each).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_call_really_made_counts_also_when_it_is_given_up() {
    let gate = gate(10, 10);
    let allowance = Allowance::new(0);
    let call_of_many = async {
        let mut pass = gate.enter(1, A).await.unwrap();
        pass.count(&allowance);
        requests(&allowance, 40, Duration::ZERO).await.unwrap();
        std::future::pending::<()>().await;
        drop(pass);
    };
    assert!(tokio::time::timeout(Duration::from_millis(1), call_of_many).await.is_err());
    assert_eq!(allowance.requests(), 40);
    let start = Instant::now();
    let ((), ()) = tokio::join!(
        async {
            call(&gate, A, None).await.unwrap();
            assert_eq!(start.elapsed().as_millis() / 100, 31, "31 that it owes or asks for, and one of the other");
        },
        async {
            call(&gate, B, None).await.unwrap();
            assert!(start.elapsed() <= Duration::from_millis(201));
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_search_keeps_to_the_limits_while_it_lasts() {
    let (gate, start, allowance) = (gate(10, 10), Instant::now(), Allowance::new(0));
    let search = async {
        let mut pass = gate.enter(1, A).await.unwrap();
        pass.count(&allowance);
        pass.pace(requests(&allowance, 60, Duration::from_millis(1))).await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), 5, "ten at once and fifty at ten a second");
        pass.leave(None);
    };
    let other = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(allowance.requests() <= 31, "{}", allowance.requests());
        call(&gate, B, None).await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(2300));
    };
    tokio::join!(search, other);
    let start = Instant::now();
    call(&gate, A, None).await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(200), "it owes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_the_limits_do_not_let_through_in_time_is_refused_and_says_nothing_about_the_store() {
    let (gate, start, allowance) = (gate(1, 1), Instant::now(), Allowance::new(0));
    for _ in 0..3 {
        let mut pass = gate.enter(1, A).await.unwrap();
        pass.count(&allowance);
        let timed_out = async {
            let all = requests(&allowance, 100, Duration::from_millis(1));
            tokio::time::timeout(LONGEST_WAIT, all).await.unwrap_or_else(|_| Err(away()))
        };
        let refused = pass.pace(timed_out).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Throttled);
    }
    let (seconds, made) = (start.elapsed().as_secs(), allowance.requests());
    assert!(
        made <= usize::try_from(seconds).unwrap() + 4,
        "{made} in {seconds} s: one at first, and one that each owes"
    );
    assert!(gate.closed().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_left_alone_and_tried_by_one() {
    let gate = gate(1000, 1000);
    call(&gate, A, Some(away())).await.unwrap();
    assert!(gate.closed().is_none(), "one call may have met a bad moment");
    call(&gate, A, Some(away())).await.unwrap();
    for seconds in [2, 4, 8, 16, 30, 30] {
        let refused = call(&gate, A, None).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Unavailable);
        tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
        assert!(gate.closed().is_some(), "{seconds} s");
        tokio::time::advance(Duration::from_millis(1)).await;
        let trial = gate.enter(1, A).await.unwrap();
        assert!(gate.closed().is_some(), "one call tries");
        trial.leave(Some(&away()));
    }
    tokio::time::advance(LONGEST_PAUSE).await;
    drop(gate.enter(1, A).await.unwrap());
    assert!(call(&gate, A, None).await.unwrap(), "a trial that was given up makes room for another");
    assert!(gate.closed().is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_that_failed_together_are_one_reason_to_pause() {
    let gate = gate(1000, 1000);
    let mut passes = Vec::new();
    for _ in 0..8 {
        passes.push(gate.enter(1, A).await.unwrap());
    }
    for pass in passes {
        pass.leave(Some(&away()));
    }
    assert!(gate.closed().is_some());
    tokio::time::advance(FIRST_PAUSE).await;
    assert!(gate.closed().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_through_and_opens_again() {
    let gate = gate(1000, 1000);
    for _ in 0..9 {
        call(&gate, Caller::Probe, Some(away())).await.unwrap();
    }
    assert!(gate.closed().is_some());
    assert!(call(&gate, Caller::Probe, None).await.unwrap());
    assert!(!call(&gate, A, None).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_is_kept_and_capped() {
    for (asked, seconds) in [(Some(20), 20), (Some(86_400), 300), (Some(0), 1), (None, 1)] {
        let gate = gate(1000, 1000);
        let late = gate.enter(1, A).await.unwrap();
        call(&gate, A, Some(throttled(asked))).await.unwrap();
        late.leave(None);
        let refused = call(&gate, Caller::Probe, None).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.retry_after),
            (StoreErrorKind::Throttled, Some(Duration::from_secs(seconds)))
        );
        tokio::time::advance(Duration::from_secs(seconds)).await;
        call(&gate, A, None).await.unwrap();
    }
}
