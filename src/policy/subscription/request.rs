//! What a client asks for: a Subscription resource as plain data, or everything that is wrong with it.
//!
//! Whether the endpoint may be called and what the filters mean is for others to say: the one needs an address book,
//! the other the definitions of search parameters.

use super::Status;
use super::topic::{Topic, topic};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// What the extensions of the backport are called.
const EXTENSION: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-";

/// Extensions that say in the words of R5 what those of the backport say.
const OF_R5: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription.";

/// Headers that are HTTP's own, or would let a client speak to its endpoint in our name.
const OWN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "user-agent",
    "x-request-id",
];

/// Bounds of what may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Seconds: no endpoint is asked more often whether it is there.
    pub heartbeat_least: u32,
    /// Seconds: no endpoint may take longer.
    pub timeout_most: u32,
    /// Events of one notification.
    pub count_most: u32,
}

/// Most filters and most headers of one subscription.
const MOST: usize = 20;

/// Longest header.
const HEADER_BYTES: usize = 4096;

/// How much of a resource is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Content {
    Empty,
    IdOnly,
    FullResource,
}

impl Content {
    pub fn parse(code: &str) -> Option<Content> {
        match code {
            "empty" => Some(Content::Empty),
            "id-only" => Some(Content::IdOnly),
            "full-resource" => Some(Content::FullResource),
            _ => None,
        }
    }
}

/// In which format it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    Json,
    Xml,
}

/// By which way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Channel {
    /// We call that address.
    RestHook { endpoint: String },
    /// The client holds a socket open to us.
    Websocket,
}

/// A header of the client's, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Header(..)")
    }
}

impl Header {
    /// `Name: value`, as a Subscription has it.
    pub fn parse(text: &str) -> Option<Header> {
        let (name, value) = text.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
        let fits = !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_visible);
        let is_own = OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own));
        (fits && !is_own && text.len() <= HEADER_BYTES)
            .then(|| Header { name: name.to_owned(), value: value.to_owned() })
    }
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub topic: &'static Topic,
    /// Searches of which all must find what is told.
    pub filters: Vec<String>,
    pub channel: Channel,
    pub headers: Vec<Header>,
    pub content: Content,
    pub media: Media,
    /// `Subscription.channel.payload` as it was written, which is what the notification says it is.
    pub media_type: String,
    pub heartbeat_seconds: Option<u32>,
    pub timeout_seconds: Option<u32>,
    pub most_events: Option<u32>,
    pub end_ms: Option<i64>,
    /// Whether the client turns it off.
    pub is_off: bool,
}

impl Wanted {
    /// Reads a Subscription that is a valid resource of R4.
    pub fn read(subscription: Element<'_>, limits: &Limits, now_ms: i64) -> Result<Wanted, Vec<Issue>> {
        let mut reader = Reader { issues: Vec::new() };
        let wanted = reader.read(subscription, limits, now_ms);
        match wanted {
            Some(wanted) if reader.issues.is_empty() => Ok(wanted),
            _ => Err(reader.issues),
        }
    }
}

struct Reader {
    issues: Vec<Issue>,
}

