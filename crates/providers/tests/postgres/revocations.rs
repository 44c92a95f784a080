//! A user loses its login.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use rekey_core::{
    SecretBytes,
    rotator::database::{Changed, Databases as _},
    store::StoreErrorKind,
};
use tokio::sync::Mutex;

use crate::{
    ground::{Ground, Slot, fence, told},
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
    let tap = Tap::start(&ground.postgres.address(), b"REASSIGN", move || {
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

pub async fn session_that_holds_a_lock_is_no_obstacle(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "locked").await?;
    let session = ground.session(&slot.name, &password).await?;
    session.batch_execute(&format!("set role none; begin; lock table {}.mine", slot.owner)).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(owner(&ground, &slot)?, slot.owner);
    Ok(())
}

pub async fn lock_of_others_is_given_up_and_nothing_is_changed(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "waiting").await?;
    let other = ground.session(&ground.admin.user, &ground.admin.password).await?;
    other.batch_execute(&format!("begin; lock table {}.mine", slot.owner)).await?;
    let change = slot.revoke(Some(&fence("1")), "2");
    told(ground.change(&change).await, StoreErrorKind::Unavailable, "did not get a lock within 5 seconds")?;
    ground.login(&slot.name, &password, Some(&slot.owner)).await?;
    assert_eq!(ground.role(&slot.name).await?.fence, Some(fence("1")));
    other.batch_execute("rollback").await?;
    ground.done(&change).await
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

pub async fn missing_rights_are_told_and_nothing_is_changed(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = working(&ground, "rights").await?;
    let server = ground.server();
    let admin = ground.admin(&ground.unique("weak"))?;
    let revoke = slot.revoke(Some(&fence("1")), "2");
    let refused = ground.servers.change(&server, &admin, &revoke).await;
    told(refused, StoreErrorKind::Denied, &format!("GRANT \"{}\" TO \"{}\"", slot.owner, admin.user))?;
    ground.login(&slot.name, &password, None).await?;

    ground.sql(&format!("alter role {} nocreaterole", admin.user))?;
    let refused = ground.servers.change(&server, &admin, &slot.grant(Some(&fence("1")), "2", &password)).await;
    told(refused, StoreErrorKind::Denied, &format!("ALTER ROLE \"{}\" CREATEROLE", admin.user))?;
    assert_eq!(ground.role(&slot.name).await?.fence, Some(fence("1")));

    // What the text says is enough; here for the one role, and without a right on any other.
    let (name, owner) = (&slot.name, &slot.owner);
    let user = &admin.user;
    ground.sql(&format!("alter role {user} createrole; grant {name} to {user} with admin option"))?;
    ground.sql(&format!("grant {owner} to {user}; grant pg_signal_backend to {user}"))?;
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
