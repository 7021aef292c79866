//! A Questionnaire, compiled: what each item asks of an answer.
//!
//! Items lie in one table in the order of the form, parents before children, so that "comes before" and "lies
//! inside" are comparisons of numbers. Extensions that limit answers are read here once; a response only compares.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use rust_decimal::Decimal;

use super::super::super::scope::named;
use super::enable::{Behavior, Condition, Enable};
use crate::fhir::definitions::{Registry, ValueSet};
use crate::fhir::fhirpath;
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const SDC: &str = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-";

/// Index of an item in its form.
pub type ItemIndex = usize;

/// A compiled Questionnaire.
pub struct Form {
    pub items: Vec<Item>,
    /// Items by linkId, in the order of the form.
    pub by_link: HashMap<Box<str>, Vec<ItemIndex>>,
    pub roots: Vec<ItemIndex>,
    /// When answers may be given: first moment, first one too late.
    pub from: Option<i64>,
    pub until: Option<i64>,
    /// Whether its words may be quoted: it was loaded here and not sent with the response.
    pub quotable: bool,
}

/// One item.
pub struct Item {
    pub link: Box<str>,
    pub text: Option<Box<str>>,
    /// `None` where the type is missing or none of R4's.
    pub kind: Option<Kind>,
    pub required: bool,
    pub repeats: bool,
    pub parent: Option<ItemIndex>,
    pub children: Vec<ItemIndex>,
    /// The first index after the item's descendants.
    pub end: ItemIndex,
    pub enable: Enable,
    pub limits: Limits,
    pub options: Vec<AnswerOption>,
    pub value_set: Option<Offer>,
}

/// `Questionnaire.item.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Group,
    Display,
    Question,
    Boolean,
    Decimal,
    Integer,
    Date,
    DateTime,
    Time,
    String,
    Text,
    Url,
    Choice,
    OpenChoice,
    Attachment,
    Reference,
    Quantity,
}

/// What extensions and `maxLength` ask of an answer.
#[derive(Default)]
pub struct Limits {
    pub min_occurs: Option<usize>,
    pub max_occurs: Option<usize>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub pattern: Option<Regex>,
    pub min_value: Option<Box<str>>,
    pub max_value: Option<Box<str>>,
    pub min_quantity: Option<Amount>,
    pub max_quantity: Option<Amount>,
    pub decimals: Option<usize>,
    pub media_types: Vec<Box<str>>,
    pub max_size: Option<usize>,
    pub units: Vec<Coding>,
    pub unit_set: Option<Offer>,
    pub targets: Vec<Box<str>>,
}

/// A value set that answers are taken from.
pub struct Offer {
    pub canonical: Box<str>,
    /// `None` where it is not known here.
    pub set: Option<Arc<ValueSet>>,
}

/// One of `answerOption`.
pub enum AnswerOption {
    Coding {
        coding: Coding,
        exclusive: bool,
    },
    /// A primitive: its type and its text.
    Plain {
        type_name: Box<str>,
        text: Box<str>,
    },
    Other,
}

/// A code as a form states it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Coding {
    pub system: Option<Box<str>>,
    pub code: Option<Box<str>>,
    pub display: Option<Box<str>>,
}

/// A quantity as a form states it.
pub struct Amount {
    pub value: Option<Decimal>,
    pub system: Option<Box<str>>,
    pub code: Option<Box<str>>,
}

impl Coding {
    pub fn read(element: Element<'_>) -> Coding {
        let text = |name| element.text_of(name).map(Box::from);
        Coding { system: text("system"), code: text("code"), display: text("display") }
    }
}

impl Amount {
    pub fn read(element: Element<'_>) -> Amount {
        let value = element.text_of("value").and_then(|text| text.parse().ok());
        let text = |name| element.text_of(name).map(Box::from);
        Amount { value, system: text("system"), code: text("code") }
    }
}

impl Form {
    /// Compiles a Questionnaire. `container` is the resource whose contained value sets it may name.
    pub fn compile(questionnaire: Element<'_>, container: Element<'_>, registry: &Registry, quotable: bool) -> Form {
        let mut compiler =
            Compiler { registry, container, items: Vec::new(), by_link: HashMap::new(), conditions: Vec::new() };
        let roots = compiler.items(questionnaire, None);
        compiler.connect();
        let moment = |name: &str| questionnaire.get("effectivePeriod")?.text_of(name).and_then(Moment::parse);
        Form {
            roots,
            items: compiler.items,
            by_link: compiler.by_link,
            from: moment("start").map(|moment| moment.interval_assuming_utc_ms().0),
            until: moment("end").map(|moment| moment.interval_assuming_utc_ms().1),
            quotable,
        }
    }

