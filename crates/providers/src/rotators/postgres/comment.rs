//! The fence on a role, as a line of the role's comment.
//!
//! A comment is all that a role has room for, and the transaction that alters the role alters it too
//! (<https://www.postgresql.org/docs/current/sql-comment.html>). What people have written there stays.

use postgres_protocol::escape::escape_identifier;
use rekey_core::rotator::database::Fence;

use super::failure::Failure;

/// How our line starts.
const START: &str = "rekey.dev/rotation";

/// The longest word of a fence: ours have 36 to 64 characters, and people read the comment.
const LONGEST_WORD: usize = 100;

/// The longest comment that is read or written, in bytes; the server would hold a gigabyte. Far above what people write.
const LONGEST: usize = 8192;

/// The SQL for the comment of the role with this OID, and whether it is too long to be read.
macro_rules! comment_of {
    ($oid:literal) => {
        concat!(
            "(SELECT CASE WHEN octet_length(c.text) <= 8192 THEN c.text END AS text, \
             coalesce(octet_length(c.text) > 8192, false) AS is_too_long FROM (SELECT shobj_description(",
            $oid,
            ", 'pg_authid') AS text) c)"
        )
    };
}
pub(super) use comment_of;

/// What a comment says of rotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// No rotation has altered the role.
    None,
    /// This one was the last.
    Fence(Fence),
    /// A line of ours that nobody can read, or several. It equals no fence, also not another one like it.
    Unreadable,
}

impl Mark {
    /// Whether a rotation that has seen `expected` and leaves `fence` may alter the role.
    pub(super) fn allows(&self, expected: Option<&Fence>, fence: &Fence) -> bool {
        match self {
            Self::None => expected.is_none(),
            Self::Fence(found) => found == fence || Some(found) == expected,
            Self::Unreadable => false,
        }
    }

    /// As the port shows it.
    pub(super) fn fence(self) -> Option<Fence> {
        match self {
            Self::None => None,
            Self::Fence(fence) => Some(fence),
            Self::Unreadable => Some(Fence::UNREADABLE),
        }
    }
}

/// A role's comment: our line and what others have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) mark: Mark,
    others: String,
}

impl Comment {
    /// Reads a comment; a role without one has the empty one.
    pub(super) fn read(text: &str) -> Self {
        let (ours, others): (Vec<&str>, Vec<&str>) = text.split('\n').partition(|line| line.starts_with(START));
        let mark = match ours.as_slice() {
            [] => Mark::None,
            [line] => parse(line).map_or(Mark::Unreadable, Mark::Fence),
            _ => Mark::Unreadable,
        };
        Self { mark, others: others.join("\n") }
    }

    /// The comment of `role` with this fence in its last line, in place of the one it has.
    ///
    /// # Errors
    /// For a fence that cannot be read again from there, and for a comment that would be too long.
    pub(super) fn with(&self, fence: &Fence, role: &str) -> Result<String, Failure> {
        let Fence { cluster, schedule, rotation } = fence;
        let line = format!("{START} cluster={cluster} schedule={schedule} id={rotation}");
        let text = if self.others.is_empty() { line } else { format!("{}\n{line}", self.others) };
        if Self::read(&text).mark != Mark::Fence(fence.clone()) {
            return Err(Failure::Value(format!(
                "the cluster, schedule or id of the rotation cannot stand in the comment of a role: each has 1 to \
                 {LONGEST_WORD} letters, digits, and signs of -_.:"
            )));
        }
        if text.len() > LONGEST { Err(too_long(role)) } else { Ok(text) }
    }
}

/// A comment that nobody can answer for: what stands in the rest of it is unknown.
pub(super) fn too_long(role: &str) -> Failure {
    Failure::Value(format!(
        "the comment of role {role:?} has more than {LONGEST} bytes with the line of the rotation: shorten it, and keep a line \
         that starts with {START}: COMMENT ON ROLE {} IS '…'",
        escape_identifier(role)
    ))
}

