//! `convert`: what phones and wearables export, as validated FHIR, offline.
//!
//! The file streams through: pieces are gathered into batches, converted and validated on every core, and written in
//! order, so that an export or a file of lines of any length needs the same memory; what is one JSON text is bounded. A record that is refused is counted and listed with the
//! rule that refused it, and stops no other.

mod output;
mod records;
mod source;
mod summary;
mod work;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::progress::Progress;
use super::validate::short;
use crate::devices::apple_health;
use crate::devices::iomt;
use crate::devices::lines::{self, Line, Lines};
use crate::devices::night::{Night, Nights};
use crate::devices::series::{Collector, Facts, Form, Made, Span, told};
use crate::devices::{Formats, Sender};
use crate::exchange::is_id;
use crate::fhir::outcome::{Issue, Position, has_errors};
use crate::fhir::tree::json;
use crate::fhir::validate::Validator;
use crate::guide;
use output::{Output, Shape};
use records::Begun;
use source::Consumed;
use summary::{Fate, Summary};
use work::{Own, Piece, Told, Work};

/// What exports of Apple Health are: their records mean what HealthKit's mean.
const EXPORT: &str = "apple-health";
const HEALTHKIT: &str = "healthkit";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The export: XML, JSON or a JSON text a line, also as .gz or .zip; `-` is standard input.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// What wrote it: apple-health for an export.xml or export.zip, or a format of records.
    #[arg(long, value_name = "FORMAT")]
    from: String,
    /// What is written.
    #[arg(long, value_enum, default_value_t = Shape::Ndjson)]
    to: Shape,
    /// Id of the Patient that the Observations are of.
    #[arg(long, value_name = "ID", default_value = "me", value_parser = patient_id)]
    patient: String,
    /// Where to write; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What becomes of readings of one measure and source.
    #[arg(long, value_enum, default_value_t = Series::Asis)]
    series: Series,
    /// How long a stretch of samples or a statistic is.
    #[arg(long, value_enum, default_value_t = Length::Day)]
    span: Length,
    /// Write, for each stretch or statistic, a Provenance that names the readings it was made of.
    #[arg(long)]
    provenance: bool,
    /// A mapping to use besides those of the program, or in place of one with the same id.
    #[arg(long, value_name = "FILE")]
    mapping: Vec<PathBuf>,
    /// With --from iomt: the FHIR mapping template; --mapping is the device content then.
    #[arg(long, value_name = "FILE", requires = "mapping")]
    fhir_mapping: Option<PathBuf>,
    /// IANA name of the zone in which local times without an offset were.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Most refusals that are listed.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    list: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Series {
    /// As they come.
    Asis,
    /// One Observation a reading, also where samples came together.
    Explode,
    /// Samples that are equally spaced together, as `SampledData`.
    Chunk,
    /// Sums, averages and extremes.
    Aggregate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Length {
    Hour,
    Day,
}

/// The command could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;

/// Most bytes and pieces of a batch.
const BATCH_BYTES: usize = 2 << 20;
const BATCH: usize = 1 << 13;

/// Pieces that a thread takes at a time.
const SHARE: usize = 64;

