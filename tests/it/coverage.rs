//! What the platforms' types become: the guide's table, the mappings and the guide's profiles say the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use mhealth_gateway::devices::{self, Formats, Pack, Record, Sender};
use mhealth_gateway::fhir::outcome::{Id, Issue, has_errors};
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::{Value, json};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(guide::registry()));

fn pack(name: &str) -> std::sync::Arc<Pack> {
    Formats::default().named(name).unwrap().clone()
}

fn converted(pack: &Pack, sent: &Value) -> Vec<Record> {
    let sender = Sender { subject: "Patient/1", zone: None };
    devices::convert(pack, &devices::read(sent.to_string()).unwrap(), &sender, 1000).unwrap()
}

fn errors(observation: &str) -> Vec<Issue> {
    let document = json::parse(observation).unwrap();
    let issues = VALIDATOR.check(Element::root(&document), &Options::default()).issues;
    issues.into_iter().filter(|issue| has_errors(std::slice::from_ref(issue))).collect()
}

/// Rows of `profiles/source-types.csv`: type, and whether something becomes of it.
fn table(source: &str) -> BTreeMap<String, bool> {
    let text = include_str!("../../profiles/source-types.csv");
    let rows = text.lines().filter_map(|line| line.strip_prefix(source)?.strip_prefix(','));
    rows.map(|row| {
        let mut fields = row.splitn(4, ',');
        let (name, measures) = (fields.next().unwrap(), fields.next().unwrap());
        (name.to_ascii_lowercase(), !measures.is_empty())
    })
    .collect()
}

/// The table promises what the mapping keeps, and the mapping keeps nothing that the table refuses.
#[test]
fn the_table_of_types_and_the_mappings_agree() {
    // A type that the table takes by another way than a record's kind.
    let elsewhere = |source: &str, name: &str| {
        source == "healthkit"
            && (name.starts_with("scoredassessment")
                || [
                    "bloodpressuresystolic",
                    "bloodpressurediastolic",
                    "hkelectrocardiogramtype",
                    "hkdatatypeidentifierheartbeatseries",
                    "heartbeatseries",
                    "stateofmind",
                    "workoutactivitytype",
                    "numberofalcoholicbeverages",
                ]
                .contains(&name))
    };
    for (source, strip) in [
        ("health-connect", &[][..]),
        ("healthkit", &["HKQuantityTypeIdentifier", "HKCategoryTypeIdentifier", "HKCorrelationTypeIdentifier"]),
    ] {
        let pack = pack(source);
        let bare = |kind: &str| {
            let bare = strip.iter().find_map(|prefix| kind.strip_prefix(prefix)).unwrap_or(kind);
            bare.to_ascii_lowercase()
        };
        let kinds: Vec<String> = pack.kinds().map(|(kind, _)| bare(kind)).collect();
        let rows = table(source);
        for (name, taken) in &rows {
            let mapped = kinds.contains(name);
            assert!(
                mapped == *taken || elsewhere(source, name),
                "{source} {name}: the table says {taken}, the mapping {mapped}"
            );
        }
        for kind in kinds.iter().filter(|kind| !kind.starts_with("hkworkout")) {
            assert!(rows.contains_key(kind), "{source} {kind} has no row");
        }
    }
}

