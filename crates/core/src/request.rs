//! Tokens in annotations by which a user requests an action.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::bounds::TOKEN;

use crate::SpecError;

/// The token in this annotation. The status repeats it when it was handled, and has room only for a short one.
///
/// # Errors
/// When it is too long.
pub fn token(metadata: &ObjectMeta, name: &str) -> Result<Option<String>, SpecError> {
    let token = metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
    match token.filter(|token| token.chars().nth(TOKEN as usize).is_some()) {
        Some(_) => {
            let fix = format!("the token is longer than {TOKEN} characters; write a short one, the time for example");
            Err(SpecError::field(&format!("metadata.annotations[{name}]"), fix))
        }
        None => Ok(token.cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_the_status_cannot_echo_is_refused() {
        for (length, is_taken) in [(0, true), (256, true), (257, false)] {
            let annotations = [("a".to_owned(), "ü".repeat(length))].into();
            let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
            assert_eq!(token(&metadata, "a").is_ok(), is_taken, "{length}");
            assert_eq!(token(&metadata, "b"), Ok(None));
        }
    }
}
