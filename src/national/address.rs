//! Where a request goes, and on what condition: method, path and header, as `pack.toml` says. A resource by itself has no
//! entries that could say so; what is replaced there is named by the id that the destination gave.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Mistake;
use super::compile::Main;
use super::file::Corrections;
use super::lookup::is_below;
use super::pack::Pack;
use super::render::{Gap, Scope};
use super::slot::{Names, Slot};
use super::template::{Node, Piece, filled};

/// What a name must be so that a path or a condition can carry it.
const CARRIED: Gap = Gap::Form("names that an address can carry");

/// Where one request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub method: String,
    /// Segments below the destination's address, not yet encoded.
    pub path: Vec<String>,
    /// What a resource is created unless there is one of (`If-None-Exist`).
    pub condition: Option<String>,
}

/// The same of a pack, with slots.
#[derive(Default, Debug)]
pub(super) struct Way {
    path: Vec<Node>,
    /// Where a new version replaces what has a name there.
    correction: Option<Vec<Node>>,
    condition: Option<Node>,
}

impl Pack {
    /// Where a request of these measurements goes.
    pub(super) fn address(&self, scope: &Scope<'_>) -> Result<Address, Gap> {
        let way = &self.request.way;
        if let Some(path) = way.correction.as_ref().filter(|_| scope.is_there()) {
            return Ok(Address { method: "PUT".to_owned(), path: segments(scope, path)?, condition: None });
        }
        let condition = way.condition.as_ref().map(|node| text(scope, node, is_of_condition)).transpose()?;
        Ok(Address { method: self.request.method.clone(), path: segments(scope, &way.path)?, condition })
    }

    /// Whether a request goes to a path below the destination's address.
    pub fn is_at(&self, below: &[&str]) -> bool {
        let way = &self.request.way.path;
        let is_it = |(node, segment): (&Node, &&str)| match node {
            Node::Raw(text) => serde_json::from_str(text).is_ok_and(|text: String| text == *segment),
            _ => true,
        };
        way.len() == below.len() && way.iter().zip(below).all(is_it)
    }
}

fn segments(scope: &Scope<'_>, path: &[Node]) -> Result<Vec<String>, Gap> {
    let is_segment = |text: &String| !text.is_empty() && text != "." && text != "..";
    let segment = |node| text(scope, node, |_| true).and_then(|text| Some(text).filter(is_segment).ok_or(CARRIED));
    path.iter().map(segment).collect()
}

/// What a search parameter's value is without being taken apart: what separates values is the pack's own to say.
fn is_of_condition(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'#' | b'%' | b'+' | b',' | b'|' | b'\\'))
}

fn text(scope: &Scope<'_>, node: &Node, fits: fn(&str) -> bool) -> Result<String, Gap> {
    let literal = |json: &str| serde_json::from_str::<String>(json).map_err(|_| CARRIED);
    let slot = |slot: Slot| {
        let mut out = String::new();
        scope.slot(slot, &mut out)?;
        literal(&out).and_then(|text| Some(text).filter(|text| fits(text)).ok_or(CARRIED))
    };
    match node {
        Node::Raw(text) => literal(text),
        Node::Slot(one) => slot(*one),
        Node::Text(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => literal(&format!("\"{text}\"")),
                Piece::Slot(one) => slot(*one),
            })
            .collect(),
        _ => Err(CARRIED),
    }
}

/// What `pack.toml` says of it. What is wrong is put to the rest.
pub(super) fn compile(main: &Main, files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Way {
    let request = &main.file.request;
    let names = main.names();
    let mut wrong = |key: &str, text: &str| main.wrong(key, format!("{key} {text}"), mistakes);
    let path = path(names, &request.path, |text| wrong("request.path", text));
    let correction = request.correction.as_ref();
    let correction = correction.map(|said| self::path(names, said, |text| wrong("request.correction", text)));
    let condition =
        request.condition.as_ref().map(|said| filled_in(names, said, |text| wrong("request.condition", text)));
    let names_there = |node: &Node| node.slots().contains(&Slot::There);
    for (key, nodes) in [("request.path", path.as_slice()), ("request.condition", condition.as_slice())] {
        if nodes.iter().any(names_there) {
            wrong(
                key,
                "names {there}, which what is new does not have; request.correction says where its corrections go",
            );
        }
        if nodes.iter().flat_map(Node::slots).any(Slot::is_of_one) && request.most > 1 {
            wrong(key, "names one measurement, so that request.most is 1");
        }
    }
    if correction.as_ref().is_some_and(|nodes| !nodes.iter().any(names_there)) {
        wrong("request.correction", "names what is replaced by {there}, such as Observation/{there}");
    }
    let alone = is_alone(files);
    if alone == Some(false) {
        for (key, is_said) in [("request.correction", correction.is_some()), ("request.condition", condition.is_some())]
        {
            if is_said {
                wrong(key, "goes with a resource by itself; entries of a Bundle say it in entry.request");
            }
        }
    } else if request.corrections == Corrections::Update && correction.is_none() && alone == Some(true) {
        wrong(
            "request.corrections",
            "is update, and a resource by itself is replaced where request.correction says, such as Observation/{there}",
        );
    }
    if request.corrections != Corrections::Update && correction.is_some() {
        wrong("request.correction", "goes with request.corrections = \"update\"");
    }
    if condition.is_some() && request.method != "POST" {
        wrong("request.condition", "goes with POST: what is put where it says is there once anyhow");
    }
    if request.condition.as_ref().is_some_and(|said| said.starts_with('?') || !said.contains('=')) {
        wrong("request.condition", "is a search without a question mark, such as identifier=urn:uuid:{uuid}");
    }
    if request.method == "PUT" && alone == Some(true) && path.last().is_none_or(|last| last.slots().is_empty()) {
        wrong("request.path", "ends with the id of what is put, such as Observation/{uuid}");
    }
    Way { path, correction, condition }
}

fn path(names: Names<'_>, said: &str, mut wrong: impl FnMut(&str)) -> Vec<Node> {
    if !is_below(said) {
        wrong("is relative to the address of the destination, without a question mark");
        return Vec::new();
    }
    said.split('/').filter(|part| !part.is_empty()).map(|part| filled_in(names, part, &mut wrong)).collect()
}

/// A text with slots, and no brace that is none.
fn filled_in(names: Names<'_>, said: &str, mut wrong: impl FnMut(&str)) -> Node {
    let mut mistakes = Vec::new();
    let node = filled(said, names, &mut mistakes);
    let literals = match &node {
        Node::Raw(text) => text.clone(),
        Node::Text(pieces) => pieces
            .iter()
            .filter_map(|piece| if let Piece::Literal(text) = piece { Some(text.as_str()) } else { None })
            .collect(),
        _ => String::new(),
    };
    if mistakes.is_empty() && literals.contains(['{', '}']) {
        mistakes.push("it has a brace that belongs to no slot".to_owned());
    }
    for text in &mistakes {
        wrong(&format!("cannot be filled: {text}"));
    }
    node
}

/// Whether the body is a resource by itself; none where no template says so.
fn is_alone(files: &BTreeMap<String, String>) -> Option<bool> {
    let whole: Json = serde_json::from_str(files.get("request.json")?).ok()?;
    whole["resourceType"].as_str().map(|kind| kind != "Bundle" && kind != "Parameters")
}
