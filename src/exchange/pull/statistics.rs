//! `Observation/$stats` (FHIR R4, operation Observation-stats): what the readings of a person come to.
//!
//! Only what the caller may see is counted; how, says `fhir::search::statistics`.

use serde_json::{Value, json};

use super::Sight;
use super::search::{Gathered, Walk};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::Id;
use crate::fhir::search::Query;
use crate::fhir::search::statistics::{Measure, Series, Statistic};
use crate::fhir::tree::{Element, time};

const KIND: &str = "Observation";
const HOUR_MS: f64 = 3_600_000.0;

/// What is asked for.
#[derive(Default)]
struct Asked {
    subject: Option<String>,
    codes: Vec<Measure>,
    system: Option<String>,
    hours: Option<f64>,
    /// Conditions on the date, as a search has them.
    dates: Vec<String>,
    statistics: Vec<Statistic>,
}

impl Gateway {
    /// `GET` or `POST [base]/Observation/$stats`.
    pub async fn statistics(
        &self,
        caller: &Caller<'_>,
        pairs: &[(String, String)],
        parameters: Option<Element<'_>>,
    ) -> Result<Value, Refusal> {
        let asked = Asked::read(pairs, parameters)?;
        let rule = self.searchable(caller, KIND).await?;
        let subject = asked.subject.as_deref().unwrap_or_default();
        let person = self.local_reference(subject, "Patient").unwrap_or(subject).to_owned();
        if !is_id(&person) {
            return Err(wrong("subject names one Patient of this gateway."));
        }
        let mut gathered = Gathered::default();
        let mut told = Vec::new();
        for code in &asked.codes {
            let query = self.readings(&asked, &person, code)?;
            let mut series = Series::default();
            let mut walk = Walk::of_any(self, rule, &query);
            while let Some(rows) = walk.round(self, caller, &query, &mut gathered).await? {
                for stored in rows {
                    let hit = self.hit(caller, &walk, &query, stored, &mut gathered).await?;
                    if let Sight::Visible(found) = hit
                        && let Some(root) = found.content.root()
                    {
                        series.take(root, code);
                    }
                }
            }
            told.push(series.observation(&asked.statistics, &person, code));
        }
        gathered.about(&person);
        self.record_query(caller, "Observation/$stats", pairs, &gathered).await?;
        let statistics = told.into_iter().flatten().map(|resource| json!({"name": "statistics", "resource": resource}));
        let mut parameters = json!({"resourceType": "Parameters"});
        let statistics: Vec<Value> = statistics.collect();
        if !statistics.is_empty() {
            parameters["parameter"] = statistics.into();
        }
        Ok(parameters)
    }

    /// The search for the readings of one measure.
    fn readings(&self, asked: &Asked, person: &str, (system, code): &Measure) -> Result<Query, Refusal> {
        let escaped =
            |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace('|', "\\|").replace('$', "\\$");
        let code = match system {
            Some(system) => format!("{}|{}", escaped(system), escaped(code)),
            None => escaped(code),
        };
        let mut pairs = vec![("patient".to_owned(), person.to_owned()), ("combo-code".to_owned(), code)];
        if let Some(hours) = asked.hours {
            let from = time::instant(self.now_ms().saturating_sub((hours * HOUR_MS) as i64));
            pairs.push(("date".to_owned(), format!("ge{from}")));
        }
        pairs.extend(asked.dates.iter().map(|date| ("date".to_owned(), date.clone())));
        let (mut query, issues) = Query::parse(KIND, &pairs, &self.registry, false);
        query.base = Some(self.base.clone());
        if issues.is_empty() { Ok(query) } else { Err(issues.into()) }
    }
}

fn wrong(text: &str) -> Refusal {
    Refusal::one(Id::OperationParameter, "", text)
}

impl Asked {
    fn read(pairs: &[(String, String)], parameters: Option<Element<'_>>) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            if !matches!(name.as_str(), "_format" | "_pretty") {
                asked.one(name, value)?;
            }
        }
        for parameter in parameters.into_iter().flat_map(|body| body.all("parameter")) {
            let name = parameter.text_of("name").unwrap_or_default();
            if let Some(coding) = parameter.get("valueCoding").filter(|_| name == "coding") {
                let code = coding.text_of("code").ok_or_else(|| wrong("A coding has a code."))?;
                asked.codes.push((coding.text_of("system").map(str::to_owned), code.to_owned()));
            } else if let Some(period) = parameter.get("valuePeriod").filter(|_| name == "period") {
                asked.dates.extend(period.text_of("start").map(|start| format!("ge{start}")));
                asked.dates.extend(period.text_of("end").map(|end| format!("le{end}")));
            } else {
                let value = parameter.children().find(|(name, _)| name.starts_with("value"));
                let text = value.and_then(|(_, value)| value.text());
                asked.one(name, text.ok_or_else(|| wrong("A parameter has a value of its type."))?)?;
            }
        }
        for (system, _) in &mut asked.codes {
            *system = system.take().or_else(|| asked.system.clone());
        }
        if asked.statistics.is_empty() || asked.codes.is_empty() {
            return Err(wrong("At least one code and one statistic are asked for."));
        }
        Ok(asked)
    }

    fn one(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "subject" | "patient" if self.subject.is_none() => self.subject = Some(value.to_owned()),
            "code" | "coding" => self.codes.extend(value.split(',').map(|code| match code.split_once('|') {
                Some((system, code)) => (Some(system.to_owned()), code.to_owned()),
                None => (None, code.to_owned()),
            })),
            "system" => self.system = Some(value.to_owned()),
            "duration" => {
                let hours = value.parse().ok().filter(|hours: &f64| (0.0..1e9).contains(hours));
                self.hours = Some(hours.ok_or_else(|| wrong("duration is a number of hours."))?);
            }
            "date" => self.dates.push(value.to_owned()),
            "statistic" => {
                for code in value.split(',') {
                    let refuse = || wrong(&format!("statistic is one of {}.", Statistic::CODES.join(", ")));
                    self.statistics.push(Statistic::parse(code).ok_or_else(refuse)?);
                }
            }
            _ => {
                return Err(wrong(
                    "The parameters are subject, code, system, coding, duration, period, date and statistic.",
                ));
            }
        }
        Ok(())
    }
}