    /// The item of that linkId: the parent's own where there is one, else whichever comes first.
    pub fn find(&self, parent: Option<ItemIndex>, link: &str) -> Option<ItemIndex> {
        let candidates = self.by_link.get(link)?;
        let own = candidates.iter().find(|index| self.items[**index].parent == parent);
        own.or(candidates.first()).copied()
    }

    /// What a text may call an item.
    pub fn name(&self, item: &Item) -> String {
        if self.quotable { format!("item {}", item.link) } else { "the item".to_owned() }
    }
}

struct Compiler<'r, 'd> {
    registry: &'r Registry,
    container: Element<'d>,
    items: Vec<Item>,
    by_link: HashMap<Box<str>, Vec<ItemIndex>>,
    /// Targets of conditions, which may stand further down.
    conditions: Vec<(ItemIndex, Box<str>)>,
}

impl<'d> Compiler<'_, 'd> {
    fn items(&mut self, holder: Element<'d>, parent: Option<ItemIndex>) -> Vec<ItemIndex> {
        holder.all("item").map(|item| self.item(item, parent)).collect()
    }

    fn item(&mut self, element: Element<'d>, parent: Option<ItemIndex>) -> ItemIndex {
        let at = self.items.len();
        let is = |name: &str| element.get(name).and_then(|each| each.boolean()) == Some(true);
        let link: Box<str> = element.text_of("linkId").unwrap_or_default().into();
        self.by_link.entry(link.clone()).or_default().push(at);
        let enable = self.enable(element, at);
        self.items.push(Item {
            link,
            text: element.text_of("text").map(Box::from),
            kind: element.text_of("type").and_then(Kind::named),
            required: is("required"),
            repeats: is("repeats"),
            parent,
            children: Vec::new(),
            end: at + 1,
            enable,
            limits: self.limits(element),
            options: element.all("answerOption").map(AnswerOption::read).collect(),
            value_set: element.text_of("answerValueSet").map(|canonical| self.offer(canonical)),
        });
        let children = self.items(element, Some(at));
        let end = self.items.len();
        let item = &mut self.items[at];
        (item.children, item.end) = (children, end);
        at
    }

    fn enable(&mut self, element: Element<'d>, at: ItemIndex) -> Enable {
        let expression = [
            "http://phr.kanta.fi/StructureDefinition/fiphr-ext-questionnaire-enablewhen",
            &sdc("enableWhenExpression"),
        ]
        .into_iter()
        .find_map(|url| extension(element, url));
        if let Some(value) = expression {
            let is_path = value.text_of("language").is_none_or(|language| language == "text/fhirpath");
            let text = value.text().or(value.text_of("expression")).filter(|_| is_path);
            return text.and_then(|text| fhirpath::compile(text).ok()).map_or(Enable::Undecidable, Enable::Expression);
        }
        let conditions: Vec<Condition> = element
            .all("enableWhen")
            .map(|condition| {
                self.conditions.push((at, condition.text_of("question").unwrap_or_default().into()));
                Condition::read(condition)
            })
            .collect();
        if conditions.is_empty() {
            return Enable::Always;
        }
        let behavior = match element.text_of("enableBehavior") {
            Some("all") => Behavior::All,
            Some("any") => Behavior::Any,
            _ if conditions.len() == 1 => Behavior::Any,
            // Several conditions need a behaviour (que-12); without one nothing can be held against an answer.
            _ => return Enable::Undecidable,
        };
        Enable::When { conditions, behavior }
    }

    /// Links conditions with the items that they ask about.
    fn connect(&mut self) {
        let mut nth: HashMap<ItemIndex, usize> = HashMap::new();
        for (at, link) in std::mem::take(&mut self.conditions) {
            let position = nth.entry(at).or_default();
            let target = self.by_link.get(&link).and_then(|found| found.first()).copied();
            let group = target.and_then(|target| self.common_group(at, target));
            if let Enable::When { conditions, .. } = &mut self.items[at].enable {
                conditions[*position].target = target;
                conditions[*position].group = group;
            }
            *position += 1;
        }
    }

    /// The innermost item that both lie in.
    fn common_group(&self, at: ItemIndex, target: ItemIndex) -> Option<ItemIndex> {
        let mut group = self.items[at].parent;
        while let Some(index) = group {
            if (index..self.items[index].end).contains(&target) {
                return group;
            }
            group = self.items[index].parent;
        }
        None
    }

    fn limits(&self, element: Element<'d>) -> Limits {
        let core = |name: &str| extension(element, &format!("{CORE}{name}"));
        let number = |name: &str| core(name)?.text()?.parse::<Decimal>().ok().and_then(whole);
        let text = |name: &str| core(name).and_then(|value| value.text()).map(Box::from);
        let texts = |name: &str| {
            extensions(element, &format!("{CORE}{name}")).filter_map(|value| value.text()).map(Box::from).collect()
        };
        Limits {
            min_occurs: number("questionnaire-minOccurs"),
            max_occurs: number("questionnaire-maxOccurs"),
            min_length: number("minLength"),
            max_length: element.text_of("maxLength").and_then(|text| text.parse().ok()),
            pattern: core("regex").and_then(|value| fhirpath::pattern(value.text()?, true)),
            min_value: text("minValue"),
            max_value: text("maxValue"),
            min_quantity: extension(element, &sdc("minQuantity")).map(Amount::read),
            max_quantity: extension(element, &sdc("maxQuantity")).map(Amount::read),
            decimals: number("maxDecimalPlaces"),
            media_types: texts("mimeType"),
            max_size: number("maxSize"),
            units: extensions(element, &format!("{CORE}questionnaire-unitOption")).map(Coding::read).collect(),
            unit_set: core("questionnaire-unitValueSet")
                .and_then(|value| value.text())
                .map(|canonical| self.offer(canonical)),
            targets: texts("questionnaire-referenceResource"),
        }
    }

    fn offer(&self, canonical: &str) -> Offer {
        let set = match canonical.strip_prefix('#') {
            Some(id) => self
                .container
                .all("contained")
                .find(|each| each.text_of("id") == Some(id) && each.resource_type() == Some("ValueSet"))
                .map(|set| Arc::new(self.registry.expand(set))),
            None => self.registry.value_set(canonical).cloned(),
        };
        Offer { canonical: canonical.into(), set }
    }
}

