//! The processes of a control plane and the flags they run with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    audit,
    certificates::{Authority, signing_key},
    kubeconfig,
    scratch::Scratch,
};
use crate::{
    network::Network,
    process::{Process, free_port},
    wait,
};

const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// The parts of a running control plane. It outlives the nodes that run on it, which hold a reference to it.
pub(crate) struct Servers {
    // Dropped in this order: the API server hangs if etcd goes first, and its clients go before it.
    scheduler: Option<Process>,
    controllers: Option<Process>,
    api: Option<Process>,
    etcd: Option<Process>,
    pub(crate) scratch: Scratch,
    pub(crate) authority: Authority,
    pub(crate) url: String,
    /// Where etcd listens.
    pub(super) etcd_url: String,
    programs: PathBuf,
}

/// Where the API server listens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'n> {
    /// On the loopback address: by programs of this machine, and by no pod.
    Loopback,
    /// By pods, too.
    Network(&'n Network),
}

/// Files that the API server and the controller manager read.
struct Files {
    ca: PathBuf,
    signing_key: PathBuf,
    verifying_key: PathBuf,
    policy: PathBuf,
    serving: (PathBuf, PathBuf),
    kubelet_client: (PathBuf, PathBuf),
}

impl Servers {
    /// Starts etcd and the API server; `arguments` are added to those of the API server.
    pub(super) async fn start(programs: PathBuf, place: Place<'_>, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("rekey-plane-")?;
        let authority = Authority::new()?;
        let (etcd, etcd_url) = etcd(&programs, scratch.path()).await?;
        let port = place.port()?;
        let url = format!("https://127.0.0.1:{port}");
        let (scheduler, controllers, api, etcd) = (None, None, None, Some(etcd));
        let mut servers = Self { scheduler, controllers, api, etcd, scratch, authority, url, etcd_url, programs };
        let files = Files::write(servers.directory(), &servers.authority, &place.names())?;
        let mut command = servers.api(&files);
        command.arg(format!("--secure-port={port}")).args(place.flags()).args(arguments);
        servers.api = Some(Process::spawn("kube-apiserver", &command, servers.directory())?);
        Ok(servers)
    }

    /// Starts the controller manager and the scheduler, for an API server that is ready.
    pub(super) fn start_controllers(&mut self) -> Result<()> {
        let manager = self.kubeconfig("kube-controller-manager", "system:kube-controller-manager", &[])?;
        let mut command = Command::new(self.programs.join("kube-controller-manager"));
        command
            .args(["--secure-port=0", "--leader-elect=false", "--use-service-account-credentials"])
            .arg(flag("kubeconfig", &manager))
            // With its default of 20 requests a second the controller manager, and not Rekey, would set the pace of
            // many rollouts.
            .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
            // It creates this directory; by default it is in another place.
            .arg(flag("flex-volume-plugin-dir", &self.directory().join("volume-plugins")))
            .arg(flag("root-ca-file", &self.directory().join("ca.crt")))
            .arg(flag("service-account-private-key-file", &self.directory().join("accounts.key")));
        self.controllers = Some(Process::spawn("kube-controller-manager", &command, self.directory())?);

        let scheduler = self.kubeconfig("kube-scheduler", "system:kube-scheduler", &[])?;
        let mut command = Command::new(self.programs.join("kube-scheduler"));
        command.args(["--secure-port=0", "--leader-elect=false"]).arg(flag("kubeconfig", &scheduler));
        self.scheduler = Some(Process::spawn("kube-scheduler", &command, self.directory())?);
        Ok(())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.directory().join("audit.log")
    }

