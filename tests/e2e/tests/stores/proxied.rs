//! Stores behind the operator's `--store-proxy`: all of them use it, and the operator checks addresses before.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{Scene, World, operator::Setting, wait::stays};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::addresses::{named, says, vault};

/// A forward proxy (RFC 9110, section 3.7) that keeps the heads of the requests that reach it.
struct ForwardProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ForwardProxy {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, Arc::clone(&kept)));
            }
        });
        Ok(Self { address, heads, task })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of all requests, with this in them.
    fn asked(&self, part: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = heads.iter().filter_map(|head| head.lines().next());
        lines.filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// The user agents of all requests to this host and port.
    fn agents(&self, place: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let of_place = heads.iter().filter(|head| head.lines().next().is_some_and(|line| line.contains(place)));
        let agent = |head: &String| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("user-agent:"));
            line.and_then(|line| line.split_once(": ")).map(|(_, agent)| agent.to_owned()).unwrap_or_default()
        };
        of_place.map(agent).collect()
    }
}

/// Serves one connection: a tunnel, or one plain request with the rest of its connection.
async fn forward(mut client: TcpStream, heads: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        let count = client.read(&mut part).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&part[..count]);
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let place = target.trim_start_matches("http://").split('/').next()?.to_owned();
    let mut server = TcpStream::connect(&place).await.ok()?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    } else {
        server.write_all(&read).await.ok()?;
    }
    copy_bidirectional(&mut client, &mut server).await.ok().map(drop)
}

/// Tunnels for allowed stores, no request at all for refused ones, and none to a proxy of the environment.
pub async fn stores_are_reached_by_the_proxy_and_refused_addresses_are_not_asked_for(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "proxied").await?;
    let (proxy, theirs) = (ForwardProxy::start().await?, ForwardProxy::start().await?);
    let of_environment = theirs.url();
    let variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"]
        .map(|name| (name, of_environment.as_str()));
    let setting = Setting { variables: &variables, insecure: false };
    let flags = [format!("--namespaces={}", scene.namespace), format!("--store-proxy={}", proxy.url())];
    let arguments = [&flags[0], &flags[1], "--leader-elect=false", "--allow-addresses=127.0.0.1/32"];
    let _operator = world.operator_in(&setting, "proxied", &arguments)?;

    let secure = world.bao.secure();
    let port = secure.address.rsplit(':').next().context("a port")?;
    scene.store("tls", "ReadOnly", vault(&secure.address, Some(&secure.certificate))?).await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "tls", &[("password", &key, "password")], json!({})).await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    ensure!(!proxy.asked(&format!("CONNECT 127.0.0.1:{port}")).is_empty(), "the store is reached by the proxy");

    scene.store("unlisted", "ReadOnly", vault(&format!("https://127.0.0.2:{port}"), None)?).await?;
    scene.store("linked", "ReadOnly", vault("https://169.254.169.254", None)?).await?;
    says(&scene, "unlisted", "is the address 127.0.0.2: loopback").await?;
    says(&scene, "linked", "is the address 169.254.169.254").await?;
    let strangers = || async { Ok([proxy.asked("127.0.0.2"), proxy.asked("169.254")].concat()) };
    stays("requests for refused addresses", Vec::<String>::new(), Duration::from_secs(2), strangers).await?;
    ensure!(theirs.asked("").is_empty(), "a proxy of the environment is asked: {:?}", theirs.asked(""));
    Ok(())
}

/// Each request to a store names the build that sent it.
pub async fn each_request_to_a_store_names_the_build(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "agents").await?;
    let proxy = ForwardProxy::start().await?;
    let flags = [format!("--namespaces={}", scene.namespace), format!("--store-proxy={}", proxy.url())];
    let _operator = world.operator("agents", &[&flags[0], &flags[1], "--leader-elect=false"])?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    world.moto.create(&key, &json!({"password": "two"}).to_string()).await?;
    for (name, store) in [("from-bao", "vault"), ("from-aws", "aws")] {
        scene.policy(name, store, &[("password", &key, "password")], json!({})).await?;
        scene.wait_synced(name).await?;
    }
    for address in [world.bao.address(), world.moto.endpoint()] {
        let agents = proxy.agents(address.trim_start_matches("http://"));
        ensure!(!agents.is_empty(), "nothing came to {address} by the proxy");
        // The AWS SDK adds its own name behind ours.
        let ours = |agent: &String| agent.split_once(')').is_some_and(|(ours, _)| named(&format!("{ours})")));
        ensure!(agents.iter().all(ours), "{agents:?}");
    }
    Ok(())
}
