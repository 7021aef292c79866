//! The gist of a resource: what it says that judgements ask about, written beside it, so that a search can leave out what
//! consent withholds before anybody reads it, and copy out what it permits without reading it.
//!
//! It holds what the resource says ([`Said`]) and nothing that follows, so that it stays true when the tables of measures
//! grow. Its first byte is the number of its form: one of another form is passed over, and the resource is read instead.
//! Most resources of a person differ in date and id alone, so what they have in common stands first and in one piece (the
//! class), by which they are known as alike. What is more than a few kilobytes has no gist.

use std::borrow::Cow;

use super::labels;
use super::said::{Coding, Hidden, Part, Said};
use crate::fhir::tree::{Element, json};
use crate::store::ResId;

/// The form that is written here.
const FORM: u8 = 2;

/// The first form, in which everything was written out.
const FIRST: u8 = 1;

/// What would be longer is not worth it: the resource itself is read.
const MOST: usize = 4096;

/// Resources that lie in one another deeper are read themselves.
const DEPTH: usize = 8;

/// Texts that are written by their places here. Only ever appended to.
const KNOWN: [&str; 44] = [
    "",
    "http://loinc.org",
    "https://mhealth-gateway.org/fhir/CodeSystem/measure-category",
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "http://snomed.info/sct",
    "urn:iso:std:iso:11073:10101",
    "http://hl7.org/fhir/uv/phr/CodeSystem/observation-pghd-codes",
    "http://unitsofmeasure.org",
    "vital-signs",
    "activity",
    "survey",
    "laboratory",
    "social-history",
    "exam",
    "procedure",
    "therapy",
    "N",
    "R",
    "V",
    "L",
    "M",
    "U",
    "8867-4",
    "55423-8",
    "41950-7",
    "29463-7",
    "85354-9",
    "8480-6",
    "8462-4",
    "8310-5",
    "59408-5",
    "2708-6",
    "9279-1",
    "15074-8",
    "2339-0",
    "93832-4",
    "39156-5",
    "8302-2",
    "Observation",
    "PSY",
    "ETH",
];

/// Types that references name.
const TYPES: [&str; 12] = [
    "Patient",
    "Device",
    "Observation",
    "QuestionnaireResponse",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
    "Encounter",
    "DeviceMetric",
    "Specimen",
    "Questionnaire",
];

/// Stands for an interval that is the one before it.
const SAME: u8 = 2;

/// Stands in the place of a type for the reference to whose it is.
const PERSON: u8 = 0xff;

/// A byte below it is a place in `KNOWN`.
const PACKED: u8 = 0x80;
const LONG: u8 = 0x81;
/// A byte from it on is the length of a text that follows.
const SHORT: u8 = 0x82;

/// What is written beside a resource.
pub struct Beside {
    /// Nothing where it cannot be read or is too long.
    pub gist: Option<Vec<u8>>,
    /// The number of its labels.
    pub labels: u16,
    /// The id of whose it is, where it is one of the gateway's own.
    pub person: Option<ResId>,
}

/// What is written beside a resource as it is stored.
pub fn beside(kind: &str, payload: &[u8]) -> Beside {
    let Ok(document) = json::parse(payload) else { return Beside { gist: None, labels: labels::OTHERS, person: None } };
    let said = Said::of(kind, Element::root(&document));
    let person = ResId::parse(said.patient());
    Beside { gist: written(&said), labels: labels::number(&said.labels), person }
}

/// The gist of a resource as it is stored.
pub fn of(kind: &str, payload: &[u8]) -> Option<Vec<u8>> {
    beside(kind, payload).gist
}

