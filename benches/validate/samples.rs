//! Resources that we wrote, of the sizes that devices send.

use std::fmt::Write;

/// A heart rate as an app sends it, about 1.2 KB.
pub fn heart_rate() -> String {
    observation("Observation/hr-1", "Patient/example", 72)
}

/// What is changed, from, to.
pub const DEFECTS: [(&str, &str, &str); 12] = [
    ("missing code", "\"code\": {\"coding\"", "\"bodySite\": {\"coding\""),
    ("status not of the set", "\"final\"", "\"finished\""),
    ("unit not of UCUM", "\"code\": \"/min\"", "\"code\": \"bpm\""),
    ("30 February", "2026-03-01T08:00:00+01:00", "2026-02-30"),
    ("date of another order", "2026-03-01T08:00:00+01:00", "01/03/2026"),
    ("unknown property", "\"status\"", "\"statuss\": \"final\", \"status\""),
    ("value as a string", "\"value\": 72", "\"value\": \"72\""),
    ("no category of vital signs", "\"code\": \"vital-signs\"", "\"code\": \"survey\""),
    ("no value (vs-2)", "\"valueQuantity\"", "\"bodySite\": {\"text\": \"wrist\"}, \"_method\""),
    ("code of another measure", "8867-4", "8480-6"),
    ("two values", "\"valueQuantity\"", "\"valueString\": \"72\", \"valueQuantity\""),
    ("empty array", "\"status\"", "\"note\": [], \"status\""),
];

fn observation(id: &str, patient: &str, value: u32) -> String {
    let id = id.rsplit('/').next().unwrap_or(id);
    format!(
        r#"{{
  "resourceType": "Observation",
  "id": "{id}",
  "meta": {{"profile": ["http://hl7.org/fhir/StructureDefinition/heartrate"]}},
  "identifier": [{{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0190d3f2-7c1e-7b6a-9a53-5f0c2b8e4a11"}}],
  "status": "final",
  "category": [{{
    "coding": [{{
      "system": "http://terminology.hl7.org/CodeSystem/observation-category",
      "code": "vital-signs",
      "display": "Vital Signs"
    }}],
    "text": "Vital signs"
  }}],
  "code": {{"coding": [{{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}}], "text": "Heart rate"}},
  "subject": {{"reference": "{patient}"}},
  "effectiveDateTime": "2026-03-01T08:00:00+01:00",
  "issued": "2026-03-01T08:00:02.517+01:00",
  "performer": [{{"reference": "{patient}"}}],
  "valueQuantity": {{
    "value": {value},
    "unit": "beats/minute",
    "system": "http://unitsofmeasure.org",
    "code": "/min"
  }},
  "device": {{"display": "Wrist-worn heart rate monitor"}}
}}"#
    )
}

/// A collection whose entries refer to its first one, each with a fullUrl of its own.
pub fn bundle(entries: usize) -> String {
    let mut text = String::from(r#"{"resourceType":"Bundle","type":"collection","entry":["#);
    text.push_str(
        r#"{"fullUrl":"urn:uuid:00000000-0000-4000-8000-000000000000","resource":{"resourceType":"Patient","active":true}}"#,
    );
    for at in 1..entries {
        let resource = observation("x", "urn:uuid:00000000-0000-4000-8000-000000000000", 60 + (at % 60) as u32)
            .replace("  \"id\": \"x\",\n", "");
        let written =
            write!(text, r#",{{"fullUrl":"urn:uuid:00000000-0000-4000-8000-{at:012x}","resource":{resource}}}"#);
        written.expect("a String takes whatever is written to it");
    }
    text.push_str("]}");
    text
}
