//! The certificate authority of one cluster, made at its start.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Signs what one cluster needs; clients and servers trust no other authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A client certificate that the API server accepts, and its key.
pub struct Identity {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 in PEM.
    pub key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = subject("rekey test cluster", &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?).context("make the authority")?;
        Ok(Self { issuer })
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client: `user` becomes the common name, the groups become organisations, as Kubernetes reads them.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        ensure!(groups.len() <= 2, "a test certificate has room for two groups; {user} asks for {groups:?}");
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = subject(user, groups);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(parameters).with_context(|| format!("make a certificate for the user {user}"))
    }

    /// A server under these host names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = subject("rekey test server", &[]);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(parameters).context("make a server certificate")
    }

    fn issue(&self, mut parameters: CertificateParams) -> Result<Identity> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

impl Identity {
    /// Writes `<name>.crt` and `<name>.key` and returns their paths.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let certificate = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        fs::write(&certificate, &self.certificate_pem).with_context(|| certificate.display().to_string())?;
        fs::write(&key, &self.key_pem).with_context(|| key.display().to_string())?;
        Ok((certificate, key))
    }
}

/// A key pair for `ServiceAccount` tokens: the private key (PKCS#8) and the public key, both in PEM.
pub(crate) fn signing_key() -> Result<(String, String)> {
    let key = KeyPair::generate().context("make the key of the ServiceAccount tokens")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn subject(name: &str, groups: &[&str]) -> DistinguishedName {
    // rcgen holds one entry for each type, so we write a second organisation by its number: room for two.
    let organisations = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    for (organisation, group) in organisations.into_iter().zip(groups) {
        subject.push(organisation, *group);
    }
    subject
}
