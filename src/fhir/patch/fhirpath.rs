//! FHIRPath Patch (R4 §3.1.0.8.3): Parameters whose parts say what is added, inserted, deleted, replaced or moved, and
//! FHIRPath where.

use serde_json::{Map, Value};

use super::pointer::{Step, at_mut};
use super::{MAX_OPERATIONS, failed, invalid};
use crate::fhir::fhirpath::{self, Expression, Failure};
use crate::fhir::outcome::Issue;
use crate::fhir::tree::xml::{Form, Shape, Shapes};
use crate::fhir::tree::{Document, Element, NodeId, json, write};

/// An element that an expression selects: the nodes of its value and of its underscore twin.
pub type Selected = (Option<NodeId>, Option<NodeId>);

/// Evaluates an expression over a whole document. `None` stands for an item that is no element.
pub type Select<'a> = &'a dyn Fn(&Document, &Expression) -> Result<Vec<Option<Selected>>, Failure>;

/// The document with every operation of the Parameters done.
pub fn apply<S: Shapes>(
    document: &Document,
    parameters: &Document,
    shapes: &S,
    select: Select<'_>,
) -> Result<Document, Issue> {
    let root = Element::root(parameters);
    if root.resource_type() != Some("Parameters") {
        return Err(invalid("it is no Parameters resource"));
    }
    let operations: Vec<Element<'_>> = root.all("parameter").collect();
    if operations.len() > MAX_OPERATIONS {
        return Err(invalid(format_args!("it has more than {MAX_OPERATIONS} operations")));
    }
    let mut current = document.clone();
    for (at, operation) in operations.into_iter().enumerate() {
        if operation.text_of("name") != Some("operation") {
            return Err(invalid("a parameter has another name than operation"));
        }
        let text = write::compact(&current, NodeId::ROOT);
        let tree = serde_json::from_str(&text).map_err(|_| failed(at, "what stands is no JSON"))?;
        let mut work = Work { at, document: &current, tree, shapes, select };
        work.one(operation)?;
        current = json::parse(work.tree.to_string())?;
    }
    Ok(current)
}

/// One operation under way.
struct Work<'w, S> {
    at: usize,
    document: &'w Document,
    tree: Value,
    shapes: &'w S,
    select: Select<'w>,
}

/// Where an element stands: the object around it, its name there, and its index in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    holder: Vec<Step>,
    key: String,
    index: Option<usize>,
}

/// A new value: in JSON the two halves of a primitive stand apart.
struct Content {
    /// Type as a choice's name spells it; empty where it is not said.
    suffix: String,
    value: Option<Value>,
    shadow: Option<Value>,
}

