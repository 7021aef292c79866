//! Narratives: the XHTML that people read, element by element (R4 §2.4.0).
//!
//! One pass with a stack of open elements. It says what the constraints txt-1 and txt-2 say with their yes or no,
//! and more: what may stand in what, where links may lead, and whether the languages agree. Names of elements are
//! repeated only where the standard knows them.

use std::collections::HashSet;

use super::super::run::Run;
use super::primitive::Primitive;
use crate::fhir::outcome::Id;
use crate::fhir::tree::xhtml::{self, Malformed, NAMESPACE, Odd, Scanner, Tag, Token};
use crate::fhir::tree::{Document, Element, Kind, NodeId};

/// Elements in which no blocks may stand.
const PARAGRAPHS: [&str; 33] = [
    "a", "abbr", "acronym", "address", "b", "bdo", "big", "caption", "cite", "code", "dd", "dfn", "dt", "em", "h1",
    "h2", "h3", "h4", "h5", "h6", "i", "kbd", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "tt",
    "var",
];

const BLOCKS: [&str; 5] = ["div", "ol", "pre", "table", "ul"];

/// Elements that do not stand in themselves.
const INLINE: [&str; 20] = [
    "a", "abbr", "acronym", "b", "bdo", "big", "cite", "code", "dfn", "em", "i", "kbd", "q", "samp", "small", "strong",
    "sub", "sup", "tt", "var",
];

const EMPTY: [&str; 4] = ["area", "br", "hr", "img"];

/// What an element may hold, where that is a list, and no text beside it.
const CHILDREN: [(&str, &[&str]); 9] = [
    ("dl", &["dd", "dt"]),
    ("map", &["area"]),
    ("ol", &["li"]),
    ("table", &["caption", "col", "colgroup", "tbody", "tfoot", "thead", "tr"]),
    ("tbody", &["tr"]),
    ("tfoot", &["tr"]),
    ("thead", &["tr"]),
    ("tr", &["td", "th"]),
    ("ul", &["li"]),
];

/// What an element must stand in.
const PARENTS: [(&str, &[&str]); 12] = [
    ("caption", &["table"]),
    ("col", &["colgroup", "table"]),
    ("colgroup", &["table"]),
    ("dd", &["dl"]),
    ("dt", &["dl"]),
    ("li", &["ol", "ul"]),
    ("tbody", &["table"]),
    ("td", &["tfoot", "thead", "tr"]),
    ("tfoot", &["table"]),
    ("th", &["tfoot", "thead", "tr"]),
    ("thead", &["table"]),
    ("tr", &["table", "tbody", "tfoot", "thead"]),
];

/// Schemes of links that a reader can follow.
const SCHEMES: [&str; 7] = ["ftp", "ftps", "http", "https", "mailto", "sftp", "tel"];

/// Deeper narratives are refused.
const MAX_DEPTH: usize = 256;

/// An open element.
struct Open<'t> {
    name: &'t str,
    /// It holds what it must not, and that has been said.
    has_block: bool,
    has_itself: bool,
    has_stranger: bool,
    /// Whether anything stands in it.
    is_filled: bool,
}

/// What a pass gathers for the rules that look at the whole.
#[derive(Default)]
struct Seen<'t> {
    says: bool,
    ids: HashSet<&'t str>,
    repeated: bool,
    /// Targets of links inside the resource, with the number of the link.
    anchors: Vec<(usize, &'t str)>,
    links: usize,
    /// Targets that cannot be followed and have been said.
    refused: HashSet<&'t str>,
    languages: Vec<&'t str>,
    /// Something stands in the outermost element that is no section of a language.
    unmarked: bool,
    root_language: Option<&'t str>,
}