fn written(said: &Said<'_>) -> Option<Vec<u8>> {
    let mut class = Vec::with_capacity(64);
    part(&said.part, &mut class);
    for codings in [&said.categories, &said.labels, &said.hidden.codings] {
        list(codings, &mut class);
    }
    class.push(u8::from(said.hidden.unclassified));
    let mut out = Vec::with_capacity(class.len() + 64);
    out.push(FORM);
    number(class.len() as u64, &mut out);
    out.extend_from_slice(&class);
    interval(said.date_ms, &mut out);
    if said.found_ms.is_some() && said.found_ms == said.date_ms {
        out.push(SAME);
    } else {
        interval(said.found_ms, &mut out);
    }
    reference(said.person, &mut out);
    for references in [&said.links, &said.authors] {
        number(references.len() as u64, &mut out);
        for each in references {
            // Mostly nobody else is named.
            if *each == said.person { out.extend([PACKED, PERSON]) } else { reference(each, &mut out) }
        }
    }
    (out.len() <= MOST).then_some(out)
}

fn part(part: &Part<'_>, out: &mut Vec<u8>) {
    text(part.kind, out);
    list(&part.code, out);
    number(part.components.len() as u64, out);
    for component in &part.components {
        list(component, out);
    }
    number(part.contained.len() as u64, out);
    for contained in &part.contained {
        self::part(contained, out);
    }
}

fn list(codings: &[Coding<'_>], out: &mut Vec<u8>) {
    number(codings.len() as u64, out);
    for (system, code) in codings {
        text(system, out);
        text(code, out);
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    if let Some(place) = KNOWN.iter().position(|known| *known == text) {
        out.push(place as u8);
        return;
    }
    if let Some(length) = u8::try_from(text.len()).ok().and_then(|length| length.checked_add(SHORT)) {
        out.push(length);
    } else {
        out.push(LONG);
        number(text.len() as u64, out);
    }
    out.extend_from_slice(text.as_bytes());
}

/// A type and a UUID in lower case are packed.
fn reference(reference: &str, out: &mut Vec<u8>) {
    let packed = reference.split_once('/').and_then(|(kind, id)| {
        let place = TYPES.iter().position(|known| *known == kind)?;
        Some((place as u8, packed(id)?))
    });
    match packed {
        Some((kind, id)) => {
            out.extend([PACKED, kind]);
            out.extend_from_slice(&id);
        }
        None => text(reference, out),
    }
}

fn packed(id: &str) -> Option<[u8; 16]> {
    let bytes: &[u8; 36] = id.as_bytes().try_into().ok()?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut packed = [0; 16];
    let mut at = 0;
    for place in &mut packed {
        if HYPHENS.contains(&at) {
            (bytes[at] == b'-').then_some(())?;
            at += 1;
        }
        *place = digit(bytes[at])? << 4 | digit(bytes[at + 1])?;
        at += 2;
    }
    Some(packed)
}

/// The letters of an id; of every resource that is judged one is asked for.
fn unpacked(packed: [u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [b'-'; 36];
    let mut at = 0;
    for byte in packed {
        at += usize::from(HYPHENS.contains(&at));
        id[at] = DIGITS[usize::from(byte >> 4)];
        id[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    id
}

/// Where a UUID has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn interval(interval: Option<(i64, i64)>, out: &mut Vec<u8>) {
    let Some((start, end)) = interval else { return out.push(0) };
    out.push(1);
    number((start << 1 ^ start >> 63) as u64, out);
    number(end.wrapping_sub(start) as u64, out);
}

/// A gist, read as far as somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Gist<'g> {
    /// What those that are alike have in common.
    pub class: &'g [u8],
    pub date_ms: Option<(i64, i64)>,
    pub found_ms: Option<(i64, i64)>,
    person: &'g [u8],
    references: &'g [u8],
}

/// References of a gist, as they stood in the resource.
#[derive(Default)]
pub struct References<'g> {
    person: Cow<'g, str>,
    links: Vec<Cow<'g, str>>,
    authors: Vec<Cow<'g, str>>,
}

impl<'g> Gist<'g> {
    /// Nothing where it is of another form.
    pub fn read(written: &'g [u8]) -> Option<Gist<'g>> {
        let mut reader = Reader(written);
        matches!(reader.byte()?, FORM | FIRST).then_some(())?;
        let length = reader.length()?;
        let class = reader.bytes(length)?;
        let date_ms = reader.interval(None)?;
        let found_ms = reader.interval(date_ms)?;
        let person = reader.0;
        reader.skip_reference()?;
        let person = &person[..person.len() - reader.0.len()];
        Some(Gist { class, date_ms, found_ms, person, references: reader.0 })
    }

    /// The same bytes for the same person.
    pub fn whose(&self) -> &'g [u8] {
        self.person
    }

    /// The reference to whose it is.
    pub fn person(&self) -> Cow<'g, str> {
        Reader(self.person).reference().unwrap_or_default()
    }

    pub fn references(&self) -> Option<References<'g>> {
        let (mut reader, person) = (Reader(self.references), self.person());
        let (links, authors) = (reader.references(&person)?, reader.references(&person)?);
        Some(References { person, links, authors })
    }

    /// What all of its class say.
    pub fn said_alike(&self) -> Option<Said<'g>> {
        let mut reader = Reader(self.class);
        Some(Said {
            part: reader.part(DEPTH)?,
            categories: reader.list()?,
            labels: reader.list()?,
            hidden: Hidden { codings: reader.list()?, unclassified: reader.byte()? == 1 },
            ..Said::default()
        })
    }

    /// All that the resource says.
    pub fn said<'a>(&self, references: &'a References<'g>) -> Option<Said<'a>>
    where
        'g: 'a,
    {
        Some(Said {
            date_ms: self.date_ms,
            found_ms: self.found_ms,
            person: &references.person,
            links: references.links.iter().map(Cow::as_ref).collect(),
            authors: references.authors.iter().map(Cow::as_ref).collect(),
            ..self.said_alike()?
        })
    }

    /// The codings of its code and of its categories.
    pub fn codes(&self) -> Option<(Vec<Coding<'g>>, Vec<Coding<'g>>)> {
        let mut reader = Reader(self.class);
        let Part { code, .. } = reader.part(DEPTH)?;
        Some((code, reader.list()?))
    }
}

