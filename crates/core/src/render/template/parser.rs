//! The grammar of Go's `text/template`. The parser calls itself only for nested parts, and counts the depth.

mod literal;
mod pipeline;
mod scope;

use self::scope::Scope;
use super::{
    lexer::{Keyword, Kind, MAX_NESTING, Token, Wrong, tokens},
    tree::{Branch, Definitions, List, Node, Pipe, Range, Template},
    value::Text,
};

/// The most bytes of a template, also of one in a `ConfigMap`, where no schema bounds it.
const MAX_SOURCE: usize = 64 * 1024;

/// Parses `source`, the template of this name.
///
/// # Errors
/// Everything that Go refuses before a template runs; also too large a template, or too deep nesting.
pub fn parse(name: &str, source: &str) -> Result<Definitions, Wrong> {
    if source.len() > MAX_SOURCE {
        let text = format!("it has {} bytes; a template may have {MAX_SOURCE} (64 KiB) at most", source.len());
        return Err(Wrong::new(0, text));
    }
    let mut parser = Parser {
        source,
        tokens: tokens(source)?,
        at: 0,
        scope: Scope::new(),
        definitions: Definitions::new(),
        nesting: 0,
        loops: 0,
    };
    let main = parser.main()?;
    parser.define(name.into(), main, 0)?;
    Ok(parser.definitions)
}

/// How a list ended.
enum End {
    /// By `{{ end }}`.
    End,
    /// By `{{ else }}`, or before the keyword that follows `else`.
    Else,
}

/// The kind of an action.
enum Action {
    Node(Node),
    End(End),
}

