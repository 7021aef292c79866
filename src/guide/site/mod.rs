//! The guide as pages that people read: static files, from the resources that are enforced.
//!
//! Every page stands alone: no address outside the site is loaded, no style or script is inline (a strict
//! Content-Security-Policy holds), and without scripts everything is there, only open and unfiltered. Known here: what the
//! guide's resources say. Not known: who serves the files, and where.

mod highlight;
mod links;
mod overview;
mod piece;
mod render;
mod resources;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use minijinja::{Environment, Value as Context, context};
use serde::Serialize;
use serde_json::{Value, json};

use self::links::{Links, items, name, text, title};
use self::piece::Piece;
use self::render::data;
use super::changes::Changes;
use super::explain::{self, Subject};
use super::{Edition, File};
use crate::fhir::ours;
use crate::fhir::outcome::CATALOGUE;
use crate::fhir::validate::Validator;

/// The parts of the site, in the order of its navigation.
const NAVIGATION: [(&str, &str); 9] = [
    ("profiles.html", "Profiles"),
    ("terminology.html", "Terminology"),
    ("programmes.html", "Programmes"),
    ("examples.html", "Examples"),
    ("measures.html", "Measures"),
    ("countries.html", "Countries"),
    ("issues.html", "Issues"),
    ("ethics.html", "Ethics"),
    ("explain.html", "Explain"),
];

/// Makes the pages of an edition, one at a time.
pub struct Site {
    pub(super) edition: Arc<Edition>,
    environment: Environment<'static>,
    links: Links,
    /// Where the resource of a page stands, by the page's name without its ending.
    places: HashMap<String, usize>,
}

/// What a page is about.
#[derive(Serialize)]
struct Page<'p> {
    title: &'p str,
    summary: String,
    /// The part of the site that it belongs to.
    section: &'p str,
    /// Name of that part, where the page stands below it.
    crumb: &'p str,
}

/// One line of the search.
#[derive(Serialize)]
struct Entry {
    title: String,
    url: String,
    kind: String,
    text: String,
}

/// Files that are no page of a resource.
const FILES: [&str; 18] = [
    "site.css",
    "site.js",
    "icon.svg",
    "index.html",
    "profiles.html",
    "terminology.html",
    "programmes.html",
    "examples.html",
    "issues.html",
    "explain.html",
    "search.html",
    "search-index.js",
    "measures.html",
    "countries.html",
    "sources.html",
    "ethics.html",
    "changes.html",
    "package.tgz",
];

/// What the page of all elements of a profile ends in.
const SNAPSHOT: &str = "-snapshot";

impl Site {
    pub fn new(edition: Arc<Edition>) -> Site {
        let links = Links::new(&edition.resources);
        let places = edition.resources.iter().enumerate().map(|(at, resource)| (name(resource), at)).collect();
        Site { environment: render::environment(), links, places, edition }
    }

