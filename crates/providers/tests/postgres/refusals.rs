//! What does not succeed is told, with its kind and what to do.

use std::{net::TcpListener, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use rekey_core::{
    rotator::database::{Databases as _, Login, Server},
    store::{Network, StoreErrorKind},
};
use rekey_providers::rotators::postgres::PostgresServers;
use rekey_testkit::{postgres::Postgres, process::free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    ground::{ADMIN, Ground, allowed, told},
    tap::{Tap, Then},
};

pub async fn wrong_admin_password(ground: Arc<Ground>) -> Result<()> {
    let admin = Login { password: ground.password("wrong"), ..ground.admin.clone() };
    let slot = ground.slot("unasked")?;
    let change = slot.grant(None, "1", &ground.password(""));
    let fix = "does not accept the login of user \"rekey_admin\": correct username and password in the Secret";
    told(ground.servers.change(&ground.server(), &admin, &change).await, StoreErrorKind::Denied, fix)?;
    told(ground.servers.roles(&ground.server(), &admin, &[&slot.name]).await, StoreErrorKind::Denied, fix)
}

pub async fn failed_login_is_one_attempt(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("attempts")?;
    let (good, bad) = (ground.password("good"), ground.password("bad"));
    ground.done(&slot.grant(None, "1", &good)).await?;
    told(ground.login(&slot.name, &bad, Some(&slot.owner)).await, StoreErrorKind::Denied, "another one")?;
    let failed = format!("failed for user \"{}\"", slot.name);
    assert_eq!(ground.noted(&["FATAL", &failed])?, 1);
    ground.login(&slot.name, &good, Some(&slot.owner)).await?;
    let user = format!("user={} ", slot.name);
    assert_eq!(ground.noted(&["connection authorized", &user, "application_name=rekey", "SSL enabled"])?, 1);
    assert_eq!(ground.noted(&["connection authorized", &user])?, 1, "and no other login");
    // It says goodbye: the server notes a regular end.
    crate::ground::until("the end", || Ok(ground.noted(&["disconnection", &user])? == 1)).await?;
    assert_eq!(ground.noted(&["unexpected EOF", &slot.name])?, 0);
    Ok(())
}

pub async fn user_without_login_or_connections(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("shut")?;
    let password = ground.password("");
    ground.done(&slot.grant(None, "1", &password)).await?;
    ground.sql(&format!("alter role {} connection limit 0", slot.name))?;
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Unavailable, "SQLSTATE 53300")?;
    ground.sql(&format!("alter role {} nologin", slot.name))?;
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "it has no LOGIN")?;
    ground.sql(&format!("alter role {} login valid until '2001-01-01'", slot.name))?;
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Denied, "VALID UNTIL")
}

pub async fn no_such_database(ground: Arc<Ground>) -> Result<()> {
    let server = Server { database: "nothing".to_owned(), ..ground.server() };
    let refused = ground.servers.roles(&server, &ground.admin, &[]).await;
    told(refused, StoreErrorKind::Invalid, "has no database \"nothing\": create it")
}

pub async fn servers_that_do_not_respond_have_one_text(ground: Arc<Ground>) -> Result<()> {
    let text = "is not responding: is the name right, is the server up";
    for (host, port) in [("127.0.0.1", free_port()?), ("name.invalid", 5432), ("not a name", 5432)] {
        let server = Server { host: host.to_owned(), port, ..ground.server() };
        let asked = ground.servers.roles(&server, &ground.admin, &[]).await;
        told(asked, StoreErrorKind::Unavailable, &format!("PostgreSQL server {host}:{port} {text}"))?;
    }
    Ok(())
}

pub async fn stopped_server(ground: Arc<Ground>) -> Result<()> {
    let mut postgres = Postgres::start()?;
    let server = Ground::plain(postgres.port());
    let admin = Login { user: "boss".to_owned(), password: ground.password("boss") };
    let password = admin.password.expose_text().unwrap_or_default();
    postgres
        .sql(&format!("create role boss superuser login password '{password}'; create role app; create role own"))?;
    let slot = crate::ground::Slot { name: "app".to_owned(), owner: "own".to_owned() };
    let servers = Ground::insecure();
    let change = slot.grant(None, "1", &ground.password(""));
    postgres.stop()?;
    told(servers.change(&server, &admin, &change).await, StoreErrorKind::Unavailable, "is not responding")?;
    postgres.restart()?;
    let done = servers.change(&server, &admin, &change).await?;
    assert_eq!(done, rekey_core::rotator::database::Changed::Done);
    Ok(())
}