struct Parser<'a> {
    source: &'a str,
    /// The last one is [`Kind::End`].
    tokens: Vec<Token>,
    at: usize,
    scope: Scope<'a>,
    definitions: Definitions,
    nesting: usize,
    /// Loops that `break` could end.
    loops: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_kind(&mut self) -> Kind {
        self.skip_spaces();
        self.peek().kind
    }

    fn next_kind(&mut self) -> Token {
        self.skip_spaces();
        self.next()
    }

    fn written(&self, token: &Token) -> &'a str {
        &self.source[token.range.clone()]
    }

    fn unexpected<T>(&self, token: &Token, place: &str) -> Result<T, Wrong> {
        let what = match token.kind {
            Kind::End => "the end of the template".to_owned(),
            Kind::Close => "the end of the action".to_owned(),
            Kind::Keyword(Keyword::Else | Keyword::End) => format!("{{{{ {} }}}}", self.written(token)),
            _ => format!("{:?}", self.written(token)),
        };
        Err(Wrong::new(token.range.start, format!("unexpected {what} in {place}")))
    }

    fn close(&mut self, place: &str) -> Result<(), Wrong> {
        let token = self.next_kind();
        if token.kind == Kind::Close { Ok(()) } else { self.unexpected(&token, place) }
    }

    /// Goes one level down.
    fn within<T>(&mut self, at: usize, parse: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Wrong::nested(at));
        }
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    /// The template itself: definitions are allowed only here.
    fn main(&mut self) -> Result<List, Wrong> {
        let mut list = List::new();
        while self.peek().kind != Kind::End {
            if self.peek().kind == Kind::Open {
                let open = self.at;
                self.at += 1;
                let is_definition = self.peek_kind() == Kind::Keyword(Keyword::Define);
                if is_definition {
                    self.at += 1;
                    self.definition()?;
                    continue;
                }
                self.at = open;
            }
            let token = self.peek().clone();
            match self.text_or_action()? {
                Action::Node(node) => list.push(node),
                Action::End(End::End) => {
                    return Err(Wrong::new(token.range.start, "unexpected {{ end }}: there is no block that it ends"));
                }
                Action::End(End::Else) => {
                    return Err(Wrong::new(
                        token.range.start,
                        "unexpected {{ else }}: there is no block that it belongs to",
                    ));
                }
            }
        }
        Ok(list)
    }

    fn definition(&mut self) -> Result<(), Wrong> {
        let name = self.next_kind();
        let at = name.range.start;
        let text = self.template_name(&name, "define")?;
        self.close("define")?;
        let body = self.body_apart(at, "define")?;
        self.define(text, body, at)
    }

    /// The body of a definition: it sees no variables of others, and ends with `{{ end }}`.
    fn body_apart(&mut self, at: usize, place: &str) -> Result<List, Wrong> {
        let visible = self.scope.start_apart();
        let loops = std::mem::take(&mut self.loops);
        let (list, end) = self.list(at)?;
        self.scope.end_apart(visible);
        self.loops = loops;
        match end {
            End::End => Ok(list),
            End::Else => Err(Wrong::new(at, format!("unexpected {{{{ else }}}} in {place}"))),
        }
    }

    /// Another definition of the same name replaces an empty one.
    fn define(&mut self, name: Text, body: List, at: usize) -> Result<(), Wrong> {
        let is_there = self.definitions.get(&name).is_some_and(|before| !is_empty(before));
        if !is_there {
            self.definitions.insert(name, body);
        } else if !is_empty(&body) {
            return Err(Wrong::new(at, format!("the template {:?} is defined twice", name.lossy())));
        }
        Ok(())
    }

    fn template_name(&self, token: &Token, place: &str) -> Result<Text, Wrong> {
        match token.kind {
            Kind::Quoted | Kind::Raw => self.text(token),
            _ => self.unexpected(token, place),
        }
    }

    /// A list until its end; `at` is where its block starts.
    fn list(&mut self, at: usize) -> Result<(List, End), Wrong> {
        self.within(at, |parser| {
            let mut list = List::new();
            while parser.peek().kind != Kind::End {
                match parser.text_or_action()? {
                    Action::Node(node) => list.push(node),
                    Action::End(end) => return Ok((list, end)),
                }
            }
            Err(Wrong::new(at, "this block has no {{ end }}"))
        })
    }

    fn text_or_action(&mut self) -> Result<Action, Wrong> {
        let token = self.next_kind();
        match token.kind {
            Kind::Text => Ok(Action::Node(Node::Text(self.written(&token).into()))),
            Kind::Open => self.action(),
            _ => self.unexpected(&token, "the template"),
        }
    }

    /// Behind `{{`.
    fn action(&mut self) -> Result<Action, Wrong> {
        let Kind::Keyword(keyword) = self.peek_kind() else {
            return Ok(Action::Node(Node::Action(self.pipeline("an action", Kind::Close)?)));
        };
        let token = self.next();
        let at = token.range.start;
        Ok(Action::Node(match keyword {
            Keyword::If | Keyword::With => self.branch(at, keyword)?,
            Keyword::Range => self.range(at)?,
            Keyword::Template => self.template(at)?,
            Keyword::Block => self.block(at)?,
            Keyword::Break | Keyword::Continue => {
                self.close(self.written(&token))?;
                if self.loops == 0 {
                    return Err(Wrong::new(at, format!("{} is outside of range", self.written(&token))));
                }
                if keyword == Keyword::Break { Node::Break } else { Node::Continue }
            }
            Keyword::End => {
                self.close("end")?;
                return Ok(Action::End(End::End));
            }
            Keyword::Else => {
                // Of `else if` and `else with`, the rest is left.
                if !matches!(self.peek_kind(), Kind::Keyword(Keyword::If | Keyword::With)) {
                    self.close("else")?;
                }
                return Ok(Action::End(End::Else));
            }
            Keyword::Define => return self.unexpected(&token, "an action: define must not be inside a block"),
        }))
    }

    /// `if` and `with`: takes the links of a chain one by one.
    fn branch(&mut self, at: usize, keyword: Keyword) -> Result<Node, Wrong> {
        let place = if keyword == Keyword::With { "with" } else { "if" };
        let scope = self.scope.mark();
        let mut branch = Branch { sets_dot: keyword == Keyword::With, arms: Vec::new(), otherwise: List::new() };
        loop {
            let pipe = self.pipeline(place, Kind::Close)?;
            let (list, end) = self.list(at)?;
            branch.arms.push((pipe, list));
            match end {
                End::End => break,
                End::Else if self.peek_kind() == Kind::Keyword(keyword) => self.at += 1,
                End::Else => {
                    branch.otherwise = self.last_list(at)?;
                    break;
                }
            }
        }
        self.scope.leave(scope);
        Ok(Node::Branch(branch))
    }

    /// The part behind `{{ else }}`.
    fn last_list(&mut self, at: usize) -> Result<List, Wrong> {
        let token = self.peek().clone();
        if matches!(token.kind, Kind::Keyword(_)) {
            return self.unexpected(&token, "else: it goes on only as the block that it belongs to");
        }
        match self.list(at)? {
            (list, End::End) => Ok(list),
            (_, End::Else) => Err(Wrong::new(at, "this block has a second {{ else }}")),
        }
    }

    fn range(&mut self, at: usize) -> Result<Node, Wrong> {
        let scope = self.scope.mark();
        let pipe = self.pipeline("range", Kind::Close)?;
        self.loops += 1;
        let (body, end) = self.list(at)?;
        self.loops -= 1;
        let otherwise = match end {
            End::End => List::new(),
            End::Else => self.last_list(at)?,
        };
        self.scope.leave(scope);
        Ok(Node::Range(Range { pipe, body, otherwise }))
    }

    fn template(&mut self, at: usize) -> Result<Node, Wrong> {
        let name = self.next_kind();
        let name = self.template_name(&name, "template")?;
        let pipe = if self.peek_kind() == Kind::Close {
            self.at += 1;
            None
        } else {
            Some(self.pipeline("template", Kind::Close)?)
        };
        Ok(Node::Template(Template { at, name, pipe }))
    }

    fn block(&mut self, at: usize) -> Result<Node, Wrong> {
        let name = self.next_kind();
        let name = self.template_name(&name, "block")?;
        let pipe: Pipe = self.pipeline("block", Kind::Close)?;
        let body = self.body_apart(at, "block")?;
        self.define(name.clone(), body, at)?;
        Ok(Node::Template(Template { at, name, pipe: Some(pipe) }))
    }
}

/// Whether a list has nothing but spaces.
fn is_empty(list: &List) -> bool {
    list.iter().all(|node| match node {
        Node::Text(text) => text.lossy().trim().is_empty(),
        _ => false,
    })
}
