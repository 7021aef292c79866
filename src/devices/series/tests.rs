//! Series there and back, and what comes out held against the guide.

use proptest::prelude::*;

use super::*;
use crate::fhir::tree::{Document, Element, json};

/// A heart rate as a converted record has it.
fn heart_rate(id: &str, time: &str, value: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","meta":{{"profile":["https://mhealth-gateway.org/fhir/StructureDefinition/mh-heart-rate"],"tag":[{{"system":"https://mhealth-gateway.org/fhir/CodeSystem/data-origin","code":"patient-generated"}}]}},"extension":[{{"url":"https://mhealth-gateway.org/fhir/StructureDefinition/mh-recording-method","valueCode":"automatic"}}],"identifier":[{{"system":"https://a.example/records","value":"{id}"}}],"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}],"text":"Heart rate"}},"subject":{{"reference":"Patient/1"}},"effectiveDateTime":"{time}","valueQuantity":{{"value":{value},"unit":"beats a minute","system":"http://unitsofmeasure.org","code":"/min"}},"device":{{"display":"Watch"}}}}"#
    )
}

fn steps(id: &str, start: &str, end: &str, value: &str) -> String {
    heart_rate(id, "T", value)
        .replace("mh-heart-rate", "mh-interval")
        .replace("8867-4", "55423-8")
        .replace("/min", "{steps}")
        .replace("vital-signs", "activity")
        .replace(
            "\"effectiveDateTime\":\"T\"",
            &format!("\"effectivePeriod\":{{\"start\":\"{start}\",\"end\":\"{end}\"}}"),
        )
}

fn parsed(text: &str) -> Document {
    json::parse(text).unwrap()
}

fn collected(form: Form, complete: i64, texts: &[String]) -> Vec<Made> {
    let mut made = Vec::new();
    let mut collector = Collector::new(form, complete);
    for text in texts {
        collector.take(&parsed(text), &mut |one| made.push(one));
    }
    collector.finish(&mut |one| made.push(one));
    made
}

fn field<'d>(document: &'d Document, path: &str) -> Option<&'d str> {
    let mut element = Element::root(document);
    for name in path.split('.') {
        element = element.get(name)?;
    }
    element.text()
}

/// A minute's heart rates of a whole day.
fn day() -> Vec<String> {
    (0..1440)
        .map(|minute| {
            let time = format!("2026-05-04T{:02}:{:02}:00+02:00", minute / 60, minute % 60);
            heart_rate(&format!("r{minute}"), &time, &(60 + minute % 40).to_string())
        })
        .collect()
}

#[test]
fn a_day_of_heart_rates_is_a_stretch() {
    let readings = day();
    let made = collected(Form::Chunk(Span::Day), i64::MAX, &readings);
    let [Made::Stretch(stretch)] = made.as_slice() else { panic!("{made:?}") };
    assert!(stretch.is_final);
    let bytes: usize = readings.iter().map(String::len).sum();
    assert!(bytes > 1_000_000 && stretch.text.len() < 5500, "{bytes} {}", stretch.text.len());
    let document = parsed(&stretch.text);
    for (path, expected) in [
        ("meta.profile", "https://mhealth-gateway.org/fhir/StructureDefinition/mh-series"),
        ("effectivePeriod.start", "2026-05-04T00:00:00+02:00"),
        ("effectivePeriod.end", "2026-05-05T00:00:00+02:00"),
        ("valueSampledData.period", "60000"),
        ("valueSampledData.dimensions", "1"),
        ("valueSampledData.origin.code", "/min"),
        ("status", "final"),
    ] {
        assert_eq!(field(&document, path), Some(expected), "{path}");
    }
    assert_eq!((stretch.facts.count, stretch.facts.sources[1439].as_str()), (1440, "r1439"));
    let provenance = parsed(&stretch.facts.provenance(0));
    assert_eq!(field(&provenance, "target.identifier.value"), field(&document, "identifier.value"));
    assert_eq!(field(&provenance, "occurredPeriod.start"), Some("2026-05-03T22:00:00Z"));
    assert_eq!(Element::root(&provenance).all("entity").count(), 1440);
    // Until the day is over more may come.
    let running = collected(Form::Chunk(Span::Day), 0, &readings);
    let [Made::Stretch(running)] = running.as_slice() else { panic!() };
    let running = parsed(&running.text);
    assert_eq!(field(&running, "status"), Some("preliminary"));
    assert_eq!(field(&running, "identifier.value"), field(&document, "identifier.value"));
}

