//! A user gets a new password.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chrono::Utc;
use rekey_core::{
    rotator::database::{Alteration, Changed, Databases as _, Sessions},
    store::StoreErrorKind,
};
use rekey_testkit::postgres::{PASSWORD, SUPERUSER};

use crate::ground::{ADMIN, Ground, OTHER, fence, open, told};

pub async fn new_password_logs_in_and_old_does_not(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("grant")?;
    let (old, new) = (ground.password("old"), ground.password("new"));
    ground.done(&slot.grant(None, "1", &old)).await?;
    ground.login(&slot.name, &old, None).await?;
    ground.done(&slot.grant(Some(&fence("1")), "2", &new)).await?;
    ground.login(&slot.name, &new, None).await?;
    told(ground.login(&slot.name, &old, None).await, StoreErrorKind::Denied, "its password is another one")
}

pub async fn repeated_is_done_again(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("again")?;
    let password = ground.password("");
    let change = slot.grant(None, "1", &password);
    ground.done(&change).await?;
    let first = (ground.role(&slot.name).await?, ground.comment(&slot.name)?);
    ground.done(&change).await?;
    assert_eq!((ground.role(&slot.name).await?, ground.comment(&slot.name)?), first);
    Ok(ground.login(&slot.name, &password, None).await?)
}

pub async fn session_acts_as_owner(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("acting")?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    ground.login(&slot.name, &password, Some(&slot.owner)).await?;
    let denied = ground.login(&slot.name, &password, Some(&slot.name)).await;
    told(denied, StoreErrorKind::Denied, "does not act as")?;
    // The server lets it in, but does not let it act as what it is no member of.
    ground.sql(&format!("revoke {} from {}", slot.owner, slot.name))?;
    let denied = ground.login(&slot.name, &password, Some(&slot.owner)).await;
    told(denied, StoreErrorKind::Denied, "make the user a member of it")
}

/// Who had the login before may have set another role for the database, which comes before that for all.
pub async fn role_that_the_user_has_set_itself_is_gone(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("itself")?;
    let (old, new) = (ground.password("old"), ground.password("new"));
    ground.done(&slot.grant(None, "1", &old)).await?;
    let session = ground.session(&slot.name, &old).await?;
    let set = format!("alter role {0} in database {SUPERUSER} set", slot.name);
    session.batch_execute(&format!("set role none; {set} role = {0}; {set} work_mem = '1MB'", slot.name)).await?;
    drop(session);
    told(ground.login(&slot.name, &old, Some(&slot.owner)).await, StoreErrorKind::Denied, "does not act as")?;
    ground.done(&slot.grant(Some(&fence("1")), "2", &new)).await?;
    ground.login(&slot.name, &new, Some(&slot.owner)).await?;
    let kept = format!(
        "select setconfig from pg_db_role_setting where setrole = '{}'::regrole and setdatabase > 0",
        slot.name
    );
    assert_eq!(ground.sql(&kept)?, "{work_mem=1MB}", "other settings stay");
    Ok(())
}

pub async fn without_owner_session_acts_as_itself(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("itself")?;
    let password = ground.password("");
    let mut change = slot.grant(None, "1", &password);
    change.what = Alteration::Grant { password: password.clone(), owner: None };
    ground.done(&change).await?;
    Ok(ground.login(&slot.name, &password, Some(&slot.name)).await?)
}

pub async fn every_printable_character(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("printable")?;
    let printable: String = (' '..='~').collect();
    let mut seen = None;
    for (id, text) in
        [("1", printable.as_str()), ("2", "ünïcödé \u{1f511} ﬁ\u{a0}"), ("3", "'"), ("4", "\\"), ("5", " ")]
    {
        let password = ground.password(text);
        ground.done(&slot.grant(seen.as_ref(), id, &password)).await?;
        ground.login(&slot.name, &password, None).await?;
        // By another client as well, so that both sides prepare it in the same way.
        ensure!(ground.postgres.login(&slot.name, password.expose_text().unwrap_or_default())?, "{text}");
        seen = Some(fence(id));
    }
    Ok(())
}

pub async fn passwords_that_no_server_takes_are_refused(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("nopassword")?;
    for password in ["", "a\0b"] {
        let refused = ground.change(&slot.grant(None, "1", &password.into())).await;
        told(refused, StoreErrorKind::Invalid, "no password that is empty or holds a NUL")?;
    }
    assert_eq!(ground.role(&slot.name).await?.fence, None);
    Ok(())
}

