//! What the server has said, within a bound: two generations, of which the older one is forgotten as a whole.

use std::collections::HashMap;

use super::Question;

pub(super) struct Memory {
    young: HashMap<Question, (bool, i64)>,
    old: HashMap<Question, (bool, i64)>,
    /// Entries of one generation.
    most: usize,
}

impl Memory {
    pub(super) fn new(entries: usize) -> Memory {
        Memory { young: HashMap::new(), old: HashMap::new(), most: (entries / 2).max(1) }
    }

    pub(super) fn get(&mut self, question: &Question, now_ms: i64) -> Option<bool> {
        if let Some((answer, until_ms)) = self.young.get(question) {
            return (now_ms < *until_ms).then_some(*answer);
        }
        let (question, (answer, until_ms)) = self.old.remove_entry(question)?;
        if now_ms >= until_ms {
            return None;
        }
        self.put(question, answer, until_ms);
        Some(answer)
    }

    pub(super) fn put(&mut self, question: Question, answer: bool, until_ms: i64) {
        if self.young.len() >= self.most && !self.young.contains_key(&question) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, (answer, until_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(code: usize) -> Question {
        Question { value_set: None, system: Some("urn:s".to_owned()), code: code.to_string() }
    }

    #[test]
    fn what_is_asked_often_stays_and_the_rest_goes() {
        let mut memory = Memory::new(10);
        for code in 0..100 {
            memory.put(question(code), code % 2 == 0, 1_000);
            assert_eq!(memory.get(&question(0), 0), Some(true), "{code}");
            assert!(memory.young.len() + memory.old.len() <= 10);
        }
        assert_eq!(memory.get(&question(1), 0), None);
        assert_eq!(memory.get(&question(99), 999), Some(false));
        assert_eq!(memory.get(&question(99), 1_000), None);
    }
}