#[test]
fn hours_are_cut_where_the_person_is() {
    let made = collected(Form::Chunk(Span::Hour), i64::MAX, &day());
    assert_eq!(made.len(), 24);
    let odd = [
        heart_rate("a", "2026-05-04T00:10:00+05:45", "60"),
        heart_rate("b", "2026-05-04T00:50:00+05:45", "61"),
        heart_rate("c", "2026-05-04T01:00:00+05:45", "62"),
        heart_rate("d", "2026-05-04T01:01:00+05:45", "63"),
        // The traveller lands.
        heart_rate("e", "2026-05-04T01:02:00+05:30", "64"),
        heart_rate("f", "2026-05-04T01:03:00+05:30", "65"),
    ];
    assert_eq!(collected(Form::Chunk(Span::Hour), i64::MAX, &odd).len(), 3);
}

#[test]
fn gaps_and_limits_are_said_and_nothing_is_invented() {
    let below =
        heart_rate("c", "2026-05-04T08:03:00Z", "30").replace("\"value\":30", "\"value\":30,\"comparator\":\"<\"");
    let above =
        heart_rate("d", "2026-05-04T08:04:00Z", "220").replace("\"value\":220", "\"comparator\":\">\",\"value\":220");
    let readings = [
        heart_rate("b", "2026-05-04T08:01:00Z", "61.50"),
        heart_rate("a", "2026-05-04T08:00:00Z", "60"),
        below,
        above,
        heart_rate("again", "2026-05-04T08:00:00Z", "77"),
    ];
    let made = collected(Form::Chunk(Span::Hour), i64::MAX, &readings);
    let [Made::Left { text, why: Unfit::SameMoment }, Made::Stretch(stretch)] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert_eq!(field(&parsed(text), "identifier.value"), Some("again"));
    let document = parsed(&stretch.text);
    assert_eq!(field(&document, "valueSampledData.data"), Some("60 61.50 E L U"));
    assert_eq!(field(&document, "valueSampledData.lowerLimit"), Some("30"));
    assert_eq!(field(&document, "valueSampledData.upperLimit"), Some("220"));
}

#[test]
fn what_is_no_series_stays_as_it_is() {
    let at = |second: &str| format!("2026-05-04T08:{second}Z");
    let cases: [(&[String], Unfit); 5] = [
        (&[heart_rate("a", &at("00:00"), "60")], Unfit::Alone),
        (
            &[
                heart_rate("a", &at("00:00"), "60"),
                heart_rate("b", &at("07:01"), "60"),
                heart_rate("c", &at("09:00"), "60"),
            ],
            Unfit::Irregular,
        ),
        (
            &[
                heart_rate("a", &at("00:00"), "60").replace("\"value\":60", "\"value\":60,\"comparator\":\"<\""),
                heart_rate("b", &at("01:00"), "50").replace("\"value\":50", "\"value\":50,\"comparator\":\"<\""),
            ],
            Unfit::Limits,
        ),
        (
            &[
                heart_rate("a", &at("00:00"), "60").replace("8867-4", "39156-5").replace("mh-heart-rate", "mh-bmi"),
                heart_rate("b", &at("01:00"), "60").replace("8867-4", "39156-5").replace("mh-heart-rate", "mh-bmi"),
            ],
            Unfit::Measure,
        ),
        (
            &[heart_rate("a", &at("00:00"), "60").replace("\"device\"", "\"note\":[{\"text\":\"x\"}],\"device\"")],
            Unfit::Particular,
        ),
    ];
    for (readings, expected) in cases {
        let made = collected(Form::Chunk(Span::Hour), i64::MAX, readings);
        assert_eq!(made.len(), readings.len(), "{expected:?} {made:?}");
        for (one, reading) in made.iter().zip(readings) {
            match one {
                Made::Left { text, why } => {
                    assert_eq!(*why, expected);
                    assert_eq!(separate(&parsed(text)), separate(&parsed(reading)));
                }
                Made::Unfit(why) => assert_eq!(*why, expected),
                other => panic!("{expected:?} {other:?}"),
            }
        }
    }
}

