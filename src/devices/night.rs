//! Nights out of stretches of sleep: what one device or app saw of one sleep, taken together.
//!
//! Platforms send a night as many records, one a stretch of a stage. A sleep goes on until nothing is told for longer
//! than a person lies awake in a night; it ends with its last stretch, also where that is being awake. Each source has
//! nights of its own, since a watch and a phone that saw the same night would make it twice as long. What was told twice
//! by one source counts once. How long each stage was is said where the stretches do not contradict each other.

use super::observation::{Draft, Effective, Measured, Quantity, Recording};
use super::series::dated;
use crate::fhir::validate::measures::{self, Measure};

/// What a stretch is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    InBed,
    Awake,
    /// Asleep, and nobody knows how.
    Asleep,
    Light,
    Deep,
    Rem,
}

impl Stage {
    pub fn is_sleep(self) -> bool {
        matches!(self, Stage::Asleep | Stage::Light | Stage::Deep | Stage::Rem)
    }
}

/// One stretch, in milliseconds since 1970 in UTC and seconds east of UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub stage: Stage,
    pub start: i64,
    pub end: i64,
    pub offset: i32,
}

/// What a source saw of one sleep. Lengths are in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Night {
    pub source: String,
    /// From the first to the last stretch that is more than being in bed.
    pub start: i64,
    pub end: i64,
    /// Where the clock of the person stood at either end.
    pub offsets: (i32, i32),
    pub asleep: i64,
    /// Of each stage that was told; none where stretches contradict each other.
    pub stages: Vec<(Stage, i64)>,
    pub in_bed: Option<i64>,
    /// How many stretches went in.
    pub count: usize,
}

impl Night {
    /// The night as an Observation: how long the sleep was, and in components how long its parts.
    pub fn observation(&self, subject: &str, identifier: &str) -> Option<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.source.as_bytes());
        hasher.update(&self.start.to_le_bytes());
        let id = format!("night-{}", &hasher.finalize().to_hex()[..32]);
        let parts = self.stages.iter().filter_map(|(stage, length)| Some((part(*stage)?, *length)));
        let in_bed = self.in_bed.map(|length| ("time-in-bed", length));
        let components = parts.chain(in_bed).filter_map(|(key, length)| Some((measure(key)?, quantity(length))));
        let draft = Draft {
            measure: measure("sleep-duration")?,
            identifier: (identifier, &id),
            subject,
            status: "final",
            effective: Effective::Period {
                start: dated(self.start, self.offsets.0),
                end: dated(self.end, self.offsets.1),
            },
            value: Measured::Quantity(quantity(self.asleep)),
            original: None,
            components: components.collect(),
            recording: Recording::Derived,
            device: Some(self.source.clone()).filter(|source| !source.is_empty()),
            app: None,
            statistic: None,
            zone: None,
            meal: None,
            completeness: None,
            notes: Vec::new(),
        };
        let mut text = String::with_capacity(2048);
        draft.write(&mut text);
        Some(text)
    }
}

/// The measure of the length of a stage.
fn part(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Awake => Some("sleep-awake"),
        Stage::Light => Some("sleep-light"),
        Stage::Deep => Some("sleep-deep"),
        Stage::Rem => Some("sleep-rem"),
        Stage::InBed | Stage::Asleep => None,
    }
}

fn measure(key: &str) -> Option<&'static Measure> {
    measures::all().iter().find(|measure| measure.key == key)
}

/// Minutes where they are whole, else seconds; never the number of the one with the unit of the other.
fn quantity(ms: i64) -> Quantity {
    if ms % 60_000 == 0 {
        return Quantity { digits: (ms / 60_000).to_string(), ucum: "min".to_owned() };
    }
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Quantity { digits: format!("{}{point}{fraction}", ms / 1000), ucum: "s".to_owned() }
}

/// Longest time without a stretch inside one sleep: three hours.
const LONGEST_GAP: i64 = 3 * 3_600_000;

/// Longest sleep that is gathered; what goes on is told as another.
const LONGEST: i64 = 36 * 3_600_000;

/// Most sources that are open at a time.
const MAX_SOURCES: usize = 256;

/// Most stretches of one source that wait, so that the order in which they come hardly matters.
const MAX_WAITING: usize = 1 << 14;

/// Gathers stretches as they stream by.
#[derive(Debug, Default)]
pub struct Nights {
    open: Vec<(String, Vec<Stretch>)>,
}

