//! Two rotations never alter a role unseen by each other.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use futures::future::join_all;
use rekey_core::{
    rotator::database::{Changed, Databases as _, Fence},
    store::StoreErrorKind,
};
use rekey_testkit::postgres::{PASSWORD, SUPERUSER};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    ground::{Ground, OTHER, Slot, fence, open, told},
    tap::{Tap, Then},
};

pub async fn exactly_one_of_racing_rotations_is_done(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("race")?;
    let mut seen: Option<Fence> = None;
    for round in 0..5 {
        let passwords = [0, 1, 2, 3].map(|_| ground.password(""));
        let changes: Vec<_> = passwords.iter().zip("abcd".chars()).collect();
        let changes: Vec<_> =
            changes.iter().map(|(password, id)| slot.grant(seen.as_ref(), &format!("{round}{id}"), password)).collect();
        let results = join_all(changes.iter().map(|change| ground.change(change))).await;
        let role = ground.role(&slot.name).await?;
        let mut winners = 0;
        for ((result, change), password) in results.into_iter().zip(&changes).zip(&passwords) {
            match result? {
                Changed::Done => {
                    winners += 1;
                    assert_eq!(role.fence.as_ref(), Some(&change.fence));
                    ground.login(&slot.name, password, None).await?;
                }
                Changed::Fenced(found) => assert_eq!(found, role.fence),
                Changed::NoRole => bail!("the role is there"),
            }
        }
        assert_eq!(winners, 1);
        seen = role.fence;
    }
    Ok(())
}

