//! Which versions of its sources a content was made from, as the status says it.

use std::borrow::Cow;

use rekey_api::{bounds, policy::SourceVersion};
use sha2::{Digest as _, Sha256};

use super::{Fetched, Request, source::source_text};
use crate::{
    store::{Locator, Pin, RemoteValue},
    summary::clip,
};

/// Lines that the status has.
const LINES: usize = bounds::FIELDS as usize;
/// And the bytes that they take at most: the object has to fit into etcd with its spec.
const SIZE: usize = 64 * 1024;
/// Of these, what the line about all of them takes at most.
const LAST: usize = 128;

/// The versions that were read, one line per key, and one for its metadata. Where the lines do not say all, since they
/// are too many, too long, or of one key in several places, a last line names all versions by a digest: two lists are
/// equal only when what was read is.
pub fn versions(fetched: &Fetched) -> Vec<SourceVersion> {
    let line = |(request, value): (&Request, &RemoteValue)| source_version(&name(&request.locator), &value.version);
    let is_whole = |(request, value): (&Request, &RemoteValue)| {
        let SourceVersion { key, version } = line((request, value));
        key == *name(&request.locator) && version == value.version
    };
    let mut lines: Vec<SourceVersion> = fetched.values.iter().map(line).collect();
    lines.sort();
    lines.dedup();
    let is_clear = fetched.values.iter().all(is_whole) && lines.windows(2).all(|pair| pair[0].key != pair[1].key);
    if is_clear && lines.len() <= LINES && lines.iter().map(size).sum::<usize>() <= SIZE {
        return lines;
    }
    lines.truncate(LINES - 1);
    let mut taken = LAST;
    let end = lines.iter().position(|line| {
        taken += size(line);
        taken > SIZE
    });
    lines.truncate(end.unwrap_or(LINES));
    lines.push(all(fetched));
    lines
}

/// How a line names what was read.
fn name(locator: &Locator) -> Cow<'_, str> {
    match locator.pin {
        Pin::Metadata => Cow::Owned(format!("{} (metadata)", locator.key)),
        Pin::Current | Pin::Version(_) | Pin::Stage(_) => Cow::Borrowed(&locator.key),
    }
}

fn size(line: &SourceVersion) -> usize {
    line.key.len() + line.version.len()
}

/// The line about all of them. Like a line about one, it has no version where nothing is known of one.
fn all(fetched: &Fetched) -> SourceVersion {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    };
    for (Request { store, locator }, value) in &fetched.values {
        let (kind, name) = match &locator.pin {
            Pin::Current => ("", ""),
            Pin::Version(version) => ("version", version.as_str()),
            Pin::Stage(stage) => ("stage", stage.as_str()),
            Pin::Metadata => ("metadata", ""),
        };
        for part in [source_text(store).as_str(), &locator.key, kind, name, &value.version] {
            add(part);
        }
    }
    let digest = hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let is_known = fetched.values.values().all(|value| !value.version.is_empty());
    let version = if is_known { digest } else { String::new() };
    SourceVersion { key: format!("(all {})", fetched.values.len()), version }
}

/// A line of the status. Keys that a search has found and versions come from servers, in any length.
pub fn source_version(key: &str, version: &str) -> SourceVersion {
    SourceVersion { key: clip(key, bounds::REMOTE_KEY), version: clip(version, bounds::TOKEN) }
}