impl Nights {
    /// Takes a stretch of a source. Nights that are over are told.
    pub fn take(&mut self, source: &str, stretch: Stretch, told: &mut impl FnMut(Night)) {
        if stretch.end < stretch.start {
            return;
        }
        let Some((_, waiting)) = self.open.iter_mut().find(|(known, _)| known == source) else {
            if self.open.len() >= MAX_SOURCES {
                self.finish(told);
            }
            self.open.push((source.to_owned(), vec![stretch]));
            return;
        };
        waiting.push(stretch);
        if waiting.len() >= MAX_WAITING {
            // More of the night that is being told may come.
            for sleep in sleeps(std::mem::take(waiting)) {
                if sleep.contains(&stretch) && sleep.len() < MAX_WAITING / 2 {
                    *waiting = sleep;
                } else {
                    night(source, &sleep).into_iter().for_each(&mut *told);
                }
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, told: &mut impl FnMut(Night)) {
        for (source, waiting) in self.open.drain(..) {
            sleeps(waiting).iter().filter_map(|sleep| night(&source, sleep)).for_each(&mut *told);
        }
    }
}

/// Stretches by sleep, sorted; what is told twice stands once.
fn sleeps(mut stretches: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    stretches.sort_unstable_by_key(|stretch| (stretch.start, stretch.end, stretch.stage));
    stretches.dedup();
    let mut sleeps: Vec<Vec<Stretch>> = Vec::new();
    let (mut start, mut end) = (i64::MIN, i64::MIN);
    for stretch in stretches {
        let apart = stretch.start.saturating_sub(end) > LONGEST_GAP || stretch.end.saturating_sub(start) > LONGEST;
        match sleeps.last_mut() {
            Some(sleep) if !apart => sleep.push(stretch),
            _ => {
                start = stretch.start;
                end = stretch.end;
                sleeps.push(vec![stretch]);
            }
        }
        end = end.max(stretch.end);
    }
    sleeps
}

/// A night, where somebody slept.
fn night(source: &str, stretches: &[Stretch]) -> Option<Night> {
    let within = |stretch: &&Stretch| stretch.stage != Stage::InBed;
    let first = stretches.iter().find(within)?;
    let last = stretches.iter().filter(within).max_by_key(|stretch| stretch.end)?;
    let asleep = covered(stretches.iter().filter(|stretch| stretch.stage.is_sleep()));
    if asleep == 0 {
        return None;
    }
    let in_bed = covered(stretches.iter().filter(|stretch| stretch.stage == Stage::InBed));
    Some(Night {
        source: source.to_owned(),
        start: first.start,
        end: last.end,
        offsets: (first.offset, last.offset),
        asleep,
        stages: stages(stretches),
        in_bed: (in_bed > 0).then_some(in_bed),
        count: stretches.len(),
    })
}

/// How long each stage was. Stretches of two stages at one time contradict each other; `Asleep` contradicts no sleep.
fn stages(stretches: &[Stretch]) -> Vec<(Stage, i64)> {
    let known = [Stage::Awake, Stage::Light, Stage::Deep, Stage::Rem];
    let lengths = known.map(|stage| covered(stretches.iter().filter(|stretch| stretch.stage == stage)));
    let together = covered(stretches.iter().filter(|stretch| known.contains(&stretch.stage)));
    if lengths.iter().sum::<i64>() != together {
        return Vec::new();
    }
    known.into_iter().zip(lengths).filter(|(_, length)| *length > 0).collect()
}

/// Time that stretches cover, sorted by their start; what is told twice counts once.
fn covered<'s>(stretches: impl Iterator<Item = &'s Stretch>) -> i64 {
    let (mut covered, mut until) = (0, i64::MIN);
    for stretch in stretches {
        covered += (stretch.end - stretch.start.max(until)).max(0);
        until = until.max(stretch.end);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `23:10-23:40 light` of the evening of day 0 and the days after.
    fn nights(stretches: &[(&str, i64, i64, Stage)]) -> Vec<Night> {
        let mut found = Vec::new();
        let mut nights = Nights::default();
        for (source, start, end, stage) in stretches {
            let (start, end) = (start * 60_000, end * 60_000);
            nights.take(source, Stretch { stage: *stage, start, end, offset: 3600 }, &mut |night| found.push(night));
        }
        nights.finish(&mut |night| found.push(night));
        found
    }

    fn minutes(night: &Night) -> (i64, i64, i64, Vec<(Stage, i64)>, Option<i64>) {
        let stages = night.stages.iter().map(|(stage, length)| (*stage, length / 60_000)).collect();
        let in_bed = night.in_bed.map(|length| length / 60_000);
        (night.start / 60_000, night.end / 60_000, night.asleep / 60_000, stages, in_bed)
    }

    #[test]
    fn the_last_wake_belongs_to_the_night() {
        let found = nights(&[
            ("watch", 0, 500, Stage::InBed),
            ("watch", 10, 60, Stage::Light),
            ("watch", 60, 100, Stage::Deep),
            ("watch", 100, 110, Stage::Awake),
            ("watch", 110, 200, Stage::Rem),
            ("watch", 200, 230, Stage::Awake),
        ]);
        let stages = vec![(Stage::Awake, 40), (Stage::Light, 50), (Stage::Deep, 40), (Stage::Rem, 90)];
        assert_eq!(found.len(), 1);
        assert_eq!(minutes(&found[0]), (10, 230, 180, stages, Some(500)));
    }

    #[test]
    fn a_night_is_an_observation() {
        let found = nights(&[("watch", 0, 60, Stage::Light), ("watch", 60, 61, Stage::Awake)]);
        let text =
            Night { asleep: found[0].asleep - 500, ..found[0].clone() }.observation("Patient/1", "urn:x").unwrap();
        for part in [
            "mh-sleep\"",
            "\"code\":\"93832-4\"",
            "\"effectivePeriod\":{\"start\":\"1970-01-01T01:00:00+01:00\",\"end\":\"1970-01-01T02:01:00+01:00\"}",
            "\"value\":3599.5,\"unit\":\"s\"",
            "\"code\":\"93830-8\"",
            "\"value\":1,\"unit\":\"min\"",
            "\"valueCode\":\"derived\"",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn sources_are_never_summed() {
        let found = nights(&[("watch", 0, 400, Stage::Asleep), ("phone", 0, 420, Stage::Asleep)]);
        let found: Vec<(&str, i64)> =
            found.iter().map(|night| (night.source.as_str(), night.asleep / 60_000)).collect();
        assert_eq!(found, [("watch", 400), ("phone", 420)]);
    }

    #[test]
    fn what_is_told_twice_counts_once() {
        let found = nights(&[
            ("watch", 0, 400, Stage::Asleep),
            ("watch", 0, 100, Stage::Light),
            ("watch", 0, 100, Stage::Light),
            ("watch", 100, 400, Stage::Deep),
        ]);
        assert_eq!(minutes(&found[0]), (0, 400, 400, vec![(Stage::Light, 100), (Stage::Deep, 300)], None));
        // Deep and light at one time: how long it was is known, and of the stages nothing.
        let found = nights(&[("watch", 0, 100, Stage::Light), ("watch", 50, 150, Stage::Deep)]);
        assert_eq!(minutes(&found[0]), (0, 150, 150, vec![], None));
    }

    #[test]
    fn a_nap_is_a_sleep_of_its_own() {
        let found = nights(&[
            ("watch", 0, 400, Stage::Asleep),
            ("watch", 410, 420, Stage::Awake),
            ("watch", 900, 930, Stage::Asleep),
            // Came late.
            ("watch", 400, 410, Stage::Light),
        ]);
        let found: Vec<(i64, i64)> = found.iter().map(|night| (night.start / 60_000, night.end / 60_000)).collect();
        assert_eq!(found, [(0, 420), (900, 930)]);
    }

    #[test]
    fn the_order_does_not_matter_however_many_come() {
        let stretches: Vec<(&str, i64, i64, Stage)> = (0..40_000)
            .map(|at| ("watch", at / 20 * 1440 + at % 20 * 20, at / 20 * 1440 + at % 20 * 20 + 15, Stage::Deep))
            .collect();
        let backwards: Vec<(&str, i64, i64, Stage)> = stretches.iter().rev().copied().collect();
        for stretches in [stretches, backwards] {
            let found = nights(&stretches);
            assert_eq!(found.len(), 2000);
            assert!(found.iter().all(|night| night.asleep == 20 * 15 * 60_000));
        }
    }

    #[test]
    fn who_only_lay_there_did_not_sleep() {
        assert_eq!(nights(&[("watch", 0, 400, Stage::InBed), ("watch", 10, 30, Stage::Awake)]), []);
        assert_eq!(nights(&[("watch", 30, 10, Stage::Deep)]), []);
    }
}
