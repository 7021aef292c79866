//! Shapes as templates: JSON in which `{slots}` stand for what a measurement says.
//!
//! - `"{code}"` alone becomes the slot's value, whatever it is; inside a longer text it is put into the text.
//! - `"@name"` includes the template `name.json` of the pack, and `"@@name"` the same in base64.
//! - A member whose name ends with `?` is left out where something in it is missing. Anything else that is missing makes
//!   the whole measurement one that cannot be told there, and so does a value that the destination cannot take, whether its
//!   member may be left out or not.
//! - An item of a list, or an optional member, with `"$if": "slot"` is left out where the slot has nothing, with `"$if": "slot=word"` also where it
//!   has something else; `"$unless"` is the contrary. `"$each": "measurement"` or `"component"` repeats the item.
//! - `value[x]` and `effective[x]` are named by the type of what is written. A measure whose value stands in components has
//!   no `value[x]`, though it is not optional.
//!
//! What does not depend on a measurement is one text, written as it stands. Nothing is looked up by name when a
//! template is filled.

use super::Mistake;
use super::slot::{Names, Slot};
use crate::fhir::tree::write::string;
use crate::fhir::tree::{Document, Kind, NodeId, json};

/// A template or a part of one.
#[derive(Debug)]
pub(super) enum Node {
    /// JSON as it is written.
    Raw(String),
    Slot(Slot),
    /// A text with slots in it.
    Text(Vec<Piece>),
    Object(Object),
    Array(Vec<Node>),
    /// Another template.
    Part(usize),
    /// Another template as a text, in base64.
    Encoded(usize),
}

#[derive(Debug)]
pub(super) enum Piece {
    /// As it stands in a JSON string.
    Literal(String),
    Slot(Slot),
}

#[derive(Debug)]
pub(super) struct Object {
    pub only: Option<Only>,
    pub each: Option<Each>,
    pub members: Vec<Member>,
}

