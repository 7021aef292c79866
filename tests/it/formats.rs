//! What vendors' clouds and apps send, against the suites: every record becomes an Observation that is valid against the
//! guide, or is refused with its reason.
//!
//! Shimmer's own mappers say what their vendors' answers mean; what they say is compared field by field. The other
//! payloads come without an answer: what becomes of them stands in `formats/*.txt`, in words of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use mhealth_gateway::devices::{self, Formats, Record, Sender, Zone};
use mhealth_gateway::fhir::outcome::{Id, has_errors};
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::measures;
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::{Value, json};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(guide::registry()));

fn suite(name: &str) -> PathBuf {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let folder = suites.join("mhealth").join(name);
    assert!(folder.exists(), "{} is missing: set MHEALTH_SUITES", folder.display());
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The records of a body; none where it holds none. What is kept is valid against the guide, what is not says why.
fn converted(format: &str, text: &str, zone: Option<&str>) -> Vec<Record> {
    let formats = Formats::default();
    let pack = formats.named(format).unwrap();
    let sender = Sender { subject: "Patient/1", zone: zone.map(|name| Zone::get(name).unwrap()) };
    let records = match devices::convert(pack, &devices::read(text).unwrap(), &sender, 100_000) {
        Ok(records) => records,
        Err(issue) => {
            assert_eq!(issue.id, Id::DeviceRecord, "{format}: {}", issue.text);
            return Vec::new();
        }
    };
    for record in &records {
        let Some(observation) = &record.observation else {
            assert!(has_errors(&record.issues), "{format} {}: refused without a word", record.pointer);
            continue;
        };
        let document = json::parse(observation.as_str()).unwrap();
        let issues = VALIDATOR.check(Element::root(&document), &Options::default()).issues;
        let errors: Vec<String> = issues
            .iter()
            .filter(|issue| has_errors(std::slice::from_ref(issue)))
            .map(|issue| format!("{} {} {}", issue.id, issue.expression, issue.text))
            .collect();
        assert!(errors.is_empty(), "{format} {}: {errors:?}\n{observation}", record.pointer);
    }
    records
}

fn observations(records: &[Record]) -> Vec<(&'static str, Value)> {
    let read = |record: &Record| Some((record.measure?, serde_json::from_str(record.observation.as_ref()?).unwrap()));
    records.iter().filter_map(read).collect()
}

/// What became of a body, in a line: measures with how often, and issues.
fn told(records: &[Record]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        match record.measure {
            Some(measure) => *counts.entry(measure.to_owned()).or_default() += 1,
            None => {
                for issue in record.issues.iter().filter(|issue| has_errors(std::slice::from_ref(issue))) {
                    *counts.entry(format!("refused {}", issue.id)).or_default() += 1;
                }
            }
        }
    }
    let parts: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    if parts.is_empty() { "no records".to_owned() } else { parts.join(", ") }
}

/// Holds what became of named bodies against a committed list. A part of each suite is kept elsewhere, so a body that the
/// list does not have is only held to the rules of [`converted`].
fn as_listed(list: &str, name: &str, found: &BTreeMap<String, String>) {
    let listed: BTreeMap<&str, &str> =
        list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" => ")).collect();
    let mut wrong = String::new();
    for (body, outcome) in found {
        if listed.get(body.as_str()).is_some_and(|expected| expected != outcome) || listed.is_empty() {
            writeln!(wrong, "{body} => {outcome}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{name} says otherwise of:\n{wrong}");
    let gone: Vec<&&str> = listed.keys().filter(|body| !found.contains_key(**body)).collect();
    assert!(gone.is_empty(), "{name} lists what is not there: {gone:?}");
}

/// Open mHealth's schemas, with the measures that the guide's table has for them.
static MEASURES: LazyLock<BTreeMap<&'static str, BTreeSet<&'static str>>> = LazyLock::new(|| {
    let table = include_str!("../../profiles/source-types.csv");
    let rows = table.lines().filter_map(|line| line.strip_prefix("open-mhealth,omh:"));
    rows.map(|row| {
        let (schema, rest) = row.split_once(',').unwrap();
        (schema, rest.split(',').next().unwrap().split(' ').filter(|key| !key.is_empty()).collect())
    })
    .collect()
});

/// The schema that one of Shimmer's mappers makes, where it made nothing of which it could be seen.
fn schema_of(mapper: &str) -> Option<&'static str> {
    [
        ("HeartRate", "heart-rate"),
        ("StepCount", "step-count"),
        ("PhysicalActivity", "physical-activity"),
        ("SleepDuration", "sleep-duration"),
        ("SleepEpisode", "sleep-episode"),
        ("OxygenSaturation", "oxygen-saturation"),
        ("BloodPressure", "blood-pressure"),
        ("BloodGlucose", "blood-glucose"),
        ("BodyWeight", "body-weight"),
        ("BodyHeight", "body-height"),
        ("BodyMassIndex", "body-mass-index"),
        ("BodyTemperature", "body-temperature"),
        ("CaloriesBurned", "calories-burned"),
        ("Speed", "speed"),
    ]
    .into_iter()
    .find_map(|(part, schema)| mapper.contains(part).then_some(schema))
}