/// What stands in a reference to the person, and so in addresses.
fn patient_id(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("Patient/").unwrap_or(text);
    let is_id = is_id(id).then(|| id.to_owned());
    is_id.ok_or_else(|| "a FHIR id is expected: 1 to 64 letters, digits, - and .".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match converted(options) {
        Ok(code) => Ok(code),
        // Whoever reads has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

fn converted(options: &Options) -> anyhow::Result<ExitCode> {
    let mut formats = Formats::default();
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("{}", path.display()));
    let mut own = options.mapping.as_slice();
    if let (Some(mapping), [content]) = (&options.fhir_mapping, own) {
        let added = formats.add_templates(&read(content)?, &read(mapping)?);
        added.map_err(|mistakes| anyhow::anyhow!("{}", mistakes.join("; ")))?;
        own = &[];
    } else if options.fhir_mapping.is_some() || options.from == iomt::NAME {
        bail!("--from iomt takes one device content as --mapping and one --fhir-mapping");
    }
    for path in own {
        let text = read(path)?;
        let added = formats.add(&text);
        added.map_err(|mistakes| anyhow::anyhow!("{}: {}", path.display(), mistakes.join("; ")))?;
    }
    let is_export = options.from == EXPORT;
    let Some(format) = formats.format(if is_export { HEALTHKIT } else { &options.from }) else {
        bail!("there is no format {}; there are {EXPORT}, {}", options.from, formats.names());
    };
    let subject = format!("Patient/{}", options.patient);
    let zone = options.zone.as_deref().map(jiff::tz::TimeZone::get).transpose().context("--zone")?;
    let validator = Validator::new(guide::registry());
    let now = jiff::Timestamp::now().as_millisecond();
    let work = Work {
        format: &format,
        sender: Sender { subject: &subject, zone },
        validator: &validator,
        now,
        together: is_export,
    };
    // What stood there stays until all is written: it may be the very file that is read.
    let partial = options.out.as_deref().filter(|path| !path.exists() || path.is_file()).map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        PathBuf::from(name)
    });
    let out: Box<dyn Write> = match partial.as_ref().or(options.out.as_ref()) {
        Some(path) => Box::new(File::create(path).with_context(|| format!("{}", path.display()))?),
        None => Box::new(io::stdout().lock()),
    };
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the operating system provides no entropy: {error}"))?;
    let span = match options.span {
        Length::Hour => Span::Hour,
        Length::Day => Span::Day,
    };
    let form = match options.series {
        Series::Asis => None,
        Series::Explode => Some(Form::Explode),
        Series::Chunk => Some(Form::Chunk(span)),
        Series::Aggregate => Some(Form::Aggregate(span)),
    };
    let consumed = Consumed::default();
    let mut run = Run {
        work: &work,
        out: Output::new(options.to, seed, BufWriter::with_capacity(1 << 18, out)),
        collector: form.map(|form| Collector::new(form, now)),
        nights: Nights::default(),
        provenance: options.provenance,
        summary: Summary::default(),
        listed: options.list,
        progress: Progress::new(std::slice::from_ref(&options.file)),
        told: 0,
        broken: false,
        batch: Batch::default(),
        owns: Vec::new(),
        checking: json::Memory::default(),
    };
    let read = source::read(&options.file, &consumed, |reader| {
        if is_export { run.export(reader, &consumed) } else { run.records(reader, &consumed) }
    });
    let done = match read {
        Ok(()) => run.end(),
        Err(error) => Err(error),
    };
    if let (Some(path), Some(partial)) = (&options.out, &partial) {
        match &done {
            Ok(_) => fs::rename(partial, path).with_context(|| format!("{}", path.display()))?,
            Err(_) => fs::remove_file(partial).with_context(|| format!("{}", partial.display()))?,
        }
    }
    done
}

/// Pieces that wait for their turn.
#[derive(Default)]
struct Batch {
    text: String,
    pieces: Vec<(Position, Extent)>,
}

/// Where a piece begins and ends in the text, or why there is none.
type Extent = Result<(usize, usize), Issue>;

struct Run<'r, W> {
    work: &'r Work<'r>,
    out: Output<W>,
    collector: Option<Collector>,
    nights: Nights,
    provenance: bool,
    summary: Summary,
    /// Refusals that may still be listed.
    listed: usize,
    progress: Progress,
    /// Bytes of the file that the progress knows of.
    told: u64,
    /// The file is not what it should be.
    broken: bool,
    batch: Batch,
    owns: Vec<Own>,
    checking: json::Memory,
}

