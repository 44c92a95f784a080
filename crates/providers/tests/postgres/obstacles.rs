//! What users of the server do to keep a change from being made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use rekey_core::{
    SecretBytes,
    rotator::database::{Changed, Databases as _, Server},
    store::StoreErrorKind,
};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::ground::{Ground, OTHER, Slot, fence, open, told};

/// A user that may log in.
async fn granted(ground: &Ground, start: &str) -> Result<(Slot, SecretBytes)> {
    let slot = ground.slot(start)?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    Ok((slot, password))
}

/// Any user of the server.
fn anybody(ground: &Ground) -> Result<(String, SecretBytes)> {
    let (name, password) = (ground.unique("anybody"), ground.password(""));
    ground.sql(&format!("create role {name} login password '{}'", password.expose_text().unwrap_or_default()))?;
    Ok((name, password))
}

async fn pid(session: &Client) -> Result<i32> {
    Ok(session.query_one("select pg_backend_pid()", &[]).await?.try_get(0)?)
}

async fn has_ended(ground: &Ground, slot: &Slot, password: &SecretBytes) -> Result<()> {
    told(ground.login(&slot.name, password, None).await, StoreErrorKind::Denied, "no LOGIN")?;
    let role = ground.role(&slot.name).await?;
    ensure!(!role.can_login && role.sessions.count == 0 && role.fence == Some(fence("2")), "{role:?}");
    Ok(())
}

pub async fn lock_that_programs_agree_on_is_asked_of_nobody(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("advised")?;
    let (name, password) = anybody(&ground)?;
    let holder = ground.session(&name, &password).await?;
    let lock = format!("select pg_advisory_lock(hashtextextended('rekey.dev/role {}', 0))", slot.name);
    holder.batch_execute(&lock).await?;
    ground.done(&slot.grant(None, "1", &ground.password(""))).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await
}

pub async fn user_that_holds_its_own_row_ends(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = granted(&ground, "holding").await?;
    let mut config = ground.client(&slot.name, &password);
    let session = open(config.dbname(OTHER).clone()).await?;
    session.batch_execute(&format!("set role none; begin; alter role {} password 'x'", slot.name)).await?;
    let other = ground.session(&slot.name, &password).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    for session in [session, other] {
        ensure!(session.batch_execute("select 1").await.is_err(), "a session goes on");
    }
    has_ended(&ground, &slot, &password).await
}

/// Who has the login connects again as soon as it is thrown out, on several connections, and takes the row at once; some
/// keep it, some give it back to take it again.
pub async fn user_that_comes_back_at_once_ends(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = granted(&ground, "returning").await?;
    // Quicker than any check of a password.
    ground.rule(&slot.name, "trust")?;
    let (mut attackers, came) = (JoinSet::new(), Arc::new(AtomicU32::new(0)));
    for number in 0..8 {
        let (config, came) = (ground.client(&slot.name, &password), Arc::clone(&came));
        let take = format!("alter role {} password 'x'", slot.name);
        attackers.spawn(async move {
            loop {
                let Ok(session) = open(config.clone()).await else { continue };
                came.fetch_add(1, Ordering::Relaxed);
                if number % 2 == 0 {
                    session.batch_execute(&format!("set role none; begin; {take}; select pg_sleep(60)")).await.ok();
                } else {
                    while session.batch_execute(&format!("set role none; {take}")).await.is_ok() {}
                }
            }
        });
    }
    crate::ground::until("the attack", || Ok(came.load(Ordering::Relaxed) >= 8)).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    let role = ground.role(&slot.name).await?;
    ensure!(!role.can_login && role.sessions.count == 0, "{role:?}");
    attackers.shutdown().await;
    println!("{} sessions came", came.load(Ordering::Relaxed));
    Ok(())
}

pub async fn who_holds_the_row_of_a_free_user_is_told(ground: Arc<Ground>) -> Result<()> {
    let refused = async |take: &str| {
        let (slot, password) = granted(&ground, "told").await?;
        let session = ground.session(&slot.name, &password).await?;
        session.batch_execute(&format!("set role none; begin; alter role {} {take}", slot.name)).await?;
        let change = slot.grant(Some(&fence("1")), "2", &ground.password("new"));
        let start = Instant::now();
        let refused = ground.change(&change).await;
        ensure!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
        // Whoever else alters roles comes behind the user itself.
        told(refused.clone(), StoreErrorKind::Unavailable, "did not get a lock in time: the session")?;
        told(refused, StoreErrorKind::Unavailable, &format!(" with pid {}", pid(&session).await?))?;
        assert_eq!(ground.role(&slot.name).await?.fence, Some(fence("1")));
        session.batch_execute("rollback").await?;
        ground.login(&slot.name, &password, None).await?;
        ground.done(&change).await
    };
    let (password, setting) = tokio::join!(refused("password 'x'"), refused("set work_mem = '1MB'"));
    password.and(setting)
}

