//! `GET /receipts` and `GET /receipts/scorecard`: what a client was told of its records, asked again.

use serde_json::{Value, json};

use super::{Request, device};
use crate::exchange::Refusal;
use crate::exchange::receipts::{Listed, Word};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time::Moment;
use crate::server::reply::Reply;

/// Of one record by its id, or a page of all that were refused or doubtful.
pub(super) async fn receipts(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let asked = asked(request, &["id", "patient", "format", "since", "outcome", "after"])?;
    let wanted = |name: &str| asked.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    if let Some(id) = wanted("id") {
        let formats = match wanted("format") {
            Some(name) => vec![device::format(request, name)?],
            None => request.gateway.formats.all(),
        };
        let value = request.gateway.receipts_of(&caller, &formats, id, wanted("patient")).await?;
        return Ok(Reply::json(200, &value));
    }
    let listed = Listed {
        since_ms: wanted("since").map(since).transpose()?,
        outcome: wanted("outcome").map(outcome).transpose()?,
        after: wanted("after").map(str::to_owned),
    };
    let (mut value, next) = request.gateway.receipts_since(&caller, &listed).await?;
    if let Some(after) = next {
        let mut link = url::form_urlencoded::Serializer::new(String::new());
        for name in ["since", "outcome"] {
            if let Some(given) = wanted(name) {
                link.append_pair(name, given);
            }
        }
        link.append_pair("after", &after);
        let root = request.gateway.base.trim_end_matches("/fhir");
        value["next"] = format!("{root}/receipts?{}", link.finish()).into();
    }
    Ok(Reply::json(200, &value))
}

pub(super) async fn scorecard(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let asked = asked(request, &["days"])?;
    let days = asked.first().map(|(_, days)| days.parse().map_err(|_| refuse("days", "a number of days")));
    let card: Value = request.gateway.scorecard(&caller, days.transpose()?).await?;
    let mut value = json!({"client": &*caller.principal.client});
    if let (Value::Object(value), Value::Object(card)) = (&mut value, card) {
        value.extend(card);
    }
    Ok(Reply::json(200, &value))
}

/// The parameters; one that is unknown or given twice might narrow, so it is not passed over.
fn asked<'r>(request: &'r Request<'_>, known: &[&str]) -> Result<Vec<(&'r str, &'r str)>, Refusal> {
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &request.query {
        if name == "_format" {
            continue;
        }
        if !known.contains(&name.as_str()) || asked.iter().any(|(earlier, _)| earlier == name) {
            let text = format!("The parameters are {}, each at most once.", known.join(", "));
            return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
        }
        asked.push((name, value));
    }
    Ok(asked)
}

fn since(text: &str) -> Result<i64, Refusal> {
    // A '+' in a query means a space once decoded.
    let moment =
        Moment::parse(&text.replace(' ', "+")).ok_or_else(|| refuse("since", "a date or a time with its offset"))?;
    Ok(moment.interval_assuming_utc_ms().0)
}

fn outcome(text: &str) -> Result<String, Refusal> {
    let filed = [Word::Flagged, Word::Refused].iter().find(|word| word.code() == text);
    filed.map(|word| word.code().to_owned()).ok_or_else(|| refuse("outcome", "flagged or refused"))
}

fn refuse(name: &str, expected: &str) -> Refusal {
    Refusal::one(Id::SearchValue, "", format!("The parameter {name} is {expected}."))
}