impl Reader {
    fn read(&mut self, root: Element<'_>, limits: &Limits, now_ms: i64) -> Option<Wanted> {
        let criteria = root.get("criteria")?;
        let topic = topic(criteria.text().unwrap_or_default());
        if topic.is_none() {
            let text = "The criteria are the canonical of a topic of the CapabilityStatement.";
            self.wrong(Id::SubscriptionTopic, "Subscription.criteria", text, criteria);
        }
        for foreign in root.all("extension").filter(|extension| extension.text_of("url").is_some_and(restates)) {
            let text = "What the backport has an extension for is said by that extension.";
            self.wrong(Id::SubscriptionElement, "Subscription.extension", text, foreign);
        }
        let filters = extensions(criteria, "filter-criteria").filter_map(|each| each.text_of("valueString"));
        let filters: Vec<String> = filters.map(str::to_owned).collect();
        if filters.len() > MOST {
            let text = format!("At most {MOST} filters are applied.");
            self.wrong(Id::SubscriptionFilter, "Subscription.criteria", &text, criteria);
        }
        let end_ms = root.text_of("end").and_then(Moment::parse).map(|end| end.interval_ms().0);
        if end_ms.is_some_and(|end_ms| end_ms <= now_ms) {
            self.wrong(Id::SubscriptionElement, "Subscription.end", "The end must lie in the future.", root);
        }
        let status = root.text_of("status").and_then(Status::parse);
        let channel = root.get("channel")?;
        let wanted = Wanted {
            filters,
            end_ms,
            is_off: status == Some(Status::Off),
            headers: self.headers(channel),
            content: self.content(channel).unwrap_or(Content::Empty),
            media_type: channel.text_of("payload").unwrap_or_default().to_owned(),
            media: self.media(channel).unwrap_or(Media::Json),
            heartbeat_seconds: self.seconds(channel, "heartbeat-period", (limits.heartbeat_least, u32::MAX)),
            timeout_seconds: self.seconds(channel, "timeout", (1, limits.timeout_most)),
            most_events: number(channel, "max-count").map(|count| count.clamp(1, limits.count_most)),
            channel: self.channel(channel).unwrap_or(Channel::Websocket),
            topic: topic?,
        };
        Some(wanted)
    }

    fn wrong(&mut self, id: Id, place: &str, text: &str, element: Element<'_>) {
        self.issues.push(Issue::new(id, place, text).at(element.position()));
    }

    fn channel(&mut self, channel: Element<'_>) -> Option<Channel> {
        const PLACE: &str = "Subscription.channel.type";
        let kind = channel.get("type")?;
        if extensions(kind, "channel-type").next().is_some() {
            self.wrong(Id::SubscriptionChannel, PLACE, "Channels are rest-hook and websocket.", kind);
            return None;
        }
        let endpoint = channel.text_of("endpoint");
        match (kind.text().unwrap_or_default(), endpoint) {
            ("rest-hook", Some(endpoint)) => Some(Channel::RestHook { endpoint: endpoint.to_owned() }),
            ("rest-hook", None) => {
                let text = "A rest-hook has the address to call.";
                self.wrong(Id::SubscriptionEndpoint, "Subscription.channel.endpoint", text, channel);
                None
            }
            ("websocket", None) => Some(Channel::Websocket),
            ("websocket", Some(_)) => {
                let text = "A websocket is opened by the client, so that it has no address to call.";
                self.wrong(Id::SubscriptionEndpoint, "Subscription.channel.endpoint", text, channel);
                None
            }
            _ => {
                self.wrong(Id::SubscriptionChannel, PLACE, "Channels are rest-hook and websocket.", kind);
                None
            }
        }
    }

    fn headers(&mut self, channel: Element<'_>) -> Vec<Header> {
        let given: Vec<Element<'_>> = channel.all("header").collect();
        let read: Vec<Header> =
            given.iter().filter_map(|each| Header::parse(each.text().unwrap_or_default())).collect();
        if read.len() < given.len() || given.len() > MOST {
            let text = format!(
                "A header is a name of the client's own, a colon and visible ASCII characters; there are at most {MOST}."
            );
            self.wrong(Id::SubscriptionHeader, "Subscription.channel.header", &text, channel);
        }
        read
    }

    fn content(&mut self, channel: Element<'_>) -> Option<Content> {
        let payload = channel.get("payload");
        let said = payload.and_then(|payload| extensions(payload, "payload-content").next());
        let content = said.and_then(|said| said.text_of("valueCode")).and_then(Content::parse);
        if content.is_none() {
            let text = "The payload has the extension backport-payload-content: empty, id-only or full-resource.";
            self.wrong(Id::SubscriptionPayload, "Subscription.channel.payload", text, payload.unwrap_or(channel));
        }
        content
    }

