//! A user loses its login.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use rekey_core::{
    SecretBytes,
    rotator::database::{Changed, Databases as _},
    store::StoreErrorKind,
};
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    ground::{Ground, OTHER, Slot, fence, open, told, until},
    tap::{Tap, Then},
};

/// A user that may log in, and owns a table of its own in a schema of its owner's.
async fn working(ground: &Ground, start: &str) -> Result<(Slot, SecretBytes)> {
    let slot = ground.slot(start)?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    ground.sql(&format!("create schema {0} authorization {0}", slot.owner))?;
    let session = ground.session(&slot.name, &password).await?;
    session.batch_execute(&format!("set role none; create table {}.mine (n int)", slot.owner)).await?;
    assert_eq!(owner(ground, &slot)?, slot.name);
    Ok((slot, password))
}

fn owner(ground: &Ground, slot: &Slot) -> Result<String> {
    ground.sql(&format!("select tableowner from pg_tables where schemaname = '{}'", slot.owner))
}

pub async fn login_ends(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "ends").await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "it has no LOGIN")?;
    let role = ground.role(&slot.name).await?;
    assert_eq!((role.can_login, role.fence), (false, Some(fence("2"))));
    Ok(())
}

pub async fn objects_go_to_owner(ground: Arc<Ground>) -> Result<()> {
    let (slot, _) = working(&ground, "objects").await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(owner(&ground, &slot)?, slot.owner);
    Ok(())
}

pub async fn sessions_have_ended(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "sessions").await?;
    let sessions = [ground.session(&slot.name, &password).await?, ground.session(&slot.name, &password).await?];
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(ground.role(&slot.name).await?.sessions.count, 0);
    for session in sessions {
        ensure!(session.batch_execute("select 1").await.is_err(), "a session goes on");
    }
    Ok(())
}

pub async fn session_that_comes_before_the_end_of_the_login_ends_too(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "between").await?;
    let (come, user, other) = (Arc::new(Mutex::new(None)), slot.name.clone(), Arc::clone(&ground));
    let kept = Arc::clone(&come);
    let tap = Tap::start(&ground.postgres.address(), b"NOLOGIN", move || {
        let (kept, user, password, other) = (Arc::clone(&kept), user.clone(), password.clone(), Arc::clone(&other));
        async move {
            *kept.lock().await = other.session(&user, &password).await.ok();
            Then::PassOn
        }
    })
    .await?;
    let server = Ground::plain(tap.port());
    let change = slot.revoke(Some(&fence("1")), "2");
    assert_eq!(Ground::insecure().change(&server, &ground.admin, &change).await?, Changed::Done);
    let Some(session) = come.lock().await.take() else { bail!("there was no session") };
    assert_eq!(ground.role(&slot.name).await?.sessions.count, 0);
    ensure!(session.batch_execute("select 1").await.is_err(), "the session goes on");
    Ok(())
}

/// The server does not list a session before it is ready, and lets its client delay that.
pub async fn session_that_nobody_sees_ends_too(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "hidden").await?;
    let other = ground.admin(&ground.unique("other"))?;
    let hide = async |user: &str, password: &SecretBytes, seconds: u32| {
        let before = ground.noted(&["authorized: user=", &format!("user={user} ")])?;
        let mut config = ground.client(user, password);
        let config = config.dbname(OTHER).options(format!("-c post_auth_delay={seconds}")).clone();
        let session = tokio::spawn(open(config));
        until("a login", || Ok(ground.noted(&["authorized: user=", &format!("user={user} ")])? > before)).await?;
        anyhow::Ok(session)
    };
    let theirs = hide(&other.user, &other.password, 4).await?;
    let hidden = hide(&slot.name, &password, 60).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    // Another signal may have woken it before.
    if let Ok(hidden) = hidden.await? {
        ensure!(hidden.batch_execute("select 1").await.is_err(), "the session goes on");
    }
    theirs.await?.map_err(|error| error.context("somebody else's session has ended"))?;
    Ok(())
}

