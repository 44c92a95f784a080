//! Reading YAML. A dict of it becomes one of JSON: names become texts, and numbers keep their digits.

use std::collections::BTreeMap;

use granit_parser::{Event, ScalarStyle, Tag};

use super::{
    super::{
        call::{Call, Failure, MAX_DEPTH, MAX_STRUCTURE, Outcome, VALUE},
        json,
    },
    resolve::{Plain, resolve},
};
use crate::render::{
    template::value::{List, Map, Of, Text, Value},
    yaml::{Events, core},
};

/// The most bytes of a text to read.
const MAX_YAML: usize = 128 * 1024;
/// What its parser holds for each byte, at most.
const COST: usize = 8;
const WRONG: &str = "the text is not YAML with names and values";
const DEEP: &str = "the text is nested more than 64 levels deep";

pub fn from_yaml(call: &Call<'_>) -> Outcome {
    let Ok(text) = std::str::from_utf8(call.bytes(0)?) else {
        return call.fail("bytes that are no UTF-8 text cannot be YAML; encode them with b64enc");
    };
    if text.len() > MAX_YAML {
        return call.fail("the text is larger than 128 KiB");
    }
    call.spend(text.len() * COST)?;
    let Ok(events) = Events::new(text) else {
        return call.fail("control characters and line ends of Unicode must be written as escapes in double quotes");
    };
    let mut reader = Reader { call, events, left: MAX_STRUCTURE, anchors: BTreeMap::new() };
    match reader.document()? {
        None if !is_blank(text) => call.fail(WRONG),
        None | Some(Node::Value(Value::Nil, _)) => Ok(Map::new(Of::Any).into()),
        Some(Node::Value(Value::Map(map), _)) => Ok(map.into()),
        Some(_) => call.fail(WRONG),
    }
}

struct Reader<'a> {
    call: &'a Call<'a>,
    events: Events<'a>,
    left: usize,
    /// Anchored values; each use of one counts again.
    anchors: BTreeMap<usize, (Node, usize)>,
}

/// A value, and its text as the name of a member.
#[derive(Clone)]
enum Node {
    Value(Value, Option<Text>),
    /// `<<`
    Merge,
}

impl<'a> Reader<'a> {
    fn wrong<T>(&self) -> Result<T, Failure> {
        self.call.fail(WRONG)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.call.take(&mut self.left, bytes)
    }

    fn next(&mut self) -> Result<Event<'a>, Failure> {
        self.call.go_on()?;
        match self.events.next() {
            Ok((event, _)) => Ok(event),
            Err(_) => self.wrong(),
        }
    }

    /// The first document; the rest is ignored.
    fn document(&mut self) -> Result<Option<Node>, Failure> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(None),
                event => {
                    let node = self.node(event, MAX_DEPTH)?;
                    return match self.next()? {
                        Event::DocumentEnd => Ok(Some(node)),
                        _ => self.wrong(),
                    };
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Failure> {
        if depth == 0 {
            return self.call.fail(DEEP);
        }
        let before = self.left;
        self.take(2 * VALUE)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref())?, anchor),
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else { return self.wrong() };
                self.take(size)?;
                return Ok(match node {
                    Node::Value(value, name) => Node::Value(copied(&value), name),
                    Node::Merge => Node::Merge,
                });
            }
            _ => return self.wrong(),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), before - self.left));
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, Failure> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Node::Value(List::of_any(items).into(), None)),
                event => match self.node(event, depth - 1)? {
                    Node::Value(item, _) => items.push(item),
                    Node::Merge => items.push("<<".into()),
                },
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, Failure> {
        let (mut members, mut merged) = (BTreeMap::new(), Vec::new());
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let name = self.node(event, depth - 1)?;
            let event = self.next()?;
            let member = match self.node(event, depth - 1)? {
                Node::Value(member, _) => member,
                Node::Merge => "<<".into(),
            };
            match name {
                Node::Value(_, Some(name)) => drop(members.insert(name, member)),
                Node::Value(_, None) => return self.wrong(),
                Node::Merge => merged.push(member),
            }
        }
        for more in merged {
            self.merge(&mut members, &more)?;
        }
        Ok(Node::Value(Map::of_any(members).into(), None))
    }

    /// Adds the members of a dict, or of each of a list, that are missing.
    fn merge(&mut self, members: &mut BTreeMap<Text, Value>, more: &Value) -> Result<(), Failure> {
        match more {
            Value::Map(map) => {
                for (name, member) in map.snapshot() {
                    self.take(2 * VALUE + name.len())?;
                    members.entry(name).or_insert_with(|| copied(&member));
                }
                Ok(())
            }
            Value::List(items) => items.iter().try_for_each(|item| match item {
                Value::Map(_) => self.merge(members, item),
                _ => self.wrong(),
            }),
            _ => self.wrong(),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Node, Failure> {
        self.take(text.len())?;
        let plain = match (tag.and_then(core), style) {
            (Some("str" | "binary"), _) => Plain::Text,
            (Some(_), _) => resolve(text),
            (None, ScalarStyle::Plain) if tag.is_none() => resolve(text),
            _ => Plain::Text,
        };
        let number = |text: String| Ok::<_, Failure>((json::number(&text)?, Some(Text::from(text))));
        let (value, name) = match plain {
            Plain::Merge => return Ok(Node::Merge),
            Plain::Null => (Value::Nil, None),
            Plain::Bool(flag) => (flag.into(), Some(flag.to_string().into())),
            Plain::Int(whole) => number(whole.to_string())?,
            Plain::Uint(whole) => number(whole.to_string())?,
            Plain::Float(float) => match json::float(float) {
                // Its digits are kept where JSON would read the same, but not in a name.
                Some(written) if is_json(text) => (json::number(text)?, Some(written.into())),
                Some(written) => number(written)?,
                None => return self.wrong(),
            },
            Plain::Time | Plain::Text => (text.into(), Some(text.into())),
        };
        Ok(Node::Value(value, name))
    }
}

/// Whether a text has only comments and starts of documents: Go refuses tabs and ends of documents.
fn is_blank(text: &str) -> bool {
    text.lines()
        .map(|line| line.trim_matches([' ', '\r']))
        .all(|line| matches!(line, "" | "---") || line.starts_with('#'))
}

/// A copy with dicts of its own, so that a change of one does not change the other. It is as deep as the original.
fn copied(value: &Value) -> Value {
    match value {
        Value::List(items) => List::new(items.of(), items.iter().map(copied).collect()).into(),
        Value::Map(map) => {
            let members = map.snapshot().into_iter().map(|(name, member)| (name, copied(&member)));
            Map::with(map.of(), members.collect()).into()
        }
        other => other.clone(),
    }
}

/// Whether a float of YAML is written like one of JSON.
fn is_json(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_at(digits.find(|next: char| !next.is_ascii_digit()).unwrap_or(digits.len()));
    let is_whole = whole == "0" || !whole.is_empty() && !whole.starts_with('0');
    let has_places = rest.strip_prefix('.').is_none_or(|places| places.starts_with(|next: char| next.is_ascii_digit()));
    is_whole && has_places && !rest.contains(['_', '+'])
}