/// Checks a Narrative. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, narrative: Element<'d>) {
    let Some(div) = narrative.get("div") else { return };
    let Some(text) = div.string() else { return };
    run.trail.push("div", 3, None);
    let mut pass = Pass { run, div, open: Vec::new(), seen: Seen::default(), begun: false };
    let seen = if let Ok(()) = pass.all(text.trim()) {
        pass.seen
    } else {
        let text = "The narrative must be one well-formed XHTML div element.";
        pass.run.issue(Id::NarrativeInvalid, div, text.to_owned());
        pass.run.trail.pop();
        return;
    };
    whole(run, div, &seen);
    run.trail.pop();
}

fn whole<'d>(run: &mut Run<'_, 'd>, div: Element<'d>, seen: &Seen<'_>) {
    if !seen.says {
        let text = "The narrative must hold some text or an image (txt-2).";
        run.issue(Id::NarrativeEmpty, div, text.to_owned());
    }
    if seen.repeated {
        run.issue(Id::NarrativeAdvice, div, "No id should stand twice in a narrative.".to_owned());
    }
    if !seen.languages.is_empty() && seen.unmarked {
        let text = "A narrative with sections of a language should have all its content in such sections.";
        run.issue(Id::NarrativeAdvice, div, text.to_owned());
    }
    if !seen.anchors.is_empty() {
        let resource = run.scope.resource;
        let mut ids = HashSet::new();
        element_ids(resource.document(), resource.node(), &mut ids);
        for (number, anchor) in &seen.anchors {
            if !seen.ids.contains(anchor) && !ids.contains(anchor) {
                let text = format!("Link {number} of the narrative leads to no id of the narrative or the resource.");
                run.issue(Id::NarrativeLink, div, text);
            }
        }
    }
}

/// The ids that stand in a resource.
fn element_ids<'d>(document: &'d Document, node: NodeId, ids: &mut HashSet<&'d str>) {
    for child in document.children(node) {
        match document.kind(child) {
            Kind::String if document.key(child) == "id" => {
                ids.insert(document.value(child));
            }
            Kind::Object | Kind::Array => element_ids(document, child, ids),
            _ => {}
        }
    }
}

/// Whether there is nothing but white space, as such or as references to its characters.
fn is_blank(words: &str) -> bool {
    let mut rest = words.trim_start();
    while let Some((reference, after)) = rest.strip_prefix("&#").and_then(|rest| rest.split_once(';')) {
        let digits = reference.strip_prefix(['x', 'X']);
        let character = digits.map_or_else(|| reference.parse(), |digits| u32::from_str_radix(digits, 16));
        if !matches!(character, Ok(0x9 | 0xA | 0xD | 0x20)) {
            return false;
        }
        rest = after.trim_start();
    }
    rest.is_empty()
}

struct Pass<'r, 'v, 'd, 't> {
    run: &'r mut Run<'v, 'd>,
    div: Element<'d>,
    open: Vec<Open<'t>>,
    seen: Seen<'t>,
    begun: bool,
}

