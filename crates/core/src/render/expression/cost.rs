//! How much larger than its input an expression can make a value. The language has no limits of its own: a few stages
//! of `[@, @][]` would fill any memory.

use jmespath::ast::Ast;

use super::children;

/// An expression may multiply the size of its input by this at most.
const MAX_FACTOR: u64 = 1024;
/// And add as many bytes.
const MAX_CONSTANT: u64 = 1024 * 1024;
/// The most bytes of the whole evaluation on one value.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// An upper bound of the size of everything an expression makes on its way: `factor * input + constant`, in bytes of
/// JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    factor: u64,
    constant: u64,
}

impl Growth {
    const UNBOUNDED: Self = Self { factor: u64::MAX, constant: u64::MAX };

    /// Whether the expression is allowed at all.
    pub fn is_bounded(self) -> bool {
        self.factor <= MAX_FACTOR && self.constant <= MAX_CONSTANT
    }

    /// Whether it is allowed on an input of this many bytes.
    pub fn fits(self, input: usize) -> bool {
        let made = u64::try_from(self.of(input)).unwrap_or(u64::MAX);
        let input = u64::try_from(input).unwrap_or(u64::MAX);
        // An input that is only passed on costs its own size.
        let room = MAX_BYTES.max(input.saturating_mul(2));
        made <= room
    }

    /// The bound for an input of this many bytes.
    pub fn of(self, input: usize) -> usize {
        let input = u64::try_from(input).unwrap_or(u64::MAX);
        usize::try_from(self.factor.saturating_mul(input).saturating_add(self.constant)).unwrap_or(usize::MAX)
    }

    fn and(self, other: Self) -> Self {
        Self {
            factor: self.factor.saturating_add(other.factor),
            constant: self.constant.saturating_add(other.constant),
        }
    }

    fn scaled(self, by: u64) -> Self {
        Self { factor: self.factor.saturating_mul(by), constant: self.constant.saturating_mul(by) }
    }

    /// `self` applied to the result of `first`.
    fn after(self, first: Self) -> Self {
        Self {
            factor: self.factor.saturating_mul(first.factor).max(first.factor),
            constant: self.factor.saturating_mul(first.constant).saturating_add(self.constant).max(first.constant),
        }
    }

    /// `self` applied to each item of the result of `list`; an item has at least one byte.
    fn on_each(self, list: Self) -> Self {
        let each = self.factor.saturating_add(self.constant).max(1);
        list.scaled(each).and(list)
    }
}

/// The bound for an expression.
pub fn growth(tree: &Ast) -> Growth {
    match tree {
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Slice { .. } => {
            Growth { factor: 1, constant: 0 }
        }
        Ast::Literal { value, .. } => Growth { factor: 0, constant: value.to_string().len() as u64 },
        Ast::Subexpr { lhs, rhs, .. } => growth(rhs).after(growth(lhs)),
        Ast::Projection { lhs, rhs, .. } => passes(rhs).on_each(growth(lhs)),
        Ast::Function { name, args, .. } => function(name, args),
        Ast::Expref { ast, .. } => growth(ast),
        Ast::Flatten { .. }
        | Ast::Not { .. }
        | Ast::ObjectValues { .. }
        | Ast::Comparison { .. }
        | Ast::And { .. }
        | Ast::Or { .. }
        | Ast::Condition { .. }
        | Ast::MultiList { .. }
        | Ast::MultiHash { .. } => {
            let own = Growth { factor: 0, constant: 8 };
            let named = match tree {
                Ast::MultiHash { elements, .. } => elements.iter().map(|pair| pair.key.len() as u64).sum(),
                _ => 0,
            };
            let all = children(tree).into_iter().map(growth).fold(own, Growth::and);
            all.and(Growth { factor: 0, constant: named })
        }
    }
}

/// The cost for each item; items that are only passed on cost nothing more.
fn passes(tree: &Ast) -> Growth {
    match tree {
        Ast::Identity { .. } => Growth { factor: 0, constant: 0 },
        _ => growth(tree),
    }
}

fn function(name: &str, args: &[Ast]) -> Growth {
    let bounds: Vec<Growth> = args.iter().map(growth).collect();
    let own = Growth { factor: 0, constant: 16 };
    match (name, bounds.as_slice()) {
        ("map", [each, list]) | ("sort_by" | "min_by" | "max_by", [list, each]) => each.on_each(*list).and(own),
        // The glue is between all items: both must not depend on the input.
        ("join", [glue, list]) if glue.factor == 0 => list.scaled(glue.constant.saturating_add(1)).and(own),
        ("join", _) => Growth::UNBOUNDED,
        // A character can become six: \u0000.
        ("to_string", [value]) => value.scaled(6).and(own),
        _ => bounds.into_iter().fold(own, Growth::and),
    }
}
