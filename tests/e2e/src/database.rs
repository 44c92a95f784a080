//! A `PostgreSQL` server with the roles that docs/reference/rotator-postgres.md asks for.

use std::sync::Arc;

use anyhow::Result;
use rekey_testkit::postgres::Postgres;

/// The password of `orders_a`, or of `app`, before the first rotation.
pub const FIRST: &str = "the first password";
/// That of `rekey_admin`, who may alter users.
pub const ADMIN: &str = "what the admin knows";

const ROLES: &str = "CREATE ROLE orders NOLOGIN; CREATE ROLE orders_a NOLOGIN; CREATE ROLE orders_b NOLOGIN; \
                     GRANT orders TO orders_a, orders_b";
/// What `rekey_admin` needs.
pub const RIGHTS: &str = "GRANT orders TO rekey_admin; GRANT orders_a, orders_b TO rekey_admin WITH ADMIN OPTION; \
                          GRANT pg_read_all_stats, pg_signal_backend TO rekey_admin";

/// A new server with nothing but `rekey_admin`.
///
/// # Errors
/// When it does not start.
pub async fn start() -> Result<Arc<Postgres>> {
    let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await??);
    postgres.sql(&format!("CREATE ROLE rekey_admin LOGIN CREATEROLE PASSWORD '{ADMIN}'"))?;
    Ok(postgres)
}

/// Makes the two users, their owner, and what the admin needs.
///
/// # Errors
/// When the server refuses.
pub fn make_roles(postgres: &Postgres) -> Result<()> {
    postgres.sql(&format!("{ROLES}; {RIGHTS}")).map(drop)
}

/// Lets `orders_a` log in with the first password.
///
/// # Errors
/// When the server refuses.
pub fn first_login(postgres: &Postgres) -> Result<()> {
    postgres.sql(&format!("ALTER ROLE orders_a LOGIN PASSWORD '{FIRST}'")).map(drop)
}

/// Whether a user can log in with this password.
///
/// # Errors
/// When the server is not responding.
pub async fn logs_in(postgres: &Arc<Postgres>, user: &str, password: &str) -> Result<bool> {
    let (postgres, user, password) = (Arc::clone(postgres), user.to_owned(), password.to_owned());
    tokio::task::spawn_blocking(move || postgres.login(&user, &password)).await?
}