impl<'t> Pass<'_, '_, '_, 't> {
    fn issue(&mut self, id: Id, text: String) {
        self.run.issue(id, self.div, text);
    }

    fn wrong(&mut self, text: String) {
        self.issue(Id::NarrativeInvalid, text);
    }

    fn all(&mut self, text: &'t str) -> Result<(), Malformed> {
        for token in Scanner::new(text) {
            match token? {
                Token::Text(words) => self.text(words)?,
                Token::Comment => {}
                Token::Odd(odd) => self.odd(odd),
                Token::Open(tag) => self.start(tag)?,
                Token::Close(name) => {
                    if self.open.pop().is_none_or(|open| open.name != name) {
                        return Err(Malformed);
                    }
                }
            }
        }
        if self.begun && self.open.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    fn text(&mut self, words: &'t str) -> Result<(), Malformed> {
        if !xhtml::knows_entities(words) {
            return Err(Malformed);
        }
        let is_blank = is_blank(words);
        let depth = self.open.len();
        let Some(parent) = self.open.last_mut() else {
            return if is_blank { Ok(()) } else { Err(Malformed) };
        };
        if is_blank {
            return Ok(());
        }
        parent.is_filled = true;
        self.seen.says = true;
        self.seen.unmarked |= depth == 1;
        self.stranger("text");
        self.unfilled();
        Ok(())
    }

    fn odd(&mut self, odd: Odd) {
        let what = match odd {
            Odd::DocumentType => "document type",
            Odd::Instruction => "processing instruction",
            Odd::CharacterData => "CDATA section",
        };
        self.wrong(format!("A narrative holds no {what}."));
    }

    fn start(&mut self, tag: Tag<'t>) -> Result<(), Malformed> {
        if self.open.is_empty() && (self.begun || tag.name != "div") {
            return Err(Malformed);
        }
        if xhtml::allows_element(tag.name) {
            if self.begun {
                self.place(tag.name);
            }
        } else {
            self.wrong("The narrative holds an element that narratives may not hold; scripts, forms, frames and embedded objects are not allowed.".to_owned());
        }
        self.attributes(&tag)?;
        self.seen.says |= tag.name == "img";
        self.begun = true;
        if let Some(parent) = self.open.last_mut() {
            parent.is_filled = true;
        }
        if !tag.closed {
            if self.open.len() >= MAX_DEPTH {
                return Err(Malformed);
            }
            let name = tag.name;
            self.open.push(Open { name, has_block: false, has_itself: false, has_stranger: false, is_filled: false });
        }
        Ok(())
    }

    /// What may stand in what.
    fn place(&mut self, name: &'t str) {
        self.stranger(name);
        self.unfilled();
        let parent = self.open.last().map_or("", |open| open.name);
        if let Some((_, parents)) = PARENTS.iter().find(|(child, _)| *child == name)
            && !parents.contains(&parent)
        {
            self.wrong(format!("In a narrative, {name} stands in {}.", parents.join(" or ")));
        }
        if BLOCKS.contains(&name) {
            let mut said = Vec::new();
            for open in self.open.iter_mut().filter(|open| PARAGRAPHS.contains(&open.name)) {
                if !std::mem::replace(&mut open.has_block, true) {
                    said.push(open.name);
                }
            }
            for outer in said {
                self.wrong(format!("In a narrative, {outer} holds no blocks: div, pre, table, ul or ol."));
            }
        }
        if (BLOCKS.contains(&name) && name != "pre" || matches!(name, "blockquote" | "p"))
            && self.open.iter().any(|open| open.name == "p")
        {
            self.wrong(format!("In a narrative, p holds no {name}."));
        }
        if INLINE.contains(&name) {
            let outer = self.open.iter_mut().find(|open| open.name == name && !open.has_itself);
            if let Some(outer) = outer {
                outer.has_itself = true;
                self.wrong(format!("In a narrative, {name} holds no other {name}."));
            }
        }
    }

    /// The innermost open element holds something that its list does not have.
    fn stranger(&mut self, name: &str) {
        let Some(parent) = self.open.last_mut() else { return };
        let listed = CHILDREN.iter().find(|(owner, _)| *owner == parent.name);
        if let Some((owner, children)) = listed
            && !children.contains(&name)
            && !std::mem::replace(&mut parent.has_stranger, true)
        {
            let text = format!("In a narrative, {owner} holds only {}.", children.join(", "));
            self.wrong(text);
        }
    }

    /// The innermost open element holds something and must not.
    fn unfilled(&mut self) {
        let Some(parent) = self.open.last_mut() else { return };
        if EMPTY.contains(&parent.name) && !std::mem::replace(&mut parent.has_stranger, true) {
            let text = format!("In a narrative, {} holds nothing.", parent.name);
            self.wrong(text);
        }
    }

    fn attributes(&mut self, tag: &Tag<'t>) -> Result<(), Malformed> {
        let mut namespace = None;
        for attribute in tag.attributes() {
            let (name, value) = attribute?;
            if !xhtml::knows_entities(value) {
                return Err(Malformed);
            }
            if name == "xmlns" {
                namespace = Some(value);
            }
            let is_known = name.starts_with("xmlns") || name == "xml:space" || xhtml::allows_attribute(tag.name, name);
            if !is_known && xhtml::allows_element(tag.name) {
                self.wrong(format!(
                    "In a narrative, {} has an attribute that it may not have; event handlers are never allowed.",
                    tag.name
                ));
            }
            if name == "style" && xhtml::style_runs(value) {
                self.wrong("A style in a narrative runs nothing.".to_owned());
            } else if name == "style" && xhtml::style_loads(value) {
                let text = "A style in a narrative should load nothing from elsewhere.";
                self.issue(Id::NarrativeAdvice, text.to_owned());
            }
            let is_own_name = name == "name" && tag.name == "a" && tag.attribute("id") != Some(value);
            if (name == "id" || is_own_name) && !self.seen.ids.insert(value) {
                self.seen.repeated = true;
            }
        }
        let expected = if self.begun { namespace.unwrap_or(NAMESPACE) } else { namespace.unwrap_or_default() };
        if expected != NAMESPACE {
            self.wrong("The elements of a narrative are of the XHTML namespace, which its div declares.".to_owned());
        }
        match tag.name {
            "a" | "area" => self.link(tag.attribute("href")),
            "img" => self.image(tag.attribute("src")),
            _ => {}
        }
        self.languages(tag);
        Ok(())
    }

    fn languages(&mut self, tag: &Tag<'t>) {
        let language = tag.attribute("xml:lang");
        if !self.begun {
            self.seen.root_language = language;
        } else if self.open.len() == 1 {
            match language.filter(|_| tag.name == "div") {
                Some(language) => self.seen.languages.push(language),
                None => self.seen.unmarked |= tag.name == "img" || !tag.closed,
            }
        }
    }

    fn link(&mut self, target: Option<&'t str>) {
        let Some(target) = target else { return };
        self.seen.links += 1;
        let number = self.seen.links;
        if let Some(anchor) = target.strip_prefix('#') {
            if !anchor.is_empty() {
                self.seen.anchors.push((number, anchor));
            }
            return;
        }
        if target.trim().is_empty() {
            self.issue(Id::NarrativeLink, format!("Link {number} of the narrative must lead somewhere."));
        } else if scheme(target).is_some_and(|scheme| !SCHEMES.contains(&&*scheme)) && self.seen.refused.insert(target)
        {
            let text =
                format!("Link {number} of the narrative must be one that a reader can follow: {}.", SCHEMES.join(", "));
            self.issue(Id::NarrativeLink, text);
        }
    }

    fn image(&mut self, source: Option<&'t str>) {
        let Some(source) = source else { return };
        let is_image = |data: &str| {
            let data = data.trim_start();
            let content = data.split_once(";base64,").map(|(_, content)| content);
            data.get(..11).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:image/"))
                && content
                    .is_none_or(|content| content.contains('%') || Primitive::Base64Binary.expects(content).is_none())
        };
        let is_fine = match scheme(source).as_deref() {
            None => !source.trim().is_empty(),
            Some("data") => is_image(source),
            Some(scheme) => matches!(scheme, "http" | "https"),
        };
        if !is_fine {
            let text = "An image of a narrative is embedded as data:image/…, contained, or loaded from http(s).";
            self.issue(Id::NarrativeLink, text.to_owned());
        }
    }
}

