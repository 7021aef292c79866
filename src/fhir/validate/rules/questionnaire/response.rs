//! A QuestionnaireResponse against its form: every item where it belongs, as often as it may, answered if it must be
//! and only if it is enabled.
//!
//! What is missing stops a response that calls itself completed or amended; before that it is a warning. The response
//! is indexed once by linkId, so that conditions find their answers without searching.

use std::collections::HashMap;

use super::super::super::run::Run;
use super::super::super::scope::{FoundList, named};
use super::form::{Form, Item, ItemIndex, Kind};
use super::{answer, enable};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Element, NodeId};

/// An answer with where it stands.
pub struct Answers<'d> {
    node: NodeId,
    pub values: FoundList<'d>,
}

/// What is answered, by linkId in the order of the response, and where each item ends.
struct Given<'d> {
    by_link: HashMap<&'d str, Vec<Answers<'d>>>,
    ends: HashMap<NodeId, NodeId>,
}

/// An item on the way down.
#[derive(Clone, Copy)]
struct Step {
    item: ItemIndex,
    from: NodeId,
    until: NodeId,
}

/// Where in the response a condition is asked.
pub struct Place<'p, 'd> {
    pub response: Element<'d>,
    given: &'p Given<'d>,
    stack: &'p [Step],
}

impl<'p, 'd> Place<'p, 'd> {
    /// The answers to a question inside the nearest item of that group, or anywhere without one.
    pub fn answers(&self, link: &str, group: Option<ItemIndex>) -> &'p [Answers<'d>] {
        let Some(all) = self.given.by_link.get(link) else { return &[] };
        let Some(group) = group else { return all };
        let Some(step) = self.stack.iter().rev().find(|step| step.item == group) else { return &[] };
        let from = all.partition_point(|each| each.node < step.from);
        let until = all.partition_point(|each| each.node <= step.until);
        &all[from..until]
    }
}

impl<'d> Given<'d> {
    fn read(response: Element<'d>) -> Given<'d> {
        let mut given = Given { by_link: HashMap::new(), ends: HashMap::new() };
        given.items(response);
        for answers in given.by_link.values_mut() {
            answers.sort_by_key(|each| each.node);
        }
        given
    }

    /// The last node seen below.
    fn items(&mut self, holder: Element<'d>) -> NodeId {
        let mut last = holder.node();
        for item in holder.all("item") {
            let mut end = item.node();
            for answer in item.all("answer") {
                let node = answer.node();
                if let Some(link) = item.text_of("linkId") {
                    let values = named(answer, "value", Some(true));
                    self.by_link.entry(link).or_default().push(Answers { node, values });
                }
                end = end.max(node).max(self.items(answer));
            }
            end = end.max(self.items(item));
            self.ends.insert(item.node(), end);
            last = last.max(end);
        }
        last
    }
}

/// Checks a response against its form. The trail stands on the response.
pub fn check<'d>(run: &mut Run<'_, 'd>, form: &Form, response: Element<'d>) {
    period(run, form, response);
    let is_complete = matches!(response.text_of("status"), Some("completed" | "amended"));
    let given = Given::read(response);
    let mut check = Check { run, form, response, given: &given, is_complete, stack: Vec::new() };
    check.items(response, None);
}

fn period<'d>(run: &mut Run<'_, 'd>, form: &Form, response: Element<'d>) {
    let Some(authored) = response.get("authored") else { return };
    let Some(moment) = authored.text().and_then(Moment::parse) else { return };
    let (start, _) = moment.interval_assuming_utc_ms();
    let is_late = form.until.is_some_and(|until| start >= until);
    let is_early = form.from.is_some_and(|from| start < from);
    if is_late || is_early {
        let text = "The form is to be answered within its effectivePeriod.";
        run.trail.push("authored", "authored".len(), None);
        run.issue(Id::FormPeriod, authored, text.to_owned());
        run.trail.pop();
    }
}

struct Check<'c, 'v, 'd> {
    run: &'c mut Run<'v, 'd>,
    form: &'c Form,
    response: Element<'d>,
    given: &'c Given<'d>,
    is_complete: bool,
    stack: Vec<Step>,
}

