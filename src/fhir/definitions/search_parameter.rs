//! A SearchParameter as the search floor needs it: what it is called, what it means, what it reads.

use crate::fhir::tree::Element;

/// `SearchParameter.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl SearchKind {
    /// Code of <http://hl7.org/fhir/search-param-type>.
    pub fn code(self) -> &'static str {
        match self {
            SearchKind::Number => "number",
            SearchKind::Date => "date",
            SearchKind::String => "string",
            SearchKind::Token => "token",
            SearchKind::Reference => "reference",
            SearchKind::Composite => "composite",
            SearchKind::Quantity => "quantity",
            SearchKind::Uri => "uri",
            SearchKind::Special => "special",
        }
    }
}

#[derive(Clone, Debug)]
pub struct SearchParameter {
    pub url: String,
    pub code: String,
    /// Resource types that it applies to.
    pub base: Vec<String>,
    pub kind: SearchKind,
    /// FHIRPath over the resource; may list one expression a base type, joined by `|`. Empty for special ones.
    pub expression: String,
    /// Resource types that a reference parameter may point to.
    pub targets: Vec<String>,
}

impl SearchParameter {
    pub fn read(root: Element<'_>) -> Option<SearchParameter> {
        let listed = |name| root.all(name).filter_map(|each| each.text()).map(str::to_owned).collect();
        Some(SearchParameter {
            url: root.text_of("url")?.to_owned(),
            code: root.text_of("code")?.to_owned(),
            base: listed("base"),
            kind: match root.text_of("type")? {
                "number" => SearchKind::Number,
                "date" => SearchKind::Date,
                "string" => SearchKind::String,
                "token" => SearchKind::Token,
                "reference" => SearchKind::Reference,
                "composite" => SearchKind::Composite,
                "quantity" => SearchKind::Quantity,
                "uri" => SearchKind::Uri,
                "special" => SearchKind::Special,
                _ => return None,
            },
            expression: root.text_of("expression").unwrap_or_default().to_owned(),
            targets: listed("target"),
        })
    }
}
