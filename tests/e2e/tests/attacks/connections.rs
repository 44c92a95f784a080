//! Connections that never finish a request, on the ports of health and metrics.

use std::{net::SocketAddr, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rekey_e2e::{Operator, Scene, World, vigil::Vigil};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

/// How many are opened on each port: more than the file handles that the operator has.
const CONNECTIONS: usize = 1_100;
const HANDLES: usize = 1_024;
/// Where they come from: a pod has another address than the kubelet.
const FROM: [u8; 4] = [127, 0, 0, 2];
/// How long they are held: longer than the health server allows a connection.
const HELD: Duration = Duration::from_secs(12);

pub async fn half_open_connections_keep_nobody_from_health_and_metrics(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "half-open").await?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = u64::try_from(2 * CONNECTIONS + 1_000)?;
    ensure!(hard >= needed, "this test needs {needed} file handles, the limit is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(needed), hard)?;
    let mut vigil = Vigil::start(&world, "half-open", &[&scene], &[]).await?;
    let of = format!("--nofile={HANDLES}:{HANDLES}");
    let limited = Command::new("prlimit").args(["--pid", &vigil.operator.id().to_string(), &of]).status()?;
    ensure!(limited.success(), "prlimit {of}: {limited}");
    let (health, metrics) = vigil.operator.ports();
    let mut held = Vec::new();
    vigil
        .during(async {
            for port in [health, metrics] {
                held.push(open(port).await?);
            }
            tokio::time::sleep(HELD).await;
            Ok(())
        })
        .await?;
    let scraped = tokio::time::timeout(Duration::from_secs(2), vigil.operator.get("/metrics")).await;
    let (status, text) = scraped.context("/metrics took more than 2 s")??;
    ensure!(status == 200 && text.contains("# EOF"), "/metrics: {status} {text}");
    let left = handles(&vigil.operator)?;
    ensure!(left < HANDLES / 4, "the operator still holds {left} file handles");
    println!("the operator holds {left} file handles after {} half-open connections", 2 * CONNECTIONS);
    Ok(())
}

/// Connections of which every other one has sent half of a request.
async fn open(port: u16) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for number in 0..CONNECTIONS {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((FROM, 0)))?;
        let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let mut stream = stream.with_context(|| format!("connection {number}"))?;
        if number % 2 == 0 {
            // It may have been closed by now.
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n").await.ok();
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn handles(operator: &Operator) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", operator.id()))?.count())
}