impl<'d> Check<'_, '_, 'd> {
    /// The items of a response, an item or an answer against the children of the form or of one of its items.
    fn items(&mut self, holder: Element<'d>, parent: Option<ItemIndex>) {
        let form = self.form;
        let expected = parent.map_or(&form.roots, |parent| &form.items[parent].children);
        let mut found: HashMap<ItemIndex, Vec<(u32, Element<'d>)>> = HashMap::new();
        let mut last = None;
        for (index, item) in holder.all("item").enumerate() {
            let link = item.text_of("linkId").filter(|link| !link.trim().is_empty());
            // Without one the structure is already at fault.
            let Some(link) = link else { continue };
            match form.find(parent, link) {
                Some(at) if form.items[at].parent == parent => {
                    if last.is_some_and(|last| at < last) {
                        let text = "Items must stand in the order of the form.";
                        self.run.issue(Id::FormItemPlace, item, text.to_owned());
                    }
                    last = Some(at);
                    found.entry(at).or_default().push((index as u32, item));
                }
                Some(at) => {
                    let text = format!("The form has {} in another place.", form.name(&form.items[at]));
                    self.run.issue(Id::FormItemPlace, item, text);
                    self.one(at, index as u32, item);
                }
                None => {
                    self.run.issue(Id::FormItemUnknown, item, "The form has no item of that linkId.".to_owned());
                }
            }
        }
        for at in expected {
            match found.remove(at) {
                Some(items) => self.several(*at, &items),
                None if form.items[*at].required && self.is_enabled(*at) => self.missing(*at, holder),
                None => {}
            }
        }
    }

    fn several(&mut self, at: ItemIndex, items: &[(u32, Element<'d>)]) {
        let item = &self.form.items[at];
        let is_enabled = self.is_enabled(at);
        for (index, element) in items {
            if !is_enabled && (element.get("answer").is_some() || element.get("item").is_some()) {
                self.run.trail.push("item", 4, Some(*index));
                let text = format!("{} is not enabled and must not be answered.", self.form.name(item));
                self.run.issue(Id::FormItemDisabled, *element, text);
                self.run.trail.pop();
            }
        }
        if let Some((_, second)) = items.get(1)
            && !item.repeats
        {
            let text = format!("{} may stand once.", self.form.name(item));
            self.run.issue(Id::FormItemRepeated, *second, text);
        }
        for (index, element) in items {
            self.one(at, *index, *element);
        }
    }

    fn one(&mut self, at: ItemIndex, index: u32, element: Element<'d>) {
        let node = element.node();
        let until = self.given.ends.get(&node).copied().unwrap_or(node);
        self.run.trail.push("item", 4, Some(index));
        self.stack.push(Step { item: at, from: node, until });
        self.item(at, element);
        self.stack.pop();
        self.run.trail.pop();
    }

    fn item(&mut self, at: ItemIndex, element: Element<'d>) {
        let form = self.form;
        let item = &form.items[at];
        if element.text_of("text").is_some_and(|text| !text.trim().is_empty() && item.text.as_deref() != Some(text)) {
            let text = format!("The text of {} must be the form's, or be left out.", form.name(item));
            self.run.issue(Id::FormItemText, element, text);
        }
        let answers: Vec<Element<'d>> = element.all("answer").collect();
        let is_group = matches!(item.kind, Some(Kind::Group | Kind::Question));
        if answers.is_empty() && item.required && !is_group && (!self.is_complete || self.is_enabled(at)) {
            self.missing(at, element);
        }
        self.counts(item, element, &answers);
        for (index, each) in answers.iter().enumerate() {
            if matches!(item.kind, Some(Kind::Group | Kind::Question | Kind::Display)) {
                let text = "An item that shows or groups others has no answers.";
                self.run.issue(Id::FormAnswerUnexpected, *each, text.to_owned());
            }
            self.run.trail.push("answer", 6, Some(index as u32));
            answer::check(self.run, form, item, *each, answers.len());
            if !is_group {
                self.items(*each, Some(at));
            }
            self.run.trail.pop();
        }
        let has_items = element.get("item").is_some();
        match item.kind {
            None => {
                let text = format!("The form does not say a type of {}; it cannot be checked.", form.name(item));
                self.run.issue(Id::FormItemType, element, text);
            }
            Some(Kind::Group | Kind::Question) => {
                if item.required && !has_items {
                    let text = format!("{} is required and must hold items.", form.name(item));
                    self.run.issue(Id::FormAnswerMissing, element, text);
                }
                self.items(element, Some(at));
            }
            Some(Kind::Display) if has_items => {
                let text = "An item that only shows text holds no items.";
                self.run.issue(Id::FormItemPlace, element, text.to_owned());
            }
            Some(_) if has_items => {
                let text = "Items below a question stand inside its answer, not beside it.";
                self.run.issue(Id::FormItemPlace, element, text.to_owned());
            }
            Some(_) => {}
        }
    }

    fn counts(&mut self, item: &Item, element: Element<'d>, answers: &[Element<'d>]) {
        let name = self.form.name(item);
        if let Some(second) = answers.get(1)
            && !item.repeats
        {
            self.run.issue(Id::FormItemRepeated, *second, format!("{name} takes one answer."));
        }
        if let Some(max) = item.limits.max_occurs.filter(|max| answers.len() > *max) {
            self.run.issue(Id::FormItemRepeated, element, format!("{name} takes at most {max} answers."));
        }
        if let Some(min) = item.limits.min_occurs.filter(|min| answers.len() < *min) {
            self.run.issue(Id::FormAnswerMissing, element, format!("{name} asks for at least {min} answers."));
        }
    }

    fn missing(&mut self, at: ItemIndex, holder: Element<'d>) {
        let id = if self.is_complete { Id::FormAnswerMissing } else { Id::FormAnswerOutstanding };
        let text = format!("No answer to {}, which is required.", self.form.name(&self.form.items[at]));
        self.run.issue(id, holder, text);
    }

    fn is_enabled(&self, at: ItemIndex) -> bool {
        let place = Place { response: self.response, given: self.given, stack: &self.stack };
        enable::is_enabled(self.run, self.form, at, &place)
    }
}
