//! A code system: its concepts, how they hang together, and what value sets may ask of them (R4 §4.8).
//!
//! Read from a CodeSystem resource, whole or condensed. Whether a code is valid in the face of fragments, grammars and
//! other versions is answered one floor up, in `terminology`.

use std::collections::{HashMap, HashSet};

use super::compose::Filter;
use super::names::NameMap;
use crate::fhir::tree::Element;

/// How much of a code system is here (R4 CodeSystem.content).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Content {
    Complete,
    Fragment,
    Example,
    #[default]
    NotPresent,
    Supplement,
}

/// A concept with the concepts above it.
#[derive(Clone, Debug, Default)]
pub struct Concept {
    pub code: Box<str>,
    pub display: Box<str>,
    /// Other names, with their language where it is told.
    pub designations: Vec<(Box<str>, Box<str>)>,
    pub parents: Vec<u32>,
    /// Property code and value, as texts.
    pub properties: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Debug, Default)]
pub struct CodeSystem {
    pub url: String,
    pub version: String,
    pub content: Content,
    pub case_sensitive: bool,
    /// Whether this is a copy, as old as the package that holds it, of what is maintained elsewhere.
    pub is_dated: bool,
    /// Language of the displays; empty where it is not told.
    pub language: String,
    /// Canonical of the code system that a supplement adds to.
    pub supplements: String,
    pub concepts: Vec<Concept>,
    /// Declared properties: code and type.
    pub properties: Vec<(Box<str>, Box<str>)>,
    /// Position by code; by its lower-case form where case counts for nothing.
    by_code: NameMap<Box<str>, u32>,
}

impl CodeSystem {
    pub fn read(root: Element<'_>) -> Option<CodeSystem> {
        let text = |name| root.text_of(name).unwrap_or_default().to_owned();
        let content = match root.text_of("content")? {
            // Published ones forget to say so twice.
            _ if root.get("supplements").is_some() => Content::Supplement,
            "complete" => Content::Complete,
            "fragment" => Content::Fragment,
            "example" => Content::Example,
            "supplement" => Content::Supplement,
            _ => Content::NotPresent,
        };
        let mut system = CodeSystem {
            url: text("url"),
            version: text("version"),
            content,
            // Where nothing is said, case counts for nothing, as the HL7 validator has it.
            case_sensitive: root.text_of("caseSensitive") == Some("true"),
            language: text("language"),
            supplements: text("supplements"),
            properties: root
                .all("property")
                .filter_map(|each| Some((each.text_of("code")?.into(), each.text_of("type").unwrap_or("code").into())))
                .collect(),
            ..CodeSystem::default()
        };
        for concept in root.all("concept") {
            system.collect(concept, None);
        }
        system.index(root);
        Some(system)
    }

