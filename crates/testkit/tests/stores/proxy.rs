//! The fault proxy: what gets a number, what each fault lets through, and that it does not delay streams.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rekey_testkit::proxy::{Fault, Moment, Proxy, filter};
use reqwest::{Certificate, Client, Method, Response};
use tokio::time::timeout;

use crate::{stores::upstream::Upstream, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("proxy_numbers_what_the_filter_picks", numbers),
        trial("proxy_kills_before_the_call", || kills(Fault::KillBefore)),
        trial("proxy_kills_after_the_call_before_the_answer", || kills(Fault::KillAfterBeforeAnswer)),
        trial("proxy_kills_after_the_answer", || kills(Fault::KillAfterAnswer)),
        trial("proxy_forwards_nothing_while_it_kills", alone),
        trial("proxy_drops_delays_and_falsifies", others),
        trial("proxy_breaks_every_call_until_disarmed", constant),
        trial("proxy_breaks_one_watch_of_each_path", watches),
        trial("proxy_goes_down_and_up", outage),
        trial("proxy_is_cut_off_for_a_time", cut_off),
        trial("proxy_holds_everything_for_a_time", || hold(Moment::BeforeCall)),
        trial("proxy_holds_everything_for_a_time_before_an_answer", || hold(Moment::BeforeAnswer)),
        trial("proxy_streams_line_by_line", lines),
        trial("proxy_has_the_client_certificate", mutual_tls),
    ]
}

async fn numbers() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    proxy.count(filter::kubernetes);
    let secrets = "/api/v1/namespaces/a/secrets";
    let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/rekey";
    let named = format!("{secrets}/events");
    for (method, path) in [
        (Method::GET, secrets),
        (Method::POST, secrets),
        (Method::PUT, lease),
        (Method::POST, "/api/v1/namespaces/a/events"),
        (Method::POST, "/api/v1/namespaces/a/serviceaccounts/rekey/token"),
        (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        (Method::PATCH, &format!("{secrets}/b?fieldManager=rekey")),
        (Method::PATCH, &format!("{secrets}/b?dryRun=All")),
        (Method::DELETE, &named),
    ] {
        call(&proxy, method, path).await?;
    }
    let calls = proxy.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.number, &call.method, call.path.as_str(), call.status)).collect();
    let patched = format!("{secrets}/b");
    let expected = [
        (1, &Method::POST, secrets, Some(201)),
        (2, &Method::PATCH, patched.as_str(), Some(200)),
        (3, &Method::DELETE, named.as_str(), Some(200)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls[1].query.as_deref(), Some("fieldManager=rekey"));
    assert_eq!((proxy.others(), upstream.reached().len()), (6, 9));
    Ok(())
}

async fn watches() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    proxy.count(filter::kubernetes);
    proxy.arm_watches(Fault::WatchError(410));
    let (secrets, pods) = ("/api/v1/namespaces/a/secrets", "/api/v1/namespaces/a/pods");
    let watch = |path: &str| format!("{path}?watch=true&resourceVersion=1");
    for (path, is_broken) in [
        (secrets.to_owned(), false),
        (watch(secrets), true),
        (watch(secrets), false),
        (watch(pods), true),
        (watch(pods), false),
    ] {
        let answer = call(&proxy, Method::GET, &path).await?;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await?;
        assert_eq!(text.contains("\"ERROR\"") && text.contains("410") && text.ends_with("}\n"), is_broken, "{text}");
    }
    assert_eq!(proxy.broken_watches().into_iter().collect::<Vec<_>>(), [pods, secrets]);
    assert_eq!((proxy.calls().len(), upstream.reached().len()), (0, 3));
    Ok(())
}