/// A number in the unit that its kind is compared in.
fn compared(value: &Value, unit: &str) -> Option<(f64, &'static str)> {
    let (factor, base) = match unit {
        "ms" => (0.001, "s"),
        "s" | "sec" => (1.0, "s"),
        "min" => (60.0, "s"),
        "h" => (3600.0, "s"),
        "d" => (86_400.0, "s"),
        "mm" => (0.001, "m"),
        "cm" => (0.01, "m"),
        "m" => (1.0, "m"),
        "km" => (1000.0, "m"),
        "mi" | "[mi_i]" => (1609.344, "m"),
        "in" | "[in_i]" => (0.0254, "m"),
        "g" => (0.001, "kg"),
        "kg" => (1.0, "kg"),
        "lb" | "[lb_av]" => (0.453_592_37, "kg"),
        "kcal" => (1.0, "kcal"),
        "beats/min" | "/min" => (1.0, "/min"),
        "mmHg" | "mm[Hg]" => (1.0, "mmHg"),
        "steps" | "{steps}" | "{steps}/d" => (1.0, "steps"),
        "%" => (1.0, "%"),
        "kg/m2" => (1.0, "kg/m2"),
        "m/s" => (1.0, "m/s"),
        "mg/dL" => (1.0, "mg/dL"),
        "mmol/L" => (1.0, "mmol/L"),
        "C" | "Cel" => (1.0, "C"),
        "{count}" => (1.0, "count"),
        _ => return None,
    };
    Some((value.as_f64()? * factor, base))
}

fn same(left: Option<(f64, &str)>, right: Option<(f64, &str)>) -> bool {
    let (Some((left, unit)), Some((right, other))) = (left, right) else { return false };
    unit == other && (left - right).abs() <= 1e-9 * left.abs().max(1.0)
}

fn quantity(quantity: &Value) -> Option<(f64, &'static str)> {
    compared(&quantity["value"], quantity["code"].as_str()?)
}

fn moment(text: &Value) -> Option<Timestamp> {
    text.as_str()?.parse().ok()
}

/// Start and end of what Open mHealth calls a time frame; equal for a point in time.
fn frame(frame: &Value) -> Option<(Timestamp, Timestamp)> {
    if let Some(at) = moment(&frame["date_time"]) {
        return Some((at, at));
    }
    let interval = &frame["time_interval"];
    let length = || {
        let (seconds, unit) = compared(&interval["duration"]["value"], interval["duration"]["unit"].as_str()?)?;
        (unit == "s").then(|| SignedDuration::from_secs_f64(seconds))
    };
    match (moment(&interval["start_date_time"]), moment(&interval["end_date_time"])) {
        (Some(start), Some(end)) => Some((start, end)),
        (Some(start), None) => Some((start, start + length()?)),
        (None, Some(end)) => Some((end - length()?, end)),
        (None, None) => None,
    }
}

fn effective(observation: &Value) -> Option<(Timestamp, Timestamp)> {
    if let Some(at) = moment(&observation["effectiveDateTime"]) {
        return Some((at, at));
    }
    Some((moment(&observation["effectivePeriod"]["start"])?, moment(&observation["effectivePeriod"]["end"])?))
}

/// The component of that measure.
fn component<'o>(observation: &'o Value, keys: &[&str]) -> Option<&'o Value> {
    let codes: BTreeSet<&str> = measures::all()
        .iter()
        .filter(|measure| keys.contains(&measure.key.as_str()))
        .flat_map(|measure| measure.codes.iter().map(|code| code.code))
        .collect();
    let components = observation["component"].as_array()?;
    let found = components.iter().find(|component| {
        let codings = component["code"]["coding"].as_array().unwrap();
        codings.iter().any(|coding| codes.contains(coding["code"].as_str().unwrap()))
    });
    found.map(|component| &component["valueQuantity"])
}

