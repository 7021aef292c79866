//! Who gave a consent in a person's name, and whether the person was old enough to give it alone.
//!
//! Below an age that each country sets between 13 and 16, the holder of parental responsibility consents (GDPR Article 8);
//! the ages are data (`profiles/age-of-consent.csv`). Whoever consents for another states what gives the right to, in a
//! RelatedPerson inside the Consent, since nothing else of relatives is known here. Dates of birth without a day are read
//! as late as they may mean, and dates of consent as early.

use serde::Deserialize;

use crate::fhir::outcome::{Id, Issue, Severity};
use crate::fhir::tree::Element;
use crate::fhir::validate::Reaction;

const AGES: &str = include_str!("../../../profiles/age-of-consent.csv");

/// Where relations are codes, and those of them who hold parental responsibility.
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const PARENTAL: [&str; 11] =
    ["PRN", "FTH", "MTH", "NPRN", "NFTH", "NMTH", "ADOPTP", "ADOPTF", "ADOPTM", "GESTM", "GUARD"];

/// What an operator says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// The country whose age counts (ISO 3166-1); without one, no age does.
    pub country: Option<Country>,
    /// What becomes of a consent that was given by or for somebody below that age, without a holder of parental
    /// responsibility.
    pub underage: Reaction,
    /// What becomes of a consent that somebody else gave who does not say as what.
    pub unrelated: Reaction,
}

impl Default for Proxies {
    fn default() -> Self {
        Proxies { country: None, underage: Reaction::Warn, unrelated: Reaction::Warn }
    }
}

/// A country whose age is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Country {
    age: u16,
}

impl TryFrom<String> for Country {
    type Error = String;

    fn try_from(code: String) -> Result<Country, String> {
        let mut rows = AGES.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
        let row = rows.find(|row| row.first() == Some(&code.as_str()));
        let age = row.and_then(|row| row.get(1)?.parse().ok());
        let unknown = || "a country (ISO 3166-1, such as DE) of profiles/age-of-consent.csv".to_owned();
        age.map(|age| Country { age }).ok_or_else(unknown)
    }
}

impl Proxies {
    /// What is doubtful about who gave a consent, for a person who was born then.
    pub fn issues(&self, consent: Element<'_>, born: Option<&str>) -> Vec<Issue> {
        let givers: Vec<Giver> = consent.all("performer").map(|performer| Giver::of(performer, consent)).collect();
        let mut issues = Vec::new();
        if givers.contains(&Giver::Unrelated) {
            let text = "Who gave it for the person is no RelatedPerson inside it that states the relationship.";
            issues.extend(issue(self.unrelated, "Consent.performer", text));
        }
        let given = consent.text_of("dateTime").and_then(|text| date(text, (1, 1)));
        let born = born.and_then(|text| date(text, (12, 31)));
        if let (Some(country), Some(given), Some(born)) = (self.country, given, born)
            && given < (born.0 + country.age, born.1, born.2)
            && !givers.contains(&Giver::Parental)
        {
            let text = "The person was below the age at which one consents alone, and no holder of parental responsibility \
                        gave it.";
            issues.extend(issue(self.underage, "Consent.performer", text));
        }
        issues
    }
}

fn issue(reaction: Reaction, path: &str, text: &str) -> Option<Issue> {
    let severity = match reaction {
        Reaction::Refuse => Severity::Error,
        Reaction::Warn => Severity::Warning,
        Reaction::Pass => return None,
    };
    Some(Issue { severity, ..Issue::new(Id::ConsentProxy, path, text) })
}

/// Who gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Giver {
    /// The person, or somebody whose right does not follow from a relationship.
    Other,
    Parental,
    Related,
    /// Somebody else, as nobody knows what.
    Unrelated,
}

impl Giver {
    fn of(performer: Element<'_>, consent: Element<'_>) -> Giver {
        let reference = performer.text_of("reference").unwrap_or_default();
        let Some(inside) = reference.strip_prefix('#') else {
            let typed = performer.text_of("type") == Some("RelatedPerson");
            let named = reference.split('/').any(|part| part == "RelatedPerson");
            return if typed || named { Giver::Unrelated } else { Giver::Other };
        };
        let found = consent.all("contained").find(|contained| contained.text_of("id") == Some(inside));
        let Some(related) = found.filter(|contained| contained.resource_type() == Some("RelatedPerson")) else {
            return Giver::Other;
        };
        let same = |name: &str, holder: Element<'_>| {
            holder.get(name).and_then(|patient| patient.text_of("reference")).map(str::to_owned)
        };
        let codings: Vec<Element<'_>> =
            related.all("relationship").flat_map(|relationship| relationship.all("coding")).collect();
        if codings.is_empty() || same("patient", related) != same("patient", consent) {
            return Giver::Unrelated;
        }
        let parental = codings.iter().any(|coding| {
            coding.text_of("system") == Some(ROLES)
                && coding.text_of("code").is_some_and(|code| PARENTAL.contains(&code))
        });
        if parental { Giver::Parental } else { Giver::Related }
    }
}

