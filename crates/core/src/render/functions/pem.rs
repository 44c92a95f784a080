//! PEM texts and certificate chains, as in External Secrets.

use std::net::IpAddr;

use x509_parser::prelude::{GeneralName, X509Certificate};

use super::{
    Entry,
    call::{Call, Outcome},
    signature::{Type::Text, takes},
};
use crate::render::{
    certificate,
    template::value::{List, Value},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("filterPEM", takes(&[Text, Text]), filter_pem),
    ("filterCertChain", takes(&[Text, Text]), filter_chain),
    ("certSANs", takes(&[Text]), subject_alternative_names),
];

/// Blocks of PEM as a value of the engine.
pub fn encoded<'a>(tag: &str, ders: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut all = Vec::new();
    for der in ders {
        all.extend_from_slice(certificate::encode(tag, der).expose());
    }
    all.into()
}

fn filter_pem(call: &Call<'_>) -> Outcome {
    let wanted = call.text(0)?;
    let Some(blocks) = certificate::blocks(call.bytes(1)?) else {
        return call.fail("the text is not PEM");
    };
    let mut kept = String::new();
    for block in blocks.iter().filter(|block| block.tag().eq_ignore_ascii_case(&wanted)) {
        let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
        kept.push_str(&::pem::encode_config(block, config));
    }
    Ok(kept.into())
}

fn filter_chain(call: &Call<'_>) -> Outcome {
    let Some(found) = certificate::certificates(call.bytes(1)?) else {
        return call.fail("the text holds no certificates in PEM");
    };
    let Some(chain) = certificate::chain(&found) else {
        return call.fail("the certificates are no chain from one leaf to its root");
    };
    let is_root = |der: &Vec<u8>| certificate::parse(der).is_some_and(|parsed| is_self_issued(&parsed));
    let roots = usize::from(chain.last().is_some_and(is_root));
    let (below, root) = chain.split_at(chain.len() - roots);
    let (leaf, intermediate) = below.split_at(below.len().min(1));
    let part = match call.text(0)?.as_ref() {
        "leaf" => leaf,
        "intermediate" => intermediate,
        "root" => root,
        _ => return call.fail("its first argument is leaf, intermediate or root"),
    };
    Ok(encoded("CERTIFICATE", part.iter().map(Vec::as_slice)))
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn subject_alternative_names(call: &Call<'_>) -> Outcome {
    let found = certificate::certificates(call.bytes(0)?).unwrap_or_default();
    let Some(parsed) = found.first().and_then(|der| certificate::parse(der)) else {
        return call.fail("the text holds no certificate in PEM");
    };
    let extension = parsed.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    // In the order of External Secrets: DNS names, addresses, mail, URIs.
    let kinds: [fn(&GeneralName<'_>) -> Option<String>; 4] = [
        |name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None },
        |name| if let GeneralName::IPAddress(bytes) = name { address(bytes) } else { None },
        |name| if let GeneralName::RFC822Name(name) = name { Some((*name).to_owned()) } else { None },
        |name| if let GeneralName::URI(name) = name { Some((*name).to_owned()) } else { None },
    ];
    Ok(List::of_texts(kinds.iter().flat_map(|kind| names.iter().filter_map(kind))).into())
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}
