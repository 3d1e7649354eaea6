//! A click-to-chat button for web pages.

/// Returns one `<a>` element that opens `link`, with `label` as its text. Both are escaped, so a name that
/// looks like markup stays text. No script, no style sheet, and the page that links is not told on.
pub fn web_button(link: &str, label: &str) -> String {
    let (link, label) = (escaped(link), escaped(label));
    format!("<a href=\"{link}\" rel=\"nofollow noopener noreferrer\" target=\"_blank\">{label}</a>")
}

/// Returns a text as HTML writes it, in an element or between double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_button_is_one_element() {
        let html = web_button("https://ads.example/c/7ZK4M0Q9XA", "Chat & ask <now>");
        assert_eq!(
            html,
            "<a href=\"https://ads.example/c/7ZK4M0Q9XA\" rel=\"nofollow noopener noreferrer\" \
             target=\"_blank\">Chat &amp; ask &lt;now&gt;</a>"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_the_element(link: String, label: String) {
            let html = web_button(&link, &label);
            let (open, rest) = html.split_once('>').unwrap();
            prop_assert_eq!(open.matches('"').count(), 6);
            prop_assert_eq!(open.matches('<').count(), 1);
            let text = rest.strip_suffix("</a>").unwrap();
            prop_assert!(!text.contains(['<', '>', '"', '\'']));
        }
    }
}
