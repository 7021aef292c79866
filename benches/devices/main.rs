//! What it costs to turn the records of devices into validated FHIR: `cargo bench --bench devices`.
//!
//! CPU time of one thread, beside reading the same bytes and nothing else; every ratio is of one run, because machines
//! are noisy. Nothing is asserted about speed; a record that is not judged as it should be ends the run.
//! `cargo bench --bench devices -- write FILE BYTES` writes an export to try the command with.

#[path = "../clock.rs"]
mod clock;
mod export;

use std::hint::black_box;

use anyhow::{Context, ensure};
use mhealth_gateway::devices::apple_health::{Read, Reader};

use clock::micros;

/// Bytes that are handed over at a time.
const PIECE: usize = 1 << 16;

/// Bytes of the export that is read again and again: it fits no cache near the core, as files do not.
const EXPORT: u64 = 16 << 20;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if words.first().is_some_and(|word| word == "write") {
        let [_, file, bytes] = words.as_slice() else { anyhow::bail!("write FILE BYTES") };
        let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
        let records = export::write(bytes.parse().context("BYTES")?, &mut out)?;
        println!("{records} records");
        return Ok(());
    }
    let mut bytes = Vec::new();
    let records = export::write(EXPORT, &mut bytes)?;
    apple(&bytes, records)
}

fn apple(bytes: &[u8], records: u64) -> anyhow::Result<()> {
    let megabytes = bytes.len() as f64 / 1e6;
    let per_second =
        |micros: f64| format!("{:8.0} MB/s  {:9.0} records/s", megabytes / micros * 1e6, records as f64 / micros * 1e6);
    let theirs = micros(|| drop(black_box(bare(bytes))))?;
    println!("export.xml, {records} records of {} bytes", bytes.len() as u64 / records);
    println!("  quick-xml, every attribute    {}", per_second(theirs));
    let mut told = 0;
    let read = micros(|| told = count(bytes))?;
    ensure!(told == records, "{told} of {records} records were read");
    println!("  to records as JSON            {}   {:.2} of quick-xml", per_second(read), read / theirs);
    Ok(())
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

fn count(bytes: &[u8]) -> u64 {
    let mut records = 0;
    let mut reader = Reader::new();
    let mut tell = |read: Read<'_>| {
        if let Read::Record { text, .. } = read {
            records += 1;
            black_box(text);
        }
    };
    for piece in bytes.chunks(PIECE) {
        reader.push(piece, &mut tell);
    }
    reader.end(&mut tell);
    records
}
