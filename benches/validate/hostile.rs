//! Shapes that a hostile or careless sender would choose: whatever is compared with everything else, a thousandfold.

use std::fmt::Write;

/// What is repeated, the text before it, one repetition, and the text behind them. `%` in a repetition is its number.
pub struct Shape {
    pub name: &'static str,
    before: &'static str,
    each: &'static str,
    between: &'static str,
    after: &'static str,
}

impl Shape {
    pub fn of(&self, count: usize) -> String {
        let mut text = String::from(self.before);
        for at in 0..count {
            if at > 0 {
                text.push_str(self.between);
            }
            let mut parts = self.each.split('%');
            text.push_str(parts.next().unwrap_or_default());
            for part in parts {
                write!(text, "{at}{part}").expect("a String takes whatever is written to it");
            }
        }
        text.push_str(self.after);
        text
    }
}

const fn list(name: &'static str, before: &'static str, each: &'static str, after: &'static str) -> Shape {
    Shape { name, before, each, between: ",", after }
}

/// A profile that slices `category` a hundredfold.
pub const SLICED: &str = "urn:bench:sliced";

pub fn sliced_profile() -> String {
    let mut elements = String::from(
        r#"{"id":"Observation","path":"Observation"},{"id":"Observation.category","path":"Observation.category",
        "slicing":{"discriminator":[{"type":"pattern","path":"$this"}],"rules":"open"}}"#,
    );
    for at in 0..100 {
        let slice = write!(
            elements,
            r#",{{"id":"Observation.category:s{at}","path":"Observation.category","sliceName":"s{at}","min":0,"max":"*",
            "patternCodeableConcept":{{"coding":[{{"system":"urn:bench:s","code":"c{at}"}}]}}}}"#
        );
        slice.expect("a String takes whatever is written to it");
    }
    format!(
        r#"{{"resourceType":"StructureDefinition","url":"{SLICED}","name":"Sliced","status":"draft","kind":"resource",
        "abstract":false,"type":"Observation","derivation":"constraint",
        "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Observation","differential":{{"element":[{elements}]}}}}"#
    )
}

