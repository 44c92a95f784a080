//! JSON. Numbers keep their digits: what a float or a whole number of 64 bits does not hold stays as it was written.

mod read;
mod write;

use std::rc::Rc;

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, Outcome},
    signature::takes,
};
use crate::render::template::value::{Object, Text, Value};

pub use read::number;
pub use write::{Form, float, write};

const ONE: Signature = takes(&[Type::Any]);
const TEXT: Signature = takes(&[Type::Text]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("toJson", ONE, |call| written(call, Form::Escaped)),
    ("mustToJson", ONE, |call| written(call, Form::Escaped)),
    ("toPrettyJson", ONE, |call| written(call, Form::Pretty)),
    ("mustToPrettyJson", ONE, |call| written(call, Form::Pretty)),
    ("toRawJson", ONE, |call| written(call, Form::Raw)),
    ("mustToRawJson", ONE, |call| written(call, Form::Raw)),
    ("fromJson", TEXT, read::from_json),
    ("mustFromJson", TEXT, read::from_json),
];

fn written(call: &Call<'_>, form: Form) -> Outcome {
    Ok(write(call, call.value(0)?, form)?.into())
}

/// The type of a number that neither a float nor 64 bits hold.
pub const NUMBER: &str = "json.Number";

/// A number with all its digits.
struct Digits(Text);

impl Object for Digits {
    fn type_name(&self) -> &'static str {
        NUMBER
    }

    fn text(&self) -> Text {
        self.0.clone()
    }

    fn member(&self, _: &str, _: &[Value]) -> Option<Result<Value, Failure>> {
        None
    }
}

fn digits(text: &str) -> Value {
    Value::Object(Rc::new(Digits(text.into())))
}
