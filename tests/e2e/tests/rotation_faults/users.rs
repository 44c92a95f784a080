//! Two users of `PostgreSQL` that take turns: meanwhile the login of every ready pod works, and that of the store.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{
    World,
    database::{self, FIRST, logs_in},
    kill::{self, Database, Rig, Scenario, Server},
    logins,
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground;

/// The roles, and what each may do; and who owns what `orders_a` owned.
const ROLES: &str = "SELECT json_agg(json_build_object('name', r.rolname, 'login', r.rolcanlogin, \
                     'password', a.rolpassword IS NOT NULL, 'settings', r.rolconfig, \
                     'comment', shobj_description(r.oid, 'pg_authid')) ORDER BY r.rolname) \
                     FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid WHERE r.rolname LIKE 'orders%'";
const OWNER: &str = "SELECT tableowner FROM pg_tables WHERE tablename = 'made'";

pub async fn kill_9_at_any_write_of_a_rotation_of_users_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Turns).await
}

/// One requested rotation from `orders_a` to `orders_b`.
struct Turns;

impl Scenario for Turns {
    fn name(&self) -> &'static str {
        "users"
    }

    /// The same steps write to the other servers as when a value in a store is rotated.
    fn sampled(&self) -> &[Server] {
        &[Server::Postgres]
    }

    /// As when a value in a store is rotated, and what ends the old user, which is done again as a whole: `NOLOGIN`, two looks at
    /// its sessions, and what it owns.
    fn spare(&self) -> usize {
        4 + 4
    }

    async fn rig(&self, world: &Arc<World>) -> Result<Rig> {
        Rig::with_database(world, self.name()).await
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        let (scene, Database { server, proxy }) = (&rig.scene, database_of(rig)?);
        database::make_roles(server)?;
        database::first_login(server)?;
        server.sql(
            "CREATE SCHEMA shop AUTHORIZATION orders; CREATE TABLE shop.made (id int); \
             ALTER TABLE shop.made OWNER TO orders_a",
        )?;
        scene.database_admin().await?;
        scene.publish_login("orders_a").await?;
        scene.world.apply(workload("Deployment", &scene.namespace, "web", "db", Form::EnvFrom)).await?;
        scene.wait_pod("web").await?;
        scene.take_turns("db", proxy.address().port(), &json!({})).await?;
        ground::ready(rig).await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        ground::ask(rig).await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        let server = &database_of(rig)?.server;
        let ((), tries) = logins::during(&rig.scene, server, "web", ground::ended(rig)).await?;
        ensure!(tries > 20, "only {tries} logins of ready pods were tried");
        end(rig).await
    }
}

fn database_of(rig: &Rig) -> Result<&Database> {
    rig.database.as_ref().context("this rig has a database")
}

/// Everything that must be equal.
async fn end(rig: &Rig) -> Result<Value> {
    let (scene, server) = (&rig.scene, &database_of(rig)?.server);
    let (user, password) = scene.stored_login().await?;
    let held = (scene.held("web", "username").await?, scene.held("web", "password").await?);
    let published = scene.data("db").await?.unwrap_or_default();
    let roles: Value = serde_json::from_str(&server.sql(ROLES)?)?;
    let mut cluster = ground::cluster(scene).await?;
    cluster["schedule"]["spec"]["rotator"]["postgres"]["port"].take(); // each run has a server of its own
    Ok(json!({
        "cluster": cluster,
        "username": user,
        "new": password.len() == 32,
        "published": published.get("username") == Some(&user) && published.get("password") == Some(&password),
        "held": held == (user, password),
        "the login of the pod works": logs_in(server, &held.0, &held.1).await?,
        "the old login works": logs_in(server, "orders_a", FIRST).await?,
        "roles": roles,
        "owner": server.sql(OWNER)?,
    }))
}
