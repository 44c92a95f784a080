//! containerd, with the images imported and a network for pods.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{enclosure::Enclosure, image};
use crate::{plane::scratch::Scratch, process::Process, wait};

const PLUGINS: &str = "/usr/lib/cni";
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// The directories and the socket of containerd.
pub(super) struct Runtime {
    pub(super) process: Option<Process>,
    pub(super) socket: PathBuf,
    state: PathBuf,
}

impl Runtime {
    pub(super) async fn start(enclosure: &Enclosure, programs: &Path, scratch: &Scratch) -> Result<Self> {
        let directory = scratch.path();
        let network = directory.join("network");
        fs::create_dir_all(&network)?;
        fs::write(network.join("10-pods.conflist"), pod_network(directory)?).context("write the network of pods")?;
        let socket = directory.join("containerd.sock");
        let state = directory.join("state");
        let config = directory.join("containerd.toml");
        fs::write(&config, configuration(directory, &network, snapshotter(directory)?))
            .context("write the configuration of containerd")?;

        let archive = directory.join("images.tar");
        image::write(&programs.join("consumer"), &archive)?;
        let mut command = enclosure.command("containerd");
        command.arg("--config").arg(&config);
        let process = Process::spawn("containerd", &command, directory)?;
        let mut runtime = Self { process: Some(process), socket, state };
        wait::until("containerd serves", STARTS_WITHIN, async || {
            if let Some(process) = &mut runtime.process {
                process.alive()?;
            }
            Ok(runtime.control(enclosure, &["version"]).ok())
        })
        .await?;
        runtime.control(enclosure, &["images", "import", &archive.to_string_lossy()])?;
        Ok(runtime)
    }

    /// Runs `ctr` in the namespace of Kubernetes.
    pub(super) fn control(&self, enclosure: &Enclosure, arguments: &[&str]) -> Result<String> {
        let socket = self.socket.to_string_lossy();
        let mut all = vec!["--address", &socket, "--namespace", "k8s.io"];
        all.extend(arguments);
        enclosure.run("ctr", &all)
    }

    /// The first process of a container, by its number in the enclosure.
    pub(super) fn process_of(&self, container: &str) -> Result<u32> {
        let path = self.state.join("io.containerd.runtime.v2.task/k8s.io").join(container).join("init.pid");
        let text = fs::read_to_string(&path).with_context(|| format!("container {container} does not run"))?;
        text.trim().parse().with_context(|| format!("read {}", path.display()))
    }
}

/// What must be installed; the error names the packages.
pub(super) fn check_installed() -> Result<()> {
    let places = ["/usr/local/sbin/runc", "/usr/local/bin/runc", "/usr/sbin/runc", "/usr/bin/runc"];
    if !places.iter().any(|place| Path::new(place).exists()) {
        bail!("a node needs runc: install the Debian package runc");
    }
    for plugin in ["ptp", "host-local"] {
        if !Path::new(PLUGINS).join(plugin).exists() {
            bail!("{PLUGINS}/{plugin} is missing: install the Debian package containernetworking-plugins");
        }
    }
    Ok(())
}

/// containerd lays image layers over each other, or copies them where the directory is itself an overlay, as in a
/// container.
fn snapshotter(directory: &Path) -> Result<&'static str> {
    let kind =
        Command::new("stat").args(["--file-system", "--format=%T"]).arg(directory).output().context("run stat")?;
    Ok(if kind.stdout.starts_with(b"overlay") { "native" } else { "overlayfs" })
}

fn configuration(directory: &Path, network: &Path, snapshotter: &str) -> String {
    let root = directory.join("containerd");
    let state = directory.join("state");
    let socket = directory.join("containerd.sock");
    let (root, state, socket, network) = (root.display(), state.display(), socket.display(), network.display());
    let sandbox = image::SANDBOX;
    // The plugin `opt` makes /opt/containerd, `nri` and the TCP service open doors that no test needs.
    // Without CAP_SYS_RESOURCE, as in many containers, no process may get a lower out-of-memory score.
    format!(
        r#"version = 3
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{PLUGINS}"]
    conf_dir = "{network}"
    use_internal_loopback = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
    )
}

/// Each pod gets a link of its own to the machine, with an address that no other node on it has.
fn pod_network(directory: &Path) -> Result<Vec<u8>> {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    // 100.64.0.0/10 is set aside for such use; the number of this process picks one of its 16,384 parts.
    let (high, low) = (0..=u16::MAX)
        .map(|step| (u64::from(std::process::id()) + u64::from(step)) % 16_384)
        .map(|part| (64 + part / 256, part % 256))
        // The table shows addresses as little-endian numbers.
        .find(|(high, low)| !routes.contains(&format!("{low:02X}{high:02X}64")))
        .context("all of 100.64.0.0/10 is in use")?;
    Ok(serde_json::to_vec(&json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": format!("100.{high}.{low}.0/24") }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                "dataDir": directory.join("addresses"),
            },
        }],
    }))?)
}