pub async fn no_role_and_no_owner_are_told(ground: Arc<Ground>) -> Result<()> {
    let mut slot = ground.slot("gone")?;
    let password = ground.password("");
    let owner = std::mem::replace(&mut slot.owner, "nobody_here".to_owned());
    for change in [slot.grant(None, "1", &password), slot.revoke(None, "1")] {
        told(ground.change(&change).await, StoreErrorKind::Invalid, "CREATE ROLE \"nobody_here\" NOLOGIN")?;
    }
    let role = ground.role(&slot.name).await?;
    ensure!(!role.can_login && role.fence.is_none(), "{role:?}");
    slot = crate::ground::Slot { name: "nobody_here".to_owned(), owner };
    for change in [slot.grant(None, "1", &password), slot.revoke(None, "1")] {
        assert_eq!(ground.change(&change).await?, Changed::NoRole);
    }
    Ok(())
}

pub async fn roles_are_shown_as_they_are(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("shown")?;
    let above = ground.unique("above");
    ground.sql(&format!("create role {above}; grant {above} to {}; alter role {} noinherit", slot.owner, slot.name))?;
    let role = ground.role(&slot.name).await?;
    assert_eq!((role.can_login, role.fence, role.sessions), (false, None, Sessions::default()));
    let mut member_of = role.member_of;
    member_of.sort();
    assert_eq!(member_of, [above, slot.owner.clone()], "directly and indirectly, also without inheriting");

    ground.done(&slot.grant(None, "1", &ground.password(""))).await?;
    let role = ground.role(&slot.name).await?;
    assert_eq!((role.can_login, role.fence), (true, Some(fence("1"))));
    let both = [slot.name.as_str(), "nobody_here", &slot.owner];
    let mut found = ground.servers.roles(&ground.server(), &ground.admin, &both).await?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = found.into_iter().map(|role| role.name).collect();
    ensure!(names.len() == 2 && names.contains(&slot.name) && names.contains(&slot.owner), "{names:?}");
    Ok(())
}

/// What a role owns is seen by an admin without further rights.
pub async fn what_is_owned_is_seen(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("owns")?;
    let (user, other) = (slot.name.as_str(), ground.unique("owned"));
    let blind = ground.admin(&ground.unique("blind"))?;
    let look = async || {
        let seen = ground.servers.roles(&ground.server(), &blind, &[user]).await?;
        ensure!(seen.len() == 1, "{seen:?}");
        anyhow::Ok(seen[0].owns)
    };
    ensure!(!look().await?, "a new role owns nothing");
    for (make, object) in [
        (format!("create table {other} ()"), format!("table {other}")),
        (format!("create function {other}() returns int language sql as 'select 1'"), format!("function {other}()")),
        (format!("create schema {other}"), format!("schema {other}")),
        // All databases share these.
        (format!("create database {other}"), format!("database {other}")),
    ] {
        ground.sql(&make)?;
        ensure!(!look().await?, "{object} is not its own");
        ground.sql(&format!("alter {object} owner to {user}"))?;
        ensure!(look().await?, "{object} is its own");
        ground.sql(&format!("drop {object}"))?;
    }
    // Of another database.
    let mut elsewhere = ground.client(SUPERUSER, &PASSWORD.into());
    let elsewhere = open(elsewhere.dbname(OTHER).clone()).await?;
    elsewhere.batch_execute(&format!("create table {other} (); alter table {other} owner to {user}")).await?;
    ensure!(!look().await?, "what another database holds is not here");
    // What a grant names, and what nobody can hand over.
    ground.sql(&format!("create table {other} (); grant select on {other} to {user}"))?;
    ground.sql(&format!("alter default privileges for role {user} grant select on tables to public"))?;
    ensure!(!look().await?, "a right is no object, and default privileges cannot be handed over");
    Ok(())
}

pub async fn sessions_are_counted_and_dated(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("counted")?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    #[expect(clippy::disallowed_methods, reason = "the server has a clock of its own")]
    let before = Utc::now();
    let first = ground.session(&slot.name, &password).await?;
    let between = ground.role(&slot.name).await?.sessions;
    let second = ground.session(&slot.name, &password).await?;
    let after = ground.role(&slot.name).await?.sessions;
    assert_eq!((between.count, after.count), (1, 2));
    ensure!(Some(before) <= between.newest && between.newest < after.newest, "{before} {between:?} {after:?}");

    // Who may not see since when.
    let blind = ground.admin(&ground.unique("blind"))?;
    let seen = ground.servers.roles(&ground.server(), &blind, &[&slot.name]).await?;
    assert_eq!(seen[0].sessions, Sessions { count: 2, newest: None });
    drop((first, second));
    // One's own session is not counted.
    assert_eq!(ground.role(ADMIN).await?.name, ADMIN);
    Ok(())
}