    /// Names of all files. Of a wrong example that XML cannot say there is no XML all the same.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = FILES.map(str::to_owned).to_vec();
        for resource in &self.edition.resources {
            let name = name(resource);
            names.extend(["html", "json", "xml"].map(|ending| format!("{name}.{ending}")));
            if self.is_profile(resource) {
                names.push(format!("{name}{SNAPSHOT}.html"));
            }
        }
        names
    }

    fn is_profile(&self, resource: &Value) -> bool {
        text(resource, "resourceType") == "StructureDefinition" && !self.edition.is_example(resource)
    }

    /// A file by its name. The validator writes the XML of the resources; `changes` are the versions before this one.
    pub fn file(&self, path: &str, validator: &Validator, changes: impl FnOnce() -> Vec<Changes>) -> Option<File> {
        Some(match path {
            "site.css" => File::text(path, include_str!("../templates/site.css")),
            "site.js" => File::text(path, include_str!("../templates/site.js")),
            "icon.svg" => File::text(path, include_str!("../templates/icon.svg")),
            "index.html" => self.front(),
            "profiles.html" => self.profiles(),
            "terminology.html" => self.terminology(),
            "programmes.html" => self.programmes(),
            "examples.html" => self.examples(),
            "issues.html" => self.issues(),
            "explain.html" => File::text(path, self.explained("", false)),
            "search.html" => self.search(),
            "search-index.js" => File::text(path, self.index()),
            "changes.html" => overview::changes(self, &changes()),
            "package.tgz" => File { path: path.to_owned(), content: super::package::archive(&self.edition) },
            _ => return overview::page(self, path).or_else(|| self.of_resource(path, validator)),
        })
    }

    fn of_resource(&self, path: &str, validator: &Validator) -> Option<File> {
        let (name, ending) = path.rsplit_once('.')?;
        if let Some(name) = name.strip_suffix(SNAPSHOT).filter(|_| ending == "html") {
            let resource = &self.edition.resources[*self.places.get(name)?];
            return self.is_profile(resource).then(|| self.snapshot(resource));
        }
        let resource = &self.edition.resources[*self.places.get(name)?];
        match ending {
            "html" => Some(self.resource(resource)),
            "json" => Some(File::text(path, super::pretty(&self.edition.full(resource)))),
            "xml" => {
                // A wrong example may be one that XML cannot say.
                let document = crate::fhir::tree::json::parse(self.edition.full(resource).to_string());
                let content = document.and_then(|document| validator.to_xml(&document)).ok()?;
                Some(File { path: path.to_owned(), content })
            }
            _ => None,
        }
    }

    fn page(&self, file: &str, template: &str, page: &Page<'_>, parts: Context) -> String {
        let navigation: Vec<Value> =
            NAVIGATION.iter().map(|(href, label)| json!({"href": href, "label": label})).collect();
        let version = self.edition.version();
        let site = context! {
            title => title(self.edition.guide()),
            version => version,
            // Pages of earlier versions lie one folder deeper.
            newest => (version != ours::VERSION).then_some(ours::VERSION),
            same => Self::in_newest(file),
            canonical => self.edition.canonical(),
            nav => data(navigation),
        };
        render::page(&self.environment, template, context! { page => data(page), site => site, ..parts })
    }

    /// The page of the newest version that says the same: what this version alone has is said nowhere else.
    fn in_newest(file: &str) -> Option<String> {
        let name = file.strip_suffix(".html").unwrap_or(file);
        let name = name.strip_suffix(SNAPSHOT).unwrap_or(name);
        let is_there = FILES.contains(&file) || {
            let newest = Edition::current();
            let address = name.replacen('-', "/", 1);
            newest.resources.iter().any(|each| super::content::address(each) == address)
        };
        is_there.then(|| file.to_owned())
    }

    fn front(&self) -> File {
        let guide = self.edition.guide();
        let cards = [
            (
                "profiles.html",
                "App vendors",
                "Send what the profiles say. Each refusal names its rule, its place and its fix.",
            ),
            (
                "countries.html",
                "National platforms",
                "Which measure each platform takes, in which code and unit, and what it will not take.",
            ),
            (
                "examples.html",
                "Integrators",
                "Right and wrong examples of each profile, with the issue that each wrong one must raise.",
            ),
            (
                "ethics.html",
                "Citizens and ethics boards",
                "What the gateway promises about the data of a person, and which check holds it to that.",
            ),
        ];
        let cards = cards.map(|(href, title, text)| json!({"href": href, "title": title, "text": text}));
        let count = |kinds: &[&str]| {
            self.edition.resources.iter().filter(|each| kinds.contains(&text(each, "resourceType"))).count()
        };
        let groups = [
            ("profiles.html", "Profiles and extensions", count(&["StructureDefinition"])),
            ("terminology.html", "Code systems, value sets and maps", count(&["CodeSystem", "ValueSet", "ConceptMap"])),
            ("programmes.html", "Programmes and questionnaires", count(&["PlanDefinition", "Questionnaire"])),
            ("examples.html", "Examples", self.edition.examples().count()),
            ("issues.html", "Issues", CATALOGUE.len()),
        ];
        let groups = groups.into_iter().filter(|(.., count)| *count > 0);
        let groups = groups
            .map(|(href, title, count)| json!({"href": href, "title": title, "text": format!("{count} of them")}));
        let groups: Vec<Value> = groups.collect();
        let page = Page {
            title: title(guide),
            summary: text(guide, "description").to_owned(),
            section: "index.html",
            crumb: "",
        };
        File::text(
            "index.html",
            self.page(
                "index.html",
                "index.html",
                &page,
                context! { intro => render::markdown(""), cards => data(cards), groups => data(groups) },
            ),
        )
    }

    /// A page of cards, one a resource, in groups.
    fn list(&self, path: &str, heading: &str, summary: &str, groups: Vec<(&str, Vec<&Value>)>) -> File {
        let groups = groups.into_iter().filter(|(_, resources)| !resources.is_empty()).map(|(group, mut resources)| {
            resources.sort_by_key(|each| title(each).to_lowercase());
            let entries = resources.iter().map(|each| {
                let refused = self.edition.refused_with(each);
                let (tag, tag_text) = match (self.edition.is_example(each), refused.is_none()) {
                    (false, _) => ("", ""),
                    (true, true) => ("valid", "accepted"),
                    (true, false) => ("invalid", "refused"),
                };
                json!({
                    "href": format!("{}.html", name(each)), "title": self.edition.title_of(each), "tag": tag, "tag_text": tag_text,
                    "text": refused.map_or_else(|| first_sentence(self.edition.description_of(each)), |issue| format!("Raises {issue}.")),
                })
            });
            json!({"id": group.to_lowercase().replace(' ', "-"), "title": group, "entries": entries.collect::<Vec<_>>()})
        });
        let groups: Vec<Value> = groups.collect();
        let page = Page { title: heading, summary: summary.to_owned(), section: path, crumb: "" };
        File::text(path, self.page(path, "list.html", &page, context! { groups => data(groups) }))
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.edition
            .resources
            .iter()
            .filter(|each| text(each, "resourceType") == kind && !self.edition.is_example(each))
            .collect()
    }

    fn profiles(&self) -> File {
        let definitions = self.of("StructureDefinition");
        let (extensions, profiles): (Vec<&Value>, Vec<&Value>) =
            definitions.into_iter().partition(|each| text(each, "type") == "Extension");
        let (observations, others): (Vec<&Value>, Vec<&Value>) =
            profiles.into_iter().partition(|each| text(each, "type") == "Observation");
        let groups = vec![
            ("Measurements", observations),
            ("People, devices and records", others),
            ("Extensions", extensions),
            ("Operations", self.of("OperationDefinition")),
            ("Actors", self.of("CapabilityStatement")),
            ("The guide itself", self.of("ImplementationGuide")),
        ];
        self.list(
            "profiles.html",
            "Profiles",
            "What a resource must look like, derived from HL7's own profiles where there are any.",
            groups,
        )
    }

    fn terminology(&self) -> File {
        let groups = vec![
            ("Code systems", self.of("CodeSystem")),
            ("Value sets", self.of("ValueSet")),
            ("Concept maps", self.of("ConceptMap")),
        ];
        self.list(
            "terminology.html",
            "Terminology",
            "Codes of the guide, the sets that elements are bound to, and how measures are called elsewhere.",
            groups,
        )
    }

    fn programmes(&self) -> File {
        let groups = vec![
            ("Programmes", self.of("PlanDefinition")),
            ("Questionnaires", self.of("Questionnaire")),
            ("Indicators", self.of("Measure")),
        ];
        self.list(
            "programmes.html",
            "Programmes",
            "Packs of measures, schedules and questionnaires for the great chronic diseases.",
            groups,
        )
    }

    fn examples(&self) -> File {
        let mut groups: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for example in self.edition.examples() {
            groups.entry(text(example, "resourceType")).or_default().push(example);
        }
        self.list(
            "examples.html",
            "Examples",
            "Right ones to begin with, and wrong ones to test with: each wrong one names the issue that it must raise.",
            groups.into_iter().collect(),
        )
    }

    fn issues(&self) -> File {
        let issues = CATALOGUE.iter().map(|entry| {
            let examples = self.edition.examples().filter(|each| self.edition.refused_with(each) == Some(entry.code));
            let examples = examples
                .map(|each| json!({"href": format!("{}.html", name(each)), "text": self.edition.title_of(each)}));
            let cause = super::issues::cause(entry.id);
            json!({
                "code": entry.code, "severity": entry.severity.code(), "kind": entry.kind, "cause": cause,
                "remedy": entry.remedy, "examples": examples.collect::<Vec<_>>(),
                "words": format!("{} {} {} {cause}", entry.code, entry.kind, entry.remedy).to_lowercase(),
            })
        });
        let issues: Vec<Value> = issues.collect();
        let summary = "Everything that the gateway can object to: why it happens and what to do.".to_owned();
        let page = Page { title: "Issues", summary, section: "issues.html", crumb: "" };
        File::text("issues.html", self.page("issues.html", "issues.html", &page, context! { issues => data(issues) }))
    }

    fn search(&self) -> File {
        let page = Page { title: "Search", summary: "Search the guide.".to_owned(), section: "search.html", crumb: "" };
        File::text("search.html", self.page("search.html", "search.html", &page, context! {}))
    }

    /// The page that explains what a word means; on a running gateway with an answer to it.
    pub fn explained(&self, query: &str, served: bool) -> String {
        let found: Vec<Value> =
            explain::explain(&self.edition, query).iter().map(|subject| self.subject(subject)).collect();
        let near = if found.is_empty() { explain::near(&self.edition, query) } else { Vec::new() };
        let summary = "What a code, an issue, a profile or a platform means here: rule, source, fix, and which countries take it.";
        let page = Page { title: "Explain", summary: summary.to_owned(), section: "explain.html", crumb: "" };
        self.page(
            "explain.html",
            "explain.html",
            &page,
            context! { query, served, found => data(found), near => data(near) },
        )
    }

    fn subject(&self, subject: &Subject) -> Value {
        let facts = subject.facts.iter().map(|(label, text)| {
            let (href, _) = if text.contains("://") { self.links.find(text) } else { (None, String::new()) };
            let piece = if href.is_some() { Piece::link(text, href) } else { Piece::text(text.clone()) };
            piece.labelled(label)
        });
        let facts: Vec<Piece> = facts.collect();
        let tables: Vec<Value> = subject
            .tables
            .iter()
            .map(|table| {
                let rows: Vec<Vec<Piece>> =
                    table.rows.iter().map(|row| row.iter().map(|cell| Piece::text(cell.clone())).collect()).collect();
                json!({"title": table.title, "head": table.head, "rows": rows})
            })
            .collect();
        json!({"title": subject.title, "facts": facts, "tables": tables})
    }

    fn resource(&self, resource: &Value) -> File {
        let kind = text(resource, "resourceType");
        let is_example = self.edition.is_example(resource);
        let section = match kind {
            _ if is_example => ("examples.html", "Examples"),
            "CodeSystem" | "ValueSet" | "ConceptMap" => ("terminology.html", "Terminology"),
            "PlanDefinition" | "Questionnaire" | "Measure" => ("programmes.html", "Programmes"),
            _ => ("profiles.html", "Profiles"),
        };
        let heading = self.edition.title_of(resource);
        let description = self.edition.description_of(resource);
        let page = Page { title: &heading, summary: first_sentence(description), section: section.0, crumb: section.1 };
        // The snapshot is most of a definition; whoever wants it takes it home.
        let code = render::raw(highlight::json(resource));
        let facts = resources::facts(resource, &self.links);
        let description = render::markdown(description);
        let file = name(resource);
        let path = format!("{file}.html");
        let html = if self.is_profile(resource) {
            let snapshot = self.elements(resource);
            let views = tree::views(resource, &snapshot, &self.links);
            let (_, base) = self.links.find(text(resource, "baseDefinition"));
            let parts = context! {
                description, base, code,
                name => &file,
                facts => data(facts),
                key => data(views.key),
                differential => data(views.differential),
                elements => snapshot.len(),
                snapshot => format!("{file}{SNAPSHOT}.html"),
                bindings => data(self.bindings(&snapshot)),
                invariants => data(invariants(&snapshot, |key| views.rules.contains(key))),
                examples => data(self.examples_of(resource)),
            };
            self.page(&path, "profile.html", &page, parts)
        } else {
            let refused = self.edition.refused_with(resource);
            let tables = resources::tables(resource, &self.links);
            self.page(&path, "resource.html", &page, context! { description, code, name => &file, facts => data(facts), refused => data(refused), tables => data(tables) })
        };
        File::text(&path, html)
    }

    fn elements(&self, definition: &Value) -> Vec<Value> {
        match self.edition.full(definition)["snapshot"]["element"].take() {
            Value::Array(elements) => elements,
            _ => Vec::new(),
        }
    }

    /// All elements of a profile, and every rule that holds for them.
    fn snapshot(&self, definition: &Value) -> File {
        let snapshot = self.elements(definition);
        let heading = format!("{}: all elements", self.edition.title_of(definition));
        let summary = "Everything that holds, inherited rules included.".to_owned();
        let page = Page { title: &heading, summary, section: "profiles.html", crumb: "Profiles" };
        let parts = context! {
            name => format!("{}.html", name(definition)),
            title => self.edition.title_of(definition),
            snapshot => data(tree::all(definition, &snapshot, &self.links)),
            invariants => data(invariants(&snapshot, |_| true)),
        };
        let path = format!("{}{SNAPSHOT}.html", name(definition));
        File::text(&path, self.page(&path, "snapshot.html", &page, parts))
    }

    fn bindings(&self, snapshot: &[Value]) -> Vec<Vec<Piece>> {
        let rows = snapshot.iter().filter_map(|element| {
            let set = tree::binding(element, &self.links)?;
            let strength = text(&element["binding"], "strength");
            let tag = if strength == "required" { "error" } else { "" };
            (strength != "example")
                .then(|| vec![Piece::code(text(element, "id")), Piece::tag(strength, tag), set.labelled("")])
        });
        rows.collect()
    }

    fn examples_of(&self, definition: &Value) -> Vec<Vec<Piece>> {
        let canonical = text(definition, "url");
        let claims = |example: &&Value| links::texts(&example["meta"], "profile").any(|each| each == canonical);
        let uses =
            |example: &&Value| text(definition, "type") == "Extension" && example.to_string().contains(canonical);
        let rows = self.edition.examples().filter(|each| claims(each) || uses(each)).map(|example| {
            let refused = self.edition.refused_with(example);
            let outcome = match refused {
                None => Piece::tag("accepted", "valid"),
                Some(issue) => Piece::tag(issue, "invalid"),
            };
            let link = Piece::link(&self.edition.title_of(example), Some(format!("{}.html", name(example))));
            vec![link, outcome, Piece::text(self.edition.description_of(example))]
        });
        rows.collect()
    }

    fn index(&self) -> String {
        let resources = self.edition.resources.iter().map(|each| Entry {
            title: self.edition.title_of(each),
            url: format!("{}.html", name(each)),
            kind: if self.edition.is_example(each) { "Example" } else { text(each, "resourceType") }.to_owned(),
            text: first_sentence(self.edition.description_of(each)),
        });
        let issues = CATALOGUE.iter().map(|entry| Entry {
            title: entry.code.to_owned(),
            url: format!("issues.html#{}", entry.code),
            kind: "Issue".to_owned(),
            text: entry.remedy.to_owned(),
        });
        let measures = overview::measures().map(|(key, codes, category)| Entry {
            url: format!("measures.html#{key}"),
            title: key,
            kind: "Measure".to_owned(),
            text: format!("{category}: {codes}"),
        });
        let entries: Vec<Entry> = resources.chain(issues).chain(measures).collect();
        format!("window.searchIndex = {};\n", serde_json::to_string(&entries).unwrap_or_default())
    }
}

fn invariants(snapshot: &[Value], wanted: impl Fn(&str) -> bool) -> Vec<Vec<Piece>> {
    let mut rows = Vec::new();
    for element in snapshot {
        let own = |each: &&Value| !tree::is_everywhere(text(each, "key")) && wanted(text(each, "key"));
        for constraint in items(element, "constraint").filter(own) {
            let severity = text(constraint, "severity");
            let tag = if severity == "error" { "error" } else { "warning" };
            rows.push(vec![
                Piece::code(text(constraint, "key")),
                Piece::code(text(element, "id")),
                Piece::tag(severity, tag),
                Piece::text(text(constraint, "human")),
                Piece::code(text(constraint, "expression")),
            ]);
        }
    }
    rows
}

/// The first sentence of a description.
fn first_sentence(text: &str) -> String {
    let text = text.trim();
    let end = text.find(". ").map_or(text.len(), |index| index + 1);
    text[..end].lines().collect::<Vec<_>>().join(" ")
}
