//! Every function with edge arguments: all for functions of one argument, a choice for others.

use crate::{
    dice::Dice,
    edges::{self, PLAIN},
    functions::{Function, Kind},
};

/// Templates that call `function`: with too few and too many arguments, and `most` with as many as it takes.
pub fn templates(function: &Function, most: usize) -> Vec<String> {
    let seed = function.name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut dice = Dice(seed);
    let mut made = vec![call(&mut dice, function, &[])];
    let first = function.takes.first().copied();
    for kind in first.into_iter().chain(PLAIN) {
        // The first argument, whatever the others are.
        made.extend(edges::of(kind).iter().take(most).map(|edge| {
            let mut arguments = vec![(*edge).to_owned()];
            arguments.extend(function.takes.iter().skip(1).map(|kind| any_of(&mut dice, *kind)));
            call(&mut dice, function, &arguments)
        }));
    }
    for _ in 0..most {
        let mut takes = function.takes.clone();
        match dice.below(12) {
            0 => drop(takes.pop()),
            1 | 2 if function.repeated => takes.extend(function.takes.last().copied()),
            3 if function.optional => drop(takes.pop()),
            4 if !function.repeated => takes.push(Kind::Text),
            _ => {}
        }
        let arguments: Vec<String> = takes.into_iter().map(|kind| argument(&mut dice, kind)).collect();
        made.push(call(&mut dice, function, &arguments));
    }
    made.sort();
    made.dedup();
    made
}

fn argument(dice: &mut Dice, kind: Kind) -> String {
    let kind = if dice.once_in(8) { dice.one(&PLAIN) } else { kind };
    any_of(dice, kind)
}

fn any_of(dice: &mut Dice, kind: Kind) -> String {
    let kind = if kind == Kind::Any { dice.one(&PLAIN) } else { kind };
    dice.one(edges::of(kind)).to_owned()
}

/// Shows the result: as it prints, with its type, as a condition, or what it has become of the first argument.
fn call(dice: &mut Dice, function: &Function, arguments: &[String]) -> String {
    let call = format!("{} {}", function.name, arguments.join(" "));
    match dice.below(6) {
        0 | 1 => format!("{{{{ {call} }}}}"),
        2 | 3 => format!("{{{{ printf \"%T %v\" ({call}) ({call}) }}}}"),
        4 => format!("{{{{ with {call} }}}}{{{{ . | toJson }}}}{{{{ else }}}}-{{{{ end }}}}"),
        _ => match arguments.first() {
            Some(first) => {
                let rest = arguments[1..].join(" ");
                format!("{{{{ $a := {first} }}}}{{{{ $r := {} $a {rest} }}}}{{{{ $r }}}}|{{{{ $a }}}}", function.name)
            }
            None => format!("{{{{ {call} | quote }}}}"),
        },
    }
}
