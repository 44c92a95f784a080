//! Pipelines, commands and their operands.

use super::{Parser, literal};
use crate::render::{
    functions,
    template::{
        lexer::{Kind, Token, Wrong},
        tree::{Command, Operand, Pipe, Term},
        value::Text,
    },
};

impl Parser<'_> {
    /// A pipeline and its end.
    pub(super) fn pipeline(&mut self, place: &str, end: Kind) -> Result<Pipe, Wrong> {
        self.skip_spaces();
        let at = self.peek().range.start;
        let mut pipe = Pipe { at, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(&mut pipe, place)?;
        loop {
            match self.peek_kind() {
                kind if kind == end => {
                    self.at += 1;
                    break;
                }
                Kind::Bool
                | Kind::Character
                | Kind::Imaginary
                | Kind::Dot
                | Kind::Field
                | Kind::Name
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::OpenParenthesis => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => {
                    let token = self.peek().clone();
                    return self.unexpected(&token, place);
                }
            }
        }
        check(&pipe, place)?;
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and for `range` two variables.
    fn declarations(&mut self, pipe: &mut Pipe, place: &str) -> Result<(), Wrong> {
        while self.peek_kind() == Kind::Variable {
            let start = self.at;
            let token = self.next();
            let kind = self.peek_kind();
            if !matches!(kind, Kind::Assign | Kind::Declare | Kind::Comma) {
                self.at = start;
                return Ok(());
            }
            self.at += 1;
            pipe.variables.push(self.scope.declare(self.written(&token)));
            if kind != Kind::Comma {
                pipe.assigns = kind == Kind::Assign;
                return Ok(());
            }
            if place != "range" || pipe.variables.len() > 1 {
                return Err(Wrong::new(token.range.start, format!("too many variables in {place}")));
            }
            if !matches!(self.peek_kind(), Kind::Variable | Kind::Close | Kind::CloseParenthesis) {
                return Err(Wrong::new(token.range.start, "range can only declare variables"));
            }
        }
        Ok(())
    }

    /// Operands with spaces between them, and the `|` behind them.
    fn command(&mut self) -> Result<Command, Wrong> {
        let mut operands = Vec::new();
        self.skip_spaces();
        let at = self.peek().range.start;
        loop {
            self.skip_spaces();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            match self.peek().kind {
                Kind::Space => self.at += 1,
                Kind::Pipe => {
                    self.at += 1;
                    break;
                }
                Kind::Close | Kind::CloseParenthesis => break,
                _ => {
                    let token = self.peek().clone();
                    return self.unexpected(&token, "a command; arguments need a space between them");
                }
            }
        }
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(first) => Ok(Command { first, arguments: operands.collect() }),
            None => Err(Wrong::new(at, "a command is empty")),
        }
    }

    /// A term and the fields behind it; `None`: something else comes next.
    fn operand(&mut self) -> Result<Option<Operand>, Wrong> {
        let Some(mut operand) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let at = self.peek().range.start;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            fields.push(self.field(&token));
        }
        match &mut operand.term {
            Term::Field(more) | Term::Variable(_, more) => more.append(&mut fields),
            Term::Bool(_) | Term::Text(_) | Term::Number(_) | Term::Nil | Term::Dot => {
                return Err(Wrong::new(at, "a constant has no fields"));
            }
            Term::Function(_) | Term::Pipe(_) | Term::Chain(..) => {
                let term = Term::Chain(Box::new(operand), fields);
                return Ok(Some(Operand { at, term }));
            }
        }
        Ok(Some(operand))
    }

    fn field(&self, token: &Token) -> Text {
        self.written(token).trim_start_matches('.').into()
    }

    fn term(&mut self) -> Result<Option<Operand>, Wrong> {
        self.skip_spaces();
        let token = self.peek().clone();
        let at = token.range.start;
        self.at += 1;
        let term = match token.kind {
            Kind::Name => {
                let name = self.written(&token);
                let found = functions::find(name).ok_or_else(|| Wrong::new(at, functions::refusal(name)));
                Term::Function(found?)
            }
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => match self.scope.find(self.written(&token)) {
                Some(variable) => Term::Variable(variable, Vec::new()),
                None => return Err(Wrong::new(at, format!("there is no variable {:?} here", self.written(&token)))),
            },
            Kind::Field => Term::Field(vec![self.field(&token)]),
            Kind::Bool => Term::Bool(self.written(&token) == "true"),
            Kind::Number => match literal::number(self.written(&token)) {
                Some(number) => Term::Number(number),
                None => return Err(Wrong::new(at, "this is no number, or one that is too large")),
            },
            Kind::Character => match literal::character(self.written(&token)) {
                Some(number) => Term::Number(number),
                None => return Err(Wrong::new(at, "this is no character; write texts in double quotes")),
            },
            Kind::Imaginary => return Err(Wrong::new(at, "imaginary numbers are not supported")),
            Kind::OpenParenthesis => {
                let inner = self.within(at, |parser| parser.pipeline("parentheses", Kind::CloseParenthesis))?;
                Term::Pipe(Box::new(inner))
            }
            Kind::Quoted | Kind::Raw => Term::Text(self.text(&token)?),
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at, term }))
    }

    /// The text in quotes.
    pub(super) fn text(&self, token: &Token) -> Result<Text, Wrong> {
        let written = self.written(token);
        let text = if token.kind == Kind::Raw { Some(literal::raw(written)) } else { literal::quoted(written) };
        match text {
            Some(text) => Ok(text.into()),
            None => Err(Wrong::new(token.range.start, "a \\ in this text starts no known escape")),
        }
    }
}

/// Go refuses an empty pipeline, and a constant that gets a value.
fn check(pipe: &Pipe, place: &str) -> Result<(), Wrong> {
    if pipe.commands.is_empty() {
        return Err(Wrong::new(pipe.at, format!("a value is missing in {place}")));
    }
    for command in &pipe.commands[1..] {
        if let Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text(_) = command.first.term {
            return Err(Wrong::new(command.first.at, "a constant cannot take a value from |"));
        }
    }
    Ok(())
}
