//! The cases every store must pass.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rekey_api::store::Capability;
use rekey_core::store::{Allowance, Locator, Pin, StoreErrorKind};

use crate::{
    keeper::Keeper,
    stub,
    subject::{CANARY, Opened, Subject, open, open_for, opened, refused, write},
};

type Shared = Arc<dyn Subject>;

/// A key that no other case uses.
pub fn key(case: &str) -> String {
    format!("shop/{case}-{}", uuid::Uuid::now_v7())
}

pub async fn found(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("found"));
    let value = subject.value(CANARY);
    let version = subject.put(&key, &value).await?;
    ensure!(store.read(&key).await? == (value, version));
    Ok(())
}

/// These times distinguish an old version from a new one.
pub async fn dated(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("dated"));
    let mut times = Vec::new();
    for text in ["one", "two"] {
        subject.put(&key, &subject.value(text)).await?;
        let locators = [key.clone(), subject.path("shop/nobody")].map(|key| Locator { key, pin: Pin::Current });
        let single = store.store.read(&locators[0]).await?.created;
        let several = store.store.read_all(&locators, &Allowance::new(usize::MAX)).await.swap_remove(0)?.created;
        ensure!(several == single.filter(|_| subject.has_times_in_batches()), "{single:?} {several:?}");
        times.push(single);
        tokio::time::sleep(Duration::from_millis(1_100)).await; // some services count seconds
    }
    match (subject.has_times(), times.as_slice()) {
        (true, [Some(one), Some(two)]) => {
            ensure!(one < two, "{one} {two}");
            ensure!(one.timestamp() > 1_750_000_000 && (*two - *one).num_seconds() < 60, "{one} {two}"); // in seconds
        }
        (false, [None, None]) => {}
        _ => anyhow::bail!("{times:?}"),
    }
    Ok(())
}

pub async fn missing(subject: Shared) -> Result<()> {
    let store = opened(&*subject, None).await?;
    let error = refused(&*subject, store.read(&subject.path("shop/nobody")).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("shop/nobody"), "{error}");
    Ok(())
}

pub async fn probed(subject: Shared) -> Result<()> {
    let store = opened(&*subject, None).await?;
    let probe = store.store.probe().await?;
    ensure!(probe.identity.contains(subject.identity()), "{probe:?}");
    ensure!(probe.capabilities.starts_with(&[Capability::Read, Capability::Write]), "{probe:?}");
    for secret in subject.secrets() {
        ensure!(!format!("{probe:?}").contains(&secret), "{probe:?}");
    }
    Ok(())
}

pub async fn read_only(subject: Shared) -> Result<()> {
    let (key, keeper) = (subject.key("read-only"), Arc::new(Keeper::default()));
    subject.good(&keeper);
    let store = open_for("ReadOnly", subject.provider(None), keeper).await?;
    let base = subject.put(&key, &subject.value("old")).await?;
    ensure!(!store.store.probe().await?.capabilities.contains(&Capability::Write));
    let error =
        refused(&*subject, store.write(&key, Some(&base), &subject.value(CANARY)).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("spec.access"), "{error}");
    ensure!(store.read(&key).await? == (subject.value("old"), base));
    Ok(())
}

async fn guarded(subject: &dyn Subject) -> Result<(Opened, String)> {
    let (address, key) = subject.guarded();
    let keeper = Arc::new(Keeper::default());
    subject.bad(&keeper);
    Ok((open(subject.provider(address.as_deref()), keeper).await?, key))
}

pub async fn denied(subject: Shared) -> Result<()> {
    let (store, key) = guarded(&*subject).await?;
    refused(&*subject, store.store.probe().await, StoreErrorKind::Denied)?;
    refused(&*subject, store.read(&key).await, StoreErrorKind::Denied)?;
    let value = subject.value(CANARY);
    refused(&*subject, store.write(&key, Some("1"), &value).await, StoreErrorKind::Denied)?;
    let before = store.keeper.reads();
    refused(&*subject, store.read(&key).await, StoreErrorKind::Denied)?;
    ensure!(store.keeper.reads() > before, "the credential is read afresh when it is refused");
    ensure!(store.keeper.reads() <= before + 2, "but only once");
    Ok(())
}