/// When an object is written.
#[derive(Debug)]
pub(super) struct Only {
    pub slot: Slot,
    pub is: Option<String>,
    pub not: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Each {
    Measurement,
    Component,
}

#[derive(Debug)]
pub(super) struct Member {
    /// With quotes and colon; of a choice the beginning alone.
    pub name: String,
    pub choice: bool,
    pub optional: bool,
    pub node: Node,
}

impl Node {
    /// What is asked for in a text, or by itself.
    pub fn slots(&self) -> Vec<Slot> {
        match self {
            Node::Slot(slot) => vec![*slot],
            Node::Text(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Slot(slot) => Some(*slot),
                    Piece::Literal(_) => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Compiles the templates of a pack.
pub(super) struct Compiler<'p> {
    pub names: Names<'p>,
    /// Names of the templates.
    pub parts: &'p [String],
    pub mistakes: &'p mut Vec<Mistake>,
}

impl Compiler<'_> {
    /// The template of a file.
    pub fn template(&mut self, file: &str, text: &str) -> Node {
        match json::parse(text) {
            Ok(document) => self.node(file, &document, document.root()),
            Err(issue) => {
                let mistake = Mistake::at(file, u64::from(issue.position.line), issue.text);
                self.mistakes.push(mistake);
                Node::Raw("null".to_owned())
            }
        }
    }

    fn node(&mut self, file: &str, document: &Document, node: NodeId) -> Node {
        match document.kind(node) {
            Kind::Object => self.object(file, document, node),
            Kind::Array => {
                let items: Vec<Node> = document.children(node).map(|item| self.node(file, document, item)).collect();
                raw_if_plain(Node::Array(items))
            }
            Kind::String => self.text(file, document, node),
            Kind::Number | Kind::True | Kind::False | Kind::Null => Node::Raw(document.value(node).to_owned()),
        }
    }

    fn object(&mut self, file: &str, document: &Document, node: NodeId) -> Node {
        let mut object = Object { only: None, each: None, members: Vec::new() };
        for member in document.children(node) {
            let (key, text) = (document.key(member), document.value(member));
            match key {
                "$if" | "$unless" => {
                    let (name, is) = text.split_once('=').map_or((text, None), |(name, is)| (name, Some(is)));
                    object.only = self.names.slot(name).map(|slot| Only {
                        slot,
                        is: is.map(str::to_owned),
                        not: key == "$unless",
                    });
                    if let Some(text) = self.names.unknown(name) {
                        self.wrong(file, document, member, text);
                    }
                }
                "$each" => match text {
                    "measurement" => object.each = Some(Each::Measurement),
                    "component" => object.each = Some(Each::Component),
                    _ => self.wrong(file, document, member, "$each: expected is measurement or component".to_owned()),
                },
                _ => {
                    let (name, optional) = key.strip_suffix('?').map_or((key, false), |name| (name, true));
                    let (name, choice) = name.strip_suffix("[x]").map_or((name, false), |name| (name, true));
                    let node = self.node(file, document, member);
                    let is_choice = matches!(node, Node::Slot(Slot::Value | Slot::Effective));
                    if choice != is_choice {
                        let text = "value[x] and effective[x] go with {value} and {effective}".to_owned();
                        self.wrong(file, document, member, text);
                    }
                    let mut quoted = String::new();
                    string(name, &mut quoted);
                    if choice {
                        quoted.pop();
                    } else {
                        quoted.push(':');
                    }
                    object.members.push(Member { name: quoted, choice, optional, node });
                }
            }
        }
        raw_if_plain(Node::Object(object))
    }

    fn text(&mut self, file: &str, document: &Document, node: NodeId) -> Node {
        let text = document.value(node);
        if let Some(named) = text.strip_prefix('@') {
            let (name, encoded) = named.strip_prefix('@').map_or((named, false), |name| (name, true));
            if let Some(at) = self.parts.iter().position(|known| known == name) {
                return if encoded { Node::Encoded(at) } else { Node::Part(at) };
            }
            self.wrong(file, document, node, format!("the pack has no template {name}.json"));
            return Node::Raw("null".to_owned());
        }
        let mut wrong = Vec::new();
        let filled = filled(text, self.names, &mut wrong);
        for text in wrong {
            self.wrong(file, document, node, text);
        }
        filled
    }

    fn wrong(&mut self, file: &str, document: &Document, node: NodeId, text: String) {
        let line = u64::from(document.position(node).line);
        self.mistakes.push(Mistake::at(file, line, text));
    }
}

/// A text with slots in it. What is wrong with it is put to the rest.
pub(super) fn filled(text: &str, names: Names<'_>, wrong: &mut Vec<String>) -> Node {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        literal(before, &mut pieces);
        pieces.extend(names.slot(name).map(Piece::Slot));
        wrong.extend(names.unknown(name));
        rest = behind;
    }
    literal(rest, &mut pieces);
    match pieces.as_slice() {
        [Piece::Slot(slot)] => Node::Slot(*slot),
        [] => Node::Raw("\"\"".to_owned()),
        [Piece::Literal(text)] => Node::Raw(format!("\"{text}\"")),
        _ => Node::Text(pieces),
    }
}

fn literal(text: &str, pieces: &mut Vec<Piece>) {
    if text.is_empty() {
        return;
    }
    let mut quoted = String::new();
    string(text, &mut quoted);
    pieces.push(Piece::Literal(quoted[1..quoted.len() - 1].to_owned()));
}

/// One text, where nothing in it depends on a measurement.
fn raw_if_plain(node: Node) -> Node {
    let mut out = String::new();
    if plain(&node, &mut out) { Node::Raw(out) } else { node }
}

fn plain(node: &Node, out: &mut String) -> bool {
    match node {
        Node::Raw(text) => out.push_str(text),
        Node::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                if !plain(item, out) {
                    return false;
                }
            }
            out.push(']');
        }
        Node::Object(Object { only: None, each: None, members }) if !members.is_empty() => {
            for (index, member) in members.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(&member.name);
                if member.choice || !plain(&member.node, out) {
                    return false;
                }
            }
            out.push('}');
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Node, Vec<String>> {
        let (settings, words, parts) = (["oid".to_owned()], ["moment".to_owned()], ["observation".to_owned()]);
        let mut mistakes = Vec::new();
        let node = Compiler {
            names: Names { settings: &settings, words: &words, whole: true },
            parts: &parts,
            mistakes: &mut mistakes,
        }
        .template("request.json", text);
        if mistakes.is_empty() { Ok(node) } else { Err(mistakes.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn what_does_not_change_is_one_text() {
        let Ok(Node::Raw(text)) = compiled(r#"{ "a": [1, true, {"b": "c\"d"}], "e": null }"#) else {
            panic!("no text")
        };
        assert_eq!(text, r#"{"a":[1,true,{"b":"c\"d"}],"e":null}"#);
        let Ok(Node::Object(object)) = compiled(r#"{"a?": {"b": 1, "c": "x{setting.oid}y"}, "d": "@observation"}"#)
        else {
            panic!("no object")
        };
        assert!(object.members[0].optional && matches!(object.members[1].node, Node::Part(0)));
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let mistakes = compiled(
            "{\n\"a\": \"{colour}\",\n\"b\": \"@other\",\n\"c\": [{\"$if\": \"x\", \"$each\": \"y\"}],\n\"value[x]\": 1,\n\"d\": \"{value}\"}",
        );
        assert_eq!(
            mistakes.expect_err("five mistakes"),
            [
                "request.json:2: no slot is called colour",
                "request.json:3: the pack has no template other.json",
                "request.json:4: no slot is called x",
                "request.json:4: $each: expected is measurement or component",
                "request.json:5: value[x] and effective[x] go with {value} and {effective}",
                "request.json:6: value[x] and effective[x] go with {value} and {effective}",
            ]
        );
        assert!(compiled("{\"a\": }").is_err());
    }
}