struct Reader<'g>(&'g [u8]);

impl<'g> Reader<'g> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, length: usize) -> Option<&'g [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Of what follows, each of which takes at least a byte.
    fn length(&mut self) -> Option<usize> {
        let length = usize::try_from(self.number()?).ok()?;
        (length <= self.0.len()).then_some(length)
    }

    #[expect(clippy::option_option, reason = "what cannot be read is something else than what is not there")]
    fn interval(&mut self, before: Option<(i64, i64)>) -> Option<Option<(i64, i64)>> {
        match self.byte()? {
            0 => return Some(None),
            SAME => return before.map(Some),
            _ => {}
        }
        let (start, length) = (self.number()?, self.number()?);
        let start = (start >> 1) as i64 ^ -((start & 1) as i64);
        Some(Some((start, start.wrapping_add(length as i64))))
    }

    fn text(&mut self) -> Option<&'g str> {
        let length = match self.byte()? {
            place if place < PACKED => return KNOWN.get(usize::from(place)).copied(),
            PACKED => return None,
            LONG => self.length()?,
            length => usize::from(length - SHORT),
        };
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn reference(&mut self) -> Option<Cow<'g, str>> {
        if self.0.first() != Some(&PACKED) {
            return self.text().map(Cow::Borrowed);
        }
        self.byte()?;
        let kind = TYPES.get(usize::from(self.byte()?))?;
        let id = unpacked(self.bytes(16)?.try_into().ok()?);
        Some(Cow::Owned([kind, "/", std::str::from_utf8(&id).ok()?].concat()))
    }

    fn skip_reference(&mut self) -> Option<()> {
        if self.0.first() == Some(&PACKED) { self.bytes(18).map(drop) } else { self.text().map(drop) }
    }

    fn references(&mut self, person: &Cow<'g, str>) -> Option<Vec<Cow<'g, str>>> {
        let one = |reader: &mut Self| match reader.0 {
            [PACKED, PERSON, rest @ ..] => {
                reader.0 = rest;
                Some(person.clone())
            }
            _ => reader.reference(),
        };
        (0..self.length()?).map(|_| one(self)).collect()
    }

    fn list(&mut self) -> Option<Vec<Coding<'g>>> {
        (0..self.length()?).map(|_| Some((self.text()?, self.text()?))).collect()
    }

    fn part(&mut self, depth: usize) -> Option<Part<'g>> {
        let deeper = depth.checked_sub(1)?;
        let (kind, code) = (self.text()?, self.list()?);
        let components = (0..self.length()?).map(|_| self.list()).collect::<Option<_>>()?;
        let contained = (0..self.length()?).map(|_| self.part(deeper)).collect::<Option<_>>()?;
        Some(Part { kind, code, components, contained })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::fhir::ours::CATEGORY_SYSTEM;
    use crate::fhir::validate::measures::category::CONFIDENTIALITY;

    fn check(text: &str) -> usize {
        let document = json::parse(text).unwrap();
        let root = Element::root(&document);
        let said = Said::of(root.resource_type().unwrap(), root);
        let written = written(&said).unwrap();
        let gist = Gist::read(&written).unwrap();
        let references = gist.references().unwrap();
        assert_eq!(gist.said(&references).unwrap(), said, "{text}");
        assert_eq!(gist.codes().unwrap(), (said.part.code.clone(), said.categories.clone()));
        for end in 0..written.len() {
            // What is cut off is nothing that could be taken for the whole.
            let cut = Gist::read(&written[..end]);
            assert!(cut.and_then(|cut| cut.said(&cut.references()?).map(|_| ())).is_none(), "{end}");
        }
        written.len()
    }

    const HEART_RATE: &str = r#"{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/000512ba-0932-8158-a608-e56ad61c6db5"},"effectiveDateTime":"2026-11-22T07:21:24Z","valueQuantity":{"value":62}}"#;

    #[test]
    fn what_was_said_is_read_again() {
        assert!(check(HEART_RATE) < 50);
        let long = "x".repeat(200);
        for text in [
            r#"{"resourceType":"Observation"}"#,
            r#"{"resourceType":"Observation","effectivePeriod":{"start":"1902-01-02"},"subject":{"reference":"Patient/A"},
                "meta":{"security":[{"system":"urn:x","code":"é"},{"code":"N"}]},"performer":[{"reference":"Patient/A"}],
                "component":[{"code":{"coding":[{"code":"a"}]}},{}],"contained":[{"resourceType":"Observation","code":
                {"coding":[{"system":"http://loinc.org","code":"1-8"}]}},{"resourceType":"Device","id":"d"}]}"#,
            r#"{"resourceType":"Observation","extension":[{"url":"urn:x","valueQuantity":{"value":1}},{"url":"urn:y",
                "valueCoding":{"system":"http://loinc.org","code":"8867-4"}}],"method":{"coding":[{"code":"m"}]}}"#,
            r#"{"resourceType":"Provenance","meta":{"tag":[{"system":"https://mhealth-gateway.org/fhir/CodeSystem/measure-category",
                "code":"sleep"}]},"agent":[{"onBehalfOf":{"reference":"Patient/000512ba-0932-8158-a608-e56ad61c6dB5"}}]}"#,
            r#"{"resourceType":"Patient","id":"1","managingOrganization":{"reference":"Organization/1"}}"#,
            r#"{"resourceType":"QuestionnaireResponse","authored":"2026-01-01","author":{"reference":"RelatedPerson/2"}}"#,
            &format!(r#"{{"resourceType":"Observation","code":{{"coding":[{{"system":"{long}","code":"{long}"}}]}}}}"#),
        ] {
            check(text);
        }
    }

    /// Every resource in some JSON.
    fn resources(value: &serde_json::Value, found: &mut Vec<String>) {
        if value["resourceType"].is_string() {
            found.push(value.to_string());
        }
        match value {
            serde_json::Value::Object(members) => members.values().for_each(|member| resources(member, found)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| resources(item, found)),
            _ => {}
        }
    }

    fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => files(&path, found),
                Some(extension) if extension == "json" => found.push(path),
                _ => {}
            }
        }
    }

    /// What is judged by a gist is judged as by the resource: all that a judgement knows of it is the same.
    #[test]
    fn a_gist_says_what_the_resource_says() {
        let suites = std::env::var_os("MHEALTH_SUITES").map_or_else(
            || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"),
            std::path::PathBuf::from,
        );
        let (mut found, mut texts, mut whole) = (Vec::new(), Vec::new(), 0);
        for suite in ["consent", "r4-examples", "synthea-r4"] {
            files(&suites.join(suite), &mut found);
        }
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            resources(&serde_json::from_str(&text).unwrap_or_default(), &mut texts);
        }
        for text in &texts {
            let document = json::parse(text.as_str()).unwrap();
            let root = Element::root(&document);
            let said = Said::of(root.resource_type().unwrap_or_default(), root);
            let Some(written) = written(&said) else { continue };
            let gist = Gist::read(&written).unwrap();
            // What lies in one another too deep is read itself.
            let references = gist.references().unwrap();
            if let Some(told) = gist.said(&references) {
                assert_eq!(told, said, "{text}");
                whole += 1;
            }
        }
        assert!(whole > 1000 && whole * 100 > texts.len() * 95, "{whole} of {}", texts.len());
    }

    /// What was written in the first form is read as ever.
    #[test]
    fn the_first_form_is_read() {
        let document = json::parse(HEART_RATE).unwrap();
        let said = Said::of("Observation", Element::root(&document));
        let latest = written(&said).unwrap();
        let class = Gist::read(&latest).unwrap().class;
        let mut first = vec![FIRST, class.len() as u8];
        first.extend_from_slice(class);
        interval(said.date_ms, &mut first);
        interval(said.found_ms, &mut first);
        reference(said.person, &mut first);
        first.push(1);
        reference(said.person, &mut first);
        first.push(0);
        let gist = Gist::read(&first).unwrap();
        assert_eq!(gist.said(&gist.references().unwrap()).unwrap(), said);
        assert!(latest.len() < first.len() - 20);
    }

    #[test]
    fn what_is_long_deep_or_of_another_form_is_not_read() {
        let many = r#"{"reference":"Observation/000512ba-0932-8158-a608-e56ad61c6db5"},"#.repeat(300);
        let long = format!(r#"{{"resourceType":"Observation","derivedFrom":[{}]}}"#, many.trim_end_matches(','));
        assert_eq!(of("Observation", long.as_bytes()), None);
        let inside = |inner: &str| format!(r#"{{"resourceType":"Observation","contained":[{inner}]}}"#);
        let deep = (0..DEPTH).fold(inside(""), |inner, _| inside(&inner));
        let written = of("Observation", deep.as_bytes()).unwrap();
        assert!(Gist::read(&written).unwrap().said_alike().is_none());
        let mut other = of("Observation", HEART_RATE.as_bytes()).unwrap();
        other[0] = FORM + 1;
        assert!(Gist::read(&other).is_none());
        assert_eq!(of("Observation", b"{"), None);
    }

    #[test]
    fn known_texts_are_what_they_are_elsewhere() {
        assert!(KNOWN.len() < usize::from(PACKED));
        assert!([CATEGORY_SYSTEM, CONFIDENTIALITY].iter().all(|system| KNOWN.contains(system)));
        let alike = |text: &str| KNOWN.iter().filter(|known| **known == text).count();
        assert!(KNOWN.iter().all(|known| alike(known) == 1));
    }

    proptest! {
        #[test]
        fn whatever_lies_there_is_read_or_not(bytes in any::<Vec<u8>>()) {
            for written in [bytes.clone(), [&[FORM], &bytes[..]].concat()] {
                if let Some(gist) = Gist::read(&written) {
                    let _ = gist.references().and_then(|references| gist.said(&references).map(|_| ()));
                }
            }
        }
    }
}
