//! TLS on both sides: the certificate for clients, and the trust and certificate for upstream.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::serve::Body;

pub(super) type Client = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Body>;

pub(super) struct Server {
    pub(super) acceptor: TlsAcceptor,
    pub(super) ca_pem: String,
}

/// A server certificate for loopback, from an authority made for it.
pub(super) fn server() -> Result<Server> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, "rekey fault proxy");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("set up the proxy's own certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Server { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: authority.pem() })
}

/// A client that trusts one authority (`""`: none, for plain HTTP) and shows this certificate.
pub(super) fn client(ca_pem: &str, identity: Option<(&str, &str)>) -> Result<Client> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem).context("read the server's authority")? {
        roots.add(certificate).context("trust the server's authority")?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate).context("read the client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("read the client's key")?;
            builder.with_client_auth_cert(chain, key).context("use the client certificate")?
        }
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
