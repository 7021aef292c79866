//! XHTML as narratives use it (R4 §2.4.0): a scanner for the small subset, and what the subset allows.
//!
//! Lenient where HTML and XML differ, strict about form: whatever is not recognised is an [`Token::Odd`] and left to
//! the caller. Nothing is copied. Which narratives are acceptable, and what to say of those that are not, is not
//! known here.

/// The namespace that the outermost `div` declares.
pub const NAMESPACE: &str = "http://www.w3.org/1999/xhtml";

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

/// A piece of a narrative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'t> {
    Open(Tag<'t>),
    /// An end tag with its name.
    Close(&'t str),
    Text(&'t str),
    Comment,
    Odd(Odd),
}

/// What no narrative holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Odd {
    DocumentType,
    Instruction,
    CharacterData,
}

/// A start tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag<'t> {
    pub name: &'t str,
    attributes: &'t str,
    /// Whether it ends itself.
    pub closed: bool,
}

/// The text is no XHTML.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Tokens in the order of the text. Says nothing of nesting.
pub struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    pub fn new(text: &'t str) -> Self {
        Scanner { rest: text }
    }

    fn until(&mut self, mark: &str) -> Result<&'t str, Malformed> {
        let (inside, rest) = self.rest.split_once(mark).ok_or(Malformed)?;
        self.rest = rest;
        Ok(inside)
    }

    fn token(&mut self) -> Result<Token<'t>, Malformed> {
        let Some(tag) = self.rest.strip_prefix('<') else {
            let (text, rest) = self.rest.split_at(self.rest.find('<').unwrap_or(self.rest.len()));
            self.rest = rest;
            return Ok(Token::Text(text));
        };
        if tag.starts_with("!--") {
            self.until("-->")?;
            return Ok(Token::Comment);
        }
        for (mark, end, odd) in
            [("![CDATA[", "]]>", Odd::CharacterData), ("!", ">", Odd::DocumentType), ("?", "?>", Odd::Instruction)]
        {
            if tag.starts_with(mark) {
                self.until(end)?;
                return Ok(Token::Odd(odd));
            }
        }
        if tag.starts_with('/') {
            let name = self.until(">")?[2..].trim_end();
            return Ok(Token::Close(name));
        }
        let (name, after) = split_name(tag);
        if name.is_empty() {
            return Err(Malformed);
        }
        let end = tag_end(after).ok_or(Malformed)?;
        self.rest = &after[end + 1..];
        let inside = &after[..end];
        let closed = inside.ends_with('/');
        Ok(Token::Open(Tag { name, attributes: inside.strip_suffix('/').unwrap_or(inside), closed }))
    }
}

impl<'t> Iterator for Scanner<'t> {
    type Item = Result<Token<'t>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let token = self.token();
        if token.is_err() {
            self.rest = "";
        }
        Some(token)
    }
}

/// Where the `>` of a tag stands, quoted values passed over.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'<') => return None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || "_-:.".contains(character)));
    text.split_at(end.unwrap_or(text.len()))
}

impl<'t> Tag<'t> {
    /// Names and values, entities as they were written.
    pub fn attributes(&self) -> Attributes<'t> {
        Attributes { rest: self.attributes }
    }

    pub fn attribute(&self, name: &str) -> Option<&'t str> {
        self.attributes().filter_map(Result::ok).find(|(own, _)| *own == name).map(|(_, value)| value)
    }
}

/// The attributes of a tag.
pub struct Attributes<'t> {
    rest: &'t str,
}

impl<'t> Attributes<'t> {
    fn attribute(&mut self) -> Result<(&'t str, &'t str), Malformed> {
        let (name, after) = split_name(self.rest);
        let after = after.trim_start().strip_prefix('=').ok_or(Malformed)?.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or(Malformed)?;
        let (value, rest) = after[1..].split_once(quote).ok_or(Malformed)?;
        if name.is_empty() || value.contains('<') {
            return Err(Malformed);
        }
        self.rest = rest;
        Ok((name, value))
    }
}

