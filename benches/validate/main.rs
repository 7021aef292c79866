//! What a check costs, beside reading the same bytes: `cargo bench --bench validate`.
//!
//! Everything is CPU time of one thread unless it says otherwise, and every ratio is of one run, because machines are
//! noisy. Nothing is asserted about speed; a resource that is not judged as it should be ends the run.

#[path = "../clock.rs"]
mod clock;
mod hostile;
#[path = "../kernel.rs"]
mod kernel;
mod samples;

use std::hint::black_box;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use mhealth_gateway::fhir::definitions::{Kind, Registry};
use mhealth_gateway::fhir::fhirpath::{self, Context, Node, ShapesOnly};
use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Document, Element, json};
use mhealth_gateway::fhir::validate::{Options, Report, Validator};
use serde_json::Value;

use clock::micros;
use kernel::{number, peak_memory_mb};

const PROFILE: &str = "http://hl7.org/fhir/StructureDefinition/heartrate";

fn main() -> anyhow::Result<()> {
    let began = Instant::now();
    let validator = Validator::new(Registry::core());
    let sample = samples::heart_rate();
    let first = check(&validator, &read(&sample)?, &[PROFILE]);
    ensure!(!has_errors(&first.issues), "the sample is not valid: {:?}", first.issues);
    let first_verdict = began.elapsed();

    println!("start to first verdict    {:8.1} ms wall", first_verdict.as_secs_f64() * 1e3);
    println!("peak memory until then    {:8.1} MB", peak_memory_mb()?);
    println!();
    // Words name the parts that are wanted, `cargo bench --bench validate -- single`; none, all.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if wanted("single") {
        single(&validator, &sample)?;
    }
    if wanted("fhirpath") {
        invariant(&sample)?;
    }
    if wanted("defects") {
        defects(&validator, &sample)?;
    }
    if wanted("curve") {
        curve(&validator)?;
    }
    if wanted("hostile") {
        hostile()?;
    }
    if wanted("threads") {
        threads(&validator)?;
    }
    if wanted("memory") {
        memory()?;
    }
    Ok(())
}

fn read(text: &str) -> anyhow::Result<Document> {
    json::parse(text).map_err(|issue| anyhow!("{}", issue.text))
}

fn check(validator: &Validator, document: &Document, profiles: &[&str]) -> Report {
    validator.check(Element::root(document), &Options { profiles, ..Options::default() })
}

/// One Observation with its profile, beside what any reader of JSON costs.
fn single(validator: &Validator, sample: &str) -> anyhow::Result<()> {
    let document = read(sample)?;
    let theirs = micros(|| drop(black_box(serde_json::from_slice::<Value>(sample.as_bytes()))))?;
    let ours = micros(|| drop(black_box(json::parse(sample))))?;
    let rules = micros(|| drop(black_box(check(validator, &document, &[PROFILE]))))?;
    let both = micros(|| {
        let document = json::parse(sample).ok();
        drop(black_box(document.map(|document| check(validator, &document, &[PROFILE]))));
    })?;
    let allocations = allocation_counter::measure(|| drop(black_box(check(validator, &document, &[PROFILE]))));
    let memory = json::Memory::from(read(sample)?);
    let reused = allocation_counter::measure(|| {
        let document = json::parse_in(memory, sample.as_bytes()).ok();
        drop(black_box(document.map(|document| check(validator, &document, &[PROFILE]))));
    });
    println!("heart rate of {} bytes against its profile", sample.len());
    println!("  serde_json to Value     {theirs:8.2} µs");
    println!("  our reader              {ours:8.2} µs   {:.2} of serde_json", ours / theirs);
    println!("  rules                   {rules:8.2} µs   {} allocations in all", allocations.count_total);
    println!(
        "  read and check          {both:8.2} µs   {:.2} of serde_json, {:.0} a second and core",
        both / theirs,
        1e6 / both
    );
    println!("  read and check          {:8} allocations in the memory of an earlier one", reused.count_total);
    Ok(())
}

/// An invariant of the vital signs as FHIRPath, without its native form.
fn invariant(sample: &str) -> anyhow::Result<()> {
    let document = read(sample)?;
    let element = Element::root(&document);
    let text = "($this as dateTime).toString().length() >= 8";
    let expression = fhirpath::compile(text).map_err(|syntax| anyhow!("{syntax}"))?;
    let vs2 = "(component.empty() and hasMember.empty()) implies (dataAbsentReason.exists() or value.exists())";
    let plan = fhirpath::compile(vs2).map_err(|syntax| anyhow!("{syntax}"))?;
    let context = Context::new(&ShapesOnly, Node::resource(element));
    let focus = Node::resource(element);
    ensure!(plan.holds(&context, focus) == Ok(true), "vs-2 does not hold");
    let effective = element.get("effective").or_else(|| element.get("effectiveDateTime")).unwrap_or(element);
    println!();
    println!("FHIRPath");
    println!("  vs-2                    {:8.3} µs", micros(|| drop(black_box(plan.holds(&context, focus))))?);
    let vs1 = micros(|| {
        drop(black_box(expression.holds(&context, Node { element: effective, type_name: Some("dateTime") })));
    })?;
    println!("  vs-1                    {vs1:8.3} µs");
    Ok(())
}

