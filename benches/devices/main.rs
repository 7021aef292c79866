//! What it costs to turn the records of devices into validated FHIR: `cargo bench --bench devices`.
//!
//! CPU time of one thread, beside reading the same bytes and nothing else; every ratio is of one run, because machines
//! are noisy. Nothing is asserted about speed; a record that is not judged as it should be ends the run.
//! `cargo bench --bench devices -- write FILE BYTES` writes an export to try the command with.

#[path = "../clock.rs"]
mod clock;
mod export;
#[path = "../kernel.rs"]
mod kernel;

use std::hint::black_box;

use anyhow::{Context, ensure};
use mhealth_gateway::devices::apple_health::{Read, Reader};
use mhealth_gateway::devices::series::{Collector, Form, Made, Span};
use mhealth_gateway::devices::{self, Formats, Pack, Sender};
use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;

use clock::micros;
use kernel::peak_memory_mb;

/// Bytes that are handed over at a time.
const PIECE: usize = 1 << 16;

/// Bytes of the export that is read again and again: it fits no cache near the core, as files do not.
const EXPORT: u64 = 16 << 20;

/// Records in one call, as the command hands them over.
const SHARE: usize = 64;

const SUBJECT: &str = "Patient/example";

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if words.first().is_some_and(|word| word == "write") {
        let [_, file, bytes] = words.as_slice() else { anyhow::bail!("write FILE BYTES") };
        let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
        let records = export::write(bytes.parse().context("BYTES")?, &mut out)?;
        println!("{records} records");
        return Ok(());
    }
    let validator = Validator::new(guide::registry());
    let formats = Formats::default();
    let mut bytes = Vec::new();
    let records = export::write(EXPORT, &mut bytes)?;
    let (texts, spent) = apple(&bytes, records)?;
    if let Some(pack) = formats.named("healthkit") {
        let lists =
            texts.chunks(SHARE).map(|share| format!("{{\"records\":[{}]}}", share.join(","))).collect::<Vec<_>>();
        let steps = steps(&validator, pack, &lists)?;
        let (rate, all) = (bytes.len() as f64, spent + steps.validated);
        println!("  {:28} {:8.0} MB/s  {:9.0} records/s", "to validated FHIR", rate / all, records as f64 / all * 1e6);
        told("HealthKit as JSON", records, &lists, &steps);
        kinds(&validator, pack, &texts)?;
    }
    let points = texts.len().min(20_000);
    let lists: Vec<String> = (0..points / SHARE)
        .map(|list| {
            let points: Vec<String> = (0..SHARE).map(|point| heart_rate(list * SHARE + point)).collect();
            format!("{{\"data_points\":[{}]}}", points.join(","))
        })
        .collect();
    let pack = formats.named("open-mhealth").context("open-mhealth")?;
    told("Open mHealth", (lists.len() * SHARE) as u64, &lists, &steps(&validator, pack, &lists)?);
    series(&lists, pack)?;
    println!("peak memory {:.0} MB", peak_memory_mb()?);
    Ok(())
}

/// A data point as an app sends it.
fn heart_rate(index: usize) -> String {
    format!(
        "{{\"header\":{{\"id\":\"243c773b-8936-407e-9c23-{index:012x}\",\"creation_date_time\":\"2026-01-15T08:31:00Z\",\
         \"schema_id\":{{\"namespace\":\"omh\",\"name\":\"heart-rate\",\"version\":\"2.0\"}},\"acquisition_provenance\":\
         {{\"source_name\":\"Band 5\",\"modality\":\"sensed\"}}}},\"body\":{{\"heart_rate\":{{\"value\":{},\"unit\":\
         \"beats/min\"}},\"effective_time_frame\":{{\"date_time\":\"2026-01-{:02}T{:02}:{:02}:00+01:00\"}}}}}}",
        60 + index % 40,
        1 + index / 1440 % 28,
        index / 60 % 24,
        index % 60
    )
}

/// CPU time of the steps, each with those before it, in microseconds.
struct Steps {
    theirs: f64,
    ours: f64,
    mapped: f64,
    /// The Observations read again, as the validator wants them.
    reread: f64,
    validated: f64,
    allocations: u64,
}

