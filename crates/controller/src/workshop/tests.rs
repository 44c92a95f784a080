use std::sync::mpsc::{self, Receiver, Sender};

use rekey_api::condition::Reason;
use rekey_core::health::{Duty, Fault, STUCK};

use super::*;
use rekey_api::condition::Class;

/// Ends when it is asked to, and says that it has started.
struct Held {
    end: Sender<()>,
    started: Receiver<()>,
}

fn held() -> (Held, impl FnOnce(&Stop) + Send + 'static) {
    let (end, ended) = mpsc::channel::<()>();
    let (begin, started) = mpsc::channel();
    let job = move |_: &Stop| {
        begin.send(()).unwrap();
        let _ = ended.recv();
    };
    (Held { end, started }, job)
}

fn workshop() -> Arc<Workshop> {
    Arc::new(Workshop::new(&Arc::new(Pulse::default())))
}

fn spawn<T: Send + 'static>(
    workshop: &Arc<Workshop>,
    namespace: &'static str,
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> tokio::task::JoinHandle<Result<T, Error>> {
    let workshop = Arc::clone(workshop);
    tokio::spawn(async move { workshop.run(namespace, work).await })
}

/// Lets the paused time of the runtime stand still until the job has started: an outstanding blocking task does that.
fn until_started(held: Receiver<()>) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(move || held.recv().unwrap())
}

#[tokio::test]
async fn a_job_gives_what_it_computes_on_a_thread_of_its_own() {
    let name = workshop().run("shop", |_| std::thread::current().name().map(str::to_owned)).await.unwrap();
    assert_eq!(name.as_deref(), Some("rendering-0"));
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_when_its_time_is_over() {
    let workshop = workshop();
    let (begin, started) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let start = tokio::time::Instant::now();
    let standing = until_started(started);
    let job = spawn(&workshop, "shop", move |stop| {
        begin.send(()).unwrap();
        while !stop.is_stopped() {
            std::thread::yield_now();
        }
        end.send(()).unwrap();
    });
    standing.await.unwrap();
    let error = job.await.unwrap().unwrap_err();
    assert_eq!((error.class(), error.reason()), (Class::Data, Reason::TemplateError));
    assert!(error.to_string().contains("took too long"), "{error}");
    assert_eq!(start.elapsed(), LIMIT);
    ended.recv().unwrap();
    let seconds: Vec<u64> = [1, 2, 4, 9].map(|at| error.delay(at).unwrap_or_default().as_secs()).into();
    assert_eq!(seconds, [30, 60, 240, 300], "it is not done again and again");
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_thread_lives_on() {
    let workshop = workshop();
    for _ in 0..3 {
        let error = workshop.run("shop", |_| -> u8 { panic!("hunter2") }).await.unwrap_err();
        assert!(matches!(error, Error::Panic), "{error}");
    }
    assert_eq!(workshop.run("shop", |_| 1).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_one_thread_and_the_others_take_turns_on_the_other() {
    let workshop = workshop();
    let (flood, job) = held();
    let first = spawn(&workshop, "flood", job);
    flood.started.recv().unwrap();
    let waiting: Vec<_> = (0..20).map(|_| spawn(&workshop, "flood", |_| ())).collect();
    let (order, seen) = mpsc::channel();
    for namespace in ["a", "b"] {
        let order = order.clone();
        let job = move |_: &Stop| order.send(namespace).unwrap();
        workshop.run(namespace, job).await.unwrap(); // at once, though twenty came before
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(waiting.iter().all(|job| !job.is_finished()));
    flood.end.send(()).unwrap();
    first.await.unwrap().unwrap();
    for job in waiting {
        job.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_waits_for_is_stopped_or_never_started() {
    let workshop = workshop();
    let (begin, started) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let running = spawn(&workshop, "shop", move |stop| {
        begin.send(()).unwrap();
        while !stop.is_stopped() {
            std::thread::yield_now();
        }
        end.send(()).unwrap();
    });
    started.recv().unwrap();
    let (never, begins) = mpsc::channel();
    let waiting = spawn(&workshop, "shop", move |_| never.send(()).unwrap());
    while workshop.turns.counts().1 == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.is_err());
    assert!(begins.try_recv().is_err_and(|error| error == mpsc::TryRecvError::Disconnected), "what it held is gone");
    running.abort();
    ended.recv().unwrap();
    assert_eq!(workshop.run("shop", |_| 1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_for_its_turn_comes_again_later_and_quietly() {
    let workshop = workshop();
    let (job, work) = held();
    let standing = until_started(job.started);
    let running = spawn(&workshop, "shop", work);
    standing.await.unwrap();
    let (second, work) = held();
    let error = workshop.run("shop", work).await.unwrap_err();
    assert!(matches!(error, Error::Crowded { .. }), "{error}");
    assert!(error.is_quiet() && error.class() == Class::Transient);
    assert!(second.started.try_recv().is_err(), "it has not started, and never will");
    job.end.send(()).unwrap();
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_stop_is_told_of_and_seen_by_health_when_it_takes_the_last_thread() {
    let pulse = Arc::new(Pulse::default());
    pulse.duty(Duty::Leading);
    let workshop = Arc::new(Workshop::new(&pulse));
    let mut jobs = Vec::new();
    for namespace in ["one", "two"] {
        let (job, work) = held();
        let standing = until_started(job.started);
        let running = spawn(&workshop, namespace, work);
        standing.await.unwrap();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Reason::TemplateError, "reported in time");
        tokio::time::advance(STUCK + Duration::from_secs(1)).await;
        jobs.push(job.end);
        let live = if namespace == "one" { Ok(()) } else { Err(Fault::Stuck(NAME)) };
        assert_eq!(pulse.live(), live, "{namespace}");
    }
    for end in jobs {
        end.send(()).unwrap();
    }
    while pulse.live().is_err() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_end_of_the_workshop_ends_its_threads() {
    let workshop = workshop();
    workshop.run("shop", |_| ()).await.unwrap();
    let shared = Arc::downgrade(&workshop.shared);
    drop(workshop);
    while shared.strong_count() > 0 {
        std::thread::yield_now();
    }
}
