//! Canonicals: `url|version`, and which of several versions one of them means.
//!
//! A version names itself exactly; `1.2` and `1.2.x` mean the latest of that line; a patch that is not there
//! is served by the latest of its minor version, since patches don't change what conforms (the reference
//! validator holds the same). Without a version the latest is meant.

use std::cmp::Ordering;

/// The url and, behind the first `|`, the version.
pub fn split(canonical: &str) -> (&str, Option<&str>) {
    let canonical = canonical.split('#').next().unwrap_or(canonical);
    match canonical.split_once('|') {
        Some((url, "")) => (url, None),
        Some((url, version)) => (url, Some(version)),
        None => (canonical, None),
    }
}

/// Order of versions: parts that are numbers by their value, a pre-release before its release, none first.
pub fn order(one: &str, other: &str) -> Ordering {
    let (own, own_label) = label(one);
    let (their, their_label) = label(other);
    parts(own, their).then_with(|| match (own_label, their_label) {
        ("", "") => Ordering::Equal,
        ("", _) => Ordering::Greater,
        (_, "") => Ordering::Less,
        (own, their) => parts(own, their),
    })
}

/// `1.2.0-ballot+3` as `1.2.0` and `ballot`; what stands behind `+` says nothing of the order.
fn label(version: &str) -> (&str, &str) {
    let version = version.split('+').next().unwrap_or(version);
    version.split_once('-').unwrap_or((version, ""))
}

fn parts(one: &str, other: &str) -> Ordering {
    let (mut own, mut their) = (one.split(['.', '-']), other.split(['.', '-']));
    loop {
        let order = match (own.next(), their.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(part)) => zero_against(part).reverse(),
            (Some(part), None) => zero_against(part),
            (Some(own), Some(their)) => match (own.parse::<u64>(), their.parse::<u64>()) {
                (Ok(own), Ok(their)) => own.cmp(&their),
                _ => own.cmp(their),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// `1.0` and `1.0.0` are the same version; `1.0.1` is later than both.
fn zero_against(part: &str) -> Ordering {
    if part.parse::<u64>() == Ok(0) { Ordering::Equal } else { Ordering::Greater }
}

/// How well a version that is there serves one that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fit {
    No,
    /// Another patch of the same minor version.
    Line,
    /// Within what a partial version leaves open.
    Within,
    Exact,
}

/// Whether `have` serves where `wanted` is asked for.
pub fn fit(wanted: &str, have: &str) -> Fit {
    if wanted == have {
        return Fit::Exact;
    }
    let asked: Vec<&str> = wanted.split('.').collect();
    let wild = |part: &&str| matches!(*part, "x" | "X" | "*");
    let open = asked.iter().position(wild).unwrap_or(asked.len());
    let numeric = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
    let agrees = |count: usize| {
        let (stem, _) = label(have);
        let mut parts = stem.split('.');
        asked[..count].iter().all(|part| parts.next() == Some(part))
    };
    if open < 3 && asked[..open].iter().all(numeric) && agrees(open) {
        return Fit::Within;
    }
    let is_version = asked.len() >= 3 && asked[..2].iter().all(numeric);
    if is_version && agrees(2) { Fit::Line } else { Fit::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonicals_split() {
        for (canonical, url, version) in [
            ("urn:a", "urn:a", None),
            ("urn:a|1.0", "urn:a", Some("1.0")),
            ("urn:a|", "urn:a", None),
            ("urn:a|1.0#x", "urn:a", Some("1.0")),
        ] {
            assert_eq!(split(canonical), (url, version), "{canonical}");
        }
    }

    #[test]
    fn versions_are_ordered() {
        let ascending = [
            "",
            "0.9",
            "1.0.0-ballot",
            "1.0.0-ballot2",
            "1.0.0",
            "1.0.1",
            "1.2.0-1",
            "1.2.0-10",
            "1.2",
            "1.10.0",
            "2.0.0-snapshot",
            "2.0.0",
            "2018-08-12",
            "20190101",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(order("1.0", "1.0.0"), Ordering::Equal);
        assert_eq!(order("1.0.0+1", "1.0.0+2"), Ordering::Equal);
    }

    #[test]
    fn versions_serve_others() {
        for (wanted, have, expected) in [
            ("1.2.0", "1.2.0", Fit::Exact),
            ("1.2", "1.2.7", Fit::Within),
            ("1.2.x", "1.2.7", Fit::Within),
            ("1.x", "1.9.0", Fit::Within),
            ("1", "1.9.0", Fit::Within),
            ("1.2", "1.20.0", Fit::No),
            ("1.2.0", "1.2.7", Fit::Line),
            ("1.2.0", "1.3.0", Fit::No),
            ("1.2", "1.2.0-ballot", Fit::Within),
            ("4.0.1", "", Fit::No),
            ("2018-08", "2018-09", Fit::No),
            ("current", "1.0.0", Fit::No),
        ] {
            assert_eq!(fit(wanted, have), expected, "{wanted} {have}");
        }
    }
}