impl<S: Shapes> Work<'_, S> {
    fn one(&mut self, operation: Element<'_>) -> Result<(), Issue> {
        let part = |name: &str| operation.all("part").find(|part| part.text_of("name") == Some(name));
        let text = |name: &str| {
            let part = part(name).ok_or_else(|| invalid(format_args!("an operation lacks its {name}")))?;
            let value = part.children().find(|(key, _)| key.starts_with("value")).and_then(|(_, value)| value.text());
            value.ok_or_else(|| invalid(format_args!("the {name} of an operation has no value")))
        };
        let number = |name: &str| {
            text(name)?.parse::<usize>().map_err(|_| invalid(format_args!("the {name} is no whole number")))
        };
        let value = || part("value").ok_or_else(|| invalid("an operation lacks its value"));
        let path = text("path")?;
        match text("type")? {
            "add" => self.add(path, text("name")?, value()?),
            "insert" => self.insert(path, number("index")?, value()?),
            "delete" => self.delete(path),
            "replace" => self.replace(path, value()?),
            "move" => self.shift(path, number("source")?, number("destination")?),
            _ => Err(invalid("an operation is none of add, insert, delete, replace and move")),
        }
    }

    fn fail(&self, what: &str) -> Issue {
        failed(self.at, what)
    }

    fn found(&self, path: &str) -> Result<Vec<Selected>, Issue> {
        let expression = fhirpath::compile(path).map_err(|_| invalid("a path is no FHIRPath expression"))?;
        let found = (self.select)(self.document, &expression).map_err(|_| self.fail("its path cannot be evaluated"))?;
        let elements: Option<Vec<Selected>> = found.into_iter().collect();
        elements.ok_or_else(|| self.fail("its path selects what is no element"))
    }

    /// The one element of a path, as steps to its value; `None` where there is none.
    fn single(&self, path: &str) -> Result<Option<Selected>, Issue> {
        let found = self.found(path)?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(self.fail("its path selects more than one element")),
        }
    }

    fn add(&mut self, path: &str, name: &str, value: Element<'_>) -> Result<(), Issue> {
        let found = self.single(path)?.ok_or_else(|| self.fail("its path selects no element"))?;
        let (holder, inside) = self.container(found)?;
        let (key, shape, content) = self.content(inside, name, value)?;
        let place = Place { holder, key, index: None };
        self.put(&place, shape.repeats, content)
    }

    /// Puts a new element into its object: at the end of a list, or where nothing stands.
    fn put(&mut self, place: &Place, repeats: bool, content: Content) -> Result<(), Issue> {
        let taken = self.fail("the element stands already and does not repeat");
        let members = self.members(&place.holder)?;
        if repeats {
            let length = length(members, &place.key);
            insert(members, &place.key, length, content);
            return Ok(());
        }
        let shadow = format!("_{}", place.key);
        if members.contains_key(&place.key) || members.contains_key(&shadow) {
            return Err(taken);
        }
        members.extend(content.value.map(|value| (place.key.clone(), value)));
        members.extend(content.shadow.map(|value| (shadow, value)));
        Ok(())
    }

    fn insert(&mut self, path: &str, index: usize, value: Element<'_>) -> Result<(), Issue> {
        let found = self.found(path)?;
        let place = match found.first() {
            Some(first) => self.place(*first)?.ok_or_else(|| self.fail("the resource itself is no list"))?,
            None => self.empty_list(path)?,
        };
        let inside = self.inside(&place.holder)?;
        let (_, shape, content) = self.content(inside, &place.key, value)?;
        if !shape.repeats {
            return Err(self.fail("its path selects no list"));
        }
        let beyond = self.fail("its index lies beyond the end of the list");
        let members = self.members(&place.holder)?;
        if index > length(members, &place.key) {
            return Err(beyond);
        }
        insert(members, &place.key, index, content);
        Ok(())
    }

    /// Where a list would stand that has no items yet: the last name of the path, in what is before it.
    fn empty_list(&mut self, path: &str) -> Result<Place, Issue> {
        let at = self.at;
        let absent = || failed(at, "its path selects no list");
        let (outer, name) = path.rsplit_once('.').ok_or_else(absent)?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(absent());
        }
        let found = self.single(outer)?.ok_or_else(absent)?;
        let (holder, _) = self.container(found)?;
        Ok(Place { holder, key: name.to_owned(), index: None })
    }

    fn delete(&mut self, path: &str) -> Result<(), Issue> {
        // What is not there need not be deleted.
        let Some(found) = self.single(path)? else { return Ok(()) };
        let place = self.place(found)?.ok_or_else(|| self.fail("the resource itself cannot be deleted by a patch"))?;
        let members = self.members(&place.holder)?;
        if let Some(index) = place.index {
            drop(take(members, &place.key, index));
        } else {
            members.shift_remove(&place.key);
            members.shift_remove(&format!("_{}", place.key));
        }
        self.prune(place.holder);
        Ok(())
    }

    /// What nothing stands in any more goes with it: FHIR has no empty elements.
    fn prune(&mut self, mut steps: Vec<Step>) {
        while at_mut(&mut self.tree, &steps).and_then(|value| value.as_object()).is_some_and(Map::is_empty) {
            let index = match steps.pop() {
                Some(Step::Index(index)) => Some(index),
                Some(key) => {
                    steps.push(key);
                    None
                }
                None => return,
            };
            let Some(Step::Key(key)) = steps.pop() else { return };
            let Some(members) = at_mut(&mut self.tree, &steps).and_then(Value::as_object_mut) else { return };
            match index {
                Some(index) => drop(take(members, key.trim_start_matches('_'), index)),
                None => drop(members.shift_remove(&key)),
            }
        }
    }

    fn replace(&mut self, path: &str, value: Element<'_>) -> Result<(), Issue> {
        let found = self.single(path)?.ok_or_else(|| self.fail("its path selects no element"))?;
        let place = self.place(found)?.ok_or_else(|| self.fail("the resource itself cannot be replaced by a patch"))?;
        let inside = self.inside(&place.holder)?;
        // Another type of a choice stands under another name.
        let name = self.shapes.child(inside, &place.key).map_or(place.key.len(), |shape| shape.name);
        let (key, _, content) = self.content(inside, &place.key[..name], value)?;
        let members = self.members(&place.holder)?;
        if let Some(index) = place.index {
            take(members, &place.key, index);
            insert(members, &key, index, content);
            return Ok(());
        }
        let keeps = key == place.key;
        for (key, old, value) in [
            (key.clone(), place.key.clone(), content.value),
            (format!("_{key}"), format!("_{}", place.key), content.shadow),
        ] {
            match value {
                Some(value) if keeps => drop(members.insert(key, value)),
                Some(value) => {
                    members.shift_remove(&old);
                    members.insert(key, value);
                }
                None => drop(members.shift_remove(&old)),
            }
        }
        Ok(())
    }

    fn shift(&mut self, path: &str, source: usize, destination: usize) -> Result<(), Issue> {
        let absent = self.fail("its path selects no list of that length");
        let first = self.found(path)?.first().copied();
        let Some(place) = first.map(|first| self.place(first)).transpose()?.flatten() else { return Err(absent) };
        let members = self.members(&place.holder)?;
        if place.index.is_none() || source.max(destination) >= length(members, &place.key) {
            return Err(absent);
        }
        let content = take(members, &place.key, source);
        insert(members, &place.key, destination, content);
        Ok(())
    }

    /// The object that an element's children stand in, made where a primitive has none yet.
    fn container(&mut self, found: Selected) -> Result<(Vec<Step>, S::Inside), Issue> {
        let Some(place) = self.place(found)? else {
            return Ok((Vec::new(), self.inside(&[])?));
        };
        let outer = self.inside(&place.holder)?;
        let shape = self.shapes.child(outer, &place.key).ok_or_else(|| self.fail("its path leads to no element"))?;
        let is_primitive = matches!(shape.form, Form::Text | Form::Number | Form::Boolean);
        let key = if is_primitive { format!("_{}", place.key) } else { place.key.clone() };
        let mut steps = place.holder.clone();
        steps.push(Step::Key(key.clone()));
        steps.extend(place.index.map(Step::Index));
        if is_primitive {
            let members = self.members(&place.holder)?;
            let twin = members.entry(key).or_insert(Value::Null);
            let slot = match place.index {
                None => twin,
                Some(index) => {
                    if !twin.is_array() {
                        *twin = Value::Array(Vec::new());
                    }
                    let Value::Array(items) = twin else { return Err(self.fail("its path leads to no element")) };
                    if items.len() <= index {
                        items.resize(index + 1, Value::Null);
                    }
                    &mut items[index]
                }
            };
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
        }
        let inside = self.inside(&steps)?;
        Ok((steps, inside))
    }

    /// The definition of what stands in the object at the end of steps.
    fn inside(&self, steps: &[Step]) -> Result<S::Inside, Issue> {
        let unknown = || self.fail("its path leads to no element that the standard defines");
        let of_resource = |value: &Value| self.shapes.resource(value.get("resourceType")?.as_str()?);
        let mut value = &self.tree;
        let mut inside = of_resource(value).ok_or_else(unknown)?;
        let mut form: Option<Form<S::Inside>> = None;
        for step in steps {
            match step {
                Step::Key(key) => {
                    value = value.get(key).ok_or_else(unknown)?;
                    let (name, shadow) = key.strip_prefix('_').map_or((key.as_str(), false), |name| (name, true));
                    let shape = self.shapes.child(inside, name).ok_or_else(unknown)?;
                    form = Some(shape.form);
                    if shadow {
                        inside = self.shapes.primitive();
                        form = None;
                    }
                }
                Step::Index(index) => value = value.get(index).ok_or_else(unknown)?,
            }
            match form {
                Some(Form::Complex(next)) => inside = next,
                // Of a list of resources only an item says which type it is.
                Some(Form::Resource) if value.is_object() => inside = of_resource(value).ok_or_else(unknown)?,
                _ => {}
            }
        }
        Ok(inside)
    }

    fn members(&mut self, steps: &[Step]) -> Result<&mut Map<String, Value>, Issue> {
        let absent = failed(self.at, "its path leads to no object");
        at_mut(&mut self.tree, steps).and_then(Value::as_object_mut).ok_or(absent)
    }

    /// Where an element stands; `None` for the resource itself.
    fn place(&self, (value, shadow): Selected) -> Result<Option<Place>, Issue> {
        let node = value.or(shadow).ok_or_else(|| self.fail("its path selects what is no element"))?;
        let mut steps = steps_to(self.document, node);
        let index = match steps.last() {
            Some(Step::Index(index)) => Some(*index),
            _ => None,
        };
        if index.is_some() {
            steps.pop();
        }
        let Some(Step::Key(key)) = steps.pop() else { return Ok(None) };
        let key = if value.is_none() { key.trim_start_matches('_').to_owned() } else { key };
        Ok(Some(Place { holder: steps, key, index }))
    }

    /// A new element of that name: its key, its shape and what stands under it.
    fn content(
        &self,
        inside: S::Inside,
        name: &str,
        part: Element<'_>,
    ) -> Result<(String, Shape<S::Inside>, Content), Issue> {
        let unknown = || self.fail("there is no element of that name and type");
        let simple = content(part);
        let suffix = simple.as_ref().map_or("", |content| content.suffix.as_str());
        // A list of the name as it is written, or the variant of a choice.
        let choice = format!("{name}{suffix}");
        let (key, shape) = match self.shapes.child(inside, name) {
            Some(shape) => (name.to_owned(), shape),
            None => (choice.clone(), self.shapes.child(inside, &choice).ok_or_else(unknown)?),
        };
        if let Some(content) = simple {
            return Ok((key, shape, content));
        }
        // Without a type of its own the element is described part by part.
        let Form::Complex(own) = shape.form else { return Err(invalid("a value has neither a type nor parts")) };
        let mut members = Map::new();
        for each in part.all("part") {
            let name = each.text_of("name").ok_or_else(|| invalid("a part lacks its name"))?;
            let (key, shape, content) = self.content(own, name, each)?;
            if shape.repeats {
                let length = length(&members, &key);
                insert(&mut members, &key, length, content);
            } else {
                members.extend(content.shadow.map(|value| (format!("_{key}"), value)));
                members.extend(content.value.map(|value| (key, value)));
            }
        }
        if members.is_empty() {
            return Err(invalid("a value is empty"));
        }
        Ok((key, shape, Content { suffix: String::new(), value: Some(Value::Object(members)), shadow: None }))
    }
}