    fn media(&mut self, channel: Element<'_>) -> Option<Media> {
        let payload = channel.get("payload")?;
        let media = media(payload.text().unwrap_or_default());
        if media.is_none() {
            let text = "Notifications are application/fhir+json or application/fhir+xml, in FHIR 4.0.";
            self.wrong(Id::SubscriptionPayload, "Subscription.channel.payload", text, payload);
        }
        media
    }

    fn seconds(&mut self, channel: Element<'_>, name: &str, (least, most): (u32, u32)) -> Option<u32> {
        let seconds = number(channel, name)?;
        if !(least..=most).contains(&seconds) {
            let text = format!("The seconds of backport-{name} lie between {least} and {most}.");
            self.wrong(Id::SubscriptionElement, "Subscription.channel", &text, channel);
        }
        Some(seconds)
    }
}

/// The extensions of the backport with that name.
fn extensions<'d>(element: Element<'d>, name: &'static str) -> impl Iterator<Item = Element<'d>> {
    element
        .all("extension")
        .filter(move |extension| extension.text_of("url").and_then(|url| url.strip_prefix(EXTENSION)) == Some(name))
}

/// Whether an extension says in R5's words what one of the backport's says.
fn restates(url: &str) -> bool {
    url.strip_prefix(OF_R5).is_some_and(|element| element != "identifier")
}

fn number(channel: Element<'_>, name: &str) -> Option<u32> {
    let extension = channel
        .all("extension")
        .find(|each| each.text_of("url").and_then(|url| url.strip_prefix(EXTENSION)) == Some(name))?;
    let value = extension.text_of("valueUnsignedInt").or_else(|| extension.text_of("valuePositiveInt"))?;
    value.parse().ok()
}

