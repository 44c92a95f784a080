//! TLS to a server, by rustls and aws-lc-rs as everywhere else.

use std::{pin::Pin, sync::Arc};

use rekey_api::reference::TlsMode;
use rekey_core::rotator::database::ServerTls;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    link::Link,
    stream::{Noted, Watched},
};

type Plain = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::Stream;
type Handshake = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect;

/// Makes TLS on a connection, and watches what the server sends through it.
pub(super) struct Connector {
    handshake: Handshake,
    noted: Noted,
}

impl Connector {
    /// For a server of this name.
    pub(super) fn new(config: ClientConfig, host: &str, noted: Noted) -> Self {
        let made = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut MakeRustlsConnect::new(config), host);
        let handshake = made.unwrap_or_else(|never| match never {});
        Self { handshake, noted }
    }
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Watched<Plain>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let Self { handshake, noted } = self;
        Box::pin(async move { Ok(Watched::new(handshake.connect(stream).await?, noted)) })
    }
}

/// What to check of the server's certificate; `None`: no TLS.
///
/// # Errors
/// When no certificate is there to trust.
pub(super) async fn config(tls: &ServerTls) -> Result<Option<ClientConfig>, Link> {
    let is_name_checked = match tls.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::VerifyFull => true,
        TlsMode::VerifyCa => false,
    };
    let roots = match &tls.roots {
        Some(pem) => given(pem)?,
        None => system().await?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| Link::Handshake)?;
    let config = if is_name_checked {
        builder.with_root_certificates(roots)
    } else {
        let chain = ChainOnly { roots, algorithms: algorithms(&provider) };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(chain))
    };
    Ok(Some(config.with_no_client_auth()))
}

fn given(pem: &[u8]) -> Result<RootCertStore, Link> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        if !matches!(added, Some(Ok(()))) {
            return Err(Link::Roots);
        }
    }
    if roots.is_empty() { Err(Link::Roots) } else { Ok(roots) }
}

async fn system() -> Result<RootCertStore, Link> {
    // Over a hundred files on some systems.
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.map(|found| found.certs).unwrap_or_default());
    if roots.is_empty() { Err(Link::NoSystemRoots) } else { Ok(roots) }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// Checks the chain and not the host name: `VerifyCa`, which users choose for servers that are reached by another name than
/// the certificate's.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