impl Kind {
    fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "group" => Kind::Group,
            "display" => Kind::Display,
            "question" => Kind::Question,
            "boolean" => Kind::Boolean,
            "decimal" => Kind::Decimal,
            "integer" => Kind::Integer,
            "date" => Kind::Date,
            "dateTime" => Kind::DateTime,
            "time" => Kind::Time,
            "string" => Kind::String,
            "text" => Kind::Text,
            "url" => Kind::Url,
            "choice" => Kind::Choice,
            "open-choice" => Kind::OpenChoice,
            "attachment" => Kind::Attachment,
            "reference" => Kind::Reference,
            "quantity" => Kind::Quantity,
            _ => return None,
        })
    }

    /// The data types that an answer may have.
    pub fn types(self) -> &'static [&'static str] {
        match self {
            Kind::Group | Kind::Display | Kind::Question => &[],
            Kind::Boolean => &["boolean"],
            Kind::Decimal => &["decimal"],
            Kind::Integer => &["integer"],
            Kind::Date => &["date"],
            Kind::DateTime => &["dateTime"],
            Kind::Time => &["time"],
            Kind::String | Kind::Text => &["string"],
            Kind::Url => &["uri"],
            Kind::Choice | Kind::OpenChoice => &["Coding", "date", "time", "integer", "string"],
            Kind::Attachment => &["Attachment"],
            Kind::Reference => &["Reference"],
            Kind::Quantity => &["Quantity"],
        }
    }
}

impl AnswerOption {
    fn read(element: Element<'_>) -> AnswerOption {
        let Some(value) = named(element, "value", Some(true)).into_iter().next() else { return AnswerOption::Other };
        if value.type_name == "Coding" {
            let exclusive = extension(element, &format!("{CORE}questionnaire-optionExclusive"));
            let exclusive = exclusive.and_then(|value| value.boolean()) == Some(true);
            return AnswerOption::Coding { coding: Coding::read(value.element), exclusive };
        }
        match value.element.text() {
            Some(text) => AnswerOption::Plain { type_name: value.type_name.into(), text: text.into() },
            None => AnswerOption::Other,
        }
    }
}

/// The values of the extensions of that url.
pub fn extensions<'d>(element: Element<'d>, url: &str) -> impl Iterator<Item = Element<'d>> {
    let url = url.to_owned();
    element
        .all("extension")
        .filter(move |each| each.text_of("url") == Some(&url))
        .filter_map(|each| named(each, "value", Some(true)).first().map(|value| value.element))
}

/// The value of the first extension of that url.
pub fn extension<'d>(element: Element<'d>, url: &str) -> Option<Element<'d>> {
    extensions(element, url).next()
}

fn sdc(name: &str) -> String {
    format!("{SDC}{name}")
}

fn whole(number: Decimal) -> Option<usize> {
    number.trunc().to_string().parse().ok()
}
