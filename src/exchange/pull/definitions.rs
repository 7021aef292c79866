//! The guide's definitions as resources: profiles, terminology, questionnaires. They concern nobody, so anybody may read
//! them, and nothing is decided or put on record.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::search::{Entry, Found};
use crate::exchange::{Gateway, Refusal};
use crate::fhir::ours;
use crate::fhir::outcome::{Id, has_errors};
use crate::fhir::search::{Query, Summary};
use crate::fhir::tree::Element;
use crate::guide::Definition;

/// A page ends with the definition that makes it larger than this: anybody may ask for pages.
const PAGE_BYTES: usize = 256 << 10;

impl Gateway {
    /// `GET [base]/[type]/[id]` of a definition.
    pub async fn definition(&self, kind: &str, id: &str) -> Result<String, Refusal> {
        let version = Definition::version_of(id);
        self.open_definitions(version).await?;
        let all = self.shelf.definitions(version).iter();
        let found = all.into_iter().find(|each| each.kind == kind && each.id == id);
        found.map(Definition::text).ok_or_else(Refusal::not_found)
    }

    /// `GET [base]/[type]?…` of definitions.
    pub async fn definitions(&self, kind: &str, pairs: &[(String, String)], lenient: bool) -> Result<Found, Refusal> {
        self.definitions_from(kind, pairs, lenient, 0).await
    }

    /// The page that a `next` link names.
    pub async fn definitions_page(&self, kind: &str, token: &str) -> Result<Found, Refusal> {
        let (from, pairs) = unpacked(token)
            .ok_or_else(|| Refusal::one(Id::PageUnknown, "", "The paging link is not one of this server's."))?;
        self.definitions_from(kind, &pairs, true, from).await
    }

    async fn definitions_from(
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
        if !query.links.is_empty() || !query.includes.is_empty() {
            let text = "Definitions are searched one by one, without chains, _has and includes.";
            return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
        }
        // Earlier versions are looked at when they are asked for.
        let is_asked = |version: &str| pairs.iter().any(|(name, value)| name == "version" && value.contains(version));
        let versions: Vec<&str> =
            self.shelf.versions().filter(|version| *version == ours::VERSION || is_asked(version)).collect();
        for version in &versions {
            self.open_definitions(version).await?;
        }
        let all = versions.iter().flat_map(|version| self.shelf.definitions(version));
        let hits: Vec<&Definition> = all
            .filter(|each| each.kind == kind && query.matches(Element::root(&each.document), each.updated_ms))
            .collect();
        let is_count = query.summary == Summary::Count || query.count == Some(0);
        let limit = query.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for each in hits.iter().skip(from).take(if is_count { 0 } else { limit }) {
            if bytes > PAGE_BYTES {
                break;
            }
            let payload = each.text().into_bytes();
            bytes += payload.len();
            entries.push(Entry { kind: kind.into(), id: each.id.clone(), payload, included: false });
        }
        let until = from + entries.len();
        let next = (!is_count && until < hits.len()).then(|| packed(until, pairs));
        Ok(Found { entries, total: Some(hits.len()), next, query: query.echo(), warnings })
    }

    /// Reads the definitions of a version, beside the threads that serve, if nobody did.
    async fn open_definitions(&self, version: &str) -> Result<(), Refusal> {
        let (shelf, version) = (Arc::clone(&self.shelf), version.to_owned());
        let opening = tokio::task::spawn_blocking(move || shelf.definitions(&version).len()).await;
        opening.map(|_| ()).map_err(|_| Refusal::one(Id::Internal, "", "The definitions cannot be read."))
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
