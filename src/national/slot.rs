//! What a template may ask for, by name: the words of the language in which shapes are written.

/// Where a template's text comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slot {
    /// The measurement itself.
    Uuid,
    /// The same of this version of it alone, and of a document that tells it.
    VersionUuid,
    VersionOid,
    DocumentUuid,
    Id,
    Version,
    /// The id that the destination gave it.
    There,
    /// Key of the measure.
    Measure,
    Profile,
    Categories,
    Code,
    /// Of its first coding.
    CodeSystem,
    CodeCode,
    Status,
    /// Written under the name that its type asks for: `value[x]`, `effective[x]`.
    Value,
    Effective,
    Issued,
    Absent,
    Note,
    /// All of them: a list, and one text.
    Notes,
    NotesText,
    Narrative,
    Language,
    /// What the guide's extensions say.
    Recording,
    Meal,
    Statistic,
    Zone,
    /// The SNOMED CT code of the standard's extension for the position of the body.
    Position,
    /// Elements that are handed on as they are.
    Copy(Copied),
    /// What it was computed of, and what belongs to it, by the names that the destination knows.
    DerivedFrom,
    HasMember,
    /// The person.
    PersonUuid,
    PersonIdentifier,
    PersonSystem,
    PersonValue,
    PersonName,
    PersonFamily,
    PersonGiven,
    /// All of them, as a list.
    PersonGivens,
    PersonGender,
    PersonBirth,
    /// What measured.
    Thing(Which, Part),
    /// Of the care plan that the measurement is for.
    Episode,
    EpisodeId,
    Plan,
    PlanVersion,
    /// The address that the person has there, if it was looked up.
    PersonThere,
    /// All measurements of the request together.
    RequestUuid,
    RequestOid,
    /// When the last of them was made available.
    RequestIssued,
    /// Of the operator.
    Setting(u16),
    /// A line of a table of words.
    Word(u16, Told),
}

/// What measured, or what sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    Device,
    App,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    Uuid,
    System,
    Value,
    Manufacturer,
    Model,
    Name,
    Serial,
    Version,
    /// The code of its specialisation among ISO/IEEE 11073.
    Specialization,
}

/// What a template takes of a line of words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    Coding,
    System,
    Code,
    Display,
}

/// An element that is handed on, without what only the gateway has a use for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Copied {
    BodySite,
    Method,
    Interpretation,
    ReferenceRange,
    /// The labels of `meta.security`.
    Security,
}

impl Copied {
    pub fn name(self) -> &'static str {
        match self {
            Copied::BodySite => "bodySite",
            Copied::Method => "method",
            Copied::Interpretation => "interpretation",
            Copied::ReferenceRange => "referenceRange",
            Copied::Security => "security",
        }
    }

    /// Whether R4 has a list of them.
    pub fn repeats(self) -> bool {
        matches!(self, Copied::Interpretation | Copied::ReferenceRange | Copied::Security)
    }
}

const NAMED: &[(&str, Slot)] = &[
    ("uuid", Slot::Uuid),
    ("version.uuid", Slot::VersionUuid),
    ("version.oid", Slot::VersionOid),
    ("document.uuid", Slot::DocumentUuid),
    ("id", Slot::Id),
    ("version", Slot::Version),
    ("there", Slot::There),
    ("measure", Slot::Measure),
    ("profile", Slot::Profile),
    ("categories", Slot::Categories),
    ("code", Slot::Code),
    ("code.system", Slot::CodeSystem),
    ("code.code", Slot::CodeCode),
    ("status", Slot::Status),
    ("value", Slot::Value),
    ("effective", Slot::Effective),
    ("issued", Slot::Issued),
    ("absent", Slot::Absent),
    ("note", Slot::Note),
    ("notes", Slot::Notes),
    ("notes.text", Slot::NotesText),
    ("narrative", Slot::Narrative),
    ("language", Slot::Language),
    ("recording", Slot::Recording),
    ("meal", Slot::Meal),
    ("statistic", Slot::Statistic),
    ("zone", Slot::Zone),
    ("position", Slot::Position),
    ("bodySite", Slot::Copy(Copied::BodySite)),
    ("method", Slot::Copy(Copied::Method)),
    ("interpretation", Slot::Copy(Copied::Interpretation)),
    ("referenceRange", Slot::Copy(Copied::ReferenceRange)),
    ("security", Slot::Copy(Copied::Security)),
    ("derivedFrom", Slot::DerivedFrom),
    ("hasMember", Slot::HasMember),
    ("person.uuid", Slot::PersonUuid),
    ("person.identifier", Slot::PersonIdentifier),
    ("person.system", Slot::PersonSystem),
    ("person.value", Slot::PersonValue),
    ("person.name", Slot::PersonName),
    ("person.family", Slot::PersonFamily),
    ("person.given", Slot::PersonGiven),
    ("person.givens", Slot::PersonGivens),
    ("person.gender", Slot::PersonGender),
    ("person.birthDate", Slot::PersonBirth),
    ("context.episode", Slot::Episode),
    ("context.episode.id", Slot::EpisodeId),
    ("context.request", Slot::Plan),
    ("context.requestVersion", Slot::PlanVersion),
    ("context.person", Slot::PersonThere),
    ("request.uuid", Slot::RequestUuid),
    ("request.oid", Slot::RequestOid),
    ("request.issued", Slot::RequestIssued),
];

