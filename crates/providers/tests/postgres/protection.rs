//! TLS, without a way round it.

use std::sync::Arc;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rekey_api::reference::TlsMode;
use rekey_core::{
    rotator::database::{Databases as _, Server, ServerTls},
    store::{StoreError, StoreErrorKind},
};
use rekey_testkit::postgres::Postgres;

use crate::ground::{ADMIN, Ground, told};

async fn ask(ground: &Ground, server: Server) -> Result<(), StoreError> {
    ground.servers.roles(&server, &ground.admin, &[ADMIN]).await.map(drop)
}

fn with(ground: &Ground, mode: TlsMode, host: &str, roots: Option<Vec<u8>>) -> Server {
    Server { host: host.to_owned(), tls: ServerTls { mode, roots }, ..ground.server() }
}

fn roots(ground: &Ground) -> Option<Vec<u8>> {
    ground.server().tls.roots
}

/// An authority that has signed nothing here.
fn stranger() -> Result<Vec<u8>> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?.pem().into_bytes())
}

pub async fn full_check_takes_the_right_name(ground: Arc<Ground>) -> Result<()> {
    Ok(ask(&ground, with(&ground, TlsMode::VerifyFull, "localhost", roots(&ground))).await?)
}

pub async fn full_check_refuses_another_name(ground: Arc<Ground>) -> Result<()> {
    let asked = ask(&ground, with(&ground, TlsMode::VerifyFull, "127.0.0.1", roots(&ground))).await;
    told(asked, StoreErrorKind::Invalid, "has a certificate for another name: correct the host")
}

pub async fn check_of_the_chain_takes_another_name(ground: Arc<Ground>) -> Result<()> {
    Ok(ask(&ground, with(&ground, TlsMode::VerifyCa, "127.0.0.1", roots(&ground))).await?)
}

pub async fn unknown_authority_is_refused(ground: Arc<Ground>) -> Result<()> {
    for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa] {
        for roots in [Some(stranger()?), None] {
            let asked = ask(&ground, with(&ground, mode, "localhost", roots)).await;
            told(asked, StoreErrorKind::Invalid, "of a CA that is not trusted: put this CA into tls.caBundle")?;
        }
    }
    Ok(())
}

pub async fn bundle_that_is_none_is_refused(ground: Arc<Ground>) -> Result<()> {
    let broken = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    for pem in ["", "no PEM", broken] {
        let asked = ask(&ground, with(&ground, TlsMode::VerifyFull, "localhost", Some(pem.into()))).await;
        told(asked, StoreErrorKind::Invalid, "tls.caBundleRef) that is not PEM")?;
    }
    Ok(())
}

pub async fn server_without_tls_gets_nothing(ground: Arc<Ground>) -> Result<()> {
    let postgres = Postgres::start()?;
    for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa] {
        let server = Server { port: postgres.port(), ..with(&ground, mode, "localhost", roots(&ground)) };
        told(ask(&ground, server).await, StoreErrorKind::Invalid, "offers no TLS, so no login was sent")?;
    }
    let seen = postgres.log()?.matches(ADMIN).count();
    assert_eq!(seen, 0, "the server has seen a login");
    Ok(())
}

pub async fn disabled_needs_the_flag(ground: Arc<Ground>) -> Result<()> {
    let server = Ground::plain(ground.postgres.port());
    told(ask(&ground, server.clone()).await, StoreErrorKind::Invalid, "Disable needs the operator flag")?;
    Ground::insecure().roles(&server, &ground.admin, &[ADMIN]).await?;
    Ok(())
}
