//! Names that would be something else if they were not quoted.

use std::sync::Arc;

use anyhow::{Result, ensure};
use postgres_protocol::escape::escape_identifier;
use rekey_core::{
    rotator::database::{Changed, Login},
    store::StoreErrorKind,
};

use crate::ground::{Ground, Slot, fence, told};

/// The whole life of a user with this name, and one whose owner has a name like it.
async fn life(ground: &Ground, name: &str) -> Result<()> {
    let slot = Slot { name: name.to_owned(), owner: format!("{}\u{20}o", name.chars().skip(2).collect::<String>()) };
    ground.create(&slot.name, &slot.owner)?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    ground.login(&slot.name, &password, Some(&slot.owner)).await?;
    let role = ground.role(&slot.name).await?;
    assert_eq!((role.member_of, role.fence), (vec![slot.owner.clone()], Some(fence("1"))));
    let session = ground.session(&slot.name, &password).await?;
    let table = ground.unique("named");
    ground.sql(&format!("create table {table} (); alter table {table} owner to {}", escape_identifier(&slot.name)))?;
    ground.done(&slot.revoke(Some(&fence("1")), "2")).await?;
    assert_eq!(ground.sql(&format!("select tableowner from pg_tables where tablename = '{table}'"))?, slot.owner);
    ensure!(session.batch_execute("select 1").await.is_err(), "a session goes on");
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "no LOGIN")
}

pub async fn hostile_names_are_names(ground: Arc<Ground>) -> Result<()> {
    let roles = ground.sql("select count(*) from pg_authid where rolsuper")?;
    let names = [
        "x\"; alter role rekey_admin superuser; --",
        "x'; drop table t; --",
        "x\\'; select 1; --",
        "x$$ e'\\\\ \" \"\"",
        "x with spaces and\ttab",
        "x\nline",
        "Xünïcödé \u{1f511}",
        "Public",
        "current_user",
        "session_user",
        "All",
        "x%s{0}:name",
        &"é".repeat(31),
        &"y".repeat(63),
    ];
    for name in names {
        life(&ground, name).await.map_err(|error| error.context(format!("{name:?}")))?;
    }
    assert_eq!(ground.sql("select count(*) from pg_authid where rolsuper")?, roles);
    Ok(())
}

pub async fn name_that_the_server_cuts_off_is_nobody(ground: Arc<Ground>) -> Result<()> {
    let short = Slot { name: "z".repeat(63), owner: format!("{}o", "z".repeat(62)) };
    ground.create(&short.name, &short.owner)?;
    let long = Slot { name: "z".repeat(64), owner: short.owner.clone() };
    assert_eq!(ground.change(&long.grant(None, "1", &ground.password(""))).await?, Changed::NoRole);
    let long = Slot { name: short.name.clone(), owner: format!("{}x", short.owner) };
    told(ground.change(&long.revoke(None, "1")).await, StoreErrorKind::Invalid, "does not exist")?;
    assert_eq!(ground.role(&short.name).await?.fence, None);
    Ok(())
}

pub async fn nul_in_a_name_is_refused(ground: Arc<Ground>) -> Result<()> {
    use rekey_core::rotator::database::Databases as _;
    let nul = Login { user: "a\0b".to_owned(), password: ground.password("") };
    let refused = ground.servers.login(&ground.server(), &nul, None).await;
    told(refused, StoreErrorKind::Invalid, "holds a NUL character")?;
    let slot = Slot { name: "a\0b".to_owned(), owner: "o".to_owned() };
    told(ground.change(&slot.revoke(None, "1")).await, StoreErrorKind::Invalid, "SQLSTATE 22021")
}
