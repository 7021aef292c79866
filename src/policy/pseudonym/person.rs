//! What is told of a person to whom knows her by a pseudonym alone: the administrative gender and the decade of birth.
//!
//! The decade stands as its first year, and a label says that it was generalised. Nothing else of a Patient is told. What is
//! told of few persons only is told of none: groups are made by these two and by what is measured, and whoever lists an
//! export counts them.

use super::{LABEL, coding, member};
use crate::fhir::tree::Element;
use crate::fhir::tree::write::string;

/// Says that it was generalised (<http://terminology.hl7.org/CodeSystem/v3-ObservationValue>).
const ABSTRACTED: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "ABSTRED");

const GENDERS: [&str; 4] = ["female", "male", "other", "unknown"];

/// What groups persons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Traits {
    pub gender: Option<&'static str>,
    /// The first year of it.
    pub decade: Option<u16>,
}

impl Traits {
    pub fn of(patient: Element<'_>) -> Traits {
        let gender = patient.text_of("gender").and_then(|said| GENDERS.iter().find(|gender| **gender == said));
        let year = patient.text_of("birthDate").and_then(|date| date.get(..4)?.parse::<u16>().ok());
        Traits { gender: gender.copied(), decade: year.map(|year| year / 10 * 10) }
    }

    /// A Patient that says no more.
    pub fn patient(&self, id: &str) -> String {
        let mut out = String::from("{\"resourceType\":\"Patient\"");
        member("id", &mut out);
        string(id, &mut out);
        out.push_str(",\"meta\":{\"security\":[");
        coding(LABEL, &mut out);
        out.push(',');
        coding(ABSTRACTED, &mut out);
        out.push_str("]}");
        if let Some(gender) = self.gender {
            member("gender", &mut out);
            string(gender, &mut out);
        }
        if let Some(decade) = self.decade {
            member("birthDate", &mut out);
            string(&format!("{decade:04}"), &mut out);
        }
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fhir::tree::json::parse;

    #[test]
    fn a_person_is_a_gender_and_a_decade() {
        for (sent, gender, birth) in [
            (json!({"gender": "female", "birthDate": "1987-04-03"}), json!("female"), json!("1980")),
            (json!({"birthDate": "1990"}), Value::Null, json!("1990")),
            (json!({"gender": "Zerlina"}), Value::Null, Value::Null),
        ] {
            let mut patient = json!({
                "resourceType": "Patient", "id": "Zerlina", "name": [{"family": "Zerlina"}],
                "identifier": [{"value": "Zerlina"}], "address": [{"postalCode": "Zerlina"}], "deceasedBoolean": true
            });
            patient.as_object_mut().unwrap().extend(sent.as_object().unwrap().clone());
            let document = parse(patient.to_string()).unwrap();
            let text = Traits::of(Element::root(&document)).patient("there");
            let told: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&told["gender"], &told["birthDate"], &told["id"]), (&gender, &birth, &json!("there")));
            assert_eq!(told["meta"]["security"][1]["code"], "ABSTRED");
            assert!(!text.contains("Zerlina") && told.get("deceasedBoolean").is_none(), "{text}");
        }
    }
}
