//! JSONPath as the templates write it: RFC 9535 with what Newtonsoft's dialect does otherwise.
//!
//! There a name may follow `@` without a dot (`@heartrate`), and a filter behind `..` is asked of the value itself and
//! of everything below it, so that `$..[?(@Body.steps)]` finds the whole message. Regular expressions are not read.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde_json::Value;

use super::Scope;

/// Deepest nesting of an expression.
const DEEPEST: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Path {
    relative: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    /// Behind `..`.
    deep: bool,
    of: Vec<Selector>,
}

#[derive(Clone, Debug)]
enum Selector {
    Member(String),
    Any,
    Item(i64),
    Slice(Option<i64>, Option<i64>, i64),
    Filter(Test),
}

#[derive(Clone, Debug)]
enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    Not(Box<Test>),
    There(Path),
    Compared(Side, Comparison, Side),
}

#[derive(Clone, Debug)]
enum Side {
    Path(Path),
    Literal(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Path {
    /// Compiles an expression; the error says what is wrong where.
    pub fn compile(text: &str) -> Result<Path, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        reader.space();
        let path = match reader.peek() {
            Some('$' | '@') => reader.path()?,
            _ => Path { relative: false, steps: reader.steps(true)? },
        };
        reader.space();
        if reader.at < text.len() {
            return Err(reader.wrong("the expression should end"));
        }
        Ok(path)
    }

    /// What the path leads to.
    pub fn select<'v>(&self, scope: Scope<'v>) -> Vec<&'v Value> {
        self.from(scope, scope.root)
    }

    fn from<'v>(&self, scope: Scope<'v>, item: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![if self.relative { item } else { scope.root }];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                if step.deep {
                    each_below(value, &mut |below| step.deep_from(scope, below, &mut next));
                } else {
                    step.children_of(scope, value, &mut next);
                }
            }
            found = next;
        }
        found
    }
}

/// A value and everything below it, in the order of the text.
fn each_below<'v>(value: &'v Value, tell: &mut impl FnMut(&'v Value)) {
    tell(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_below(item, tell)),
        Value::Object(members) => members.values().for_each(|member| each_below(member, tell)),
        _ => {}
    }
}

impl Step {
    fn children_of<'v>(&self, scope: Scope<'v>, value: &'v Value, into: &mut Vec<&'v Value>) {
        for selector in &self.of {
            match selector {
                Selector::Member(name) => into.extend(scope.member(value, name)),
                Selector::Any => into.extend(children(value)),
                Selector::Item(at) => {
                    into.extend(value.as_array().and_then(|items| items.get(index(*at, items.len())?)));
                }
                Selector::Slice(from, to, by) => {
                    if let Some(items) = value.as_array() {
                        into.extend(slice(items.len(), *from, *to, *by).filter_map(|at| items.get(at)));
                    }
                }
                Selector::Filter(test) => into.extend(children(value).filter(|child| test.holds(scope, child))),
            }
        }
    }

    fn deep_from<'v>(&self, scope: Scope<'v>, value: &'v Value, into: &mut Vec<&'v Value>) {
        for selector in &self.of {
            if let Selector::Filter(test) = selector {
                if test.holds(scope, value) {
                    into.push(value);
                }
            } else {
                Step { deep: false, of: vec![selector.clone()] }.children_of(scope, value, into);
            }
        }
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

pub(super) fn index(at: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if at < 0 { length + at } else { at }).ok()
}

/// The places of a slice (RFC 9535 §2.3.4).
pub(super) fn slice(length: usize, from: Option<i64>, to: Option<i64>, by: i64) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let whole = |at: i64| if at < 0 { length + at } else { at };
    let (low, high) = if by >= 0 { (0, length) } else { (-1, length - 1) };
    let start = from.map_or(if by >= 0 { 0 } else { length - 1 }, |at| whole(at).clamp(low, high));
    let end = to.map_or(if by >= 0 { length } else { -1 }, |at| whole(at).clamp(low, high));
    let mut at = start;
    std::iter::from_fn(move || {
        let inside = by > 0 && at < end || by < 0 && at > end;
        let found = inside.then(|| usize::try_from(at).ok()).flatten()?;
        at = at.saturating_add(by);
        Some(found)
    })
}