fn parse(line: &str) -> Option<Fence> {
    // Editors of other systems end lines with a carriage return too.
    let mut words = line.strip_suffix('\r').unwrap_or(line).split(' ');
    if words.next() != Some(START) {
        return None;
    }
    let mut word = |name: &str| {
        let value = words.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
        ((1..=LONGEST_WORD).contains(&value.len()) && value.chars().all(plain)).then(|| value.to_owned())
    };
    let fence = Fence { cluster: word("cluster")?, schedule: word("schedule")?, rotation: word("id")? };
    words.next().is_none().then_some(fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(id: &str) -> Fence {
        Fence { cluster: "c-1".to_owned(), schedule: "s-1".to_owned(), rotation: id.to_owned() }
    }

    #[test]
    fn what_people_wrote_stays_and_our_line_is_the_last() {
        for human in ["", "team shop", "two\nlines", "ends\n", "\n", " rekey.dev/rotation indented", "ünï\r\n'; \\"] {
            let first = Comment::read(human).with(&fence("1"), "a").unwrap();
            let line = "rekey.dev/rotation cluster=c-1 schedule=s-1 id=1";
            assert_eq!(first.rsplit('\n').next(), Some(line), "{human:?}");
            let read = Comment::read(&first);
            assert_eq!((read.mark.clone(), read.others.as_str()), (Mark::Fence(fence("1")), human));
            let second = read.with(&fence("2"), "a").unwrap();
            assert_eq!(second, first.replace("id=1", "id=2"), "{human:?}");
        }
    }

    #[test]
    fn a_line_below_ours_does_not_hide_it() {
        let text = "rekey.dev/rotation cluster=c-1 schedule=s-1 id=1\r\nnote";
        assert_eq!(Comment::read(text).mark, Mark::Fence(fence("1")));
    }

    #[test]
    fn what_cannot_be_read_equals_nothing() {
        let lines = [
            "rekey.dev/rotation",
            "rekey.dev/rotation cluster=c-1 schedule=s-1",
            "rekey.dev/rotation cluster=c-1 schedule=s-1 id=",
            "rekey.dev/rotation cluster=c-1 schedule=s-1 id=1 more=2",
            "rekey.dev/rotation schedule=s-1 cluster=c-1 id=1",
            "rekey.dev/rotation cluster=c-1  schedule=s-1 id=1",
            "rekey.dev/rotations cluster=c-1 schedule=s-1 id=1",
            "rekey.dev/rotation cluster=c-1 schedule=s-1 id=1\nrekey.dev/rotation cluster=c-1 schedule=s-1 id=1",
        ];
        for line in lines {
            let mark = Comment::read(line).mark;
            assert_eq!(mark, Mark::Unreadable, "{line}");
            assert!(!mark.allows(None, &fence("1")) && !mark.allows(Some(&Fence::UNREADABLE), &fence("1")), "{line}");
        }
    }

    #[test]
    fn a_change_is_allowed_from_what_was_seen_and_from_its_own_fence() {
        let found = Mark::Fence(fence("1"));
        assert!(found.allows(Some(&fence("1")), &fence("2")) && found.allows(None, &fence("1")));
        assert!(!found.allows(None, &fence("2")) && !found.allows(Some(&fence("3")), &fence("2")));
        assert!(Mark::None.allows(None, &fence("1")) && !Mark::None.allows(Some(&fence("1")), &fence("1")));
    }

    #[test]
    fn a_fence_that_is_no_single_line_is_not_written() {
        for id in ["", "1 2", "1\nx", "1'", &"1".repeat(101)] {
            assert!(matches!(Comment::read("").with(&fence(id), "a"), Err(Failure::Value(_))), "{id:?}");
        }
        let longest = fence(&"1".repeat(100));
        let text = Comment::read("").with(&longest, "a").unwrap();
        assert_eq!(Comment::read(&text).mark, Mark::Fence(longest));
        assert_eq!(Comment::read(&format!("{text}1")).mark, Mark::Unreadable);
    }

    #[test]
    fn a_comment_is_not_written_longer_than_it_is_read() {
        assert!(
            comment_of!("oid").contains(&format!("<= {LONGEST} THEN"))
                && comment_of!("oid").contains(&format!("> {LONGEST},"))
        );
        let ours = Comment::read("").with(&fence("1"), "a").unwrap().len() + 1;
        let human = |length: usize| Comment::read(&"x".repeat(length));
        assert_eq!(human(LONGEST - ours).with(&fence("1"), "a").unwrap().len(), LONGEST);
        assert_eq!(human(LONGEST - ours + 1).with(&fence("1"), "a"), Err(too_long("a")));
    }
}