/// Three calls, a kill at the second: what had reached the server at the kill, and what the client had.
async fn kills(fault: Fault) -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    let at_kill = Arc::new(Mutex::new(Vec::new()));
    let (seen, record) = (Arc::clone(&at_kill), upstream.record());
    proxy.on_kill(Box::new(move || {
        let reached = record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(reached);
    }));
    proxy.arm(2, fault);
    assert_eq!(call(&proxy, Method::POST, "/1").await?.status(), 201);
    let second = call(&proxy, Method::POST, "/2").await;
    if fault == Fault::KillAfterAnswer {
        assert_eq!(second?.text().await?, "done");
    } else {
        ensure!(second.is_err(), "the killed call has an answer");
    }
    killed(&proxy).await;
    assert_eq!(call(&proxy, Method::POST, "/3").await?.status(), 201);
    let first_two = ["POST /1 body", "POST /2 body"];
    let expected = if fault == Fault::KillBefore { &first_two[..1] } else { &first_two };
    let kills = at_kill.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(kills, [expected], "what had reached the server at the one kill");
    let status = proxy.calls()[1].status;
    assert_eq!(status, (fault != Fault::KillBefore).then_some(201));
    assert_eq!(upstream.reached().len(), expected.len() + 1);
    Ok(())
}

/// While a kill goes on, other calls wait; with the kill they are gone.
async fn alone() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Arc::new(Proxy::http(&format!("http://{}", upstream.address))?);
    proxy.on_kill(Box::new(|| std::thread::sleep(Duration::from_millis(500))));
    proxy.arm(1, Fault::KillAfterBeforeAnswer);
    let killed = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { call(&proxy, Method::POST, "/killed").await }
    });
    while upstream.reached().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(call(&proxy, Method::POST, "/late").await.is_err(), "a call of the killed process has an answer");
    ensure!(killed.await?.is_err(), "the killed call has an answer");
    assert_eq!(upstream.reached(), ["POST /killed body"]);
    call(&proxy, Method::POST, "/next").await?;
    assert_eq!(proxy.calls().len(), 2);
    Ok(())
}

async fn others() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    let wait = Duration::from_secs(1);
    let faults = [
        Fault::Drop,
        Fault::DropAnswer,
        Fault::DropAfterAnswer,
        Fault::Delay(wait),
        Fault::DelayAnswer(wait),
        Fault::Status(503),
        Fault::StatusAnswer(409),
    ];
    for (number, fault) in (1..).zip(faults) {
        proxy.arm(number, fault);
    }
    let mut answers = Vec::new();
    for number in 1..=faults.len() {
        let begin = Instant::now();
        let status = call(&proxy, Method::PUT, &format!("/{number}")).await.ok().map(|answer| answer.status().as_u16());
        answers.push((status, begin.elapsed() >= wait));
    }
    let (cut, done, late) = ((None, false), (Some(200), false), (Some(200), true));
    assert_eq!(answers, [cut, cut, done, late, late, (Some(503), false), (Some(409), false)]);
    let reached: Vec<String> = [2, 3, 4, 5, 7].map(|number| format!("PUT /{number} body")).into();
    assert_eq!(upstream.reached(), reached);
    let truth: Vec<Option<u16>> = proxy.calls().iter().map(|call| call.status).collect();
    assert_eq!(truth, [None, Some(200), Some(200), Some(200), Some(200), None, Some(200)]);
    Ok(())
}

async fn constant() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    proxy.arm_from(2, Fault::Status(429));
    assert_eq!(call(&proxy, Method::PUT, "/free").await?.status(), 200);
    for _ in 0..2 {
        assert_eq!(call(&proxy, Method::PUT, "/busy").await?.status(), 429);
    }
    proxy.disarm();
    assert_eq!(call(&proxy, Method::PUT, "/free").await?.status(), 200);
    Ok(())
}

async fn outage() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    let client = Client::builder().no_proxy().build()?;
    let read = || client.get(proxy.address()).timeout(Duration::from_secs(5)).send();
    read().await?;
    proxy.down();
    ensure!(read().await.is_err() && read().await.is_err(), "the proxy is down and answers");
    proxy.up();
    read().await?;
    assert_eq!(upstream.reached().len(), 2);
    Ok(())
}

