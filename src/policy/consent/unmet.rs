//! The names of what a permit may ask and a request may not meet. What is asked is known elsewhere.

/// A condition that was not met, by the name of the element that states it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unmet {
    Status,
    Scope,
    Patient,
    DateTime,
    Verification,
    Period,
    Actor,
    Action,
    Purpose,
    Class,
    Code,
    SecurityLabel,
    DataPeriod,
    Data,
    /// No rule of it permits anything.
    Provision,
}

impl Unmet {
    pub fn code(self) -> &'static str {
        match self {
            Unmet::Status => "status",
            Unmet::Scope => "scope",
            Unmet::Patient => "patient",
            Unmet::DateTime => "dateTime",
            Unmet::Verification => "verification",
            Unmet::Period => "period",
            Unmet::Actor => "actor",
            Unmet::Action => "action",
            Unmet::Purpose => "purpose",
            Unmet::Class => "class",
            Unmet::Code => "code",
            Unmet::SecurityLabel => "securityLabel",
            Unmet::DataPeriod => "dataPeriod",
            Unmet::Data => "data",
            Unmet::Provision => "provision",
        }
    }
}