pub async fn silent_server_is_given_up_within_ten_seconds(ground: Arc<Ground>) -> Result<()> {
    // The backlog takes the connection, and nobody answers.
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let server = Server { host: "127.0.0.1".to_owned(), port: listener.local_addr()?.port(), ..ground.server() };
    let start = Instant::now();
    let asked = ground.servers.roles(&server, &ground.admin, &[]).await;
    told(asked, StoreErrorKind::Unavailable, "did not complete the request within 10 seconds")?;
    ensure!((9..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    Ok(())
}

/// A server without TLS that sends this and then waits.
async fn stub(answer: Vec<u8>) -> Result<u16> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                let Ok(1..) = stream.read(&mut heard).await else { return };
                stream.write_all(&answer).await.ok();
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
            });
        }
    });
    Ok(port)
}

/// A description of columns with these types.
fn columns(types: &[u32]) -> Vec<u8> {
    let field = |oid: &u32| [b"name\0\0\0\0\0\0\0".as_slice(), &oid.to_be_bytes(), &[0; 8]].concat();
    let fields: Vec<u8> = types.iter().flat_map(field).collect();
    message(b'T', &[u16::try_from(types.len()).unwrap_or_default().to_be_bytes().to_vec(), fields].concat())
}

/// A row of these values.
fn row(values: &[&[u8]]) -> Vec<u8> {
    let field = |value: &&[u8]| [&u32::try_from(value.len()).unwrap_or_default().to_be_bytes(), *value].concat();
    let fields: Vec<u8> = values.iter().flat_map(field).collect();
    message(b'D', &[u16::try_from(values.len()).unwrap_or_default().to_be_bytes().to_vec(), fields].concat())
}

/// A server whose answers would fill the stack or the memory, or stand in a text: it ends neither us nor the request late.
pub async fn answers_that_would_fill_us_are_refused(ground: Arc<Ground>) -> Result<()> {
    let (start, end) = ([message(b'1', b""), message(b'2', b"")].concat(), message(b'Z', b"T"));
    let types = [25, 16, 25, 1009, 20, 1184, 16, 16];
    let array = [1_u32, 0, 25, 0x7fff_ffff, 1].map(u32::to_be_bytes).concat();
    let name = "x".repeat(100_000);
    let role = |name: &str, member_of: &[u8], too_long: u8| {
        row(&[name.as_bytes(), &[1], b"", member_of, &[0; 8], &[0; 8], &[0], &[too_long]])
    };
    let text = [25, 16, 25, 25, 20, 1184, 16, 16];
    let cases = [
        // The library asks what this type is, and gets types that it does not know.
        [message(b'1', b""), message(b't', &[0, 1, 0, 1, 0x86, 0x9f]), columns(&[99_999]), end.clone()].concat(),
        // An array that says how long it is.
        [start.clone(), columns(&types), role(ADMIN, &array, 0), message(b'C', b"SELECT 1\0"), end.clone()].concat(),
        // A role that nobody asked for.
        [start.clone(), columns(&text), role(&name, b"[]", 1), message(b'C', b"SELECT 1\0"), end.clone()].concat(),
        [
            start.clone(),
            columns(&text),
            role(ADMIN, "[".repeat(100_000).as_bytes(), 0),
            message(b'C', b"SELECT 1\0"),
            end,
        ]
        .concat(),
        // The rest never comes.
        [start, b"D\x7f\xff\xff\xff".to_vec()].concat(),
    ];
    for answer in cases {
        let tap = Tap::start(&ground.postgres.address(), b"rolcanlogin", move || {
            let answer = answer.clone();
            async move { Then::Answer(answer) }
        })
        .await?;
        let begin = Instant::now();
        let asked = Ground::insecure().roles(&Ground::plain(tap.port()), &ground.admin, &[ADMIN]).await;
        ensure!(begin.elapsed().as_secs() < 5, "{:?}: {asked:?}", begin.elapsed());
        let length = asked.as_ref().map_or_else(|error| error.text.len(), |_| 0);
        ensure!(length < 1000, "{length} bytes");
        told(asked, StoreErrorKind::Malformed, "PostgreSQL server 127.0.0.1")?;
    }
    Ok(())
}

/// A message of a server.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

