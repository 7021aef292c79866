//! `htmlChecks()`: is a narrative the limited XHTML that R4 §2.4.0 allows, and does it say anything.
//!
//! A narrative is shown to people as it is, so this is a safety check as well: no script, no event handler, nothing
//! that is loaded from elsewhere but images. The tokenizer is small because the subset is small; whatever it does
//! not recognise is refused. `html_flaw` names the first flaw without repeating content.

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::value::Collection;

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

/// HTML 4.0 chapters 7 to 11 (without 9.4) and 15, links and images.
const ELEMENTS: [&str; 53] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
];

/// Attributes of any element.
const COMMON: [&str; 22] = [
    "abbr",
    "accesskey",
    "align",
    "axis",
    "bgcolor",
    "char",
    "charoff",
    "class",
    "colspan",
    "dir",
    "headers",
    "id",
    "lang",
    "rowspan",
    "scope",
    "span",
    "style",
    "tabindex",
    "title",
    "valign",
    "width",
    "xml:lang",
];

/// Attributes of one element.
const OWN: [(&str, &[&str]); 12] = [
    ("a", &["charset", "coords", "href", "hreflang", "name", "rel", "rev", "shape", "target", "type"]),
    ("area", &["alt", "coords", "href", "nohref", "shape"]),
    ("blockquote", &["cite"]),
    ("br", &["clear"]),
    ("div", &["xmlns"]),
    ("img", &["alt", "border", "height", "ismap", "longdesc", "src", "usemap"]),
    ("li", &["value"]),
    ("map", &["name"]),
    ("ol", &["start", "type"]),
    ("q", &["cite"]),
    ("table", &["border", "cellpadding", "cellspacing", "frame", "rules", "summary"]),
    ("td", &["height", "nowrap"]),
];

/// Entities of XML and HTML 4.0.
const ENTITIES: &str = " quot amp apos lt gt nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy \
    reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave \
    Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve \
    Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml \
    aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml \
    divide oslash ugrave uacute ucirc uuml yacute thorn yuml fnof Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota \
    Kappa Lambda Mu Nu Xi Omicron Pi Rho Sigma Tau Upsilon Phi Chi Psi Omega alpha beta gamma delta epsilon zeta eta \
    theta iota kappa lambda mu nu xi omicron pi rho sigmaf sigma tau upsilon phi chi psi omega thetasym upsih piv bull \
    hellip prime Prime oline frasl weierp image real trade alefsym larr uarr rarr darr harr crarr lArr uArr rArr dArr \
    hArr forall part exist empty nabla isin notin ni prod sum minus lowast radic prop infin ang and or cap cup int \
    there4 sim cong asymp ne equiv le ge sub sup nsub sube supe oplus otimes perp sdot lceil rceil lfloor rfloor lang \
    rang loz spades clubs hearts diams OElig oelig Scaron scaron Yuml circ tilde ensp emsp thinsp zwnj zwj lrm rlm \
    ndash mdash lsquo rsquo sbquo ldquo rdquo bdquo dagger Dagger permil lsaquo rsaquo euro ";

fn html_flaw(text: &str) -> Option<Flaw> {
    check(text).err()
}

/// Walks the text once. Open elements are a stack, so depth costs no recursion.
fn check(text: &str) -> Result<(), Flaw> {
    let mut rest = text.trim();
    let mut open: Vec<&str> = Vec::new();
    let mut says = false;
    let mut begun = false;
    while !rest.is_empty() {
        let Some(tag) = rest.strip_prefix('<') else {
            let (words, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            if open.is_empty() {
                return Err(Flaw::NotADiv);
            }
            entities(words)?;
            says |= !words.trim().is_empty();
            rest = after;
            continue;
        };
        if let Some(comment) = tag.strip_prefix("!--") {
            rest = comment.split_once("-->").ok_or(Flaw::Malformed)?.1;
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let (name, after) = name.split_once('>').ok_or(Flaw::Malformed)?;
            if open.pop() != Some(name.trim_end()) {
                return Err(Flaw::Malformed);
            }
            rest = after;
            continue;
        }
        // Document types, processing instructions and CDATA begin with what is no name.
        let (name, after) = split_name(tag);
        if open.is_empty() && (begun || name != "div") {
            return Err(Flaw::NotADiv);
        }
        if ELEMENTS.binary_search(&name).is_err() {
            return Err(Flaw::Element);
        }
        let (closed, after) = attributes(name, after, !begun)?;
        begun = true;
        says |= name == "img";
        if !closed {
            open.push(name);
            if open.len() > MAX_DEPTH {
                return Err(Flaw::TooDeep);
            }
        }
        rest = after;
    }
    if !begun || !open.is_empty() {
        return Err(Flaw::Malformed);
    }
    if says { Ok(()) } else { Err(Flaw::Nothing) }
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || "_-:".contains(character)));
    text.split_at(end.unwrap_or(text.len()))
}

/// Reads attributes up to the end of the tag: whether it closes itself, and what follows.
fn attributes<'t>(element: &str, mut rest: &'t str, root: bool) -> Result<(bool, &'t str), Flaw> {
    let mut namespace = None;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>").or_else(|| rest.strip_prefix('>')) {
            if root && namespace != Some("http://www.w3.org/1999/xhtml") {
                return Err(Flaw::NotADiv);
            }
            return Ok((rest.starts_with('/'), after));
        }
        let (name, after) = split_name(rest);
        let after = after.trim_start().strip_prefix('=').ok_or(Flaw::Malformed)?.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or(Flaw::Malformed)?;
        let (value, after) = after[1..].split_once(quote).ok_or(Flaw::Malformed)?;
        if value.contains('<') {
            return Err(Flaw::Malformed);
        }
        let own = OWN.iter().find(|(owner, _)| *owner == element).is_some_and(|(_, own)| own.contains(&name));
        if !own && COMMON.binary_search(&name).is_err() {
            return Err(Flaw::Attribute);
        }
        entities(value)?;
        if !harmless(name, value) {
            return Err(Flaw::Reference);
        }
        if name == "xmlns" {
            namespace = Some(value);
        }
        rest = after;
    }
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
        "style" => !["url(", "expression(", "@import", "javascript:", "&#", "\\"].iter().any(|bad| value.contains(bad)),
        _ => true,
    }
}

fn entities(text: &str) -> Result<(), Flaw> {
    for after in text.split('&').skip(1) {
        let (name, _) = after.split_once(';').ok_or(Flaw::Entity)?;
        let known = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            }
            .is_ok_and(|code| char::from_u32(code).is_some()),
            None => name.chars().all(|c| c.is_ascii_alphanumeric()) && ENTITIES.contains(&format!(" {name} ")),
        };
        if !known {
            return Err(Flaw::Entity);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(ELEMENTS.is_sorted() && COMMON.is_sorted());
    }

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
