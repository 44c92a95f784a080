//! Functions that templates may call beside the built-in ones of Go's `text/template`: those of Sprig and External
//! Secrets that give the same result for the same arguments. Each is called within the bounds of [`call`].

mod binary;
mod builtin;
mod call;
mod crypto;
mod dicts;
mod encoding;
mod jwk;
mod lists;
mod math;
mod pem;
mod pkcs12;
mod regexes;
mod strings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value};

pub use binary::{lower, value};
pub use call::Run;
use call::{Call, Outcome};

/// Marks messages that are ours and thus free of values.
const OWN: &str = "rekey: ";

/// A function, by the name that templates call it.
type Entry = (&'static str, fn(&Call<'_>) -> Outcome);

const TABLES: [&[Entry]; 11] = [
    builtin::TABLE,
    crypto::TABLE,
    dicts::TABLE,
    encoding::TABLE,
    jwk::TABLE,
    lists::TABLE,
    math::TABLE,
    pem::TABLE,
    pkcs12::TABLE,
    regexes::TABLE,
    strings::TABLE,
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

/// All functions, sharing the bounds of `run`.
pub fn all(run: &Arc<Run>) -> FuncMap {
    let mut map = FuncMap::new();
    for (name, function) in TABLES.into_iter().flatten().copied() {
        let run = Arc::clone(run);
        let call = move |arguments: &[Value]| {
            let call = Call { run: &run, name, arguments };
            call.run(function).map_err(|failure| TemplateError::Exec(format!("{OWN}{}", failure.0)))
        };
        map.insert(name.to_owned(), Arc::new(call));
    }
    map
}

/// Why there is no such function; `None`: there is.
pub fn refusal(name: &str) -> Option<String> {
    const ENGINE: [&str; 6] = ["and", "or", "not", "len", "index", "call"];
    let known = ENGINE.contains(&name) || TABLES.into_iter().flatten().any(|(known, _)| *known == name);
    if known {
        return None;
    }
    let why = if IMPURE.contains(&name) {
        "it would give something else each time, so every look would be a new value; take the value from a store, or use \
         source.generated or a rotation"
    } else {
        "README, \"Template functions\", lists those there are"
    };
    Some(format!("there is no function {name:?}: {why}"))
}

/// The part of an engine message that one of our functions wrote.
pub fn own_error(text: &str) -> Option<&str> {
    text.find(OWN).map(|position| &text[position + OWN.len()..])
}
