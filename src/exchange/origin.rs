//! Of whom and from whom a resource is, as far as a routing table asks: where the person lives by her record, and to whom the
//! app belongs by its registration.

use super::Gateway;
use crate::fhir::tree::{Element, json};
use crate::policy::access::client::Client;
use crate::policy::routing::{Origin, Table};
use crate::store;

impl Gateway {
    /// What a table asks of the person and of the app; nothing is read that it does not ask for.
    pub async fn origin(&self, table: &Table, owner: &str, patient: &str) -> Result<Origin, store::Error> {
        let mut origin = Origin::default();
        if table.asks_person()
            && let Some(stored) = self.store.read("Patient", patient).await?.filter(|stored| !stored.deleted)
            && let Ok(document) = json::parse(stored.payload)
        {
            origin.residence = residence(Element::root(&document));
        }
        if table.asks_app() {
            let client = self.store.get_client(owner).await?.and_then(|text| Client::parse(&text).ok());
            if let Some(client) = client {
                (origin.tenant, origin.certified) = (client.tenant, client.certified);
            }
        }
        Ok(origin)
    }
}

/// Countries in which a person lives, by code, and their parts where the record has codes of them: `DE`, `DE-BY`.
pub fn residence(patient: Element<'_>) -> Vec<String> {
    let mut places = Vec::new();
    for address in patient.all("address").filter(|address| address.text_of("use") != Some("old")) {
        let Some(country) = address.text_of("country").filter(|country| country.len() == 2) else { continue };
        let country = country.to_ascii_uppercase();
        if let Some(state) = address.text_of("state") {
            let part = state.strip_prefix(&format!("{country}-")).unwrap_or(state);
            places.push(format!("{country}-{}", part.to_ascii_uppercase()));
        }
        places.push(country);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_lives_where_her_record_says_by_code() {
        let record = r#"{"resourceType": "Patient", "address": [
            {"country": "DE", "state": "BY"}, {"country": "at", "state": "AT-9"}, {"country": "Finland"},
            {"use": "old", "country": "FR"}, {"state": "BY"}]}"#;
        let document = json::parse(record).unwrap();
        assert_eq!(residence(Element::root(&document)), ["DE-BY", "DE", "AT-9", "AT"]);
    }
}
