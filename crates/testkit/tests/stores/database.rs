//! `PostgreSQL`: logins, outages, and the proxy for connections.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rekey_testkit::{
    postgres::{PASSWORD, Postgres, SUPERUSER},
    proxy::TcpProxy,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("postgres_checks_passwords", async || passwords()),
        trial("postgres_comes_back_with_its_data", async || outages()),
        trial("tcp_proxy_counts_cuts_delays_and_refuses", connections),
    ]
}

fn passwords() -> Result<()> {
    let postgres = Postgres::start()?;
    postgres.sql("create role app login password 'one'")?;
    ensure!(postgres.login("app", "one")?);
    ensure!(!postgres.login("app", "two")?, "a wrong password gets in");
    postgres.sql("alter role app password 'two'")?;
    ensure!(postgres.login("app", "two")? && !postgres.login("app", "one")?, "the old password still gets in");
    assert_eq!(postgres.sql_as("app", "two", "select current_user, 1")?, "app|1");
    postgres.sql("alter role app nologin")?;
    ensure!(!postgres.login("app", "two")?, "a role without login gets in");
    ensure!(!postgres.login("nobody", "x")? && postgres.login(SUPERUSER, PASSWORD)?);
    let stored = postgres.sql("select left(rolpassword, 14) from pg_authid where rolname = 'app'")?;
    assert_eq!(stored, "SCRAM-SHA-256$");
    Ok(())
}

fn outages() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.sql("create table t as select 7 as n")?;
    postgres.stop()?;
    ensure!(postgres.login(SUPERUSER, PASSWORD).is_err(), "a stopped server answers");
    postgres.restart()?;
    assert_eq!(postgres.sql("select n from t")?, "7");
    Ok(())
}

async fn connections() -> Result<()> {
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = TcpProxy::start(&echo.local_addr()?.to_string())?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    let mut one = TcpStream::connect(proxy.address()).await?;
    said(&mut one).await?;
    proxy.delay(Duration::from_millis(200));
    let begin = Instant::now();
    said(&mut one).await?;
    ensure!(begin.elapsed() >= Duration::from_millis(200), "the delay took {:?}", begin.elapsed());
    proxy.delay(Duration::ZERO);
    proxy.cut();
    ensure!(said(&mut one).await.is_err(), "a cut connection still works");
    let mut two = TcpStream::connect(proxy.address()).await?;
    said(&mut two).await?;
    proxy.down();
    ensure!(said(&mut two).await.is_err(), "a connection outlives the outage");
    let refused = async { said(&mut TcpStream::connect(proxy.address()).await?).await };
    ensure!(refused.await.is_err(), "a connection is let in while the proxy is down");
    proxy.up();
    said(&mut TcpStream::connect(proxy.address()).await?).await?;
    assert_eq!(proxy.connections(), 3);
    Ok(())
}

/// Sends a word and reads it back.
async fn said(stream: &mut TcpStream) -> Result<()> {
    let exchange = async {
        stream.write_all(b"word").await?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await?;
        anyhow::Ok(heard)
    };
    ensure!(timeout(Duration::from_secs(5), exchange).await?? == *b"word");
    Ok(())
}
