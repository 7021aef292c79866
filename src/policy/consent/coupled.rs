//! Switches that need one another: what an operator says of categories of which one makes no sense without another.
//!
//! Switching one on switches on what it needs, and switching one off switches off what needs it, however far that goes. What
//! a consent says is not changed by this, only what is proposed to be written.

use std::collections::{BTreeMap, BTreeSet};

/// What needs what, by codes of categories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coupled(BTreeMap<String, Vec<String>>);

impl Coupled {
    /// Reads what an operator says, or everything that is wrong with it.
    pub fn compile(
        needs: &BTreeMap<String, Vec<String>>,
        is_category: impl Fn(&str) -> bool,
    ) -> Result<Coupled, Vec<String>> {
        let mut mistakes = Vec::new();
        for (code, needed) in needs {
            if !is_category(code) {
                mistakes.push(format!("needs.{code}: the key is no category of measures"));
            }
            for (index, other) in needed.iter().enumerate() {
                if other == code || !is_category(other) {
                    mistakes.push(format!("needs.{code}[{index}]: another category of measures is expected"));
                }
            }
        }
        if mistakes.is_empty() { Ok(Coupled(needs.clone())) } else { Err(mistakes) }
    }

    /// What a category needs, by its own word.
    pub fn needs(&self, category: &str) -> &[String] {
        self.0.get(category).map(Vec::as_slice).unwrap_or_default()
    }

    /// Everything that is switched with a category, itself among it.
    pub fn switched<'c>(&'c self, category: &'c str, on: bool) -> BTreeSet<&'c str> {
        let mut all = BTreeSet::from([category]);
        let mut waiting = vec![category];
        while let Some(next) = waiting.pop() {
            let further: Vec<&str> = if on {
                self.needs(next).iter().map(String::as_str).collect()
            } else {
                let needing = self.0.iter().filter(|(_, needed)| needed.iter().any(|needed| needed == next));
                needing.map(|(code, _)| code.as_str()).collect()
            };
            waiting.extend(further.into_iter().filter(|code| all.insert(code)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let one = |(code, needed): &(&str, &[&str])| {
            ((*code).to_owned(), needed.iter().map(|needed| (*needed).to_owned()).collect())
        };
        pairs.iter().map(one).collect()
    }

    #[test]
    fn one_takes_others_along() {
        let coupled = Coupled::compile(&needs(&[("c", &["b"]), ("b", &["a"]), ("a", &["c"]), ("d", &["b"])]), |_| true);
        let round = coupled.unwrap();
        assert_eq!(round.switched("d", true), BTreeSet::from(["a", "b", "c", "d"]), "also in a circle");
        let line = Coupled::compile(&needs(&[("c", &["b"]), ("b", &["a"])]), |_| true).unwrap();
        assert_eq!(line.switched("c", true), BTreeSet::from(["a", "b", "c"]));
        assert_eq!(line.switched("a", true), BTreeSet::from(["a"]));
        assert_eq!(line.switched("a", false), BTreeSet::from(["a", "b", "c"]));
        assert_eq!(line.switched("c", false), BTreeSet::from(["c"]));
        assert_eq!(line.switched("x", false), BTreeSet::from(["x"]));
    }

    #[test]
    fn everything_wrong_is_said() {
        let wrong = needs(&[("a", &["a", "x"]), ("x", &["a"])]);
        let mistakes = Coupled::compile(&wrong, |code| code == "a").unwrap_err();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    }
}
