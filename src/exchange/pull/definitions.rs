//! The guide's definitions as resources: profiles, terminology, questionnaires. They concern nobody, so anybody may read
//! them, and nothing is decided or put on record.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::search::{Entry, Found};
use crate::exchange::{Gateway, Refusal};
use crate::fhir::outcome::{Id, has_errors};
use crate::fhir::search::{Query, Summary};
use crate::fhir::tree::Element;
use crate::guide::Definition;

impl Gateway {
    /// `GET [base]/[type]/[id]` of a definition.
    pub fn definition(&self, kind: &str, id: &str) -> Result<&'static Definition, Refusal> {
        Definition::all().iter().find(|each| each.kind == kind && each.id == id).ok_or_else(Refusal::not_found)
    }

    /// `GET [base]/[type]?…` of definitions.
    pub fn definitions(&self, kind: &str, pairs: &[(String, String)], lenient: bool) -> Result<Found, Refusal> {
        self.definitions_from(kind, pairs, lenient, 0)
    }

    /// The page that a `next` link names.
    pub fn definitions_page(&self, kind: &str, token: &str) -> Result<Found, Refusal> {
        let (from, pairs) = unpacked(token)
            .ok_or_else(|| Refusal::one(Id::PageUnknown, "", "The paging link is not one of this server's."))?;
        self.definitions_from(kind, &pairs, true, from)
    }

    fn definitions_from(
        &self,
        kind: &str,
        pairs: &[(String, String)],
        lenient: bool,
        from: usize,
    ) -> Result<Found, Refusal> {
        let (mut query, warnings) = Query::parse(kind, pairs, &self.registry, lenient);
        query.base = Some(self.base.clone());
        if has_errors(&warnings) {
            return Err(warnings.into());
        }
        let of_kind = Definition::all().iter().filter(|each| each.kind == kind);
        let hits: Vec<&Definition> =
            of_kind.filter(|each| query.matches(Element::root(&each.document), each.updated_ms)).collect();
        let is_count = query.summary == Summary::Count || query.count == Some(0);
        let limit = query.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let page = hits.iter().skip(from).take(if is_count { 0 } else { limit });
        let entries =
            page.map(|each| Entry { kind: kind.into(), id: each.id.clone(), payload: each.text.clone().into_bytes() });
        let next = (!is_count && from + limit < hits.len()).then(|| packed(from + limit, pairs));
        Ok(Found { entries: entries.collect(), total: Some(hits.len()), next, query: query.echo(), warnings })
    }
}

/// Where a page begins and what was asked, as the token of a link.
fn packed(from: usize, pairs: &[(String, String)]) -> String {
    let asked: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    BASE64_URL_SAFE_NO_PAD.encode(format!("{from}&{asked}"))
}

fn unpacked(token: &str) -> Option<(usize, Vec<(String, String)>)> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (from, asked) = text.split_once('&')?;
    Some((from.parse().ok()?, url::form_urlencoded::parse(asked.as_bytes()).into_owned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_where_and_what() {
        let pairs = vec![("name:contains".to_owned(), "a&b=c".to_owned())];
        assert_eq!(unpacked(&packed(20, &pairs)), Some((20, pairs)));
        assert_eq!(unpacked("%"), None);
        assert_eq!(unpacked(&BASE64_URL_SAFE_NO_PAD.encode("x&")), None);
    }
}