/// What a profile asks of a narrative.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Control {
    languages: Vec<Languages>,
    /// All content says by its class where it comes from.
    sources: bool,
}

/// What is asked of sections by language.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Languages {
    None,
    Some,
    /// One in the language of the resource.
    OfResource,
    Named(Box<str>),
}

/// Classes that tell where content comes from.
const SOURCES: [&str; 3] = ["boilerplate", "generated", "original"];

impl Control {
    pub fn new(languages: &[String], sources: bool) -> Control {
        let languages = languages.iter().map(|code| match code.as_str() {
            "_no" => Languages::None,
            "_yes" => Languages::Some,
            "_resource" => Languages::OfResource,
            other => Languages::Named(other.into()),
        });
        Control { languages: languages.collect(), sources }
    }

    pub fn is_idle(&self) -> bool {
        self.languages.is_empty() && !self.sources
    }
}

/// Checks a Narrative against what its profile asks. The trail stands on it.
pub fn control<'d>(run: &mut Run<'_, 'd>, control: &Control, narrative: Element<'d>) {
    let Some(text) = narrative.get("div").and_then(|div| div.string()) else { return };
    let (sections, sourceless) = gather(text);
    for wanted in &control.languages {
        let has = |language: &str| sections.contains(&language);
        let text = match wanted {
            Languages::None if !sections.is_empty() => {
                "The profile allows no sections by language in the narrative.".to_owned()
            }
            Languages::Some if sections.is_empty() => {
                "The profile asks for sections by language in the narrative.".to_owned()
            }
            Languages::OfResource if run.scope.resource.text_of("language").is_some_and(|own| !has(own)) => {
                "The profile asks for a section of the narrative in the language of the resource.".to_owned()
            }
            Languages::Named(language) if !has(language) => {
                format!("The profile asks for a section of the narrative in the language {language}.")
            }
            _ => continue,
        };
        run.issue(Id::NarrativeControl, narrative, text);
    }
    for number in 1..=sourceless.min(if control.sources { usize::MAX } else { 0 }) {
        let text = format!(
            "The profile asks that all content of the narrative says its source by one of the classes {}; passage {number} of those that do not.",
            SOURCES.join(", ")
        );
        run.issue(Id::NarrativeControl, narrative, text);
    }
}

