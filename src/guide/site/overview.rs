//! Pages about what stands in tables: measures, countries, ethics, changes.

use std::collections::BTreeSet;

use minijinja::{Value as Context, context};
use serde::Serialize;
use serde_json::{Value, json};

use super::piece::Piece;
use super::render::data;
use super::{Page, Site, render};
use crate::fhir::validate::measures::{self, Measure};
use crate::guide::File;
use crate::guide::acceptance::{self, Acceptance, Platform};
use crate::guide::changes::{Change, Changes, What};
use crate::guide::ethics::{CLAUSES, Held};

pub(super) fn page(site: &Site, path: &str) -> Option<File> {
    match path {
        "measures.html" => Some(measure_page(site)),
        "countries.html" => Some(countries(site)),
        "sources.html" => Some(sources(site)),
        "ethics.html" => Some(ethics(site)),
        _ => None,
    }
}

/// Key, codes and category of each measure.
pub(super) fn measures() -> impl Iterator<Item = (String, String, &'static str)> {
    measures::all().iter().map(|measure| {
        let codes = measure.codes.iter().map(|each| each.code).collect::<Vec<_>>().join(" ");
        (measure.key.clone(), codes, measure.category)
    })
}

fn option(value: &str, label: &str) -> Value {
    json!({"value": value, "label": label})
}

/// A row that can be filtered.
#[derive(Serialize)]
struct Row {
    id: String,
    /// What a search for words looks at, in lower case.
    words: String,
    /// What the filters look at.
    data: Value,
    cells: Vec<Vec<Piece>>,
}

fn row(id: &str, words: &str, data: Value, cells: Vec<Vec<Piece>>) -> Row {
    Row { id: id.to_owned(), words: words.to_lowercase(), data, cells }
}

/// What a measure is found by.
fn words(measure: &Measure) -> String {
    let codes: Vec<&str> = measure.codes.iter().map(|each| each.code).collect();
    format!("{} {} {}", measure.key, measure.category, codes.join(" "))
}

fn categories() -> Vec<Value> {
    let categories: BTreeSet<&str> = measures::all().iter().map(|each| each.category).collect();
    categories.into_iter().map(|each| option(each, each)).collect()
}

/// A page of rows that can be filtered, and what stands below them.
fn filtered(
    site: &Site,
    page: &Page<'_>,
    filters: &Value,
    head: &[impl Serialize],
    rows: &[Row],
    outro: &Context,
) -> File {
    let parts = context! { filters => data(filters), head => data(head), rows => data(rows), outro };
    File::text(page.section, site.page(page.section, "filtered.html", page, parts))
}

fn measure_page(site: &Site) -> File {
    let all = measures::all();
    let rows = all.iter().map(|measure| {
        let codes = measure.codes.iter().map(|each| Piece::code(each.code).labelled(each.system));
        let profiles = measure.profiles.iter().map(|name| {
            let (href, title) = site.links.find(&site.edition.profile_url(name));
            Piece::link(&title, href)
        });
        let units = measure.units.iter().map(|unit| Piece::code(unit.code));
        let listed = measure.answer.listed().into_iter().flat_map(|answers| &answers.list);
        let answered = std::iter::once(Piece::text(crate::guide::measures::answered(measure)));
        let answered =
            answered.chain(listed.map(|one| Piece::code(format!("{} {}", one.code, one.text)).labelled(&one.system)));
        let units: Vec<Piece> = units.chain(answered.filter(|piece| !piece.is_empty())).collect();
        let range =
            |(low, high): (rust_decimal::Decimal, rust_decimal::Decimal)| Piece::text(format!("{low} to {high}"));
        let (hard, soft) =
            (measure.units.iter().map(|unit| range(unit.hard)), measure.units.iter().map(|unit| range(unit.soft)));
        let cells = vec![
            vec![Piece::text(measure.key.clone())],
            vec![Piece::text(measure.category)],
            codes.collect(),
            profiles.collect(),
            units,
            hard.collect(),
            soft.collect(),
            vec![Piece::text(crate::guide::measures::sources(measure.source))],
            crate::guide::measures::verified(measure).into_iter().flat_map(verification).collect(),
        ];
        row(&measure.key, &words(measure), json!({"category": measure.category}), cells)
    });
    let rows: Vec<Row> = rows.collect();
    let filters = json!([{"label": "Category", "name": "category", "options": categories()}]);
    let page = Page {
        title: "Measures",
        summary: "Units and ranges that every value is held to. Outside the possible range it is refused, outside the usual one taken with a warning; units are compared by what they mean. What has no unit is answered with the codes that are listed, or has parts that are measures themselves.".to_owned(),
        section: "measures.html",
        crumb: "",
    };
    let head = [
        "Measure",
        "Category",
        "Codes",
        "Profiles",
        "Unit or answer",
        "Possible",
        "Usual",
        "Source",
        "LOINC verified by",
    ];
    filtered(site, &page, &filters, &head, &rows, &Context::from(""))
}