/// The twelve seeded defects: each found, and by which issue.
fn defects(validator: &Validator, sample: &str) -> anyhow::Result<()> {
    println!();
    println!("seeded defects");
    for (what, from, to) in samples::DEFECTS {
        let mutant = sample.replacen(from, to, 1);
        ensure!(mutant != sample, "{what}: nothing was changed");
        let found = match json::parse(mutant.as_str()) {
            Ok(document) => check(validator, &document, &[PROFILE]).issues,
            Err(issue) => vec![issue],
        };
        let ids: Vec<String> =
            found.iter().filter(|issue| issue.is_error()).map(|issue| issue.id.to_string()).collect();
        ensure!(!ids.is_empty(), "{what}: not found");
        println!("  {what:26}{}", ids.join(", "));
    }
    Ok(())
}

/// The sizes to measure. `cargo test` runs this too, without optimisation and to see it run: there the small ones do.
fn sizes(all: &'static [usize]) -> impl Iterator<Item = usize> {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    all.iter().copied().filter(move |size| is_measured || *size <= 100)
}

/// Time for an entry in Bundles of growing size: flat where nothing is slower than linear.
fn curve(validator: &Validator) -> anyhow::Result<()> {
    println!();
    println!("Bundles with fullUrls and references between entries: µs an entry, one thread");
    println!("  entries     read    rules");
    for entries in sizes(&[1, 10, 100, 1_000, 10_000, 100_000]) {
        let text = samples::bundle(entries);
        let document = read(&text)?;
        let each = |micros: f64| micros / entries as f64;
        let read = each(micros(|| drop(black_box(json::parse(text.as_str()))))?);
        let report = check(validator, &document, &[]);
        ensure!(!has_errors(&report.issues), "the Bundle is not valid: {:?}", report.issues.first());
        let rules = each(micros(|| drop(black_box(check(validator, &document, &[]))))?);
        println!("  {entries:7} {read:8.2} {rules:8.2}");
    }
    Ok(())
}

/// Time for one of what a hostile sender would repeat: flat where nothing is slower than linear.
fn hostile() -> anyhow::Result<()> {
    let sliced = read(&hostile::sliced_profile())?;
    let registry = Registry::with(vec![sliced]).map_err(|defect| anyhow!("{defect}"))?;
    let validator = Validator::new(registry);
    ensure!(validator.profile(hostile::SLICED).is_some(), "the sliced profile is not there");
    println!();
    println!("Hostile shapes: µs each, read and checked, one thread");
    println!("  {:30}{:>9}{:>9}{:>9}", "", 100, 1_000, 10_000);
    for shape in hostile::SHAPES {
        print!("  {:30}", shape.name);
        for count in sizes(&[100, 1_000, 10_000]) {
            let text = shape.of(count);
            read(&text)?;
            let both = micros(|| {
                let document = json::parse(text.as_str()).ok();
                drop(black_box(document.map(|document| check(&validator, &document, &[]))));
            })?;
            print!("{:9.2}", both / count as f64);
        }
        println!();
    }
    Ok(())
}

/// A Bundle of a thousand entries, its rules shared by threads.
fn threads(validator: &Validator) -> anyhow::Result<()> {
    const ENTRIES: usize = 1_000;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = samples::bundle(ENTRIES);
    let document = read(&text)?;
    println!();
    println!("A Bundle of {ENTRIES} entries: ms of wall time for its rules, {cores} cores");
    for threads in [1, 2, 4, 8, 16].into_iter().filter(|threads| *threads <= cores.max(2)) {
        let options = Options { threads, ..Options::default() };
        let once = || {
            let began = Instant::now();
            drop(black_box(validator.check(Element::root(&document), &options)));
            began.elapsed().as_secs_f64() * 1e3
        };
        let best = (0..20).map(|_| once()).fold(f64::MAX, f64::min);
        println!("  {threads:2} threads              {best:8.2}");
    }
    Ok(())
}

/// What the definitions take once every type and profile of the standard is compiled.
fn memory() -> anyhow::Result<()> {
    let registry = Registry::core();
    let validator = Validator::new(registry);
    let began = Instant::now();
    let names: Vec<String> = validator.registry.resource_types().map(str::to_owned).collect();
    let all = validator.registry.all(Kind::StructureDefinition);
    let profiles: Vec<String> = all.map(|id| validator.registry.head(id).url.to_string()).collect();
    let every: Vec<&str> = names.iter().chain(&profiles).map(String::as_str).collect();
    validator.warm(&every);
    println!();
    println!("everything of the standard compiled");
    println!("  in                      {:8.1} ms wall", began.elapsed().as_secs_f64() * 1e3);
    let now_mb = number("/proc/self/status", "VmRSS:")? as f64 / 1024.0;
    println!("  memory then             {now_mb:8.1} MB, at most {:.1} MB", peak_memory_mb()?);
    Ok(())
}