/// The languages of sections, and how many passages stand in no element that says its source.
fn gather(text: &str) -> (Vec<&str>, usize) {
    let (mut sections, mut sourceless) = (Vec::new(), 0);
    // For each open element, whether it or one around it says its source.
    let mut open: Vec<bool> = Vec::new();
    for token in Scanner::new(text.trim()).map_while(Result::ok) {
        match token {
            Token::Open(tag) => {
                if open.len() == 1 && tag.name == "div" {
                    sections.extend(tag.attribute("xml:lang"));
                }
                let class = tag.attribute("class").unwrap_or_default();
                let says = class.split_whitespace().any(|each| SOURCES.contains(&each));
                let is_told = says || open.last() == Some(&true);
                sourceless += usize::from(tag.name == "img" && !is_told);
                if !tag.closed {
                    open.push(is_told);
                }
            }
            Token::Close(_) => {
                open.pop();
            }
            Token::Text(words) => sourceless += usize::from(!words.trim().is_empty() && open.last() == Some(&false)),
            Token::Comment | Token::Odd(_) => {}
        }
    }
    (sections, sourceless)
}

/// The scheme of an absolute address, as a browser reads it: blanks and control characters do not hide it. Where a
/// character reference could spell one, what stands there is no scheme that anybody allows.
fn scheme(address: &str) -> Option<String> {
    let plain: String = address.chars().filter(|each| !each.is_whitespace() && !each.is_control()).collect();
    let end = plain.find([':', '/', '?', '#', '&'])?;
    let is_scheme = plain[end..].starts_with(':');
    let may_hide_one = plain[end..].starts_with("&#");
    (is_scheme || may_hide_one).then(|| plain[..end].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(Registry::core()));

    /// The issues of a narrative's div, by id and by how many.
    fn found(div: &str) -> Vec<(Id, usize)> {
        let resource = serde_json::json!({"resourceType": "Basic", "id": "own", "code": {"id": "deep", "text": "x"},
            "text": {"status": "generated", "div": div}});
        let document = json::parse(resource.to_string()).unwrap();
        let report = VALIDATOR.check(Element::root(&document), &Options::default());
        let mut found: Vec<(Id, usize)> = Vec::new();
        for issue in report.issues {
            assert_eq!(issue.expression, "Basic.text.div", "{}", issue.text);
            match found.iter_mut().find(|(id, _)| *id == issue.id) {
                Some((_, count)) => *count += 1,
                None => found.push((issue.id, 1)),
            }
        }
        found
    }

    fn check(inner: &str, expected: &[(Id, usize)]) {
        let div = format!("<div xmlns=\"{NAMESPACE}\">{inner}</div>");
        assert_eq!(found(&div), expected, "{inner}");
    }

    #[test]
    fn plain_narratives_pass() {
        for inner in [
            "Hello &amp; &eacute; &#233;",
            "<p>a<br/>b<b>c <i>d</i></b></p><!-- e -->",
            "<table class='x'><caption>c</caption><thead><tr><th>a</th></tr></thead><tbody><tr><td><ul><li>b</li></ul></td></tr></tbody></table>",
            "<ol>&#10;&#x9; <li>a</li></ol>",
            "<table><tr><td>a</td></tr></table><dl><dt>a</dt><dd><p>b</p></dd></dl>",
            "<img src='data:image/png;base64,AA==' alt='x'/><img src='#own'/>",
            "<a href='https://example.org/a:b?c=d#e'>x</a><a href='mailto:a@b.c'>y</a><a href='Patient/1'>z</a>",
            "<a href='#deep'>x</a><a href='#'>y</a><a name='z'/><a href='#z'>z</a>",
            "<div xml:lang='de'>a</div><div xml:lang='en'>b</div>",
        ] {
            check(inner, &[]);
        }
    }

    #[test]
    fn narratives_are_a_div() {
        for div in ["", "x", "<p>x</p>"] {
            let found = found(&format!(" {div}"));
            assert!(matches!(found.as_slice(), [(Id::NarrativeInvalid | Id::ElementEmpty, 1)]), "{div}: {found:?}");
        }
        assert_eq!(found("<div>x</div>"), [(Id::NarrativeInvalid, 1)]);
        assert_eq!(found("<div xmlns='urn:x'>x</div>"), [(Id::NarrativeInvalid, 1)]);
        check("<b>", &[(Id::NarrativeInvalid, 1)]);
        check("<p>x</b>", &[(Id::NarrativeInvalid, 1)]);
        check("</div>y<div>", &[(Id::NarrativeInvalid, 1)]);
        check("&unknown;", &[(Id::NarrativeInvalid, 1)]);
        check("a & b", &[(Id::NarrativeInvalid, 1)]);
    }

    #[test]
    fn only_what_is_allowed_stands_in_them() {
        for inner in [
            "<script>x</script>",
            "<p onclick='x'>y</p>",
            "<p style='width: expression(x)'>y</p>",
            "<p xmlns='urn:x'>y</p>",
            "<!DOCTYPE html>x",
            "<?php x ?>x",
            "<![CDATA[x]]>y",
            "<li>x</li>",
            "<ul><p>x</p><p>y</p></ul>",
            "<ul>x</ul>",
            "<br>x</br>",
            "<span><div>x</div><ul><li>y</li></ul></span>",
            "<b>x<i><b>y</b></i></b>",
            "<table><td>x</td></table>",
        ] {
            let expected = if inner.starts_with("<table") { 2 } else { 1 };
            check(inner, &[(Id::NarrativeInvalid, expected)]);
        }
        check("<p><div>x</div></p>", &[(Id::NarrativeInvalid, 2)]);
    }

    #[test]
    fn they_say_something() {
        check("", &[(Id::NarrativeEmpty, 1)]);
        check(" <p> </p> ", &[(Id::NarrativeEmpty, 1)]);
    }

    #[test]
    fn links_lead_somewhere() {
        check("<a href=''>x</a><a href='urn:uuid:1'>y</a><a href='urn:uuid:1'>z</a>", &[(Id::NarrativeLink, 2)]);
        check("<a href=' java\nscript:x'>y</a>", &[(Id::NarrativeLink, 1)]);
        check("<a href='java&#115;cript:x'>y</a>", &[(Id::NarrativeLink, 1)]);
        check("<a href='#nowhere'>y</a>", &[(Id::NarrativeLink, 1)]);
        check("<img src='data:text/html,x'/>", &[(Id::NarrativeLink, 1)]);
        check("<img src='data:image/png;base64,AA'/>", &[(Id::NarrativeLink, 1)]);
    }

    #[test]
    fn advice_is_no_error() {
        check("<p id='a'>x</p><p id='a'>y</p>", &[(Id::NarrativeAdvice, 1)]);
        check("<p style='background: url(http://x/y)'>y</p>", &[(Id::NarrativeAdvice, 1)]);
        check("<div xml:lang='de'>x</div>y", &[(Id::NarrativeAdvice, 1)]);
    }

    #[test]
    fn profiles_control_languages_and_sources() {
        let two =
            "<div xmlns='http://www.w3.org/1999/xhtml'><div xml:lang='de'>x</div><div xml:lang='en'>y</div></div>";
        let none = "<div xmlns='http://www.w3.org/1999/xhtml'>x<p class='generated'>y</p><p>z</p></div>";
        for (code, div, expected) in [
            ("_no", two, 1),
            ("_no", none, 0),
            ("_yes", two, 0),
            ("_yes", none, 1),
            ("_resource", two, 1),
            ("fr", two, 1),
            ("de", two, 0),
            ("", none, 2),
        ] {
            let extension = if code.is_empty() {
                serde_json::json!({"url": "http://hl7.org/fhir/StructureDefinition/narrative-source-control", "valueCode": "error"})
            } else {
                serde_json::json!({"url": "http://hl7.org/fhir/StructureDefinition/narrative-language-control", "valueCode": code})
            };
            let profile = serde_json::json!({"resourceType": "StructureDefinition", "url": "urn:p", "name": "P",
                "status": "draft", "kind": "resource", "abstract": false, "type": "Basic", "derivation": "constraint",
                "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Basic", "differential": {"element": [
                    {"id": "Basic.text", "path": "Basic.text", "extension": [extension]}]}});
            let document = json::parse(profile.to_string()).unwrap();
            let validator = Validator::new(Registry::with(vec![document]).unwrap());
            let resource = serde_json::json!({"resourceType": "Basic", "language": "nl", "code": {"text": "x"},
                "text": {"status": "generated", "div": div}});
            let document = json::parse(resource.to_string()).unwrap();
            let options = Options { profiles: &["urn:p"], ..Options::default() };
            let issues = validator.check(Element::root(&document), &options).issues;
            let own =
                issues.iter().filter(|issue| issue.id == Id::NarrativeControl && issue.expression == "Basic.text");
            assert_eq!(own.count(), expected, "{code} {div}");
        }
    }

    #[test]
    fn markup_is_refused_where_that_is_asked_for() {
        let text = r#"{"resourceType":"Basic","code":{"text":"<b>x</b>"}}"#;
        let document = json::parse(text).unwrap();
        for (forbids_markup, expected) in [(false, None), (true, Some(Id::MarkupForbidden))] {
            let options = Options { forbids_markup, ..Options::default() };
            let report = VALIDATOR.check(Element::root(&document), &options);
            assert_eq!(report.issues.first().map(|issue| issue.id), expected);
        }
        let text = r#"{"resourceType":"Communication","status":"completed","note":[{"text":"a <b>b</b>"}]}"#;
        let document = json::parse(text).unwrap();
        let report = VALIDATOR.check(Element::root(&document), &Options::default());
        assert_eq!(report.issues.first().map(|issue| issue.id), Some(Id::MarkupAdvice));
    }
}