/// Where a code was found besides, or that it was not.
fn verification(text: &'static str) -> Vec<Piece> {
    match text.split_once(": ") {
        Some((doubt, reason)) => vec![Piece::tag(doubt, "warning"), Piece::text(reason)],
        None => vec![Piece::text(text)],
    }
}

fn countries(site: &Site) -> File {
    let platforms = acceptance::platforms();
    let of = |platform: &Platform, measure: &Measure| -> Vec<&'static Acceptance> {
        acceptance::all().iter().filter(|line| line.platform == platform.id && line.measure == measure.key).collect()
    };
    let mut order: Vec<&Measure> = measures::all().iter().collect();
    // What many take comes first.
    order.sort_by_key(|measure| {
        std::cmp::Reverse(platforms.iter().filter(|each| !of(each, measure).is_empty()).count())
    });
    let rows = order.into_iter().map(|measure| {
        let mut takers = Vec::new();
        let mut cells = vec![vec![Piece::link(&measure.key, Some(format!("measures.html#{}", measure.key)))]];
        for platform in platforms {
            let taken = of(platform, measure);
            let cell: Vec<Piece> = taken.iter().flat_map(|line| said(line)).collect();
            if taken.iter().any(|line| !line.is_refused()) {
                takers.push(platform.id);
            }
            cells.push(if cell.is_empty() { vec![Piece::text("–")] } else { cell });
        }
        row(&measure.key, &words(measure), json!({"platform": takers.join(" "), "category": measure.category}), cells)
    });
    let rows: Vec<Row> = rows.collect();
    let filters = json!([
        {"label": "Taken by", "name": "platform", "options": platforms.iter().map(|each| option(each.id, &format!("{}: {}", each.country_name, each.name))).collect::<Vec<_>>()},
        {"label": "Category", "name": "category", "options": categories()},
    ]);
    let mut head = vec!["Measure".to_owned()];
    head.extend(platforms.iter().map(|each| each.country_name.to_owned()));
    let mut sources = String::from(
        "## Sources\n\n| Country | Platform | Who calls | FHIR | Status | Source |\n|---|---|---|---|---|---|\n",
    );
    for each in platforms {
        sources.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            each.country_name, each.name, each.direction, each.fhir, each.status, each.source
        ));
    }
    let page = Page {
        title: "Countries",
        summary: "Which national platform takes which measure, in which code and unit, by itself or within another. A dash means that it has no place for it.".to_owned(),
        section: "countries.html",
        crumb: "",
    };
    filtered(site, &page, &filters, &head, &rows, &render::table(&sources))
}

/// Where each type of phones and device formats goes.
fn sources(site: &Site) -> File {
    let page = Page {
        title: "Types of phones and device formats",
        summary: "Where each type of HealthKit, Health Connect and Open mHealth goes: measure, profile, or the reason why not.".to_owned(),
        section: "measures.html",
        crumb: "Measures",
    };
    // Its own heading is the page's, and what it links to is a page beside it.
    let text = crate::guide::sources::page().replace("(measures.md)", "(measures.html)");
    let text = text.split_once('\n').map_or("", |(_, rest)| rest);
    File::text("sources.html", site.page("sources.html", "text.html", &page, context! { text => render::table(text) }))
}

