//! From a mapping as it is written to a [`Pack`], or to everything that is wrong with it.
//!
//! Every mistake is named with where it stands. Codes and units are held against the guide's table of measures, so that a
//! mapping cannot lead to what validation would refuse.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::clock::{self, Form};
use super::expression::Expression;
use super::file::{self, File, OneOrMany, TextOr};
use super::pack::{
    Choice, Clock, Coded, Component, Each, Input, Length, Note, Number, Pack, Rule, Source, SpanEnd, Spans, Time, Unit,
    UnitOf, Value,
};
use crate::devices::observation::Recording;
use crate::fhir::ours::BASE;
use crate::fhir::terminology::ucum;
use crate::fhir::validate::measures::{self, Measure};

impl Pack {
    /// Compiles a mapping, or says everything that is wrong with it.
    pub fn compile(text: &str) -> Result<Pack, Vec<String>> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| vec![format!("{}:{}: {error}", error.line(), error.column())])?;
        let mut compiler = Compiler {
            mistakes: Vec::new(),
            at: Vec::new(),
            seen: Vec::new(),
            of_items: false,
            of_record: false,
            units: &file.units,
            words: &file.words,
        };
        let pack = compiler.pack(&file);
        if compiler.mistakes.is_empty() { Ok(pack) } else { Err(compiler.mistakes) }
    }
}

/// What a number is multiplied by.
struct Factor<'f> {
    times: Option<&'f String>,
    shift: Option<&'f String>,
}

struct Compiler<'f> {
    mistakes: Vec<String>,
    /// Where in the file.
    at: Vec<String>,
    /// Names that the expressions of the rule at hand look at.
    seen: Vec<String>,
    /// The rule at hand is about items of a record.
    of_items: bool,
    /// What is compiled is said of the record.
    of_record: bool,
    units: &'f BTreeMap<String, BTreeMap<String, file::Unit>>,
    words: &'f BTreeMap<String, BTreeMap<String, String>>,
}

