//! The proxy for `PostgreSQL`: what gets a number, and what each fault lets through.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rekey_testkit::{
    postgres::{PASSWORD, Postgres, SUPERUSER},
    proxy::{Fault, PostgresProxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_postgres::{Client, Config, NoTls, types::Type};

use crate::trial;

/// More than anything here needs.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("postgres_proxy_numbers_what_lasts", numbers),
        trial("postgres_proxy_numbers_across_connections", connections),
        trial("postgres_proxy_breaks_at_a_commit", || breaks(COMMIT)),
        trial("postgres_proxy_breaks_at_a_write_without_a_transaction", || breaks(WRITE)),
        trial("postgres_proxy_breaks_at_the_end_of_sessions", sessions),
        trial("postgres_proxy_forwards_nothing_while_it_kills", alone),
        trial("postgres_proxy_says_that_it_has_no_encryption", encryption),
        trial("postgres_proxy_cuts_off_what_it_cannot_follow", unknown),
        trial("postgres_proxy_passes_on_the_wish_to_cancel", cancel),
    ]
}

/// A server, the proxy in front of it, and a table `t`.
struct Stage {
    postgres: Arc<Postgres>,
    proxy: Arc<PostgresProxy>,
}

impl Stage {
    fn new() -> Result<Self> {
        let postgres = Postgres::start()?;
        postgres.sql("CREATE ROLE app; CREATE TABLE t (n int)")?;
        let proxy = PostgresProxy::start(&postgres.address())?;
        Ok(Self { postgres: Arc::new(postgres), proxy: Arc::new(proxy) })
    }

    async fn client(&self) -> Result<Client> {
        login(TcpStream::connect(self.proxy.address()).await?).await
    }

    /// The texts and answers of the numbered statements.
    fn calls(&self) -> Vec<(String, String)> {
        let calls = self.proxy.calls();
        assert!(calls.iter().zip(1..).all(|(call, number)| call.number == number), "{calls:?}");
        assert_eq!(self.proxy.gate().numbered(), calls.len());
        calls.into_iter().map(|call| (call.text, call.answer.unwrap_or_default())).collect()
    }

    /// What `t` holds.
    fn rows(&self) -> Result<String> {
        self.postgres.sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM t")
    }
}

async fn login(stream: TcpStream) -> Result<Client> {
    let mut config = Config::new();
    config.user(SUPERUSER).password(PASSWORD).dbname(SUPERUSER);
    let (client, connection) = timeout(PATIENCE, config.connect_raw(stream, NoTls)).await??;
    tokio::spawn(connection);
    Ok(client)
}

async fn numbers() -> Result<()> {
    let stage = Stage::new()?;
    let client = stage.client().await?;
    // The extended form, as the operator uses it.
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = '5s'").await?;
    client.query_typed("SELECT rolname::text FROM pg_roles WHERE rolname::text = $1", &[(&"app", Type::TEXT)]).await?;
    client.execute_typed("COMMIT", &[]).await?;
    client.batch_execute("BEGIN READ WRITE; SET LOCAL lock_timeout = '5s'").await?;
    client.execute_typed("ALTER ROLE app LOGIN PASSWORD 'hidden'", &[]).await?;
    client.execute_typed("COMMENT ON ROLE app IS 'hidden'", &[]).await?;
    client.execute_typed("COMMIT", &[]).await?;
    // Prepared once, run twice.
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await?;
    client.execute(&insert, &[&1]).await?;
    client.execute(&insert, &[&2]).await?;
    // The simple form.
    client.simple_query("SELECT 'INSERT; COMMIT'; SHOW port").await?;
    client.simple_query("BEGIN; INSERT INTO t VALUES (3)").await?;
    client.simple_query("ROLLBACK").await?;
    client.simple_query("BEGIN; INSERT INTO t VALUES (4)").await?;
    ensure!(client.simple_query("SELECT nothing").await.is_err());
    client.simple_query("COMMIT").await?; // takes all back
    client.simple_query("BEGIN; INSERT INTO t VALUES (5); COMMIT").await?;
    ensure!(client.simple_query("DROP TABLE missing").await.is_err());
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename::text = $1";
    client.query_typed(end, &[(&"app", Type::TEXT)]).await?;
    assert_eq!(stage.rows()?, "1 2 5");
    let expected = [
        ("COMMIT ALTER ROLE app LOGIN PASSWORD …, COMMENT ON ROLE app IS …", "COMMIT"),
        ("INSERT INTO t VALUES", "INSERT 0 1"),
        ("INSERT INTO t VALUES", "INSERT 0 1"),
        ("COMMIT INSERT INTO t VALUES 5", "COMMIT"),
        ("DROP TABLE missing", "ERROR 42P01"),
        ("SELECT pg_terminate_backend pid FROM pg_stat_activity WHERE …", "SELECT 0"),
    ];
    assert_eq!(stage.calls(), expected.map(|(text, answer)| (text.to_owned(), answer.to_owned())));
    Ok(())
}