/// What a MIME type asks for; none where it cannot be written so.
fn media(text: &str) -> Option<Media> {
    let mut parts = text.split(';').map(str::trim);
    let media = match parts.next()? {
        "application/fhir+json" | "application/json" => Media::Json,
        "application/fhir+xml" | "application/xml" => Media::Xml,
        _ => return None,
    };
    let fits = |parameter: &str| match parameter.split_once('=') {
        Some(("fhirVersion", version)) => matches!(version, "4.0" | "4.0.1"),
        Some(("charset", charset)) => charset.eq_ignore_ascii_case("utf-8"),
        _ => false,
    };
    parts.all(fits).then_some(media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;
    use crate::policy::subscription::TOPICS;
    use serde_json::{Value, json};

    const LIMITS: Limits = Limits { heartbeat_least: 10, timeout_most: 60, count_most: 50 };

    fn subscription() -> Value {
        json!({
            "resourceType": "Subscription", "status": "requested", "reason": "test",
            "criteria": TOPICS[0].canonical(),
            "_criteria": {"extension": [{
                "url": format!("{EXTENSION}filter-criteria"), "valueString": "Observation?patient=Patient/1"
            }]},
            "channel": {
                "extension": [
                    {"url": format!("{EXTENSION}heartbeat-period"), "valueUnsignedInt": 60},
                    {"url": format!("{EXTENSION}timeout"), "valueUnsignedInt": 5},
                    {"url": format!("{EXTENSION}max-count"), "valuePositiveInt": 500},
                ],
                "type": "rest-hook", "endpoint": "https://app.example/hook", "payload": "application/fhir+json",
                "_payload": {"extension": [{"url": format!("{EXTENSION}payload-content"), "valueCode": "id-only"}]},
                "header": ["Authorization: Bearer secret"],
            },
        })
    }

    fn read(subscription: &Value) -> Result<Wanted, Vec<String>> {
        let document = json::parse(subscription.to_string()).unwrap();
        Wanted::read(Element::root(&document), &LIMITS, 1_000).map_err(|issues| {
            let show = |issue: &Issue| format!("{} {}", issue.id, issue.expression);
            issues.iter().map(show).collect()
        })
    }

    #[test]
    fn everything_that_is_asked_for_is_read() {
        let wanted = read(&subscription()).unwrap();
        assert_eq!(wanted.topic.name, "observation-changed");
        assert_eq!(wanted.filters, ["Observation?patient=Patient/1"]);
        assert_eq!(wanted.channel, Channel::RestHook { endpoint: "https://app.example/hook".to_owned() });
        assert_eq!(wanted.headers, [Header { name: "Authorization".to_owned(), value: "Bearer secret".to_owned() }]);
        assert_eq!((wanted.content, wanted.media), (Content::IdOnly, Media::Json));
        assert_eq!(
            (wanted.heartbeat_seconds, wanted.timeout_seconds, wanted.most_events),
            (Some(60), Some(5), Some(50))
        );
        assert!(!wanted.is_off && wanted.end_ms.is_none());
        assert!(!format!("{wanted:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let content = format!("{EXTENSION}payload-content");
        for (pointer, value, expected) in [
            ("/criteria", json!("Observation?code=1"), "subscription-topic Subscription.criteria"),
            ("/end", json!("1970-01-01T00:00:00Z"), "subscription-element Subscription.end"),
            ("/channel/type", json!("email"), "subscription-channel Subscription.channel.type"),
            (
                "/channel/_type",
                json!({"extension": [{"url": format!("{EXTENSION}channel-type"), "valueCoding": {"code": "x"}}]}),
                "subscription-channel Subscription.channel.type",
            ),
            ("/channel/endpoint", json!(null), "subscription-endpoint Subscription.channel.endpoint"),
            ("/channel/type", json!("websocket"), "subscription-endpoint Subscription.channel.endpoint"),
            ("/channel/payload", json!("text/plain"), "subscription-payload Subscription.channel.payload"),
            (
                "/channel/payload",
                json!("application/fhir+json; fhirVersion=5.0"),
                "subscription-payload Subscription.channel.payload",
            ),
            ("/channel/_payload", json!(null), "subscription-payload Subscription.channel.payload"),
            (
                "/channel/_payload/extension",
                json!([{"url": content, "valueCode": "everything"}]),
                "subscription-payload Subscription.channel.payload",
            ),
            ("/channel/header", json!(["Host: other"]), "subscription-header Subscription.channel.header"),
            ("/channel/header", json!(["X: a\u{0}b"]), "subscription-header Subscription.channel.header"),
            ("/channel/header", json!(["nothing"]), "subscription-header Subscription.channel.header"),
            ("/channel/extension/0/valueUnsignedInt", json!(1), "subscription-element Subscription.channel"),
            ("/channel/extension/1/valueUnsignedInt", json!(600), "subscription-element Subscription.channel"),
            (
                "/extension",
                json!([{"url": format!("{OF_R5}topic"), "valueCanonical": "x"}]),
                "subscription-element Subscription.extension",
            ),
            (
                "/_criteria/extension",
                json!(vec![json!({"url": format!("{EXTENSION}filter-criteria"), "valueString": "a=b"}); MOST + 1]),
                "subscription-filter Subscription.criteria",
            ),
        ] {
            let mut asked = subscription();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = asked.pointer_mut(parent).unwrap();
            match (parent, name.parse::<usize>()) {
                (Value::Object(members), _) if value.is_null() => drop(members.remove(name)),
                (Value::Object(members), _) => drop(members.insert(name.to_owned(), value)),
                (Value::Array(items), Ok(place)) => items[place] = value,
                _ => panic!("{pointer}"),
            }
            assert_eq!(read(&asked).unwrap_err(), [expected], "{pointer}");
        }
    }

    #[test]
    fn a_mime_type_says_format_and_version() {
        for (text, expected) in [
            ("application/fhir+json", Some(Media::Json)),
            ("application/fhir+xml;fhirVersion=4.0", Some(Media::Xml)),
            ("application/json; charset=UTF-8", Some(Media::Json)),
            ("application/fhir+json;fhirVersion=4.3", None),
            ("application/fhir+json;other=1", None),
            ("", None),
        ] {
            assert_eq!(media(text), expected, "{text}");
        }
    }
}