impl Compiler<'_> {
    fn pack(&mut self, file: &File) -> Pack {
        let is_id = |id: &str| {
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if !is_id(&file.id) {
            self.wrong("id consists of a-z, 0-9 and -");
        }
        let numbers: Vec<Option<u32>> = file.version.split('.').map(|part| part.parse().ok()).collect();
        if numbers.len() != 3 || numbers.contains(&None) {
            self.wrong("version is three numbers, such as 1.0.0");
        }
        if file.inputs.is_empty() {
            self.wrong("inputs is empty");
        }
        let mut inputs = Vec::new();
        for (index, input) in file.inputs.iter().enumerate() {
            inputs.push(self.within(format!("inputs[{index}]"), |compiler| compiler.input(input)));
        }
        Pack {
            id: file.id.clone(),
            version: file.version.clone(),
            title: file.title.clone(),
            source: file.source.clone(),
            identifier: format!("{BASE}/{}", file.identifier),
            types: file.types.as_ref().map(|types| (types.table.clone(), types.strip.clone())),
            inputs,
        }
    }

    fn input(&mut self, input: &file::Input) -> Input {
        if input.by.is_some() == input.kinds.is_empty() {
            self.wrong("by and kinds belong together");
        }
        if input.kinds.is_empty() && input.rules.is_empty() {
            self.wrong("there are neither kinds nor rules");
        }
        let mut kinds: HashMap<String, Arc<[Rule]>> = HashMap::new();
        for (names, rules) in &input.kinds {
            let compiled: Arc<[Rule]> = self
                .within(format!("kinds.{names}"), |compiler| compiler.rules("", rules.as_slice(), &input.common))
                .into();
            for name in names.split('|') {
                if kinds.insert(name.to_owned(), Arc::clone(&compiled)).is_some() || input.skip.contains_key(name) {
                    self.wrong(&format!("the kind {name} stands twice"));
                }
            }
        }
        let at = self.list("at", Some(&input.at));
        if at.is_empty() {
            self.wrong("at is empty");
        }
        Input {
            at,
            fields: self.optional("fields", input.fields.as_ref()),
            when: self.optional("when", input.when.as_ref()),
            by: self.list("by", input.by.as_ref()),
            version: self.optional("version", input.version.as_ref()),
            schemas: self.schemas(input),
            kinds,
            rules: self.rules("rules", &input.rules, &input.common),
            skip: input.skip.clone(),
            reasons: input
                .reasons
                .iter()
                .filter_map(|reason| Some((self.expression("reasons.when", &reason.when)?, reason.why.clone())))
                .collect(),
        }
    }

    fn schemas(&mut self, input: &file::Input) -> bool {
        match input.schemas.as_deref() {
            None => return false,
            Some("open-mhealth") if input.by.is_some() && input.version.is_some() && input.fields.is_some() => {}
            Some("open-mhealth") => self.wrong("schemas needs by, version and fields"),
            Some(_) => self.wrong("schemas can be open-mhealth"),
        }
        true
    }

    fn rules(&mut self, at: &str, rules: &[file::Rule], common: &file::Rule) -> Vec<Rule> {
        let mut compiled = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let place = if rules.len() > 1 || !at.is_empty() { format!("{at}[{index}]") } else { String::new() };
            compiled.extend(self.within(place, |compiler| compiler.rule(rule, common)));
        }
        if rules.len() > 1 && rules.iter().filter(|rule| rule.name.is_none()).count() > 1 {
            self.wrong("of several rules for one kind all but one need a name, which their identifiers end with");
        }
        compiled
    }

    fn rule(&mut self, rule: &file::Rule, common: &file::Rule) -> Option<Rule> {
        self.seen.clear();
        self.of_items = rule.each.is_some();
        let measures = self.measures(rule.measure.as_ref().or(common.measure.as_ref()));
        let value = self.value(rule, common, &measures);
        if matches!(value, Some(Value::Panel)) && rule.components.is_empty() {
            self.wrong("a rule has a value, spans, coded, flag, date or components");
        }
        let mut components = Vec::new();
        for (index, component) in rule.components.iter().enumerate() {
            let place = format!("components[{index}]");
            components.extend(self.within(place, |compiler| compiler.component(component, common)));
        }
        let id = self.list("id", rule.id.as_ref().or(common.id.as_ref()));
        if id.is_empty() {
            self.wrong("id is missing: without one the same record could be taken twice");
        }
        if rule.each.is_some() && rule.id.is_none() {
            self.wrong("the items of a record need an id each");
        }
        let time = self.time(rule).or_else(|| self.of_record(|compiler| compiler.time(common)));
        if time.is_none() {
            self.wrong("there is no time: at, start with end or duration, end with duration, or day");
        }
        let recording = self.either(rule.recording.as_ref(), common.recording.as_ref(), |compiler, choice| {
            compiler.choice("recording", choice, Recording::of)
        });
        let meal = self.either(rule.meal.as_ref(), common.meal.as_ref(), |compiler, choice| {
            compiler.choice("meal", choice, |code| Some(code.to_owned()))
        });
        let statistic = self.either(rule.statistic.as_ref(), common.statistic.as_ref(), |compiler, statistic| {
            let per = compiler.optional("statistic.per", statistic.per.as_ref());
            let by = compiler.expression("statistic.by", &statistic.by);
            Some((by?, compiler.words("statistic.is", &statistic.is)?, per))
        });
        let words = |compiler: &mut Self, at: &str, own, common| {
            compiler.either(own, common, |compiler, list| Some(compiler.list(at, Some(list)))).unwrap_or_default()
        };
        let device = words(self, "device", rule.device.as_ref(), common.device.as_ref());
        let app = words(self, "app", rule.app.as_ref(), common.app.as_ref());
        let origin = words(self, "origin", rule.origin.as_ref(), common.origin.as_ref());
        let zone =
            self.either(rule.zone.as_ref(), common.zone.as_ref(), |compiler, zone| compiler.expression("zone", zone));
        let each = match &rule.each {
            None => Some(Each::Once),
            Some(TextOr::Text(text)) => self.expression("each", text).map(Each::Items),
            Some(TextOr::Full(each)) => self.expression("each.entries", &each.entries).map(Each::Entries),
        };
        let mut notes: Vec<Option<Note>> = rule.notes.iter().map(|note| self.note(note)).collect();
        self.of_record(|compiler| notes.extend(common.notes.iter().map(|note| compiler.note(note))));
        let when = self.optional("when", rule.when.as_ref().or(common.when.as_ref()));
        // A rule with an id of its own, such as those of items, is not named like the whole record.
        let shared = common.own.as_ref().filter(|_| rule.id.is_none());
        let own = self.optional("own", rule.own.as_ref().or(shared));
        let completeness = self.optional("completeness", rule.completeness.as_ref());
        let mut known = std::mem::take(&mut self.seen);
        known.extend(rule.ignore.iter().chain(&common.ignore).cloned());
        known.sort();
        known.dedup();
        Some(Rule {
            name: rule.name.clone(),
            when,
            versions: rule.versions.or(common.versions),
            each: each?,
            measures,
            value: value?,
            optional: rule.optional,
            components,
            own,
            id,
            time: time?,
            zone,
            device,
            app,
            origin,
            recording: recording.unwrap_or(Choice::Fixed(Recording::Unknown)),
            statistic,
            meal,
            completeness,
            notes: notes.into_iter().flatten().collect(),
            known,
        })
    }

    fn note(&mut self, note: &file::Note) -> Option<Note> {
        let value = self.expression("notes.value", &note.value);
        let unit = self.optional("notes.unit", note.unit.as_ref());
        let is = match &note.is {
            None => None,
            Some(words) => Some(self.words("notes.is", words)?),
        };
        Some(Note {
            value: value?,
            label: note.label.clone(),
            words: note.words.clone(),
            is,
            unit,
            units: note.units.clone(),
        })
    }

    /// The rule's own word, else the common one, which is said of the record.
    fn either<F, T>(
        &mut self,
        own: Option<&F>,
        common: Option<&F>,
        compile: impl FnOnce(&mut Self, &F) -> Option<T>,
    ) -> Option<T> {
        match (own, common) {
            (Some(own), _) => compile(self, own),
            (None, Some(common)) => self.of_record(|compiler| compile(compiler, common)),
            (None, None) => None,
        }
    }

    fn of_record<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.of_record, self.of_items);
        let compiled = compile(self);
        self.of_record = before;
        compiled
    }

    fn measures(&mut self, keys: Option<&OneOrMany<String>>) -> Vec<&'static Measure> {
        let Some(keys) = keys else {
            self.wrong("measure is missing");
            return Vec::new();
        };
        keys.as_slice().iter().filter_map(|key| self.measure(key)).collect()
    }

    fn measure(&mut self, key: &str) -> Option<&'static Measure> {
        let found = measures::all().iter().find(|measure| measure.key == key);
        if found.is_none() {
            self.wrong(&format!("{key} is no measure of the guide"));
        }
        found
    }

    fn value(&mut self, rule: &file::Rule, common: &file::Rule, measures: &[&'static Measure]) -> Option<Value> {
        let said = [
            rule.value.is_some(),
            rule.spans.is_some(),
            rule.coded.is_some(),
            rule.flag.is_some(),
            rule.date.is_some(),
        ];
        if said.iter().filter(|said| **said).count() > 1 {
            self.wrong("value, spans, coded, flag and date exclude each other");
        }
        if let Some(coded) = &rule.coded {
            return Some(Value::Coded(Box::new(Coded {
                by: self.expression("coded.by", &coded.by)?,
                is: self.words("coded.is", &coded.is)?,
                system: system(&coded.system),
                otherwise: coded.otherwise.clone(),
                text: self.optional("coded.text", coded.text.as_ref()),
            })));
        }
        if let Some(flag) = &rule.flag {
            return self.expression("flag", flag).map(Value::Flag);
        }
        if let Some(date) = &rule.date {
            return self.clock("date", date).map(|clock| Value::Date(Box::new(clock)));
        }
        if rule.value.is_none() && rule.spans.is_none() && (common.value.is_none() || !rule.components.is_empty()) {
            return Some(Value::Panel);
        }
        let value = rule.value.as_ref().or(common.value.as_ref().filter(|_| rule.spans.is_none()));
        let unit = rule.unit.as_ref().or(common.unit.as_ref());
        let factor = Factor {
            times: rule.times.as_ref().or(common.times.as_ref()),
            shift: rule.shift.as_ref().or(common.shift.as_ref()),
        };
        self.number(value, rule.spans.as_ref(), unit, &factor, measures).map(|number| Value::Number(Box::new(number)))
    }

    fn component(&mut self, component: &file::Component, common: &file::Rule) -> Option<Component> {
        let measure = self.measure(&component.measure)?;
        let unit = component.unit.as_ref().or(common.unit.as_ref());
        let number = self.number(
            component.value.as_ref(),
            component.spans.as_ref(),
            unit,
            &Factor { times: component.times.as_ref(), shift: component.shift.as_ref() },
            &[measure],
        )?;
        Some(Component { measure, number, optional: component.optional })
    }

    fn number(
        &mut self,
        value: Option<&String>,
        spans: Option<&file::Spans>,
        unit: Option<&file::UnitOf>,
        factor: &Factor<'_>,
        measures: &[&'static Measure],
    ) -> Option<Number> {
        let (from, unit) = match (value, spans) {
            (_, Some(spans)) => {
                let unit = UnitOf::Fixed(Unit { ucum: "s".to_owned(), times: None });
                (Source::Spans(Box::new(self.spans(spans)?)), Some(unit))
            }
            (Some(value), None) => {
                let Some(unit) = unit else {
                    self.wrong("a value needs a unit");
                    return None;
                };
                (Source::Value(self.expression("value", value)?), self.unit_of(unit))
            }
            (None, None) => {
                self.wrong("value or spans is missing");
                return None;
            }
        };
        let unit = unit?;
        for one in unit.all() {
            let fits = |measure: &Measure| measure.units.iter().any(|known| ucum::comparable(known.code, &one.ucum));
            if !measures.is_empty() && !measures.iter().any(|measure| fits(measure)) {
                let keys: Vec<&str> = measures.iter().map(|measure| measure.key.as_str()).collect();
                self.wrong(&format!("{} is not measured in {}", keys.join(" or "), one.ucum));
            }
        }
        let mut sent = |at: &str, text: Option<&String>| match text {
            None => Some(None),
            // A number stands for itself, without the quotes that a text would need.
            Some(text) if Decimal::from_str(text).is_ok() => self.expression(at, &format!("'{text}'")).map(Some),
            Some(text) => self.expression(at, text).map(Some),
        };
        let (times, shift) = (sent("times", factor.times), sent("shift", factor.shift));
        Some(Number { from, unit, times: times?, shift: shift? })
    }

    fn spans(&mut self, spans: &file::Spans) -> Option<Spans> {
        let of = self.expression("spans.of", &spans.of);
        let from = self.clock("spans.from", &spans.from);
        let to = match (&spans.to, &spans.until) {
            (Some(to), None) => self.clock("spans.to", to).map(SpanEnd::Own),
            (None, Some(until)) => self.clock("spans.until", until).map(SpanEnd::Next),
            _ => {
                self.wrong("spans have one of to and until");
                None
            }
        };
        Some(Spans { of: of?, from: from?, to: to?, counts: self.optional("spans.where", spans.counts.as_ref()) })
    }

    fn unit_of(&mut self, unit: &file::UnitOf) -> Option<UnitOf> {
        match unit {
            TextOr::Text(code) => self.unit(&TextOr::Text(code.clone())).map(UnitOf::Fixed),
            TextOr::Full(file::UnitBy { by, is, default }) => {
                let table = match is {
                    TextOr::Full(table) => table,
                    TextOr::Text(name) => {
                        let Some(table) = self.units.get(name) else {
                            self.wrong(&format!("there is no table of units {name}"));
                            return None;
                        };
                        table
                    }
                };
                let is = table.iter().filter_map(|(sent, unit)| Some((sent.clone(), self.unit(unit)?))).collect();
                let default = default.as_ref().and_then(|code| self.unit(&TextOr::Text(code.clone())));
                Some(UnitOf::By { by: self.expression("unit.by", by)?, is, default })
            }
        }
    }

    fn unit(&mut self, unit: &file::Unit) -> Option<Unit> {
        let (code, times) = match unit {
            TextOr::Text(code) => (code, None),
            TextOr::Full(file::Times { ucum, times }) => (ucum, Some(times)),
        };
        if !ucum::valid(code) {
            self.wrong(&format!("{code} is no UCUM code"));
            return None;
        }
        let factor = times.map(|times| Decimal::from_str_exact(times).ok().filter(|factor| *factor > Decimal::ZERO));
        if factor == Some(None) {
            self.wrong("times is a positive number in quotes");
        }
        Some(Unit { ucum: code.clone(), times: factor.flatten() })
    }

    fn choice<T>(&mut self, at: &str, choice: &file::Choice, read: impl Fn(&str) -> Option<T>) -> Option<Choice<T>> {
        let one = |compiler: &mut Self, code: &str| {
            let value = read(code);
            if value.is_none() {
                compiler.wrong(&format!("{at} cannot be {code}"));
            }
            value
        };
        match choice {
            TextOr::Text(code) => one(self, code).map(Choice::Fixed),
            TextOr::Full(file::ChoiceBy { by, is, otherwise }) => {
                let words = self.words(at, is)?;
                let is = words.into_iter().filter_map(|(sent, code)| Some((sent, one(self, &code)?))).collect();
                let otherwise = otherwise.as_ref().and_then(|code| one(self, code));
                Some(Choice::By { by: self.expression(at, by)?, is, otherwise })
            }
        }
    }

    fn words(&mut self, at: &str, words: &file::Words) -> Option<BTreeMap<String, String>> {
        match words {
            TextOr::Full(table) => Some(table.clone()),
            TextOr::Text(name) => {
                let found = self.words.get(name).cloned();
                if found.is_none() {
                    self.wrong(&format!("{at}: there is no table of words {name}"));
                }
                found
            }
        }
    }

    fn time(&mut self, rule: &file::Rule) -> Option<Time> {
        let mut found = Vec::new();
        if let Some(day) = &rule.day {
            found.extend(self.clock("day", day).map(Time::Day));
        }
        match (&rule.start, &rule.end, &rule.duration) {
            (Some(start), Some(end), _) => {
                let (start, end) = (self.clock("start", start), self.clock("end", end));
                found.extend(start.zip(end).map(|(start, end)| Time::StartEnd(start, end)));
            }
            (Some(start), None, Some(length)) => {
                let (start, length) = (self.clock("start", start), self.length(length));
                found.extend(start.zip(length).map(|(start, length)| Time::StartLength(start, length)));
            }
            (None, Some(end), Some(length)) => {
                let (end, length) = (self.clock("end", end), self.length(length));
                found.extend(end.zip(length).map(|(end, length)| Time::EndLength(end, length)));
            }
            (None, None, None) => {}
            _ => self.wrong("of start, end and duration two are needed"),
        }
        // Where all three may come, whichever two do are taken.
        if let (Some(start), Some(end), Some(length)) = (&rule.start, &rule.end, &rule.duration) {
            let (start, end) = (self.clock("start", start), self.clock("end", end));
            found.extend(start.zip(self.length(length)).map(|(start, length)| Time::StartLength(start, length)));
            found.extend(end.zip(self.length(length)).map(|(end, length)| Time::EndLength(end, length)));
        }
        if let Some(at) = &rule.at {
            found.extend(self.clock("at", at).map(Time::At));
        }
        match found.len() {
            0 | 1 => found.pop(),
            _ => Some(Time::Either(found)),
        }
    }

    fn clock(&mut self, at: &str, clock: &file::Clock) -> Option<Clock> {
        let full = match clock {
            TextOr::Text(time) => {
                let time = self.expression(at, time)?;
                return Some(Clock { time, form: Form::Text, offset: None, zone: None, plus: None });
            }
            TextOr::Full(full) => full,
        };
        let form = full.form.as_deref().map_or(Some(Form::Text), Form::named);
        if form.is_none() {
            self.wrong(&format!("{at}.as is text, seconds, milliseconds, nanoseconds, local-seconds, local-milliseconds or a pattern of strptime"));
        }
        let unit = |compiler: &mut Self, unit: &str| {
            let nanoseconds = clock::unit_nanoseconds(unit);
            if nanoseconds.is_none() {
                compiler.wrong(&format!("{at}: {unit} is no unit of time"));
            }
            nanoseconds
        };
        let offset_unit =
            full.offset_unit.as_ref().map(|name| unit(self, name).map(|nanoseconds| nanoseconds / 1_000_000_000));
        let offset = self.optional(at, full.offset.as_ref()).map(|offset| (offset, offset_unit.flatten()));
        let plus = self.optional(at, full.plus.as_ref()).map(|plus| {
            let name = full.plus_unit.clone().unwrap_or_else(|| "s".to_owned());
            unit(self, &name);
            (plus, name)
        });
        Some(Clock {
            time: self.expression(at, &full.time)?,
            form: form?,
            offset,
            zone: self.optional(at, full.zone.as_ref()),
            plus,
        })
    }

    fn length(&mut self, length: &file::Duration) -> Option<Length> {
        match length {
            TextOr::Text(value) => self.expression("duration", value).map(Length::Iso),
            TextOr::Full(file::Number { value, unit }) => {
                let unit = self.unit_of(unit)?;
                for one in unit.all() {
                    if clock::unit_nanoseconds(&one.ucum).is_none() {
                        self.wrong(&format!("{} is no unit of time with a fixed length", one.ucum));
                    }
                }
                Some(Length::Number(self.expression("duration.value", value)?, unit))
            }
        }
    }

    fn expression(&mut self, at: &str, text: &str) -> Option<Expression> {
        match Expression::compile(text) {
            Ok(expression) => {
                let expression = if self.of_record { expression.of_record() } else { expression };
                self.seen.extend(expression.names().map(str::to_owned));
                Some(expression)
            }
            Err(what) => {
                self.wrong(&format!("{at}: {what}"));
                None
            }
        }
    }

    fn optional(&mut self, at: &str, text: Option<&String>) -> Option<Expression> {
        text.and_then(|text| self.expression(at, text))
    }

    fn list(&mut self, at: &str, texts: Option<&OneOrMany<String>>) -> Vec<Expression> {
        self.texts(at, texts.map(OneOrMany::as_slice))
    }

    fn texts(&mut self, at: &str, texts: Option<&[String]>) -> Vec<Expression> {
        texts.unwrap_or_default().iter().filter_map(|text| self.expression(at, text)).collect()
    }

    fn within<T>(&mut self, place: String, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(place);
        let compiled = compile(self);
        self.at.pop();
        compiled
    }

    fn wrong(&mut self, what: &str) {
        let place: Vec<&str> = self.at.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let text = if place.is_empty() { what.to_owned() } else { format!("{}: {what}", place.join(".")) };
        self.mistakes.push(text);
    }
}

/// A code system by its address, or by its name in the guide.
fn system(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{BASE}/CodeSystem/{name}") }
}