/// A value of each type of Health Connect's, by its name.
fn filled(name: &str, kind: &str) -> Value {
    match kind {
        "Energy" => json!({"inKilocalories": 120.5, "inKilojoules": 504.172}),
        "Temperature" => json!({"inCelsius": 36.6}),
        "Power" => json!({"value": 80, "unit": "watts"}),
        "BloodGlucose" => json!({"inMillimolesPerLiter": 5.4, "inMilligramsPerDeciliter": 97.3}),
        "Pressure" => json!({"inMillimetersOfMercury": if name == "systolic" { 121 } else { 79 }}),
        "Mass" if ["mass", "weight"].contains(&name) => json!({"value": 15.2, "unit": "kilograms"}),
        "Mass" => json!({"value": 1.5, "unit": "grams"}),
        "Length" => json!({"inMeters": if name == "height" { 1.78 } else { 120.5 }}),
        "Volume" => json!({"inMilliliters": 250, "inLiters": 0.25}),
        "HeartRateSample[]" => {
            json!([{"time": "2026-01-15T07:00:00Z", "beatsPerMinute": 61}, {"time": "2026-01-15T07:01:00Z", "beatsPerMinute": 62}])
        }
        "SpeedSample[]" => json!([{"time": "2026-01-15T07:00:00Z", "speed": {"inMetersPerSecond": 1.3}}]),
        "StepsCadenceSample[]" => json!([{"time": "2026-01-15T07:00:00Z", "rate": 101.5}]),
        "SleepStage[]" => json!([
            {"startTime": "2026-01-15T06:30:00Z", "endTime": "2026-01-15T07:00:00Z", "stage": 4},
            {"startTime": "2026-01-15T07:00:00Z", "endTime": "2026-01-15T07:20:00Z", "stage": 5},
            {"startTime": "2026-01-15T07:20:00Z", "endTime": "2026-01-15T07:30:00Z", "stage": 1},
        ]),
        "number" => json!(match name {
            "percentage" => 21,
            "beatsPerMinute" => 55,
            "rate" => 14,
            "count" | "floors" => 12,
            "heartRateVariabilityMillis" => 42,
            "vo2MillilitersPerMinuteKilogram" => 41,
            _ => 1,
        }),
        _ => json!("text"),
    }
}

/// Every record type of Health Connect becomes Observations that are valid by our guide, or is refused with a reason.
#[test]
fn every_type_of_health_connect_is_answered() {
    let suites = std::env::var_os("MHEALTH_SUITES").map_or_else(|| PathBuf::from("../shared/suites"), PathBuf::from);
    let file = suites.join("mhealth/health-connect/record-types.json");
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing: set MHEALTH_SUITES", file.display()));
    let types: Value = serde_json::from_str(&text).unwrap();
    let (pack, rows) = (pack("health-connect"), table("health-connect"));
    let types = types["records"].as_object().unwrap();
    assert!(types.len() >= 35, "the suite has shrunk: {}", types.len());
    for (name, shape) in types {
        let kind = name.strip_suffix("Record").unwrap();
        let mut record = json!({
            "recordType": kind,
            "metadata": {
                "id": format!("id-{kind}"), "recordingMethod": 2, "dataOrigin": "org.example.app",
                "device": {"manufacturer": "Example", "model": "Watch 5", "type": 1},
            },
        });
        let zone = json!({"id": "+01:00", "totalSeconds": 3600});
        if shape["extends"] == "InstantaneousRecord" {
            record["time"] = json!("2026-01-15T07:30:00Z");
            record["zoneOffset"] = zone;
        } else {
            record["startTime"] = json!("2026-01-15T06:30:00Z");
            record["endTime"] = json!("2026-01-15T07:30:00Z");
            record["startZoneOffset"] = zone.clone();
            record["endZoneOffset"] = zone;
        }
        for field in shape["fields"].as_array().unwrap() {
            let (name, kind) = (field["name"].as_str().unwrap(), field["type"].as_str().unwrap());
            if !["recordType", "startZoneOffset", "endZoneOffset", "laps", "segments", "exerciseRoute"].contains(&name)
            {
                record[name] = filled(name, kind);
            }
        }
        if kind == "OxygenSaturation" {
            record["percentage"] = json!(97);
        }
        let records = converted(&pack, &json!({"records": [record]}));
        let taken = rows[&kind.to_ascii_lowercase()];
        for told in &records {
            if let Some(observation) = &told.observation {
                assert!(taken, "{kind}");
                // Of forty nutrients three are taken, and the sender is told.
                let lost: Vec<Id> = told.issues.iter().map(|issue| issue.id).filter(|_| kind != "Nutrition").collect();
                assert_eq!(lost, [], "{kind}");
                assert_eq!(errors(observation), [], "{kind}: {observation}");
                assert!(observation.contains("/StructureDefinition/mh-"), "{kind} claims no profile: {observation}");
                let local = observation.contains("+01:00")
                    || observation.contains("07:00:00Z")
                    || observation.contains("07:01:00Z");
                assert!(local, "{kind} lost its offset: {observation}");
            } else {
                assert!(!taken, "{kind}: {:?}", told.issues);
                assert_eq!(told.issues[0].id, Id::DeviceTypeLeftOut, "{kind}: {:?}", told.issues);
            }
        }
    }
}