/// Year, month and day of a FHIR date or dateTime, with what it leaves open.
fn date(text: &str, open: (u16, u16)) -> Option<(u16, u16, u16)> {
    let mut parts = text.split(['-', 'T']);
    let year = parts.next()?.parse().ok()?;
    let mut next = |open: u16| parts.next().map_or(Some(open), |part| part.parse().ok());
    Some((year, next(open.0)?, next(open.1)?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fhir::tree::json as tree;

    fn related(code: Option<&str>, patient: &str) -> Value {
        let relationship = code.map(|code| json!([{"coding": [{"system": ROLES, "code": code}]}]));
        let mut related = json!({"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": patient}});
        if let Some(relationship) = relationship {
            related["relationship"] = relationship;
        }
        related
    }

    fn check(name: &str, performer: &Value, contained: Option<Value>, born: Option<&str>, expected: usize) {
        let mut body = json!({
            "resourceType": "Consent", "patient": {"reference": "Patient/1"}, "dateTime": "2026-06-15T10:00:00Z",
        });
        if !performer.is_null() {
            body["performer"] = json!([performer]);
        }
        if let Some(contained) = contained {
            body["contained"] = json!([contained]);
        }
        let document = tree::parse(body.to_string()).unwrap();
        let rules = |reaction| Proxies {
            country: Some(Country::try_from("DE".to_owned()).unwrap()),
            underage: reaction,
            unrelated: reaction,
        };
        for (reaction, severity) in [(Reaction::Warn, Severity::Warning), (Reaction::Refuse, Severity::Error)] {
            let issues = rules(reaction).issues(Element::root(&document), born);
            assert_eq!(issues.len(), expected, "{name}: {issues:?}");
            assert!(issues.iter().all(|issue| (issue.id, issue.severity) == (Id::ConsentProxy, severity)), "{name}");
        }
        assert!(rules(Reaction::Pass).issues(Element::root(&document), born).is_empty(), "{name}");
    }

    #[test]
    fn the_young_need_a_holder_of_parental_responsibility() {
        let by = json!({"reference": "#r"});
        let own = json!({"reference": "Patient/1"});
        check("sixteen today", &own, None, Some("2010-06-15"), 0);
        check("sixteen tomorrow", &own, None, Some("2010-06-16"), 1);
        check("in that month, somewhen", &own, None, Some("2010-06"), 1);
        check("in that year, somewhen", &own, None, Some("2010"), 1);
        check("long ago", &own, None, Some("1980"), 0);
        check("nobody knows when", &own, None, None, 0);
        check("by nobody in particular", &Value::Null, None, Some("2015-01-01"), 1);
        check("by the mother", &by, Some(related(Some("MTH"), "Patient/1")), Some("2015-01-01"), 0);
        check("by the sister", &by, Some(related(Some("SIS"), "Patient/1")), Some("2015-01-01"), 1);
        check("by another's mother", &by, Some(related(Some("MTH"), "Patient/2")), Some("2015-01-01"), 2);
        check("by a relative somewhere", &json!({"reference": "RelatedPerson/7"}), None, Some("2015-01-01"), 2);
    }

    #[test]
    fn whoever_consents_for_another_says_as_what() {
        let by = json!({"reference": "#r"});
        check("no relationship", &by, Some(related(None, "Patient/1")), Some("1940"), 1);
        check("a daughter", &by, Some(related(Some("DAU"), "Patient/1")), Some("1940"), 0);
        check("by address", &json!({"reference": "https://a.example/fhir/RelatedPerson/7"}), None, None, 1);
        check("by type", &json!({"type": "RelatedPerson", "display": "x"}), None, None, 1);
        check("an organization", &json!({"reference": "Organization/1"}), None, None, 0);
    }

    #[test]
    fn every_age_is_one_that_the_regulation_allows() {
        let codes: Vec<&str> = AGES.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
        assert!(codes.is_sorted() && codes.len() >= 30);
        for code in codes {
            assert!((13..=16).contains(&Country::try_from(code.to_owned()).unwrap().age), "{code}");
        }
        assert!(Country::try_from("XX".to_owned()).is_err());
    }
}