/// Whether the Observation says what the body of a data point says. The error names the field that differs.
fn says(vendor: &str, observation: &Value, body: &Value) -> Result<(), String> {
    for (field, expected) in body.as_object().unwrap() {
        let number = expected["unit"]
            .as_str()
            .map_or_else(|| compared(expected, "steps"), |unit| compared(&expected["value"], unit));
        let value = || quantity(&observation["valueQuantity"]);
        let part = |keys: &[&str]| component(observation, keys).and_then(quantity);
        let noted = |text: &str| {
            let notes = observation["note"].as_array().into_iter().flatten();
            notes.map(|note| note["text"].as_str().unwrap()).any(|note| note.contains(text))
        };
        let agrees = match field.as_str() {
            "effective_time_frame" => true,
            "systolic_blood_pressure" => same(part(&["systolic-bp"]), number),
            "diastolic_blood_pressure" => same(part(&["diastolic-bp"]), number),
            "latency_to_sleep_onset" => same(part(&["sleep-onset-latency"]), number),
            "light_sleep_duration" => same(part(&["sleep-light"]), number),
            "deep_sleep_duration" => same(part(&["sleep-deep"]), number),
            "rem_sleep_duration" => part(&["sleep-rem"]).is_none_or(|part| same(Some(part), number)),
            "number_of_awakenings" | "wakeup_count" => {
                same(part(&["sleep-awakenings"]).map(|(count, _)| (count, "steps")), number)
            }
            "distance" => {
                let part = part(&["distance-walk-run", "distance-cycling", "distance-swimming"]);
                part.map_or_else(|| noted(&expected["value"].to_string()), |part| same(Some(part), number))
            }
            // What Shimmer writes here for these two is a constant of its own source and not what was sent.
            "kcal_burned" if ["misfit", "moves"].contains(&vendor) => true,
            "kcal_burned" => {
                same(value().filter(|(_, unit)| *unit == "kcal").or_else(|| part(&["active-energy"])), number)
            }
            // The sender's own word for it, where it sends a word and no number.
            "activity_name" => {
                let text = &observation["valueCodeableConcept"]["text"];
                text.is_null() || text == expected
            }
            "user_notes" => noted(expected.as_str().unwrap()),
            "is_main_sleep" => noted(&format!("main sleep: {expected}")) || observation["note"].is_null(),
            // Nothing in the guide says these; what was sent of them stands in the notes.
            "sleep_maintenance_efficiency_percentage"
            | "latency_to_arising"
            | "reported_activity_intensity"
            | "temporal_relationship_to_medication"
            | "temporal_relationship_to_physical_activity" => true,
            "temporal_relationship_to_meal" => noted("") || observation["extension"].to_string().contains("meal-time"),
            _ => same(value(), number),
        };
        if !agrees {
            return Err(field.clone());
        }
    }
    Ok(())
}

/// Whether it is told of the same time. An episode of sleep leaves out the latencies before and after it.
fn same_time(observation: &Value, body: &Value) -> bool {
    let (Some((start, end)), Some((from, to))) = (effective(observation), frame(&body["effective_time_frame"])) else {
        return false;
    };
    let latency = |field: &str| {
        let (seconds, _) = compared(&body[field]["value"], body[field]["unit"].as_str()?)?;
        Some(SignedDuration::from_secs_f64(seconds))
    };
    let begins = start == from || latency("latency_to_sleep_onset").is_some_and(|latency| start + latency == from);
    begins && (end == to || latency("latency_to_arising").is_some_and(|latency| end - latency == to))
}

/// Kinds of movement that Shimmer calls activities and that are no exercise.
const CARRIED: [&str; 12] = [
    "transport",
    "underground",
    "car",
    "bus",
    "train",
    "tram",
    "airplane",
    "boat",
    "ferry",
    "funicular",
    "motorcycle",
    "in vehicle",
];

/// Why one of Shimmer's points has no Observation, where that is so on purpose.
fn left_out(schema: &str, body: &Value) -> bool {
    if schema != "physical-activity" {
        return false;
    }
    let name = body["activity_name"].as_str().unwrap().to_lowercase();
    let carried = CARRIED.contains(&name.as_str())
        || name.starts_with("still")
        || name.starts_with("unknown")
        || name.starts_with("tilting")
        || name == "meditation";
    // An exercise that has a beginning and no end is none of which anybody knows how long it was.
    carried || frame(&body["effective_time_frame"]).is_none_or(|(start, end)| start == end)
}

