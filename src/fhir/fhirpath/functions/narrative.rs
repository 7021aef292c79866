//! `htmlChecks()`: is a narrative the limited XHTML that R4 §2.4.0 allows, and does it say anything.
//!
//! A narrative is shown to people as it is, so this is a safety check as well: no script, no event handler, nothing
//! that is loaded from elsewhere but images. `html_flaw` names the first flaw without repeating content.

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::value::Collection;
use crate::fhir::tree::xhtml::{self, Scanner, Tag, Token};

pub(super) static FUNCTIONS: [Function; 1] = [function("htmlChecks", 0..=0, html_checks)];

fn html_checks<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(text) = call.text()? else { return Ok(Collection::Empty) };
    call.machine.spend(text.len() / 16)?;
    match html_flaw(&text) {
        Some(Flaw::TooDeep) => Err(Failure::OutOfRange),
        flaw => Ok(Collection::boolean(flaw.is_none())),
    }
}

/// What is wrong with a narrative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    /// Not one well-formed `div` of the XHTML namespace.
    NotADiv,
    Malformed,
    Element,
    Attribute,
    Entity,
    /// A reference that runs or loads something.
    Reference,
    /// Neither text nor image.
    Nothing,
    TooDeep,
}

const MAX_DEPTH: usize = 256;

fn html_flaw(text: &str) -> Option<Flaw> {
    check(text).err()
}

/// Walks the text once. Open elements are a stack, so depth costs no recursion.
fn check(text: &str) -> Result<(), Flaw> {
    let mut open: Vec<&str> = Vec::new();
    let mut says = false;
    let mut begun = false;
    for token in Scanner::new(text.trim()) {
        match token.map_err(|_| Flaw::Malformed)? {
            Token::Text(_) if open.is_empty() => return Err(Flaw::NotADiv),
            Token::Text(words) => {
                entities(words)?;
                says |= !words.trim().is_empty();
            }
            Token::Comment => {}
            Token::Odd(_) => return Err(Flaw::Element),
            Token::Close(name) => {
                if open.pop() != Some(name) {
                    return Err(Flaw::Malformed);
                }
            }
            Token::Open(tag) => {
                if open.is_empty() && (begun || tag.name != "div") {
                    return Err(Flaw::NotADiv);
                }
                if !xhtml::allows_element(tag.name) {
                    return Err(Flaw::Element);
                }
                attributes(&tag, !begun)?;
                begun = true;
                says |= tag.name == "img";
                if !tag.closed {
                    open.push(tag.name);
                    if open.len() > MAX_DEPTH {
                        return Err(Flaw::TooDeep);
                    }
                }
            }
        }
    }
    if !begun || !open.is_empty() {
        return Err(Flaw::Malformed);
    }
    if says { Ok(()) } else { Err(Flaw::Nothing) }
}

fn attributes(tag: &Tag<'_>, root: bool) -> Result<(), Flaw> {
    let mut namespace = None;
    for attribute in tag.attributes() {
        let (name, value) = attribute.map_err(|_| Flaw::Malformed)?;
        if !xhtml::allows_attribute(tag.name, name) {
            return Err(Flaw::Attribute);
        }
        entities(value)?;
        if !harmless(name, value) {
            return Err(Flaw::Reference);
        }
        if name == "xmlns" {
            namespace = Some(value);
        }
    }
    if root && namespace != Some(xhtml::NAMESPACE) { Err(Flaw::NotADiv) } else { Ok(()) }
}

/// Whether an attribute neither runs nor loads anything. Entities and blanks may hide a scheme, so they are taken out.
fn harmless(name: &str, value: &str) -> bool {
    let plain = |value: &str| {
        value.chars().filter(|character| !character.is_whitespace() && !character.is_control()).collect::<String>()
    };
    let value = plain(value).to_ascii_lowercase();
    match name {
        "href" | "src" | "cite" | "longdesc" => {
            let scheme = value.split(['/', '?']).next().filter(|_| !value.starts_with('#')).unwrap_or_default();
            // A reference character before the colon could spell any scheme.
            let hidden = scheme.contains("&#") || scheme.contains("&tab") || scheme.contains("&newline");
            let inline = scheme.starts_with("data:") && !(name == "src" && scheme.starts_with("data:image"));
            !hidden && !inline && !scheme.starts_with("javascript:") && !scheme.starts_with("vbscript:")
        }
        "style" => !xhtml::style_runs(&value) && !xhtml::style_loads(&value),
        _ => true,
    }
}

fn entities(text: &str) -> Result<(), Flaw> {
    if xhtml::knows_entities(text) { Ok(()) } else { Err(Flaw::Entity) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_flaws() {
        let cases = [
            ("<p>Hello &amp; &eacute; &#233;</p>", None),
            ("<img src=\"#a\" alt='x'/>", None),
            ("<a href=\"https://example.org/a:b\">x</a><!-- c --><br/>", None),
            ("", Some(Flaw::Nothing)),
            ("  <p> </p>", Some(Flaw::Nothing)),
            ("<script>x</script>", Some(Flaw::Element)),
            ("<p onclick=\"x\">y</p>", Some(Flaw::Attribute)),
            ("<p class=x>y</p>", Some(Flaw::Malformed)),
            ("<p>y", Some(Flaw::Malformed)),
            ("<p>y</b>", Some(Flaw::Malformed)),
            ("<a href=\" java\nscript:x\">y</a>", Some(Flaw::Reference)),
            ("<a href=\"java&#115;cript:x\">y</a>", Some(Flaw::Reference)),
            ("<p style=\"background: url(http://x)\">y</p>", Some(Flaw::Reference)),
            ("&unknown;", Some(Flaw::Entity)),
            ("a & b", Some(Flaw::Entity)),
            ("<!DOCTYPE x>", Some(Flaw::Element)),
        ];
        for (inner, expected) in cases {
            let text = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inner}</div>");
            assert_eq!(html_flaw(&text), expected, "{inner}");
        }
        for text in ["", "x", "<p>x</p>", "<div>x</div>", "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>y"] {
            assert!(html_flaw(text).is_some(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[<>/a-z&;#=\"' !-]{0,64}") {
            let _ = html_flaw(&format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{text}</div>"));
        }
    }
}
