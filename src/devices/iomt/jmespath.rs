//! JMESPath as its specification has it, with the functions that the connector adds (arithmetic, times of Unix, texts).
//!
//! Numbers are decimals and never binary fractions, so that an inch is 0.0254 metres to the last digit.

use std::borrow::Cow;
use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::Scope;
use super::jsonpath::{decimal, index, order, slice};

/// Deepest nesting of an expression.
const DEEPEST: usize = 32;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    Current,
    Field(String),
    Item(i64),
    Literal(Value),
    Then(Box<Node>, Box<Node>),
    /// Each item of a list, of an object's values, or of a list made flat, and what is asked of each.
    Each(Box<Node>, Of, Box<Node>),
    Both(Box<Node>, Box<Node>),
    Either(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compared(Box<Node>, &'static str, Box<Node>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    Call(Function, Vec<Node>),
    /// `&expression`, for functions that ask it of each item.
    Quoted(Box<Node>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Of {
    Items,
    Slice(Option<i64>, Option<i64>, i64),
    Values,
    Flat,
    Where(Box<Node>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Function {
    name: &'static str,
    least: usize,
    most: usize,
}

const fn function(name: &'static str, least: usize, most: usize) -> Function {
    Function { name, least, most }
}

const FUNCTIONS: [Function; 34] = [
    function("abs", 1, 1),
    function("add", 2, 2),
    function("avg", 1, 1),
    function("ceil", 1, 1),
    function("contains", 2, 2),
    function("divide", 2, 2),
    function("ends_with", 2, 2),
    function("floor", 1, 1),
    function("fromUnixTimestamp", 1, 1),
    function("fromUnixTimestampMs", 1, 1),
    function("insertString", 3, 3),
    function("join", 2, 2),
    function("keys", 1, 1),
    function("length", 1, 1),
    function("map", 2, 2),
    function("max", 1, 1),
    function("max_by", 2, 2),
    function("merge", 1, 64),
    function("min", 1, 1),
    function("min_by", 2, 2),
    function("multiply", 2, 2),
    function("not_null", 1, 64),
    function("pow", 2, 2),
    function("reverse", 1, 1),
    function("sort", 1, 1),
    function("sort_by", 2, 2),
    function("starts_with", 2, 2),
    function("subtract", 2, 2),
    function("sum", 1, 1),
    function("to_array", 1, 1),
    function("to_number", 1, 1),
    function("to_string", 1, 1),
    function("type", 1, 1),
    function("values", 1, 1),
];

type Found<'v> = Cow<'v, Value>;

impl Node {
    /// Compiles an expression; the error says what is wrong where.
    pub fn compile(text: &str) -> Result<Node, String> {
        let mut reader = Reader { tokens: tokens(text)?, at: 0, depth: 0 };
        let node = reader.expression(0)?;
        match reader.next() {
            (_, Token::End) => Ok(node),
            (place, _) => Err(wrong(place, "the expression should end")),
        }
    }

    /// What the expression makes of a message; the error says what a function cannot do.
    pub fn value<'v>(&self, scope: Scope<'v>) -> Result<Found<'v>, String> {
        self.of(scope, Cow::Borrowed(scope.root))
    }

    fn of<'v>(&self, scope: Scope<'v>, current: Found<'v>) -> Result<Found<'v>, String> {
        Ok(match self {
            Node::Current => current,
            Node::Field(name) => field(scope, current, name),
            Node::Item(at) => match current.as_array().and_then(|items| index(*at, items.len())) {
                Some(at) => pick(current, |value| value.get(at)),
                None => null(),
            },
            Node::Literal(value) => owned(value.clone()),
            Node::Then(first, then) => {
                let value = first.of(scope, current)?;
                then.of(scope, value)?
            }
            Node::Each(source, of, then) => {
                let source = source.of(scope, current)?;
                let Some(items) = of.items(scope, &source)? else { return Ok(null()) };
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    let value = then.of(scope, owned(item))?;
                    if !value.is_null() {
                        out.push(value.into_owned());
                    }
                }
                owned(Value::Array(out))
            }
            Node::Both(left, right) => {
                let value = left.of(scope, current.clone())?;
                if is_true(&value) { right.of(scope, current)? } else { value }
            }
            Node::Either(left, right) => {
                let value = left.of(scope, current.clone())?;
                if is_true(&value) { value } else { right.of(scope, current)? }
            }
            Node::Not(node) => owned(Value::Bool(!is_true(&*node.of(scope, current)?))),
            Node::Compared(left, how, right) => {
                let (left, right) = (left.of(scope, current.clone())?, right.of(scope, current)?);
                compared(&left, how, &right)
            }
            Node::List(nodes) if current.is_null() && !nodes.is_empty() => null(),
            Node::List(nodes) => {
                let each = nodes.iter().map(|node| Ok(node.of(scope, current.clone())?.into_owned()));
                owned(Value::Array(each.collect::<Result<_, String>>()?))
            }
            Node::Object(_) if current.is_null() => null(),
            Node::Object(members) => {
                let mut out = Map::new();
                for (name, node) in members {
                    out.insert(name.clone(), node.of(scope, current.clone())?.into_owned());
                }
                owned(Value::Object(out))
            }
            Node::Call(function, arguments) => owned(call(*function, arguments, scope, &current)?),
            Node::Quoted(_) => return Err("an expression behind & stands where a value is needed".to_owned()),
        })
    }
}

fn null<'v>() -> Found<'v> {
    Cow::Owned(Value::Null)
}

fn owned<'v>(value: Value) -> Found<'v> {
    Cow::Owned(value)
}

fn pick(from: Found<'_>, of: impl Fn(&Value) -> Option<&Value>) -> Found<'_> {
    match from {
        Cow::Borrowed(value) => of(value).map_or_else(null, Cow::Borrowed),
        Cow::Owned(value) => of(&value).map_or_else(null, |found| Cow::Owned(found.clone())),
    }
}

fn field<'v>(scope: Scope<'v>, from: Found<'v>, name: &str) -> Found<'v> {
    match from {
        Cow::Borrowed(value) => scope.member(value, name).map_or_else(null, Cow::Borrowed),
        Cow::Owned(_) => pick(from, |value| value.get(name)),
    }
}

impl Of {
    fn items(&self, scope: Scope<'_>, source: &Value) -> Result<Option<Vec<Value>>, String> {
        Ok(match (self, source) {
            (Of::Values, Value::Object(members)) => Some(members.values().cloned().collect()),
            (Of::Items, Value::Array(items)) => Some(items.clone()),
            (Of::Slice(from, to, by), Value::Array(items)) => {
                Some(slice(items.len(), *from, *to, *by).filter_map(|at| items.get(at).cloned()).collect())
            }
            (Of::Flat, Value::Array(items)) => Some(
                items
                    .iter()
                    .flat_map(|item| item.as_array().map_or_else(|| std::slice::from_ref(item), Vec::as_slice))
                    .cloned()
                    .collect(),
            ),
            (Of::Where(test), Value::Array(items)) => {
                let mut kept = Vec::new();
                for item in items {
                    let held = test.of(Scope { root: scope.root, matched: scope.matched }, owned(item.clone()))?;
                    if is_true(&held) {
                        kept.push(item.clone());
                    }
                }
                Some(kept)
            }
            _ => None,
        })
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || order(left, right) == Some(Ordering::Equal)
}

fn compared<'v>(left: &Value, how: &str, right: &Value) -> Found<'v> {
    let ordered = |test: fn(Ordering) -> bool| match (left, right) {
        (Value::Number(_), Value::Number(_)) => {
            order(left, right).map_or(Value::Null, |order| Value::Bool(test(order)))
        }
        _ => Value::Null,
    };
    owned(match how {
        "==" => Value::Bool(same(left, right)),
        "!=" => Value::Bool(!same(left, right)),
        "<" => ordered(Ordering::is_lt),
        "<=" => ordered(Ordering::is_le),
        ">" => ordered(Ordering::is_gt),
        _ => ordered(Ordering::is_ge),
    })
}

fn call(function: Function, arguments: &[Node], scope: Scope<'_>, current: &Value) -> Result<Value, String> {
    let name = function.name;
    let given = |at: usize| -> Result<Value, String> {
        let argument = arguments.get(at).ok_or_else(|| format!("{name} lacks an argument"))?;
        Ok(argument.of(Scope { root: scope.root, matched: scope.matched }, Cow::Owned(current.clone()))?.into_owned())
    };
    // The message itself has to stay itself, so that what was matched is found in it.
    let given = |at: usize| match arguments.get(at) {
        Some(argument) if std::ptr::eq(current, scope.root) => {
            Ok(argument.of(scope, Cow::Borrowed(scope.root))?.into_owned())
        }
        _ => given(at),
    };
    let number = |at: usize| given(at).and_then(|value| decimal(&value).ok_or_else(|| format!("{name} takes numbers")));
    let text = |at: usize| match given(at)? {
        Value::String(text) => Ok(text),
        _ => Err(format!("{name} takes texts")),
    };
    let items = |at: usize| match given(at)? {
        Value::Array(items) => Ok(items),
        _ => Err(format!("{name} takes a list")),
    };
    let object = |at: usize| match given(at)? {
        Value::Object(members) => Ok(members),
        _ => Err(format!("{name} takes an object")),
    };
    let out_of_range = || format!("{name} leads beyond what can be counted");
    let keyed = |items: Vec<Value>, by: usize| -> Result<Vec<(Value, Value)>, String> {
        let Some(Node::Quoted(by)) = arguments.get(by) else {
            return Err(format!("{name} takes an expression behind &"));
        };
        let key = |item: Value| Ok((by.of(scope, owned(item.clone()))?.into_owned(), item));
        items.into_iter().map(key).collect()
    };
    let ordered = |left: &Value, right: &Value| order(left, right).unwrap_or(Ordering::Equal);
    let orderable = |values: &[Value]| {
        let alike = values.windows(2).all(|pair| order(&pair[0], &pair[1]).is_some());
        if alike && values.first().is_none_or(|value| value.is_number() || value.is_string()) {
            Ok(())
        } else {
            Err(format!("{name} takes numbers alone or texts alone"))
        }
    };
    let sum = |values: Vec<Value>| {
        values.iter().try_fold(Decimal::ZERO, |sum, value| {
            let value = decimal(value).ok_or_else(|| format!("{name} takes numbers"))?;
            sum.checked_add(value).ok_or_else(out_of_range)
        })
    };
    Ok(match name {
        "abs" => of_decimal(number(0)?.abs()),
        "ceil" => of_decimal(number(0)?.ceil()),
        "floor" => of_decimal(number(0)?.floor()),
        "add" => of_decimal(number(0)?.checked_add(number(1)?).ok_or_else(out_of_range)?),
        "subtract" => of_decimal(number(0)?.checked_sub(number(1)?).ok_or_else(out_of_range)?),
        "multiply" => of_decimal(number(0)?.checked_mul(number(1)?).ok_or_else(out_of_range)?),
        "divide" => {
            let by = number(1)?;
            if by.is_zero() {
                return Err("divide takes no zero".to_owned());
            }
            of_decimal(number(0)?.checked_div(by).ok_or_else(out_of_range)?)
        }
        "pow" => of_decimal(power(number(0)?, number(1)?)?),
        "sum" => of_decimal(sum(items(0)?)?),
        "avg" => {
            let items = items(0)?;
            let count = Decimal::from(items.len());
            if count.is_zero() {
                Value::Null
            } else {
                of_decimal(sum(items)?.checked_div(count).ok_or_else(out_of_range)?)
            }
        }
        "contains" => Value::Bool(match (given(0)?, given(1)?) {
            (Value::String(whole), Value::String(part)) => whole.contains(&part),
            (Value::Array(items), one) => items.iter().any(|item| same(item, &one)),
            _ => return Err("contains takes a text or a list".to_owned()),
        }),
        "starts_with" => Value::Bool(text(0)?.starts_with(&text(1)?)),
        "ends_with" => Value::Bool(text(0)?.ends_with(&text(1)?)),
        "insertString" => {
            let (whole, part, at) = (text(0)?, text(1)?, number(2)?);
            let places = whole.char_indices().map(|(at, _)| at).chain([whole.len()]);
            let place = places.zip(0_u32..).find(|(_, count)| Decimal::from(*count) == at).map(|(place, _)| place);
            let place = place.ok_or("insertString takes a place inside of the text")?;
            Value::String(format!("{}{part}{}", &whole[..place], &whole[place..]))
        }
        "fromUnixTimestamp" => Value::String(moment(number(0)?, 1_000_000_000).ok_or_else(out_of_range)?),
        "fromUnixTimestampMs" => Value::String(moment(number(0)?, 1_000_000).ok_or_else(out_of_range)?),
        "join" => {
            let (between, items) = (text(0)?, items(1)?);
            let parts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Value::String(parts.ok_or("join takes a list of texts")?.join(&between))
        }
        "keys" => Value::Array(object(0)?.into_iter().map(|(name, _)| Value::String(name)).collect()),
        "values" => Value::Array(object(0)?.into_iter().map(|(_, value)| value).collect()),
        "length" => Value::from(match given(0)? {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => return Err("length takes a text, a list or an object".to_owned()),
        }),
        "map" => {
            let Some(Node::Quoted(by)) = arguments.first() else {
                return Err("map takes an expression behind &".to_owned());
            };
            let each = items(1)?.into_iter().map(|item| Ok(by.of(scope, owned(item))?.into_owned()));
            Value::Array(each.collect::<Result<_, String>>()?)
        }
        "max" | "min" => {
            let items = items(0)?;
            orderable(&items)?;
            let found =
                if name == "max" { items.into_iter().max_by(ordered) } else { items.into_iter().min_by(ordered) };
            found.unwrap_or_default()
        }
        "max_by" | "min_by" => {
            let keyed = keyed(items(0)?, 1)?;
            let by = |one: &(Value, Value), other: &(Value, Value)| ordered(&one.0, &other.0);
            let found = if name == "max_by" { keyed.into_iter().max_by(by) } else { keyed.into_iter().min_by(by) };
            found.map(|(_, item)| item).unwrap_or_default()
        }
        "merge" => {
            let mut out = Map::new();
            for at in 0..arguments.len() {
                out.extend(object(at)?);
            }
            Value::Object(out)
        }
        "not_null" => {
            let mut found = Value::Null;
            for at in 0..arguments.len() {
                found = given(at)?;
                if !found.is_null() {
                    break;
                }
            }
            found
        }
        "reverse" => match given(0)? {
            Value::String(text) => Value::String(text.chars().rev().collect()),
            Value::Array(items) => Value::Array(items.into_iter().rev().collect()),
            _ => return Err("reverse takes a text or a list".to_owned()),
        },
        "sort" => {
            let mut items = items(0)?;
            orderable(&items)?;
            items.sort_by(ordered);
            Value::Array(items)
        }
        "sort_by" => {
            let mut keyed = keyed(items(0)?, 1)?;
            keyed.sort_by(|one, other| ordered(&one.0, &other.0));
            Value::Array(keyed.into_iter().map(|(_, item)| item).collect())
        }
        "to_array" => match given(0)? {
            list @ Value::Array(_) => list,
            one => Value::Array(vec![one]),
        },
        "to_number" => match given(0)? {
            number @ Value::Number(_) => number,
            Value::String(text) => serde_json::from_str(text.trim()).ok().filter(Value::is_number).unwrap_or_default(),
            _ => Value::Null,
        },
        "to_string" => match given(0)? {
            text @ Value::String(_) => text,
            other => Value::String(other.to_string()),
        },
        _ => Value::String(
            match given(0)? {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            }
            .to_owned(),
        ),
    })
}

/// A decimal as a number of JSON, digit by digit.
fn of_decimal(number: Decimal) -> Value {
    serde_json::from_str(&number.normalize().to_string()).unwrap_or_default()
}

fn power(base: Decimal, exponent: Decimal) -> Result<Decimal, String> {
    use rust_decimal::prelude::ToPrimitive;
    let whole = exponent.fract().is_zero().then(|| exponent.to_i32()).flatten();
    let whole = whole.filter(|power| power.abs() <= 128).ok_or("pow takes a whole exponent from -128 to 128")?;
    let beyond = || "pow leads beyond what can be counted".to_owned();
    let mut product = Decimal::ONE;
    for _ in 0..whole.unsigned_abs() {
        product = product.checked_mul(base).ok_or_else(beyond)?;
    }
    if whole < 0 { Decimal::ONE.checked_div(product).ok_or_else(beyond) } else { Ok(product) }
}

/// A count since 1970 as a time in UTC.
fn moment(count: Decimal, nanoseconds: i64) -> Option<String> {
    use rust_decimal::prelude::ToPrimitive;
    let at = count.checked_mul(Decimal::from(nanoseconds))?.trunc().to_i128()?;
    Some(jiff::Timestamp::from_nanosecond(at).ok()?.to_string())
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Name(String),
    Quoted(String),
    Literal(Value),
    Number(i64),
    Mark(&'static str),
    End,
}

const MARKS: [&str; 28] = [
    "[?", "[]", "||", "&&", "==", "!=", "<=", ">=", ".", "*", "[", "]", "{", "}", "(", ")", ",", ":", "|", "&", "<",
    ">", "!", "@", "+", "-", "/", "%",
];

fn wrong(place: usize, what: &str) -> String {
    format!("at character {}: {what}", place + 1)
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let place = text[..text.len() - rest.len()].chars().count();
        let Some(first) = rest.chars().next() else {
            found.push((place, Token::End));
            return Ok(found);
        };
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = rest.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
                let name = &rest[..end.unwrap_or(rest.len())];
                (Token::Name(name.to_owned()), name.len())
            }
            '0'..='9' | '-' => {
                let end =
                    rest[1..].find(|character: char| !character.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
                let number = rest[..end].parse().map_err(|_| wrong(place, "a whole number is expected"))?;
                (Token::Number(number), end)
            }
            '\'' | '"' | '`' => {
                let end = closing(rest, first).ok_or_else(|| wrong(place, "the text does not end"))?;
                let inside = &rest[1..end];
                let token = match first {
                    '\'' => Token::Literal(Value::String(inside.replace("\\'", "'").replace("\\\\", "\\"))),
                    '"' => Token::Quoted(
                        serde_json::from_str(&rest[..=end])
                            .map_err(|_| wrong(place, "a name in quotes is expected"))?,
                    ),
                    // What is no JSON between backticks was a text in the language's first version.
                    _ => {
                        let inside = inside.replace("\\`", "`");
                        Token::Literal(
                            serde_json::from_str(&inside).unwrap_or_else(|_| Value::String(inside.trim().to_owned())),
                        )
                    }
                };
                (token, end + 1)
            }
            _ => {
                let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
                let mark = mark.ok_or_else(|| wrong(place, "this character means nothing"))?;
                (Token::Mark(mark), mark.len())
            }
        };
        found.push((place, token));
        rest = &rest[length..];
    }
}

/// Where the text ends that begins with a quote.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, character)| {
        if escaped {
            escaped = false;
            return None;
        }
        escaped = character == '\\';
        (character == quote).then_some(at)
    })
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

/// How tightly a mark binds what stands before it; projections end where a looser one comes.
fn binding(token: &Token) -> u8 {
    match token {
        Token::Mark("|") => 1,
        Token::Mark("||") => 2,
        Token::Mark("&&") => 3,
        Token::Mark("==" | "!=" | "<" | "<=" | ">" | ">=") => 5,
        Token::Mark("[]") => 9,
        Token::Mark("[?") => 21,
        Token::Mark(".") => 40,
        Token::Mark("[") => 55,
        Token::Mark("(") => 60,
        _ => 0,
    }
}

const PROJECTION_ENDS: u8 = 10;
const STAR: u8 = 20;
const NOT: u8 = 8;

impl Reader {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    fn next(&mut self) -> (usize, Token) {
        let token = self.tokens[self.at.min(self.tokens.len() - 1)].clone();
        self.at += 1;
        token
    }

    fn take(&mut self, mark: &str) -> bool {
        let there = matches!(self.peek(), Token::Mark(found) if *found == mark);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        let place = self.tokens[self.at.min(self.tokens.len() - 1)].0;
        if self.take(mark) { Ok(()) } else { Err(wrong(place, &format!("{mark} is missing"))) }
    }

    fn expression(&mut self, least: u8) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(wrong(
                self.tokens[self.at.min(self.tokens.len() - 1)].0,
                "the expression is nested too deeply",
            ));
        }
        let mut left = self.first()?;
        while binding(self.peek()) > least {
            left = self.then(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn first(&mut self) -> Result<Node, String> {
        let (place, token) = self.next();
        Ok(match token {
            Token::Name(name) => {
                if self.take("(") {
                    return self.call(&name, place);
                }
                Node::Field(name)
            }
            Token::Quoted(name) => Node::Field(name),
            Token::Literal(value) => Node::Literal(value),
            Token::Mark("@") => Node::Current,
            // Looser than a dot: `!a.b` denies `a.b`, since no boolean has members.
            Token::Mark("!") => Node::Not(Box::new(self.expression(NOT)?)),
            Token::Mark("&") => Node::Quoted(Box::new(self.expression(0)?)),
            Token::Mark("(") => {
                let inside = self.expression(0)?;
                self.expect(")")?;
                inside
            }
            Token::Mark("*") => {
                let then = self.projected(STAR)?;
                Node::Each(Box::new(Node::Current), Of::Values, Box::new(then))
            }
            Token::Mark("[]") => {
                let then = self.projected(9)?;
                Node::Each(Box::new(Node::Current), Of::Flat, Box::new(then))
            }
            Token::Mark("[?") => self.filtered(Node::Current)?,
            Token::Mark("{") => self.object()?,
            Token::Mark("[") => match self.peek() {
                Token::Number(_) | Token::Mark(":") => self.bracket(Node::Current)?,
                Token::Mark("*") if matches!(self.tokens.get(self.at + 1), Some((_, Token::Mark("]")))) => {
                    self.bracket(Node::Current)?
                }
                _ => self.list()?,
            },
            _ => return Err(wrong(place, "an expression is expected")),
        })
    }

    fn then(&mut self, left: Node) -> Result<Node, String> {
        let (place, token) = self.next();
        let strength = binding(&token);
        let Token::Mark(mark) = token else { return Err(wrong(place, "the expression should end")) };
        Ok(match mark {
            "." => {
                if self.take("*") {
                    let then = self.projected(STAR)?;
                    return Ok(Node::Each(Box::new(left), Of::Values, Box::new(then)));
                }
                let right = self.member(strength)?;
                Node::Then(Box::new(left), Box::new(right))
            }
            "|" => Node::Then(Box::new(left), Box::new(self.expression(strength)?)),
            "||" => Node::Either(Box::new(left), Box::new(self.expression(strength)?)),
            "&&" => Node::Both(Box::new(left), Box::new(self.expression(strength)?)),
            "[]" => {
                let then = self.projected(9)?;
                Node::Each(Box::new(left), Of::Flat, Box::new(then))
            }
            "[?" => self.filtered(left)?,
            "[" => self.bracket(left)?,
            "(" => return Err(wrong(place, "only a name is called")),
            how => Node::Compared(Box::new(left), how, Box::new(self.expression(strength)?)),
        })
    }

    /// What stands behind a dot.
    fn member(&mut self, strength: u8) -> Result<Node, String> {
        let place = self.tokens[self.at.min(self.tokens.len() - 1)].0;
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) => self.expression(strength),
            Token::Mark("[") => {
                self.at += 1;
                self.list()
            }
            Token::Mark("{") => {
                self.at += 1;
                self.object()
            }
            _ => Err(wrong(place, "a name is expected behind the dot")),
        }
    }

    /// What is asked of each item of a projection.
    fn projected(&mut self, strength: u8) -> Result<Node, String> {
        match self.peek() {
            token if binding(token) < PROJECTION_ENDS => Ok(Node::Current),
            Token::Mark("[" | "[?") => self.continued(Node::Current, strength),
            Token::Mark(".") => {
                self.at += 1;
                if self.take("*") {
                    let then = self.projected(STAR)?;
                    return Ok(Node::Each(Box::new(Node::Current), Of::Values, Box::new(then)));
                }
                let first = self.member(40)?;
                self.continued(first, strength)
            }
            _ => Err(wrong(self.tokens[self.at.min(self.tokens.len() - 1)].0, "the expression should end")),
        }
    }

    fn continued(&mut self, mut left: Node, strength: u8) -> Result<Node, String> {
        while binding(self.peek()) > strength {
            left = self.then(left)?;
        }
        Ok(left)
    }

    fn filtered(&mut self, left: Node) -> Result<Node, String> {
        let test = self.expression(0)?;
        self.expect("]")?;
        let then = self.projected(21)?;
        Ok(Node::Each(Box::new(left), Of::Where(Box::new(test)), Box::new(then)))
    }

    /// An index, a slice or all items, behind `[`.
    fn bracket(&mut self, left: Node) -> Result<Node, String> {
        if self.take("*") {
            self.expect("]")?;
            let then = self.projected(STAR)?;
            return Ok(Node::Each(Box::new(left), Of::Items, Box::new(then)));
        }
        let mut parts: [Option<i64>; 3] = [None; 3];
        let mut part = 0;
        let place = self.tokens[self.at.min(self.tokens.len() - 1)].0;
        while !self.take("]") {
            match self.next() {
                (_, Token::Number(number)) if parts[part].is_none() => parts[part] = Some(number),
                (_, Token::Mark(":")) if part < 2 => part += 1,
                (place, _) => return Err(wrong(place, "an index or a slice is expected")),
            }
        }
        if part > 0 {
            let by = parts[2].unwrap_or(1);
            if by == 0 {
                return Err(wrong(place, "the step of a slice is not 0"));
            }
            let then = self.projected(STAR)?;
            return Ok(Node::Each(Box::new(left), Of::Slice(parts[0], parts[1], by), Box::new(then)));
        }
        let item = Node::Item(parts[0].ok_or_else(|| wrong(place, "an index is expected"))?);
        Ok(if left == Node::Current { item } else { Node::Then(Box::new(left), Box::new(item)) })
    }

    fn list(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.expression(0)?);
            if self.take("]") {
                return Ok(Node::List(nodes));
            }
            self.expect(",")?;
        }
    }

    fn object(&mut self) -> Result<Node, String> {
        let mut members = Vec::new();
        loop {
            let name = match self.next() {
                (_, Token::Name(name) | Token::Quoted(name)) => name,
                (place, _) => return Err(wrong(place, "a name is expected")),
            };
            self.expect(":")?;
            members.push((name, self.expression(0)?));
            if self.take("}") {
                return Ok(Node::Object(members));
            }
            self.expect(",")?;
        }
    }

    fn call(&mut self, name: &str, place: usize) -> Result<Node, String> {
        // The connector's own functions are written with capitals in some places and without in others.
        let function = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name));
        let function = *function.ok_or_else(|| wrong(place, "there is no function of that name"))?;
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.expression(0)?);
                if self.take(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        if arguments.len() < function.least || arguments.len() > function.most {
            return Err(wrong(place, &format!("{} takes {} arguments", function.name, function.least)));
        }
        Ok(Node::Call(function, arguments))
    }
}