#[test]
fn shimmers_points_are_ours_field_by_field() {
    let folder = suite("shimmer");
    let runs: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let (mut points, mut wrong) = (0, String::new());
    for run in runs.as_array().unwrap() {
        let [vendor, fixture, mapper] = ["vendor", "fixture", "mapper"].map(|key| run[key].as_str().unwrap());
        let text = std::fs::read_to_string(folder.join("input").join(fixture)).unwrap();
        // Where a vendor writes local times without an offset, Shimmer takes them for UTC; Runkeeper's it refuses.
        let records = converted(vendor, &text, (vendor != "runkeeper").then_some("UTC"));
        let ours = observations(&records);
        let expected = run["dataPoints"].as_array().unwrap();
        if expected.is_empty()
            && let Some(schema) = schema_of(mapper)
        {
            let made = ours.iter().filter(|(measure, _)| MEASURES[schema].contains(measure)).count();
            if made > 0 {
                writeln!(wrong, "{mapper} {fixture}: {made} of {schema}, and none is expected").unwrap();
            }
        }
        for (index, point) in expected.iter().enumerate() {
            points += 1;
            let (schema, body) = (point["header"]["schema_id"]["name"].as_str().unwrap(), &point["body"]);
            let keys = &MEASURES[schema];
            let fits = |measure: &&str, observation: &Value| {
                keys.contains(*measure)
                    || (schema == "calories-burned" && component(observation, &["active-energy"]).is_some())
            };
            let same_time: Vec<&Value> = ours
                .iter()
                .filter(|(measure, observation)| fits(&measure, observation) && same_time(observation, body))
                .map(|(_, observation)| observation)
                .collect();
            let verdicts: Vec<String> =
                same_time.iter().filter_map(|observation| says(vendor, observation, body).err()).collect();
            if verdicts.len() == same_time.len() && !left_out(schema, body) {
                writeln!(
                    wrong,
                    "{mapper} {fixture} {index}: {} at that time, differing in {verdicts:?}: {body}",
                    same_time.len()
                )
                .unwrap();
            }
        }
    }
    assert!(points >= 50, "the suite has shrunk: {points}");
    assert!(wrong.is_empty(), "{wrong}");
}

/// Each literal of open-wearables' tests is what a vendor sent.
#[test]
fn payloads_of_vendors_become_observations_or_are_refused_with_a_reason() {
    let folder = suite("open-wearables/payloads");
    let mut found = BTreeMap::new();
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let list: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for literal in list.as_array().unwrap() {
            let context = literal["ctx"].as_str().unwrap_or_default();
            let Some(format) = vendor_of(&format!("{name} {context}")) else { continue };
            let data = literal["data"].to_string();
            let told = told(&converted(format, &data, Some("Europe/Berlin")));
            found.insert(format!("{name} {context} {}", data.len()), told);
        }
    }
    as_listed(include_str!("formats/open-wearables.txt"), "formats/open-wearables.txt", &found);
}

/// The vendor whose name stands there.
fn vendor_of(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let named = ["garmin", "oura", "polar", "suunto", "ultrahuman", "sensorbio", "fitbit", "withings"];
    named.into_iter().find(|vendor| text.contains(vendor))
}

#[test]
fn exports_of_health_auto_export_become_observations() {
    let folder = suite("apple-health-export/irvinlim-apple-health-ingester");
    let mut found = BTreeMap::new();
    for file in files(&folder) {
        let records = converted("health-auto-export", &std::fs::read_to_string(&file).unwrap(), None);
        found.insert(file.file_name().unwrap().to_str().unwrap().to_owned(), told(&records));
    }
    as_listed(include_str!("formats/health-auto-export.txt"), "formats/health-auto-export.txt", &found);
}

