//! One record along a mapping: from what was sent to an Observation.
//!
//! Everything that is wrong with a record is found in one go, one bad record never stops the others, and nothing is
//! guessed: a unit that the mapping does not list, a word that it does not know, a time without a place refuse the record.
//! Numbers are copied digit by digit; where a unit has to be converted, that is exact and the original stays beside it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::clock::{self, Whereabouts};
use super::expression::{self, Expression, Nodes, Scope, issue_at, issue_of, missing};
use super::pack::{Choice, Coded, Component, Each, Input, Pack, Rule, Source, Value};
use super::trace::{Trace, note};
use super::{amount, place, when};
use crate::devices::observation::{self, Coding, Draft, Effective, Measured, Quantity};
use crate::devices::open_mhealth;
use crate::devices::{Record, Sender};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::tree::{Document, Kind, NodeId};
use crate::fhir::validate::measures::Measure;

/// A measure with its value, and with the value before it was converted.
type Valued = (&'static Measure, Measured, Option<Quantity>);

/// A conversion under way.
pub(super) struct Run<'r> {
    pub pack: &'r Pack,
    pub sender: &'r Sender<'r>,
    pub document: &'r Document,
}

/// Places of records in what was sent, with the input that they are of.
pub(super) fn records<'p>(pack: &'p Pack, document: &Document) -> Result<Vec<(&'p Input, NodeId, String)>, Issue> {
    let root = document.root();
    let scope = Scope { document, record: root, item: root, key: "" };
    let (mut found, mut empty) = (Vec::new(), BTreeSet::new());
    for input in &pack.inputs {
        if let Some(when) = &input.when
            && !when.holds(scope)?
        {
            continue;
        }
        let mut nodes = Nodes::new();
        // A single record may hold others by the name under which a list would stand: a pair of readings, say.
        let whole = input.at.iter().any(|at| at.text() == "$this") && is_of_known_kind(input, scope);
        for at in &input.at {
            if at.text() != "$this" {
                if !whole {
                    nodes.extend(at.elements(scope)?);
                }
            } else if nodes.is_empty() {
                // The whole is a record only if it says of which kind.
                let says = |node: &NodeId| {
                    if expression::is_empty(document, *node) {
                        return true;
                    }
                    let scope = Scope { item: *node, record: *node, ..scope };
                    *node != root || input.by.iter().all(|by| matches!(by.word(scope), Ok(Some(_))))
                };
                nodes.extend(at.elements(scope)?.into_iter().filter(says));
            }
        }
        let mut last: Option<(String, usize, NodeId)> = None;
        // Several inputs may look at one list: what is none of theirs is told of once.
        nodes.retain(|node| !expression::is_empty(document, *node) || empty.insert(*node));
        for node in nodes {
            // Neighbours in a list have neighbouring places, and looking for each from the top would take the square.
            let place = match last.take() {
                Some((list, index, before)) if is_next(document, before, node) => (list, index + 1),
                _ => place::list_and_index(document, node),
            };
            let pointer = if place.1 == usize::MAX { place.0.clone() } else { format!("{}/{}", place.0, place.1) };
            last = (place.1 != usize::MAX).then_some((place.0, place.1, node));
            found.push((input, node, pointer));
        }
    }
    Ok(found)
}

/// Whether a node stands in the same list as another, right behind it.
fn is_next(document: &Document, before: NodeId, node: NodeId) -> bool {
    document.key(node).is_empty() && document.next(before) == Some(node)
}

fn is_of_known_kind(input: &Input, scope: Scope<'_>) -> bool {
    let words: Option<Vec<Cow<'_, str>>> = input.by.iter().map(|by| by.word(scope).ok().flatten()).collect();
    words.is_some_and(|words| !words.is_empty() && input.kinds.contains_key(&words.join(":")))
}

