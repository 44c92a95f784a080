//! Texts that fit where they go.

/// The start of a text, with a mark where something is left out: the API server refuses a status with a longer text.
/// Conditions could carry 32,768 characters; ours stay readable.
#[must_use]
pub fn clip(text: &str, most: u32) -> String {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Characters of a list within a text: more than half of a message of 1024, so that the text around it has room too.
const ROOM: usize = 640;

/// As many of the items as have room in a text, and how many there are beside them. An item too long to fit at all is
/// cut.
#[must_use]
pub fn listed<I>(items: I, between: &str) -> String
where
    I: IntoIterator<Item: AsRef<str>>,
{
    let (mut text, mut length, mut more) = (String::new(), 0, 0_usize);
    for item in items {
        let item = item.as_ref();
        let needed = item.chars().count() + between.chars().count();
        if length == 0 {
            text = clip(item, u32::try_from(ROOM).unwrap_or(u32::MAX));
            length = text.chars().count();
        } else if more == 0 && length + needed <= ROOM {
            text.push_str(between);
            text.push_str(item);
            length += needed;
        } else {
            more += 1;
        }
    }
    if more > 0 { format!("{text} … and {more} more") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_with_what_is_left_out() {
        assert_eq!(listed(Vec::<String>::new(), ", "), "");
        assert_eq!(listed(["a", "b"], ", "), "a, b");
        let names: Vec<String> = (0..100).map(|number| format!("Deployment orders-{number:03}")).collect();
        let text = listed(&names, ", ");
        let shown = text.matches("orders-").count();
        assert!(text.ends_with(&format!("orders-{:03} … and {} more", shown - 1, 100 - shown)), "{text}");
        assert!(text.chars().count() < 680 && shown > 20, "{text}");
    }

    #[test]
    fn cuts_stand_between_characters() {
        assert_eq!(clip("ää", 2), "ää");
        assert_eq!(clip("äää", 2), "ä…");
        let long = "ä".repeat(5_000);
        assert_eq!(listed([&long, "b"], "; "), format!("{}… … and 1 more", "ä".repeat(639)));
    }
}