#[test]
fn sources_never_come_together() {
    let readings: Vec<String> = (0..10)
        .map(|minute| {
            let text = heart_rate(&minute.to_string(), &format!("2026-05-04T08:0{minute}:00Z"), "60");
            if minute % 2 == 0 { text } else { text.replace("Watch", "Strap") }
        })
        .collect();
    assert_eq!(collected(Form::Chunk(Span::Hour), i64::MAX, &readings).len(), 2);
}

#[test]
fn what_does_not_count_is_in_no_statistic() {
    let readings = [("08:00:00", 60), ("08:10:00", 70), ("08:20:00", 80)];
    let mut texts: Vec<String> = readings
        .iter()
        .map(|(time, value)| heart_rate(time, &format!("2026-05-04T{time}+02:00"), &value.to_string()))
        .collect();
    let tag = format!("{{\"system\":\"{}\",\"code\":\"secondary\"}}", crate::fhir::ours::SOURCE_ROLE_SYSTEM);
    texts[2] = texts[2].replace("\"tag\":[", &format!("\"tag\":[{tag},"));
    let made = collected(Form::Aggregate(Span::Hour), i64::MAX, &texts);
    let [Made::Unfit(Unfit::Secondary), Made::Statistics(_, facts)] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(facts.count, 2);
}

fn apart(texts: &[String]) -> (Frame, Vec<Reading>) {
    let mut apart: Vec<(Frame, Reading)> = texts.iter().map(|text| separate(&parsed(text)).unwrap()).collect();
    let frame = apart[0].0.clone();
    (frame, apart.drain(..).map(|(_, reading)| reading).collect())
}

#[test]
fn a_stretch_that_grew_is_the_one_that_was_made_at_once() {
    let readings = day();
    let made = collected(Form::Chunk(Span::Day), 0, &readings);
    let [Made::Stretch(at_once)] = made.as_slice() else { panic!("{made:?}") };
    let (frame, all) = apart(&readings);
    let id = frame.stretch(Span::Day.start(all[0].start, all[0].offset));
    let mut text: Option<String> = None;
    for pieces in [7, 500] {
        text = None;
        // The later ones first: the order of arrival makes no difference.
        for piece in all.chunks(pieces).rev() {
            let standing = text.as_ref().map(|text| explode(&parsed(text)).unwrap());
            if let Some((found, _)) = &standing {
                assert_eq!(*found, frame, "what they share is told again");
            }
            let standing = standing.map(|(_, readings)| readings).unwrap_or_default();
            let (stretch, fates) = grow(&frame, &standing, piece, &id, Status::Preliminary);
            assert!(fates.iter().all(|fate| *fate == Fate::Taken), "{fates:?}");
            text = stretch.map(|stretch| stretch.text);
        }
        assert_eq!(text.as_ref(), Some(&at_once.text));
    }
    let closed = again(&parsed(&text.unwrap()), Status::Final).unwrap();
    assert_eq!(closed.text, at_once.text.replace("\"preliminary\"", "\"final\""));
}

