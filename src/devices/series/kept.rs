//! Which measures are kept as stretches of samples, and how long one is.

use std::collections::BTreeMap;

use super::Span;
use crate::fhir::validate::measures::{self, Measure};

/// Spans by measure.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Kept {
    spans: BTreeMap<&'static str, Span>,
}

/// Profiles of the guide that hold samples of a series.
const SERIES: [&str; 2] = ["series", "cgm"];

impl Kept {
    /// Reads names of measures, or else of categories, with ISO 8601 durations: `PT1H` or `P1D`. A measure's own word
    /// counts more than its category's. The error is everything that is wrong.
    pub fn compile(written: &BTreeMap<String, String>) -> Result<Kept, Vec<String>> {
        let (mut spans, mut own, mut mistakes) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, duration) in written {
            let span = match duration.as_str() {
                "PT1H" => Span::Hour,
                "P1D" => Span::Day,
                _ => {
                    mistakes.push(format!("{name}: PT1H or P1D is expected"));
                    continue;
                }
            };
            let mut with_series = measures::all().iter().filter(|measure| has_series(measure));
            if let Some(measure) = with_series.clone().find(|measure| measure.key == *name) {
                own.insert(measure.key.as_str(), span);
            } else if with_series.clone().any(|measure| measure.category == name) {
                let of_category = with_series.by_ref().filter(|measure| measure.category == name);
                spans.extend(of_category.map(|measure| (measure.key.as_str(), span)));
            } else {
                mistakes.push(format!("{name}: no measure of which the guide has a series, and no category of one"));
            }
        }
        spans.extend(own);
        if mistakes.is_empty() { Ok(Kept { spans }) } else { Err(mistakes) }
    }

    /// How long a stretch of the measure is; none where its readings are kept one by one.
    pub fn span(&self, measure: &Measure) -> Option<Span> {
        self.spans.get(measure.key.as_str()).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

fn has_series(measure: &Measure) -> bool {
    measure.profiles.iter().any(|profile| SERIES.contains(profile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::validate::measures::measure;

    #[test]
    fn measures_and_categories_have_spans() {
        let read = |pairs: &[(&str, &str)]| {
            Kept::compile(&pairs.iter().map(|(name, long)| ((*name).to_owned(), (*long).to_owned())).collect())
        };
        let heart = measure("http://loinc.org", "8867-4").unwrap();
        let weight = measure("http://loinc.org", "29463-7").unwrap();
        let span = |pairs: &[(&str, &str)]| read(pairs).unwrap().span(heart);
        assert_eq!(span(&[]), None);
        assert_eq!(span(&[(&heart.key, "PT1H")]), Some(Span::Hour));
        assert_eq!(read(&[(&heart.key, "PT1H")]).unwrap().span(weight), None);
        let wrong = read(&[("nothing", "PT1H"), (&weight.key, "P1D"), (&heart.key, "PT15M")]).unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }

    #[test]
    fn a_measures_own_word_counts_more_than_its_categorys() {
        let named = |key: &str| measures::all().iter().find(|measure| measure.key == key).unwrap();
        let written = [("temperature", "P1D"), ("body-temperature", "PT1H")];
        let written = written.map(|(name, long)| (name.to_owned(), long.to_owned()));
        let kept = Kept::compile(&BTreeMap::from(written)).unwrap();
        assert_eq!(kept.span(named("body-temperature")), Some(Span::Hour));
        assert_eq!(kept.span(named("skin-temperature")), Some(Span::Day));
    }
}
