//! What the page of a resource shows besides its source: facts of its kind, and its content as tables.

use serde_json::Value;

use super::links::{Links, items, text, texts};
use super::piece::{Piece, Table};

/// What every definition says of itself.
pub(super) fn facts(resource: &Value, links: &Links) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut say = |label: &str, piece: Piece| {
        if !piece.is_empty() {
            out.push(piece.labelled(label));
        }
    };
    say("Canonical", Piece::code(text(resource, "url")));
    say("Version", Piece::text(text(resource, "version")));
    say("Status", Piece::text(text(resource, "status")));
    say("Type", Piece::text(text(resource, "type")));
    if let Some(base) = resource["baseDefinition"].as_str() {
        let (href, name) = links.find(base);
        say("Based on", Piece::link(&name, href));
    }
    for context in items(resource, "context") {
        say("May stand at", Piece::code(text(context, "expression")));
    }
    for profile in texts(&resource["meta"], "profile") {
        let (href, name) = links.find(profile);
        say("Claims", Piece::link(&name, href));
    }
    if let Some(set) = resource["valueSet"].as_str() {
        let (href, name) = links.find(set);
        say("Value set of all its codes", Piece::link(&name, href));
    }
    say("Copyright", Piece::text(text(resource, "copyright")));
    out
}

/// The content of those kinds that are read as tables.
pub(super) fn tables(resource: &Value, links: &Links) -> Vec<Table> {
    let tables = match text(resource, "resourceType") {
        "CodeSystem" => vec![concepts(resource)],
        "ValueSet" => vec![includes(resource, links, "include"), includes(resource, links, "exclude")],
        "ConceptMap" => vec![mappings(resource)],
        "Questionnaire" => vec![questions(resource, links)],
        "PlanDefinition" => vec![actions(resource, links), goals(resource)],
        "Measure" => vec![populations(resource)],
        "OperationDefinition" => vec![taken(resource, "in"), taken(resource, "out")],
        "CapabilityStatement" => vec![interactions(resource, links), searches(resource)],
        "ImplementationGuide" => vec![contents(resource, links)],
        _ => Vec::new(),
    };
    tables.into_iter().flatten().collect()
}

fn concepts(system: &Value) -> Option<Table> {
    fn walk(concepts: &Value, depth: usize, rows: &mut Vec<Vec<Piece>>) {
        for concept in items(concepts, "concept") {
            let indent = "\u{2003}".repeat(depth);
            rows.push(vec![
                Piece::code(format!("{indent}{}", text(concept, "code"))),
                Piece::text(text(concept, "display")),
                Piece::text(text(concept, "definition")),
            ]);
            walk(concept, depth + 1, rows);
        }
    }
    let mut rows = Vec::new();
    walk(system, 0, &mut rows);
    Table::new("Codes", &["Code", "Display", "Meaning"], rows)
}

fn includes(set: &Value, links: &Links, what: &str) -> Option<Table> {
    let mut rows = Vec::new();
    for part in items(&set["compose"], what) {
        let (href, name) = links.find(text(part, "system"));
        let system = Piece::link(&name, href);
        for concept in items(part, "concept") {
            rows.push(vec![system.clone(), Piece::code(text(concept, "code")), Piece::text(text(concept, "display"))]);
        }
        for filter in items(part, "filter") {
            let rule = ["property", "op", "value"].map(|each| text(filter, each)).join(" ");
            rows.push(vec![system.clone(), Piece::code(rule), Piece::default()]);
        }
        for canonical in texts(part, "valueSet") {
            let (href, name) = links.find(canonical);
            rows.push(vec![Piece::text("value set"), Piece::link(&name, href), Piece::default()]);
        }
        if part.get("concept").is_none() && part.get("filter").is_none() && !system.is_empty() {
            rows.push(vec![system, Piece::text("all codes"), Piece::default()]);
        }
    }
    let title = if what == "include" { "Included" } else { "Excluded" };
    Table::new(title, &["Code system", "Codes", "Display"], rows)
}

fn mappings(map: &Value) -> Option<Table> {
    let mut rows = Vec::new();
    for group in items(map, "group") {
        for element in items(group, "element") {
            for target in items(element, "target") {
                rows.push(vec![
                    Piece::code(text(element, "code")),
                    Piece::text(text(target, "equivalence")),
                    Piece::code(format!("{}#{}", text(group, "target"), text(target, "code"))),
                    Piece::text(text(target, "display")),
                ]);
            }
        }
    }
    Table::new("Mappings", &["From", "Relation", "To", "Display"], rows)
}

fn questions(form: &Value, links: &Links) -> Option<Table> {
    fn walk(items_of: &Value, depth: usize, links: &Links, rows: &mut Vec<Vec<Piece>>) {
        for item in items(items_of, "item") {
            let answers = match item["answerValueSet"].as_str() {
                Some(canonical) => {
                    let (href, name) = links.find(canonical);
                    Piece::link(&name, href)
                }
                None => Piece::text(
                    items(item, "answerOption")
                        .map(|option| {
                            super::tree::literal(
                                option.as_object().and_then(|each| each.values().next_back()).unwrap_or(&Value::Null),
                            )
                        })
                        .collect::<Vec<_>>()
                        .join(", "),
                ),
            };
            let indent = "\u{2003}".repeat(depth);
            rows.push(vec![
                Piece::code(format!("{indent}{}", text(item, "linkId"))),
                Piece::text(text(item, "text")),
                Piece::text(text(item, "type")),
                Piece::text(if item["required"] == true { "yes" } else { "" }),
                answers,
            ]);
            walk(item, depth + 1, links, rows);
        }
    }
    let mut rows = Vec::new();
    walk(form, 0, links, &mut rows);
    Table::new("Questions", &["Link id", "Text", "Type", "Required", "Answers"], rows)
}

