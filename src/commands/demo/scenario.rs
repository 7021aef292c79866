//! The day itself: what is sent, what must come of it, and what came.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::Account;
use super::stage::{APP_ACTOR, PLATFORM, PLATFORM_ACTOR, Stage};
use crate::exchange::CATEGORY_SYSTEM;
use crate::policy::consent::Action;
use crate::policy::consent::draft::{Draft, Permit};

/// The day as it is written down.
#[derive(Deserialize)]
struct Day {
    steps: Vec<Step>,
}

/// One thing that the app sends.
#[derive(Deserialize)]
struct Step {
    say: String,
    #[serde(default)]
    resource: Option<Value>,
    /// Sent once a value, in one Bundle.
    #[serde(default)]
    template: Option<Value>,
    #[serde(default)]
    values: Vec<u32>,
    status: u16,
    #[serde(default)]
    issue: Option<String>,
    #[serde(default)]
    delivered: bool,
    #[serde(default)]
    withheld: bool,
}

/// What the person allows the app to collect, and the platform to receive.
const COLLECTED: &[&str] = &["heart-rate", "blood-pressure", "weight", "oxygen-saturation", "sleep", "activity"];
const SHARED: &[&str] = &["heart-rate", "blood-pressure", "weight", "oxygen-saturation", "activity"];

pub(super) async fn play(stage: &mut Stage, account: &Account) -> anyhow::Result<()> {
    let day: Day = serde_json::from_str(include_str!("../../../conformance/demo/day.json"))?;
    let now = jiff::Timestamp::now();

    account.title("A person registers and consents");
    let patient = register(stage, account, "Ada").await?;
    stage.remember_patient(&patient);
    let consent = consent(stage, account, &patient, now.as_millisecond()).await?;

    account.title("The app pushes the day");
    let mut delivered = 0;
    let mut withheld = 0;
    for step in &day.steps {
        delivered += send(stage, account, step, &patient, now).await?;
        withheld += usize::from(step.withheld);
    }

    account.title("The gateway delivers");
    deliver(stage, account, delivered).await?;

    account.title("What the person's consent withheld, from the access log that the person can read");
    let seen = show_withheld(stage, account, &patient, withheld).await?;
    account.promise(seen == withheld, &format!("{withheld} withheld item(s) were promised, {seen} are on record"));

    account.title("The platform reads back");
    let pulled = stage.platform.pull(&patient).await?;
    let count = pulled["pulled"].as_u64().unwrap_or(0);
    account.line("32", "pulled", &format!("{count} observations on {} page(s)", pulled["pages"]));
    account.promise(
        count == delivered as u64,
        &format!("{delivered} observations were promised to the platform: {pulled}"),
    );

    account.title("A second person withdraws");
    withdraw(stage, account, now, &day).await?;

    account.title("The first person's consent, as it decided");
    account.note(&format!("{}/Consent/{consent}", stage.app.base));
    Ok(())
}

async fn register(stage: &Stage, account: &Account, name: &str) -> anyhow::Result<String> {
    let patient = json!({
        "resourceType": "Patient",
        "identifier": [{"system": "https://band.example/accounts", "value": name}],
        "active": true,
    });
    let answer = stage.app.post("/Patient", patient.to_string()).await?;
    account
        .promise(answer.status == 201, &format!("the patient was not registered: {} {}", answer.status, answer.body));
    let id = answer.body["id"].as_str().context("the patient's id")?.to_owned();
    account.line("32", "registered", &format!("Patient/{id}"));
    Ok(id)
}