/// On a busy server some session is always about to start.
pub async fn others_that_come_and_go_are_no_obstacle(ground: Arc<Ground>) -> Result<()> {
    let (slot, _) = working(&ground, "busy").await?;
    let other = ground.admin(&ground.unique("busy"))?;
    ground.rule(&other.user, "trust")?;
    let mut crowd = JoinSet::new();
    let mut config = ground.client(&other.user, &other.password);
    let config = config.options("-c post_auth_delay=1").clone();
    for number in 0..20 {
        let config = config.clone();
        crowd.spawn(async move {
            tokio::time::sleep(Duration::from_millis(50 * number)).await;
            while open(config.clone()).await.is_ok() {}
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let changed = ground.change(&slot.revoke(Some(&fence("1")), "2")).await;
    ensure!(crowd.try_join_next().is_none(), "nobody comes any more");
    crowd.shutdown().await;
    assert_eq!(changed?, Changed::Done);
    Ok(())
}

pub async fn session_that_holds_a_lock_is_no_obstacle(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "locked").await?;
    let session = ground.session(&slot.name, &password).await?;
    session.batch_execute(&format!("set role none; begin; lock table {}.mine", slot.owner)).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(owner(&ground, &slot)?, slot.owner);
    Ok(())
}

pub async fn lock_of_others_keeps_objects_and_not_the_login(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "waiting").await?;
    let session = ground.session(&slot.name, &password).await?;
    let other = ground.session(&ground.admin.user, &ground.admin.password).await?;
    let pid: i32 = other.query_one("select pg_backend_pid()", &[]).await?.try_get(0)?;
    other.batch_execute(&format!("begin; lock table {}.mine", slot.owner)).await?;
    let change = slot.revoke(Some(&fence("1")), "2");
    for _ in 0..2 {
        let refused = ground.change(&change).await;
        let part = format!("did not get a lock in time: the session with pid {pid} has not ended its transaction");
        told(refused.clone(), StoreErrorKind::Unavailable, &part)?;
        let part = format!(
            "; user {0:?} can no longer log in and its sessions have ended, but what it owns in this database is \
             still its own; to hand that over by hand, run there as a superuser: REASSIGN OWNED BY \"{0}\" TO \"{1}\"",
            slot.name, slot.owner
        );
        told(refused, StoreErrorKind::Unavailable, &part)?;
        let role = ground.role(&slot.name).await?;
        assert_eq!((role.can_login, role.fence, role.owns), (false, Some(fence("2")), true));
        ensure!(session.batch_execute("select 1").await.is_err(), "the session goes on");
        told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "no LOGIN")?;
    }
    other.batch_execute("rollback").await?;
    ground.done(&change).await?;
    assert_eq!(owner(&ground, &slot)?, slot.owner);
    ensure!(!ground.role(&slot.name).await?.owns);
    Ok(())
}

/// What a later rotation has given the user is not taken by an earlier one that is late with its last part.
pub async fn later_rotation_keeps_what_is_left(ground: Arc<Ground>) -> Result<()> {
    let (slot, _) = working(&ground, "late").await?;
    let (new, other) = (ground.password("new"), Arc::clone(&ground));
    let grant = Arc::new(slot.grant(Some(&fence("2")), "3", &new));
    // Its second transaction that writes.
    let begun = Arc::new(AtomicU32::new(0));
    let tap = Tap::start(&ground.postgres.address(), b"READ WRITE", move || {
        let (other, grant, second) =
            (Arc::clone(&other), Arc::clone(&grant), begun.fetch_add(1, Ordering::SeqCst) == 1);
        async move {
            if second {
                other.done(&grant).await.ok();
            }
            Then::PassOn
        }
    })
    .await?;
    let server = Ground::plain(tap.port());
    let late = Ground::insecure().change(&server, &ground.admin, &slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(late, Changed::Fenced(Some(fence("3"))));
    assert_eq!(owner(&ground, &slot)?, slot.name);
    Ok(ground.login(&slot.name, &new, Some(&slot.owner)).await?)
}

pub async fn forgotten_password_is_valid_no_more(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "forgotten").await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    let again = format!("alter role {} login", slot.name);
    ground.sql(&again)?;
    ground.login(&slot.name, &password, None).await?;
    ground.sql(&format!("alter role {} nologin", slot.name))?;

    // Another rotation may not.
    let mut other = slot.forget("2");
    other.expected = None;
    assert_eq!(ground.change(&other).await?, Changed::Fenced(Some(fence("2"))));
    ground.sql(&again)?;
    ground.login(&slot.name, &password, None).await?;
    ground.sql(&format!("alter role {} nologin", slot.name))?;

    for _ in 0..2 {
        ground.done(&slot.forget("2")).await?;
        let role = ground.role(&slot.name).await?;
        assert_eq!((role.can_login, role.fence), (false, Some(fence("2").ended())));
    }
    ground.sql(&again)?;
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "its password is another one")?;
    ensure!(!ground.postgres.login(&slot.name, password.expose_text().unwrap_or_default())?, "by another client");
    // The next rotation takes it from there.
    ground.done(&slot.grant(Some(&fence("2").ended()), "3", &password)).await?;
    Ok(ground.login(&slot.name, &password, Some(&slot.owner)).await?)
}