    fn collect(&mut self, element: Element<'_>, parent: Option<u32>) {
        let Some(code) = element.text_of("code") else { return };
        let at = self.concepts.len() as u32;
        let value = |property: Element<'_>| {
            let coded = property.get("valueCoding").and_then(|coding| coding.text_of("code"));
            let plain = ["valueCode", "valueString", "valueBoolean", "valueInteger", "valueDateTime", "valueDecimal"];
            coded.or_else(|| plain.iter().find_map(|name| property.text_of(name))).map(Box::from)
        };
        self.concepts.push(Concept {
            code: code.into(),
            display: element.text_of("display").unwrap_or_default().into(),
            designations: designations(element).collect(),
            parents: parent.into_iter().collect(),
            properties: element
                .all("property")
                .filter_map(|each| Some((each.text_of("code")?.into(), value(each)?)))
                .collect(),
        });
        // Documents are read to a bounded depth, so this ends.
        for child in element.all("concept") {
            self.collect(child, Some(at));
        }
    }

    /// Makes codes findable, and turns parents that are told by code into links.
    fn index(&mut self, root: Element<'_>) {
        for at in 0..self.concepts.len() {
            let code = self.folded(&self.concepts[at].code);
            self.by_code.entry(code).or_insert(at as u32);
        }
        // What a property means is told by its uri; its code is free, but the usual ones speak for themselves.
        let (mut ups, mut downs) = (vec!["parent", "subsumedBy"], vec!["child"]);
        for property in root.all("property") {
            match (property.text_of("code"), property.text_of("uri")) {
                (Some(code), Some("http://hl7.org/fhir/concept-properties#parent")) => ups.push(code),
                (Some(code), Some("http://hl7.org/fhir/concept-properties#child")) => downs.push(code),
                _ => {}
            }
        }
        for at in 0..self.concepts.len() {
            let linked: Vec<(bool, u32)> = self.concepts[at]
                .properties
                .iter()
                .filter_map(|(code, value)| {
                    let up = ups.contains(&&**code);
                    (up || downs.contains(&&**code)).then_some((up, self.position(value)?))
                })
                .collect();
            for (up, other) in linked {
                let (child, parent) = if up { (at, other) } else { (other as usize, at as u32) };
                if child as u32 != parent && !self.concepts[child].parents.contains(&parent) {
                    self.concepts[child].parents.push(parent);
                }
            }
        }
    }

    /// Takes in the names that a supplement adds to concepts that are there (R4 §4.8.11).
    pub(super) fn supplement(&mut self, root: Element<'_>) {
        let mut next: Vec<Element<'_>> = root.all("concept").collect();
        while let Some(element) = next.pop() {
            next.extend(element.all("concept"));
            let Some(at) = element.text_of("code").and_then(|code| self.position(code)) else { continue };
            let own = &mut self.concepts[at as usize].designations;
            own.extend(designations(element));
            if let Some(display) = element.text_of("display") {
                own.push((Box::default(), display.into()));
            }
        }
    }

    fn folded(&self, code: &str) -> Box<str> {
        if self.case_sensitive { code.into() } else { code.to_lowercase().into() }
    }

    fn position(&self, code: &str) -> Option<u32> {
        if self.case_sensitive {
            return self.by_code.get(code).copied();
        }
        self.by_code.get(code).copied().or_else(|| folded(code, |code| self.by_code.get(code).copied()))
    }

    pub fn concept(&self, code: &str) -> Option<&Concept> {
        self.position(code).map(|at| &self.concepts[at as usize])
    }

    pub fn contains(&self, code: &str) -> bool {
        self.position(code).is_some()
    }

    /// The concepts that a filter keeps (R4 §4.9.8.2); `None` where it cannot be told here.
    pub(super) fn filtered(&self, filter: &Filter) -> Option<HashSet<u32>> {
        let (property, value) = (&*filter.property, &*filter.value);
        let is_concept = matches!(property, "concept" | "code");
        let wanted = |yes: bool, keep: &dyn Fn(&Concept) -> bool| -> HashSet<u32> {
            let concepts = self.concepts.iter().enumerate();
            concepts.filter(|(_, concept)| keep(concept) == yes).map(|(at, _)| at as u32).collect()
        };
        let listed = |text: &str| text.split(',').map(|each| each.trim().to_owned()).collect::<HashSet<String>>();
        Some(match &*filter.op {
            "is-a" if is_concept => self.below(self.position(value)?, true),
            "descendent-of" if is_concept => self.below(self.position(value)?, false),
            "is-not-a" if is_concept => {
                let below = self.below(self.position(value)?, true);
                (0..self.concepts.len() as u32).filter(|at| !below.contains(at)).collect()
            }
            "generalizes" if is_concept => self.above(self.position(value)?),
            "child-of" if is_concept => self.children(self.position(value)?),
            "descendent-leaf" if is_concept => {
                let inner: HashSet<u32> = self.concepts.iter().flat_map(|each| each.parents.iter().copied()).collect();
                self.below(self.position(value)?, false).into_iter().filter(|at| !inner.contains(at)).collect()
            }
            "=" if is_concept => self.position(value).into_iter().collect(),
            "=" if property == "parent" => self.children(self.position(value)?),
            "=" if property == "child" => {
                self.concepts[self.position(value)? as usize].parents.iter().copied().collect()
            }
            "=" => wanted(true, &|concept| self.says(concept, property, |text| text == value)),
            "in" | "not-in" => {
                let listed = listed(value);
                let yes = &*filter.op == "in";
                if is_concept {
                    wanted(yes, &|concept| listed.contains(&*concept.code))
                } else {
                    wanted(yes, &|concept| self.says(concept, property, |text| listed.contains(text)))
                }
            }
            "exists" => {
                let yes = value == "true";
                wanted(yes, &|concept| concept.properties.iter().any(|(code, _)| **code == *property))
            }
            "regex" => {
                filter.matches("")?;
                let matches = |text: &str| filter.matches(text) == Some(true);
                match property {
                    "concept" | "code" => wanted(true, &|concept| matches(&concept.code)),
                    "display" => wanted(true, &|concept| matches(&concept.display)),
                    _ => wanted(true, &|concept| self.says(concept, property, matches)),
                }
            }
            _ => return None,
        })
    }

    /// Whether a property of a concept satisfies a test. A boolean property that is not there is false
    /// (R4 §4.8.14: notSelectable, inactive).
    fn says(&self, concept: &Concept, property: &str, test: impl Fn(&str) -> bool) -> bool {
        let mut values = concept.properties.iter().filter(|(code, _)| **code == *property).peekable();
        if values.peek().is_none() {
            let is_boolean = matches!(property, "notSelectable" | "inactive" | "abstract")
                || self.properties.iter().any(|(code, kind)| **code == *property && &**kind == "boolean");
            return is_boolean && test("false");
        }
        values.any(|(_, value)| test(value))
    }

    fn below(&self, ancestor: u32, itself: bool) -> HashSet<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (at, concept) in self.concepts.iter().enumerate() {
            concept.parents.iter().for_each(|parent| children.entry(*parent).or_default().push(at as u32));
        }
        let mut found = HashSet::from([ancestor]);
        let mut next = vec![ancestor];
        while let Some(at) = next.pop() {
            let below = children.get(&at).map(Vec::as_slice).unwrap_or_default();
            next.extend(below.iter().copied().filter(|child| found.insert(*child)));
        }
        if !itself {
            found.remove(&ancestor);
        }
        found
    }

    fn above(&self, from: u32) -> HashSet<u32> {
        let mut found = HashSet::from([from]);
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            next.extend(self.concepts[at as usize].parents.iter().copied().filter(|parent| found.insert(*parent)));
        }
        found
    }

    fn children(&self, parent: u32) -> HashSet<u32> {
        let concepts = self.concepts.iter().enumerate();
        concepts.filter(|(_, concept)| concept.parents.contains(&parent)).map(|(at, _)| at as u32).collect()
    }
}