/// A catalog is locked by nobody but a superuser, and everybody may wait for that.
pub async fn who_waits_for_what_it_never_gets_is_no_obstacle(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = granted(&ground, "intruded").await?;
    let (name, theirs) = anybody(&ground)?;
    let writer = ground.session(&name, &theirs).await?;
    writer.batch_execute(&format!("begin; alter role {name} password 'x'")).await?;
    let (mut attackers, config) = (JoinSet::new(), ground.client(&name, &theirs));
    attackers.spawn(async move {
        let ask = "create trigger t before insert on pg_authid for each row \
                   execute function suppress_redundant_updates_trigger()";
        loop {
            let Ok(session) = open(config.clone()).await else { continue };
            session.batch_execute(ask).await.ok();
        }
    });
    crate::ground::until("the wait", || {
        let waiting = "select count(*) > 0 from pg_locks where mode = 'ShareRowExclusiveLock' and not granted";
        Ok(ground.sql(waiting)? == "t")
    })
    .await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    attackers.shutdown().await;
    writer.batch_execute("commit").await?;
    has_ended(&ground, &slot, &password).await
}

/// What is prepared holds its locks without a session, over a restart of the server.
pub async fn prepared_transaction_of_the_user_is_rolled_back(ground: Arc<Ground>) -> Result<()> {
    let slot = Slot { name: ground.unique("prep a'red \\"), owner: ground.unique("prepared o'wner \\") };
    ground.create(&slot.name, &slot.owner)?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    let (role, owner) = (escape_identifier(&slot.name), escape_identifier(&slot.owner));
    let prepare = async |id: &str, statements: &str| {
        let mut config = ground.client(&slot.name, &password);
        let session = open(config.dbname(OTHER).clone()).await?;
        let id = escape_literal(id);
        Ok(session.batch_execute(&format!("set role none; begin; {statements}; prepare transaction {id}")).await?)
    };
    let left = || ground.sql("select string_agg(gid, ',') from pg_prepared_xacts");

    // What does not alter roles is business.
    let prepared: Result<()> = prepare("business", "select pg_current_xact_id()").await;
    prepared?;
    prepare("it's \\ evil", &format!("alter role {role} password 'x'")).await?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(left()?, "business");
    has_ended(&ground, &slot, &password).await?;

    // It belongs to whom the session acts as.
    ground.done(&slot.grant(Some(&fence("2")), "3", &password)).await?;
    prepare("as owner", &format!("alter role {role} set work_mem = '1MB'; set role {owner}")).await?;
    ground.done(&slot.grant(Some(&fence("3")), "4", &password)).await?;
    assert_eq!(left()?, "business");
    Ok(())
}

/// Of many rotations at once exactly one is done, and the others see which.
pub async fn crowd_of_rotations_has_one_winner(ground: Arc<Ground>) -> Result<()> {
    let slot = Arc::new(ground.slot("crowd")?);
    let mut seen = None;
    for round in 0..4 {
        let mut crowd = JoinSet::new();
        for number in 0..12 {
            let (ground, slot, seen) = (Arc::clone(&ground), Arc::clone(&slot), seen.clone());
            crowd.spawn(async move {
                let id = format!("{round}-{number}");
                // Each kind of change among them.
                let mut change = match number % 3 {
                    0 => slot.grant(seen.as_ref(), &id, &ground.password("crowd")),
                    1 => slot.revoke(seen.as_ref(), &id),
                    _ => slot.forget(&id),
                };
                change.expected = seen;
                (change.fence.clone(), ground.change(&change).await)
            });
        }
        let (mut winners, results) = (Vec::new(), crowd.join_all().await);
        for (fence, result) in &results {
            match result {
                Ok(Changed::Done) => winners.push(fence.clone()),
                Ok(Changed::Fenced(Some(_))) => {}
                Ok(Changed::Fenced(None) | Changed::NoRole) | Err(_) => ensure!(false, "{results:?}"),
            }
        }
        ensure!(winners.len() == 1, "{winners:?}: {results:?}");
        seen = ground.role(&slot.name).await?.fence;
        assert_eq!(seen.as_ref(), winners.first());
        ensure!(results.iter().all(|(fence, result)| match result {
            Ok(Changed::Fenced(found)) => *found == seen,
            _ => Some(fence) == seen.as_ref(),
        }));
    }
    Ok(())
}

/// Who acts as the owner of the database sets for it what a session of ours starts with, too.
pub async fn settings_of_the_database_are_no_obstacle(ground: Arc<Ground>) -> Result<()> {
    let (slot, password) = granted(&ground, "settled").await?;
    let database = ground.unique("settled");
    ground.sql(&format!("create database {database} owner {}", slot.owner))?;
    let session = ground.session(&slot.name, &password).await?;
    for setting in [
        format!("role = {}", slot.owner),
        "default_transaction_read_only = on".to_owned(),
        "lock_timeout = 1".to_owned(),
        "idle_in_transaction_session_timeout = 1".to_owned(),
    ] {
        session.batch_execute(&format!("alter database {database} set {setting}")).await?;
    }
    let server = Server { database, ..ground.server() };
    let seen = ground.servers.roles(&server, &ground.admin, &[&slot.name]).await?;
    ensure!(seen.len() == 1 && !seen[0].owns && seen[0].sessions.count == 1, "{seen:?}");
    for change in
        [slot.revoke(Some(&fence("1")), "2"), slot.forget("2"), slot.grant(Some(&fence("2").ended()), "3", &password)]
    {
        assert_eq!(ground.servers.change(&server, &ground.admin, &change).await?, Changed::Done);
    }
    Ok(ground.login(&slot.name, &password, Some(&slot.owner)).await?)
}