fn steps(validator: &Validator, pack: &Pack, lists: &[String]) -> anyhow::Result<Steps> {
    let sender = Sender { subject: SUBJECT, zone: None };
    let theirs = micros(|| {
        for list in lists {
            drop(black_box(serde_json::from_str::<serde_json::Value>(list)));
        }
    })?;
    let mut memory = json::Memory::default();
    let ours = micros(|| {
        for list in lists {
            if let Ok(document) = json::parse_in(std::mem::take(&mut memory), list.as_bytes()) {
                memory = json::Memory::from(black_box(document));
            }
        }
    })?;
    let mut convert = |then: &mut dyn FnMut(devices::Record)| {
        for list in lists {
            let Ok(document) = json::parse_in(std::mem::take(&mut memory), list.as_bytes()) else { continue };
            for record in devices::convert(pack, &document, &sender, SHARE * 8).unwrap_or_default() {
                then(record);
            }
            memory = json::Memory::from(document);
        }
    };
    let (mut good, mut bad) = (0, Vec::new());
    convert(&mut |record| match record.observation {
        Some(_) => good += 1,
        None => bad.push(record.issues),
    });
    ensure!(good > 0, "nothing was converted: {:?}", bad.first());
    let mapped = micros(|| convert(&mut |record| drop(black_box(record))))?;
    let mut own = json::Memory::default();
    let reread = micros(|| {
        convert(&mut |record| {
            let Some(text) = record.observation else { return };
            if let Ok(observation) = json::parse_in(std::mem::take(&mut own), text.as_bytes()) {
                own = json::Memory::from(black_box(observation));
            }
        });
    })?;
    let mut errors = 0;
    let mut judge = |record: devices::Record| {
        let Some(text) = record.observation else { return };
        let Ok(observation) = json::parse_in(std::mem::take(&mut own), text.as_bytes()) else { return };
        let report = validator.check(Element::root(&observation), &Options::default());
        errors += usize::from(has_errors(&report.issues));
        own = json::Memory::from(observation);
    };
    let validated = micros(|| convert(&mut judge))?;
    let allocations = allocation_counter::measure(|| convert(&mut judge)).count_total;
    ensure!(errors == 0, "{errors} Observations are not valid");
    Ok(Steps { theirs, ours, mapped, reread, validated, allocations })
}

fn told(what: &str, records: u64, lists: &[String], steps: &Steps) {
    let megabytes = lists.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    let line = |name: &str, micros: f64, rest: &str| {
        let (rate, records) = (megabytes / micros * 1e6, records as f64 / micros * 1e6);
        println!("  {name:28} {rate:8.0} MB/s  {records:9.0} records/s{rest}");
    };
    println!("{what}, {records} records of {:.0} bytes", megabytes * 1e6 / records as f64);
    line("serde_json to Value", steps.theirs, "");
    line("our reader", steps.ours, &format!("   {:.2} of serde_json", steps.ours / steps.theirs));
    line("to FHIR", steps.mapped, &format!("   {:.2} of serde_json", steps.mapped / steps.theirs));
    line("to FHIR, and read", steps.reread, &format!("   {:.2} of serde_json", steps.reread / steps.theirs));
    let each = steps.allocations as f64 / records as f64;
    let rest = format!("   {:.2} of serde_json, {each:.1} allocations a record", steps.validated / steps.theirs);
    line("to validated FHIR", steps.validated, &rest);
}

/// What the check of one Observation costs, by the type of record that it was made of.
fn kinds(validator: &Validator, pack: &Pack, texts: &[String]) -> anyhow::Result<()> {
    let sender = Sender { subject: SUBJECT, zone: None };
    let mut seen = Vec::new();
    println!("one check");
    for text in texts {
        let Some(kind) = text.split('"').nth(3).filter(|kind| !seen.contains(kind)) else { continue };
        seen.push(kind);
        let list = format!("{{\"records\":[{text}]}}");
        let document = json::parse(list).map_err(|issue| anyhow::anyhow!("{}", issue.text))?;
        let records = devices::convert(pack, &document, &sender, 8).unwrap_or_default();
        for observation in records.into_iter().filter_map(|record| record.observation) {
            let observation = json::parse(observation).map_err(|issue| anyhow::anyhow!("{}", issue.text))?;
            let check = || validator.check(Element::root(&observation), &Options::default());
            let spent = micros(|| drop(black_box(check())))?;
            println!("  {kind:44} {spent:8.2} µs for {} bytes", observation.source().len());
        }
    }
    Ok(())
}

