//! Text that looks like HTML where none belongs: shown unescaped by a careless reader, it runs.
//!
//! In plain strings it is a defect or nothing, in markdown at least advice, since markdown may hold HTML and a
//! faithful reader escapes it.

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks the text of a string, or of markdown.
pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, is_markdown: bool) {
    let Some(text) = element.string() else { return };
    if !text.contains('<') {
        return;
    }
    if is_markdown {
        if has_tag_in_markdown(text) {
            let id = if run.options.forbids_markup { Id::MarkupForbidden } else { Id::MarkupAdvice };
            let text = "The markdown holds what looks like an HTML tag; it will be shown as text, not as markup.";
            run.issue(id, element, text.to_owned());
        }
    } else if run.options.forbids_markup && has_tag(text) {
        let text = "A plain text must not hold what looks like HTML tags.";
        run.issue(Id::MarkupForbidden, element, text.to_owned());
    }
}

/// Whether a `<` begins a tag that is closed.
fn has_tag(text: &str) -> bool {
    text.split('<').skip(1).any(|after| begins_tag(after) && after.contains('>'))
}

fn begins_tag(after: &str) -> bool {
    after.strip_prefix('/').unwrap_or(after).starts_with(|first: char| first.is_ascii_alphabetic())
}

/// As above, code and links in angle brackets passed over.
fn has_tag_in_markdown(text: &str) -> bool {
    let mut in_code = false;
    let mut rest = text;
    while let Some(at) = rest.find(['<', '`', '\\']) {
        let (mark, after) = rest[at..].split_at(1);
        rest = after;
        match mark {
            "`" => in_code = !in_code,
            "\\" => rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default(),
            _ if !in_code && begins_tag(rest) && !is_link(rest) => return true,
            _ => {}
        }
    }
    false
}

/// `<https://…>` and `<a@b.c>` are links.
fn is_link(after: &str) -> bool {
    let inside = after.split('>').next().unwrap_or_default();
    !inside.contains(char::is_whitespace) && inside.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_tags_from_signs() {
        for (text, plain, markdown) in [
            ("a < b and c > d", false, false),
            ("<b>x</b>", true, true),
            ("x <script>y", true, true),
            ("x </p>", true, true),
            ("a <r", false, true),
            ("`<b>`", true, false),
            ("\\<b>", true, false),
            ("see <https://example.org/a>", true, false),
            ("ask <a@example.org>", true, false),
            ("<3", false, false),
            ("\\", false, false),
        ] {
            assert_eq!((has_tag(text), has_tag_in_markdown(text)), (plain, markdown), "{text}");
        }
    }
}
