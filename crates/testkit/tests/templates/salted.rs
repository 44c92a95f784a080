//! Functions that salt what they hash: no two results are alike, so each is verified by Go's bcrypt instead.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rekey_testkit::oracle::Oracle;

use crate::compare::{Counts, ours};

/// The functions that this file compares.
pub const NAMES: [&str; 2] = ["bcrypt", "htpasswd"];

pub fn verified(oracle: &Oracle) -> Result<()> {
    let data: BTreeMap<String, Vec<u8>> = [
        ("password", b"hunter2".to_vec()),
        ("binary", vec![1, 0xff, b'a', 0xc3]),
        ("empty", Vec::new()),
        ("longest", b"x".repeat(72)),
        ("longer", b"x".repeat(73)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for name in ["password", "binary", "empty", "longest"] {
        for (template, before) in [
            (format!("{{{{ bcrypt .{name} }}}}"), ""),
            (format!("{{{{ htpasswd \"ines\" .{name} }}}}"), "ines:"),
            (format!("{{{{ htpasswd \"\" .{name} \"bcrypt\" }}}}"), ":"),
        ] {
            let made = ours(&template, &data).map_err(anyhow::Error::msg).with_context(|| template.clone())?;
            let text = String::from_utf8(made)?;
            let hash = text.strip_prefix(before).with_context(|| format!("{template}: {text}"))?;
            ensure!(hash.starts_with("$2a$10$"), "{template}: {text}");
            ensure!(oracle.verifies(hash, &data[name])?, "{template}: {text}");
        }
    }
    ensure!(!oracle.verifies(&String::from_utf8(ours("{{ bcrypt .empty }}", &data).unwrap_or_default())?, b"x")?);
    // These are the same each time, or refused.
    let mut counts = Counts::default();
    let same = [
        "{{ htpasswd \"ines\" .password \"sha\" }}",
        "{{ htpasswd \"ines\" .binary \"sha\" }}",
        "{{ htpasswd \"a:b\" .password }}",
        "{{ htpasswd \"a:b\" .password \"sha\" }}",
        "{{ bcrypt .longer }}",
        "{{ htpasswd \"a\" .longer }}",
        "{{ htpasswd \"a\" }}",
        "{{ htpasswd }}",
        "{{ htpasswd 1 .password }}",
        "{{ bcrypt 1 }}",
        "{{ bcrypt }}",
        "{{ bcrypt .password .password }}",
    ];
    counts.compare(oracle, &same.map(str::to_owned), &data)?;
    counts.end("salted")
}