impl Test {
    fn holds(&self, scope: Scope<'_>, item: &Value) -> bool {
        match self {
            Test::Any(tests) => tests.iter().any(|test| test.holds(scope, item)),
            Test::All(tests) => tests.iter().all(|test| test.holds(scope, item)),
            Test::Not(test) => !test.holds(scope, item),
            Test::There(path) => path.is_there(scope, item),
            Test::Compared(left, how, right) => {
                let (left, right) = (left.value(scope, item), right.value(scope, item));
                match (left, right) {
                    (Some(left), Some(right)) => how.holds(&left, &right),
                    _ => false,
                }
            }
        }
    }
}

impl Path {
    fn is_there(&self, scope: Scope<'_>, item: &Value) -> bool {
        let scope = Scope { root: scope.root, matched: scope.matched };
        !found_in(self, scope, item).is_empty()
    }
}

/// As [`Path::from`], for an item that lives no longer than the question.
fn found_in<'v>(path: &Path, scope: Scope<'v>, item: &'v Value) -> Vec<&'v Value> {
    path.from(scope, item)
}

impl Side {
    fn value(&self, scope: Scope<'_>, item: &Value) -> Option<Value> {
        match self {
            Side::Literal(value) => Some(value.clone()),
            Side::Path(path) => found_in(path, scope, item).first().map(|value| (*value).clone()),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = order(left, right);
        match self {
            Comparison::Is => order == Some(Ordering::Equal) || left == right,
            Comparison::IsNot => order.map_or(left != right, Ordering::is_ne),
            Comparison::Less => order.is_some_and(Ordering::is_lt),
            Comparison::AtMost => order.is_some_and(Ordering::is_le),
            Comparison::More => order.is_some_and(Ordering::is_gt),
            Comparison::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// Numbers by their worth, texts by their letters; what is of different kinds has no order.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => Some(decimal(left)?.cmp(&decimal(right)?)),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// A number of JSON, exactly.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    let text = value.as_number()?.to_string();
    Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text)).ok()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.text[self.at..].starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += self.peek().map_or(0, char::len_utf8);
        }
    }

    fn wrong(&self, what: &str) -> String {
        format!("at character {}: {what}", self.text[..self.at].chars().count() + 1)
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        self.space();
        if self.take(word) { Ok(()) } else { Err(self.wrong(&format!("{word} is missing"))) }
    }

    fn path(&mut self) -> Result<Path, String> {
        let relative = self.take("@");
        if !relative {
            self.take("$");
        }
        Ok(Path { relative, steps: self.steps(true)? })
    }

    /// Steps up to what can be none; the first may be a bare name.
    fn steps(&mut self, mut bare: bool) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            let deep = self.take("..");
            if self.peek() == Some('[') {
                self.at += 1;
                let of = self.bracket()?;
                steps.push(Step { deep, of });
            } else if deep || self.take(".") || (bare && self.peek().is_some_and(is_name)) {
                if self.take("*") {
                    steps.push(Step { deep, of: vec![Selector::Any] });
                } else if self.peek() == Some('[') && !deep {
                    self.at += 1;
                    let of = self.bracket()?;
                    steps.push(Step { deep, of });
                } else {
                    let name = self.name()?;
                    steps.push(Step { deep, of: vec![Selector::Member(name)] });
                }
            } else {
                return Ok(steps);
            }
            bare = false;
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        let length = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.wrong("a name is missing"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn bracket(&mut self) -> Result<Vec<Selector>, String> {
        let mut of = Vec::new();
        loop {
            self.space();
            of.push(self.selector()?);
            self.space();
            if self.take("]") {
                return Ok(of);
            }
            if !self.take(",") {
                return Err(self.wrong("] is missing"));
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        match self.peek() {
            Some('*') => {
                self.at += 1;
                Ok(Selector::Any)
            }
            Some('?') => {
                self.at += 1;
                self.space();
                Ok(Selector::Filter(self.test()?))
            }
            Some('\'' | '"') => Ok(Selector::Member(self.quoted()?)),
            _ => {
                let from = self.integer()?;
                self.space();
                if !self.take(":") {
                    return from
                        .map(Selector::Item)
                        .ok_or_else(|| self.wrong("an index, a name in quotes, * or ? is expected"));
                }
                self.space();
                let to = self.integer()?;
                self.space();
                let by = if self.take(":") { self.integer()?.unwrap_or(1) } else { 1 };
                Ok(Selector::Slice(from, to, by))
            }
        }
    }

    fn integer(&mut self) -> Result<Option<i64>, String> {
        let rest = &self.text[self.at..];
        let length =
            rest.find(|character: char| !(character.is_ascii_digit() || character == '-')).unwrap_or(rest.len());
        if length == 0 {
            return Ok(None);
        }
        let number = rest[..length].parse().map_err(|_| self.wrong("that is no whole number"))?;
        self.at += length;
        Ok(Some(number))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let Some(quote) = self.peek() else { return Err(self.wrong("a text is missing")) };
        self.at += quote.len_utf8();
        let mut out = String::new();
        while let Some(character) = self.peek() {
            self.at += character.len_utf8();
            if character == quote {
                return Ok(out);
            }
            if character == '\\' {
                let escaped = self.peek().ok_or_else(|| self.wrong("the text does not end"))?;
                self.at += escaped.len_utf8();
                out.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
            } else {
                out.push(character);
            }
        }
        Err(self.wrong("the text does not end"))
    }

    fn test(&mut self) -> Result<Test, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong("the expression is nested too deeply"));
        }
        let mut any = vec![self.all()?];
        self.space();
        while self.take("||") {
            any.push(self.all()?);
            self.space();
        }
        self.depth -= 1;
        Ok(if any.len() == 1 { any.remove(0) } else { Test::Any(any) })
    }

    fn all(&mut self) -> Result<Test, String> {
        let mut all = vec![self.one()?];
        self.space();
        while self.take("&&") {
            all.push(self.one()?);
            self.space();
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Test::All(all) })
    }

    fn one(&mut self) -> Result<Test, String> {
        self.space();
        if self.take("!") {
            return Ok(Test::Not(Box::new(self.one()?)));
        }
        if self.take("(") {
            let test = self.test()?;
            self.expect(")")?;
            return Ok(test);
        }
        let left = self.side()?;
        self.space();
        let known = [
            ("===", Comparison::Is),
            ("!==", Comparison::IsNot),
            ("==", Comparison::Is),
            ("!=", Comparison::IsNot),
            ("<>", Comparison::IsNot),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::More),
        ];
        for (word, how) in known {
            if self.take(word) {
                self.space();
                return Ok(Test::Compared(left, how, self.side()?));
            }
        }
        if self.take("=~") {
            return Err(self.wrong("regular expressions are not read"));
        }
        match left {
            Side::Path(path) => Ok(Test::There(path)),
            Side::Literal(_) => Err(self.wrong("a literal alone tests nothing")),
        }
    }

    fn side(&mut self) -> Result<Side, String> {
        match self.peek() {
            Some('@' | '$') => Ok(Side::Path(self.path()?)),
            Some('\'' | '"') => Ok(Side::Literal(Value::String(self.quoted()?))),
            _ => {
                let rest = &self.text[self.at..];
                let end =
                    rest.find(|character: char| !(character.is_ascii_alphanumeric() || "+-.".contains(character)));
                let word = &rest[..end.unwrap_or(rest.len())];
                let literal = serde_json::from_str(word).map_err(|_| self.wrong("a path or a literal is expected"))?;
                self.at += word.len();
                Ok(Side::Literal(literal))
            }
        }
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '#')
}
