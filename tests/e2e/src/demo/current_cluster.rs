//! The cluster of the current kubeconfig, with the stores and the operator as processes beside it.

mod agreement;
pub mod inventory;
pub mod removal;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams, config::AuthInfo};
use rekey_testkit::{bao::OpenBao, moto::Moto};
use tempfile::TempDir;

pub use self::agreement::Cluster;
use crate::{Operator, operator::Options};

/// How long the operator's token is good: longer than anybody looks around.
const TOKEN_SECONDS: i64 = 48 * 3600;

/// See the [module documentation](self).
pub struct CurrentCluster {
    /// The cluster, as it was before.
    pub cluster: Cluster,
    /// What the consumer runs.
    pub image: String,
    /// `OpenBao`.
    pub bao: OpenBao,
    /// The AWS emulator.
    pub moto: Moto,
    directory: TempDir,
    keep: AtomicBool,
}

impl CurrentCluster {
    /// Starts the stores beside the cluster.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(cluster: Cluster, image: &str) -> Result<Self> {
        let (bao, moto) = tokio::try_join!(OpenBao::start(), Moto::start())?;
        let directory = TempDir::with_prefix("rekey-demo-").context("make a directory for logs")?;
        Ok(Self { cluster, image: image.to_owned(), bao, moto, directory, keep: AtomicBool::new(false) })
    }

    /// Where the demo's own files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// From now on the logs stay after the end.
    #[must_use]
    pub fn keep_logs(&self) -> PathBuf {
        self.keep.store(true, Ordering::Relaxed);
        self.directory().to_owned()
    }

    /// Starts the operator, with the rights of the shipped roles and no others.
    ///
    /// # Errors
    /// When it gets no token, or does not start.
    pub async fn operator(&self) -> Result<Operator> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.client.clone(), "rekey-system");
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let asked = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts
            .create_token_request("rekey", &PostParams::default(), &asked)
            .await
            .context("get a token for the operator's ServiceAccount")?;
        let token = answer.status.context("no token in the answer")?.token;
        let mut kubeconfig = self.cluster.kubeconfig.clone();
        let current = kubeconfig.contexts.iter().find(|named| named.name == self.cluster.context);
        let user = current.and_then(|named| named.context.as_ref()?.user.clone());
        kubeconfig.auth_infos.retain(|named| Some(&named.name) == user.as_ref());
        let named = kubeconfig.auth_infos.first_mut().context("the context names no user")?;
        named.auth_info = Some(AuthInfo { token: Some(token.into()), ..AuthInfo::default() });
        let path = self.directory().join("operator.kubeconfig");
        fs::write(&path, serde_saphyr::to_string(&kubeconfig)?)?; // into a directory that only its owner can read
        Operator::start("operator", self.directory(), &Options { kubeconfig: path, arguments: Vec::new() })
    }

    /// Keeps the logs if they were requested.
    pub fn close(self) {
        if self.keep.load(Ordering::Relaxed) {
            fs::remove_file(self.directory().join("operator.kubeconfig")).ok();
            let _kept = self.directory.keep();
        }
    }
}