/// Readings as stretches of samples.
fn series(lists: &[String], pack: &Pack) -> anyhow::Result<()> {
    let sender = Sender { subject: SUBJECT, zone: None };
    let mut readings = Vec::new();
    for list in lists {
        let document = json::parse(list.as_str()).map_err(|issue| anyhow::anyhow!("{}", issue.text))?;
        for record in devices::convert(pack, &document, &sender, SHARE).unwrap_or_default() {
            readings.extend(record.observation.and_then(|text| json::parse(text).ok()));
        }
    }
    let before: usize = readings.iter().map(|reading| reading.source().len()).sum();
    let (mut after, mut count) = (0, 0);
    let spent = micros(|| {
        (after, count) = (0, 0);
        let mut collector = Collector::new(Form::Chunk(Span::Day), i64::MAX);
        let mut tell = |made: Made| {
            if let Made::Stretch(stretch) = made {
                after += stretch.text.len();
                count += 1;
            }
        };
        for reading in &readings {
            collector.take(reading, &mut tell);
        }
        collector.finish(&mut tell);
    })?;
    ensure!(count > 0, "no stretch was made");
    println!("{} heart rates in {count} stretches of a day", readings.len());
    println!(
        "  {:.0} readings/s, {:.2} MB as Observations, {:.1} kB as stretches",
        readings.len() as f64 / spent * 1e6,
        before as f64 / 1e6,
        after as f64 / 1e3
    );
    Ok(())
}

/// Reads an export; the records are handed on, and how many microseconds reading took.
fn apple(bytes: &[u8], records: u64) -> anyhow::Result<(Vec<String>, f64)> {
    let megabytes = bytes.len() as f64 / 1e6;
    let line = |name: &str, micros: f64, rest: &str| {
        let (rate, records) = (megabytes / micros * 1e6, records as f64 / micros * 1e6);
        println!("  {name:28} {rate:8.0} MB/s  {records:9.0} records/s{rest}");
    };
    let mut length = 0;
    let theirs = micros(|| length = black_box(bare(bytes)))?;
    ensure!(length > 0, "quick-xml read nothing");
    println!("export.xml, {records} records of {} bytes", bytes.len() as u64 / records);
    line("quick-xml, every attribute", theirs, "");
    let mut texts = Vec::new();
    read(bytes, |text| texts.push(text.to_owned()));
    ensure!(texts.len() as u64 == records, "{} of {records} records were read", texts.len());
    let spent = micros(|| read(bytes, |text| keep(text.len())))?;
    line("to records as JSON", spent, &format!("   {:.2} of quick-xml", spent / theirs));
    let allocations = allocation_counter::measure(|| read(bytes, |text| keep(text.len()))).count_total;
    println!("  {allocations} allocations in all");
    Ok((texts, spent))
}

/// What was made is used, as far as the compiler knows.
fn keep(length: usize) {
    black_box(length);
}

fn read(bytes: &[u8], mut each: impl FnMut(&str)) {
    let mut reader = Reader::new();
    let mut tell = |read: Read<'_>| {
        if let Read::Record { text, .. } = read {
            each(text);
        }
    };
    for piece in bytes.chunks(PIECE) {
        reader.push(piece, &mut tell);
    }
    reader.end(&mut tell);
}

/// Every attribute of every element, unescaped, and nothing made of it.
fn bare(bytes: &[u8]) -> usize {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    let mut length = 0;
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag)) => {
                for attribute in tag.attributes().flatten() {
                    length += attribute.value.len();
                }
            }
            Ok(quick_xml::events::Event::Eof) | Err(_) => return length,
            Ok(_) => {}
        }
    }
}