fn said(line: &Acceptance) -> Vec<Piece> {
    if line.is_refused() {
        return vec![Piece::tag("refused", "error"), Piece::text(line.note)];
    }
    let mut pieces = vec![Piece::code(line.code), Piece::code(line.unit)];
    match line.as_part() {
        Some(part) => pieces.push(Piece::text(part)),
        None if line.form != "quantity" => pieces.push(Piece::text(line.form)),
        None => {}
    }
    pieces.push(Piece::text(line.note));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn ethics(site: &Site) -> File {
    let rows = CLAUSES.iter().map(|clause| {
        let held = match clause.held {
            Held::ByTests(tests) => tests.iter().map(|test| Piece::code(*test)).collect(),
            Held::ByConfiguration(_) => vec![Piece::code("mhealth-gateway ethics check")],
        };
        let cells = vec![
            vec![Piece::text(clause.title)],
            vec![Piece::text(clause.text)],
            vec![Piece::text(clause.source)],
            vec![Piece::tag(clause.status(), "enforced")],
            held,
        ];
        let words = format!("{} {} {}", clause.id, clause.title, clause.text);
        row(clause.id, &words, json!({"status": clause.status()}), cells)
    });
    let rows: Vec<Row> = rows.collect();
    let options: Vec<Value> = ["enforced", "checked"].iter().map(|each| option(each, each)).collect();
    let filters = json!([{"label": "Status", "name": "status", "options": options}]);
    let page = Page {
        title: "Ethics",
        summary: "What the gateway promises about the data of a person, and what holds it to that: a test that runs with every change, or a check of the configuration.".to_owned(),
        section: "ethics.html",
        crumb: "",
    };
    let head = ["Clause", "Promise", "Source", "Status", "Held by"];
    filtered(site, &page, &filters, &head, &rows, &Context::from(""))
}

/// What changed from version to version, the latest first.
pub(super) fn changes(site: &Site, all: &[Changes]) -> File {
    let page = Page {
        title: "Changes",
        summary: "What changed from version to version of the guide, told by comparing them.".to_owned(),
        section: "changes.html",
        crumb: "",
    };
    let groups = |changes: &Changes| -> Vec<Value> {
        let entry = |change: &Change| {
            let page = format!("{}.html", change.address.replacen('/', "-", 1));
            // What is gone is read where it was.
            let href = match change.what {
                What::Removed => None,
                What::Added | What::Changed(_) => site.links.page(&change.address).map(|_| page),
            };
            let details: &[String] = if let What::Changed(details) = &change.what { details } else { &[] };
            json!({"title": change.title, "kind": change.kind(), "href": href, "details": details})
        };
        let of = |wanted: fn(&What) -> bool| changes.list.iter().filter(move |each| wanted(&each.what)).map(entry);
        let lists = [
            ("New", of(|what| matches!(what, What::Added)).collect::<Vec<_>>()),
            ("Changed", of(|what| matches!(what, What::Changed(_))).collect()),
            ("Gone", of(|what| matches!(what, What::Removed)).collect()),
        ];
        let lists = lists.into_iter().filter(|(_, entries)| !entries.is_empty());
        lists.map(|(title, entries)| json!({"title": title, "entries": entries})).collect()
    };
    let newest = all.first().map(|changes| changes.to.clone());
    let versions: Vec<Value> = all
        .iter()
        .map(|changes| {
            json!({
                "from": changes.from, "to": changes.to, "current": Some(&changes.to) == newest.as_ref(),
                "groups": groups(changes),
            })
        })
        .collect();
    let first = all.last().map_or_else(|| site.edition.version().to_owned(), |changes| changes.from.clone());
    let parts = context! { versions => data(versions), first };
    File::text("changes.html", site.page("changes.html", "changes.html", &page, parts))
}