impl Run<'_> {
    /// The Observations of one record, or the one answer why there are none.
    pub fn record(&self, input: &Input, node: NodeId, pointer: &str, trace: &mut Trace<'_>, into: &mut Vec<Record>) {
        let scope = Scope { document: self.document, record: node, item: node, key: "" };
        let before = into.len();
        let refused = |issue: Issue| Record { issues: vec![issue], ..Record::at(pointer) };
        if expression::is_empty(self.document, node) {
            into.push(refused(issue_at(scope, node, "A record is expected here, and nothing was sent.")));
            return;
        }
        let rules = match self.rules(input, scope, trace) {
            Ok(rules) => rules,
            Err(issue) => {
                into.push(refused(issue));
                return;
            }
        };
        let mut known_version = rules.is_empty();
        for rule in rules {
            match version_fits(input, rule, scope) {
                Ok(true) => known_version = true,
                Ok(false) => continue,
                Err(issue) => {
                    into.push(refused(issue));
                    return;
                }
            }
            match Self::applies(rule, scope, trace) {
                Ok(false) => {}
                Ok(true) => self.rule(rule, scope, pointer, trace, into),
                Err(issue) => into.push(refused(issue)),
            }
        }
        if !known_version {
            let place = input.version.as_ref().map_or(node, |version| version.place(scope));
            let text = "There is no rule for this version of the schema.";
            into.push(refused(issue_of(Id::DeviceSchemaUnknown, scope, place, text)));
            return;
        }
        if into.len() == before {
            into.push(refused(Self::nothing(input, scope)));
            return;
        }
        if input.schemas {
            let local = into[before..].iter_mut().flat_map(|record| &mut record.issues);
            for issue in local.filter(|issue| issue.id == Id::MeasureNoOffset) {
                open_mhealth::OFFSET.clone_into(&mut issue.text);
            }
        }
        if input.schemas
            && let Err(issue) = Self::keep_schema(input, scope, &mut into[before..])
        {
            into.push(refused(issue));
        }
        // What is lost is said once a record.
        if let (Some(first), Some(issue)) = (into.get_mut(before), Self::unknown(input, rules, scope))
            && first.observation.is_some()
        {
            first.issues.push(issue);
        }
    }

    /// Refuses what became of a record that violates its JSON Schema. What the mapping has already said of a place is not
    /// said again.
    fn keep_schema(input: &Input, scope: Scope<'_>, records: &mut [Record]) -> Result<(), Issue> {
        let Some(body) = input.fields.as_ref().map_or(Ok(None), |fields| Ok(fields.nodes(scope)?.first().copied()))?
        else {
            return Ok(());
        };
        let mut schema = String::new();
        for part in input.by.iter().chain(&input.version) {
            if !schema.is_empty() {
                schema.push(':');
            }
            schema.push_str(&part.word(scope)?.unwrap_or_default());
        }
        let violations = open_mhealth::violations(&schema, scope.document, body);
        if violations.is_empty() {
            return Ok(());
        }
        for record in records {
            record.observation = None;
            record.measure = None;
            let said: Vec<String> = record.issues.iter().map(|issue| issue.expression.clone()).collect();
            let mapped = has_errors(&record.issues);
            for violation in &violations {
                let issue = issue_of(violation.id, scope, violation.place, &violation.text);
                let place = &issue.expression;
                if !mapped || !said.iter().any(|said| said.starts_with(place) || place.starts_with(said)) {
                    record.issues.push(issue);
                }
            }
        }
        Ok(())
    }

    /// Why a record became nothing, in the mapping's words where it has some.
    fn nothing(input: &Input, scope: Scope<'_>) -> Issue {
        for (when, why) in &input.reasons {
            match when.holds(scope) {
                Ok(false) => {}
                Ok(true) => {
                    let text = format!("This record is not taken: {why}.");
                    return Issue { id: Id::DeviceTypeLeftOut, ..issue_at(scope, scope.item, &text) };
                }
                Err(issue) => return issue,
            }
        }
        let text = "No rule of the mapping takes a record that says what this one says, or says as little.";
        issue_at(scope, scope.item, text)
    }

    fn rules<'p>(&self, input: &'p Input, scope: Scope<'_>, trace: &mut Trace<'_>) -> Result<&'p [Rule], Issue> {
        if input.by.is_empty() {
            return Ok(&input.rules);
        }
        if self.document.kind(scope.item) != Kind::Object {
            return Err(issue_at(scope, scope.item, "A record is an object."));
        }
        let first = match input.by.as_slice() {
            [one] => one.word(scope)?,
            several => {
                let mut words = Vec::with_capacity(several.len());
                for by in several {
                    words.push(by.word(scope)?.ok_or_else(|| missing(scope, by))?);
                }
                Some(Cow::Owned(words.join(":")))
            }
        };
        let kind = first.ok_or_else(|| missing(scope, &input.by[0]))?;
        note(
            trace,
            "kind",
            || input.by.iter().map(Expression::text).collect::<Vec<_>>().join(", "),
            || kind.to_string(),
        );
        if let Some(rules) = input.kinds.get(kind.as_ref()) {
            return Ok(rules);
        }
        let place = input.by.last().map_or(scope.item, |by| by.place(scope));
        Err(self.not_taken(input, &kind, scope, place))
    }

    /// Why a kind is not taken, where somebody wrote that down.
    fn not_taken(&self, input: &Input, kind: &str, scope: Scope<'_>, place: NodeId) -> Issue {
        let listed = self.pack.types.as_ref().and_then(|(table, strip)| {
            let name = strip.iter().find_map(|prefix| kind.strip_prefix(prefix.as_str())).unwrap_or(kind);
            crate::devices::left_out::why_not(table, name)
        });
        match input.skip.get(kind).map(String::as_str).or(listed) {
            Some(why) => {
                issue_of(Id::DeviceTypeLeftOut, scope, place, &format!("This kind of record is not taken: {why}."))
            }
            None => issue_of(Id::DeviceSchemaUnknown, scope, place, "There is no rule for this kind of record."),
        }
    }

    fn applies(rule: &Rule, scope: Scope<'_>, trace: &mut Trace<'_>) -> Result<bool, Issue> {
        let Some(when) = &rule.when else { return Ok(true) };
        let holds = when.holds(scope)?;
        note(trace, "when", || when.text().to_owned(), || holds.to_string());
        Ok(holds)
    }

    fn rule(&self, rule: &Rule, scope: Scope<'_>, pointer: &str, trace: &mut Trace<'_>, into: &mut Vec<Record>) {
        let document = scope.document;
        match &rule.each {
            Each::Once => into.extend(self.item(rule, scope, pointer, trace)),
            Each::Items(each) => match each.nodes(scope) {
                Ok(nodes) => {
                    for node in nodes {
                        into.extend(self.item(rule, Scope { item: node, ..scope }, pointer, trace));
                    }
                }
                Err(issue) => into.push(Record { issues: vec![issue], ..Record::at(pointer) }),
            },
            Each::Entries(each) => match each.nodes(scope) {
                Ok(nodes) => {
                    for node in nodes.iter().flat_map(|holder| document.children(*holder)) {
                        let scope = Scope { item: node, key: document.key(node), ..scope };
                        into.extend(self.item(rule, scope, pointer, trace));
                    }
                }
                Err(issue) => into.push(Record { issues: vec![issue], ..Record::at(pointer) }),
            },
        }
    }

    /// One item by one rule; nothing where the rule is optional and its value absent.
    fn item(&self, rule: &Rule, scope: Scope<'_>, pointer: &str, trace: &mut Trace<'_>) -> Option<Record> {
        let mut issues = Vec::new();
        let (place, zone) = kept(self.whereabouts(rule, scope), &mut issues).unwrap_or_default();
        let read = Self::value(rule, scope, &place, trace);
        if !(rule.optional && matches!(read, Ok(None))) {
            let by = || rule.value.expression().map_or_else(String::new, |value| value.text().to_owned());
            failed(trace, "value", by, read.as_ref().map(Option::is_some));
        }
        let value = match read {
            Ok(Some(value)) => Some(value),
            Ok(None) if rule.optional => return None,
            Ok(None) => {
                issues.push(rule.value.expression().map_or_else(
                    || issue_at(scope, scope.item, "The value is missing."),
                    |value| missing(scope, value),
                ));
                None
            }
            Err(issue) => {
                issues.push(issue);
                None
            }
        };
        let source_id = kept(Self::identifier(rule, scope, trace), &mut issues);
        let span = rule.measures.iter().all(|measure| observation::needs_span(measure));
        let moment = rule.measures.iter().all(|measure| observation::needs_moment(measure));
        let when = when::effective(&rule.time, scope, &place, trace);
        failed(trace, "time", || rule.time.expected(), when.as_ref().map(|_| true));
        let effective = kept(when, &mut issues).and_then(|effective| match effective {
            Effective::At(_) if span => {
                issues.push(issue_at(
                    scope,
                    scope.item,
                    "This measure covers a span of time: a start and an end are expected.",
                ));
                None
            }
            // The value stands when the measurement has ended.
            Effective::Period { end, .. } if moment => Some(Effective::At(end)),
            effective => Some(effective),
        });
        let components = components(rule, scope, &place, trace, &mut issues);
        let statistic = kept(statistic(rule, scope), &mut issues);
        let meal = kept(rule.meal.as_ref().map_or(Ok(None), |meal| chosen(meal, scope)), &mut issues);
        let recording = kept(chosen(&rule.recording, scope), &mut issues);
        let notes = kept(notes(rule, scope), &mut issues);
        let completeness = kept(rule.completeness.as_ref().map_or(Ok(None), |share| share.word(scope)), &mut issues);
        let device = kept(words(&rule.device, scope), &mut issues);
        let app = kept(words(&rule.app, scope), &mut issues);
        let origin = kept(words(&rule.origin, scope), &mut issues).flatten();
        // An item's id is that of its record and what tells the items apart, with a slash between them.
        let of_item = source_id.as_deref().filter(|_| !matches!(rule.each, Each::Once));
        let whole = of_item.and_then(|id| id.rsplit_once('/')).map(|(whole, _)| whole.to_owned());
        let mut record = Record { source_id, whole, issues, ..Record::at(pointer) };
        if has_errors(&record.issues) {
            return Some(record);
        }
        let (measure, value, original) = value?;
        let draft = Draft {
            measure,
            identifier: (&self.pack.identifier, record.source_id.as_deref()?),
            subject: self.sender.subject,
            status: "final",
            effective: effective?,
            value,
            original,
            components,
            recording: recording?.copied().unwrap_or(observation::Recording::Unknown),
            device: device?,
            app: app?,
            statistic: statistic?,
            zone,
            meal: meal?.cloned(),
            completeness: completeness?.map(Cow::into_owned),
            notes: notes?,
        };
        let mut text = String::with_capacity(1024);
        draft.write(&mut text);
        note(trace, "observation", || measure.key.clone(), || text.clone());
        record.measure = Some(&measure.key);
        record.origin = origin.or_else(|| draft.device.clone()).or_else(|| draft.app.clone());
        record.observation = Some(text);
        Some(record)
    }

    fn value(
        rule: &Rule,
        scope: Scope<'_>,
        place: &Whereabouts,
        trace: &mut Trace<'_>,
    ) -> Result<Option<Valued>, Issue> {
        let first = rule.measures[0];
        match &rule.value {
            Value::Panel => Ok(Some((first, Measured::Nothing, None))),
            Value::Number(number) => {
                let Some((measure, quantity, original)) = amount::number(number, &rule.measures, scope, place, trace)?
                else {
                    return Ok(None);
                };
                Ok(Some((measure, Measured::Quantity(quantity), original)))
            }
            Value::Coded(coded) => {
                let Coded { by, is, system, otherwise, text } = coded.as_ref();
                let Some(sent) = by.word(scope)? else { return Ok(None) };
                let code = is.get(sent.as_ref()).or(otherwise.as_ref()).ok_or_else(|| unlisted(scope, by, is))?;
                note(trace, "value", || by.text().to_owned(), || format!("{sent} -> {code}"));
                let (system, code) = code.rsplit_once('|').unwrap_or((system, code));
                let text = text.as_ref().map_or(Ok(None), |text| text.word(scope))?.map(Cow::into_owned);
                let coding = Coding { system: system.to_owned(), code: code.to_owned(), text };
                Ok(Some((first, Measured::Coding(coding), None)))
            }
            Value::Flag(flag) => {
                let sent = flag.word(scope)?;
                match sent.as_deref() {
                    None => Ok(None),
                    Some("true" | "1") => Ok(Some((first, Measured::Boolean(true), None))),
                    Some("false" | "0") => Ok(Some((first, Measured::Boolean(false), None))),
                    Some(_) => Err(issue_at(scope, flag.place(scope), "true or false is expected.")),
                }
            }
            Value::Date(clock) => match when::told(clock, scope, place)? {
                Some(told) => Ok(Some((first, Measured::DateTime(told.text()), None))),
                None => Ok(None),
            },
        }
    }

    fn identifier(rule: &Rule, scope: Scope<'_>, trace: &mut Trace<'_>) -> Result<String, Issue> {
        let own = rule.own.as_ref().map_or(Ok(None), |own| own.word(scope))?;
        let mut id = match (own, rule.id.as_slice()) {
            (Some(own), _) => own.into_owned(),
            (None, [one]) => one.word(scope)?.ok_or_else(|| missing(scope, one))?.into_owned(),
            (None, several) => {
                let mut hasher = blake3::Hasher::new();
                for part in several {
                    let word = part.word(scope)?.unwrap_or_default();
                    hasher.update(&(word.len() as u64).to_le_bytes());
                    hasher.update(word.as_bytes());
                }
                hasher.finalize().to_hex()[..32].to_owned()
            }
        };
        if let Some(name) = &rule.name {
            id.push('/');
            id.push_str(name);
        }
        note(trace, "id", || rule.id.iter().map(Expression::text).collect::<Vec<_>>().join(", "), || id.clone());
        Ok(id)
    }

    /// Where local times of the record were, and the zone's name if one is known.
    fn whereabouts(&self, rule: &Rule, scope: Scope<'_>) -> Result<(Whereabouts, Option<String>), Issue> {
        let named = match &rule.zone {
            None => None,
            Some(zone) => match zone.word(scope)? {
                None => None,
                Some(name) => {
                    let found = clock::zone(&name).ok_or_else(|| {
                        issue_at(scope, zone.place(scope), "A zone is named as the IANA database names it.")
                    })?;
                    // An offset is no name by which anybody could tell a midnight of another day.
                    let name = found.iana_name().map(|_| name.into_owned());
                    Some((found, name))
                }
            },
        };
        let named = named.or_else(|| {
            let zone = self.sender.zone.as_ref()?;
            Some((zone.clone(), zone.iana_name().map(str::to_owned)))
        });
        Ok(match named {
            Some((zone, name)) => (Whereabouts { offset: None, zone: Some(zone) }, name),
            None => (Whereabouts::default(), None),
        })
    }

    /// The members of a record that no rule looks at; its place is that of the first.
    fn unknown(input: &Input, rules: &[Rule], scope: Scope<'_>) -> Option<Issue> {
        let document = scope.document;
        // The members of a record may themselves be its items.
        if rules.iter().any(|rule| matches!(&rule.each, Each::Entries(each) if each.text() == "$this")) {
            return None;
        }
        let holder = match &input.fields {
            None => scope.item,
            Some(fields) => fields.nodes(scope).ok()?.first().copied()?,
        };
        let is_known = |name: &str| {
            rules.iter().any(|rule| rule.known.iter().any(|known| known == name))
                || input.by.iter().any(|by| by.names().any(|known| known == name))
        };
        let unknown = |node: &NodeId| !is_known(document.key(*node)) && document.kind(*node) != Kind::Null;
        if document.kind(holder) != Kind::Object {
            return None;
        }
        let mut left = document.children(holder).filter(unknown).peekable();
        let first = *left.peek()?;
        Some(issue_of(Id::DeviceField, scope, first, &not_carried(left.map(|node| document.key(node)))))
    }
}