/// Tidepool's records against the Bundle that another converter made of the same ones: glucose and carbohydrates one by
/// one; insulin is no Observation. It tells times by the device's clock, which was wrong by what `conversionOffset` says;
/// here they are told as they were.
#[test]
fn tidepools_records_have_the_values_that_another_converter_gives_them() {
    let folder = suite("sensotrend-converter");
    let text = std::fs::read_to_string(folder.join("data.json")).unwrap();
    let sent: Value = serde_json::from_str(&text).unwrap();
    let records = converted("tidepool", &text, None);
    let bundle: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("bundle.json")).unwrap()).unwrap();
    let mut theirs = BTreeMap::new();
    for entry in bundle["entry"].as_array().unwrap() {
        let resource = &entry["resource"];
        if resource["resourceType"] == "Observation" {
            let id = resource["identifier"][1]["value"].as_str().unwrap().trim_start_matches("urn:uuid:").to_owned();
            theirs.insert(id, resource.clone());
        }
    }
    let shifts: BTreeMap<&str, i64> = sent
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| Some((record["guid"].as_str()?, record["conversionOffset"].as_i64()?)))
        .collect();
    for record in records.iter().filter(|record| record.observation.is_some()) {
        let ours: Value = serde_json::from_str(record.observation.as_ref().unwrap()).unwrap();
        let id = record.source_id.as_deref().unwrap();
        let expected = theirs.remove(id).unwrap_or_else(|| panic!("{id} is not in the Bundle"));
        let (value, unit) =
            (ours["valueQuantity"]["value"].as_f64().unwrap(), ours["valueQuantity"]["code"].as_str().unwrap());
        // They tell glucose as an amount of substance, to two digits.
        let value = if unit == "mg/dL" { value / 18.0156 } else { value };
        let told = expected["valueQuantity"]["value"].as_f64().unwrap();
        assert!((value - told).abs() < 0.0051, "{id}: {value} and not {told}");
        let (at, _) = effective(&ours).unwrap();
        let theirs = moment(&expected["effectiveDateTime"]).unwrap();
        assert_eq!(at, theirs - SignedDuration::from_millis(shifts[id]), "{id}");
    }
    assert!(theirs.is_empty(), "of the Bundle only: {:?}", theirs.keys());
}

/// The data points that JupyterHealth's exchange gives as examples.
#[test]
fn envelopes_of_ieee_1752_are_read() {
    let folder = suite("jupyterhealth-exchange/data/omh/examples/data-points");
    let all = files(&folder);
    assert!(!all.is_empty());
    for file in all {
        let records = converted("open-mhealth", &std::fs::read_to_string(&file).unwrap(), None);
        assert!(!records.is_empty(), "{}", file.display());
        for record in records.iter().filter(|record| record.observation.is_none()) {
            // One beat alone is no series of beats.
            assert_eq!(record.issues[0].id, Id::DeviceTypeLeftOut, "{}: {record:?}", file.display());
        }
    }
}

/// What has gone wrong elsewhere: one unit for another, one statistic for another, a difference for a temperature.
#[test]
fn known_pitfalls_are_avoided() {
    let one = |format: &str, sent: Value| {
        let records = converted(format, &sent.to_string(), Some("Europe/Madrid"));
        let ours = observations(&records);
        let told = ours.iter().map(|(measure, observation)| {
            let quantity = &observation["valueQuantity"];
            format!("{measure} {} {}", quantity["value"], quantity["code"].as_str().unwrap_or_default())
        });
        let refused =
            records.iter().filter(|record| record.observation.is_none()).map(|record| record.issues[0].id.to_string());
        told.chain(refused).collect::<Vec<_>>().join(", ")
    };
    let night = json!({"bedtime_start": "2026-01-14T23:00:00+01:00", "bedtime_end": "2026-01-15T07:30:00+01:00", "type": "long_sleep",
        "id": "n", "day": "2026-01-15", "total_sleep_duration": 27000, "time_in_bed": 30600, "average_hrv": 48});
    for (format, sent, expected) in [
        // Seconds stay seconds, and the variability of Oura is RMSSD while that of Ultrahuman is SDNN.
        ("oura", json!({"data": [night]}), "sleep-duration 27000 s, time-in-bed 30600 s, hrv-rmssd 48 ms"),
        (
            "ultrahuman",
            json!({"type": "hrv", "object": {"values": [{"value": 41, "timestamp": 1_768_460_400}]}}),
            "hrv-sdnn 41 ms",
        ),
        // A fraction and a percentage.
        ("suunto", json!({"timestamp": "2026-01-15T03:00:00+01:00", "entryData": {"SpO2": 0.97}}), "spo2 97 %"),
        (
            "withings",
            json!({"body": {"timezone": "Europe/Madrid", "measuregrps": [{"grpid": 1, "attrib": 0, "date": 1_768_460_400, "category": 1,
                "measures": [{"type": 54, "value": 97, "unit": 0}, {"type": 1, "value": 72_500, "unit": -3}]}]}}),
            "body-weight 72.5 kg, spo2 97 %",
        ),
        // Differences are no temperatures.
        (
            "garmin",
            json!({"skinTemp": [{"summaryId": "s", "startTimeInSeconds": 1_768_460_400, "avgDeviationCelsius": 0.3}]}),
            "device-type-left-out",
        ),
        (
            "fitbit",
            json!({"tempSkin": [{"dateTime": "2026-01-15", "value": {"nightlyRelative": 0.3}}]}),
            "device-type-left-out",
        ),
        // An uptake of oxygen by the kilogram, and a range that is none.
        (
            "garmin",
            json!({"userMetrics": [{"summaryId": "u", "calendarDate": "2026-01-15", "vo2Max": 48.0}]}),
            "vo2max 48.0 mL/min/kg{body_wt}",
        ),
        (
            "fitbit",
            json!({"cardioScore": [{"dateTime": "2026-01-15", "value": {"vo2Max": "44-48"}}]}),
            "device-type-left-out",
        ),
        // Glucose says by its unit which code it has.
        (
            "tidepool",
            json!({"type": "smbg", "guid": "g", "time": "2026-01-15T07:00:00.000Z", "timezoneOffset": 60, "value": 5.5, "units": "mmol/L"}),
            "glucose-capillary-molar 5.5 mmol/L",
        ),
        // A goal is no weight, and nobody's weight is not the person's.
        (
            "withings",
            json!({"body": {"measuregrps": [{"grpid": 2, "attrib": 0, "date": 1_768_460_400, "category": 2, "measures": [{"type": 1, "value": 70, "unit": 0}]}]}}),
            "device-type-left-out",
        ),
        (
            "withings",
            json!({"body": {"measuregrps": [{"grpid": 3, "attrib": 1, "date": 1_768_460_400, "category": 1, "measures": [{"type": 1, "value": 70, "unit": 0}]}]}}),
            "device-type-left-out",
        ),
    ] {
        assert_eq!(
            one(format, sent.clone()).replace("72.500 ", "72.5 ").replace("97.00 ", "97 "),
            expected,
            "{format} {sent}"
        );
    }
}

