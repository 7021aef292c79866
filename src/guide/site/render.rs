//! Templates and Markdown to HTML.

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use pulldown_cmark::{Event, Options, Parser, html};
use serde::Serialize;

const TEMPLATES: [(&str, &str); 13] = [
    ("page.html", include_str!("../templates/page.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("index.html", include_str!("../templates/index.html")),
    ("list.html", include_str!("../templates/list.html")),
    ("profile.html", include_str!("../templates/profile.html")),
    ("snapshot.html", include_str!("../templates/snapshot.html")),
    ("changes.html", include_str!("../templates/changes.html")),
    ("resource.html", include_str!("../templates/resource.html")),
    ("issues.html", include_str!("../templates/issues.html")),
    ("filtered.html", include_str!("../templates/filtered.html")),
    ("text.html", include_str!("../templates/text.html")),
    ("search.html", include_str!("../templates/search.html")),
    ("explain.html", include_str!("../templates/explain.html")),
];

/// The templates, compiled.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).expect("the templates are part of the program, and a test renders them");
    }
    environment
}

/// A page by its template.
pub(super) fn page(environment: &Environment<'_>, template: &str, context: Value) -> String {
    let template = environment.get_template(template).expect("every template is listed above");
    template.render(context).expect("the templates use what they are given, and a test renders every page")
}

/// Data as templates take it.
pub(super) fn data(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}

/// HTML that a template puts into the page as it is.
pub(super) fn raw(html: String) -> Value {
    Value::from_safe_string(html)
}

/// Markdown as HTML; HTML inside it stays text.
pub(super) fn markdown(text: &str) -> Value {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    raw(out)
}

/// Markdown whose tables may be wider than the page.
pub(super) fn table(text: &str) -> Value {
    let html = markdown(text).to_string();
    let mut out = String::with_capacity(html.len());
    for (index, part) in html.split("<table>").enumerate() {
        if index > 0 {
            // Regions are told apart by their names.
            out.push_str(&format!(
                "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table {index}\"><table>"
            ));
        }
        out.push_str(&part.replace("</table>", "</table></div>"));
    }
    raw(out)
}