#[test]
fn what_does_not_fit_stays_outside() {
    let at = |id: &str, time: &str, value: &str| heart_rate(id, &format!("2026-05-04T{time}Z"), value);
    let (frame, standing) = apart(&[at("1", "08:00:00", "60"), at("2", "08:01:00", "61"), at("3", "08:02:00", "62")]);
    let (_, new) = apart(&[
        at("4", "08:01:00", "61.0"),
        at("5", "08:02:00", "63"),
        at("6", "08:02:00.007", "64"),
        at("7", "08:03:00", "65"),
        at("8", "08:03:00", "65"),
    ]);
    let (stretch, fates) = grow(&frame, &standing, &new, "x", Status::Amended);
    use Fate::{Left, Other, Same, Taken};
    assert_eq!(fates, [Same, Other, Left(Unfit::Irregular), Taken, Same]);
    let document = parsed(&stretch.unwrap().text);
    assert_eq!(field(&document, "valueSampledData.data"), Some("60 61 62 65"));
    assert_eq!(field(&document, "status"), Some("amended"));
    assert_eq!(explode(&document).unwrap().1.len(), 4);
    assert_eq!(grow(&frame, &standing, &new[..3], "x", Status::Amended).0, None);
    // A long gap may still be filled; of readings a second apart it would be nearly all that there is.
    let (_, far) = apart(&[at("9", "14:08:00", "65")]);
    let (_, odd) = apart(&[at("9", "14:08:01", "65")]);
    assert_eq!(grow(&frame, &standing, &far, "x", Status::Preliminary).1, [Taken]);
    assert_eq!(grow(&frame, &standing, &odd, "x", Status::Preliminary).1, [Left(Unfit::Irregular)]);
    let (alone, _) = grow(&frame, &[], &standing[..1], "x", Status::Preliminary);
    let document = parsed(&alone.unwrap().text);
    assert_eq!(field(&document, "effectivePeriod.end"), Some("2026-05-04T08:00:01Z"));
    assert_eq!(explode(&document).unwrap().1[0].digits, "60");
}