async fn consent(stage: &Stage, account: &Account, patient: &str, now_ms: i64) -> anyhow::Result<String> {
    let codings =
        |categories: &[&str]| categories.iter().map(|code| (CATEGORY_SYSTEM.to_owned(), (*code).to_owned())).collect();
    let permit = |actor: &str, actions: Vec<Action>, categories: &[&str]| Permit {
        actor: actor.to_owned(),
        actions,
        purposes: vec!["TREAT".to_owned()],
        codings: codings(categories),
        period_ms: (None, None),
    };
    let draft = Draft {
        patient: format!("Patient/{patient}"),
        made_ms: now_ms,
        permits: vec![
            permit(APP_ACTOR, vec![Action::Collect, Action::Access], COLLECTED),
            permit(PLATFORM_ACTOR, vec![Action::Disclose, Action::Access], SHARED),
        ],
        until_ms: None,
    };
    let answer = stage.app.post("/Consent", draft.consent().to_string()).await?;
    account.promise(answer.status == 201, &format!("the consent was not recorded: {} {}", answer.status, answer.body));
    let id = answer.body["id"].as_str().context("the consent's id")?.to_owned();
    account.line("32", "consent", &format!("Consent/{id}"));
    account.note(&format!("           {APP_ACTOR} may collect and read {}", COLLECTED.join(", ")));
    account.note(&format!("           {PLATFORM_ACTOR} may receive and read {}", SHARED.join(", ")));
    Ok(id)
}

/// Sends one step; answers how many observations the platform was promised by it.
async fn send(
    stage: &Stage,
    account: &Account,
    step: &Step,
    patient: &str,
    now: jiff::Timestamp,
) -> anyhow::Result<usize> {
    let (path, body, count) = match (&step.resource, &step.template) {
        (Some(resource), _) => ("/Observation", filled(resource, patient, now), 1),
        (None, Some(template)) => ("", bundle(template, &step.values, patient, now)?, step.values.len()),
        (None, None) => anyhow::bail!("a step sends something"),
    };
    let answer = stage.app.post(path, body).await?;
    match answer.status {
        201 => account.line("32", "accepted", &step.say),
        200 if step.resource.is_some() => account.line("36", "duplicate", &format!("{}: stored once", step.say)),
        200 => account.line("32", "accepted", &step.say),
        403 => account.line("35", "withheld", &step.say),
        _ => account.line("31", "refused", &step.say),
    }
    if answer.status >= 400 {
        account.issues(&answer.body);
    }
    let issues = answer.body["issue"].as_array().into_iter().flatten();
    let raised = issues.filter_map(|issue| issue["details"]["coding"][0]["code"].as_str()).collect::<Vec<_>>();
    let right_issue = step.issue.as_deref().is_none_or(|promised| raised.contains(&promised));
    account.promise(
        answer.status == step.status && right_issue,
        &format!("{} {:?} was promised, {} {raised:?} came", step.status, step.issue, answer.status),
    );
    if path.is_empty() {
        let entries = answer.body["entry"].as_array().map_or(&[][..], Vec::as_slice);
        let created = entries.iter().filter(|entry| entry["response"]["status"] == "201 Created").count();
        account.promise(created == count, &format!("{count} entries were promised to be created, {created} were"));
    }
    Ok(if step.delivered { count } else { 0 })
}

fn filled(resource: &Value, patient: &str, now: jiff::Timestamp) -> String {
    let day = |hours: i64| (now - jiff::SignedDuration::from_hours(hours)).strftime("%Y-%m-%d").to_string();
    // Laid out over lines, as a developer's tool sends it, so that places in the answer mean something.
    serde_json::to_string_pretty(resource)
        .unwrap_or_default()
        .replace("$PATIENT", &format!("Patient/{patient}"))
        .replace("$DAY", &day(48))
        .replace("$EVE", &day(72))
}

fn bundle(template: &Value, values: &[u32], patient: &str, now: jiff::Timestamp) -> anyhow::Result<String> {
    let mut entries = Vec::new();
    for (hour, value) in values.iter().enumerate() {
        let text = filled(template, patient, now)
            .replace("\"$VALUE\"", &value.to_string())
            .replace("$HOUR", &format!("{hour:02}"));
        let resource: Value = serde_json::from_str(&text)?;
        entries.push(json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}}));
    }
    Ok(json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string())
}