/// The value of a part that has one: `value[x]` or a resource.
fn content(part: Element<'_>) -> Option<Content> {
    let parsed = |node: NodeId| serde_json::from_str(&write::compact(part.document(), node)).ok();
    for (key, element) in part.children() {
        let suffix = match key.strip_prefix("value") {
            Some(suffix) => suffix,
            None if key == "resource" => "",
            None => continue,
        };
        return Some(Content {
            suffix: suffix.to_owned(),
            value: element.value_node().and_then(parsed),
            shadow: element.shadow_node().and_then(parsed),
        });
    }
    None
}

/// The steps from the root to a node. Nodes lie in document order, so that each child holds what lies before the next.
fn steps_to(document: &Document, node: NodeId) -> Vec<Step> {
    let (mut steps, mut here) = (Vec::new(), NodeId::ROOT);
    while here != node {
        let children = document.children(here).enumerate();
        let Some((index, child)) = children.take_while(|(_, child)| *child <= node).last() else { break };
        let key = document.key(child);
        steps.push(if key.is_empty() { Step::Index(index) } else { Step::Key(key.to_owned()) });
        here = child;
    }
    steps
}

/// The two halves of a list.
fn halves(key: &str) -> [String; 2] {
    [key.to_owned(), format!("_{key}")]
}