#[test]
fn a_span_that_comes_again_has_another_name() {
    let readings: Vec<String> = ["08:00", "08:01", "09:00", "09:01", "08:30", "08:31"]
        .map(|time| heart_rate(time, &format!("2026-05-04T{time}:00Z"), "60"))
        .to_vec();
    let made = collected(Form::Chunk(Span::Hour), i64::MAX, &readings);
    let mut ids: Vec<String> = made
        .iter()
        .map(|one| match one {
            Made::Stretch(stretch) => field(&parsed(&stretch.text), "identifier.value").unwrap().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    // A sum that was told cannot be told again.
    let made = collected(Form::Aggregate(Span::Hour), i64::MAX, &readings);
    assert_eq!(made.iter().filter(|one| matches!(one, Made::Left { why: Unfit::Late, .. })).count(), 2);
}

#[test]
fn moments_are_averaged_and_periods_summed() {
    let made = collected(Form::Aggregate(Span::Day), i64::MAX, &day());
    let [Made::Statistics(texts, facts)] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(facts.count, 1440);
    let told: Vec<(String, String)> = texts
        .iter()
        .map(|text| {
            let document = parsed(text);
            let field = |path| field(&document, path).unwrap_or_default().to_owned();
            assert_eq!(field("effectiveDateTime"), "2026-05-04");
            assert_eq!(field("component.valueQuantity.value"), "1440");
            (field("code.coding.code"), field("valueQuantity.value"))
        })
        .collect();
    let expected = [("41924-2", "79.5"), ("8883-1", "60"), ("8873-2", "99")];
    assert_eq!(told, expected.map(|(code, value)| (code.to_owned(), value.to_owned())));

    let walks = [
        steps("a", "2026-05-04T08:00:00+02:00", "2026-05-04T09:00:00+02:00", "1000"),
        steps("b", "2026-05-04T09:00:00+02:00", "2026-05-04T09:30:00+02:00", "234.5"),
    ];
    let made = collected(Form::Aggregate(Span::Day), i64::MAX, &walks);
    let [Made::Statistics(texts, _)] = made.as_slice() else { panic!("{made:?}") };
    let document = parsed(&texts[0]);
    assert_eq!(texts.len(), 1);
    assert_eq!(field(&document, "valueQuantity.value"), Some("1234.5"));
    assert_eq!(field(&document, "code.coding.code"), Some("41950-7"));
    assert!(texts[0].contains("\"valueCode\":\"Etc/GMT-2\"") && texts[0].contains("\"valueCode\":\"derived\""));
    assert!(texts[0].contains("\"valueQuantity\":{\"value\":6,\"unit\":\"%\""), "{}", texts[0]);

    // What is said of a day is no amount for that alone.
    let resting = ["60", "64"].map(|value| {
        let text = heart_rate(value, &format!("2026-05-04T08:{}:00Z", value.replace('6', "0")), value);
        let claim = "\"profile\":[\"https://mhealth-gateway.org/fhir/StructureDefinition/mh-heart-rate\"],";
        text.replace("8867-4", "40443-4").replace(claim, "")
    });
    let made = collected(Form::Aggregate(Span::Day), i64::MAX, &resting);
    let [Made::Statistics(texts, _)] = made.as_slice() else { panic!("{made:?}") };
    assert!(texts[0].contains("\"valueCode\":\"average\"") && texts[0].contains("\"value\":62,"), "{}", texts[0]);

    // Counting twice is worse than not counting.
    let twice = [walks[0].clone(), walks[0].replace("\"a\"", "\"c\"").replace("09:00:00", "09:10:00")];
    let made = collected(Form::Aggregate(Span::Day), i64::MAX, &twice);
    assert!(made.iter().all(|one| matches!(one, Made::Left { why: Unfit::Overlap, .. })), "{made:?}");
}

#[test]
fn a_mean_has_two_more_digits() {
    let readings = ["60", "61", "61"].map(|value| {
        heart_rate(value, &format!("2026-05-04T08:{value}:00Z").replace("60", "00").replace(":61:", ":01:"), value)
    });
    let (frame, first) = separate(&parsed(&readings[0])).unwrap();
    let rest: Vec<Reading> = readings.iter().map(|text| separate(&parsed(text)).unwrap().1).collect();
    let (texts, _) = aggregate(&frame, &rest, Span::Hour).unwrap();
    assert_eq!(first.digits, "60");
    assert!(texts[0].contains("\"value\":60.67,"), "{}", texts[0]);
}

proptest! {
    /// What was chunked and exploded is what it was: moment, digits, code, unit, source. Only the names of the readings
    /// are the stretch's.
    #[test]
    fn exploding_a_chunk_gives_the_readings(
        start in 0_i64..4_000_000_000, offset in -14_i32..=14, period in 1_i64..90_000,
        picks in proptest::collection::vec((1_i64..5, 0_u32..4, "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,9})?"), 2..60)
    ) {
        let (frame, _) = separate(&parsed(&heart_rate("x", "2026-05-04T08:00:00Z", "60"))).unwrap();
        let mut at = start * 1000;
        let readings: Vec<Reading> = picks.iter().enumerate().map(|(index, (step, kind, digits))| {
            at += step * period;
            let (token, digits) = match kind {
                0 if index > 0 => (Token::Below, "30.0".to_owned()),
                1 if index > 0 => (Token::Above, "220".to_owned()),
                _ => (Token::Value, digits.clone()),
            };
            Reading { start: at, end: at, offset: offset * 3600, digits, token, id: index.to_string() }
        }).collect();
        let stretch = chunk(&frame, &readings, Span::Day, 0, i64::MAX).unwrap();
        let (again, exploded) = explode(&parsed(&stretch.text)).unwrap();
        prop_assert_eq!(&again, &frame);
        let unnamed = |readings: &[Reading]| readings.iter().map(|reading| Reading { id: String::new(), ..reading.clone() }).collect::<Vec<_>>();
        prop_assert_eq!(unnamed(&exploded), unnamed(&readings));
        // A reading written and read is itself.
        let mut text = String::new();
        frame.reading(&readings[0], &mut text);
        prop_assert_eq!(separate(&parsed(&text)).unwrap(), (frame, readings[0].clone()));
    }
}
