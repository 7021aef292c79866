//! Readings of an hour or a day as statistics.
//!
//! What is counted over a period (steps, energy) is summed, what is measured at a moment (heart rate) is averaged, with
//! the least and the greatest; never the other way round. Where the guide has a measure for the day's value, that is
//! what it becomes, else the code stays and the guide's statistic says what the value is. How many readings went in and
//! how much of the span they cover is said with it. A period counts where it begins: dividing it would be a guess.

use std::fmt::Write;

use rust_decimal::Decimal;

use super::frame::{Frame, Known, Reading, Token, period_of};
use super::{Facts, Span, Unfit, moment};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::write;
use crate::fhir::validate::measures::{self, LOINC};

/// What a value is of the values of its span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    Sum,
    Average,
    Minimum,
    Maximum,
}

impl Statistic {
    /// Code of `observation-statistics`.
    pub fn code(self) -> &'static str {
        match self {
            Statistic::Sum => "sum",
            Statistic::Average => "average",
            Statistic::Minimum => "minimum",
            Statistic::Maximum => "maximum",
        }
    }
}

/// The guide's measures of a day's value, by what is measured.
const DAILY: [(&str, Statistic, &str); 4] = [
    ("heart-rate", Statistic::Average, "heart-rate-mean-24h"),
    ("heart-rate", Statistic::Minimum, "heart-rate-min-24h"),
    ("heart-rate", Statistic::Maximum, "heart-rate-max-24h"),
    ("steps-interval", Statistic::Sum, "steps-daily"),
];

const STATISTICS: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";

/// Extensions that a statistic says anew.
const SAID_ANEW: [&str; 4] = ["mh-recording-method", "mh-time-zone", "mh-statistic", "mh-completeness"];

/// Digits that an average has more than what it is of.
const MORE_DIGITS: u32 = 2;

/// The statistics of readings of one span, sorted by time, each an Observation.
pub fn aggregate(frame: &Frame, readings: &[Reading], span: Span) -> Result<(Vec<String>, Facts), Unfit> {
    let first = readings.first().ok_or(Unfit::Alone)?;
    let measure = frame.measure().ok_or(Unfit::Measure)?;
    let is_counted = measure.profiles.iter().any(|profile| matches!(*profile, "interval" | "daily"));
    let numbers = numbers(readings)?;
    let values = if is_counted {
        if readings.windows(2).any(|pair| pair[1].start < pair[0].end) {
            return Err(Unfit::Overlap);
        }
        vec![(Statistic::Sum, sum(&numbers)?)]
    } else {
        let count = Decimal::from(numbers.len());
        let scale = numbers.iter().map(Decimal::scale).max().unwrap_or_default() + MORE_DIGITS;
        let mean = sum(&numbers)?.checked_div(count).ok_or(Unfit::Form)?.round_dp(scale).normalize();
        let least = numbers.iter().min().copied().unwrap_or_default();
        let most = numbers.iter().max().copied().unwrap_or_default();
        vec![(Statistic::Average, mean), (Statistic::Minimum, least), (Statistic::Maximum, most)]
    };
    let window = Window { start: span.start(first.start, first.offset), offset: first.offset, span };
    let said = Said { count: readings.len(), coverage: coverage(readings, &window) };
    let name = |what: Statistic| frame.derived(&format!("{}-", what.code()), window.start);
    let ids = values.iter().map(|(what, _)| name(*what)).collect();
    let text = |(what, value)| written(frame, measure, what, value, &name(what), &window, &said);
    let texts = values.into_iter().map(text).collect();
    Ok((texts, Facts::of("aggregate", frame, readings, ids)))
}

struct Window {
    start: i64,
    offset: i32,
    span: Span,
}

struct Said {
    count: usize,
    /// Percent of the span.
    coverage: i64,
}

fn numbers(readings: &[Reading]) -> Result<Vec<Decimal>, Unfit> {
    let number = |reading: &Reading| match reading.token {
        Token::Value => Decimal::from_str_exact(&reading.digits).map_err(|_| Unfit::Form),
        Token::Below | Token::Above => Err(Unfit::Limits),
    };
    readings.iter().map(number).collect()
}

fn sum(numbers: &[Decimal]) -> Result<Decimal, Unfit> {
    numbers.iter().try_fold(Decimal::ZERO, |sum, number| sum.checked_add(*number)).ok_or(Unfit::Form)
}