pub async fn rotations_by_other_databases_are_kept_apart_too(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("across")?;
    let (late, early) = (ground.password("late"), ground.password("early"));
    // The late one has read the comment and not altered anything when the early one comes and goes.
    let (reached, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = (Arc::clone(&reached), Arc::clone(&go_on));
    let tap = Tap::start(&ground.postgres.address(), b"ALTER ROLE", move || {
        let (reached, go_on) = held.clone();
        async move {
            reached.add_permits(1);
            go_on.acquire().await.map(SemaphorePermit::forget).ok();
            Then::PassOn
        }
    })
    .await?;
    let change = slot.grant(None, "late", &late);
    let servers = Ground::insecure();
    let server = Ground::plain(tap.port());
    let behind = servers.change(&server, &ground.admin, &change);
    let ahead = async {
        reached.acquire().await?.forget();
        let other = rekey_core::rotator::database::Server { database: OTHER.to_owned(), ..ground.server() };
        let done = ground.servers.change(&other, &ground.admin, &slot.grant(None, "early", &early)).await;
        go_on.add_permits(10);
        anyhow::Ok(done?)
    };
    let (behind, ahead) = tokio::join!(behind, ahead);
    assert_eq!(ahead?, Changed::Done);
    assert_eq!(behind?, Changed::Fenced(Some(fence("early"))), "it looks once more");
    assert_eq!(ground.role(&slot.name).await?.fence, Some(fence("early")));
    ground.login(&slot.name, &early, None).await?;
    Ok(())
}

/// Refused, with nothing changed.
async fn refused(ground: &Ground, slot: &Slot, expected: Option<&Fence>, found: &Fence) -> Result<()> {
    let password = ground.password("refused");
    let before = state(ground, slot)?;
    for change in [slot.grant(expected, "mine", &password), slot.revoke(expected, "mine")] {
        assert_eq!(ground.change(&change).await?, Changed::Fenced(Some(found.clone())));
    }
    assert_eq!(state(ground, slot)?, before);
    Ok(())
}

fn state(ground: &Ground, slot: &Slot) -> Result<String> {
    let columns = "rolcanlogin, rolpassword, shobj_description(a.oid, 'pg_authid'), setconfig";
    let from = "pg_authid a left join pg_db_role_setting on setrole = a.oid";
    ground.sql(&format!("select {columns} from {from} where rolname = '{}'", slot.name))
}

pub async fn foreign_fence_refuses(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("foreign")?;
    ground.done(&slot.grant(None, "1", &ground.password(""))).await?;
    for expected in [None, Some(fence("0"))] {
        refused(&ground, &slot, expected.as_ref(), &fence("1")).await?;
    }
    let other = Fence { cluster: "cluster-2".to_owned(), ..fence("mine") };
    ground.write_comment(&slot.name, "rekey.dev/rotation cluster=cluster-2 schedule=schedule-1 id=mine")?;
    refused(&ground, &slot, Some(&fence("1")), &other).await
}

pub async fn vanished_fence_refuses(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("vanished")?;
    let change = slot.grant(Some(&fence("0")), "1", &ground.password(""));
    assert_eq!(ground.change(&change).await?, Changed::Fenced(None));
    ensure!(!ground.role(&slot.name).await?.can_login);
    Ok(())
}

pub async fn unreadable_fence_refuses(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("unreadable")?;
    ground.write_comment(&slot.name, "team shop\nrekey.dev/rotation cluster=cluster-1 id=mine")?;
    let seen = ground.role(&slot.name).await?.fence;
    assert_eq!(seen, Some(Fence::UNREADABLE));
    for expected in [None, seen] {
        refused(&ground, &slot, expected.as_ref(), &Fence::UNREADABLE).await?;
    }
    Ok(())
}

pub async fn comment_of_people_stays(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("comment")?;
    let human = "team 'shop'; -- $$ \\n \"ünï\"\n\nsecond\\";
    ground.write_comment(&slot.name, human)?;
    ground.done(&slot.grant(None, "1", &ground.password(""))).await?;
    let line = "rekey.dev/rotation cluster=cluster-1 schedule=schedule-1 id=";
    assert_eq!(ground.comment(&slot.name)?, format!("{human}\n{line}1"));
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(ground.comment(&slot.name)?, format!("{human}\n{line}2"));
    Ok(())
}

pub async fn settings_of_others_do_not_weaken_it(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("settings")?;
    let admin = ground.admin(&ground.unique("misled"))?;
    ground.sql(&format!("grant {} to {} with admin option", slot.name, admin.user))?;
    let functions = "create schema evil; grant usage on schema evil to public; \
        create function evil.shobj_description(oid, name) returns text language sql as 'select null'; \
        create function evil.pg_backend_pid() returns int language sql as 'select 0'";
    ground.sql(functions)?;
    for setting in [
        "search_path = evil, pg_catalog",
        "standard_conforming_strings = off",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
    ] {
        ground.sql(&format!("alter role {} set {setting}", admin.user))?;
    }
    ground.write_comment(&slot.name, "it\\'s ours")?;
    let password = ground.password("\\'");
    let server = ground.server();
    let change = slot.grant(None, "1", &password);
    assert_eq!(ground.servers.change(&server, &admin, &change).await?, Changed::Done);
    ensure!(ground.comment(&slot.name)?.starts_with("it\\'s ours\nrekey.dev/"), "{}", ground.comment(&slot.name)?);
    ground.login(&slot.name, &password, None).await?;
    let second = ground.servers.change(&server, &admin, &slot.grant(None, "2", &password)).await?;
    assert_eq!(second, Changed::Fenced(Some(fence("1"))));

    // A transaction that sees nothing newer than its start would take all of these for the first.
    let seen = fence("1");
    let racing = ["2", "3", "4", "5"].map(|id| slot.grant(Some(&seen), id, &password));
    let results = join_all(racing.iter().map(|change| ground.servers.change(&server, &admin, change))).await;
    let done = results.iter().filter(|result| matches!(result, Ok(Changed::Done))).count();
    assert_eq!(done, 1, "{results:?}");
    Ok(())
}

pub async fn fence_that_cannot_be_written_is_refused(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("unwritable")?;
    for id in ["", "two words", "two\nlines", "quote'", &"x".repeat(101)] {
        let refused = ground.change(&slot.grant(None, id, &ground.password(""))).await;
        told(refused, StoreErrorKind::Invalid, "cannot stand in the comment")?;
    }
    ensure!(!ground.role(&slot.name).await?.can_login);
    Ok(())
}

/// The server holds a gigabyte, and nobody reads that.
pub async fn comment_that_is_too_long_is_refused_and_stays(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("lengthy")?;
    let text = "the comment of role ";
    let line = "\nrekey.dev/rotation cluster=cluster-1 schedule=schedule-1 id=1";
    for length in [8193 - line.len(), 8193, 5 * 1024 * 1024] {
        let long = "x".repeat(length);
        let statement = format!("comment on role {} is '{long}'", slot.name);
        let config = ground.client(SUPERUSER, &PASSWORD.into()).options("-c log_statement=none").clone();
        open(config).await?.batch_execute(&statement).await?;
        for change in [slot.grant(None, "1", &ground.password("")), slot.revoke(None, "1")] {
            told(ground.change(&change).await, StoreErrorKind::Invalid, text)?;
        }
        if length > 8192 {
            let seen = ground.servers.roles(&ground.server(), &ground.admin, &[&slot.name]).await;
            told(seen, StoreErrorKind::Invalid, &format!("COMMENT ON ROLE \"{}\" IS '…'", slot.name))?;
        }
        let kept = format!("select length(shobj_description('{}'::regrole, 'pg_authid'))", slot.name);
        assert_eq!(ground.sql(&kept)?, length.to_string());
    }
    ground.write_comment(&slot.name, &"x".repeat(8192 - line.len()))?;
    ground.done(&slot.grant(None, "1", &ground.password(""))).await?;
    assert_eq!(ground.role(&slot.name).await?.fence, Some(fence("1")));
    Ok(())
}