impl<W: Write> Run<'_, W> {
    /// An export of Apple Health, record by record.
    fn export(&mut self, file: &mut dyn Read, consumed: &Consumed) -> anyhow::Result<()> {
        let mut reader = apple_health::Reader::new();
        let mut bytes = vec![0; PIECE];
        loop {
            let read = file.read(&mut bytes)?;
            let mut broken = None;
            let batch = &mut self.batch;
            let mut tell = |read: apple_health::Read<'_>| match read {
                apple_health::Read::Record { place, text } => batch.add(place.position(), text),
                apple_health::Read::Refused { place, issue } => batch.pieces.push((place.position(), Err(issue))),
                apple_health::Read::Broken { issue, .. } => broken = Some(issue),
            };
            if read == 0 {
                reader.end(&mut tell);
            } else {
                reader.push(&bytes[..read], &mut tell);
            }
            if let (Some(collector), Some(exported)) = (&mut self.collector, reader.exported().and_then(told)) {
                collector.seen_until(exported.0);
            }
            if read == 0 || self.batch.is_full() {
                self.turn(consumed)?;
            }
            if let Some(issue) = broken {
                self.break_off(&issue);
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Records as JSON: a text a line, or one text.
    fn records(&mut self, file: &mut dyn Read, consumed: &Consumed) -> anyhow::Result<()> {
        let mut file = BufReader::with_capacity(PIECE, file);
        let first = match records::begin(&mut file, records::LONGEST_TEXT)? {
            Begun::Whole(text) => {
                self.batch.add_bytes(Position::default(), &text);
                drop(text);
                return self.turn(consumed);
            }
            Begun::Lines(first) => first,
        };
        let (mut lines, mut waiting) = (Lines::new(lines::LONGEST), VecDeque::new());
        lines.push(&first, &mut waiting);
        loop {
            let bytes = file.fill_buf()?;
            let read = bytes.len();
            lines.push(bytes, &mut waiting);
            file.consume(read);
            if read == 0 {
                std::mem::replace(&mut lines, Lines::new(0)).finish(&mut waiting);
            }
            for line in waiting.drain(..) {
                self.batch.add_line(&line);
            }
            if read == 0 || self.batch.is_full() {
                self.turn(consumed)?;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Works off what waits.
    fn turn(&mut self, consumed: &Consumed) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        for told in convert_all(self.work, &batch, &mut self.owns) {
            self.take(told)?;
        }
        self.batch = batch.emptied();
        let bytes = consumed.bytes() - self.told;
        self.told = consumed.bytes();
        let summary = &self.summary;
        self.progress.advance(bytes, || format!("{} records, {} refused", summary.records, summary.refused));
        Ok(())
    }

    fn take(&mut self, told: Told) -> anyhow::Result<()> {
        let Told { kind, fate, observations, refusals, asleep } = told;
        self.summary.add(&kind, fate);
        for refusal in &refusals {
            self.list(refusal);
        }
        if let Some((source, stretch)) = asleep
            && !matches!(fate, Fate::Refused(_))
        {
            let mut nights = Vec::new();
            self.nights.take(&source, stretch, &mut |night| nights.push(night));
            self.tell_nights(nights)?;
        }
        for observation in observations {
            let Some(collector) = &mut self.collector else {
                self.write(&observation)?;
                continue;
            };
            let mut made = Vec::new();
            match json::parse(observation.as_str()) {
                Ok(document) => collector.take(&document, &mut |one| made.push(one)),
                Err(_) => made.push(Made::Same),
            }
            for one in made {
                self.tell_made(one, Some(&observation))?;
            }
        }
        Ok(())
    }

    fn tell_nights(&mut self, nights: Vec<Night>) -> anyhow::Result<()> {
        for night in nights {
            self.summary.series("nights of sleep");
            if let Some(text) = night.observation(self.work.sender.subject, self.work.format.identifier()) {
                self.derived(&text)?;
            }
        }
        Ok(())
    }

    /// What a series made; `same` is the Observation that went in last.
    fn tell_made(&mut self, made: Made, same: Option<&str>) -> anyhow::Result<()> {
        match (made, same) {
            (Made::Same, Some(same)) => self.write(same),
            (Made::Unfit(why), Some(same)) => {
                self.summary.series(format!("left as they are: {why}"));
                self.write(same)
            }
            (Made::Same | Made::Unfit(_), None) => Ok(()),
            (Made::Left { text, why }, _) => {
                self.summary.series(format!("left as they are: {why}"));
                self.write(&text)
            }
            (Made::Reading(text), _) => {
                self.summary.series("readings out of stretches of samples");
                self.derived(&text)
            }
            (Made::Stretch(stretch), _) => {
                self.summary.series("stretches of samples");
                self.derived(&stretch.text)?;
                self.tell_facts(&stretch.facts)
            }
            (Made::Statistics(texts, facts), _) => {
                for text in texts {
                    self.summary.series("statistics");
                    self.derived(&text)?;
                }
                self.tell_facts(&facts)
            }
        }
    }

    fn tell_facts(&mut self, facts: &Facts) -> anyhow::Result<()> {
        if !self.provenance {
            return Ok(());
        }
        self.summary.series("Provenances");
        self.derived(&facts.provenance(self.work.now))
    }

    /// Something that was not read but made is held against the guide as well.
    fn derived(&mut self, text: &str) -> anyhow::Result<()> {
        let issues = match self.work.checked(text, &mut self.checking) {
            Ok(issues) => issues,
            Err(issue) => {
                self.summary.refused += 1;
                self.list(&short(&issue));
                return Ok(());
            }
        };
        if !has_errors(&issues) {
            return self.write(text);
        }
        self.summary.refused += 1;
        for issue in issues.iter().filter(|issue| issue.is_error()) {
            self.list(&short(&Issue { position: Position::default(), ..issue.clone() }));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        self.summary.resources += 1;
        self.out.resource(text).map_err(anyhow::Error::from)
    }

    fn list(&mut self, text: &str) {
        self.progress.clear();
        match self.listed {
            0 => return,
            1 => eprintln!("{text}\nno more are listed; --list says how many are"),
            _ => eprintln!("{text}"),
        }
        self.listed -= 1;
    }

    fn break_off(&mut self, issue: &Issue) {
        self.progress.clear();
        self.broken = true;
        eprintln!("{}", short(issue));
    }

    fn end(mut self) -> anyhow::Result<ExitCode> {
        let mut nights = Vec::new();
        self.nights.finish(&mut |night| nights.push(night));
        self.tell_nights(nights)?;
        if let Some(mut collector) = self.collector.take() {
            let mut made = Vec::new();
            collector.finish(&mut |one| made.push(one));
            for one in made {
                self.tell_made(one, None)?;
            }
        }
        self.out.end()?;
        self.progress.clear();
        eprint!("{}", self.summary.text());
        Ok(match (self.broken, self.summary.refused) {
            (true, _) => ExitCode::from(COULD_NOT_RUN),
            (false, 0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

impl Batch {
    fn add(&mut self, position: Position, text: &str) {
        let from = self.text.len();
        self.text.push_str(text);
        self.pieces.push((position, Ok((from, self.text.len()))));
    }

    fn add_bytes(&mut self, position: Position, bytes: &[u8]) {
        // What is not UTF-8 is refused by whoever reads it as JSON, at its place.
        self.add(position, &String::from_utf8_lossy(bytes));
    }

    fn add_line(&mut self, line: &Line) {
        let number = u32::try_from(line.number).unwrap_or(u32::MAX);
        if let Some(text) = &line.text {
            self.add_bytes(Position { line: number, column: 0 }, text);
        } else {
            let position = Position { line: number, column: 1 };
            self.pieces.push((position, Err(lines::too_long().at(position))));
        }
    }

    fn is_full(&self) -> bool {
        self.text.len() >= BATCH_BYTES || self.pieces.len() >= BATCH
    }

    /// The same memory for the next ones.
    fn emptied(mut self) -> Batch {
        self.text.clear();
        self.pieces.clear();
        self
    }
}

/// Converts a batch on every core, keeping its order.
fn convert_all(work: &Work<'_>, batch: &Batch, owns: &mut Vec<Own>) -> Vec<Told> {
    let shares = batch.pieces.len().div_ceil(SHARE);
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(shares.max(1));
    owns.resize_with(cores, Own::default);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(shares)));
    let one = |own: &mut Own| {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = batch.pieces.chunks(SHARE).nth(at) else { break };
            let mut told = Vec::with_capacity(share.len());
            let pieces: Vec<Piece<'_>> = share
                .iter()
                .map(|(position, text)| {
                    let text = text.as_ref().map(|(from, to)| &batch.text[*from..*to]);
                    Piece { position: *position, text }
                })
                .collect();
            work.convert(&pieces, own, &mut told);
            done.push((at, told));
        }
        found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(done);
    };
    std::thread::scope(|scope| {
        let (mine, others) = owns.split_at_mut(1);
        for own in others {
            scope.spawn(|| one(own));
        }
        mine.iter_mut().for_each(one);
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_unstable_by_key(|(at, _)| *at);
    found.into_iter().flat_map(|(_, told)| told).collect()
}
