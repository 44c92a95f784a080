//! A network of a test's own, for pods that call servers: on the loopback address they would find no server, and the
//! machine's own addresses are not for tests.
//!
//! It is a network namespace with this program and all that it starts in it. Nothing in it reaches the outside, and it is gone
//! with its last process.

use std::{fs, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::{
    helm,
    plane::{
        Kubernetes,
        programs::{self, Group},
    },
    python,
};

/// Where servers listen that pods call.
const SERVERS: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// Where the API server listens: another one, since no store may be at the address of an API server.
const API_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);

/// The first address of the Services, which Kubernetes gives to that of the API server. No proxy leads from it to the
/// server, so the server listens on it, too.
const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The network that this program is in. See the [module documentation](self).
#[derive(Debug)]
pub struct Network(());

impl Network {
    /// Leaves the machine's network for a new one. Fetches before all that tests need from outside: the programs of a
    /// plane and a node, the Python tools, both Helms.
    ///
    /// # Errors
    /// When this is not root, something cannot be fetched, or threads run already: they would stay in the machine's network.
    pub fn enter() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "a network namespace needs root: run this test as root");
        let kubernetes = Kubernetes::asked()?;
        programs::build(Group::Plane, kubernetes)?;
        programs::build(Group::Node, kubernetes)?;
        python::tools()?;
        helm::helms()?;
        let threads = fs::read_dir("/proc/self/task").context("count the threads")?.count();
        ensure!(threads == 1, "{threads} threads run already and would stay in the machine's network: enter it first");
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        for arguments in [
            "link set lo up",
            // Both ends of a cable: one has the addresses, the other leads nowhere.
            "link add servers type veth peer name nowhere",
            "link set nowhere up",
            "link set servers up",
            &format!("address add {SERVERS}/24 dev servers"),
            &format!("address add {API_SERVER}/24 dev servers"),
            &format!("address add {API_SERVICE}/32 dev servers"),
            // The kubelet takes the address of the node from it.
            "route add default dev servers",
        ] {
            ip(arguments)?;
        }
        Ok(Self(()))
    }

    /// The address that pods reach servers of the test at.
    #[must_use]
    pub fn servers(&self) -> Ipv4Addr {
        SERVERS
    }

    /// The address of the API server.
    #[must_use]
    pub fn api_server(&self) -> Ipv4Addr {
        API_SERVER
    }

    /// The address that pods get for it.
    #[must_use]
    pub fn api_service(&self) -> Ipv4Addr {
        API_SERVICE
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("run ip, of the package iproute2")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
