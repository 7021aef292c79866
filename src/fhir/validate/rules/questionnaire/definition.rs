//! What a Questionnaire must satisfy beyond its invariants: conditions that can be met, and promises of derivation.

use std::collections::HashMap;

use super::super::super::run::Run;
use super::form::extension;
use crate::fhir::definitions::Kind;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element};

const DERIVATION: &str = "http://hl7.org/fhir/StructureDefinition/questionnaire-derivationType";
const DERIVATION_SYSTEM: &str = "http://hl7.org/fhir/questionnaire-derivationType";

/// Where an item stands in the order of the form, and the first place after what it holds.
type Span = (usize, usize);

/// Checks a Questionnaire. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, questionnaire: Element<'d>) {
    let mut spans = HashMap::new();
    measure(questionnaire, &mut 0, &mut spans);
    let validator = run.validator;
    let bases: Vec<_> = questionnaire
        .all("derivedFrom")
        .filter_map(|from| {
            let mode = extension(from, DERIVATION).filter(|mode| mode.text_of("system") == Some(DERIVATION_SYSTEM))?;
            let is_closed = match mode.text_of("code")? {
                "compliesWith" => true,
                "extends" => false,
                _ => return None,
            };
            let id = validator.registry.find(Kind::Questionnaire, from.text()?)?;
            Some((validator.registry.document(id)?, is_closed))
        })
        .collect();
    let bases: Vec<Base<'_>> = bases.iter().map(|(document, is_closed)| Base::read(document, *is_closed)).collect();
    derivations(run, questionnaire);
    items(run, questionnaire, &spans, &bases, &mut 0);
}

/// The spans of items by linkId; of a linkId that stands twice the first counts.
fn measure<'d>(holder: Element<'d>, next: &mut usize, spans: &mut HashMap<&'d str, Span>) {
    for item in holder.all("item") {
        let start = *next;
        *next += 1;
        let link = item.text_of("linkId");
        if let Some(link) = link {
            spans.entry(link).or_insert((start, start));
        }
        measure(item, next, spans);
        if let Some(span) = link.and_then(|link| spans.get_mut(link))
            && span.0 == start
        {
            span.1 = *next;
        }
    }
}

fn derivations<'d>(run: &mut Run<'_, 'd>, questionnaire: Element<'d>) {
    for (index, from) in questionnaire.all("derivedFrom").enumerate() {
        let Some(canonical) = from.text() else { continue };
        let text = if run.validator.registry.find(Kind::Questionnaire, canonical).is_none() {
            "The questionnaire that this one is derived from is not loaded here; it was not compared."
        } else if extension(from, DERIVATION).is_none() {
            "How this questionnaire is derived should be said by the extension questionnaire-derivationType."
        } else {
            continue;
        };
        run.trail.push("derivedFrom", "derivedFrom".len(), Some(index as u32));
        run.issue(Id::FormDerivationUnknown, from, text.to_owned());
        run.trail.pop();
    }
}

fn items<'d>(
    run: &mut Run<'_, 'd>,
    holder: Element<'d>,
    spans: &HashMap<&'d str, Span>,
    bases: &[Base<'_>],
    next: &mut usize,
) {
    for (index, item) in holder.all("item").enumerate() {
        let start = *next;
        *next += 1;
        run.trail.push("item", 4, Some(index as u32));
        items(run, item, spans, bases, next);
        for condition in item.all("enableWhen") {
            enable_when(run, item, condition, spans, (start, *next));
        }
        for base in bases {
            base.compare(run, item);
        }
        run.trail.pop();
    }
}

fn enable_when<'d>(
    run: &mut Run<'_, 'd>,
    item: Element<'d>,
    condition: Element<'d>,
    spans: &HashMap<&'d str, Span>,
    own: Span,
) {
    let Some(question) = condition.text_of("question") else { return };
    let Some((target, _)) = spans.get(question) else {
        let text = "enableWhen.question must be the linkId of an item of this questionnaire.";
        return run.issue(Id::FormCondition, item, text.to_owned());
    };
    if *target == own.0 {
        let text = "An item cannot be enabled by its own answer.";
        run.issue(Id::FormCondition, item, text.to_owned());
    } else if (own.0..own.1).contains(target) {
        let text = "An item cannot be enabled by an item inside it.";
        run.issue(Id::FormCondition, item, text.to_owned());
    } else if *target > own.0 {
        let text = "An item should stand after the item whose answer enables it.";
        run.issue(Id::FormConditionOrder, item, text.to_owned());
    }
}

