//! Observations as they go out: a line each, or one Bundle that is written as it grows.

use std::io::{self, Write};

use clap::ValueEnum;

use crate::fhir::ours::STRUCTURES;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Shape {
    /// A collection.
    Bundle,
    /// A resource a line.
    Ndjson,
}

pub(super) struct Output<W> {
    shape: Shape,
    out: W,
    count: u64,
    /// Of the fullUrls, which nobody else may have by chance.
    seed: [u8; 16],
}

impl<W: Write> Output<W> {
    pub fn new(shape: Shape, seed: [u8; 16], out: W) -> Self {
        Output { shape, out, count: 0, seed }
    }

    pub fn resource(&mut self, text: &str) -> io::Result<()> {
        if self.shape == Shape::Ndjson {
            self.out.write_all(text.as_bytes())?;
            self.count += 1;
            return self.out.write_all(b"\n");
        }
        if self.count == 0 {
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            writeln!(
                self.out,
                "{{\"resourceType\":\"Bundle\",\"meta\":{{\"profile\":[\"{STRUCTURES}mh-collection\"]}},\
                 \"type\":\"collection\",\"timestamp\":\"{now}\",\"entry\":["
            )?;
        } else {
            self.out.write_all(b",\n")?;
        }
        write!(self.out, "{{\"fullUrl\":\"{}\",\"resource\":{text}}}", self.full_url())?;
        self.count += 1;
        Ok(())
    }

    /// RFC 9562 §5.8: a version 8, random but for its end, which counts.
    fn full_url(&self) -> String {
        let mut bytes = self.seed;
        bytes[8..].copy_from_slice(&self.count.to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    pub fn end(mut self) -> io::Result<()> {
        if self.shape == Shape::Bundle {
            if self.count == 0 {
                // FHIR has no empty lists.
                self.out.write_all(b"{\"resourceType\":\"Bundle\",\"type\":\"collection\"}\n")?;
            } else {
                self.out.write_all(b"\n]}\n")?;
            }
        }
        self.out.flush()
    }
}