pub async fn strange_servers(ground: Arc<Ground>) -> Result<()> {
    use StoreErrorKind::{Invalid, Malformed};
    let error = message(b'E', b"SFATAL\0VFATAL\0Ccanary\0Mthe canary is quoted\0\0");
    let ready = [message(b'R', &[0, 0, 0, 0]), message(b'Z', b"I")].concat();
    let cases: [(Vec<u8>, StoreErrorKind, &str); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Malformed, "is no PostgreSQL server"),
        (message(b'R', &[0, 0, 0, 3]), Invalid, "asks for the password in cleartext"),
        (ready, Invalid, "lets users in without a password"),
        (message(b'R', &[0, 0, 0, 7]), Malformed, "is no PostgreSQL server"),
        (message(b'R', &vec![0; 70_000]), Malformed, "sends more than any answer"),
        (error, Invalid, "SQLSTATE none"),
    ];
    for (answer, kind, part) in cases {
        let server = Ground::plain(stub(answer).await?);
        let asked = Ground::insecure().roles(&server, &ground.admin, &[]).await;
        let quoted = asked.as_ref().is_err_and(|error| error.text.contains("canary"));
        ensure!(!quoted, "{asked:?}");
        told(asked, kind, part)?;
    }
    Ok(())
}

pub async fn server_that_does_not_check_passwords(ground: Arc<Ground>) -> Result<()> {
    for (method, part) in
        [("trust", "lets users in without a password"), ("password", "asks for the password in cleartext")]
    {
        let slot = ground.slot(method)?;
        let password = ground.password("");
        ground.done(&slot.grant(None, "1", &password)).await?;
        ground.rule(&slot.name, method)?;
        told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Invalid, part)?;
    }
    Ok(())
}

/// As servers before 14 store it.
pub async fn md5_is_refused_with_what_to_run(ground: Arc<Ground>) -> Result<()> {
    let slot = ground.slot("md5")?;
    let password = ground.password("");
    let set = format!("alter role {} login password '{}'", slot.name, password.expose_text().unwrap_or_default());
    ground.sql(&format!("set password_encryption = md5; {set}"))?;
    ground.rule(&slot.name, "md5")?;
    let user = Login { user: slot.name.clone(), password: password.clone() };
    let fix = format!(
        "holds the password of user {0:?} as MD5, and asks for a hash from which it can be guessed, so nothing was sent: run SET \
         password_encryption = 'scram-sha-256'; and then set it again in the same session: ALTER ROLE \"{0}\" PASSWORD '…';",
        slot.name
    );
    told(ground.login(&slot.name, &password, None).await, StoreErrorKind::Invalid, &fix)?;
    told(ground.servers.roles(&ground.server(), &user, &[]).await, StoreErrorKind::Invalid, &fix)?;
    // What the text says, and what a rotation does.
    ground.sql(&format!("set password_encryption = 'scram-sha-256'; {set}"))?;
    ground.login(&slot.name, &password, None).await?;
    ground.sql(&format!("set password_encryption = md5; {set}"))?;
    ground.done(&slot.grant(None, "1", &password)).await?;
    Ok(ground.login(&slot.name, &password, None).await?)
}

/// A server learns nothing by another question than SCRAM's.
pub async fn other_questions_get_no_answer(ground: Arc<Ground>) -> Result<()> {
    for (question, part) in [(&[0, 0, 0, 3][..], "in cleartext"), (&[0, 0, 0, 5, 1, 2, 3, 4], "as MD5")] {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = Ground::plain(listener.local_addr()?.port());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let (mut start, mut rest) = ([0; 1024], Vec::new());
            ensure!(stream.read(&mut start).await? > 0, "nobody starts");
            stream.write_all(&message(b'R', question)).await?;
            stream.read_to_end(&mut rest).await.ok();
            Ok(rest)
        });
        told(Ground::insecure().roles(&server, &ground.admin, &[]).await, StoreErrorKind::Invalid, part)?;
        assert_eq!(heard.await??, b"", "{part}");
    }
    Ok(())
}

pub async fn refused_addresses(ground: Arc<Ground>) -> Result<()> {
    let networks = [Network::default(), Network { proxy: Some("http://localhost:3128".to_owned()), ..allowed() }];
    for (network, hosts) in networks.into_iter().zip([&["127.0.0.1", "localhost", "::1"][..], &["169.254.169.254"]]) {
        let servers = PostgresServers::new(network);
        for host in hosts {
            let server = Server { host: (*host).to_owned(), ..ground.server() };
            let asked = servers.roles(&server, &ground.admin, &[]).await;
            told(asked, StoreErrorKind::Invalid, "--allow-addresses")?;
        }
    }
    let proxied = Network { proxy: Some("http://localhost:3128".to_owned()), ..Network::default() };
    let asked = PostgresServers::new(proxied).roles(&ground.server(), &ground.admin, &[]).await;
    told(asked, StoreErrorKind::Invalid, "--allow-addresses")
}