/// Fields that are named, at most.
const NAMED: usize = 12;

/// Names of the sender's format are told, and how many others there are: a name that looks like data is not shown.
fn not_carried<'d>(names: impl Iterator<Item = &'d str>) -> String {
    let (mut named, mut others) = (Vec::new(), 0);
    for name in names {
        if place::is_shown(name) && named.len() < NAMED {
            named.push(name);
        } else {
            others += 1;
        }
    }
    let more = match (named.is_empty(), others) {
        (_, 0) => String::new(),
        (true, others) => format!("{others}, whose names are not shown"),
        (false, others) => format!(" and {others} more"),
    };
    format!("Fields of the record that are not carried over: {}{more}.", named.join(", "))
}

impl Value {
    fn expression(&self) -> Option<&Expression> {
        match self {
            Value::Panel => None,
            Value::Number(number) => Some(match &number.from {
                Source::Value(value) => value,
                Source::Spans(spans) => &spans.of,
            }),
            Value::Coded(coded) => Some(&coded.by),
            Value::Flag(flag) => Some(flag),
            Value::Date(clock) => Some(&clock.time),
        }
    }
}

/// The components that are there; what is wrong with the others goes with the other issues.
fn components(
    rule: &Rule,
    scope: Scope<'_>,
    place: &Whereabouts,
    trace: &mut Trace<'_>,
    issues: &mut Vec<Issue>,
) -> Vec<(&'static Measure, Quantity)> {
    let mut components = Vec::with_capacity(rule.components.len());
    for Component { measure, number, optional } in &rule.components {
        match amount::number(number, &[measure], scope, place, trace) {
            Ok(Some((measure, quantity, _))) => components.push((measure, quantity)),
            Ok(None) if *optional => {}
            Ok(None) => issues.push(match &number.from {
                Source::Value(value) => missing(scope, value),
                Source::Spans(spans) => missing(scope, &spans.of),
            }),
            Err(issue) => issues.push(issue),
        }
    }
    if matches!(rule.value, Value::Panel) && components.is_empty() && issues.is_empty() {
        issues.push(issue_at(scope, scope.item, "None of the values is there."));
    }
    components
}

