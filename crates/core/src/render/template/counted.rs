//! Loops that count what they do: each round starts with a call of ours that takes its steps from the budget of the
//! policy and sees whether it shall end. The engine counts rounds itself, but only those of one execution.

use gotmpl::{
    Template,
    parse::{ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos},
};

use super::shape::Shape;
use crate::render::functions::COUNT;

/// The definitions of `template`, with loops that count. `None`: there are no loops.
pub fn definitions(template: &Template, shape: &mut Shape<'_>) -> Option<Vec<(String, ListNode)>> {
    let bodies = || template.templates().into_iter().filter_map(|name| Some((name, template.lookup(name)?)));
    if !bodies().any(|(_, body)| loops(body)) {
        return None;
    }
    Some(bodies().map(|(name, body)| (name.to_owned(), list(body, shape))).collect())
}

fn loops(list: &ListNode) -> bool {
    list.nodes.iter().any(|node| match node {
        Node::Range(_) => true,
        Node::List(list) => loops(list),
        Node::If(branch) | Node::With(branch) => loops(&branch.body) || branch.else_body.as_ref().is_some_and(loops),
        Node::Text(_) | Node::Action(_) | Node::Template(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {
            false
        }
    })
}

fn list(of: &ListNode, shape: &mut Shape<'_>) -> ListNode {
    ListNode { pos: of.pos, nodes: of.nodes.iter().map(|of| node(of, shape)).collect() }
}

fn node(of: &Node, shape: &mut Shape<'_>) -> Node {
    match of {
        Node::List(inner) => Node::List(list(inner, shape)),
        Node::If(of) => Node::If(branch(of, shape)),
        Node::With(of) => Node::With(branch(of, shape)),
        Node::Range(of) => {
            let mut counted = branch(of, shape);
            counted.body.nodes.insert(0, count(of.pos, shape.list(&of.body)));
            Node::Range(counted)
        }
        Node::Text(_) | Node::Action(_) | Node::Template(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {
            of.clone()
        }
    }
}

fn branch(of: &BranchNode, shape: &mut Shape<'_>) -> BranchNode {
    BranchNode {
        pos: of.pos,
        pipe: of.pipe.clone(),
        body: list(&of.body, shape),
        else_body: of.else_body.as_ref().map(|body| list(body, shape)),
    }
}

fn count(pos: Pos, steps: u64) -> Node {
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    let args = vec![Expr::Identifier(pos, COUNT.into()), Expr::Number(pos, Number::Int(steps))];
    let pipe = PipeNode { pos, decl: Vec::new(), commands: vec![CommandNode { pos, args }], is_assign: false };
    Node::Action(ActionNode { pos, pipe })
}
