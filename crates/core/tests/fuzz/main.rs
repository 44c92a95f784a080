//! Templates and values that somebody has made to stop the operator: each is rendered on a thread with the stack that
//! the operator's threads have, within a bound of processor time and of memory. What was found once stands in
//! `tests/corpus`; beside it there is a short run of generated templates, and with `REKEY_PROVE=1` one of minutes.

#![expect(clippy::unwrap_used, clippy::format_collect, reason = "a test fails where something is not as it expects")]

mod attacks;
mod corpus;
#[path = "../../../testkit/tests/templates/dice.rs"]
mod dice;
mod generated;
mod meter;
mod world;