fn version_fits(input: &Input, rule: &Rule, scope: Scope<'_>) -> Result<bool, Issue> {
    let (Some((first, last)), Some(version)) = (rule.versions, &input.version) else { return Ok(true) };
    let sent = version.word(scope)?.ok_or_else(|| missing(scope, version))?;
    let major: Option<u32> = sent.split('.').next().and_then(|major| major.parse().ok());
    Ok(major.is_some_and(|major| (first..=last).contains(&major)))
}

/// Says of a step that it led to nothing, and why. What it led to is said where it was found.
fn failed(trace: &mut Trace<'_>, what: &'static str, by: impl FnOnce() -> String, found: Result<bool, &Issue>) {
    match found {
        Ok(true) => {}
        Ok(false) => note(trace, what, by, || "nothing".to_owned()),
        Err(issue) => note(trace, what, by, || format!("refused: {}", issue.text)),
    }
}

/// The value, or its issue put with the others.
fn kept<T>(result: Result<T, Issue>, issues: &mut Vec<Issue>) -> Option<T> {
    result.map_err(|issue| issues.push(issue)).ok()
}

fn unlisted<T>(scope: Scope<'_>, by: &Expression, is: &BTreeMap<String, T>) -> Issue {
    let names: Vec<&str> = is.keys().map(String::as_str).take(24).collect();
    issue_at(scope, by.place(scope), &format!("One of {} is expected.", names.join(", ")))
}