    /// Writes a kubeconfig for a user of this plane.
    pub(crate) fn kubeconfig(&self, name: &str, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let path = self.directory().join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &self.url, &self.authority.pem(), &self.authority.client(user, groups)?)?;
        Ok(path)
    }

    /// Fails when one of the processes has ended.
    pub(super) fn alive(&mut self) -> Result<()> {
        for process in [&mut self.etcd, &mut self.api, &mut self.controllers, &mut self.scheduler].into_iter().flatten()
        {
            process.alive()?;
        }
        Ok(())
    }

    /// Stops all, in the order that lets each end properly.
    pub(super) fn stop(&mut self) -> Result<()> {
        for process in [&self.scheduler, &self.controllers].into_iter().flatten() {
            process.signal(Signal::SIGTERM).ok();
        }
        let mut processes = [self.scheduler.take(), self.controllers.take(), self.api.take(), self.etcd.take()];
        for process in processes.iter_mut().flatten() {
            process.stop()?;
        }
        Ok(())
    }

    fn api(&self, files: &Files) -> Command {
        let mut command = Command::new(self.programs.join("kube-apiserver"));
        command
            .arg(format!("--etcd-servers={}", self.etcd_url))
            .arg(flag("client-ca-file", &files.ca))
            .arg(flag("tls-cert-file", &files.serving.0))
            .arg(flag("tls-private-key-file", &files.serving.1))
            .arg(flag("kubelet-client-certificate", &files.kubelet_client.0))
            .arg(flag("kubelet-client-key", &files.kubelet_client.1))
            .arg(flag("kubelet-certificate-authority", &files.ca))
            .arg("--kubelet-preferred-address-types=Hostname")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag("service-account-key-file", &files.verifying_key))
            .arg(flag("service-account-signing-key-file", &files.signing_key))
            .args(["--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC"])
            .args(["--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false"])
            .arg(flag("audit-policy-file", &files.policy))
            .arg(flag("audit-log-path", &self.audit_log()))
            // Without a size the log would be rotated at 100 MB, and a count would miss what went before.
            .args(["--audit-log-mode=blocking", "--audit-log-maxsize=1000000"]);
        command
    }
}

impl Place<'_> {
    fn port(self) -> Result<u16> {
        match self {
            Self::Loopback => free_port(),
            // That of the Service `kubernetes`. No other program is in the network.
            Self::Network(_) => Ok(443),
        }
    }

    fn flags(self) -> Vec<String> {
        match self {
            Self::Loopback => vec![
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                // The address of the Service `kubernetes` may not be a loopback one, and no pod can reach this server.
                "--endpoint-reconciler-type=none".to_owned(),
            ],
            Self::Network(network) => {
                vec!["--bind-address=0.0.0.0".to_owned(), format!("--advertise-address={}", network.api_server())]
            }
        }
    }

    /// The names and addresses of its certificate.
    fn names(self) -> Vec<String> {
        let mut names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        if let Self::Network(network) = self {
            names.extend([network.api_server().to_string(), network.api_service().to_string()]);
            names.push("kubernetes.default.svc".to_owned());
        }
        names
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop().ok();
    }
}

impl Files {
    fn write(directory: &Path, authority: &Authority, names: &[String]) -> Result<Self> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let files = Self {
            ca: directory.join("ca.crt"),
            signing_key: directory.join("accounts.key"),
            verifying_key: directory.join("accounts.pub"),
            policy: directory.join("audit-policy.json"),
            serving: authority.server(&names)?.write(directory, "apiserver")?,
            kubelet_client: authority
                .client("kube-apiserver-kubelet-client", &["system:masters"])?
                .write(directory, "kubelet-client")?,
        };
        fs::write(&files.ca, authority.pem()).context("write the authority")?;
        let (private, public) = signing_key()?;
        fs::write(&files.signing_key, private).context("write the key of the ServiceAccount tokens")?;
        fs::write(&files.verifying_key, public).context("write the key of the ServiceAccount tokens")?;
        fs::write(&files.policy, audit::POLICY).context("write the audit policy")?;
        Ok(files)
    }
}

async fn etcd(programs: &Path, directory: &Path) -> Result<(Process, String)> {
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg(flag("data-dir", &directory.join("etcd")))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        // Nothing here has to survive a power failure.
        .args(["--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=8589934592"]);
    let mut process = Process::spawn("etcd", &command, directory)?;
    wait::until("etcd accepts connections", STARTS_WITHIN, async || {
        process.alive()?;
        Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop))
    })
    .await?;
    Ok((process, url))
}

pub(crate) fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
