//! What is told of an export, by its text.

use std::path::PathBuf;

use super::*;
use crate::devices::{self, Formats, Sender};
use crate::fhir::tree::{Element, json};

/// What a reader tells of pieces, a line each: `line:column json`, `! line:column why`, `!! line:column code`.
fn told(pieces: &[&[u8]]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = Reader::new();
    let mut tell = |read: Read<'_>| {
        lines.push(match read {
            Read::Record { place, text } => format!("{}:{} {text}", place.line, place.column),
            Read::Refused { place, issue } => {
                assert_eq!((issue.id, issue.position), (Id::DeviceRecord, place.position()));
                format!("! {}:{} {}", place.line, place.column, issue.text)
            }
            Read::Broken { place, issue } => format!("!! {}:{} {}", place.line, place.column, issue.id),
        });
    };
    for piece in pieces {
        reader.push(piece, &mut tell);
    }
    reader.end(&mut tell);
    lines
}

/// The records of an export with that content, without their ids.
fn records(content: &str) -> Vec<String> {
    let text = format!("<?xml version=\"1.0\"?>\n<HealthData locale=\"en\">\n{content}\n</HealthData>\n");
    told(&[text.as_bytes()]).iter().map(|line| without_ids(line)).collect()
}

fn without_ids(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\"uuid\":\"") {
        out.push_str(before.strip_suffix(',').unwrap_or(before));
        rest = &after[37..];
    }
    out + rest
}

