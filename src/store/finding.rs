//! What an examination of a store finds, for people and for programs.
//!
//! A finding names what was looked at, how it was found, and the figures behind that. It holds nothing of a person, no
//! password and no address that may hold one.

/// How something was found, the better the smaller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grade {
    Good,
    /// It could not be found out, or was not asked for.
    Unknown,
    /// It works, and somebody should know.
    Doubt,
    /// What was acknowledged may be lost, or was changed, or the gateway does not work.
    Bad,
}

impl Grade {
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Doubt => "doubt",
            Self::Bad => "bad",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at, such as `disk.sync`.
    pub check: &'static str,
    pub grade: Grade,
    pub said: String,
    /// Figures by name, with their unit in the name.
    pub figures: Vec<(&'static str, i64)>,
}

impl Finding {
    pub(super) fn new(check: &'static str, grade: Grade, said: impl Into<String>) -> Self {
        Self { check, grade, said: said.into(), figures: Vec::new() }
    }

    pub(super) fn with(mut self, figures: impl IntoIterator<Item = (&'static str, i64)>) -> Self {
        self.figures.extend(figures);
        self
    }
}