async fn connections() -> Result<()> {
    let stage = Stage::new()?;
    let (one, two) = (stage.client().await?, stage.client().await?);
    one.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await?;
    two.batch_execute("DELETE FROM t").await?;
    one.batch_execute("COMMIT").await?;
    let texts: Vec<String> = stage.calls().into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["DELETE FROM t", "COMMIT INSERT INTO t VALUES 1"]);
    Ok(())
}

type Work = &'static [&'static str];
const COMMIT: Work = &["BEGIN", "INSERT INTO t VALUES (2)", "COMMIT"];
const WRITE: Work = &["INSERT INTO t VALUES (2)"];

/// Does `work` behind a first numbered statement, with each fault: what the server had at the kill, and what the client.
async fn breaks(work: Work) -> Result<()> {
    for (fault, is_done, is_answered) in [
        (Fault::KillBefore, false, false),
        (Fault::KillAfterBeforeAnswer, true, false),
        (Fault::KillAfterAnswer, true, true),
        (Fault::Drop, false, false),
        (Fault::DropAnswer, true, false),
        (Fault::DropAfterAnswer, true, true),
    ] {
        let stage = Stage::new()?;
        let is_kill = matches!(fault, Fault::KillBefore | Fault::KillAfterBeforeAnswer | Fault::KillAfterAnswer);
        let at_kill = Arc::new(Mutex::new(Vec::new()));
        let (seen, postgres) = (Arc::clone(&at_kill), Arc::clone(&stage.postgres));
        stage.proxy.gate().on_kill(Box::new(move || {
            let rows = postgres.sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM t");
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(rows.unwrap_or_default());
        }));
        stage.proxy.gate().arm(2, fault);
        let client = stage.client().await?;
        client.execute_typed("INSERT INTO t VALUES (1)", &[]).await?;
        let (last, before) = work.split_last().context("no work")?;
        for statement in before {
            client.execute_typed(statement, &[]).await?;
        }
        let answer = timeout(PATIENCE, client.execute_typed(last, &[])).await?;
        assert_eq!(answer.is_ok(), is_answered, "{fault:?}: {answer:?}");
        while is_kill && stage.proxy.gate().kills() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let rows = if is_done { "1 2" } else { "1" };
        let kills = at_kill.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expected: &[&str] = if is_kill { &[rows] } else { &[] };
        assert_eq!(kills, expected, "{fault:?}: what the server had at the one kill");
        assert_eq!(stage.calls()[1].1.is_empty(), !is_done, "{fault:?}: {:?}", stage.calls());
        ensure!(timeout(PATIENCE, client.simple_query("SELECT 1")).await?.is_err(), "{fault:?}: not cut");
        stage.client().await?.batch_execute("INSERT INTO t VALUES (3)").await?;
        assert_eq!(stage.rows()?, format!("{rows} 3"), "{fault:?}");
    }
    Ok(())
}