#[test]
fn reads_what_the_phone_writes() {
    let cases = [
        (
            r#"<Record type="HeartRate" unit="count/min" value="72.50" startDate="2018-09-10 02:28:55 -0700" device="&lt;&lt;HKDevice: 0x1&gt;, name:W, hardware:Watch2,4&gt;"/>"#,
            r#"3:1 {"type":"HeartRate","unit":"count/min","value":72.50,"startDate":"2018-09-10T02:28:55-07:00","device":{"name":"W","hardware":"Watch2,4"}}"#,
        ),
        (
            "<Record value='Asleep'\n  type = 'S' sourceVersion='4.10'><MetadataEntry value='0' key='a&quot;b'/></Record>",
            r#"3:1 {"value":"Asleep","type":"S","sourceVersion":"4.10","metadata":{"a\"b":"0"}}"#,
        ),
        (
            "<Record type='HRV'><HeartRateVariabilityMetadataList><InstantaneousBeatsPerMinute bpm='62' \
             time='7:47:41.23\u{202f}PM'/><InstantaneousBeatsPerMinute bpm='63' time='7:47:42.19\u{202f}PM'/>\
             </HeartRateVariabilityMetadataList></Record>",
            r#"3:1 {"type":"HRV","beats":[{"bpm":62,"time":"19:47:41.23"},{"bpm":63,"time":"19:47:42.19"}]}"#,
        ),
        (
            "<Correlation type='BP'><MetadataEntry key='k' value='v'/><Record type='S' value='120'><MetadataEntry key='m' \
             value='n'/></Record><Record type='D' value='80'/></Correlation>",
            r#"3:1 {"type":"BP","metadata":{"k":"v"},"records":[{"type":"S","value":120,"metadata":{"m":"n"}},{"type":"D","value":80}]}"#,
        ),
        (
            "<Workout workoutActivityType='Run' duration='5.19412346680959' durationUnit='min'>\
             <WorkoutEvent type='Pause' date='2016-11-14 07:25:44 -0700'/>\
             <WorkoutStatistics type='Distance' sum='1.5' unit='km'/>\
             <WorkoutActivity id='u'><WorkoutStatistics type='HeartRate' average='140'/></WorkoutActivity>\
             <WorkoutRoute sourceName='n'><Location latitude='37.7'/><FileReference path='p'/></WorkoutRoute></Workout>",
            r#"3:1 {"type":"HKWorkoutTypeIdentifier","workoutActivityType":"Run","duration":5.19412346680959,"durationUnit":"min","events":[{"type":"Pause","date":"2016-11-14T07:25:44-07:00"}],"statistics":[{"type":"Distance","sum":1.5,"unit":"km"}],"activities":[{"id":"u","statistics":[{"type":"HeartRate","average":140}]}]}"#,
        ),
        (
            "<ActivitySummary dateComponents='2016-11-15' appleStandHours='13' activeEnergyBurned='590.252'/>",
            r#"3:1 {"type":"HKActivitySummaryTypeIdentifier","dateComponents":"2016-11-15","appleStandHours":13,"activeEnergyBurned":590.252}"#,
        ),
        // Neither XML nor FHIR has the vertical tab that some apps put into their names.
        ("<Record sourceName='a\u{b}b&#10;c' type='x'/>", r#"3:1 {"sourceName":"a b c","type":"x"}"#),
        ("<Record type='x' value='NaN'/>", r#"3:1 {"type":"x","value":"NaN"}"#),
        (
            "<Record type='x' value='.5' startDate='yesterday'/>",
            r#"3:1 {"type":"x","value":".5","startDate":"yesterday"}"#,
        ),
        (
            "<Record type='x'><MetadataEntry key='k' value='1'/><MetadataEntry key='k' value='2'/></Record>",
            r#"3:1 {"type":"x","metadata":{"k":"1"}}"#,
        ),
        (
            "<!-- <Record type='no'/> --><Me HKBloodType='A'/><![CDATA[<Record/>]]><Record type='x'/>",
            r#"3:71 {"type":"x"}"#,
        ),
        ("<Record/>", "3:1 {}"),
    ];
    for (content, expected) in cases {
        let found = records(content);
        assert_eq!(found, [expected], "{content}");
        let document = json::parse(found[0].split_once(' ').unwrap().1).unwrap();
        assert!(Element::root(&document).is_object());
    }
}

#[test]
fn a_record_too_long_to_be_held_is_refused_and_not_passed_over() {
    let long = "x".repeat(3 << 20);
    let text = format!("<HealthData><Record type='a' sourceName='{long}'/><Record type='b'/></HealthData>");
    // What comes as one piece is in memory anyway.
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(1 << 16).collect();
    let found: Vec<String> = told(&pieces).iter().map(|line| without_ids(line)).collect();
    assert_eq!(
        found.len(),
        2,
        "{}",
        found.iter().map(|line| &line[..line.len().min(60)]).collect::<Vec<_>>().join("; ")
    );
    assert!(found[0].starts_with("! "), "{}", &found[0][..found[0].len().min(60)]);
    assert!(found[1].ends_with(r#"{"type":"b"}"#));
}

#[test]
fn a_broken_record_is_refused_alone() {
    let good = "<Record type='good'/>";
    let cases = [
        ("<Record type='a' <Record type='b'/>", &["! 4:1", "4:18"][..]),
        ("<Record type='a/>\n<Record type='b'/>", &["! 4:1", "5:1"]),
        ("<Record type=a/>", &["! 4:1"]),
        ("<Record type='a' type='b'/>", &["! 4:1"]),
        ("<Record type='&evil;'/>", &["! 4:1"]),
        ("<Record type='a'><MetadataEntry key='k'/></Record>", &["! 4:1"]),
        ("<Record type='a'><MetadataEntry key='k value='v'/></Record>", &["! 4:1"]),
        ("<Record type='a'>", &["! 4:1"]),
        ("<Workout><WorkoutEvent></Workout>", &["! 4:1"]),
        ("<Record type='a' x><MetadataEntry key='k' value='v'/></Record>", &["! 4:1"]),
        ("<ClinicalRecord type='a'/>", &["! 4:1"]),
        ("</Record></Nothing>", &[]),
    ];
    for (content, expected) in cases {
        let found = records(&format!("{good}\n{content}\n{good}"));
        let places: Vec<String> = found
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                if words[0] == "!" { words[..2].join(" ") } else { words[0].to_owned() }
            })
            .collect();
        let last = 5 + content.matches('\n').count();
        let expected: Vec<String> = std::iter::once("3:1".to_owned())
            .chain(expected.iter().map(|place| (*place).to_owned()))
            .chain([format!("{last}:1")])
            .collect();
        assert_eq!(places, expected, "{content}: {found:?}");
    }
}

#[test]
fn knows_when_it_was_exported() {
    let mut reader = Reader::new();
    reader.push(b"<HealthData><ExportDate value=\"2019-07-19 10:36:11 -0700\"/>", &mut |_| {});
    assert_eq!(reader.exported(), Some("2019-07-19T10:36:11-07:00"));
}

#[test]
fn an_invalid_character_costs_its_record() {
    let text = b"<HealthData>\n<Record type='\xff'/>\n<Record type='b'/></HealthData>";
    let found: Vec<String> = told(&[text]).iter().map(|line| without_ids(line)).collect();
    assert_eq!(found, ["! 2:1 The record is not in UTF-8.", "3:1 {\"type\":\"b\"}"]);
}

#[test]
fn says_where_the_file_breaks() {
    let cases = [
        ("", "!! 1:1 device-file"),
        ("{\"a\": 1}", "!! 1:9 device-file"),
        ("<html><Record/></html>", "!! 1:1 device-file"),
        ("<HealthData>\n<Record type='a", "!! 2:16 device-truncated"),
        ("<HealthData>\n<Workout>\n", "!! 3:1 device-truncated"),
        ("<HealthData>\n", "!! 2:1 device-truncated"),
    ];
    for (text, expected) in cases {
        assert_eq!(told(&[text.as_bytes()]), [expected], "{text}");
    }
}

/// The declarations of some versions are not well-formed; nothing in them is ever expanded.
#[test]
fn passes_over_declarations() {
    let text = "<!DOCTYPE HealthData [\n<!-- Version: 11 [ ]> ' -->\n<!ENTITY a \"<Record type='no'/>\">\n\
                <!ELEMENT Record (Metadata*>\n<!ATTLIST Record\n  type CDATA #REQUIRED\n]>\n<HealthData>\
                <Record type='&a;'/></HealthData>";
    let found = told(&[text.as_bytes()]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("! 8:13 A reference"), "{found:?}");
}

/// However the bytes arrive, the same is told.
#[test]
fn pieces_do_not_matter() {
    let text = "<?xml version='1.0'?><!DOCTYPE HealthData [ <!-- ]> --> <!ELEMENT a EMPTY> ]>\n<HealthData>\n\
                <Record type='é' sourceName='x &gt; y'>\n<MetadataEntry key='k' value='v'/></Record><!-- c -->\n\
                <Record type='a <Record type='b'/>\n<Workout><WorkoutRoute><Location/></WorkoutRoute></Workout></HealthData>";
    let whole = told(&[text.as_bytes()]);
    assert_eq!(whole.len(), 4, "{whole:?}");
    for size in 1..80 {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        assert_eq!(told(&pieces), whole, "{size}");
    }
}

#[test]
fn the_same_record_has_the_same_id_in_every_export() {
    let id = |attributes: &str| {
        let found = told(&[format!("<HealthData><Record {attributes}/></HealthData>").as_bytes()]);
        found[0].split_once("\"uuid\":\"").unwrap().1[..36].to_owned()
    };
    let one = id("type='t' sourceName='A &amp; B' startDate='2019-07-19 10:36:11 -0700' endDate='' value='1'");
    assert_eq!(&one[14..15], "8");
    let same = [
        "value='1' type='t' sourceName='A &#38; B' startDate='2019-07-19 19:36:11 +0200' endDate=''",
        "type='t' sourceName='A &amp; B' startDate='2019-07-19 5:36:11 PM +0000' endDate='' value='1' device='0x2'",
    ];
    for attributes in same {
        assert_eq!(id(attributes), one, "{attributes}");
    }
    for attributes in [
        "type='t' sourceName='A &amp; B' startDate='2019-07-19 10:36:12 -0700' endDate='' value='1'",
        "type='t' sourceName='A &amp; C' startDate='2019-07-19 10:36:11 -0700' endDate='' value='1'",
        "type='t' sourceName='A &amp; B' startDate='2019-07-19 10:36:11 -0700' endDate='' value='1.0'",
    ] {
        assert_ne!(id(attributes), one, "{attributes}");
    }
}

/// Wherever the phone was when it exported, and whatever an app calls its record.
#[test]
fn the_mapping_keeps_the_id_of_the_record() {
    let formats = Formats::default();
    let (pack, sender) = (formats.named("healthkit").unwrap(), Sender { subject: "Patient/1", zone: None });
    let source_id = |text: &str| {
        let records = devices::convert(pack, &json::parse(text).unwrap(), &sender, 1).unwrap();
        assert!(records[0].observation.is_some(), "{:?}", records[0].issues);
        records[0].source_id.clone().unwrap()
    };
    let export = |start: &str| {
        let text = format!(
            "<HealthData><Record type='HKQuantityTypeIdentifierHeartRate' sourceName='W' unit='count/min' value='60' \
             startDate='{start}' endDate='{start}'/></HealthData>"
        );
        told(&[text.as_bytes()])[0].split_once(' ').unwrap().1.to_owned()
    };
    let (home, abroad) = (export("2026-05-04 08:00:00 +0200"), export("2026-05-04 02:00:00 -0400"));
    assert_eq!(source_id(&home), source_id(&abroad));
    let unnamed = r#"{"type":"HKQuantityTypeIdentifierHeartRate","unit":"count/min","value":60,"sourceName":"W",
        "startDate":"2026-05-04T08:00:00+02:00","endDate":"2026-05-04T08:00:00+02:00"}"#;
    assert_eq!(source_id(&unnamed.replacen('{', "{\"uuid\":\"E621E1F8\",", 1)), "E621E1F8");
    assert_eq!(source_id(unnamed).len(), 32);
}

#[test]
fn what_grows_without_end_is_refused() {
    let metadata: String = (0..300).map(|key| format!("<MetadataEntry key='k{key}' value='v'/>")).collect();
    let long = "x".repeat(MAX_TOKEN + 10);
    let events = "<WorkoutEvent type='0123456789012345678901234567890123456789'/>".repeat(100_000);
    let cases = [
        format!("<Record type='a'>{metadata}</Record>"),
        format!("<Record type='{long}'/>"),
        format!("<Workout>{events}</Workout>"),
    ];
    for content in cases {
        let text = format!("<HealthData>{content}<Record type='b'/></HealthData>");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
        let mut held = 0;
        let mut found = Vec::new();
        let mut reader = Reader::new();
        for piece in pieces {
            reader.push(piece, &mut |read| found.push(format!("{read:?}").len()));
            held = held.max(reader.buffer.len());
        }
        reader.end(&mut |read| found.push(format!("{read:?}").len()));
        assert_eq!(found.len(), 2, "{} {found:?}", &content[..40]);
        assert!(held < 2 * MAX_TOKEN + 4096, "{held}");
    }
}

#[test]
fn reads_the_samples_of_others() {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let folder = suites.join("mhealth/apple-health-export");
    for (file, records) in [
        ("tdda-applehealthdata/testdata/export6s3sample.xml", 18),
        ("dogsheep-healthkit-to-sqlite/tests/export.xml", 5),
        ("dogsheep-healthkit-to-sqlite/tests/zip_contents/apple_health_export/export.xml", 5),
    ] {
        let bytes = std::fs::read(folder.join(file)).expect("the suite is there");
        let found = told(&[&bytes]);
        assert!(found.iter().all(|line| !line.starts_with('!')), "{found:?}");
        assert_eq!(found.len(), records, "{file}: {found:#?}");
        assert!(found.iter().all(|line| !line.contains("atitude") && !line.contains("gpx")), "{file}");
    }
}

proptest::proptest! {
    /// Whatever comes, in whatever pieces: no panic, and every record told is JSON. The pieces do not matter.
    #[test]
    fn never_panics(
        text in "(<Record|<Workout|<HealthData>|<Correlation|</Record>|</Workout>|</Correlation>|<MetadataEntry|<WorkoutRoute>|\
                 </WorkoutRoute>|/>|>| type='a'| key=\"b\"| value='1'| x=|'|\"|<|é|&amp;|&|<!--|-->|<!DOCTYPE|<!\\[CDATA\\[|\\[|\\]|\n| ){0,60}",
        size in 1_usize..20
    ) {
        let text = format!("<HealthData>{text}");
        let whole = told(&[text.as_bytes()]);
        for line in whole.iter().filter(|line| !line.starts_with('!')) {
            let record = line.split_once(' ').unwrap().1;
            proptest::prop_assert!(json::parse(record).is_ok(), "{}", record);
        }
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        proptest::prop_assert_eq!(told(&pieces), whole);
    }
}
