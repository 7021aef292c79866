//! Whether the time of a measurement can be one: not in the future, not before there were any, not a clock's zero.
//!
//! What the time is now is the caller's word; without it nothing lies in the future.

use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;
use crate::fhir::validate::run::Run;
use crate::fhir::validate::scope::named;

/// A clock that runs ahead by more than this is wrong.
pub const TOLERANCE_MS: i64 = 10 * 60_000;

/// 1900-01-01: no device that sends FHIR measured before it.
const EARLIEST_MS: i64 = -2_208_988_800_000;

/// The day on which clocks begin that were never set.
const ZERO_MS: std::ops::Range<i64> = 0..86_400_000;

pub(super) fn check<'d>(run: &mut Run<'_, 'd>, observation: Element<'d>) {
    for effective in named(observation, "effective", Some(true)) {
        run.enter(&effective);
        match effective.type_name {
            // Of a period the start is judged: the total of a day is sent before that day has ended.
            "Period" => {
                if let Some(start) = effective.element.get("start") {
                    run.trail.push("start", "start".len(), None);
                    judge(run, start);
                    run.trail.pop();
                }
            }
            "dateTime" | "instant" => judge(run, effective.element),
            _ => {}
        }
        run.leave();
    }
}

fn judge<'d>(run: &mut Run<'_, 'd>, time: Element<'d>) {
    let Some(moment) = time.text().and_then(Moment::parse) else { return };
    let (start_ms, end_ms) = moment.interval_ms();
    if run.options.now_ms.is_some_and(|now_ms| start_ms > now_ms.saturating_add(TOLERANCE_MS)) {
        run.issue(Id::MeasureFuture, time, "The measurement lies in the future.".to_owned());
    } else if end_ms <= EARLIEST_MS {
        run.issue(Id::MeasureTooOld, time, "The measurement lies before 1900.".to_owned());
    } else if ZERO_MS.contains(&start_ms) && moment.has_offset() {
        let text = "The measurement lies on 1970-01-01, where clocks begin that were never set.";
        run.issue(Id::MeasureClockUnset, time, text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn times_are_held_against_now() {
        let validator = Validator::new(Registry::core());
        // 2026-01-01T00:00:00Z
        let now = Some(1_767_225_600_000);
        for (effective, now_ms, expected) in [
            (r#""effectiveDateTime":"2026-01-01T00:00:00Z""#, now, None),
            (r#""effectiveDateTime":"2026-01-01T00:09:00Z""#, now, None),
            (r#""effectiveDateTime":"2026-01-01T00:11:00Z""#, now, Some("Observation.effective.ofType(dateTime)")),
            (r#""effectiveInstant":"2027-01-01T00:11:00Z""#, now, Some("Observation.effective.ofType(instant)")),
            (r#""effectiveDateTime":"2027-01-01T00:11:00Z""#, None, None),
            (
                r#""effectivePeriod":{"start":"2026-01-02","end":"2026-01-03"}"#,
                now,
                Some("Observation.effective.ofType(Period).start"),
            ),
            (r#""effectivePeriod":{"start":"2025-12-31","end":"2026-01-02"}"#, now, None),
        ] {
            assert_eq!(found(&validator, effective, now_ms, Id::MeasureFuture).as_deref(), expected, "{effective}");
        }
        for (effective, id) in [
            (r#""effectiveDateTime":"1899-12-31T23:00:00Z""#, Id::MeasureTooOld),
            (r#""effectiveDateTime":"0001-01-01""#, Id::MeasureTooOld),
            (r#""effectiveDateTime":"1970-01-01T00:00:05Z""#, Id::MeasureClockUnset),
        ] {
            assert!(found(&validator, effective, now, id).is_some(), "{effective}");
        }
        assert_eq!(found(&validator, r#""effectiveDateTime":"1970""#, now, Id::MeasureClockUnset), None);
    }

    fn found(validator: &Validator, effective: &str, now_ms: Option<i64>, id: Id) -> Option<String> {
        let text = format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{effective}}}"#);
        let document = json::parse(text).unwrap();
        let issues = validator.check(Element::root(&document), &Options { now_ms, ..Options::default() }).issues;
        issues.into_iter().find(|issue| issue.id == id).map(|issue| issue.expression)
    }
}
