//! What it costs to tell a national system a measurement in its own shape: `cargo bench --bench packs`.
//!
//! A stored Observation, parsed, becomes its part of a request by the templates of a country pack, alone and a hundred in one
//! request. CPU time of one thread; nothing is asserted about speed, and a request that does not tell every measurement ends
//! the run.

mod clock;
mod kernel;

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::{Context, anyhow, ensure};
use mhealth_gateway::fhir::tree::{Document, Element, json};
use mhealth_gateway::national::{Measured, Message, Settings, Shelf};

use clock::micros;
use kernel::peak_memory_mb;

/// Packs, with a measure that they take and what an operator says.
type Asked = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);
const PACKS: [Asked; 3] = [
    ("eu-r4", "8867-4", "/min", &[("persons", "urn:oid:1.2.3")]),
    ("fi-kanta", "29463-7", "kg", &[("persons", "urn:oid:1.2.3")]),
    ("fr-ens", "29463-7", "kg", &[("publisher", "urn:oid:1.2.3"), ("devices", "urn:oid:1.2.4")]),
];

const PERSON: &str =
    r#"{"resourceType":"Patient","id":"p","identifier":[{"system":"urn:oid:1.2.3","value":"linked"}]}"#;
const DEVICE: &str = r#"{"resourceType":"Device","id":"d","manufacturer":"Example","modelNumber":"S-1"}"#;

fn observation(number: usize, code: &str, unit: &str) -> anyhow::Result<Document> {
    let text = format!(
        r#"{{"resourceType":"Observation","id":"o{number}","meta":{{"versionId":"1","lastUpdated":"2026-05-04T07:00:01Z"}},
        "status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},
        "subject":{{"reference":"Patient/p"}},"effectiveDateTime":"2026-05-04T07:00:00+02:00",
        "valueQuantity":{{"value":71.5,"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#
    );
    json::parse(text).map_err(|issue| anyhow!(issue.text))
}

fn main() -> anyhow::Result<()> {
    let shelf = Shelf::default();
    let beside = [PERSON, DEVICE].map(json::parse);
    let [person, device] = beside.map(|one| one.map_err(|issue| anyhow!(issue.text)));
    let (person, device) = (person?, device?);
    for (name, code, unit, said) in PACKS {
        let pack = shelf.find(name).with_context(|| format!("there is no pack {name}"))?;
        let said: BTreeMap<String, String> =
            said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::of(pack, &said).map_err(|wrong| anyhow!(wrong.join("; ")))?;
        let many = pack.request.most.min(100);
        let documents: Vec<Document> =
            (0..many).map(|number| observation(number, code, unit)).collect::<anyhow::Result<_>>()?;
        let measured: Vec<Measured<'_>> = documents
            .iter()
            .map(|one| Measured {
                observation: Element::root(one),
                device: Some(Element::root(&device)),
                app: None,
                contexts: &[],
            })
            .collect();
        for count in [1, many] {
            let message = Message {
                measured: &measured[..count],
                person: Some(Element::root(&person)),
                settings: &settings,
                key: &[7; 32],
            };
            let told = pack.request(&message, &[]).map_err(|told| anyhow!(told.text))?;
            ensure!(told.entries.iter().flatten().count() == count, "{name}: not every measurement is told");
            let each = micros(|| drop(black_box(pack.request(black_box(&message), &[]))))? / count as f64;
            println!("  {name:10} {count:4} at once {each:8.3} µs each, {:9.0} a second", 1e6 / each);
            if many == 1 {
                break;
            }
        }
    }
    println!("{:.1} MB at most", peak_memory_mb()?);
    Ok(())
}
