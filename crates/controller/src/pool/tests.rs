//! The pool, by a clock that the tests move.

use tokio::time::sleep;

use super::*;

const RULES: Rules = Rules {
    size: 2,
    share: 1,
    waiters: usize::MAX,
    patience: Duration::from_secs(10),
    rest: Duration::ZERO,
    hold: Duration::ZERO,
};
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn tenants_take_turns_and_one_with_many_delays_only_itself() {
    let pool = Pool::new(RULES);
    let (start, turns) = (Instant::now(), Mutex::new(Vec::new()));
    let job = async |tenant: &'static str| {
        let share = pool.take(tenant, 1, usize::MAX).await.unwrap();
        turns.lock().unwrap().push((start.elapsed().as_secs(), tenant));
        sleep(SECOND).await;
        drop(share);
    };
    let flood = futures::future::join_all((0..4).map(|_| job("flood")));
    tokio::join!(flood, job("a"), job("b"), job("c"));
    let mut turns = turns.into_inner().unwrap();
    turns.sort_unstable();
    let (flood, others) = turns.into_iter().partition::<Vec<_>, _>(|(_, tenant)| *tenant == "flood");
    assert_eq!(flood, [0, 1, 2, 3].map(|at| (at, "flood")), "one at a time");
    assert_eq!(others, [(0, "a"), (1, "b"), (2, "c")]);
    assert_eq!(pool.counts(), (0, 0));
}

/// Whatever comes meanwhile: it has waited for longer.
#[tokio::test(start_paused = true)]
async fn who_leaves_in_vain_has_its_place_when_it_comes_again() {
    let pool = Pool::new(Rules { size: 1, ..RULES });
    let held = pool.take("a", 1, 9).await;
    assert!(pool.take("honest", 1, 9).await.is_none());
    let others = futures::future::join_all((0..9).map(|number| {
        let pool = &pool;
        async move { pool.take(&format!("flood-{number}"), 1, 9).await.map(drop) }
    }));
    let comes_again = async {
        sleep(SECOND).await;
        let turn = pool.take("honest", 1, 9).await;
        assert_eq!(pool.counts().1, 8, "all but the one that gave it its place in a full line still wait");
        drop(turn);
    };
    let frees = async {
        sleep(SECOND * 2).await;
        drop(held);
    };
    let (others, (), ()) = tokio::join!(others, comes_again, frees);
    assert_eq!(others.iter().filter(|other| other.is_none()).count(), 1, "nine wait at most: the last was sent away");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_not_kept_for_ever_and_nobody_has_a_claim_by_waiting_for_itself() {
    let pool = Pool::new(Rules { size: 2, share: 1, ..RULES });
    let (mine, other) = (pool.take("a", 1, 9).await, pool.take("b", 1, 9).await);
    assert!(pool.take("a", 1, 9).await.is_none(), "it has its share");
    assert!(pool.take("c", 1, 9).await.is_none());
    let next = async |tenant: &'static str, start: Duration| {
        sleep(start).await;
        let share = pool.take(tenant, 1, 9).await;
        let at = Instant::now();
        sleep(SECOND).await;
        drop(share);
        at
    };
    let (first, second, ()) = tokio::join!(next("a", Duration::ZERO), next("c", SECOND), async {
        sleep(SECOND * 2).await;
        drop(mine);
        drop(other);
    });
    assert!(second <= first);
    assert!(pool.state().places.is_empty(), "who was served has no place any more");
    let held = pool.take("a", 1, 9).await;
    let more = pool.take("b", 1, 9).await;
    assert!(pool.take("c", 1, 9).await.is_none());
    sleep(PLACE).await;
    drop((held, more));
    drop(pool.take("d", 1, 9).await);
    assert!(pool.state().places.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_one_who_left_is_free_for_others_after_a_while() {
    let hold = SECOND * 5;
    let pool = Pool::new(Rules { size: 1, patience: SECOND, hold, ..RULES });
    let taken = pool.take("a", 1, 9).await;
    assert!(pool.take("b", 1, 9).await.is_none());
    drop(taken);
    let start = Instant::now();
    assert!(pool.take("c", 1, 9).await.is_none(), "b comes first");
    assert!(pool.take("b", 1, 9).await.is_some());
    assert_eq!(start.elapsed(), SECOND, "at once");
    assert!(pool.take("c", 1, 9).await.is_some(), "nothing is kept for b any more");
    let taken = pool.take("a", 1, 9).await;
    assert!(pool.take("b", 1, 9).await.is_none());
    drop(taken);
    sleep(hold).await;
    assert!(pool.take("c", 1, 9).await.is_some());
}

/// Whoever is dropped in the line, as by a deadline, is no obstacle to those behind it.
#[tokio::test(start_paused = true)]
async fn who_is_dropped_in_the_line_leaves_it_at_once() {
    let pool = Pool::new(Rules { size: 4, share: 4, ..RULES });
    let _held = pool.take("a", 2, 9).await;
    let start = Instant::now();
    let (large, small) = tokio::join!(timeout(SECOND, pool.take("b", 4, 9)), async {
        sleep(SECOND / 2).await;
        pool.take("c", 2, 9).await.map(|share| (share, start.elapsed()))
    });
    assert!(large.is_err());
    assert_eq!(small.map(|(_share, time)| time), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_rests_and_takes_what_is_free_all_the_same() {
    let pool = Pool::new(Rules { size: 1, patience: SECOND, rest: SECOND, ..RULES });
    let (start, held) = (Instant::now(), pool.take("a", 1, 9).await);
    assert!(pool.take("b", 1, 9).await.is_none() && pool.take("b", 1, 9).await.is_none());
    assert_eq!(start.elapsed(), SECOND, "it does not wait again");
    assert!(pool.take("c", 1, 9).await.is_none());
    assert_eq!(start.elapsed(), SECOND * 2, "others do");
    drop(held);
    assert!(pool.take("b", 1, 9).await.is_some());
}