fn length(members: &Map<String, Value>, key: &str) -> usize {
    let lengths = halves(key).map(|key| members.get(&key).and_then(Value::as_array).map_or(0, Vec::len));
    lengths.into_iter().max().unwrap_or(0)
}

/// Puts an item into a list, both halves staying in step.
fn insert(members: &mut Map<String, Value>, key: &str, at: usize, content: Content) {
    let length = length(members, key);
    for (key, value) in halves(key).into_iter().zip([content.value, content.shadow]) {
        if value.is_none() && !members.contains_key(&key) {
            continue;
        }
        let list = members.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(items) = list {
            items.resize(length, Value::Null);
            items.insert(at.min(length), value.unwrap_or(Value::Null));
        }
    }
}

/// Takes an item out of a list; a half in which nothing is left goes as well.
fn take(members: &mut Map<String, Value>, key: &str, at: usize) -> Content {
    let mut taken = halves(key).into_iter().map(|key| {
        let Some(Value::Array(items)) = members.get_mut(&key) else { return None };
        let value = (at < items.len()).then(|| items.remove(at)).filter(|value| !value.is_null());
        if items.iter().all(Value::is_null) {
            members.shift_remove(&key);
        }
        value
    });
    let (value, shadow) = (taken.next().flatten(), taken.next().flatten());
    Content { suffix: String::new(), value, shadow }
}