/// Of periods the share of time; of moments the share of the twenty-four parts (of an hour, twelve) that have one.
fn coverage(readings: &[Reading], window: &Window) -> i64 {
    let length = window.span.ms();
    if readings.iter().any(|reading| reading.end > reading.start) {
        let end = window.start + length;
        let covered: i64 = readings.iter().map(|reading| (reading.end.min(end) - reading.start).max(0)).sum();
        return (covered * 100 / length).min(100);
    }
    let parts = match window.span {
        Span::Hour => 12,
        Span::Day => 24,
    };
    let mut met: u32 = 0;
    for reading in readings {
        met |= 1 << ((reading.start - window.start).rem_euclid(length) * parts / length);
    }
    i64::from(met.count_ones()) * 100 / parts
}

fn written(
    frame: &Frame,
    measure: Known,
    what: Statistic,
    value: Decimal,
    id: &str,
    window: &Window,
    said: &Said,
) -> String {
    let zone = zone(window.offset);
    let of_day = window.span == Span::Day && zone.is_some();
    let daily = DAILY.iter().find(|(key, statistic, _)| of_day && *key == measure.key && *statistic == what);
    let is_daily = daily.is_some() || of_day && measure.profiles.contains(&"daily");
    let profile = match (is_daily, what) {
        (true, _) => Some("daily"),
        (false, Statistic::Sum) if measure.profiles.contains(&"interval") => Some("interval"),
        _ => None,
    };
    let anew = frame.with(frame.extensions_without(&SAID_ANEW));
    let extensions = extensions(what, zone.as_deref().filter(|_| is_daily), said.coverage);
    let mut out = String::with_capacity(1024);
    anew.open(anew.claim(profile).as_deref(), &extensions, "final", id, &mut out);
    let loinc = daily.and_then(|(.., key)| loinc(key));
    match loinc {
        Some(code) => {
            out.extend(["\"code\":{\"coding\":[{\"system\":\"", LOINC, "\",\"code\":\"", code, "\"}]},"]);
        }
        None => out.extend(["\"code\":", frame.code(), ","]),
    }
    if is_daily {
        out.extend(["\"effectiveDateTime\":\"", &moment::date(window.start, window.offset), "\""]);
    } else {
        period_of(window.start, window.start + window.span.ms(), window.offset, &mut out);
    }
    // Writing into a string does not fail.
    let _ = write!(out, ",\"valueQuantity\":{{\"value\":{value}{}}}", frame.unit());
    out.extend([",\"component\":[{\"code\":{\"coding\":[{\"system\":\"", STATISTICS, "\",\"code\":\"count\"}]},"]);
    out.extend(["\"valueQuantity\":{\"value\":", &said.count.to_string(), ",\"unit\":\"readings\",\"system\":"]);
    write::string(ucum::SYSTEM, &mut out);
    out.push_str(",\"code\":\"1\"}}]}");
    out
}

fn extensions(what: Statistic, zone: Option<&str>, coverage: i64) -> String {
    let mut out = String::with_capacity(512);
    let mut code = |name: &str, value: &str| {
        out.extend(["{\"url\":\"", STRUCTURES, name, "\",\"valueCode\":\"", value, "\"},"]);
    };
    code("mh-recording-method", "derived");
    code("mh-statistic", what.code());
    if let Some(zone) = zone {
        code("mh-time-zone", zone);
    }
    // Writing into a string does not fail.
    let _ = write!(
        out,
        "{{\"url\":\"{STRUCTURES}mh-completeness\",\"valueQuantity\":{{\"value\":{coverage},\"unit\":\"%\",\
         \"system\":\"{}\",\"code\":\"%\"}}}}",
        ucum::SYSTEM
    );
    out
}

fn loinc(key: &str) -> Option<&'static str> {
    let measure = measures::all().iter().find(|measure| measure.key == key)?;
    measure.codes.iter().find(|code| code.system == LOINC).map(|code| code.code)
}

/// The zone of a whole number of hours, which the IANA database names with the sign turned round.
fn zone(offset: i32) -> Option<String> {
    match (offset / 3600, offset % 3600) {
        (0, 0) => Some("UTC".to_owned()),
        (hours, 0) => Some(format!("Etc/GMT{:+}", -hours)),
        _ => None,
    }
}