const PARTS: &[(&str, Part)] = &[
    ("uuid", Part::Uuid),
    ("system", Part::System),
    ("value", Part::Value),
    ("manufacturer", Part::Manufacturer),
    ("model", Part::Model),
    ("name", Part::Name),
    ("serial", Part::Serial),
    ("version", Part::Version),
    ("specialization", Part::Specialization),
];

/// What a pack gives names to itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'n> {
    pub settings: &'n [String],
    pub words: &'n [String],
    /// Whether these are all; nobody knows where `pack.toml` cannot be read.
    pub whole: bool,
}

impl Names<'_> {
    /// The slot of that name.
    pub fn slot(self, name: &str) -> Option<Slot> {
        if let Some((_, slot)) = NAMED.iter().find(|(known, _)| *known == name) {
            return Some(*slot);
        }
        let (group, rest) = name.split_once('.')?;
        let index = |list: &[String], name: &str| {
            list.iter().position(|known| known == name).and_then(|at| u16::try_from(at).ok())
        };
        match group {
            "device" | "app" => {
                let which = if group == "app" { Which::App } else { Which::Device };
                PARTS.iter().find(|(known, _)| *known == rest).map(|(_, part)| Slot::Thing(which, *part))
            }
            "setting" => index(self.settings, rest).map(Slot::Setting),
            "word" => {
                let (table, told) = rest.split_once('.').unwrap_or((rest, ""));
                let told = match told {
                    "" => Told::Coding,
                    "system" => Told::System,
                    "code" => Told::Code,
                    "display" => Told::Display,
                    _ => return None,
                };
                index(self.words, table).map(|at| Slot::Word(at, told))
            }
            _ => None,
        }
    }

    /// Why there is certainly no slot of that name.
    pub fn unknown(self, name: &str) -> Option<String> {
        if self.slot(name).is_some() {
            return None;
        }
        match name.split_once('.') {
            Some(("setting" | "word", _)) if !self.whole => None,
            Some(("setting", own)) => Some(no_setting(own)),
            Some(("word", own)) => {
                let table = own.split('.').next().unwrap_or_default();
                let is_table = self.words.iter().any(|known| known == table);
                Some(if is_table { format!("no slot is called {name}") } else { no_words(table) })
            }
            _ => Some(format!("no slot is called {name}")),
        }
    }
}

/// Said alike wherever the name stands, so that it is told once.
pub(super) const NOT_THERE: &str = "pack.toml has no ";

pub(super) fn no_setting(name: &str) -> String {
    format!("{NOT_THERE}[settings.{name}]")
}

pub(super) fn no_words(table: &str) -> String {
    format!("{NOT_THERE}{table} in [words]")
}

/// What a lookup can give, by its name within `context`.
pub(super) fn looked_up(name: &str) -> Option<Slot> {
    let slot = Names { settings: &[], words: &[], whole: true }.slot(&format!("context.{name}"))?;
    slot.is_context().then_some(slot)
}

impl Slot {
    /// Whether it may stand at the destination alone.
    pub fn is_context(self) -> bool {
        matches!(self, Slot::Episode | Slot::Plan | Slot::PlanVersion | Slot::PersonThere)
    }

