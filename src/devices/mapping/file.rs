//! A mapping as it is written: JSON, read strictly. What the words mean is `docs/devices.md`'s, what they lead to `pack`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub id: String,
    pub version: String,
    pub title: String,
    pub source: String,
    /// Below the address of the guide.
    pub identifier: String,
    pub types: Option<Types>,
    #[serde(default)]
    pub units: BTreeMap<String, BTreeMap<String, Unit>>,
    #[serde(default)]
    pub words: BTreeMap<String, BTreeMap<String, String>>,
    pub inputs: Vec<Input>,
}

/// Where the reasons stand why a type is not taken.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Types {
    /// Source in `profiles/source-types.csv`.
    pub table: String,
    /// What the sender's names begin with and the table's do not.
    #[serde(default)]
    pub strip: Vec<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub at: OneOrMany<String>,
    /// Where the fields are that must not be lost without a word.
    pub fields: Option<String>,
    pub when: Option<String>,
    pub by: Option<OneOrMany<String>>,
    pub version: Option<String>,
    /// Whose JSON Schemas the fields keep.
    pub schemas: Option<String>,
    #[serde(default)]
    pub common: Rule,
    #[serde(default)]
    pub kinds: BTreeMap<String, OneOrMany<Rule>>,
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
    /// Why a record of which no rule makes anything is not taken.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    pub when: String,
    pub why: String,
}

#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub name: Option<String>,
    pub when: Option<String>,
    pub versions: Option<(u32, u32)>,
    pub each: Option<TextOr<Entries>>,
    pub measure: Option<OneOrMany<String>>,
    pub value: Option<String>,
    pub spans: Option<Spans>,
    pub coded: Option<Coded>,
    pub flag: Option<String>,
    pub date: Option<Clock>,
    pub unit: Option<UnitOf>,
    pub times: Option<String>,
    pub shift: Option<String>,
    #[serde(default)]
    pub optional: bool,
    #[serde(default)]
    pub components: Vec<Component>,
    /// What the sender calls the record, where it does.
    pub own: Option<String>,
    pub id: Option<OneOrMany<String>>,
    pub at: Option<Clock>,
    pub start: Option<Clock>,
    pub end: Option<Clock>,
    pub duration: Option<Duration>,
    pub zone: Option<String>,
    pub day: Option<Clock>,
    pub device: Option<OneOrMany<String>>,
    pub app: Option<OneOrMany<String>>,
    pub origin: Option<OneOrMany<String>>,
    pub recording: Option<Choice>,
    pub statistic: Option<Statistic>,
    pub meal: Option<Choice>,
    pub completeness: Option<String>,
    #[serde(default)]
    pub notes: Vec<Note>,
    #[serde(default)]
    pub ignore: Vec<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    pub entries: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Spans {
    pub of: String,
    pub from: Clock,
    pub to: Option<Clock>,
    pub until: Option<Clock>,
    #[serde(rename = "where")]
    pub counts: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Coded {
    pub by: String,
    pub is: Words,
    pub system: String,
    #[serde(rename = "else")]
    pub otherwise: Option<String>,
    /// What the sender calls it.
    pub text: Option<String>,
}

/// A fixed code, or which by what is sent.
pub(super) type Choice = TextOr<ChoiceBy>;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceBy {
    pub by: String,
    pub is: Words,
    #[serde(rename = "else")]
    pub otherwise: Option<String>,
}

/// A table, or the name of one.
pub(super) type Words = TextOr<BTreeMap<String, String>>;

/// A UCUM code, or which by what is sent.
pub(super) type UnitOf = TextOr<UnitBy>;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitBy {
    pub by: String,
    pub is: TextOr<BTreeMap<String, Unit>>,
    pub default: Option<String>,
}

/// A UCUM code, or one with a factor.
pub(super) type Unit = TextOr<Times>;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Times {
    pub ucum: String,
    pub times: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub measure: String,
    pub value: Option<String>,
    pub spans: Option<Spans>,
    pub unit: Option<UnitOf>,
    pub times: Option<String>,
    pub shift: Option<String>,
    #[serde(default)]
    pub optional: bool,
}

/// Where a time stands, or also how it is written.
pub(super) type Clock = TextOr<FullClock>;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct FullClock {
    pub time: String,
    #[serde(rename = "as")]
    pub form: Option<String>,
    pub offset: Option<String>,
    pub offset_unit: Option<String>,
    pub zone: Option<String>,
    pub plus: Option<String>,
    pub plus_unit: Option<String>,
}

/// A duration as ISO 8601 writes it, or a number with its unit.
pub(super) type Duration = TextOr<Number>;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    pub value: String,
    pub unit: UnitOf,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Statistic {
    pub by: String,
    pub is: Words,
    pub per: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub value: String,
    pub label: Option<String>,
    /// What it may be, where that is not everything.
    pub words: Option<Vec<String>>,
    /// What stands for what is sent.
    pub is: Option<Words>,
    pub unit: Option<String>,
    pub units: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// A text that says all, or an object that says more.
#[derive(Clone, Debug)]
pub(super) enum TextOr<T> {
    Text(String),
    Full(T),
}

// Read by hand, because serde's untagged enums say of a mistake only that nothing matched.

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("one or a list")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = TextOr<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or an object")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Full)
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}