pub const SHAPES: &[Shape] = &[
    list(
        "contained, each referred to",
        r#"{"resourceType":"List","status":"current","mode":"working","contained":["#,
        r##"{"resourceType":"Patient","id":"p%","link":[{"other":{"reference":"#p%"},"type":"seealso"}]}"##,
        "]}",
    ),
    list(
        "contained, none referred to",
        r#"{"resourceType":"List","status":"current","mode":"working","contained":["#,
        r#"{"resourceType":"Patient","id":"p%"}"#,
        "]}",
    ),
    list(
        "contained of one id",
        r#"{"resourceType":"List","status":"current","mode":"working","contained":["#,
        r#"{"resourceType":"Patient","id":"p"}"#,
        "]}",
    ),
    list(
        "entries of one fullUrl",
        r#"{"resourceType":"Bundle","type":"collection","entry":["#,
        r#"{"fullUrl":"urn:uuid:00000000-0000-4000-8000-000000000000","resource":{"resourceType":"Patient",
        "link":[{"other":{"reference":"urn:uuid:00000000-0000-4000-8000-000000000000"},"type":"seealso"}]}}"#,
        "]}",
    ),
    list(
        "entries that are all wrong",
        r#"{"resourceType":"Bundle","type":"collection","entry":["#,
        r#"{"fullUrl":"x%","resource":{"resourceType":"Observation","statuss":"final","valueQuantity":{"value":"1"}}}"#,
        "]}",
    ),
    list(
        "codes that nobody knows",
        r#"{"resourceType":"Bundle","type":"collection","entry":["#,
        r#"{"fullUrl":"http://a.b/Condition/c%","resource":{"resourceType":"Condition","id":"c%","subject":{"display":"x"},
        "severity":{"coding":[{"system":"http://snomed.info/sct","code":"%"}]},
        "bodySite":[{"coding":[{"system":"http://nobody.org/x","code":"%"}]}]}}"#,
        "]}",
    ),
    list(
        "entries of a document",
        r#"{"resourceType":"Bundle","type":"document","identifier":{"system":"urn:bench:i","value":"1"},
        "timestamp":"2026-01-01T00:00:00Z","entry":[{"fullUrl":"http://a.b/Composition/1","resource":{
        "resourceType":"Composition","id":"1","status":"final","type":{"text":"x"},"date":"2026","author":[{"display":"x"}],
        "title":"x"}},"#,
        r#"{"fullUrl":"http://a.b/Patient/%","resource":{"resourceType":"Patient","id":"%",
        "link":[{"other":{"reference":"Patient/1"},"type":"seealso"}]}}"#,
        "]}",
    ),
    list("elements of one id", r#"{"resourceType":"Patient","name":["#, r#"{"id":"a","family":"x"}"#, "]}"),
    list(
        "codings of one concept",
        r#"{"resourceType":"Observation","status":"final","code":{"coding":["#,
        r#"{"system":"http://loinc.org","code":"1%-1"}"#,
        r#"]},"valueInteger":1}"#,
    ),
    list(
        "repetitions of 100 slices",
        r#"{"resourceType":"Observation","meta":{"profile":["urn:bench:sliced"]},"status":"final","code":{"text":"x"},
        "category":["#,
        r#"{"coding":[{"system":"urn:bench:s","code":"c99"}]}"#,
        "]}",
    ),
    list(
        "shadows of primitives",
        r#"{"resourceType":"Patient","name":[{"_given":["#,
        r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}"#,
        "]}]}",
    ),
    list(
        "extensions",
        r#"{"resourceType":"Patient","extension":["#,
        r#"{"url":"http://nobody.org/e%","valueString":"x"}"#,
        "]}",
    ),
    list(
        "components of a panel",
        r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
        "valueInteger":1,"component":["#,
        r#"{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,
        "unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}"#,
        "]}",
    ),
    list(
        "items of a questionnaire",
        r#"{"resourceType":"Questionnaire","url":"urn:bench:q","name":"Q","status":"active","item":["#,
        r#"{"linkId":"l%","text":"x","type":"boolean","enableWhen":[{"question":"l0","operator":"exists","answerBoolean":true}]}"#,
        "]}",
    ),
    list(
        "answers without questions",
        r#"{"resourceType":"QuestionnaireResponse","status":"completed","item":["#,
        r#"{"linkId":"l%","answer":[{"valueBoolean":true}]}"#,
        "]}",
    ),
    list(
        "concepts of a code system",
        r#"{"resourceType":"CodeSystem","url":"urn:bench:c","name":"C","status":"active","content":"complete","concept":["#,
        r#"{"code":"c%","display":"x"}"#,
        "]}",
    ),
    list(
        "codes of a value set",
        r#"{"resourceType":"ValueSet","url":"urn:bench:v","name":"V","status":"active","compose":{"include":[{
        "system":"http://loinc.org","concept":["#,
        r#"{"code":"c%","display":"x"}"#,
        "]}]}}",
    ),
    list(
        "mappings of a concept map",
        r#"{"resourceType":"ConceptMap","url":"urn:bench:m","name":"M","status":"active","group":[{"source":"urn:a",
        "target":"urn:b","element":["#,
        r#"{"code":"c%","target":[{"code":"d%","equivalence":"equal"}]}"#,
        "]}]}",
    ),
    list(
        "elements of a profile",
        r#"{"resourceType":"StructureDefinition","url":"urn:bench:p","name":"P","status":"draft","kind":"resource",
        "abstract":false,"type":"Patient","derivation":"constraint",
        "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient","differential":{"element":[
        {"id":"Patient","path":"Patient"},"#,
        r#"{"id":"Patient.extension:e%","path":"Patient.extension","sliceName":"e%","min":0}"#,
        "]}}",
    ),
    list(
        "resources of a capability",
        r#"{"resourceType":"CapabilityStatement","status":"draft","date":"2026","kind":"instance","fhirVersion":"4.0.1",
        "format":["json"],"implementation":{"description":"x"},"rest":[{"mode":"server","resource":["#,
        r#"{"type":"Patient","searchParam":[{"name":"p%","type":"string"}]}"#,
        "]}]}",
    ),
    list(
        "parts of parameters",
        r#"{"resourceType":"Parameters","parameter":["#,
        r#"{"name":"p","part":[{"name":"q","resource":{"resourceType":"Patient","id":"p%"}}]}"#,
        "]}",
    ),
    Shape {
        name: "tags of a narrative",
        before: r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">"#,
        each: r##"<p id=\"a%\"><a href=\"#a%\">x</a></p>"##,
        between: "",
        after: r#"</div>"}}"#,
    },
    Shape {
        name: "lines of markdown",
        before: r#"{"resourceType":"Questionnaire","name":"Q","status":"active","description":""#,
        each: r"`a <b \\< `` <https://a.b%\n",
        between: "",
        after: r#""}"#,
    },
    Shape {
        name: "blanks of a string",
        before: r#"{"resourceType":"Patient","name":[{"family":""#,
        each: "                                ",
        between: "",
        after: r#"x"}]}"#,
    },
    Shape {
        name: "base64 of an attachment",
        before: r#"{"resourceType":"Binary","contentType":"text/plain","data":""#,
        each: "YWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJj",
        between: "",
        after: r#""}"#,
    },
    Shape {
        name: "digits of a decimal",
        before: r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":0."#,
        each: "12345678901234567890123456789012",
        between: "",
        after: "}}",
    },
    Shape {
        name: "points of a series",
        before: r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org",
        "code":"41924-2"}]},"valueSampledData":{"origin":{"value":0,"unit":"/min","system":"http://unitsofmeasure.org",
        "code":"/min"},"period":1000,"dimensions":1,"data":""#,
        each: "61.5 E 62",
        between: " ",
        after: r#""}}"#,
    },
];
