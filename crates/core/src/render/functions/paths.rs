//! Paths with slashes, only as texts: they touch no file.

use super::{Entry, Signature, Type, signature::takes};

const ONE: Signature = takes(&[Type::Text]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("base", ONE, |call| Ok(base(call.bytes(0)?).into())),
    ("osBase", ONE, |call| Ok(base(call.bytes(0)?).into())),
    ("dir", ONE, |call| Ok(directory(call.bytes(0)?).into())),
    ("osDir", ONE, |call| Ok(directory(call.bytes(0)?).into())),
    ("clean", ONE, |call| Ok(clean(call.bytes(0)?).into())),
    ("osClean", ONE, |call| Ok(clean(call.bytes(0)?).into())),
    ("ext", ONE, |call| Ok(extension(call.bytes(0)?).into())),
    ("osExt", ONE, |call| Ok(extension(call.bytes(0)?).into())),
    ("isAbs", ONE, |call| Ok(call.bytes(0)?.starts_with(b"/").into())),
    ("osIsAbs", ONE, |call| Ok(call.bytes(0)?.starts_with(b"/").into())),
];

fn base(path: &[u8]) -> &[u8] {
    if path.is_empty() {
        return b".";
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match path[..end].rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => name,
        _ => b"/",
    }
}

fn directory(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    clean(&path[..end])
}

fn extension(path: &[u8]) -> &[u8] {
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    path[name..].iter().rposition(|byte| *byte == b'.').map_or(b"", |dot| &path[name + dot..])
}

/// Without empty parts, `.`, and parts that `..` takes back.
fn clean(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        for (path, cleaned, dir, name, end) in [
            ("/a/b/../c.tar.gz", "/a/c.tar.gz", "/a", "c.tar.gz", ".gz"),
            ("", ".", ".", ".", ""),
            ("/", "/", "/", "/", ""),
            ("../../x", "../../x", "../..", "x", ""),
            ("/..", "/", "/", "..", "."),
            ("//a//b", "/a/b", "/a", "b", ""),
            ("a/b/", "a/b", "a/b", "b", ""),
            ("a.b/c", "a.b/c", "a.b", "c", ""),
        ] {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let bytes = path.as_bytes();
            let found = (text(&clean(bytes)), text(&directory(bytes)), text(base(bytes)), text(extension(bytes)));
            assert_eq!(found, (cleaned.into(), dir.into(), name.into(), end.into()), "{path}");
        }
    }
}
