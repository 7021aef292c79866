//! The comparison that stands before an ordered value (R4 §3.1.1.4.6).

/// How a resource's value must lie to the one asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
    Approximately,
}

impl Prefix {
    /// The prefix and what follows it; without one, equality is asked.
    pub(super) fn split(text: &str) -> (Prefix, &str) {
        let Some((head, rest)) = text.split_at_checked(2) else { return (Prefix::Equal, text) };
        let prefix = match head {
            "eq" => Prefix::Equal,
            "ne" => Prefix::NotEqual,
            "gt" => Prefix::Greater,
            "lt" => Prefix::Less,
            "ge" => Prefix::GreaterOrEqual,
            "le" => Prefix::LessOrEqual,
            "sa" => Prefix::StartsAfter,
            "eb" => Prefix::EndsBefore,
            "ap" => Prefix::Approximately,
            _ => return (Prefix::Equal, text),
        };
        (prefix, rest)
    }
}
