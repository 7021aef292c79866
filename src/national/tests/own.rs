//! What packs of somebody's own make of measurements, and what is said of their slips: each case is one plain pack with lines
//! and changes of its own.

use super::*;

const COLUMNS: &str =
    "measure,form,profile,category,unit,unit_text,unit_system,number,times,time,needs,note,parts,plus";

/// The files of a plain pack that takes some measures, each by a code of LOINC; after some changes.
fn own(measures: &[(&str, &str)], changes: &[(&str, &str, &str)]) -> BTreeMap<String, String> {
    let mut files = files("eu-r4");
    let lines = |column: fn(&(&str, &str)) -> String| measures.iter().map(column).collect::<Vec<_>>().join("\n");
    let codes = |(line, code): &(&str, &str)| {
        let measure = line.split(',').next().unwrap_or_default();
        format!("{measure},,,{}", coded(code))
    };
    files.insert("measures.csv".to_owned(), format!("{COLUMNS}\n{}\n", lines(|(line, _)| (*line).to_owned())));
    files.insert("codes.csv".to_owned(), format!("measure,at,when,system,code,display\n{}\n", lines(codes)));
    for (file, from, to) in changes {
        let text = files.get_mut(*file).unwrap();
        assert!(text.contains(from), "{file} {from}");
        *text = text.replacen(from, to, 1);
    }
    files
}

fn coded(code: &str) -> String {
    let system = if code.contains('-') { "http://loinc.org" } else { "http://snomed.info/sct" };
    format!("{system},{code},")
}