/// A night ends when the person got up, also when they lay awake before.
#[test]
fn a_night_ends_with_its_last_waking() {
    let sent = json!({"sleeps": [{"summaryId": "s", "startTimeInSeconds": 1_768_430_000, "startTimeOffsetInSeconds": 3600, "durationInSeconds": 28_800,
        "deepSleepDurationInSeconds": 7200, "lightSleepDurationInSeconds": 14_400, "remSleepInSeconds": 5400, "awakeDurationInSeconds": 1800,
        "sleepLevelsMap": {"awake": [{"startTimeInSeconds": 1_768_457_000, "endTimeInSeconds": 1_768_458_800}]}}]});
    let records = converted("garmin", &sent.to_string(), None);
    let end = Timestamp::from_second(1_768_430_000 + 28_800).unwrap();
    for (measure, observation) in observations(&records) {
        assert_eq!(effective(&observation).unwrap().1, end, "{measure}");
    }
    assert_eq!(told(&records), "sleep-duration 1, sleep-stage 1, time-in-bed 1");
}

/// The schemas that ship are those that the package has, where there is a way to it.
#[test]
fn the_schemas_are_what_their_package_says() {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let folder = std::env::temp_dir().join(format!("mhealth-schemas-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let out = folder.join("schemas.json.gz");
    let run = std::process::Command::new("python3").arg(profiles.join("schemas.py")).arg(&out).output();
    match run {
        Ok(output) if output.status.success() => {
            let committed = std::fs::read(profiles.join("open-mhealth-schemas.json.gz")).unwrap();
            assert!(
                std::fs::read(&out).unwrap() == committed,
                "profiles/open-mhealth-schemas.json.gz is not what profiles/schemas.py makes"
            );
        }
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!words.contains("checksum") && !words.contains("refers to"), "{words}");
            eprintln!("not proven, there is no way to the package: {words}");
        }
        Err(error) => eprintln!("not proven, there is no python3: {error}"),
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A mapping that ships is also one that is read.
#[test]
fn every_mapping_of_the_folder_is_built_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/mappings");
    let names: BTreeSet<String> =
        files(&folder).iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let known: BTreeSet<String> = Formats::default().iter().map(|pack| pack.id.clone()).collect();
    assert_eq!(names, known);
    for pack in Formats::default().iter() {
        assert!(!pack.source.is_empty() && pack.kinds().next().is_some(), "{}", pack.id);
    }
}