fn actions(plan: &Value, links: &Links) -> Option<Table> {
    let rows = items(plan, "action").map(|action| {
        let timing = &action["timingTiming"]["repeat"];
        let every = match (timing["frequency"].as_u64(), timing["period"].as_f64(), text(timing, "periodUnit")) {
            (Some(times), Some(period), unit) => often(times, period, unit),
            _ => String::new(),
        };
        let codes: Vec<&str> =
            items(action, "code").flat_map(|each| items(each, "coding")).map(|each| text(each, "code")).collect();
        let measured = match action["definitionCanonical"].as_str() {
            Some(canonical) => {
                let (href, name) = links.find(canonical);
                Piece::link(&name, href)
            }
            None => Piece::code(codes.join(", ")),
        };
        vec![Piece::text(text(action, "title")), measured, Piece::text(every)]
    });
    Table::new("Actions", &["Action", "Measure or questionnaire", "How often"], rows.collect())
}

/// `twice a day`, in words for the small numbers that schedules have.
fn often(times: u64, period: f64, unit: &str) -> String {
    let unit = match unit {
        "h" => "hour",
        "d" => "day",
        "wk" => "week",
        "mo" => "month",
        "a" => "year",
        other => other,
    };
    let times = match times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    };
    if (period - 1.0).abs() < f64::EPSILON {
        format!("{times} a {unit}")
    } else {
        format!("{times} in {period} {unit}s")
    }
}

fn goals(plan: &Value) -> Option<Table> {
    let rows = items(plan, "goal").map(|goal| {
        let targets = items(goal, "target").map(|target| {
            let bound = |name: &str| target["detailRange"][name].get("value").map(Value::to_string);
            let unit = ["low", "high"]
                .iter()
                .map(|each| text(&target["detailRange"][*each], "code"))
                .find(|unit| !unit.is_empty());
            let range = match (bound("low"), bound("high")) {
                (Some(low), Some(high)) => format!("{low} to {high}"),
                (Some(low), None) => format!("at least {low}"),
                (None, Some(high)) => format!("at most {high}"),
                (None, None) => super::tree::literal(&target["detailQuantity"]),
            };
            format!("{}: {range} {}", super::tree::literal(&target["measure"]), unit.unwrap_or_default())
        });
        vec![Piece::text(text(&goal["description"], "text")), Piece::code(targets.collect::<Vec<_>>().join(", "))]
    });
    Table::new("Goals", &["Goal", "Target"], rows.collect())
}

fn populations(measure: &Value) -> Option<Table> {
    let groups = items(measure, "group").flat_map(|group| items(group, "population"));
    let rows = groups.map(|population| {
        let code = items(&population["code"], "coding").next().map(|coding| text(coding, "code"));
        vec![Piece::text(code.unwrap_or_default()), Piece::code(text(&population["criteria"], "expression"))]
    });
    Table::new("Populations", &["Population", "Criteria (FHIRPath)"], rows.collect())
}

/// What an operation is given, or gives; parts stand below what they are of.
fn taken(operation: &Value, usage: &str) -> Option<Table> {
    fn walk(parameters: Vec<&Value>, member: &str, depth: usize, rows: &mut Vec<Vec<Piece>>) {
        for parameter in parameters {
            let indent = "\u{2003}".repeat(depth);
            let count = format!("{}..{}", parameter["min"], text(parameter, "max"));
            rows.push(vec![
                Piece::code(format!("{indent}{}", text(parameter, "name"))),
                Piece::text(count),
                Piece::text(text(parameter, "type")),
                Piece::text(text(parameter, "documentation")),
            ]);
            walk(items(parameter, member).collect(), member, depth + 1, rows);
        }
    }
    let mut rows = Vec::new();
    let parameters = items(operation, "parameter").filter(|parameter| text(parameter, "use") == usage);
    walk(parameters.collect(), "part", 0, &mut rows);
    Table::new(if usage == "in" { "Takes" } else { "Gives" }, &["Parameter", "How many", "Type", "Meaning"], rows)
}

fn interactions(statement: &Value, links: &Links) -> Option<Table> {
    let mut rows = Vec::new();
    for rest in items(statement, "rest") {
        for resource in items(rest, "resource") {
            let codes: Vec<&str> = items(resource, "interaction").map(|each| text(each, "code")).collect();
            let profile = text(resource, "profile");
            let (href, name) = links.find(profile);
            rows.push(vec![
                Piece::text(text(resource, "type")),
                Piece::text(codes.join(", ")),
                if profile.is_empty() { Piece::default() } else { Piece::link(&name, href) },
            ]);
        }
    }
    Table::new("Interactions", &["Type", "Interactions", "Profile"], rows)
}

fn searches(statement: &Value) -> Option<Table> {
    let mut rows = Vec::new();
    for rest in items(statement, "rest") {
        for resource in items(rest, "resource") {
            for parameter in items(resource, "searchParam") {
                rows.push(vec![
                    Piece::text(text(resource, "type")),
                    Piece::code(text(parameter, "name")),
                    Piece::text(text(parameter, "type")),
                    Piece::text(text(parameter, "documentation")),
                ]);
            }
        }
    }
    Table::new("Search parameters", &["Type", "Parameter", "Kind", "Meaning"], rows)
}

fn contents(guide: &Value, links: &Links) -> Option<Table> {
    let rows = items(&guide["definition"], "resource").map(|entry| {
        let reference = text(&entry["reference"], "reference");
        vec![
            Piece::link(text(entry, "name"), links.page(reference)),
            Piece::code(reference),
            Piece::text(text(entry, "description")),
        ]
    });
    Table::new("Resources", &["Name", "Reference", "Description"], rows.collect())
}