impl<'t> Iterator for Attributes<'t> {
    type Item = Result<(&'t str, &'t str), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.attribute();
        if attribute.is_err() {
            self.rest = "";
        }
        Some(attribute)
    }
}

/// Whether a narrative may hold such an element.
pub fn allows_element(name: &str) -> bool {
    ELEMENTS.binary_search(&name).is_ok()
}

/// Whether such an element may have such an attribute.
pub fn allows_attribute(element: &str, name: &str) -> bool {
    OWN.iter().find(|(owner, _)| *owner == element).is_some_and(|(_, own)| own.contains(&name))
        || COMMON.binary_search(&name).is_ok()
}

/// Whether every `&` begins a character reference that narratives know.
pub fn knows_entities(text: &str) -> bool {
    text.split('&').skip(1).all(|after| {
        let Some((name, _)) = after.split_once(';') else { return false };
        match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            }
            .is_ok_and(|code| char::from_u32(code).is_some()),
            None => name.chars().all(|c| c.is_ascii_alphanumeric()) && ENTITIES.contains(&format!(" {name} ")),
        }
    })
}

/// Whether a style runs something. Pictures from elsewhere are no script; [`style_loads`] tells of them.
pub fn style_runs(value: &str) -> bool {
    let value = squeezed(value);
    ["expression(", "javascript:", "vbscript:", "@import", "behavior:"].iter().any(|bad| value.contains(bad))
}

/// Whether a style loads something from elsewhere, or hides what it does.
pub fn style_loads(value: &str) -> bool {
    let value = squeezed(value);
    let is_foreign = |after: &str| {
        let target = after.trim_start_matches(['\'', '"']);
        !target.starts_with("data:image/") && target.split(')').next().is_some_and(|target| target.contains("//"))
    };
    value.contains('\\') || value.split("url(").skip(1).any(is_foreign)
}

fn squeezed(value: &str) -> String {
    value.chars().filter(|each| !each.is_whitespace() && !each.is_control()).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(ELEMENTS.is_sorted() && COMMON.is_sorted());
    }

    #[test]
    fn scans() {
        let text = "<a href='x>y' id=\"b\"/>t<!-- <p> --><br></br><?php ?><![CDATA[<p>]]>";
        let tokens: Result<Vec<Token<'_>>, Malformed> = Scanner::new(text).collect();
        let tokens = tokens.unwrap();
        assert!(
            matches!(tokens[0], Token::Open(tag) if tag.name == "a" && tag.closed && tag.attribute("href") == Some("x>y"))
        );
        assert_eq!(tokens[1..3], [Token::Text("t"), Token::Comment]);
        assert_eq!(tokens[4..], [Token::Close("br"), Token::Odd(Odd::Instruction), Token::Odd(Odd::CharacterData)]);
    }

    #[test]
    fn refuses_what_is_no_xhtml() {
        for text in ["<", "<p", "< p>", "<p class=\"", "<!-- x", "<p <b>>", "</p"] {
            assert!(Scanner::new(text).any(|token| token.is_err()), "{text}");
        }
        for attributes in ["a", "a=b", "a='<'", "='x'"] {
            let text = format!("<p {attributes}>");
            let Some(Ok(Token::Open(tag))) = Scanner::new(&text).next() else { panic!("{text}") };
            assert!(tag.attributes().any(|each| each.is_err()), "{text}");
        }
    }

    #[test]
    fn styles() {
        for (style, runs, loads) in [
            ("color: red", false, false),
            ("background: url(a.png)", false, false),
            ("background: url('data:image/png;base64,AA==')", false, false),
            ("background: url( 'https://a.b/c.png' )", false, true),
            ("width: exp\\72 ession(x)", false, true),
            ("width: EXPRESSION (x)", true, false),
            ("background: url(java\nscript:x)", true, false),
        ] {
            assert_eq!((style_runs(style), style_loads(style)), (runs, loads), "{style}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[<>/a-z&;#=\"' !?\\[-]{0,64}") {
            for token in Scanner::new(&text).flatten() {
                if let Token::Open(tag) = token {
                    tag.attributes().for_each(drop);
                }
            }
        }
    }
}