/// What ends sessions does so before its transaction ends, and in one that only reads.
async fn sessions() -> Result<()> {
    for (fault, ends) in [(Fault::KillBefore, false), (Fault::KillAfterBeforeAnswer, true)] {
        let stage = Stage::new()?;
        stage.postgres.sql("ALTER ROLE app LOGIN PASSWORD 'app'")?;
        let mut session = stage.postgres.session("app", "app")?;
        stage.proxy.gate().arm(1, fault);
        let client = stage.client().await?;
        client.batch_execute("BEGIN READ ONLY").await?;
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename::text = $1";
        let answer = client.query_typed(end, &[(&"app", Type::TEXT)]).await;
        ensure!(answer.is_err(), "{fault:?}: an answer");
        let count = stage.postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")?;
        assert_eq!(count, if ends { "0" } else { "1" }, "{fault:?}");
        assert_eq!(session.is_open()?, !ends, "{fault:?}");
    }
    Ok(())
}

/// While a kill goes on, nothing else goes through: no other statement, no login.
async fn alone() -> Result<()> {
    let stage = Stage::new()?;
    let (killed, other) = (stage.client().await?, stage.client().await?);
    let (started, wait) = tokio::sync::oneshot::channel();
    let started = Mutex::new(Some(started));
    stage.proxy.gate().on_kill(Box::new(move || {
        let started = started.lock().unwrap_or_else(PoisonError::into_inner).take();
        started.map(|started| started.send(()));
        std::thread::sleep(Duration::from_secs(1));
    }));
    stage.proxy.gate().arm(1, Fault::KillBefore);
    let late = async {
        wait.await?;
        let late = tokio::join!(other.batch_execute("INSERT INTO t VALUES (2)"), stage.client());
        anyhow::Ok((late.0.is_err(), late.1.is_err()))
    };
    let (answer, late) = tokio::join!(killed.batch_execute("INSERT INTO t VALUES (1)"), timeout(PATIENCE, late));
    ensure!(answer.is_err() && late?? == (true, true), "something of the killed process has an answer");
    assert_eq!((stage.rows()?, stage.calls().len(), stage.proxy.gate().kills()), (String::new(), 1, 1));
    stage.client().await?.batch_execute("INSERT INTO t VALUES (3)").await?;
    assert_eq!(stage.rows()?, "3");
    Ok(())
}

async fn encryption() -> Result<()> {
    let stage = Stage::new()?;
    let mut stream = TcpStream::connect(stage.proxy.address()).await?;
    for code in [80_877_104_u32, 80_877_103] {
        stream.write_all(&[8_u32.to_be_bytes(), code.to_be_bytes()].concat()).await?;
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await??, b'N');
    }
    login(stream).await?.batch_execute("INSERT INTO t VALUES (1)").await?;
    assert_eq!(stage.calls().len(), 1);
    Ok(())
}

async fn unknown() -> Result<()> {
    let stage = Stage::new()?;
    let client = stage.client().await?;
    let copy = async { anyhow::Ok(client.copy_in::<_, &[u8]>("COPY t FROM STDIN").await?) };
    ensure!(timeout(PATIENCE, copy).await?.is_err(), "a COPY goes on");
    stage.postgres.rule("host all all 127.0.0.1/32 trust")?;
    let mut stream = TcpStream::connect(stage.proxy.address()).await?;
    let body = format!("user\0{SUPERUSER}\0\0");
    let length = u32::try_from(body.len() + 8)?;
    stream.write_all(&[&length.to_be_bytes(), &196_608_u32.to_be_bytes(), body.as_bytes()].concat()).await?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"Z\0\0\0\x05I") {
        heard.push(timeout(PATIENCE, stream.read_u8()).await??);
    }
    stream.write_all(b"H\0\0\0\x04").await?;
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await??, 0, "a Flush goes on");
    Ok(())
}

async fn cancel() -> Result<()> {
    let stage = Stage::new()?;
    let client = stage.client().await?;
    let token = client.cancel_token();
    let cancelled = async {
        while stage.postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")? == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        token.cancel_query_raw(TcpStream::connect(stage.proxy.address()).await?, NoTls).await?;
        anyhow::Ok(())
    };
    let (answer, cancelled) = tokio::join!(timeout(PATIENCE, client.simple_query("SELECT pg_sleep(60)")), cancelled);
    cancelled?;
    let error = answer?.err().context("it slept")?;
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("57014"));
    Ok(())
}