pub async fn fixed_later(subject: Shared) -> Result<()> {
    let (store, key) = guarded(&*subject).await?;
    refused(&*subject, store.read(&key).await, StoreErrorKind::Denied)?;
    subject.good(&store.keeper);
    let (value, _) = store.read(&key).await?;
    ensure!(value == subject.value(CANARY));
    let reads = store.keeper.reads();
    store.read(&key).await?;
    ensure!(store.keeper.reads() == reads, "a credential that works is not read each time");
    Ok(())
}

pub async fn no_credential(subject: Shared) -> Result<()> {
    let store = open(subject.provider(None), Arc::new(Keeper::default())).await?;
    refused(&*subject, store.store.probe().await, StoreErrorKind::Invalid)?;
    Ok(())
}

pub async fn unavailable(subject: Shared) -> Result<()> {
    let address = format!("http://127.0.0.1:{}", rekey_testkit::process::free_port()?);
    let store = opened(&*subject, Some(&address)).await?;
    let error = refused(&*subject, store.read(&subject.path("shop/a")).await, StoreErrorKind::Unavailable)?;
    ensure!(error.text.contains("is not responding"), "{error}");
    refused(&*subject, store.store.probe().await, StoreErrorKind::Unavailable)?;
    let value = subject.value(CANARY);
    refused(&*subject, store.write(&subject.path("shop/a"), Some("1"), &value).await, StoreErrorKind::Unavailable)?;
    Ok(())
}

pub async fn silent(subject: Shared) -> Result<()> {
    let address = stub::answering(|_| String::new()).await?;
    let store = opened(&*subject, Some(&address)).await?;
    let start = Instant::now();
    let error = refused(&*subject, store.read(&subject.path("shop/a")).await, StoreErrorKind::Unavailable)?;
    ensure!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    ensure!(error.text.contains("is not responding"), "{error}");
    Ok(())
}

pub async fn strange_answers(subject: Shared) -> Result<()> {
    use StoreErrorKind::{Invalid, Malformed, Throttled, Unavailable};
    let huge = format!("{{\"a\":\"{}\"}}", "a".repeat(2 * 1024 * 1024));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{huge}");
    let quote = format!("{{\"errors\":[\"{CANARY}\"],\"__type\":\"Strange\",\"message\":\"{CANARY}\"}}");
    let table = [
        ("a page", stub::http("200 OK", "", "<html>"), Malformed, None),
        ("other JSON", stub::http("200 OK", "", subject.other_json()), Malformed, None),
        ("deep JSON", stub::http("200 OK", "", &deep), Malformed, None),
        ("huge", stub::http("200 OK", "", &huge), Malformed, None),
        ("huge without length", endless, Malformed, None),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), Unavailable, None),
        // Only a store itself can say that a key is missing, and what counts as missing may be deleted.
        ("no such page", stub::http("404 Not Found", "", "<html>"), Invalid, None),
        ("no such route", stub::http("404 Not Found", "", &quote), Invalid, None),
        ("slow down", stub::http("429 Too Many Requests", "retry-after: 7\r\n", &quote), Throttled, Some(7)),
        ("long wait", stub::http("429 Too Many Requests", "retry-after: 86400\r\n", &quote), Throttled, Some(300)),
        ("fault", stub::http("500 Internal Server Error", "", &quote), Unavailable, None),
        ("down", stub::http("503 Service Unavailable", "", &quote), Unavailable, None),
    ];
    for (name, reply, kind, wait) in table {
        let address = stub::answering(move |_| reply.clone()).await?;
        let store = opened(&*subject, Some(&address)).await?;
        let read = store.read(&subject.path("shop/a")).await;
        ensure!(read.as_ref().is_err_and(|error| error.kind == kind), "{name}: {:?}", read.err());
        let error = refused(&*subject, read, kind)?;
        ensure!(error.retry_after == wait.map(Duration::from_secs), "{name}: {error:?}");
    }
    Ok(())
}

pub async fn redirect(subject: Shared) -> Result<()> {
    let followed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&followed);
    let target = stub::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        stub::http("200 OK", "", "{}")
    })
    .await?;
    for status in ["302 Found", "307 Temporary Redirect"] {
        let (asked, target) = (Arc::new(AtomicUsize::new(0)), target.clone());
        let count = Arc::clone(&asked);
        let address = stub::answering(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            stub::http(status, &format!("location: {target}/\r\n"), "")
        })
        .await?;
        let store = opened(&*subject, Some(&address)).await?;
        ensure!(store.read(&subject.path("shop/a")).await.is_err(), "{status}: a redirect is no answer");
        ensure!(asked.load(Ordering::SeqCst) > 0, "{status}: nothing was asked");
        let followed = followed.load(Ordering::SeqCst);
        ensure!(followed == 0, "{status}: the redirect was followed {followed} times");
    }
    Ok(())
}