async fn cut_off() -> Result<()> {
    for (moment, arrives) in [(Moment::BeforeCall, 0), (Moment::BeforeAnswer, 1)] {
        let upstream = Upstream::plain().await?;
        let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
        proxy.arm(1, Fault::CutOff(moment, Duration::from_millis(500)));
        ensure!(call(&proxy, Method::POST, "/a").await.is_err(), "{moment:?}: answered");
        ensure!(call(&proxy, Method::GET, "/a").await.is_err(), "{moment:?}: a new connection is let in");
        ensure!(upstream.reached().len() == arrives, "{moment:?}: {:?}", upstream.reached());
        tokio::time::sleep(Duration::from_secs(1)).await; // the test is about how long
        call(&proxy, Method::POST, "/a").await?;
    }
    Ok(())
}

/// A call that its sender has given up arrives all the same; a stream that is open goes on.
async fn hold(moment: Moment) -> Result<()> {
    let time = Duration::from_secs(2);
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    upstream.line("first");
    let mut watch = call(&proxy, Method::GET, "/watch").await?;
    watch.chunk().await?.context("no line")?;
    let before = upstream.reached().len();
    proxy.arm(1, Fault::Hold(moment, time));
    let start = Instant::now();
    let given_up = timeout(time / 4, call(&proxy, Method::POST, "/a")).await;
    ensure!(given_up.is_err(), "{given_up:?}");
    let arrived = upstream.reached().len() - before;
    ensure!(arrived == usize::from(moment == Moment::BeforeAnswer), "{arrived}");
    upstream.line("second");
    let early = timeout(time / 4, watch.chunk()).await;
    ensure!(early.is_err(), "{early:?}");
    call(&proxy, Method::GET, "/b").await?;
    ensure!(start.elapsed() >= time, "a new connection is let through after {:?}", start.elapsed());
    timeout(time, watch.chunk()).await.context("the stream does not go on")??;
    ensure!(upstream.reached().len() == before + 2, "{:?}", upstream.reached());
    Ok(())
}

async fn lines() -> Result<()> {
    let upstream = Upstream::plain().await?;
    let proxy = Proxy::http(&format!("http://{}", upstream.address))?;
    upstream.line("first");
    let mut watch = call(&proxy, Method::GET, "/watch").await?;
    for next in ["second", "third", "end"] {
        let line = timeout(Duration::from_secs(5), watch.chunk()).await.context("a line is delayed")??;
        ensure!(line.is_some(), "the stream has ended before {next}");
        upstream.line(next); // only now, so that a proxy that collects would wait for ever
    }
    proxy.cut();
    loop {
        match timeout(Duration::from_secs(5), watch.chunk()).await.context("the stream outlives its connection")? {
            Ok(Some(_)) => {} // the last line came before the cut
            Ok(None) => bail!("a cut stream looks like a finished one"),
            Err(_) => return Ok(()),
        }
    }
}

async fn mutual_tls() -> Result<()> {
    let (upstream, identity) = Upstream::mutual_tls().await?;
    let url = format!("https://{}", upstream.address);
    let proxy = Proxy::kubernetes(&url, &identity.ca, &identity.certificate, &identity.key)?;
    let kills = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&kills);
    proxy.on_kill(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    proxy.arm(2, Fault::KillAfterAnswer);
    for path in ["/1", "/2"] {
        assert_eq!(call(&proxy, Method::POST, path).await?.text().await?, "done");
    }
    killed(&proxy).await;
    assert_eq!(call(&proxy, Method::POST, "/3").await?.text().await?, "done");
    assert_eq!((kills.load(Ordering::SeqCst), upstream.reached().len()), (1, 3));
    let nobody = Proxy::https(&url, &identity.ca)?;
    ensure!(call(&nobody, Method::POST, "/4").await.is_err(), "the server takes clients without a certificate");
    Ok(())
}

/// The client has the answer a moment before the kill.
async fn killed(proxy: &Proxy) {
    while proxy.kills() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Each call comes on a connection of its own, so that no client retries on its own account.
async fn call(proxy: &Proxy, method: Method, path: &str) -> Result<Response> {
    let mut client = Client::builder().no_proxy().timeout(Duration::from_secs(10));
    if let Some(ca) = proxy.ca_pem() {
        client = client.tls_certs_only([Certificate::from_pem(ca.as_bytes())?]);
    }
    let body = if method == Method::GET { "" } else { "body" };
    let request = client.build()?.request(method, format!("{}{path}", proxy.address())).body(body);
    Ok(request.send().await?)
}