/// Waits until the platform has what it was promised, and shows what it says of it.
async fn deliver(stage: &Stage, account: &Account, promised: usize) -> anyhow::Result<()> {
    let mut received = 0;
    let mut state = Value::Null;
    for _ in 0..200 {
        state = stage.platform.account().await?;
        received = state["resources"].as_u64().unwrap_or(0);
        if received >= promised as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let violations = state["violationCount"].as_u64().unwrap_or(u64::MAX);
    account.line("32", "delivered", &format!("{received} observations, as the platform counts them"));
    account.line(
        if violations == 0 { "32" } else { "31" },
        "checked",
        &format!("{violations} violations found by the platform's own checks"),
    );
    account.promise(
        received == promised as u64 && violations == 0,
        &format!("{promised} deliveries without violation were promised: {state}"),
    );
    Ok(())
}

/// Waits until the access log has what was promised to be withheld, and shows it. A decision is on record a moment
/// after the platform has counted what it was sent.
async fn show_withheld(stage: &Stage, account: &Account, patient: &str, promised: usize) -> anyhow::Result<usize> {
    let mut events = Vec::new();
    for _ in 0..100 {
        events = refused(stage, patient).await?;
        if events.len() >= promised {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for event in &events {
        let references =
            event["entity"].as_array().into_iter().flatten().filter_map(|entity| entity["what"]["reference"].as_str());
        let (consents, items): (Vec<&str>, Vec<&str>) =
            references.partition(|reference| reference.starts_with("Consent/"));
        let items: Vec<&str> = items.into_iter().filter(|reference| !reference.starts_with("Patient/")).collect();
        let by = if consents.is_empty() { "no consent covers it".to_owned() } else { consents.join(", ") };
        account.line(
            "35",
            "withheld",
            &format!(
                "{} from {PLATFORM}: {} ({by})",
                items.join(", "),
                event["outcomeDesc"].as_str().unwrap_or_default()
            ),
        );
    }
    Ok(events.len())
}

/// The audit events in which the gateway itself, towards the platform, refused.
async fn refused(stage: &Stage, patient: &str) -> anyhow::Result<Vec<Value>> {
    let mut log = stage.app.get(&format!("/AuditEvent?patient={patient}&_count=1000")).await?;
    let name = format!("\"{PLATFORM}\"");
    let entries = log.body["entry"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let events = entries.into_iter().map(|mut entry| entry["resource"].take());
    Ok(events.filter(|event| event["outcome"] == "4" && event.to_string().contains(&name)).collect())
}

/// Somebody else consents, sends, withdraws: nothing goes in or out any more.
async fn withdraw(stage: &mut Stage, account: &Account, now: jiff::Timestamp, day: &Day) -> anyhow::Result<()> {
    let patient = register(stage, account, "Ben").await?;
    let consent = consent(stage, account, &patient, now.as_millisecond()).await?;
    let reading = day.steps.iter().find_map(|step| step.resource.as_ref()).context("the day has a reading")?;
    let text = filled(reading, &patient, now);
    let first = stage.app.post("/Observation", text.replace("hr-0630", "ben-1")).await?;
    account.promise(first.status == 201, &format!("the first reading was refused: {}", first.body));
    account.line("32", "accepted", "a heart rate, while the consent stands");
    let mut current = stage.app.get(&format!("/Consent/{consent}")).await?.body;
    current["status"] = json!("inactive");
    let withdrawn = stage.app.put(&format!("/Consent/{consent}"), current.to_string()).await?;
    account.promise(
        withdrawn.status == 200,
        &format!("the withdrawal was refused: {} {}", withdrawn.status, withdrawn.body),
    );
    account.line("35", "withdrawn", &format!("Consent/{consent}"));
    let second = stage.app.post("/Observation", text.replace("hr-0630", "ben-2")).await?;
    account.promise(second.status == 403, &format!("a reading after the withdrawal was answered {}", second.status));
    account.line("35", "withheld", "the next heart rate");
    account.issues(&second.body);
    let pulled = stage.platform.pull(&patient).await?;
    account.line("35", "pulled", &format!("{} observations of this person", pulled["pulled"]));
    account.promise(pulled["pulled"] == 0, &format!("nothing was promised after the withdrawal: {pulled}"));
    Ok(())
}
