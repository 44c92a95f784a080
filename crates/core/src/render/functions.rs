//! Functions that templates may call: the built-in ones of Go's `text/template`, and those of Sprig and External Secrets
//! that give the same result for the same arguments. Each is called within the bounds of [`call`].

mod builtin;
mod call;
mod cases;
mod cast;
mod choices;
mod crypto;
mod decimals;
mod dicts;
#[cfg(test)]
mod documented;
mod durations;
mod encoding;
mod equality;
mod iterations;
mod json;
mod jwk;
mod lists;
mod math;
mod paths;
mod pem;
mod pkcs12;
mod reflection;
mod regexes;
mod semver;
mod signature;
mod strings;
#[cfg(test)]
mod tests;
mod urls;
mod yaml;

use std::{collections::BTreeMap, sync::LazyLock};

use call::Outcome;
pub use call::{Call, Failure, Function, MAX_DEPTH, MAX_RESULT, Run};
use signature::Signature;
pub use signature::Type;

/// A function: its name in templates, its parameters, and its code.
type Entry = (&'static str, Signature, fn(&Call<'_>) -> Outcome);

const TABLES: [&[Entry]; 20] = [
    builtin::TABLE,
    cases::TABLE,
    choices::TABLE,
    crypto::TABLE,
    dicts::TABLE,
    durations::TABLE,
    encoding::TABLE,
    json::TABLE,
    jwk::TABLE,
    lists::TABLE,
    math::TABLE,
    paths::TABLE,
    pem::TABLE,
    pkcs12::TABLE,
    reflection::TABLE,
    regexes::TABLE,
    semver::TABLE,
    strings::TABLE,
    urls::TABLE,
    yaml::TABLE,
];

/// Functions of Sprig that need a clock, chance, the environment or the network.
const IMPURE: [&str; 33] = [
    "ago",
    "date",
    "dateInZone",
    "dateModify",
    "date_in_zone",
    "date_modify",
    "mustDateModify",
    "must_date_modify",
    "htmlDate",
    "htmlDateInZone",
    "now",
    "toDate",
    "mustToDate",
    "unixEpoch",
    "env",
    "expandenv",
    "getHostByName",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "uuidv4",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "encryptAES",
];

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    static ALL: LazyLock<BTreeMap<&str, Function>> = LazyLock::new(|| {
        let all = TABLES.into_iter().flatten();
        all.map(|&(name, signature, body)| (name, Function { name, signature, body })).collect()
    });
    ALL.get(name)
}

/// Why there is no such function.
pub fn refusal(name: &str) -> String {
    let why = if IMPURE.contains(&name) {
        "it would give something else each time, so each round would publish a new value; take the value from a store, \
         or use source.generated or a rotation"
    } else {
        "docs/reference/templates.md lists all functions"
    };
    format!("there is no function {name:?}: {why}")
}