/// Every quantity of HealthKit, as a bridge sends it, in the unit that HealthKit gives by default.
#[test]
fn every_quantity_of_healthkit_is_answered() {
    let suites = std::env::var_os("MHEALTH_SUITES").map_or_else(|| PathBuf::from("../shared/suites"), PathBuf::from);
    let file = suites.join("mhealth/healthkit-on-fhir/Sources/HealthKitOnFHIR/Resources/HKSampleMapping.json");
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing: set MHEALTH_SUITES", file.display()));
    let known: Value = serde_json::from_str(&text).unwrap();
    let (pack, rows) = (pack("healthkit"), table("healthkit"));
    let value = |unit: &str, name: &str| match (unit, name) {
        ("%", "PeripheralPerfusionIndex") => 0.05,
        ("%", "BodyFatPercentage") => 0.21,
        ("%", _) => 0.97,
        ("degC" | "kcal" | "kcal/hr*kg", _) => 36.5,
        ("ms", _) => 48.0,
        ("in", _) => 60.0,
        ("lb", _) => 150.0,
        ("L/min", _) => 410.0,
        ("l", "DietaryWater") => 0.3,
        ("l", _) => 3.2,
        ("count/min", "RespiratoryRate") => 14.0,
        ("count/min", _) => 66.0,
        ("count", "BodyMassIndex") => 23.5,
        ("m/s", _) => 1.2,
        ("mL/kg*min", _) => 41.0,
        ("mg/dL", _) => 98.0,
        _ => 3.0,
    };
    let samples = known["HKQuantitySamples"].as_object().unwrap();
    assert!(samples.len() >= 100, "the suite has shrunk: {}", samples.len());
    let mut kept = 0;
    for (name, mapping) in samples {
        let bare = name.strip_prefix("HKQuantityTypeIdentifier").unwrap();
        let unit = mapping["unit"]["hkunit"].as_str().unwrap();
        let record = json!({
            "uuid": format!("u-{bare}"), "type": name, "unit": unit, "value": value(unit, bare),
            "startDate": "2026-01-15T08:30:00+01:00", "endDate": "2026-01-15T08:40:00+01:00",
            "sourceName": "Watch", "device": {"name": "Apple Watch", "manufacturer": "Apple Inc.", "hardware": "Watch7,1"},
            "metadata": {"HKWasUserEntered": "0"},
        });
        for told in converted(&pack, &json!([record])) {
            if let Some(observation) = &told.observation {
                kept += 1;
                assert_eq!(told.issues, [], "{bare}");
                assert_eq!(errors(observation), [], "{bare}: {observation}");
                assert!(observation.contains("/StructureDefinition/mh-"), "{bare} claims no profile: {observation}");
            } else {
                let listed = rows.get(&bare.to_ascii_lowercase());
                let pair = bare.starts_with("BloodPressure") || bare == "NumberOfAlcoholicBeverages";
                assert!(listed != Some(&true) || pair, "{bare}: {:?}", told.issues);
                let ids = [Id::DeviceTypeLeftOut, Id::DeviceSchemaUnknown];
                assert!(ids.contains(&told.issues[0].id), "{bare}: {:?}", told.issues);
            }
        }
    }
    assert!(kept >= 35, "{kept}");
}
