//! The kubelet.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use super::{NAME, enclosure::Enclosure, runtime::Runtime};
use crate::{
    plane::{
        scratch::Scratch,
        servers::{Servers, flag},
    },
    process::{Process, free_port},
};

pub(super) fn start(enclosure: &Enclosure, servers: &Servers, runtime: &Runtime, scratch: &Scratch) -> Result<Process> {
    let directory = scratch.path();
    let user = format!("system:node:{NAME}");
    let kubeconfig = servers.kubeconfig("kubelet", &user, &["system:nodes"])?;
    let (certificate, key) = servers.authority.server(&[NAME, "127.0.0.1"])?.write(directory, "kubelet")?;
    let authority = directory.join("ca.crt");
    fs::write(&authority, servers.authority.pem()).context("write the authority")?;
    let config = directory.join("kubelet.json");
    fs::write(&config, configuration(directory, runtime, &certificate, &key, &authority)?)
        .context("write the configuration of the kubelet")?;
    let mut command = enclosure.command("kubelet");
    command
        .arg(flag("config", &config))
        .arg(flag("kubeconfig", &kubeconfig))
        .arg(flag("root-dir", &directory.join("kubelet")))
        .arg(flag("cert-dir", &directory.join("pki")))
        // The API server asks a node under its name for logs: this one leads to the loopback address.
        .arg(format!("--hostname-override={NAME}"))
        .arg("--v=2");
    Process::spawn("kubelet", &command, directory)
}

fn configuration(
    directory: &Path,
    runtime: &Runtime,
    certificate: &Path,
    key: &Path,
    authority: &Path,
) -> Result<Vec<u8>> {
    let content = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": free_port()?,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "tlsCertFile": certificate,
        "tlsPrivateKeyFile": key,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": authority },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": format!("unix://{}", runtime.socket.display()),
        "podLogsDir": directory.join("pod-logs"),
        "volumePluginDir": directory.join("volume-plugins"),
        "resolvConf": "",
        "maxPods": 200,
        // Checks that a real node needs, and a machine that also builds does not.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": false,
        "oomScoreAdj": 0,
        // Volumes follow a changed Secret within this time instead of a minute.
        "syncFrequency": "2s",
        "nodeStatusUpdateFrequency": "5s",
    });
    Ok(serde_json::to_vec_pretty(&content)?)
}
