//! Several threads for one Bundle: each takes entries, and what they found is put together in the entries' order.
//!
//! One thread after the other would have found the same. Where that cannot be promised, because entries turn out to
//! depend on each other, nothing of it is used, and the caller walks them one after the other.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Report;
use super::run::Run;

/// Entries that a thread takes at a time.
const SHARE: usize = 16;

/// Fewer items than this are not worth a second thread.
const MANY: usize = 4 * SHARE;

/// What was found in each item that anything was found in, in order; `None` where one thread has to do it.
pub(super) fn each<'v, 'd>(
    run: &Run<'v, 'd>,
    count: usize,
    item: &(dyn Fn(&mut Run<'v, 'd>, usize) + Sync),
) -> Option<Vec<Report>> {
    let threads = run.options.threads.min(count / SHARE);
    if threads < 2 || count < MANY {
        return None;
    }
    let (next, depends) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Mutex<Vec<(usize, Report)>> = Mutex::default();
    let work = || {
        let mut part = run.part();
        let mut own = Vec::new();
        loop {
            // Taken in ascending order, so that whatever a thread has listed stands before what it lists next.
            let start = next.fetch_add(SHARE, Ordering::Relaxed);
            if start >= count || depends.load(Ordering::Relaxed) {
                break;
            }
            for at in start..count.min(start + SHARE) {
                item(&mut part, at);
                own.extend(part.handed_in().map(|report| (at, report)));
            }
            if part.depends_on_others() {
                depends.store(true, Ordering::Relaxed);
            }
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    if depends.into_inner() {
        return None;
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable_by_key(|(at, _)| *at);
    Some(found.into_iter().map(|(_, report)| report).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::{Element, json};
    use crate::fhir::validate::{Options, Validator};

    /// Observations, of which every seventh has one mistake or another.
    fn bundle(count: usize, extra: &str) -> String {
        let entry = |at: usize| {
            let mistake = match at % 35 {
                7 => r#""valueQuantity":{"value":1,"system":"http://unitsofmeasure.org","code":"bpm"},"#,
                14 => r#""statuss":"x","#,
                21 => r#""subject":{"reference":"urn:uuid:00000000-0000-4000-8000-00000000ffff"},"#,
                28 => r#""category":[{"coding":[{"system":"http://snomed.info/sct","code":"1"}]}],"#,
                _ => "",
            };
            format!(
                r#"{{"fullUrl":"urn:uuid:00000000-0000-4000-8000-{at:012x}"{extra},"resource":{{
                "resourceType":"Observation",{mistake}"status":"final","code":{{"text":"x"}}}}}}"#
            )
        };
        let entries: Vec<String> = (0..count).map(entry).collect();
        format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn several_threads_find_what_one_does() {
        let validator = Validator::new(Registry::core());
        for (count, extra) in [(10, ""), (300, ""), (3000, ""), (300, r#","id":"same""#)] {
            let document = json::parse(bundle(count, extra)).unwrap();
            let check = |threads| validator.check(Element::root(&document), &Options { threads, ..Options::default() });
            let alone = check(0);
            assert!(alone.issues.len() > count.min(1000) / 35, "{count} {extra}");
            for threads in [2, 3, 8] {
                let together = check(threads);
                assert_eq!(together.issues, alone.issues, "{count} entries{extra}, {threads} threads");
                assert_eq!(together.open, alone.open, "{count} entries{extra}, {threads} threads");
            }
        }
    }

    #[test]
    fn entries_that_share_ids_are_left_to_one_thread() {
        let validator = Validator::new(Registry::core());
        let document = json::parse(bundle(200, r#","id":"same""#)).unwrap();
        let root = Element::root(&document);
        let options = Options { threads: 4, ..Options::default() };
        let run = Run::new(&validator, root, &options);
        assert!(each(&run, 200, &|_, _| {}).is_some());
        let shares = |part: &mut Run<'_, '_>, _| {
            part.ids.get_or_insert_default().insert((root.node(), "same"));
        };
        assert!(each(&run, 200, &shares).is_none());
    }
}