/// A questionnaire that another one is derived from.
struct Base<'b> {
    items: HashMap<&'b str, Element<'b>>,
    /// Whether the derived one may have no items beyond these.
    is_closed: bool,
}

impl<'b> Base<'b> {
    fn read(document: &'b Document, is_closed: bool) -> Base<'b> {
        let mut base = Base { items: HashMap::new(), is_closed };
        base.collect(Element::root(document));
        base
    }

    fn collect(&mut self, holder: Element<'b>) {
        for item in holder.all("item") {
            if let Some(link) = item.text_of("linkId") {
                self.items.entry(link).or_insert(item);
            }
            self.collect(item);
        }
    }

    /// A derived item may narrow what its base says, and nothing else.
    fn compare<'d>(&self, run: &mut Run<'_, 'd>, item: Element<'d>) {
        let Some(base) = item.text_of("linkId").and_then(|link| self.items.get(link)) else {
            if self.is_closed {
                let text = "A questionnaire that complies with another has no items of its own.";
                run.issue(Id::FormDerivation, item, text.to_owned());
            }
            return;
        };
        let is = |item: Element<'_>, name: &str| item.get(name).and_then(|each| each.boolean());
        let mut wrong = |name: &'static str, text: &str| {
            run.trail.push(name, name.len(), None);
            run.issue(Id::FormDerivation, item.get(name).unwrap_or(item), text.to_owned());
            run.trail.pop();
        };
        if let (Some(own), Some(base)) = (item.text_of("type"), base.text_of("type"))
            && own != base
        {
            wrong("type", "A derived item keeps the type of its base.");
        }
        if is(item, "repeats") == Some(true) && is(*base, "repeats") != Some(true) {
            wrong("repeats", "An item whose base does not repeat cannot repeat.");
        }
        if is(item, "required") == Some(false) && is(*base, "required") == Some(true) {
            wrong("required", "An item whose base is required stays required.");
        }
        let length = |item: Element<'_>| item.text_of("maxLength").and_then(|text| text.parse::<u64>().ok());
        if let Some(max) = length(*base)
            && length(item).is_none_or(|own| own > max)
        {
            wrong("maxLength", "A derived item keeps the maxLength of its base or shortens it.");
        }
        options(run, item, *base);
    }
}

fn options<'d>(run: &mut Run<'_, 'd>, item: Element<'d>, base: Element<'_>) {
    let wrong = |run: &mut Run<'_, 'd>, element, text: &str| run.issue(Id::FormDerivation, element, text.to_owned());
    if base.get("answerValueSet").is_some() && item.get("answerOption").is_some() {
        wrong(run, item, "An item whose base names a value set cannot list options.");
    }
    if base.get("answerOption").is_none() {
        return;
    }
    if item.get("answerValueSet").is_some() {
        return wrong(run, item, "An item whose base lists options cannot name a value set.");
    }
    if item.get("answerOption").is_none() {
        return wrong(run, item, "An item whose base lists options lists some of them.");
    }
    let allowed: Vec<_> = base.all("answerOption").filter_map(key).collect();
    for (index, option) in item.all("answerOption").enumerate() {
        if key(option).is_some_and(|own| !allowed.contains(&own)) {
            run.trail.push("answerOption", "answerOption".len(), Some(index as u32));
            wrong(run, option, "A derived item offers no option beyond its base's.");
            run.trail.pop();
        }
    }
}

/// What makes an option the same as another.
fn key(option: Element<'_>) -> Option<(&str, Option<&str>, Option<&str>)> {
    let found = super::super::super::scope::named(option, "value", Some(true));
    let value = found.first()?;
    let element = value.element;
    Some(match value.type_name {
        "Coding" => ("Coding", element.text_of("system"), element.text_of("code")),
        "Reference" => ("Reference", element.text_of("reference"), None),
        name => (name, element.text(), None),
    })
}