fn chosen<'c, T>(choice: &'c Choice<T>, scope: Scope<'_>) -> Result<Option<&'c T>, Issue> {
    match choice {
        Choice::Fixed(value) => Ok(Some(value)),
        Choice::By { by, is, otherwise } => match by.word(scope)? {
            None => Ok(otherwise.as_ref()),
            Some(sent) => is.get(sent.as_ref()).or(otherwise.as_ref()).map(Some).ok_or_else(|| unlisted(scope, by, is)),
        },
    }
}

/// A statistic that is still a value of the measure: a maximum is one, a variance is not.
fn statistic<'r>(rule: &'r Rule, scope: Scope<'_>) -> Result<Option<(&'r str, String)>, Issue> {
    let Some((by, is, per)) = &rule.statistic else { return Ok(None) };
    let (at, per) = match per {
        None => (None, None),
        Some(per) => (Some(per), per.word(scope)?),
    };
    let Some(sent) = by.word(scope)? else {
        let lone = at.filter(|_| per.is_some());
        let text = "A denominator belongs to a statistic.";
        return lone.map_or(Ok(None), |at| Err(issue_at(scope, at.place(scope), text)));
    };
    let code = is.get(sent.as_ref()).ok_or_else(|| unlisted(scope, by, is))?;
    let text = per.map_or_else(|| sent.to_string(), |per| format!("{sent} per {per}"));
    Ok(Some((code, text)))
}

