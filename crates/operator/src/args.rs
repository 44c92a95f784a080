//! The command line. Every flag is also an environment variable, `REKEY_` and its name; we read nothing else of the
//! environment but what names the cluster (`KUBECONFIG`, or the files of a pod) and where the system keeps its
//! certificates (`SSL_CERT_DIR`, `SSL_CERT_FILE`, by the TLS library).

#![expect(clippy::doc_markdown, reason = "these comments are printed by --help")]

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::version::VERSION;

/// Keeps Secrets equal to what stores hold, restarts their consumers, rotates on schedule.
#[derive(Debug, Parser)]
#[command(name = "rekey", version = VERSION)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(Box<RunOptions>),
    /// Print the custom resource definitions as YAML.
    Crds,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Settings of the operator.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct RunOptions {
    /// Work on these namespaces only (comma-separated). Default: all that its bindings open.
    #[arg(long, env = "REKEY_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Allow stores by http and at every address, also the API server's and those of metadata services. For
    /// development.
    #[arg(long, env = "REKEY_ALLOW_INSECURE_STORES")]
    pub allow_insecure_stores: bool,
    /// Allow stores at these otherwise refused addresses (comma-separated CIDRs, for example 127.0.0.0/8).
    #[arg(long, env = "REKEY_ALLOW_ADDRESSES", value_delimiter = ',')]
    pub allow_addresses: Vec<IpNet>,
    /// Reach stores through this HTTP proxy. Rekey ignores proxies from the environment.
    #[arg(long, env = "REKEY_STORE_PROXY")]
    pub store_proxy: Option<String>,
    /// Allow a RemoteStore without `auth` to use the operator's own AWS credential chain. A ClusterRemoteStore always
    /// may.
    #[arg(long, env = "REKEY_ALLOW_AMBIENT_CREDENTIALS")]
    pub allow_ambient_credentials: bool,
    /// Use only credential Secrets that name their users in `rekey.dev/usable-by`.
    #[arg(long, env = "REKEY_REQUIRE_CONSENT")]
    pub require_consent: bool,
    /// Allow what is built and not yet proven safe: `spec.rotator.postgres`. Not where a lost login matters.
    #[arg(long, env = "REKEY_ALLOW_ALPHA")]
    pub allow_alpha: bool,
    /// Address of the metrics. `[::]` is every address, of IPv6 and of IPv4.
    #[arg(long, env = "REKEY_METRICS_ADDR", default_value = "[::]:9464")]
    pub metrics_addr: SocketAddr,
    /// Address of /livez and /readyz. `[::]` is every address, of IPv6 and of IPv4.
    #[arg(long, env = "REKEY_HEALTH_ADDR", default_value = "[::]:8081")]
    pub health_addr: SocketAddr,
    /// Form of log lines.
    #[arg(long, env = "REKEY_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// How much to log.
    #[arg(long, env = "REKEY_LOG_LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// How many objects of one kind to work on at the same time (1 to 256).
    #[arg(long, env = "REKEY_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// How many restarted workloads of one namespace may be under way at the same time, over all policies.
    #[arg(long, env = "REKEY_ROLLOUTS_PER_NAMESPACE", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub rollouts_per_namespace: u16,
    /// How many restarted workloads of the whole cluster may be under way at the same time.
    #[arg(long, env = "REKEY_ROLLOUTS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub rollouts: u16,
    /// Wait for the leader's Lease before working, so that several replicas can run.
    #[arg(long, env = "REKEY_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// The operator's own namespace. Default: the pod's, else rekey-system.
    #[arg(long, env = "REKEY_OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::*;

    /// The rows of the reference's table of flags: flag and default.
    fn documented() -> BTreeMap<String, String> {
        let rows = include_str!("../../../docs/reference/flags.md").lines().filter(|line| line.starts_with("| `--"));
        rows.map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
        })
        .collect()
    }

    #[test]
    fn every_setting_is_a_flag_and_a_variable_and_is_documented() {
        let command = Args::command();
        let run = command.find_subcommand("run").unwrap();
        let mut documented = documented();
        for argument in run.get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap_or_else(|| panic!("{} is no flag", argument.get_id()));
            let variable = format!("REKEY_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
            assert!(argument.get_help().is_some(), "--{flag} has no help");
            let default = documented.remove(&format!("--{flag}"));
            let default = default.unwrap_or_else(|| panic!("--{flag} is not in docs/reference/flags.md"));
            if let [known] = argument.get_default_values() {
                assert_eq!(Some(default.as_str()), known.to_str(), "--{flag}");
            }
        }
        assert_eq!(documented, BTreeMap::new(), "the reference has flags that do not exist");
    }
}
