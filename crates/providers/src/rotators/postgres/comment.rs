//! The fence on a role, as a line of the role's comment.
//!
//! A comment is all that a role has room for, and the transaction that alters the role alters it too
//! (<https://www.postgresql.org/docs/current/sql-comment.html>). What people have written there stays.

use rekey_core::rotator::database::Fence;

/// How our line starts.
const START: &str = "rekey.dev/rotation";

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

    /// The comment with this fence in its last line, in place of the one it has; `None` for a fence that cannot be read
    /// again from there.
    pub(super) fn with(&self, fence: &Fence) -> Option<String> {
        let Fence { cluster, schedule, rotation } = fence;
        let line = format!("{START} cluster={cluster} schedule={schedule} id={rotation}");
        let text = if self.others.is_empty() { line } else { format!("{}\n{line}", self.others) };
        (Self::read(&text).mark == Mark::Fence(fence.clone())).then_some(text)
    }
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
        (!value.is_empty() && value.chars().all(plain)).then(|| value.to_owned())
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
            let first = Comment::read(human).with(&fence("1")).unwrap();
            let line = "rekey.dev/rotation cluster=c-1 schedule=s-1 id=1";
            assert_eq!(first.rsplit('\n').next(), Some(line), "{human:?}");
            let read = Comment::read(&first);
            assert_eq!((read.mark.clone(), read.others.as_str()), (Mark::Fence(fence("1")), human));
            let second = read.with(&fence("2")).unwrap();
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
        for id in ["", "1 2", "1\nx", "1'"] {
            assert_eq!(Comment::read("").with(&fence(id)), None, "{id:?}");
        }
    }
}