pub async fn big(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("big"));
    let value = subject.value(&CANARY.repeat(subject.room() / CANARY.len()));
    let version = subject.put(&key, &value).await?;
    ensure!(store.read(&key).await? == (value, version));
    Ok(())
}

pub async fn unicode(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("unicode"));
    let value = subject.value("grüße \u{1f511} \"quoted\" \\ \n\t");
    let version = store.write(&key, None, &value).await?;
    ensure!(store.read(&key).await? == (value, version));
    Ok(())
}

pub async fn version_pin(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("pin"));
    let (old, new) = (subject.value("old"), subject.value("new"));
    let first = subject.put(&key, &old).await?;
    let second = subject.put(&key, &new).await?;
    ensure!(store.read_at(&key, Pin::Version(first.clone())).await? == (old, first));
    ensure!(store.read(&key).await? == (new, second));
    let never = if subject.is_idempotent() { uuid::Uuid::now_v7().to_string() } else { "99".to_owned() };
    refused(&*subject, store.read_at(&key, Pin::Version(never)).await, StoreErrorKind::NotFound)?;
    Ok(())
}

pub async fn write_then_read(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("write"));
    let base = subject.put(&key, &subject.value("old")).await?;
    let value = subject.value(CANARY);
    let version = store.write(&key, Some(&base), &value).await?;
    ensure!(version != base);
    ensure!(store.read(&key).await? == (value, version.clone()));
    let next = subject.value("next");
    let third = store.write(&key, Some(&version), &next).await?;
    ensure!(store.read(&key).await? == (next, third));
    Ok(())
}

pub async fn wrong_base(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("conflict"));
    let value = subject.value(CANARY);
    refused(&*subject, store.write(&key, Some("7"), &value).await, StoreErrorKind::Conflict)?;
    let first = subject.put(&key, &subject.value("first")).await?;
    let theirs = subject.value("theirs");
    let second = subject.put(&key, &theirs).await?;
    refused(&*subject, store.write(&key, Some(&first), &value).await, StoreErrorKind::Conflict)?;
    refused(&*subject, store.write(&key, None, &value).await, StoreErrorKind::Conflict)?;
    ensure!(store.read(&key).await? == (theirs, second), "their value stays");
    Ok(())
}

pub async fn written_twice(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("twice"));
    let base = subject.put(&key, &subject.value("old")).await?;
    let value = subject.value(CANARY);
    let write = write(&key, Some(&base), &value);
    let version = store.store.write(&write).await?;
    let again = store.store.write(&write).await;
    if subject.is_idempotent() {
        ensure!(again? == version);
    } else {
        refused(&*subject, again, StoreErrorKind::Conflict)?;
    }
    ensure!(store.read(&key).await? == (value, version));
    Ok(())
}

pub async fn create(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("create"));
    let value = subject.value(CANARY);
    let write = write(&key, None, &value);
    let version = store.store.write(&write).await?;
    ensure!(store.read(&key).await? == (value, version.clone()));
    if subject.is_idempotent() {
        ensure!(store.store.write(&write).await? == version);
    }
    let other = subject.value("other");
    refused(&*subject, store.write(&key, None, &other).await, StoreErrorKind::Conflict)?;
    Ok(())
}

pub async fn racing_writes(subject: Shared) -> Result<()> {
    let (store, key) = (opened(&*subject, None).await?, subject.key("race"));
    let base = subject.put(&key, &subject.value("old")).await?;
    let (one, two) = (subject.value("one"), subject.value("two"));
    let (first, second) = tokio::join!(store.write(&key, Some(&base), &one), store.write(&key, Some(&base), &two));
    let winners = [(&first, &one), (&second, &two)]
        .into_iter()
        .filter_map(|(result, value)| Some((result.as_ref().ok()?, value)));
    let winners: Vec<_> = winners.collect();
    ensure!(winners.len() <= 1, "both writes won: {first:?} {second:?}");
    for result in [&first, &second] {
        ensure!(result.as_ref().err().is_none_or(|error| error.kind == StoreErrorKind::Conflict), "{result:?}");
    }
    if let [(version, value)] = winners[..] {
        ensure!(store.read(&key).await? == (value.clone(), version.clone()));
    }
    Ok(())
}
