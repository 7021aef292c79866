//! An export as a phone writes it, of any length: the mix and the attributes of a person with a watch. Also what the
//! tests convert.

use std::fmt::Write as _;
use std::io::{self, Write};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE HealthData [\n<!-- HealthKit Export Version: 13 -->\n\
    <!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary)*)>\n<!ATTLIST HealthData\n  locale \
    CDATA #REQUIRED\n>\n]>\n<HealthData locale=\"en_GB\">\n <ExportDate value=\"2026-06-01 12:00:00 +0200\"/>\n <Me \
    HKCharacteristicTypeIdentifierDateOfBirth=\"1980-01-01\" \
    HKCharacteristicTypeIdentifierBiologicalSex=\"HKBiologicalSexNotSet\"/>\n";

const WATCH: &str = "sourceName=\"Anna’s Apple\u{a0}Watch\" sourceVersion=\"11.5\" device=\"&lt;&lt;HKDevice: \
    0x3010a2c40&gt;, name:Apple Watch, manufacturer:Apple Inc., model:Watch, hardware:Watch6,2, software:11.5&gt;\"";

/// Writes an export of about so many bytes. `records` is how many records there are in it.
pub fn write(bytes: u64, out: &mut impl Write) -> io::Result<u64> {
    let mut text = String::from(HEAD);
    let (mut written, mut records, mut minute) = (0, 0, 0_u64);
    while written + (text.len() as u64) < bytes {
        if text.len() > 1 << 16 {
            written += text.len() as u64;
            out.write_all(text.as_bytes())?;
            text.clear();
        }
        records += records_of(minute, &mut text);
        minute += 1;
    }
    text.push_str("</HealthData>\n");
    out.write_all(text.as_bytes())?;
    Ok(records)
}

/// The records of one minute.
fn records_of(minute: u64, out: &mut String) -> u64 {
    let mut count = 2;
    let (start, end) = (time(minute, 5), time(minute, 48));
    let pulse = 55 + minute * 7 % 60;
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        " <Record type=\"HKQuantityTypeIdentifierHeartRate\" {WATCH} unit=\"count/min\" creationDate=\"{end}\" \
         startDate=\"{start}\" endDate=\"{start}\" value=\"{pulse}\">\n  <MetadataEntry \
         key=\"HKMetadataKeyHeartRateMotionContext\" value=\"{}\"/>\n </Record>",
        minute % 3
    );
    let _ = writeln!(
        out,
        " <Record type=\"HKQuantityTypeIdentifierStepCount\" {WATCH} unit=\"count\" creationDate=\"{end}\" \
         startDate=\"{start}\" endDate=\"{end}\" value=\"{}\"/>",
        minute % 120 + 1
    );
    if minute.is_multiple_of(3) {
        count += 1;
        let _ = writeln!(
            out,
            " <Record type=\"HKQuantityTypeIdentifierActiveEnergyBurned\" {WATCH} unit=\"kcal\" creationDate=\"{end}\" \
             startDate=\"{start}\" endDate=\"{end}\" value=\"{}.{:03}\"/>",
            minute % 9,
            minute % 1000
        );
    }
    if minute.is_multiple_of(30) {
        count += 1;
        let _ = writeln!(
            out,
            " <Record type=\"HKQuantityTypeIdentifierOxygenSaturation\" {WATCH} unit=\"%\" creationDate=\"{end}\" \
             startDate=\"{start}\" endDate=\"{start}\" value=\"0.{}\"/>",
            94 + minute / 30 % 6
        );
    }
    if minute % 1440 < 480 && minute.is_multiple_of(30) {
        count += 1;
        let stage = ["AsleepCore", "AsleepDeep", "AsleepREM", "Awake"][(minute / 30 % 4) as usize];
        let _ = writeln!(
            out,
            " <Record type=\"HKCategoryTypeIdentifierSleepAnalysis\" {WATCH} creationDate=\"{end}\" \
             startDate=\"{start}\" endDate=\"{}\" value=\"HKCategoryValueSleepAnalysis{stage}\">\n  <MetadataEntry \
             key=\"HKTimeZone\" value=\"Europe/Madrid\"/>\n </Record>",
            time(minute + 30, 5)
        );
    }
    if minute % 1440 == 600 {
        count += 2;
        let pressure = |name: &str, value: u64| {
            format!(
                "<Record type=\"HKQuantityTypeIdentifierBloodPressure{name}\" sourceName=\"Cuff\" unit=\"mmHg\" \
                 creationDate=\"{start}\" startDate=\"{start}\" endDate=\"{start}\" value=\"{value}\"/>"
            )
        };
        let _ = writeln!(
            out,
            " <Correlation type=\"HKCorrelationTypeIdentifierBloodPressure\" sourceName=\"Cuff\" creationDate=\"{start}\" \
             startDate=\"{start}\" endDate=\"{start}\">\n  {}\n  {}\n </Correlation>\n <Workout \
             workoutActivityType=\"HKWorkoutActivityTypeRunning\" duration=\"31.736\" durationUnit=\"min\" {WATCH} \
             creationDate=\"{end}\" startDate=\"{start}\" endDate=\"{}\">\n  <WorkoutStatistics \
             type=\"HKQuantityTypeIdentifierDistanceWalkingRunning\" startDate=\"{start}\" endDate=\"{end}\" \
             sum=\"5.0123\" unit=\"km\"/>\n  <WorkoutRoute sourceName=\"x\"><FileReference path=\"/route.gpx\"/>\
             </WorkoutRoute>\n </Workout>",
            pressure("Systolic", 118 + minute / 1440 % 20),
            pressure("Diastolic", 72 + minute / 1440 % 15),
            time(minute + 31, 50)
        );
    }
    count
}

/// A moment of the year 2020 and those after it, in Spain's winter.
fn time(minute: u64, second: u64) -> String {
    let (day, minute) = (minute / 1440, minute % 1440);
    let (year, day) = (2020 + day / 336, day % 336);
    format!("{year}-{:02}-{:02} {:02}:{:02}:{second:02} +0100", day / 28 + 1, day % 28 + 1, minute / 60, minute % 60)
}