/// A code in lower case; most are short and ASCII, and need no memory for it.
pub(super) fn folded<T>(code: &str, then: impl FnOnce(&str) -> T) -> T {
    let mut short = [0; 48];
    if code.is_ascii()
        && let Some(room) = short.get_mut(..code.len())
    {
        room.copy_from_slice(code.as_bytes());
        room.make_ascii_lowercase();
        if let Ok(code) = std::str::from_utf8(room) {
            return then(code);
        }
    }
    then(&code.to_lowercase())
}

fn designations(concept: Element<'_>) -> impl Iterator<Item = (Box<str>, Box<str>)> + '_ {
    concept
        .all("designation")
        .filter_map(|each| Some((each.text_of("language").unwrap_or_default().into(), each.text_of("value")?.into())))
}

impl Concept {
    /// Whether the concept is out of use.
    pub fn is_inactive(&self) -> bool {
        self.properties.iter().any(|(code, value)| match &**code {
            "inactive" => &**value == "true",
            "status" => matches!(&**value, "inactive" | "retired"),
            _ => false,
        })
    }

    /// Every name of the concept.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let display = (!self.display.is_empty()).then_some(&*self.display);
        display.into_iter().chain(self.designations.iter().map(|(_, text)| &**text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    fn system() -> CodeSystem {
        let text = r#"{"resourceType":"CodeSystem","url":"urn:s","content":"complete","caseSensitive":false,
            "property":[{"code":"over","uri":"http://hl7.org/fhir/concept-properties#parent","type":"code"},
                {"code":"hot","type":"boolean"}],
            "concept":[
                {"code":"a","display":"Alpha","concept":[{"code":"b","concept":[{"code":"c"}]},{"code":"d"}]},
                {"code":"e","property":[{"code":"over","valueCode":"b"},{"code":"hot","valueBoolean":true}]},
                {"code":"F1","property":[{"code":"kind","valueCoding":{"system":"urn:k","code":"k"}}]}]}"#;
        let document = json::parse(text).unwrap();
        CodeSystem::read(Element::root(&document)).unwrap()
    }

    #[test]
    fn filters_keep_what_the_specification_says() {
        let system = system();
        for (property, op, value, expected) in [
            ("concept", "is-a", "b", Some("b c e")),
            ("concept", "descendent-of", "b", Some("c e")),
            ("concept", "is-not-a", "a", Some("F1")),
            ("concept", "generalizes", "e", Some("a b e")),
            ("concept", "child-of", "a", Some("b d")),
            ("concept", "descendent-leaf", "a", Some("c d e")),
            ("parent", "=", "a", Some("b d")),
            ("child", "=", "e", Some("b")),
            ("code", "=", "f1", Some("F1")),
            ("code", "in", "a, c", Some("a c")),
            ("code", "not-in", "a,b,c,d", Some("F1 e")),
            ("hot", "=", "true", Some("e")),
            ("hot", "=", "false", Some("F1 a b c d")),
            ("kind", "=", "k", Some("F1")),
            ("kind", "exists", "true", Some("F1")),
            ("kind", "exists", "false", Some("a b c d e")),
            ("code", "regex", "[a-c]", Some("a b c")),
            ("display", "regex", "Al.*", Some("a")),
            ("code", "regex", "(", None),
            ("code", "nearly", "a", None),
            ("concept", "is-a", "z", None),
        ] {
            let filter = Filter::new(property, op, value);
            let kept = system.filtered(&filter).map(|kept| {
                let mut codes: Vec<&str> = kept.iter().map(|at| &*system.concepts[*at as usize].code).collect();
                codes.sort_unstable();
                codes.join(" ")
            });
            assert_eq!(kept.as_deref(), expected, "{property} {op} {value}");
        }
    }

    #[test]
    fn case_counts_where_the_system_says_so() {
        let mut system = system();
        assert!(system.contains("f1") && system.contains("F1") && !system.contains("f2"));
        system.case_sensitive = true;
        assert!(!system.contains("F2"));
    }
}