pub async fn repeated_is_done_again(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "repeated").await?;
    let change = slot.revoke(Some(&fence("1")), "2");
    for _ in 0..2 {
        ground.done(&change).await?;
    }
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "no LOGIN")?;
    // And back.
    ground.done(&slot.grant(Some(&fence("2")), "3", &password)).await?;
    Ok(ground.login(&slot.name, &password, Some(&slot.owner)).await?)
}

pub async fn missing_rights_are_told_with_what_is_left(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "rights").await?;
    let server = ground.server();
    let admin = ground.admin(&ground.unique("weak"))?;
    let (name, owner, user) = (&slot.name, &slot.owner, &admin.user);
    let session = ground.session(name, &password).await?;
    let revoke = slot.revoke(Some(&fence("1")), "2");
    let again = async |part: &str| {
        let refused = ground.servers.change(&server, &admin, &revoke).await;
        told(refused.clone(), StoreErrorKind::Denied, &format!("GRANT \"{owner}\" TO \"{user}\""))?;
        told(refused, StoreErrorKind::Denied, &format!("user {name:?} can no longer log in{part}"))?;
        told(ground.login(name, &password, None).await, StoreErrorKind::Denied, "no LOGIN")
    };
    again(", but its sessions may go on").await?;
    session.batch_execute("select 1").await?;
    ground.sql(&format!("grant pg_signal_backend, {name} to {user}; alter role {name} noinherit"))?;
    again(" and its sessions have ended, but what it owns in this database").await?;
    ensure!(session.batch_execute("select 1").await.is_err(), "the session goes on");

    ground.sql(&format!("alter role {user} nocreaterole"))?;
    let refused = ground.servers.change(&server, &admin, &slot.grant(Some(&fence("2")), "3", &password)).await;
    told(refused, StoreErrorKind::Denied, &format!("ALTER ROLE \"{user}\" CREATEROLE"))?;
    assert_eq!(ground.role(name).await?.fence, Some(fence("2")));

    // What the text says is enough; here for the one role, and without a right on any other.
    ground.sql(&format!("alter role {user} createrole; grant {name} to {user} with admin option"))?;
    ground.sql(&format!("grant {owner} to {user}"))?;
    assert_eq!(ground.servers.change(&server, &admin, &revoke).await?, Changed::Done);
    Ok(())
}

pub async fn lost_answer_is_made_up_for_by_a_repeat(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "lost").await?;
    let servers = Ground::insecure();
    let new = ground.password("new");
    for change in [slot.grant(Some(&fence("1")), "2", &new), slot.revoke(Some(&fence("2")), "3")] {
        let armed = Arc::new(AtomicBool::new(true));
        let tap = Tap::start(&ground.postgres.address(), b"COMMIT\0", move || {
            let then = if armed.swap(false, Ordering::SeqCst) { Then::DropAnswer } else { Then::PassOn };
            async move { then }
        })
        .await?;
        let server = Ground::plain(tap.port());
        let lost = servers.change(&server, &ground.admin, &change).await;
        told(lost, StoreErrorKind::Unavailable, "closed the connection before it answered")?;
        assert_eq!(ground.role(&slot.name).await?.fence.as_ref(), Some(&change.fence), "it was done");
        assert_eq!(servers.change(&server, &ground.admin, &change).await?, Changed::Done);
    }
    for password in [&password, &new] {
        told(ground.login(&slot.name, password, None).await, StoreErrorKind::Denied, "no LOGIN")?;
    }
    assert_eq!(owner(&ground, &slot)?, slot.owner);
    Ok(())
}

pub async fn lost_request_changes_nothing(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "cut").await?;
    let tap = Tap::start(&ground.postgres.address(), b"COMMIT\0", std::future::pending).await?;
    let change = slot.grant(Some(&fence("1")), "2", &ground.password("new"));
    let server = Ground::plain(tap.port());
    let servers = Ground::insecure();
    let lost = tokio::time::timeout(Duration::from_secs(15), servers.change(&server, &ground.admin, &change)).await?;
    told(lost, StoreErrorKind::Unavailable, "within 10 seconds")?;
    drop(tap);
    ground.login(&slot.name, &password, None).await?;
    ground.done(&change).await
}