fn compiled(files: &BTreeMap<String, String>) -> Pack {
    Pack::compile(files).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// What is wrong with such a pack.
fn wrong(files: &BTreeMap<String, String>) -> Vec<String> {
    trial::check(files).told().map(ToString::to_string).collect()
}

/// The first Observation of what a pack makes of one.
fn observation_of(pack: &Pack, sent: &Value) -> Result<Value, NotDeliverable> {
    let stage = finnish();
    let told = told(pack, &stage, std::slice::from_ref(sent))?;
    Ok(trial::within(&told, "Observation")[0].clone())
}

#[test]
fn a_stated_factor_is_the_one_that_counts() {
    for (line, code, value, unit, expected) in [
        ("hba1c-ifcc,quantity,,,%,%,,1,0.09148,,,,,2.152", "59261-8", "53", "mmol/mol", "7.0 %"),
        ("hba1c-ifcc,quantity,,,%,%,,,0.09148,,,,,2.152", "59261-8", "53", "mmol/mol", "7.00044 %"),
        ("spo2,quantity,,,1,,,3,0.01,,,,,", "59408-5", "97", "%", "0.97 1"),
        ("steps-daily,quantity,,,1/(24.h),,,integer,1,,,,,", "41950-7", "9412", "{steps}", "9412 1/(24.h)"),
        ("steps-daily,quantity,,,1/(24.h),,,integer,1,,,,,", "41950-7", "9412", "{steps}/d", "9412 1/(24.h)"),
        ("body-temperature,quantity,,,[degF],,,,,,,,,", "8310-5", "37.0", "Cel", "98.6 [degF]"),
        ("body-temperature,quantity,,,K,,,2,,,,,,", "8310-5", "98.6", "[degF]", "310.15 K"),
        ("body-weight,quantity,,,kilo,,urn:oid:2.999,,,,,,,", "29463-7", "10", "[lb_av]", "4.5359237 kilo"),
        ("body-weight,quantity,,,stone,,urn:oid:2.999,1,0.157473,,,,,", "29463-7", "70000", "g", "11.0 stone"),
        ("systolic-bp,quantity,,,kPa,,,1,,,,,,", "8480-6", "120", "mm[Hg]", "16.0 kPa"),
    ] {
        let pack = compiled(&own(&[(line, code)], &[]));
        let told = observation_of(&pack, &super::observation(code, &number(value), unit)).unwrap();
        let quantity = &told["valueQuantity"];
        let shown = format!("{} {}", quantity["value"], quantity["code"].as_str().unwrap());
        assert_eq!(shown, expected, "{line}");
    }
}

#[test]
fn digits_that_say_how_precise_a_value_is_stay() {
    for (line, code, value, unit, expected) in [
        ("body-weight,quantity,,,kg,kg,,1,,,,,,", "29463-7", "154.3", "[lb_av]", "70.0"),
        ("body-weight,quantity,,,kg,kg,,1,,,,,,", "29463-7", "70.000", "kg", "70.0"),
        ("body-weight,quantity,,,kg,kg,,,,,,,,", "29463-7", "70.000", "kg", "70.000"),
        ("body-weight,quantity,,,kg,kg,,1,,,,,,", "29463-7", "70", "kg", "70"),
        ("body-weight,quantity,,,kg,kg,,integer,,,,,,", "29463-7", "154.3", "[lb_av]", "70"),
        ("body-weight,quantity,,,kg,kg,,,,,,,,", "29463-7", "70000", "g", "70.000"),
        ("body-weight,quantity,,,g,g,,,,,,,,", "29463-7", "70.0", "kg", "70000"),
        ("body-height,quantity,,,cm,cm,,,,,,,,", "8302-2", "1.710", "m", "171.0"),
        ("body-height,quantity,,,cm,cm,,,,,,,,", "8302-2", "1.71", "m", "171"),
        ("body-temperature,quantity,,,Cel,,,1,,,,,,", "8310-5", "98.6", "[degF]", "37.0"),
        ("body-temperature,quantity,,,Cel,,,1,,,,,,", "8310-5", "-0.04", "Cel", "0.0"),
        ("glucose-capillary-mass,quantity,,,mmol/L,,,2,0.055507,,,,,", "41653-7", "90", "mg/dL", "5.00"),
    ] {
        let pack = compiled(&own(&[(line, code)], &[]));
        let told = observation_of(&pack, &super::observation(code, &number(value), unit)).unwrap();
        assert_eq!(told["valueQuantity"]["value"].to_string(), expected, "{line}");
    }
}

#[test]
fn what_ucum_alone_cannot_know_is_stated_and_nothing_else_is() {
    for (line, code, expected) in [
        (
            "hba1c-ifcc,quantity,,,%,%,,1,,,,,,",
            "59261-8",
            "measures.csv:2: unit: expected is one that the measure's units can be converted into, or a factor in times; \
             mmol/mol and % are numbers to UCUM",
        ),
        ("spo2,quantity,,,1,,,3,,,,,,", "59408-5", "measures.csv:2: unit: expected is one that"),
        ("ketones,quantity,,,/L,,,,,,,,,", "53061-8", "measures.csv:2: unit: expected is one that"),
        ("steps-daily,quantity,,,{steps}/wk,,,,,,,,,", "41950-7", "measures.csv:2: unit: expected is one that"),
        (
            "body-weight,quantity,,,[lb_av],lb,,1,2.2,,,,,",
            "29463-7",
            "measures.csv:2: times: UCUM says how kg becomes [lb_av], so that nothing is stated of it",
        ),
        ("spo2,quantity,,,%,%,,1,0.01,,,,,", "59408-5", "measures.csv:2: times: UCUM says how % becomes %"),
        ("body-temperature,quantity,,,Cel,,,,,,,,,1", "8310-5", "measures.csv:2: times: UCUM says how Cel becomes Cel"),
        ("hba1c-ifcc,quantity,,,%,%,,1,0.1,,,,,much", "59261-8", "measures.csv:2: plus: expected is a number"),
        (
            "blood-pressure,components,,,,,,,2,,,,,",
            "85354-9",
            "measures.csv:2: times: what is told as components has no",
        ),
    ] {
        let told = wrong(&own(&[(line, code)], &[]));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:#?}");
    }
    // What was never of the measure is not told by what its dimension would allow.
    let pack = compiled(&own(&[("hba1c-ifcc,quantity,,,%,%,,1,0.09148,,,,,2.152", "59261-8")], &[]));
    let refused = observation_of(&pack, &super::observation("59261-8", &number("5.3"), "%")).unwrap_err();
    assert_eq!(refused.id, Id::DestinationForm);
}

#[test]
fn a_series_is_told_in_the_unit_of_its_line() {
    let series = |code: &str, unit: &str| {
        let mut sent = super::observation(code, &number("0"), "x");
        sent.as_object_mut().unwrap().remove("valueQuantity");
        sent["valueSampledData"] = json!({
            "origin": {"value": number("1"), "system": "http://unitsofmeasure.org", "code": unit}, "period": 300_000,
            "factor": number("0.1"), "lowerLimit": number("2"), "dimensions": 1, "data": "54 55 L",
        });
        sent
    };
    for (line, code, unit, expected) in [
        ("cgm-molar,series,,,mg/dL,,,,18.0156,,,,,", "105272-9", "mmol/L", ["18.0156", "1.80156", "36.0312"]),
        ("cgm-molar,series,,,mmol/L,,,,,,,,,", "105272-9", "mmol/L", ["1", "0.1", "2"]),
        ("skin-temperature,series,,,[degF],,,,,,,,,", "39106-0", "Cel", ["33.8", "0.18", "35.6"]),
    ] {
        let pack = compiled(&own(&[(line, code)], &[]));
        let told = observation_of(&pack, &series(code, unit)).unwrap();
        let told = &told["valueSampledData"];
        let shown = [&told["origin"]["value"], &told["factor"], &told["lowerLimit"]].map(ToString::to_string);
        assert_eq!((shown, told["data"].as_str()), (expected.map(str::to_owned), Some("54 55 L")), "{line}");
    }
}

const WEIGHT: (&str, &str) = ("body-weight,quantity,,vital-signs,kg,kg,,,,,,,,", "29463-7");

/// A plain pack whose request is the Observation by itself, with more lines of `[request]`.
fn alone(lines: &str) -> BTreeMap<String, String> {
    let lines = format!("{lines}\nmost = 1");
    let mut files = own(&[WEIGHT], &[("pack.toml", "most = 50", &lines), ("pack.toml", "\"entries\"", "\"resource\"")]);
    let observation = files.remove("observation.json").unwrap();
    files.insert("request.json".to_owned(), observation);
    files
}

#[test]
fn a_resource_by_itself_goes_where_the_pack_says() {
    let sent = super::observation("29463-7", &number("71"), "kg");
    let read = tree::parse(sent.to_string()).unwrap();
    let beside = tree::parse(stage().person.to_string()).unwrap();
    let said = BTreeMap::from([("persons".to_owned(), "http://phr.kanta.fi/Patient".to_owned())]);
    let name = ["Observation/there-1".to_owned()];
    for (lines, there, expected) in [
        (
            "path = \"Observation\"\ncorrection = \"Observation/{there}\"\ncondition = \"identifier=urn:uuid:{uuid}\"",
            false,
            "POST Observation if identifier=urn:uuid:UUID",
        ),
        ("path = \"Observation\"\ncorrection = \"Observation/{there}\"", true, "PUT Observation/there-1"),
        ("path = \"in/{person.value}\"\ncorrection = \"in/{person.value}/{there}\"", true, "PUT in/kanta-1/there-1"),
    ] {
        let pack = compiled(&alone(lines));
        let measured = [Measured { observation: Element::root(&read), device: None, app: None, contexts: &[] }];
        let settings = Settings::of(&pack, &said).unwrap();
        let person = Some(Element::root(&beside));
        let message = Message { measured: &measured, person, settings: &settings, key: &[7; 32] };
        let told = pack.request(&message, &[name.as_slice()][..usize::from(there)]).unwrap();
        let body: Value = serde_json::from_str(&told.body).unwrap();
        let own = body["identifier"][0]["value"].as_str().unwrap().trim_start_matches("urn:uuid:");
        let Address { method, path, condition } = told.address;
        let condition = condition.map(|text| format!(" if {}", text.replace(own, "UUID"))).unwrap_or_default();
        assert_eq!(format!("{method} {}{condition}", path.join("/")), expected);
        assert_eq!(body["id"].as_str(), there.then_some("there-1"));
    }
    for (changes, expected) in [
        (
            &["", "path = \"Observation\""][..],
            "request.corrections is update, and a resource by itself is replaced where",
        ),
        (&["", "path = \"Observation/{there}\""], "request.path names {there}, which what is new does not have"),
        (&["", "path = \"Observation/{colour}\""], "request.path cannot be filled: no slot is called colour"),
        (
            &["", "path = \"Observation/{uuid\""],
            "request.path cannot be filled: it has a brace that belongs to no slot",
        ),
        (&["", "correction = \"Observation\""], "request.correction names what is replaced by {there}"),
        (&["", "correction = \"Observation/{there}\"\ncondition = \"?identifier=x\""], "request.condition is a search"),
        (
            &["method = \"PUT\"", "path = \"Observation\"\ncorrection = \"Observation/{there}\""],
            "request.path ends with the id of what is put",
        ),
    ] {
        let mut files = alone(changes[1]);
        if !changes[0].is_empty() {
            let text = files.get_mut("pack.toml").unwrap();
            *text = text.replacen("method = \"POST\"", changes[0], 1);
        }
        let told = Pack::compile(&files).unwrap_err();
        assert!(told.iter().any(|told| told.text.starts_with(expected)), "{expected}: {told:#?}");
    }
    let mut bundle = own(&[WEIGHT], &[("pack.toml", "most = 50", "most = 50\ncondition = \"identifier=x\"")]);
    assert!(Pack::compile(&bundle).unwrap_err()[0].text.contains("goes with a resource by itself"));
    bundle = own(&[WEIGHT], &[("pack.toml", "most = 50", "most = 50\npath = \"in/{uuid}\"")]);
    assert!(Pack::compile(&bundle).unwrap_err()[0].text.contains("names one measurement, so that request.most is 1"));
}

#[test]
fn what_is_split_counts_as_what_it_becomes() {
    let lines = [
        ("blood-pressure,split,,vital-signs,,,,,,,systolic-bp diastolic-bp,,,", "85354-9"),
        ("systolic-bp,part,,,mm[Hg],,,,,,,,,", "8480-6"),
        ("diastolic-bp,part,,,mm[Hg],,,,,,,,,", "8462-4"),
        ("mean-bp,refused,,,,,,,,,,computed there,,", "8478-0"),
    ];
    let mut sent = super::observation("85354-9", &number("0"), "x");
    sent.as_object_mut().unwrap().remove("valueQuantity");
    sent["component"] =
        json!([component("8480-6", "120 mm[Hg]"), component("8462-4", "80 mm[Hg]"), component("8478-0", "93 mm[Hg]")]);
    let read = tree::parse(sent.to_string()).unwrap();
    for (most, fits) in [("2", true), ("1\nparts = 2", true), ("1", false)] {
        let files = own(&lines, &[("pack.toml", "most = 50", &format!("most = {most}"))]);
        let pack = compiled(&files);
        assert_eq!((pack.becomes(Element::root(&read)), pack.takes(Element::root(&read)).is_ok()), (2, fits));
        assert_eq!(told(&pack, &finnish(), std::slice::from_ref(&sent)).is_ok(), fits);
        let text = "measures.csv:2: form: what is split becomes several measurements, and request.most and request.parts are less";
        assert_eq!(wrong(&files).contains(&text.to_owned()), !fits, "{:#?}", wrong(&files));
    }
}

#[test]
fn a_day_is_the_day_where_it_was() {
    let steps = ("steps-daily,quantity,,,{steps}/d,,,integer,,date,,,,", "41950-7");
    let oslo = [("pack.toml", "[person]", "[time]\nzone = \"Europe/Oslo\"\n[person]")];
    for (begins, zone, changes, expected) in [
        ("2026-05-04T22:00:00Z", Some("Europe/Oslo"), &[][..], Some("2026-05-05")),
        ("2026-05-04T22:00:00Z", None, &[], Some("2026-05-04")),
        ("2026-05-04T22:00:00Z", None, &oslo, Some("2026-05-05")),
        ("2026-05-05T00:00:00-04:00", None, &oslo, Some("2026-05-05")),
        ("2026-05-05T04:00:00Z", Some("America/New_York"), &oslo, Some("2026-05-05")),
        ("2026-05-05", Some("America/New_York"), &oslo, Some("2026-05-05")),
        ("2026-05-05T04:00:00Z", Some("Middle/Earth"), &oslo, None),
    ] {
        let mut sent = super::observation("41950-7", &number("9412"), "{steps}/d");
        sent.as_object_mut().unwrap().remove("effectiveDateTime");
        sent["effectivePeriod"] = json!({"start": begins});
        if let Some(zone) = zone {
            let url = format!("{}mh-time-zone", crate::fhir::ours::STRUCTURES);
            sent["extension"] = json!([{"url": url, "valueCode": zone}]);
        }
        let told = observation_of(&compiled(&own(&[steps], changes)), &sent);
        let day = told.as_ref().ok().and_then(|told| told["effectiveDateTime"].as_str());
        assert_eq!(day, expected, "{begins} {zone:?}");
    }
    let nowhere = own(&[steps], &[("pack.toml", "[person]", "[time]\nzone = \"Middle/Earth\"\n[person]")]);
    assert!(wrong(&nowhere)[0].contains("time.zone is a name such as Europe/Oslo"));
}

#[test]
fn a_part_without_a_value_says_why_or_is_named_as_lost() {
    let lines = [
        ("blood-pressure,components,,vital-signs,,,,,,,,,systolic-bp diastolic-bp,", "85354-9"),
        ("systolic-bp,part,,,mm[Hg],,,,,,,,,", "8480-6"),
        ("diastolic-bp,part,,,mm[Hg],,,,,,,,,", "8462-4"),
    ];
    let mut sent = super::observation("85354-9", &number("0"), "x");
    sent.as_object_mut().unwrap().remove("valueQuantity");
    sent["component"] = json!([component("8480-6", "120 mm[Hg]"), component("8462-4", "")]);
    let says = (
        "observation.json",
        "\"value[x]\": \"{value}\" }",
        "\"value[x]?\": \"{value}\", \"dataAbsentReason?\": \"{absent}\" }",
    );
    for (changes, expected, lost) in
        [(&[][..], 1, &["diastolic-bp, which was not measured"][..]), (&[says][..], 2, &[])]
    {
        let pack = compiled(&own(&lines, changes));
        let told = observation_of(&pack, &sent).unwrap();
        let components = told["component"].as_array().unwrap();
        assert_eq!(components.len(), expected, "{told:#}");
        assert!(components[0]["dataAbsentReason"].is_null() && !components[0]["valueQuantity"].is_null());
        let why = components.get(1).map(|one| one["dataAbsentReason"]["text"].clone());
        assert_eq!(why, (expected == 2).then(|| json!("not asked")));
        let read = tree::parse(sent.to_string()).unwrap();
        assert_eq!(pack.left_out(Element::root(&read)), lost);
    }
}

#[test]
fn what_is_lost_is_named() {
    let mut sent = super::observation("29463-7", &number("71"), "kg");
    let concept = json!({"text": "x"});
    sent["note"] = json!([{"text": "first"}, {"text": "second"}]);
    sent["interpretation"] = json!([concept]);
    (sent["method"], sent["bodySite"]) = (concept.clone(), concept);
    sent["device"] = json!({"reference": "Device/d"});
    let label = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"});
    sent["meta"]["security"] = json!([label]);
    let url = format!("{}mh-recording-method", crate::fhir::ours::STRUCTURES);
    sent["extension"] = json!([{"url": url, "valueCode": "automatic"}]);
    let note = ("observation.json", "\"note?\": [{ \"text\": \"{note}\" }]");
    for (to, lost, told) in [
        (
            "\"note?\": [{ \"text\": \"{note}\" }]",
            &["interpretation", "security labels", "further notes", "recording", "device"][..],
            json!([{"text": "first"}]),
        ),
        (
            "\"note?\": \"{notes}\"",
            &["interpretation", "security labels", "recording", "device"],
            json!([{"text": "first"}, {"text": "second"}]),
        ),
        (
            "\"note?\": [{ \"text\": \"{notes.text}\" }]",
            &["interpretation", "security labels", "recording", "device"],
            json!([{"text": "first\nsecond"}]),
        ),
        (
            "\"note?\": [{ \"text\": \"{recording}\" }]",
            &["interpretation", "note", "security labels", "device"],
            json!([{"text": "automatic"}]),
        ),
    ] {
        let pack = compiled(&own(&[WEIGHT], &[(note.0, note.1, to)]));
        let read = tree::parse(sent.to_string()).unwrap();
        assert_eq!(pack.left_out(Element::root(&read)), lost, "{to}");
        assert_eq!(observation_of(&pack, &sent).unwrap()["note"], told, "{to}");
    }
    let labelled = ("observation.json", "\"profile\": [\"{profile}\"]", "\"security?\": \"{security}\"");
    let pack = compiled(&own(&[WEIGHT], &[labelled]));
    assert_eq!(observation_of(&pack, &sent).unwrap()["meta"]["security"], json!([label]));
    let read = tree::parse(sent.to_string()).unwrap();
    assert!(!pack.left_out(Element::root(&read)).contains(&"security labels".to_owned()));
}

#[test]
fn the_request_around_a_measurement_is_held_against_the_standard() {
    let request = "request.json";
    for (file, from, to, expected) in [
        (request, "\"transaction\"", "\"transactoin\"", "request.json:3: Bundle.type: "),
        (
            request,
            "\"url\": \"Observation\",",
            "\"url\": \"Observations\",",
            "request.json:10: url: FHIR R4 has no Observations",
        ),
        (request, "\"POST\"", "\"PSOT\"", "request.json:10: Bundle.entry[0].request.method: "),
        (
            request,
            "\"identifier=",
            "\"?identifier=",
            "request.json:10: ifNoneExist: a condition is a search without a question mark",
        ),
        (
            request,
            "\"identifier=",
            "\"identifer=",
            "request.json:10: ifNoneExist: Observation of FHIR R4 is not searched by identifer",
        ),
        (
            request,
            "urn:uuid:{uuid}\" }",
            "urn:uuid:{request.uuid}\" }",
            "request.json:10: ifNoneExist: {request.uuid} is another wherever",
        ),
        (
            request,
            ", \"ifNoneExist\": \"identifier=urn:uuid:{uuid}\"",
            "",
            "pack.toml:12: request.repeatable: what is posted without",
        ),
        (
            "observation.json",
            "\"Patient/{person.value}\" },\n  \"eff",
            "\"Patients/{person.value}\" },\n  \"eff",
            "observation.json:9: reference: FHIR R4 has no Patients",
        ),
        ("errors.csv", "401,,", "401,forbiden,", "errors.csv:3: code: FHIR has no issue forbiden"),
        (
            "errors.csv",
            "401,,,destination-access,yes",
            "422,value,x,destination-access,yes",
            "errors.csv:3: status: it is never reached, since line 2",
        ),
    ] {
        let told = wrong(&own(&[WEIGHT], &[(file, from, to)]));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:#?}");
    }
    assert_eq!(wrong(&own(&[WEIGHT], &[])), [""; 0]);
    let (from, lines) = ("most = 50", "most = 50\nrepeatable = false");
    let changes = [("pack.toml", from, lines), (request, ", \"ifNoneExist\": \"identifier=urn:uuid:{uuid}\"", "")];
    assert_eq!(wrong(&own(&[WEIGHT], &changes)), [""; 0]);
}

#[test]
fn what_a_line_and_its_code_say_is_true_together_in_every_release() {
    for fhir in ["3.0.2", "4.0.1", "5.0.0"] {
        let release = ("pack.toml", "fhir = \"4.0.1\"", &*format!("fhir = {fhir:?}"));
        for (line, code, expected) in [
            ("glucose-capillary-molar,quantity,,,mg/dL,,,,18.0156,,,,,", "41653-7", None),
            (
                "glucose-capillary-molar,quantity,,,mg/dL,,,,0.0555,,,,,",
                "41653-7",
                Some(
                    "times: what is usual becomes 0.061 to 1.85 mg/dL, and 41653-7 of http://loinc.org is glucose-capillary-mass, usual from 20 to 600",
                ),
            ),
            (
                "glucose-capillary-molar,quantity,,,mg/dL,,,,18.0156,,,,,",
                "14743-9",
                Some("unit: 14743-9 of http://loinc.org is glucose-capillary-molar, in mmol/L and not in mg/dL"),
            ),
            ("hba1c-ifcc,quantity,,,%,%,,1,0.09148,,,,,2.152", "4548-4", None),
            (
                "hba1c-ifcc,quantity,,,%,%,,1,0.09148,,,,,",
                "4548-4",
                Some("times: what is usual becomes 0.823 to 17.8 %"),
            ),
            ("hba1c-ifcc,quantity,,,%,%,,1,0.09148,,,,,2.152", "59261-8", Some("times: what is usual becomes ")),
            ("body-weight,quantity,,vital-signs,kg,g,,,,,,,,", "29463-7", Some("unit_text: g is another unit than kg")),
            ("heart-rate,quantity,,vital-signs,/min,1/min,,,,,,,,", "8867-4", None),
            ("body-weight,quantity,,vital-signs,[lb_av],lb,,,,,,,,", "29463-7", None),
        ] {
            let mut files = own(&[(line, code)], &[release]);
            if fhir == "3.0.2" {
                let text = files.get_mut("observation.json").unwrap();
                *text = text.replace("\"note?\": [{ \"text\": \"{note}\" }]", "\"comment?\": \"{note}\"");
            }
            let told = wrong(&files);
            let expected: Vec<String> = expected.map(|text| format!("measures.csv:2: {text}")).into_iter().collect();
            let fits =
                told.len() == expected.len() && told.iter().zip(&expected).all(|(told, text)| told.starts_with(text));
            assert!(fits, "{fhir} {line}: {told:#?}");
        }
    }
}

#[test]
fn names_and_statuses_of_stu3_are_known() {
    let release = ("pack.toml", "\"4.0.1\"", "\"3.0.2\"");
    let note = ("observation.json", "\"note?\": [{ \"text\": \"{note}\" }]", "\"comment?\": \"{note}\"");
    for (change, expected) in [
        (note, None),
        (
            ("observation.json", "X", "X"),
            Some("observation.json:15: note: Observation of FHIR STU3 has no such element"),
        ),
        (
            ("observation.json", "\"{status}\"", "\"finl\""),
            Some("observation.json:6: status: Observation has no status finl"),
        ),
        (
            ("request.json", "\"transaction\"", "\"transactoin\""),
            Some("request.json:3: type: Bundle has no type transactoin"),
        ),
        (
            ("observation.json", "\"Observation\"", "\"Observatio\""),
            Some("observation.json:2: resourceType: FHIR STU3 has no Observatio"),
        ),
    ] {
        let is_note = change.1 == "X";
        let changes: Vec<_> = if is_note {
            vec![release]
        } else if change == note {
            vec![release, note]
        } else {
            vec![release, note, change]
        };
        let told = wrong(&own(&[WEIGHT], &changes));
        assert!(told.len() == usize::from(expected.is_some()), "{told:#?}");
        assert!(expected.is_none_or(|expected| told[0].starts_with(expected)), "{expected:?}: {told:#?}");
    }
}

#[test]
fn a_document_says_when_the_last_was_made_and_the_whole_name() {
    let entry = (
        "request.json",
        "\"type\": \"transaction\",",
        "\"type\": \"transaction\", \"timestamp\": \"{request.issued}\",",
    );
    let name = (
        "observation.json",
        "\"note?\": [{ \"text\": \"{note}\" }]",
        "\"note\": [{ \"text\": \"{person.name}\" }], \"x\": \"{person.givens}\"",
    );
    let pack = compiled(&own(&[WEIGHT], &[entry, name]));
    let made = |id: &str, issued: &str| {
        let mut sent = super::observation("29463-7", &number("71"), "kg");
        (sent["id"], sent["issued"]) = (id.into(), issued.into());
        sent
    };
    let mut stage = finnish();
    stage.person["name"] = json!([{"family": "Aalto", "given": ["Anna", "Maria"]}]);
    let sent = [
        made("o1", "2026-05-04T09:00:00+02:00"),
        made("o2", "2026-05-04T08:30:00Z"),
        made("o3", "2026-05-04T09:30:00+02:00"),
    ];
    let told = told(&pack, &stage, &sent).unwrap();
    assert_eq!(told["timestamp"], "2026-05-04T08:30:00Z");
    let first = &told["entry"][0]["resource"];
    assert_eq!((&first["note"][0]["text"], &first["x"]), (&json!("Anna Maria Aalto"), &json!(["Anna", "Maria"])));
}

#[test]
fn what_an_example_has_and_the_pack_does_not_tell_is_named() {
    let pack = compiled(&own(&[WEIGHT], &[]));
    let mut example = super::observation("29463-7", &number("71"), "kg");
    (example["bodySite"], example["encounter"]) = (json!({"text": "x"}), json!({"reference": "Encounter/1"}));
    example["performer"] = json!([{"reference": "Patient/1"}]);
    let material = [("weight.json".to_owned(), example)];
    let tried = trial::run(&pack, &BTreeMap::new(), &material, &std::collections::BTreeSet::new()).unwrap();
    assert_eq!(tried.examples[0].uncompared, ["bodySite", "encounter"], "{:?}", tried.examples);
    assert!(tried.examples[0].differs.is_empty(), "{:?}", tried.examples);
}

#[test]
fn what_is_drafted_says_whether_it_is_known_again() {
    use draft::{Answers, Extra, Shape};
    for shape in [Shape::Single, Shape::Transaction, Shape::Batch, Shape::Collection] {
        for elements in [vec![Extra::Identifier], vec![Extra::Issued]] {
            let answers = Answers { request: Some(shape), elements: Some(elements), ..Answers::default() };
            assert_eq!(wrong(&draft::draft(&answers).unwrap()), [""; 0], "{shape:?}");
        }
    }
}