    /// Its name within `context`.
    pub fn context_name(self) -> &'static str {
        let known = NAMED.iter().find(|(_, slot)| *slot == self);
        known.and_then(|(name, _)| name.strip_prefix("context.")).unwrap_or_default()
    }

    /// The guide's extension that says it, without what all their names begin with.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Slot::Recording => Some("mh-recording-method"),
            Slot::Meal => Some("mh-meal-time"),
            Slot::Statistic => Some("mh-statistic"),
            Slot::Zone => Some("mh-time-zone"),
            _ => None,
        }
    }

    /// Whether it says something of one measurement, so that of another it says something else.
    pub fn is_of_one(self) -> bool {
        let is_of_person = self.is_of_record() && !matches!(self, Slot::Thing(..)) || self == Slot::PersonUuid;
        !is_of_person && !matches!(self, Slot::Setting(_) | Slot::PersonThere | Slot::Language)
    }

    /// Whether it stands in other records than the measurement's.
    pub fn is_beside(self) -> bool {
        self.is_of_record() || matches!(self, Slot::PersonUuid | Slot::Setting(_))
    }

    /// Whether it stands in the record of the person, of the device or of the app.
    pub fn is_of_record(self) -> bool {
        matches!(
            self,
            Slot::Thing(..)
                | Slot::PersonIdentifier
                | Slot::PersonSystem
                | Slot::PersonValue
                | Slot::PersonName
                | Slot::PersonFamily
                | Slot::PersonGiven
                | Slot::PersonGivens
                | Slot::PersonGender
                | Slot::PersonBirth
        )
    }

    /// What is missing where it has nothing, for whoever could send it.
    pub fn missing(self) -> &'static str {
        match self {
            Slot::Uuid
            | Slot::VersionUuid
            | Slot::VersionOid
            | Slot::DocumentUuid
            | Slot::Id
            | Slot::RequestUuid
            | Slot::RequestOid => "an id",
            Slot::Version => "a version",
            Slot::There => "the id that it has there",
            Slot::Measure => "a measure",
            Slot::Profile => "a profile",
            Slot::Categories => "a category",
            Slot::Code | Slot::CodeSystem | Slot::CodeCode => "a code",
            Slot::Status => "a status",
            Slot::Value => "a value",
            Slot::Effective => "the time of the measurement",
            Slot::Issued | Slot::RequestIssued => "the time at which it was made available",
            Slot::Absent => "the reason why there is no value",
            Slot::Note | Slot::Notes | Slot::NotesText => "a note",
            Slot::Narrative | Slot::Language => "a text",
            Slot::Recording => "how it was recorded",
            Slot::Meal => "how it stands to a meal",
            Slot::Statistic => "which statistic it is",
            Slot::Zone => "the time zone of the day",
            Slot::Position => "the position of the body",
            Slot::Copy(Copied::BodySite) => "the place of the body",
            Slot::Copy(Copied::Method) => "the method",
            Slot::Copy(Copied::Interpretation) => "an interpretation",
            Slot::Copy(Copied::ReferenceRange) => "a range of reference",
            Slot::Copy(Copied::Security) => "a security label",
            Slot::DerivedFrom => "the measurements that it is computed of",
            Slot::HasMember => "the measurements that belong to it, each by itself",
            Slot::PersonUuid | Slot::PersonIdentifier | Slot::PersonSystem | Slot::PersonValue => {
                "the identifier by which the destination knows the person"
            }
            Slot::PersonName => "the person's name, as a text or as family and given names",
            Slot::PersonFamily | Slot::PersonGiven | Slot::PersonGivens => "the person's family and given names",
            Slot::PersonGender => "the person's gender",
            Slot::PersonBirth => "the person's date of birth",
            Slot::Thing(Which::Device, _) => "the device that measured, with its identifier, maker and model",
            Slot::Thing(Which::App, _) => "the app that sends it",
            Slot::Episode | Slot::EpisodeId => "the episode of care that it is for",
            Slot::Plan | Slot::PlanVersion => "the request of the care plan that it answers",
            Slot::PersonThere => "the address that the person has there",
            Slot::Setting(_) => "a setting of the operator's",
            Slot::Word(..) => "what the destination calls it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_names() {
        let (settings, words) = (["publisher".to_owned()], ["moment".to_owned()]);
        let names = Names { settings: &settings, words: &words, whole: true };
        for (name, expected) in [
            ("profile", Some(Slot::Profile)),
            ("device.model", Some(Slot::Thing(Which::Device, Part::Model))),
            ("app.name", Some(Slot::Thing(Which::App, Part::Name))),
            ("setting.publisher", Some(Slot::Setting(0))),
            ("setting.other", None),
            ("word.moment", Some(Slot::Word(0, Told::Coding))),
            ("word.moment.code", Some(Slot::Word(0, Told::Code))),
            ("word.moment.colour", None),
            ("person.bsn", None),
            ("", None),
        ] {
            assert_eq!(names.slot(name), expected, "{name}");
            assert_eq!(names.unknown(name).is_some(), expected.is_none(), "{name}");
        }
        let unread = Names { settings: &[], words: &[], whole: false };
        assert!(unread.unknown("setting.other").is_none() && unread.unknown("colour").is_some());
        for (name, slot) in NAMED {
            assert!(!slot.missing().is_empty(), "{name}");
        }
    }
}
