//! Functions that templates may call beside the built-in ones of Go's `text/template`: those of Sprig and External
//! Secrets that give the same result for the same arguments. Each is called within the bounds of [`call`].

mod binary;
mod builtin;
mod call;
mod crypto;
mod dicts;
mod encoding;
mod iterations;
mod jwk;
mod lists;
mod math;
mod pem;
mod pkcs12;
mod regexes;
mod strings;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use gotmpl::{FuncMap, TemplateError, Value};

pub use binary::{lower, value};
pub use call::Run;
use call::{Call, Outcome};

use super::work::Resource;

/// Marks messages that are ours and thus free of values.
const OWN: &str = "rekey: ";

/// Counts the steps of a round of a loop and prints nothing. No template can call it: a name has no space.
pub const COUNT: &str = "count steps";

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
    let (run, nothing) = (Arc::clone(run), Arc::<str>::from(""));
    let count = move |arguments: &[Value]| {
        let steps = arguments.first().and_then(call::int).and_then(|steps| usize::try_from(steps).ok());
        match run.work.spend(Resource::Steps, steps.unwrap_or(usize::MAX)) {
            Ok(()) => Ok(Value::String(Arc::clone(&nothing))),
            Err(ended) => Err(TemplateError::Exec(format!("{OWN}{}", ended.text()))),
        }
    };
    map.insert(COUNT.to_owned(), Arc::new(count));
    map
}

/// Why there is no such function; `None`: there is.
pub fn refusal(name: &str) -> Option<String> {
    const ENGINE: [&str; 6] = ["and", "or", "not", "len", "index", "call"];
    static KNOWN: LazyLock<BTreeSet<&str>> =
        LazyLock::new(|| TABLES.into_iter().flatten().map(|(name, _)| *name).chain(ENGINE).collect());
    if KNOWN.contains(name) {
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

/// What one of our functions wrote, if the message of the engine is that.
pub fn own_error(text: &str) -> Option<&str> {
    text.strip_prefix(OWN)
}