fn words(parts: &[Expression], scope: Scope<'_>) -> Result<Option<String>, Issue> {
    let mut text = String::new();
    for part in parts {
        if let Some(word) = part.word(scope)? {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word.trim());
        }
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// What has no element of its own but belongs to the reading, in words.
fn notes(rule: &Rule, scope: Scope<'_>) -> Result<Vec<String>, Issue> {
    let mut notes = Vec::new();
    for note in &rule.notes {
        let Some(value) = note.value.word(scope)? else { continue };
        let unit = match &note.unit {
            None => None,
            Some(unit) => unit.word(scope)?,
        };
        let listed = |list: &Option<Vec<String>>, sent: &str, at: &Expression| match list {
            Some(list) if !list.iter().any(|known| known == sent) => {
                Err(issue_at(scope, at.place(scope), &format!("One of {} is expected.", list.join(", "))))
            }
            _ => Ok(()),
        };
        listed(&note.words, &value, &note.value)?;
        if let (Some(at), Some(unit)) = (&note.unit, &unit) {
            listed(&note.units, unit, at)?;
        }
        let value = match &note.is {
            None => value,
            Some(is) => is
                .get(value.as_ref())
                .map(|word| Cow::Borrowed(word.as_str()))
                .ok_or_else(|| unlisted(scope, &note.value, is))?,
        };
        let mut text = note.label.as_ref().map_or_else(String::new, |label| format!("{label}: "));
        text.push_str(&value);
        if let Some(unit) = unit {
            text.push(' ');
            text.push_str(&unit);
        }
        notes.push(text);
    }
    Ok(notes)
}
